"""What is due to be delivered, and what came of it: every change of a Delivery row after its making.

A queue is the deliveries of one webhook and one channel, and goes out in order: only its oldest pending one may
be claimed. That one has `next_at`, those behind it have none, so that a long backlog costs nothing to look past.
A claim is a lease: when the worker dies, the delivery is due again at its end, and the try counts as one.

Everything is done for many at once: under load the database's lock is what deliveries and the API share.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from peewee import SQL, fn

from db import beside_or_alone, database, from_ms, part, run, side_by_side, to_ms
from delivery import schedule, signature, tally
from models import Attempt, Delivery, DeliveryStatus, Webhook

LEASE = timedelta(seconds=60)
A_MOMENT = timedelta(seconds=1)  # what is new is due at once; two processes read the clock
GIVEN_UP_AFTER = timedelta(days=5)
ANSWER_KEPT = 1024
LOOKED_AT = 24  # of each webhook: more than may be in flight to it
PARKED_AT_ONCE = 500
INTERRUPTED = "interrupted: the worker stopped during this try"
GONE = "The receiver answered 410 Gone."
ONLY_FAILURES = "Every delivery failed for five days."

# A literal, not a parameter: SQLite uses the partial indexes only where it can read their condition.
PENDING = Delivery.status == SQL("'pending'")


class Front(NamedTuple):
    """A webhook that has something to do, and when the first of it is due."""

    webhook_id: str
    uri: str
    failing: bool
    next_at: datetime


@dataclass(frozen=True)
class Job:
    """One try of a claimed delivery; `number` tells which."""

    pk: int
    delivery_id: str
    webhook_id: str
    number: int
    uri: str
    message_id: str
    body: bytes
    secrets: tuple[str, ...]  # encrypted, the newest first


class Claimed(NamedTuple):
    """What may be sent now. `more`: some were in the way of a look that are not any more, so look again at once."""

    jobs: list[Job]
    more: bool


@dataclass(frozen=True)
class Outcome:
    """What came of a try: an answer, or an error that says why there is none."""

    time: datetime
    status_code: int | None = None
    latency_ms: int | None = None
    answer: bytes = b""
    retry_after: str | None = None
    error: str | None = None

    @property
    def ok(self) -> bool:
        return self.error is None and self.status_code is not None and 200 <= self.status_code < 300


def fronts() -> list[Front]:
    """Every webhook with something to do: one look into an index for each, however long its backlog."""
    rows = run(
        """
        SELECT id, uri, failing_since IS NOT NULL,
               (SELECT MIN(next_at) FROM delivery
                 WHERE status = 'pending' AND next_at IS NOT NULL AND webhook_id = webhook.id) AS first
          FROM webhook
        """
    )
    return [
        Front(webhook_id, uri, bool(failing), from_ms(first))
        for webhook_id, uri, failing, first in rows
        if first is not None
    ]


def claim(wanted: Mapping[str, int], now: datetime, mine: Collection[int] = ()) -> Claimed:
    """Take due deliveries, up to so many of each webhook, but none of `mine`, which this worker has in flight
    even if the clock has jumped past the end of their leases."""
    with side_by_side():
        free = _hold(wanted, database.hold_free)
        heads, behind = _look({each: wanted[each] for each in free}, now, mine)
        if behind:
            _park(behind, now)
        ready = []
        for job, lease_until in heads:
            if lease_until is None:
                ready.append(job)
                continue
            lost = job.number - 1
            _keep([(job.pk, lost, Outcome(lease_until - LEASE, error=INTERRUPTED))])
            if lost < schedule.TRIES:
                ready.append(job)
            else:  # the last try took a worker down as well: enough
                _settle([job.pk], DeliveryStatus.FAILED)
                _promote([job.pk], now)
                tally.given_up(job, INTERRUPTED)
        return Claimed(_lease(ready, now), bool(behind) or len(free) < len(wanted))


def record(results: list[tuple[Job, Outcome]], now: datetime, chance: Callable[[], float]) -> None:
    """Keep tries and settle what follows: delivered, another try, failed, or a webhook turned off."""
    beside_or_alone(lambda: _record(results, now, chance))


def _record(results: list[tuple[Job, Outcome]], now: datetime, chance: Callable[[], float]) -> None:
    with part():
        _hold([job.webhook_id for job, _ in results], database.hold)
        rows = _states([job.pk for job, _ in results])
        known = [(job, outcome, rows[job.pk]) for job, outcome in results if job.pk in rows]
        # Where the lease ran out and somebody tried again, theirs decides.
        current = [(job, outcome, status) for job, outcome, (status, tries) in known if tries == job.number]
        late = [(job, outcome) for job, outcome, (_, tries) in known if tries != job.number]
        _keep([(job.pk, job.number, outcome) for job, outcome, _ in current])
        for job, outcome in late:
            _keep_late(job, outcome)
        arrived = [job for job, outcome, _ in current if outcome.ok]
        if arrived:
            # Also those that were cancelled meanwhile: they did arrive.
            _settle([job.pk for job in arrived], DeliveryStatus.DELIVERED)
            run(
                "UPDATE webhook SET failing_since = NULL WHERE failing_since IS NOT NULL AND id IN (?)",
                list({job.webhook_id for job in arrived}),
            )
        for job, outcome, status in current:
            tally.tried(job, outcome)
            if not outcome.ok and status == DeliveryStatus.PENDING:
                _failed(job, outcome, now, chance())
        _promote([job.pk for job, _, _ in current], now)


def release(started: list[tuple[Job, datetime]], now: datetime) -> None:
    """Give back what a stopping worker did not finish; the receivers may have had it, so it counts as a try."""
    with side_by_side():
        _hold([job.webhook_id for job, _ in started], database.hold)
        rows = _states([job.pk for job, _ in started])
        mine = [(job, at) for job, at in started if rows.get(job.pk) == (DeliveryStatus.PENDING, job.number)]
        _keep([(job.pk, job.number, Outcome(at, error=INTERRUPTED)) for job, at in mine])
        for job, _ in mine:
            _due(job.pk, now)


def cancel(webhook_id: str) -> None:
    """Nothing more goes to this webhook. What is in flight may still arrive."""
    Delivery.update(status=DeliveryStatus.CANCELLED, next_at=None, lease_until=None).where(
        PENDING & (Delivery.webhook_id == webhook_id)
    ).execute()


def old_secrets(kept: str | None, until: datetime | None, now: datetime) -> list[str]:
    """Those that still sign beside the new one, the latest first. Encrypted text has no spaces, so one parts it."""
    return kept.split(" ") if kept and until and now < until else []


def turn_off(webhook_id: str, reason: str | None) -> None:
    with database.atomic():
        if reason:
            tally.turned_off(webhook_id, reason)
        Webhook.update(active=False, disabled_reason=reason).where(Webhook.id == webhook_id).execute()
        cancel(webhook_id)


def _hold(webhook_ids: Collection[str], how: str) -> set[str]:
    """Nobody else claims, records or parks deliveries of these webhooks until the transaction ends. In one order for
    all; the next statement sees what whoever had them before has left."""
    if not how:
        return set(webhook_ids)
    rows = run(f"SELECT id FROM webhook WHERE id IN (?) ORDER BY pk{how}", [*{*webhook_ids}])  # noqa: S608
    return {webhook_id for (webhook_id,) in rows}


def _look(
    wanted: Mapping[str, int], now: datetime, mine: Collection[int]
) -> tuple[list[tuple[Job, datetime | None]], list[str]]:
    """The first due deliveries of each webhook, as the next try of each, with the leases they had; and the
    webhooks that have some among their due ones that stand behind an older one of their queue."""
    rows = run(
        """
        SELECT w.id, w.uri, w.secret, w.old_secret, w.old_secret_until,
               d.pk, d.id, d.attempts, d.lease_until, d.event_id, COALESCE(e.payload, d.payload),
               EXISTS (SELECT 1 FROM delivery AS older
                        WHERE older.status = 'pending' AND older.webhook_id = d.webhook_id
                          AND older.queue = d.queue AND older.pk < d.pk)
          FROM webhook AS w
          JOIN delivery AS d ON d.pk IN (SELECT first.pk FROM delivery AS first
                                          WHERE first.status = 'pending' AND first.webhook_id = w.id
                                            AND first.next_at <= ?
                                          ORDER BY first.next_at, first.pk LIMIT ?)
          LEFT JOIN event AS e ON e.id = d.event_id
         WHERE w.id IN (?)
         ORDER BY d.next_at, d.pk
        """,
        to_ms(now),
        LOOKED_AT,
        list(wanted),
    )
    left, heads, behind = dict(wanted), [], set()
    for *job, stands_behind in rows:
        webhook_id, pk, lease_until = job[0], job[5], job[8]
        if stands_behind:
            behind.add(webhook_id)
        elif left[webhook_id] and pk not in mine:
            left[webhook_id] -= 1
            heads.append((_job(*job, now=now), None if lease_until is None else from_ms(lease_until)))
    return heads, sorted(behind)


def _job(
    webhook_id: str,
    uri: str,
    secret: str,
    old_secret: str | None,
    old_secret_until: int | None,
    pk: int,
    delivery_id: str,
    attempts: int,
    lease_until: int | None,
    event_id: int | None,
    payload: str,
    *,
    now: datetime,
) -> Job:
    until = None if old_secret_until is None else from_ms(old_secret_until)
    return Job(
        pk=pk,
        delivery_id=delivery_id,
        webhook_id=webhook_id,
        number=attempts + 1,
        uri=uri,
        message_id=delivery_id if event_id is None else signature.message_id(event_id, webhook_id),
        body=payload.encode(),
        secrets=(secret, *old_secrets(old_secret, until, now)),
    )


def _lease(jobs: list[Job], now: datetime) -> list[Job]:
    if not jobs:
        return []
    until = to_ms(now + LEASE)
    taken = run(
        """
        UPDATE delivery SET lease_until = ?, next_at = ?, attempts = attempts + 1
         WHERE pk IN (?) AND status = 'pending' AND next_at <= ?
        RETURNING pk
        """,
        until,
        until,
        [job.pk for job in jobs],
        to_ms(now),
    )
    return [job for job in jobs if (job.pk,) in taken]


def _park(webhook_ids: list[str], now: datetime) -> None:
    """Take the time from deliveries that were written as due although older ones of their queue are pending."""
    due = PENDING & Delivery.webhook_id.in_(webhook_ids) & (Delivery.next_at <= now)
    waiting = Delivery.select(Delivery.pk).where(due & _stands_behind()).limit(PARKED_AT_ONCE)
    if pks := [pk for (pk,) in waiting.tuples()]:
        Delivery.update(next_at=None).where(Delivery.pk.in_(pks)).execute()


def _stands_behind() -> Any:
    """True of a delivery that has an older pending one in its queue."""
    older = Delivery.alias()
    return fn.EXISTS(
        older.select(SQL("1")).where(
            (older.status == SQL("'pending'"))
            & (older.webhook_id == Delivery.webhook_id)
            & (older.queue == Delivery.queue)
            & (older.pk < Delivery.pk)
        )
    )


def _promote(over: list[int], now: datetime) -> None:
    """Whose turn it is in the queues of these, now that they may be over."""
    run(
        """
        UPDATE delivery SET next_at = ?
         WHERE next_at IS NULL
           AND pk IN (SELECT (SELECT MIN(first.pk) FROM delivery AS first
                               WHERE first.status = 'pending' AND first.webhook_id = over.webhook_id
                                 AND first.queue = over.queue)
                        FROM delivery AS over WHERE over.pk IN (?))
        """,
        to_ms(now),
        over,
    )


def _states(pks: list[int]) -> dict[int, tuple[str, int]]:
    rows = run("SELECT pk, status, attempts FROM delivery WHERE pk IN (?)", pks)
    return {pk: (status, tries) for pk, status, tries in rows}


def _settle(pks: list[int], status: DeliveryStatus) -> None:
    run(
        "UPDATE delivery SET status = ?, next_at = NULL, lease_until = NULL WHERE pk IN (?)",
        status.value,
        pks,
    )


def _due(pk: int, moment: datetime) -> None:
    run(
        "UPDATE delivery SET next_at = ?, lease_until = NULL WHERE pk = ? AND status = 'pending'",
        to_ms(moment),
        pk,
    )


def _keep(tries: list[tuple[int, int, Outcome]]) -> None:
    for pk, number, outcome in tries:
        run(
            """
            INSERT INTO attempt (delivery_id, number, time, status_code, latency_ms, answer, error)
            VALUES (?, ?, ?, ?, ?, ?, ?)
            """,
            pk,
            number,
            to_ms(outcome.time),
            outcome.status_code,
            outcome.latency_ms,
            outcome.answer[:ANSWER_KEPT] or None,
            outcome.error,
        )


def _keep_late(job: Job, outcome: Outcome) -> None:
    """What became of a try that was given up as interrupted."""
    Attempt.update(
        status_code=outcome.status_code,
        latency_ms=outcome.latency_ms,
        answer=outcome.answer[:ANSWER_KEPT] or None,
        error=outcome.error,
    ).where((Attempt.delivery == job.pk) & (Attempt.number == job.number)).execute()


def _failed(job: Job, outcome: Outcome, now: datetime, chance: float) -> None:
    again = schedule.next_at(job.number, now, outcome.retry_after, chance)
    if outcome.status_code == 410 or again is None:
        _settle([job.pk], DeliveryStatus.FAILED)
        tally.given_up(job, tally.why(outcome))
    else:
        _due(job.pk, again)
    webhook = Webhook.named(job.webhook_id)
    if webhook is None or not webhook.active:
        return
    if outcome.status_code == 410:
        turn_off(webhook.id, GONE)
    elif webhook.failing_since is None:
        Webhook.update(failing_since=outcome.time).where(Webhook.pk == webhook.pk).execute()
    elif now - webhook.failing_since >= GIVEN_UP_AFTER:
        turn_off(webhook.id, ONLY_FAILURES)
