"""Very many channels, written directly: what script/fill, script/bench data and the tests of scale measure on."""

import json
import random
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import accumulate, product

from db import database, run, to_ms
from live import fulltext
from live.text import folded, words
from models import Channel, Status, new_id, new_stream_token

ACCOUNTS = 1000
TAGS = 500
AT_ONCE = 20_000
SPREAD_MS = 3 * 365 * 86_400_000  # three years of broadcasts
STATUSES = ("ended", "init", "live", "coming", "error")
STATUS_WEIGHTS = (995, 2, 1, 1, 1)
COLUMNS = [name for name in Channel._meta.sorted_field_names if name != "pk"]


def vocabulary() -> list[str]:
    """3,200 words, a third of them with the accents of Vietnamese."""
    begins = [
        "b",
        "c",
        "ch",
        "đ",
        "g",
        "h",
        "kh",
        "l",
        "m",
        "n",
        "ng",
        "nh",
        "ph",
        "qu",
        "s",
        "t",
        "th",
        "tr",
        "v",
        "x",
    ]
    middles = ["a", "e", "i", "o", "u", "ạ", "ế", "ư", "ổ", "ina", "ora", "ete", "ulo", "awi", "ostu", "ê"]
    ends = ["", "n", "ng", "t", "m", "nh", "ck", "ry", "tion", "p"]
    return ["".join(parts) for parts in product(begins, middles, ends)]


def falling(count: int, exponent: float) -> list[float]:
    """Cumulative weights by Zipf's law: the first is chosen most."""
    return list(accumulate(1 / rank**exponent for rank in range(1, count + 1)))


class Maker:
    """Random channels; the same ones for the same number."""

    def __init__(self, now: datetime, seed: int = 1) -> None:
        self.random = random.Random(seed)
        self.now = to_ms(now)
        self.words = vocabulary()
        self.random.shuffle(self.words)
        self.word_weights = falling(len(self.words), 0.7)
        self.account_weights = falling(ACCOUNTS, 1.0)
        self.tag_weights = falling(TAGS, 0.8)

    def text(self) -> str:
        return " ".join(
            self.random.choices(self.words, cum_weights=self.word_weights, k=self.random.randint(3, 12))
        )

    def tags(self) -> list[str]:
        numbers = self.random.choices(
            range(1, TAGS + 1), cum_weights=self.tag_weights, k=self.random.randint(0, 4)
        )
        return [f"tag-{number}" for number in dict.fromkeys(numbers)]

    def channel(self) -> dict:
        created = self.now - self.random.randrange(SPREAD_MS)
        [account] = self.random.choices(range(1, ACCOUNTS + 1), cum_weights=self.account_weights)
        [status] = self.random.choices(STATUSES, STATUS_WEIGHTS)
        over = status == Status.ENDED
        name = self.text().capitalize()
        row = dict.fromkeys(COLUMNS) | {"id": new_id("ch"), "stream_token": new_stream_token()}
        row |= {"name": name, "name_folded": folded(name), "description": self.text(), "tags": self.tags()}
        row |= {"account_id": str(account), "mode": "normal", "catchup": True, "record": False, "dvr": False}
        row |= {"thumbnail": False, "thumb_width": 400, "thumb_height": 400, "thumb_interval": 10}
        row |= {
            "expire": 86400,
            "stop_timeout": 600,
            "playback": "public",
            "metadata": "{}",
            "seq": 0,
            "kept": "{}",
        }
        row |= {"transcode_profile": '["1080p","720p","480p","360p"]', "status": status}
        row |= {"created_at": created, "updated_at": created, "listed_at": created, "sent_ms": 0}
        if over:
            row |= {"start_time": created, "stop_time": created + 3_600_000, "end_reason": "stopped"}
            row |= {"published_at": created, "left_at": created + 3_600_000, "sent_ms": 3_600_000}
        return row


def write_channels(count: int, now: datetime, seed: int = 1) -> None:
    """Channels with their tags and texts, as live/lifecycle.py and live/fulltext.py would have written them."""
    maker = Maker(now, seed)
    if database.kind == "sqlite":
        database.execute_sql("PRAGMA cache_size = -400000")  # of this connection: for indexes in no order
    [[begin]] = database.execute_sql("SELECT coalesce(max(pk), 0) FROM channel")
    for done in range(0, count, AT_ONCE):
        pks = range(begin + done + 1, begin + min(done + AT_ONCE, count) + 1)
        rows = {pk: maker.channel() for pk in pks}
        with database.atomic():
            write(rows)
            write_texts(rows)
    if database.kind == "postgresql":  # which counts by itself only what it was not told
        run("SELECT setval(pg_get_serial_sequence('channel', 'pk'), (SELECT max(pk) FROM channel))")


def write(rows: dict[int, dict]) -> None:
    write_many(
        f"INSERT INTO channel (pk, {', '.join(column_names())}) VALUES",
        [[pk, *(row | {"tags": json.dumps(row["tags"])}).values()] for pk, row in rows.items()],
    )
    write_many(
        "INSERT INTO channel_tag (channel_id, tag, account_id, status, listed_at) VALUES",
        [
            (pk, tag, row["account_id"], row["status"], row["listed_at"])
            for pk, row in rows.items()
            for tag in row["tags"]
        ],
    )


def write_texts(rows: dict[int, dict]) -> None:
    if database.kind == "postgresql":
        for pk, row in rows.items():
            fulltext.put("channel", pk, row["name"], row["tags"], row["description"])
        return
    write_many("INSERT INTO channel_text (rowid, name, tags, description) VALUES", texts(rows))
    names = [(pk, row["name_folded"]) for pk, row in rows.items()]
    write_many("INSERT INTO channel_name (rowid, name) VALUES", names)


def write_many(into: str, rows: Iterable[Sequence]) -> None:
    """Row after row of one statement, as fast as the database's driver can."""
    rows = list(rows)
    marks = ", ".join([database.param] * len(rows[0]))
    database.cursor().executemany(f"{into} ({marks})", rows)


def column_names() -> list[str]:
    return [Channel._meta.fields[name].column_name for name in COLUMNS]


def texts(rows: dict[int, dict]) -> Iterator[tuple]:
    for pk, row in rows.items():
        parts = (row["name"], ", ".join(row["tags"]), row["description"])
        yield pk, *(" ".join(words(part)) for part in parts)
