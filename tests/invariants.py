"""What holds for every channel at every moment, read from the database: contract sections 2 and 3."""

import json
import re
from collections import defaultdict
from datetime import datetime
from typing import ClassVar

from db import database, from_ms, to_ms
from live import clock
from live.links import Links
from live.snapshot import channel_object
from models import Channel, Delivery, Event, Session, Status, TimelineEntry, Webhook
from tests.story import after

LINKS = Links("http://live.example", "rtmp://live.example/live")
ALLOWED = {
    "coming": {"coming", "init", "ended"},
    "init": {"init", "live", "error", "ended"},
    "live": {"live", "init", "error", "ended"},
    "error": {"error", "live", "init", "ended"},
    "ended": {"ended"},
}
# A session: connected, then live and error in turns, then stopped; `ended` after the last, once, or never.
LETTER = {
    "channel_connected": "c",
    "channel_live": "l",
    "channel_error": "e",
    "channel_stop": "s",
    "channel_ended": "x",
}
STORY = re.compile(r"(c((le)*l?|(el)*e?)s)*(c((le)*l?|(el)*e?)|x)?")
SHOWN = {"c": "init", "l": "live", "e": "error", "s": "init", "x": "ended"}


class Watch:
    """Looks at the database after every step; remembers what it saw, to judge the transition."""

    COUNTED: ClassVar = (Event, Delivery, TimelineEntry)

    def __init__(self) -> None:
        self.statuses: dict[str, tuple[str, datetime | None, datetime | None]] = {}
        self.stories: dict[str, str] = defaultdict(str)
        self.told_session: dict[str, str | None] = {}
        self.events_seen, self.changes = 0, -1

    def open_sessions(self) -> list[Session]:
        return list(Session.select().where(Session.stop_time.is_null()))

    def look(self, now: datetime) -> None:
        # PostgreSQL has no such number: every look is a whole one.
        changes = getattr(database.connection(), "total_changes", self.changes + 1)
        if changes == self.changes:
            return
        self.changes = changes
        self.sessions = defaultdict(list)
        for session in Session.select().order_by(Session.pk):
            self.sessions[session.channel_id].append(session)
        self.deliveries(self.read_news())
        assert miscounted() == set()
        rows = {row.id: row for row in Channel.select()}
        for row in rows.values():
            self.transition(row)
            self.channel(row, self.stories[row.id], now)
        for channel_id, story in self.stories.items():
            assert channel_id in rows or story.endswith("x"), "a deleted channel had ended"
        self.refusals()

    def transition(self, row: Channel) -> None:
        before = self.statuses.get(row.id)
        if before and row.status not in ALLOWED[before[0]]:
            rescheduled = row.start_at != before[1] and row.published_at is None
            assert (before[0], row.status) == ("init", "coming")
            assert rescheduled, "only a new startAt before the first publish goes back to coming"
        self.statuses[row.id] = (row.status, row.start_at, row.published_at)

    def channel(self, row: Channel, story: str, now: datetime) -> None:
        mine = self.sessions[row.pk]
        running = [session for session in mine if session.stop_time is None]
        closed = [session for session in mine if session.stop_time]
        assert len(running) <= 1
        session = running[0] if running else None
        assert bool(session) == (story[-1:] in set("cle"))
        assert row.seq == len(story)
        assert (row.status == Status.ENDED) == (story[-1:] == "x") == (row.end_reason is not None)
        assert (row.status == Status.LIVE) == (story[-1:] == "l")
        assert (row.status == Status.ERROR) == (story[-1:] == "e")
        if row.status == Status.COMING:
            assert (row.start_at is not None, mine) == (True, [])
        assert row.due_at == clock.due_at(row, session)
        assert len(mine) == story.count("c")
        assert bool(row.published_at) == bool(mine)
        assert bool(row.start_time) == ("l" in story)
        assert row.listed_at == (row.start_time or row.created_at)
        assert all(each.stop_time >= each.start_time and each.end_reason for each in closed)
        on_air = sum(sent_ms(each, each.stop_time) for each in closed)
        assert row.sent_ms == on_air
        if session:
            on_air += sent_ms(session, session.silent_since or now)
        shown = channel_object(row, session, LINKS, now)
        assert shown["duration"] == on_air // 1000
        assert (shown["publishing"], shown["status"]) == (session is not None, row.status)
        assert (shown["livestreamUrl"] is not None) == (row.status == Status.LIVE)
        if closed:
            assert row.stop_time == closed[-1].stop_time
        elif row.over:
            assert row.stop_time is not None
        else:
            assert row.stop_time is None

    def read_news(self) -> list[Event]:
        """The events since the last look: each in its place, and every channel's story one that can be."""
        news = list(Event.select().where(Event.id > self.events_seen).order_by(Event.id))
        for event in news:
            letter = LETTER[event.name]
            self.stories[event.channel_id] += letter
            assert event.seq == len(self.stories[event.channel_id]), "gapless, in the order of the feed"
            if letter == "c":
                self.told_session[event.channel_id] = event.session_id
            if letter != "x":
                assert event.session_id == self.told_session[event.channel_id]
            self.payload(event, letter)
            self.events_seen = event.id
        for event in news:
            assert STORY.fullmatch(self.stories[event.channel_id]), self.stories[event.channel_id]
        return news

    def payload(self, event: Event, letter: str) -> None:
        said = json.loads(event.payload)
        assert (said["event"], said["eventId"], said["seq"]) == (event.name, event.id, event.seq)
        assert (said["id"], said["sessionId"]) == (event.channel_id, event.session_id)
        assert from_ms(said["eventTime"]) == event.time
        assert said["status"] == SHOWN[letter]
        assert said["publishing"] is (letter in "cle")
        assert (said["livestreamUrl"] is not None) == (letter == "l")
        assert said["duration"] >= 0
        assert "streamToken" not in event.payload

    def deliveries(self, news: list[Event]) -> None:
        """Of every new event one delivery to each webhook that is active and wants it."""
        webhooks = list(Webhook.select().where(Webhook.active)) if news else []
        for event in news:
            wanting = {
                webhook.id
                for webhook in webhooks
                if event.name in webhook.events and webhook.account_id in (None, event.account_id)
            }
            found = list(Delivery.select().where(Delivery.event == event))
            assert {each.webhook_id for each in found} == wanting
            assert len(found) == len(wanting)
            assert all((each.status, each.queue) == ("pending", event.channel_id) for each in found)

    def refusals(self) -> None:
        """A refused encoder that keeps trying costs one entry an hour."""
        entries = TimelineEntry.select().where(TimelineEntry.kind == "refused").order_by(TimelineEntry.pk)
        last: dict[tuple, datetime] = {}
        for entry in entries:
            key = (entry.channel_id, entry.detail["reason"], entry.detail["clientIp"])
            if key in last:
                assert abs(entry.time - last[key]) >= after(minutes=59)
            last[key] = entry.time

    def expected_after_timers(self, row: Channel, now: datetime) -> tuple[str, str | None]:
        """What contract section 2 says this channel is when every timer that is due has run."""
        if row.over or Session.open_of(row):
            return row.status, row.end_reason
        start_at = row.start_at
        stops = Event.select().where((Event.channel_id == row.id) & (Event.name == "channel_stop"))
        left = stops.order_by(Event.id.desc()).first()
        if left:
            ends = max(left.time, start_at or left.time) + after(seconds=row.stop_timeout)
            reason = "stop_timeout"
        else:
            begins = max(row.created_at, start_at or row.created_at)
            ends, reason = begins + after(seconds=row.expire), "expired"
        if ends <= now:
            return Status.ENDED, reason
        if row.status == Status.COMING and start_at <= now:
            return Status.INIT, None
        return row.status, None


def sent_ms(session: Session, until: datetime) -> int:
    """Time with bytes: the silences between are none of it, and a clock that jumped back makes none."""
    return max(0, to_ms(until) - to_ms(session.start_time) - session.silent_ms)


def miscounted() -> set[tuple]:
    """Where the counters and what triggers keep beside the tags differ from the channels themselves."""
    beside = "SELECT channel_id, account_id, status, listed_at FROM channel_tag"
    own = "SELECT pk, account_id, status, listed_at FROM channel"
    either = """SELECT account_id, '' AS tag, status FROM channel
        UNION ALL SELECT account_id, tag, status FROM channel_tag"""
    each = f"SELECT account_id, tag, status, count(*) FROM ({either}) AS one GROUP BY 1, 2, 3"
    every = f"SELECT '', tag, status, count(*) FROM ({either}) AS one GROUP BY 2, 3"
    counters = """SELECT account_id, tag, status, SUM(n) FROM channel_count
        GROUP BY account_id, tag, status HAVING SUM(n) != 0"""
    found, kept = (
        set(database.execute_sql(sql).fetchall()) for sql in (f"{each} UNION ALL {every}", counters)
    )
    return (found ^ kept) | set(database.execute_sql(f"{beside} EXCEPT {own}").fetchall())
