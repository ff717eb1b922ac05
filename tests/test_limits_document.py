"""docs/limits.md: every bound is the one of the code, read from there."""

import re
from datetime import timedelta
from typing import Any

import pytest
from marshmallow import fields, missing, validate

import app
import listeners
from auth import FailedLogins
from config import from_env
from delivery import dispatcher, queue, redelivery, schedule, sender, webhooks
from live import analytics, arrival, clock, limits, reconcile, retention, videos
from media import broadcast, index, ladder, watch
from routes import once
from routes.console import session
from schemas import ChannelCreate, Page, PlaybackCreate
from schemas_admin import FeedQuery, LimitsIn, TokenCreate
from schemas_analytics import ChannelStatisticsQuery
from schemas_studio import StudioCreate
from schemas_webhook import WebhookCreate
from tests.documents import DOCS, ROOT, code, rows, section
from upkeep.backup import KEPT_OF_UPGRADES
from wire import (
    JSON_DEPTH,
    METADATA_BYTES,
    CommaList,
    Instant,
    Metadata,
    Number,
    Switch,
    Wire,
    camel,
    dump_json,
)

DOCUMENT = DOCS / "limits.md"
NGINX = (ROOT / "media/servers/nginx.conf.j2").read_text()
SECOND, MINUTE, HOUR, DAY = (timedelta(**{unit: 1}) for unit in ("seconds", "minutes", "hours", "days"))


def takes(field: fields.Field) -> str:
    """In the document's words."""
    bounds = field.validators[0] if field.validators else None
    match field, bounds:
        case Switch(), _:
            return "true, false"
        case Metadata(), _:
            return f"an object of up to {METADATA_BYTES:,} bytes of JSON"
        case Instant(), _:
            return "a time in the future"
        case CommaList(item=item, most=most), _:
            [inner] = item.validators
            if isinstance(inner, validate.OneOf):
                return f"some of {', '.join(inner.choices)}"
            return f"up to {most:,}, each {inner.min:,}..{inner.max:,} characters"
        case Number(), validate.Range(min=low, max=high):
            return f"{low:,}..{high:,}"
        case _, validate.OneOf(choices=choices):
            return ", ".join(choices)
        case _, validate.Length(min=low, max=high):
            return f"{low:,}..{high:,} characters" if low else f"up to {high:,} characters"
        case _, validate.Regexp(error=error):
            return error.removeprefix("Must be ")
    raise AssertionError(f"no words for {field!r}")


def without_it(field: fields.Field) -> str | None:
    """In the document's words; None where the code behind decides."""
    if field.required:
        return "required"
    default = field.load_default() if callable(field.load_default) else field.load_default
    return None if default is missing or field.data_key == "streamToken" else f"`{dump_json(default)}`"


@pytest.mark.parametrize(
    ("heading", "schema"),
    [("Of a channel", ChannelCreate), ("Of a webhook", WebhookCreate), ("Of a token", TokenCreate)],
)
def test_fields_are_bounded_as_the_schemas_say(heading, schema):
    told = {code(name)[0]: (bounds, default) for name, bounds, default in rows(section(DOCUMENT, heading))}
    known = {field.data_key: field for field in schema().load_fields.values()}
    assert told.keys() == known.keys()
    for name, (bounds, default) in told.items():
        assert bounds == takes(known[name]), name
        if (expected := without_it(known[name])) is not None:
            assert default.partition(":")[0] == expected, name


def test_accounts_have_the_limits_of_the_schema():
    told = [code(name)[0] for name, *_ in rows(section(DOCUMENT, "Accounts"))]
    assert told == [field.data_key for field in LimitsIn().load_fields.values()]
    assert told == [camel(name) for name in limits.NAMES]


def bound(schema: type[Wire], name: str) -> str:
    field = schema().load_fields[name]
    return f"{takes(field)}{{}}, {field.load_default:,} if left out"


def nginx(directive: str) -> int:
    return int(re.search(rf"^\s*{directive} (\d+)", NGINX, re.MULTILINE)[1])


def told(section_name: str, what: str) -> str:
    [cells] = [cells for cells in rows(section(DOCUMENT, section_name)) if cells[0].startswith(what)]
    return " | ".join(cells[1:])


def days(kind: str) -> str:
    kept = from_env({}).kept_for[kind]
    return "for ever" if kept is None else f"{kept.days:,} days"


SPLIT = (
    f"{dispatcher.PER_WEBHOOK} of a webhook, {dispatcher.PER_FAILING_WEBHOOK} while it fails; "
    f"{dispatcher.PER_RECEIVER} to a host and port; {dispatcher.PER_HOST} to a host; "
    f"{dispatcher.ROOM} in all, {dispatcher.FOR_FAILING} of them to failing ones"
)
LISTED = ", ".join(f"{seconds:.0f} s in `{mode}`" for mode, seconds in broadcast.LISTED_S.items())
FACTS: list[tuple[str, str, Any]] = [
    ("Requests", "a body", f"{app.MIB // 2**20} MiB | "),
    ("Requests", "a body", f"beyond {nginx('client_max_body_size')} MiB"),
    ("Requests", "JSON within JSON", f"{JSON_DEPTH} levels"),
    ("Requests", "headers", f"{listeners.LIMITS['max_request_header_size'] // 1024} KiB"),
    ("Requests", "from the first byte", f"{listeners.REQUEST_S:.0f} s"),
    ("Requests", "taking the answer", f"{listeners.ANSWER_S:.0f} s"),
    ("Requests", "connections", f"{listeners.PUBLIC['connection_limit']:,}"),
    ("Requests", "a page of a list", bound(Page, "length").format("")),
    ("Requests", "a page of the feed", bound(FeedQuery, "length").format("")),
    ("Requests", "points", f"{analytics.MOST_POINTS:,}"),
    ("Requests", "`minutes`", takes(ChannelStatisticsQuery().load_fields["minutes"])),
    ("Requests", "`Idempotency-Key`", f"kept for {once.KEPT_FOR // HOUR} hours"),
    ("Requests", "wrong credentials", f"{FailedLogins.MOST} within {FailedLogins.SPAN // SECOND} s"),
    ("Requests", "`expiresIn` of addresses", bound(PlaybackCreate, "expires_in").format(" s")),
    ("Requests", "`expiresIn` of a studio", bound(StudioCreate, "expires_in").format(" s")),
    ("Requests", "a session", f"{session.IDLE // HOUR} hours"),
    ("Webhooks", "webhooks of", f"{webhooks.MOST_WEBHOOKS}"),
    ("Webhooks", "the answer", f"{sender.DEADLINE_S:.0f} s for all of it, {sender.CONNECT_MS // 1000} s to"),
    ("Webhooks", "read of", f"{sender.ANSWER_READ // 1024} KiB; the first {queue.ANSWER_KEPT:,} bytes"),
    ("Webhooks", "failures", f"{queue.GIVEN_UP_AFTER.days} days"),
    ("Webhooks", "tries under way", SPLIT),
    ("Webhooks", "deliveries made", f"{redelivery.IN_ONE_CALL:,}"),
    (
        "Webhooks",
        "an old secret",
        f"{webhooks.OLD_SECRET_SIGNS_FOR // HOUR} hours, up to {webhooks.OLD_SECRETS}",
    ),
    ("Broadcasts", "publishers", f"silent for {arrival.SILENT_ENOUGH // SECOND} s"),
    ("Broadcasts", "before `startAt`", f"{clock.EARLY_PUBLISH // MINUTE} minutes"),
    ("Broadcasts", "nothing is sent", f"{nginx('drop_idle_publisher')} s"),
    ("Broadcasts", "no first key frame", f"{watch.HOPELESS_S:.0f} s"),
    ("Broadcasts", "a segment", f"{nginx('hls_max_fragment')} s"),
    ("Broadcasts", "a single frame", f"{nginx('max_message')} MiB"),
    ("Broadcasts", "renditions", f"{ladder.NEARLY:.0%}".replace("%", " %")),
    ("Broadcasts", "DVR", f"the last {index.DVR_S / 3600:.0f} hours; {index.SHORT_DVR_S / 60:.0f} minutes"),
    ("Broadcasts", "the list", LISTED),
    ("Broadcasts", "an mp4", f"{videos.DOWNLOAD_KEPT.days} day"),
    ("Accounts", "`maxDuration`", f"warned {reconcile.WARN_BEFORE // MINUTE} minutes before"),
    ("Accounts", "`maxBitrate`", f"cut after {reconcile.BEYOND // SECOND} s"),
    ("Accounts", "`maxHeight`", f"cut after {reconcile.BEYOND // SECOND} s"),
    ("What is kept for how long", "answers", f"{retention.FIXED['answers'] // HOUR} hours"),
    ("What is kept for how long", "backups", f"{KEPT_OF_UPGRADES}"),
    *(
        ("What is kept for how long", what, days(kind))
        for what, kind in {
            "events": "events",
            "the audit": "audit",
            "publish sessions": "sessions",
            "ended channels": "channels",
            "catch-ups": "videos",
            "figures by minute": "analytics",
            "figures by hour": "analytics_hourly",
        }.items()
    ),
]


@pytest.mark.parametrize(
    ("heading", "what", "said"), FACTS, ids=[f"{what} {said}" for _, what, said in FACTS]
)
def test_a_bound_is_the_codes(heading, what, said):
    assert re.search(rf"(?<![\d.,]){re.escape(said)}", told(heading, what))


def test_the_tries_of_a_delivery():
    first, last = schedule.PAUSES[0] // SECOND, schedule.PAUSES[-1] // HOUR
    [cells] = [cells for cells in rows(section(DOCUMENT, "Webhooks")) if cells[0] == "tries"]
    assert cells[1] == f"{schedule.TRIES}, with pauses of {first} s to {last} hours"


def test_every_row_of_numbers_is_looked_at():
    """A bound that is written down here and compared with nothing would be wrong one day."""
    looked_at = [(heading, what) for heading, what, _ in FACTS] + [("Webhooks", "tries")]
    by_eye = {"fields of a form", "video, sound", "`maxChannels`", "`maxLive`", "`maxStorage`"}
    for heading in ("Requests", "Webhooks", "Broadcasts", "Accounts", "What is kept for how long"):
        for name, *_ in rows(section(DOCUMENT, heading)):
            known = any(where == heading and name.startswith(what) for where, what in looked_at)
            assert known or name in by_eye, f"{heading}: {name}"


def test_a_form_of_too_many_fields_is_refused(client):
    form = "&".join(f"field{number}=1" for number in range(101))
    answer = client.post("/v1/live", data=form, content_type="application/x-www-form-urlencoded")
    assert answer.json["ec"] == 40000
    assert "100 | 400" in told("Requests", "fields of a form")
