"""Search over channels and videos in one ordered list (contract, section 5)."""

from datetime import datetime
from typing import Any, NamedTuple

from errors import InvalidError
from live import fulltext, listing
from live.listing import Page
from live.selection import CHANNELS, VIDEOS, Selection, page
from live.text import marked, words
from models import Channel
from models_search import Video


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
    if query and not wanted:  # nothing but punctuation, which is in no word
        return Page([], 0)
    if wanted:
        for each in selections:
            each.text = fulltext.matching(each.kind.table, wanted)
    order = asked.get("order", "relevance")
    if order == "relevance" and not wanted:
        order = "desc"
    keys = page(selections, asked | {"order": order}) if selections else []
    rows = {}
    for kind, model in ((CHANNELS, Channel), (VIDEOS, Video)):
        read = listing.read(model, [key for key in keys if key.table == kind.table])
        rows |= {(kind.table, row.pk): row for row in read}
    found = [
        Found(row, key.score, _highlight(row, wanted) if wanted else {})
        for key in keys
        if (row := rows.get((key.table, key.pk)))
    ]
    return Page(found, sum(each.total() for each in selections))


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
    fields = {name: marked(getattr(row, name, ""), wanted) for name in ("name", "description")}
    tags = [marked(tag, wanted) for tag in row.tags]
    return {name: text for name, text in (fields | {"tags": [tag for tag in tags if tag]}).items() if text}
