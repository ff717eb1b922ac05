"""Every fault there is: importing a file of faults registers them."""

from tests.faults import database, media, processes, receivers
from tests.faults.rounds import FAULTS

FILES = (processes, database, media, receivers)
__all__ = ["FAULTS", "FILES"]
