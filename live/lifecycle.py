"""Everything that can happen to a channel, one verb each. The only file that assigns a status.

Each verb writes the change, its event and the event's deliveries in one transaction, and rings for the worker
when that is done. States and transitions: contract section 2.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from peewee import IntegrityError

import audit
from db import after_commit, database, part, run, to_ms
from errors import InvalidError, NotFoundError, NotPossibleError, TokenInUseError
from live import clock, fulltext
from live.arrival import Arrival, RefusedError, given_up
from live.events import emit, note, note_refused
from live.health import Health, health
from live.limits import Limits
from live.links import Links
from live.renditions import ladder_of
from live.snapshot import session_ms
from live.text import folded
from models import Channel, EndReason, EventName, Session, Status, new_id, new_stream_token
from wire import camel, iso

KEPT_AFTER_THE_END = {"name", "description", "tags", "metadata"}
# Who is back within this is as well as before, until a look says otherwise: reconnecting again and again is unstable
# all the time, not only between two of its connections.
HEALTH_KEPT = timedelta(minutes=1)


class Lifecycle:
    """The verbs. `ring` wakes the worker after a commit; it must not raise and must not wait."""

    def __init__(self, links: Links, limits: Limits, ring: Callable[[], None]) -> None:
        self.links = links
        self.limits = limits
        self.ring = ring

    # What an App Server does.

    def create(self, fields: dict[str, Any], now: datetime) -> Channel:
        """A new channel from ChannelCreate's fields."""
        if fields["start_at"] and fields["start_at"] <= now:
            raise InvalidError.field("startAt", "Must be in the future.")
        token = fields["stream_token"] or new_stream_token()
        try:
            with database.atomic():
                self._check_token_free(token, fields["account_id"])
                self.limits.check_create(fields["account_id"])
                channel = Channel.create(
                    **fields
                    | {"stream_token": token, "id": new_id("ch"), "name_folded": folded(fields["name"])}
                    | {"status": Status.COMING if fields["start_at"] else Status.INIT}
                    | {"created_at": now, "updated_at": now, "listed_at": now}
                    | {"node": self.links.place(fields["region"], now)}
                )
                self._write_tags(channel)
                fulltext.put("channel", channel.pk, channel.name, channel.tags, channel.description)
                note(channel, "created", now)
                if channel.start_at:
                    note(channel, "scheduled", now, startAt=iso(channel.start_at))
                audit.record("create", "channel", channel.id, channel.account_id, now)
                self._keep(channel, None)
                after_commit(self.ring)
        except IntegrityError as error:  # two creates with the same token, on a database that lets both look
            raise _in_use() from error
        return channel

    def update(self, channel_id: str, fields: dict[str, Any], now: datetime) -> Channel:
        """Change what is different; nothing different changes nothing."""
        with self._changing(channel_id, now) as (channel, session):
            forbidden = fields.keys() - KEPT_AFTER_THE_END
            if channel.over and forbidden:
                raise NotPossibleError(
                    f"The channel has ended: only {', '.join(sorted(KEPT_AFTER_THE_END))} can be changed."
                )
            # By repr: 1, 1.0 and True are equal in Python, but not in the metadata of an App Server.
            changed = [name for name, value in fields.items() if repr(getattr(channel, name)) != repr(value)]
            if not changed:
                return channel
            for name in changed:
                setattr(channel, name, fields[name])
            channel.name_folded = folded(channel.name)
            channel.updated_at = now
            if "tags" in changed:
                self._write_tags(channel)
            if {"name", "description", "tags"} & set(changed):
                fulltext.put("channel", channel.pk, channel.name, channel.tags, channel.description)
            note(channel, "updated", now, fields=[camel(name) for name in changed])
            audit.record("update", "channel", channel.id, channel.account_id, now)
            if "start_at" in changed:
                self._reschedule(channel, now)
            self._run_timers(channel, session, now)
        return channel

    def reset_token(self, channel_id: str, disconnect: bool, now: datetime) -> Channel:
        """A new streamToken; the old one is refused from now on. `disconnect` drops the publisher too."""
        with self._changing(channel_id, now) as (channel, session):
            if channel.over:
                raise NotPossibleError("The channel has ended: nobody can publish to it any more.")
            channel.stream_token = new_stream_token()
            channel.updated_at = now
            note(channel, "token_reset", now, disconnect=disconnect)
            audit.record("reset_token", "channel", channel.id, channel.account_id, now)
            if disconnect and session:
                self._close(channel, session, session.silent_since or now, "token_reset", now)
                self._run_timers(channel, None, now)
        return channel

    def stop(self, channel_id: str, now: datetime) -> Channel:
        """End the channel, whatever its state; an ended one stays as it is."""
        with self._changing(channel_id, now) as (channel, session):
            if not channel.over:
                self._end(channel, session, EndReason.STOPPED, now)
                audit.record("stop", "channel", channel.id, channel.account_id, now)
        return channel

    def delete(self, channel_id: str, now: datetime) -> None:
        """End the channel and remove it; its events and their deliveries stay."""
        with self._changing(channel_id, now) as (channel, session):
            if not channel.over:
                self._end(channel, session, EndReason.STOPPED, now)
            channel.delete_instance()
            audit.record("delete", "channel", channel.id, channel.account_id, now)

    # What a media server tells.

    def publish(self, stream_token: str, arrival: Arrival, now: datetime) -> Session:
        """Let a publisher in: a new session. Told twice, it is the same session. Raises RefusedError."""
        with part():
            channel = Channel.holding(stream_token)
            session = Session.open_of(channel) if channel else None
            if channel and channel.due_at and channel.due_at <= now:  # its time is over, the worker just late
                self._run_timers(channel, session, now)
                self._keep(channel, session)
            again = Session.of_connection(arrival.connection)
            if again and again.stop_time is None and channel and again.channel_id == channel.pk:
                return again
            refusal = "repeated" if again else self._refusal(channel, session, arrival, now)
            if refusal:
                note_refused(channel, refusal, arrival.client_ip, now)
            else:
                session = self._let_in(channel, session, arrival, now)
            after_commit(self.ring)
        if refusal:
            raise RefusedError(refusal)
        return session

    def unpublish(self, connection: str, reason: str, now: datetime, stopped: datetime | None = None) -> bool:
        """The publisher of this connection has left; `stopped` is when it last sent. False: nothing changed."""
        with part():
            session = Session.of_connection(connection)
            if session is None or session.stop_time:
                return False
            channel = session.channel
            self._close(channel, session, stopped or session.silent_since or now, reason, now)
            self._run_timers(channel, None, now)
            self._keep(channel, None)
            after_commit(self.ring)
        return True

    # What a packager shows.

    def playable(self, session_id: str, now: datetime) -> bool:
        """The session's output can be played. False: it is over, or was known to be playable."""
        with self._of_open_session(session_id) as (channel, session):
            if session is None or channel.status not in (Status.INIT, Status.ERROR):
                return False
            channel.status = Status.LIVE
            channel.health = channel.health or Health.EXCELLENT
            if session.live_at is None:
                session.live_at = now
                session.keep()
            if channel.start_time is None:
                channel.start_time = channel.listed_at = now
            note(channel, "live", now, sessionId=session.id)
            emit(EventName.LIVE, channel, session, self.links, now, publishing=True)
        return True

    def unplayable(self, session_id: str, reason: str, now: datetime) -> bool:
        """The publisher is connected but its signal cannot be played. False: it is over, or known to be bad."""
        with self._of_open_session(session_id) as (channel, session):
            if session is None or channel.status not in (Status.INIT, Status.LIVE):
                return False
            channel.status = Status.ERROR
            note(channel, "error", now, sessionId=session.id, reason=reason)
            emit(EventName.ERROR, channel, session, self.links, now, publishing=True)
        return True

    # What the signal shows: inside the transaction of the look at the media server that showed it.

    def judge(self, channel: Channel, session: Session, reasons: list[str], now: datetime) -> None:
        """How a live channel's signal is from now on; the timeline is told where viewers are affected, or no more."""
        fresh, before = health(reasons), channel.health
        if (fresh, reasons) == (before, channel.health_reasons or []):
            return
        channel.health, channel.health_reasons = fresh, reasons
        if fresh == Health.UNSTABLE != before:
            note(channel, "unstable", now, sessionId=session.id, reasons=reasons)
        elif before == Health.UNSTABLE != fresh:
            note(channel, "stable", now, sessionId=session.id, reasons=reasons)

    def warn(self, channel: Channel, session: Session, limit: str, ends_at: datetime, now: datetime) -> None:
        """Tell the timeline that a limit will cut the publisher off."""
        session.warned = (session.warned or {}) | {limit: to_ms(now)}
        note(channel, "limit_near", now, sessionId=session.id, limit=limit, endsAt=iso(ends_at))

    def laddered(self, session_id: str, told: dict[str, Any], now: datetime) -> bool:
        """What is made of the session's picture, and what is left out. False: it is over, or was said already."""
        with self._of_open_session(session_id) as (channel, session):
            nothing = not any(told.values())
            known = ladder_of(session) if session else None
            if session is None or told == known or (nothing and known is None):
                return False
            note(channel, "ladder", now, sessionId=session.id, **told)
        return True

    # What time does.

    def run_due(self, now: datetime) -> int:
        """Act for every channel whose time has come; returns how many changed."""
        due = Channel.due(now)
        for each in due:
            with suppress(NotFoundError), self._changing(each.id, now):  # not found: deleted since
                pass  # to open it is to run its timers
        return len(due)

    # The steps the verbs are made of; all of them run inside a verb's transaction.

    def _refusal(
        self, channel: Channel | None, session: Session | None, arrival: Arrival, now: datetime
    ) -> str | None:
        if channel is None:
            return "unknown_token"
        if channel.over:
            return "ended"
        if clock.too_early(channel, now):
            return "too_early"
        if session and not given_up(session, arrival, self.links.name, now):
            return "busy"
        return None if session else self.limits.refusal(channel)

    def _let_in(self, channel: Channel, old: Session | None, arrival: Arrival, now: datetime) -> Session:
        if old:  # its media server is gone, or it has been silent for long enough
            self._close(channel, old, old.silent_since or old.last_byte_at, "lost", now)
        session = Session.create(
            id=new_id("ses"),
            channel=channel,
            connection=arrival.connection,
            client_ip=arrival.client_ip,
            encoder=arrival.encoder,
            start_time=now,
            last_byte_at=now,
            max_ms=self.limits.max_ms(channel),
            node=self.links.name,
        )
        channel.status = Status.INIT
        channel.node = self.links.name
        if channel.left_at is None or now - channel.left_at > HEALTH_KEPT:
            channel.health, channel.health_reasons = None, None
        kind = "reconnected" if channel.published_at else "published"
        channel.published_at = channel.published_at or now
        note(channel, kind, now, sessionId=session.id, clientIp=arrival.client_ip, encoder=arrival.encoder)
        emit(EventName.CONNECTED, channel, session, self.links, now, publishing=True)
        self._keep(channel, session)
        return session

    def _close(
        self, channel: Channel, session: Session, stopped: datetime, reason: str, now: datetime
    ) -> None:
        session.stop_time = max(
            stopped, session.start_time
        )  # a clock that jumped back makes no negative time
        session.end_reason = reason
        session.keep()
        channel.sent_ms += session_ms(session, now)
        channel.stop_time = session.stop_time
        channel.left_at = now  # not when it last sent: after a crash of ours it gets its whole time to return
        channel.status = Status.INIT
        note(channel, "unpublished", now, sessionId=session.id, reason=reason)
        emit(EventName.STOP, channel, session, self.links, now, publishing=False)

    def _end(self, channel: Channel, session: Session | None, reason: EndReason, now: datetime) -> None:
        if session:
            self._close(channel, session, session.silent_since or now, reason, now)
        channel.status = Status.ENDED
        channel.end_reason = reason
        channel.updated_at = now
        channel.stop_time = channel.stop_time or now
        note(channel, "ended", now, reason=reason)
        emit(EventName.ENDED, channel, session, self.links, now, publishing=False)

    def _run_timers(self, channel: Channel, session: Session | None, now: datetime) -> None:
        """Whatever is due, in order: a channel looked at late goes through every state it missed."""
        while (due := clock.due_at(channel, session)) and due <= now:
            if session:
                if not self._raised(channel, session):
                    self._end(channel, session, EndReason.LIMIT, now)
                    session = None
            elif channel.status == Status.COMING:
                channel.status = Status.INIT
            else:
                reason = EndReason.STOP_TIMEOUT if channel.published_at else EndReason.EXPIRED
                self._end(channel, session, reason, now)

    def _raised(self, channel: Channel, session: Session) -> bool:
        """Whether the account may have more by now than when this session began; if so the session may too."""
        most = self.limits.max_ms(channel)
        if most is not None and most <= session.max_ms:
            return False
        session.max_ms = most
        session.keep()
        return True

    def _reschedule(self, channel: Channel, now: datetime) -> None:
        if channel.published_at is None:
            ahead = channel.start_at is not None and channel.start_at > now
            channel.status = Status.COMING if ahead else Status.INIT
        if channel.start_at:
            note(channel, "scheduled", now, startAt=iso(channel.start_at))

    def _check_token_free(self, token: str, account_id: str) -> None:
        holder = Channel.holding(token)
        if holder and (not holder.over or holder.account_id != account_id):
            raise _in_use()

    def _write_tags(self, channel: Channel) -> None:
        run("DELETE FROM channel_tag WHERE channel_id = ?", channel.pk)
        for tag in channel.tags:
            run(
                "INSERT INTO channel_tag (channel_id, tag, account_id, status, listed_at) "
                "SELECT pk, ?, account_id, status, listed_at FROM channel WHERE pk = ?",
                *(tag, channel.pk),
            )

    @contextmanager
    def _changing(self, channel_id: str, now: datetime) -> Iterator[tuple[Channel, Session | None]]:
        """A channel as it is now, with its open session, for a change that is kept when the block ends.

        What is due comes first: a channel whose time is over is not revived because the worker is late.
        """
        with database.atomic():
            channel = Channel.named(channel_id)
            if channel is None:
                raise NotFoundError.of("channel", channel_id)
            self._run_timers(channel, Session.open_of(channel), now)
            yield channel, Session.open_of(channel)
            self._keep(channel, Session.open_of(channel))
        self.ring()

    @contextmanager
    def _of_open_session(self, session_id: str) -> Iterator[tuple[Channel | None, Session | None]]:
        with database.atomic():
            session = Session.one("id = ? AND stop_time IS NULL", session_id)
            channel = session.channel if session else None
            yield channel, session
            if channel:
                self._keep(channel, session)
        self.ring()

    def _keep(self, channel: Channel, session: Session | None) -> None:
        channel.due_at = clock.due_at(channel, session)
        channel.keep()


_in_use = partial(TokenInUseError, "This streamToken is taken; leave it out to have one made.")
