"""The safety net under delivery/queue.py: what stands in it wrongly is made due. Normally there is nothing."""

from datetime import datetime
from functools import reduce
from operator import or_
from typing import Any

from peewee import SQL, fn

from db import database
from delivery import schedule
from delivery.queue import A_MOMENT, LEASE, PENDING
from models import Delivery


def mend(now: datetime) -> int:
    """Make due what stands first in its queue without a time, and what a clock that was put back has left in a
    far future: normally nothing; a safety net, not the path."""
    wrong = (_too_late(now), _forgotten())
    if not any(Delivery.select().where(each).exists() for each in wrong):
        return 0
    with database.atomic():
        return sum(Delivery.update(next_at=now).where(each).execute() for each in wrong)


def _too_late(now: datetime) -> Any:
    """Nothing waits for longer than its pause may last, or its lease: what would was timed by another clock."""
    longest = [A_MOMENT, *(max(LEASE, 2 * pause) for pause in schedule.PAUSES), LEASE]
    late = (
        (Delivery.attempts == tries) & (Delivery.next_at > now + wait) for tries, wait in enumerate(longest)
    )
    return PENDING & reduce(or_, late)


def _forgotten() -> Any:
    other = Delivery.alias()
    first = other.select(fn.MIN(other.pk)).where(other.status == SQL("'pending'"))
    return (
        PENDING & Delivery.next_at.is_null() & Delivery.pk.in_(first.group_by(other.webhook_id, other.queue))
    )
