"""The media server is the truth: open sessions are compared with the publishers it really has."""

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Protocol

from db import database, to_ms
from live import clock
from live.arrival import instance_of
from live.lifecycle import Lifecycle
from live.limits import measure
from models import Session

log = logging.getLogger(__name__)

# A hook is answered before the media server lists the publisher: this long, a new session need not be listed.
NEW = timedelta(seconds=5)


class Publisher(Protocol):
    """What is known of a publisher: see media.servers.Publisher."""

    connection: str
    client_id: str
    stream: str
    bytes_in: int
    video: dict[str, Any]
    audio: dict[str, Any]


def reconcile(
    lifecycle: Lifecycle, instance: str, publishers: Iterable[Publisher], looked_at: datetime
) -> list[str]:
    """Close sessions whose publisher is gone, note what the others send; returns the clients to drop.

    `publishers` were seen before this is called, so that each of them had its session written before.
    """
    seen = {publisher.connection: publisher for publisher in publishers}
    sessions = {session.connection: session for session in Session.all_open()}
    for session in sessions.values():
        publisher = seen.get(session.connection)
        if publisher and publisher.stream == session.id:
            continue
        if instance_of(session.connection) == instance and looked_at - session.start_time < NEW:
            continue
        log.warning("the publisher of %s is gone without a word", session.id)
        lifecycle.unpublish(
            session.connection, "lost", looked_at, session.silent_since or session.last_byte_at
        )
    with database.atomic():
        heard = [session for session in Session.all_open() if session.connection in seen]
        for session in heard:
            _note_bytes(session, seen[session.connection], looked_at)
        measured = [session for session in heard if measure(session, looked_at)]
        for session in heard:
            _keep(session)
    for session in measured:
        if limit := lifecycle.limits.exceeded(session, session.channel.account_id):
            log.warning("the publisher of %s goes: %s", session.id, limit)
            lifecycle.unpublish(session.connection, limit, looked_at)
    return [publisher.client_id for publisher in seen.values() if publisher.connection not in sessions]


def lost_all(lifecycle: Lifecycle, now: datetime) -> int:
    """The media server is gone, and with it every publisher; returns how many there were."""
    sessions = Session.all_open()
    for session in sessions:
        lifecycle.unpublish(session.connection, "lost", now, session.silent_since or session.last_byte_at)
    return len(sessions)


def _note_bytes(session: Session, publisher: Publisher, now: datetime) -> None:
    if publisher.bytes_in != session.bytes_in:
        if session.silent_since:
            session.silent_ms += max(0, to_ms(now) - to_ms(session.silent_since))
        session.bytes_in, session.last_byte_at, session.silent_since = publisher.bytes_in, now, None
    elif session.silent_since is None:
        session.silent_since = session.last_byte_at
    if publisher.video or publisher.audio:
        session.video, session.audio = publisher.video, publisher.audio


def _keep(session: Session) -> None:
    if session.dirty_fields:
        session.save(only=session.dirty_fields)
    channel = session.channel
    channel.due_at = clock.due_at(channel, session)  # silence is no time on air
    if channel.dirty_fields:
        channel.save(only=channel.dirty_fields)
