"""One thread that sends what is due: claims, drives all transfers at once, keeps what came of them."""

import logging
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import datetime
from urllib.parse import urlsplit

import peewee

from config import Config
from db import beside_or_alone, connection, utcnow
from delivery import queue, signature
from delivery.mending import mend
from delivery.policy import Policy
from delivery.queue import Front, Job, Outcome
from delivery.secretbox import SecretBox
from delivery.sender import DEADLINE_S, Sender

log = logging.getLogger(__name__)

# How many tries may be under way at once. A receiver that hangs costs each of its tries the whole deadline, so
# it must run out of its own share long before the room for all is used up.
ROOM = 400
PER_HOST = 128
PER_RECEIVER = 32
PER_WEBHOOK = 16
PER_FAILING_WEBHOOK = 4
# Those that fail have half of the room together: however many hosts hang, what goes to the others never waits.
FOR_FAILING = ROOM // 2

POLL_S = 1.0
MEND_S = 60.0
# SQLite hands its write lock to whoever happens to ask at the right moment. After each turn it is left alone for
# about as long as the turn took, or the API would wait in vain while a backlog drains; and what comes
# back meanwhile is recorded together.
BREATHER = 1.0
DATABASE_PAUSES_S = (0, 0.1, 0.5, 1.0, 2.0, 5.0)


class Shares:
    """What is in flight, and how much more each webhook may have."""

    def __init__(self) -> None:
        self.jobs: dict[str, dict[int, Job]] = defaultdict(dict)
        self.total = 0

    def add(self, job: Job) -> None:
        self.jobs[job.webhook_id][job.pk] = job
        self.total += 1

    def remove(self, job: Job) -> None:
        del self.jobs[job.webhook_id][job.pk]
        if not self.jobs[job.webhook_id]:
            del self.jobs[job.webhook_id]
        self.total -= 1

    def flying(self) -> set[int]:
        return {pk for jobs in self.jobs.values() for pk in jobs}

    def split(self, fronts: list[Front]) -> list[tuple[Front, int]]:
        """Those that may have more, and how many: one each in turns, so that a backlog leaves room for others."""
        flying = [receiver(job.uri) for jobs in self.jobs.values() for job in jobs.values()]
        at_port, at_host = Counter(flying), Counter(host for host, _ in flying)
        failing = sum(len(self.jobs.get(front.webhook_id, ())) for front in fronts if front.failing)
        more: Counter[str] = Counter()
        room = ROOM - self.total
        asking = sorted(fronts, key=lambda front: front.next_at)
        while asking and room > 0:
            still = []
            for front in asking:
                most = PER_FAILING_WEBHOOK if front.failing else PER_WEBHOOK
                has = len(self.jobs.get(front.webhook_id, ())) + more[front.webhook_id]
                where = receiver(front.uri)
                full = at_port[where] >= PER_RECEIVER or at_host[where[0]] >= PER_HOST
                full = full or (front.failing and failing >= FOR_FAILING)
                if room > 0 and has < most and not full:
                    more[front.webhook_id] += 1
                    at_port[where] += 1
                    at_host[where[0]] += 1
                    failing += front.failing
                    room -= 1
                    still.append(front)
            asking = still
        return [(front, more[front.webhook_id]) for front in fronts if more[front.webhook_id]]


def receiver(uri: str) -> tuple[str, int]:
    """Host and port. Two ports of a host are two programs, but one machine, so that they share a larger part."""
    parts = urlsplit(uri)
    return (parts.hostname or "").removesuffix("."), parts.port or (443 if parts.scheme == "https" else 80)


def _pause(shares: list[tuple[Front, int]], now: datetime) -> float:
    """Until the first that is not due yet; what is due and full is waited for as a transfer."""
    ahead = [(front.next_at - now).total_seconds() for front, _ in shares if front.next_at > now]
    return min([POLL_S, *ahead])


class Dispatcher:
    """`start` it, `wake` it when something was written, `stop` it; it finds what is due by itself as well."""

    def __init__(
        self,
        config: Config,
        *,
        deadline: float = DEADLINE_S,
        ca_file: str | None = None,
        clock: Callable[[], datetime] = utcnow,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.config = config
        self.deadline = deadline
        self.ca_file = ca_file
        self.clock = clock
        self.chance = chance
        self.shares = Shares()
        self.finished: list[tuple[Job, Outcome]] = []
        self.mended = -MEND_S
        self.failures = 0
        self.stop_by: float | None = None
        self.thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)

    def start(self) -> None:
        self.box = SecretBox(self.config.keys_dir)
        self.sender = Sender(Policy.of(self.config), self.deadline, self.ca_file)
        self.thread.start()

    def wake(self) -> None:
        if self.thread.is_alive():
            self.sender.wake()

    def stop(self, timeout: float = DEADLINE_S) -> None:
        """Claim nothing more, let what is in flight finish for so long, give the rest back."""
        self.stop_by = time.monotonic() + timeout
        self.wake()
        if self.thread.is_alive():
            self.thread.join(timeout + 10)

    def _run(self) -> None:
        while not self._over():
            try:
                self._drive(time.monotonic() + self._rest_s())
                with connection():
                    while not self._over():
                        began = time.monotonic()
                        pause = self._turn()
                        took = time.monotonic() - began
                        self.failures = 0
                        self.finished += self.sender.wait(pause)
                        self._drive(began + took * (1 + BREATHER))
            except Exception as error:
                # Whatever it was, deliveries go on: nothing is lost, for it is recorded in the next turn.
                expected = isinstance(error, peewee.DatabaseError)
                log.error("deliveries: %s: %s", type(error).__name__, error, exc_info=not expected)
                self.failures += 1
                time.sleep(0.05)
        self._give_back()
        self.sender.close()

    def _over(self) -> bool:
        if self.stop_by is None:
            return False
        return self.shares.total == 0 or time.monotonic() >= self.stop_by

    def _turn(self) -> float:
        """Keep what is done, start what is due; returns for how long there is nothing else to do."""
        now = self.clock()
        if time.monotonic() - self.mended >= MEND_S:
            self.mended = time.monotonic()
            if count := mend(now):
                log.warning("deliveries: %d were waiting for nothing", count)
        finished, self.finished = self.finished, []
        for job, _ in finished:
            self.shares.remove(job)
        try:
            jobs, pause = self._settle(finished, now)
        except BaseException:
            self.finished = finished + self.finished
            for job, _ in finished:
                self.shares.add(job)
            raise
        for job in jobs:
            self._send(job, now)
        return 0 if jobs else pause

    def _settle(self, finished: list[tuple[Job, Outcome]], now: datetime) -> tuple[list[Job], float]:
        """One commit for what came back and for what goes out next; none when there is neither."""
        if not finished:
            shares = self._shares()
            if not any(front.next_at <= now for front, _ in shares):
                return [], _pause(shares, now)
        return beside_or_alone(lambda: self._exchange(finished, now))

    def _exchange(self, finished: list[tuple[Job, Outcome]], now: datetime) -> tuple[list[Job], float]:
        if finished:
            self._record(finished, now)
        shares = self._shares()
        due = {front.webhook_id: most for front, most in shares if front.next_at <= now}
        jobs, more = queue.claim(due, now, self.shares.flying()) if due else ([], False)
        return jobs, 0 if more else _pause(shares, now)

    def _shares(self) -> list[tuple[Front, int]]:
        return self.shares.split(queue.fronts()) if self.stop_by is None else []

    def _record(self, finished: list[tuple[Job, Outcome]], now: datetime) -> None:
        try:
            queue.record(finished, now, self.chance)
        except peewee.DatabaseError:
            raise
        except Exception:
            log.exception("%d deliveries cannot be recorded together", len(finished))
            if len(finished) > 1:
                # One that cannot be kept must not keep the others; its lease ends, and it is tried again.
                for each in finished:
                    self._record([each], now)

    def _send(self, job: Job, now: datetime) -> None:
        self.shares.add(job)
        try:
            keys = [self.box.decrypt(secret) for secret in job.secrets]
            headers = signature.headers(job.message_id, int(now.timestamp()), job.body, keys)
            self.sender.start(job, job.uri, headers, job.body, now)
        except Exception as error:
            log.exception("%s cannot be sent", job.delivery_id, extra={"deliveryId": job.delivery_id})
            self.finished.append((job, Outcome(now, error=f"not sent: {error}")))

    def _rest_s(self) -> float:
        """For how long to leave the database alone after so many failures; what is in flight goes on."""
        return DATABASE_PAUSES_S[min(self.failures, len(DATABASE_PAUSES_S) - 1)]

    def _drive(self, until: float) -> None:
        """Nothing but the network until then."""
        while (left := until - time.monotonic()) > 0 and not self._over():
            self.finished += self.sender.wait(left)

    def _leave(self, abandoned: list[tuple[Job, datetime]], now: datetime) -> None:
        self._record(self.finished, now)
        queue.release(abandoned, now)

    def _give_back(self) -> None:
        abandoned = self.sender.abandon()
        try:
            with connection():
                beside_or_alone(lambda: self._leave(abandoned, self.clock()))
        except peewee.DatabaseError as error:
            log.error("deliveries in flight stay claimed until their leases end: %s", error)
