"""What an installation has been through: accounts, a month of broadcasts and their audience.

Written before the box starts, by the verbs that the box itself has; figures as the worker counts them.
"""

import math
import random
from datetime import datetime, timedelta

import audit
from config import Config
from db import bind, database, migrate, to_ms
from live.arrival import Arrival
from live.lifecycle import Lifecycle
from live.limits import Limits
from live.links import Links
from live.videos import keep
from live.viewers import scopes
from media.storage import make_folders
from models import Channel, Session
from models_search import VideoType
from schemas import ChannelCreate

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
USERS = (
    ("council", "Town council", {"max_channels": 30, "max_live": 2, "max_storage": 500_000}),
    ("sport", "Northside sports club", {"max_live": 4, "max_bitrate": 8000, "max_height": 1080}),
    ("university", "University, lecture halls", {"max_channels": 200, "max_duration": 10_800}),
    ("church", "", {"max_channels": 10, "max_live": 1}),
)
# Account, name, tags, minutes on air, viewers at most.
BROADCASTS = (
    ("council", "Town council, session {n}", ["council", "public"], 95, 140),
    (
        "university",
        "Evening lecture {n}: how small birds cross the sea",
        ["lecture", "birds", "evening"],
        70,
        310,
    ),
    ("church", "Sunday service", ["service"], 62, 85),
    ("sport", "Derby: Northside against Southside, with commentary", ["football", "derby"], 118, 1900),
    ("university", "Introduction to statistics, part {n}", ["lecture"], 48, 120),
    ("1", "Cà phê sáng, đường phố Sài Gòn", ["café"], 30, 40),
)
SOURCE = {
    "codec": "H264",
    "profile": "High",
    "width": 1920,
    "height": 1080,
    "fps": 50.0,
    "keyframeInterval": 2.0,
}
SOUND = {"codec": "AAC", "sampleRate": 48000, "channels": 2}
ENCODERS = ("OBS Studio 31.0", "FMLE/3.0 (compatible; vMix)", "Larix Broadcaster 1.4")


def write_past(config: Config, now: datetime) -> None:
    """Into the database of an installation that does not run yet."""
    make_folders(config)
    bind(config.database_url, config.sqlite_any_version)
    migrate()
    audit.acting.set(audit.Actor(config.token_id, "198.51.100.7", "set-up"))
    limits = Limits(config.user_limits)
    links = Links(config.public_url, config.rtmp_url)
    lifecycle = Lifecycle(links, limits, lambda: None)
    dice = random.Random(5)  # the same past every time
    with database.connection_context():
        for account_id, name, own in USERS:
            limits.create({"account_id": account_id, "name": name, "limits": own}, now - timedelta(days=31))
        for number in range(30):
            began = (now - timedelta(days=29 - number)).replace(minute=0, second=0) - (number % 9) * HOUR
            _broadcast(lifecycle, links, number, min(began, now - 3 * HOUR), dice)
    audit.acting.set(None)


def _broadcast(lifecycle: Lifecycle, links: Links, number: int, began: datetime, dice: random.Random) -> None:
    account_id, name, tags, minutes, viewers = BROADCASTS[number % len(BROADCASTS)]
    asked = {
        "name": name.format(n=number // len(BROADCASTS) + 1),
        "accountId": account_id,
        "tags": ",".join(tags),
    }
    channel = lifecycle.create(ChannelCreate().load(asked), began - HOUR)
    if number == 10:  # nobody came: it will have expired
        return
    encoder = ENCODERS[number % len(ENCODERS)]
    arrival = Arrival(f"nginx-rtmp/past/{number}", f"203.0.113.{10 + number}", encoder)
    session = lifecycle.publish(channel.stream_token, arrival, began)
    lifecycle.playable(session.id, began + timedelta(seconds=2))
    ended = began + minutes * MINUTE
    lifecycle.unpublish(arrival.connection, "left", ended)
    size = minutes * 36_000_000
    Session.update(video=SOURCE, audio=SOUND, bitrate=4820, bytes_in=size).where(
        Session.id == session.id
    ).execute()
    lifecycle.stop(channel.id, ended + MINUTE)
    same = {"duration": minutes * 60, "size": size}
    keep(channel.id, VideoType.CATCHUP, f"{channel.id}/catchup.m3u8", links, ended + MINUTE, **same)
    for minute in range(minutes):
        count_minute(channel, began + minute * MINUTE, curve(minute / minutes, viewers, dice), dice)


def curve(part: float, most: int, dice: random.Random) -> int:
    """They come, stay and go."""
    return round(most * math.sin(math.pi * (0.08 + 0.88 * part)) ** 0.6 * dice.uniform(0.93, 1))


def count_minute(channel: Channel, time: datetime, viewers: int, dice: random.Random) -> None:
    """A minute of this audience: for the channel, its account and everybody."""
    minute = to_ms(time) // 60_000 * 60_000
    kbits, fps = round(4800 * dice.uniform(0.95, 1.04)), round(50 * dice.uniform(0.985, 1), 2)
    for table, at in (("audience_minute", minute), ("audience_hour", minute // 3_600_000 * 3_600_000)):
        for scope in scopes(channel.id, channel.account_id):
            figures = (viewers, max(1, viewers // 9), viewers * 60_000, viewers * kbits * 7500, 60_000)
            database.execute_sql(
                f"""INSERT INTO {table} (channel_id, account_id, time, peak, views, watch_ms, bytes, broadcast_ms,
                                         looks, bitrate, fps)
                    VALUES (?, ?, ?, ?, ?, ?, ?, ?, 30, ?, ?)
                    ON CONFLICT (channel_id, account_id, time) DO UPDATE SET
                      peak = MAX(peak, excluded.peak), views = views + excluded.views,
                      watch_ms = watch_ms + excluded.watch_ms, bytes = bytes + excluded.bytes,
                      broadcast_ms = broadcast_ms + excluded.broadcast_ms, looks = looks + excluded.looks,
                      bitrate = bitrate + excluded.bitrate, fps = fps + excluded.fps""",
                (scope.channel_id, scope.account_id, at, *figures, 30 * kbits, 30 * fps),
            )


def lengthen(channel_id: str, minutes: int, most: int, now: datetime) -> None:
    """As if what has just begun had begun so many minutes ago: nobody waits that long for a picture."""
    dice = random.Random(7)
    channel = Channel.named(channel_id)
    earlier = minutes * MINUTE
    with database.atomic():
        channel.start_time = channel.listed_at = channel.start_time - earlier
        channel.published_at -= earlier
        channel.keep()
        session = Session.open_of(channel)
        session.start_time -= earlier
        session.live_at -= earlier
        session.keep()
        for minute in range(minutes):
            time = now - earlier + minute * MINUTE
            count_minute(channel, time, curve(minute / minutes * 0.6, most, dice), dice)
