"""Looks at every part of a box, running or not, and says of each what is found and what to do. Changes nothing, but
for one refused publisher, counted in the timeline of nobody: the hooks are tried as the media server calls them."""

from collections.abc import Callable, Iterator
from datetime import datetime

from config import Config
from doctor import certificate, installation, machine, parts, receivers, store
from doctor.finding import Finding, Patient, failed

Check = Callable[[Patient], Iterator[Finding]]

# In the order in which they are read: what everything else stands on comes first.
OF_THE_MACHINE: dict[str, Check] = {
    "versions": machine.versions,
    "nginx": machine.nginx,
    "ffmpeg": machine.ffmpeg,
    "disk": machine.disk,
    "settings": installation.settings,
    "folders": installation.folders,
}
OF_THE_BOX: dict[str, Check] = {
    "database": installation.database,
    "box": parts.box,
    "ports": parts.ports,
    "certificate": certificate.certificate,
    "web": parts.web,
    "hooks": parts.hooks,
    "worker": parts.worker,
    "media": parts.media,
    "picture": parts.picture,
    "store": store.store,
    "webhooks": receivers.webhooks,
    "clock": machine.clock,
}
CHECKS = OF_THE_MACHINE | OF_THE_BOX


def examine(config: Config, now: datetime, *, min_free_mb: int) -> list[Finding]:
    """What there is to say. A check that fails itself is a finding too: the others go on."""
    patient = Patient(config, now, min_free_mb)
    made = CHECKS if patient.may_be_looked_at else OF_THE_MACHINE
    return [finding for name, check in made.items() for finding in _made(name, check, patient)]


def _made(name: str, check: Check, patient: Patient) -> list[Finding]:
    found: list[Finding] = []
    try:
        for each in check(patient):
            found.append(each)
    except Exception as error:  # whatever it is: a doctor that faints helps nobody
        what = f"the check itself failed: {type(error).__name__}: {error}"
        found.append(failed(name, what, "Look at that first; the other checks were made."))
    return found
