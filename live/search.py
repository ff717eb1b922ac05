"""Search over channels and videos in one ordered list (contract, section 5)."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from db import run
from errors import InvalidError
from live import fulltext, listing
from live.listing import Page
from live.selection import CHANNELS, VIDEOS, Key, Selection, page
from live.text import marked, words
from models import Channel
from models_search import Video

# Where all words of the query stand says how well a row answers: columns of the full text, the best first.
TIERS = (("name",), ("name", "tags"))
# Of the first so many, the one whose name says least beside them comes first. Reading more rows would cost.
COMPARED = 30


class Found(NamedTuple):
    """A channel or video; without a query there is no score and nothing to highlight."""

    row: Channel | Video
    score: float | None
    highlight: dict[str, Any]


def search(asked: dict[str, Any], now: datetime) -> Page:
    """What matches SearchQuery's fields, as Found."""
    query = asked.get("query", "").strip()
    wanted = words(query)
    selections = _selections(asked, now)
    if not selections or (query and not wanted):  # nothing but punctuation, which is in no word
        return Page([], 0)
    for each in selections:
        each.text = fulltext.matching(each.kind.table, wanted) if wanted else None
    order = asked.get("order", "relevance" if wanted else "desc")
    if order == "relevance" and wanted:
        return _by_relevance(selections, wanted, asked)
    keys = page(selections, asked | {"order": "asc" if order == "asc" else "desc"})
    found = [Found(row, None, _highlight(row, wanted)) for row in _rows(keys) if row]
    return Page(found, sum(each.total() for each in selections))


def _by_relevance(selections: list[Selection], wanted: list[str], asked: dict[str, Any]) -> Page:
    """By where the words stand, then the newest first; read from the index alone, however many rows match."""
    tiers = [keys for each in selections for keys in _tiers(each, wanted)]
    tiers.sort(key=lambda tier: -tier[0])
    ranked = [(score, key) for score, keys in tiers for key in keys]
    first = asked["page"] * asked["length"]
    if first < COMPARED:
        ranked[:COMPARED] = _compared(ranked[:COMPARED])
    wished = ranked[first : first + asked["length"]]
    rows = zip(wished, _rows([key for _, key in wished]), strict=True)
    found = [Found(row, score, _highlight(row, wanted)) for (score, _), row in rows if row]
    return Page(found, len(ranked))


def _tiers(selection: Selection, wanted: list[str]) -> Iterator[tuple[float, list[Key]]]:
    """The matches by where the words stand, with the score of that place; each in order, the newest first."""
    left = selection.newest()
    for better, columns in enumerate(TIERS):
        if not left:
            return
        inside = fulltext.matching(selection.kind.table, wanted, columns)
        here = {pk for (pk,) in run(inside.text, *inside.values)}
        yield len(TIERS) - better + 1.0, [Key(selection.kind.table, 0, pk) for pk in left if pk in here]
        left = [pk for pk in left if pk not in here]
    yield 1.0, [Key(selection.kind.table, 0, pk) for pk in left]


def _compared(ranked: list[tuple[float, Key]]) -> list[tuple[float, Key]]:
    rows = _rows([key for _, key in ranked])
    finer = [
        (round(score + 1 / (1 + len(words(row.name))), 4) if row else score, key)
        for (score, key), row in zip(ranked, rows, strict=True)
    ]
    return sorted(finer, key=lambda one: (-one[0], -one[1].pk))


def _rows(keys: list[Key]) -> list[Channel | Video | None]:
    """The rows of these keys, in their order; None for what was deleted meanwhile."""
    found: dict[tuple[str, int], Channel | Video] = {}
    for kind, model in ((CHANNELS, Channel), (VIDEOS, Video)):
        mine = [key for key in keys if key.table == kind.table]
        found |= {(kind.table, row.pk): row for row in listing.read(model, mine)}
    return [found.get((key.table, key.pk)) for key in keys]


def _selections(asked: dict[str, Any], now: datetime) -> list[Selection]:
    """One for each kind that is asked for; a filter on what a kind does not have leaves that kind out."""
    shortest, longest = asked.get("min_duration"), asked.get("max_duration")
    if shortest is not None and longest is not None and shortest > longest:
        raise InvalidError.field("minDuration", "Must not be more than maxDuration.")
    channels, videos = (listing.selection(kind, asked, now) for kind in (CHANNELS, VIDEOS))
    channels.where("mode", "mode = ?", asked.get("mode"))
    videos.where("duration", "duration >= ?", shortest)
    videos.where("duration", "duration <= ?", longest)
    kinds = []
    if asked.get("type") != "video" and shortest is None and longest is None:
        kinds.append(channels)
    if asked.get("type") != "channel" and not asked.get("status") and "mode" not in asked:
        kinds.append(videos)
    return kinds


def _highlight(row: Channel | Video, wanted: list[str]) -> dict[str, Any]:
    """The fields that have one of the words, as HTML with the words marked."""
    if not wanted:
        return {}
    fields = {name: marked(getattr(row, name, ""), wanted) for name in ("name", "description")}
    tags = [marked(tag, wanted) for tag in row.tags]
    return {name: text for name, text in (fields | {"tags": [tag for tag in tags if tag]}).items() if text}
