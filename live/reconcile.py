"""The media server is the truth: open sessions are compared with the publishers it really has."""

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Protocol

from db import side_by_side, to_ms
from live import clock
from live.arrival import instance_of
from live.health import Monitor, Received, found
from live.lifecycle import Lifecycle
from live.limits import MEASURED_MS, measure
from models import Channel, Session, Status

# A hook is answered before the media server lists the publisher: this long, a new session need not be listed.
NEW = timedelta(seconds=5)
BEYOND = timedelta(milliseconds=MEASURED_MS)
# A signal that varies about a limit is told of once in this time.
WARN_AGAIN_MS = 300_000
WARN_BEFORE = timedelta(minutes=5)  # the end that a maxDuration makes
# A session's media on the wire (contract, section 2).
VIDEO = ("codec", "profile", "width", "height", "fps", "bitrate", "keyframeInterval")
AUDIO = ("codec", "sampleRate", "channels", "bitrate")
NO_SIGNALS: Mapping[str, dict[str, Any]] = MappingProxyType({})


class Publisher(Protocol):
    """What is known of a publisher: see media.servers.Publisher."""

    connection: str
    client_id: str
    stream: str | None
    bytes_in: int
    video: dict[str, Any]
    audio: dict[str, Any]


def reconcile(
    lifecycle: Lifecycle,
    instance: str,
    publishers: Iterable[Publisher],
    looked_at: datetime,
    signals: Mapping[str, dict[str, Any]] = NO_SIGNALS,
    monitor: Monitor | None = None,
    go_on: Callable[[], bool] = lambda: True,
) -> list[str]:
    """Close sessions of this node whose publisher is gone, note what the others send; returns the clients to drop.
    `go_on` is asked before each that is closed, for there may be thousands; where it says no, that is all.

    `publishers` were seen before this is called, so that each of them had its session written before. `signals` is
    what the packager says of sessions, by id (media/index.py: read_signal).
    """
    monitor, node = monitor or Monitor(), lifecycle.links.name
    seen = {publisher.connection: publisher for publisher in publishers}
    sessions = {session.connection: session for session in Session.all_open(node)}
    for session in sessions.values():
        publisher = seen.get(session.connection)
        if publisher and publisher.stream in (session.id, None):
            continue
        if instance_of(session.connection) == instance and looked_at - session.start_time < NEW:
            continue
        if not go_on():
            return []
        lifecycle.unpublish(
            session.connection, "lost", looked_at, session.silent_since or session.last_byte_at
        )
    with side_by_side():
        held = {session.channel_id for session in sessions.values() if session.connection in seen}
        Channel.hold_all(list(held))
        open_here = Session.all_open(node)
        heard = [each for each in open_here if each.connection in seen and each.channel_id in held]
        for session in heard:
            publisher, signal = seen[session.connection], signals.get(session.id, {})
            _note_bytes(session, publisher, looked_at)
            _note_media(session, publisher, signal)
            measure(session, looked_at)
            if session.channel.status == Status.LIVE:
                _judge(lifecycle, monitor, session, publisher, signal, looked_at)
        beyond = {session.connection: _beyond_limit(lifecycle, session, looked_at) for session in heard}
        for session in heard:
            _keep(lifecycle, session, looked_at)
    monitor.forget_all_but({session.id for session in heard})
    for connection, limit in beyond.items():
        if limit:
            lifecycle.unpublish(connection, limit, looked_at)
    return [publisher.client_id for publisher in seen.values() if publisher.connection not in sessions]


def sessions_of(publishers: Collection[Publisher]) -> set[str]:
    """The ids of these publishers' sessions, of those that are over too."""
    unnamed = [publisher.connection for publisher in publishers if publisher.stream is None]
    known = Session.select(Session.id).where(Session.connection.in_(unnamed)).tuples() if unnamed else ()
    return {publisher.stream for publisher in publishers if publisher.stream is not None} | {
        session_id for (session_id,) in known
    }


def lost_all(lifecycle: Lifecycle, now: datetime, go_on: Callable[[], bool] = lambda: True) -> int:
    """The media server is gone, and with it every publisher; returns how many there were. `go_on`: see reconcile."""
    sessions = Session.all_open(lifecycle.links.name)
    for session in sessions:
        if not go_on():
            break
        lifecycle.unpublish(session.connection, "lost", now, session.silent_since or session.last_byte_at)
    return len(sessions)


def _note_bytes(session: Session, publisher: Publisher, now: datetime) -> None:
    if publisher.bytes_in != session.bytes_in:
        if session.silent_since:
            session.silent_ms += max(0, to_ms(now) - to_ms(session.silent_since))
        session.bytes_in, session.last_byte_at, session.silent_since = publisher.bytes_in, now, None
    elif session.silent_since is None:
        session.silent_since = session.last_byte_at


def _note_media(session: Session, publisher: Publisher, signal: Mapping[str, Any]) -> None:
    """What the segments show; until there are any, and of codecs that we do not read, what the media server says."""
    video = publisher.video | signal.get("video", {})
    audio = publisher.audio | signal.get("audio", {})
    if video or audio:
        session.video = {name: video.get(name) for name in VIDEO} if video else {}
        session.audio = {name: audio.get(name) for name in AUDIO} if audio else {}


def _judge(
    lifecycle: Lifecycle,
    monitor: Monitor,
    session: Session,
    publisher: Publisher,
    signal: Mapping[str, Any],
    now: datetime,
) -> None:
    received = Received(
        session.video,
        session.audio,
        nominal_fps=publisher.video.get("fps"),
        late_s=monitor.late_s(session.id, signal.get("lastEndsMs"), now),
        longest_s=signal.get("longest", 0.0),
        silent_s=(now - session.silent_since).total_seconds() if session.silent_since else 0.0,
        reconnects=monitor.reconnects(session.id, session.starts, now),
    )
    shown = session.channel.health_reasons or []
    lifecycle.judge(session.channel, session, monitor.settle(session.id, shown, found(received), now), now)


def _beyond_limit(lifecycle: Lifecycle, session: Session, now: datetime) -> str | None:
    """The limit that the signal has been beyond for ten seconds; the timeline is told when it first is."""
    limit = lifecycle.limits.exceeded(session, session.channel.account_id, now)
    if limit is None:
        session.beyond_since = None
        return None
    if session.beyond_since is None:
        session.beyond_since = session.measured_at if limit == "limit_bitrate" else now
        last = (session.warned or {}).get(limit)
        if last is None or to_ms(now) - last > WARN_AGAIN_MS:
            lifecycle.warn(session.channel, session, limit, session.beyond_since + BEYOND, now)
    return limit if now - session.beyond_since >= BEYOND else None


def _keep(lifecycle: Lifecycle, session: Session, now: datetime) -> None:
    channel = session.channel
    channel.due_at = clock.due_at(channel, session)  # silence is no time on air
    if (
        channel.due_at
        and channel.due_at - now <= WARN_BEFORE
        and "limit_duration" not in (session.warned or {})
    ):
        most = lifecycle.limits.max_ms(channel)
        if most is not None and most <= session.max_ms:  # else it may go on, whatever it was when it began
            lifecycle.warn(channel, session, "limit_duration", channel.due_at, now)
    session.keep()
    channel.keep()
