"""What viewers can choose from of a session that is live: the source, and what is made of it."""

from typing import Any

from peewee import fn

from models import Session, TimelineEntry
from wire import dump_json


def ladder_of(session: Session) -> dict[str, Any] | None:
    """What the timeline said last of this session's renditions (media.ladder.Ladder.told); None if nothing yet."""
    begins = dump_json({"sessionId": session.id})[:-1] + ","
    mine = (TimelineEntry.channel == session.channel_id) & (TimelineEntry.kind == "ladder")
    mine &= fn.SUBSTR(TimelineEntry.detail, 1, len(begins)) == begins
    entry = TimelineEntry.select().where(mine).order_by(TimelineEntry.pk.desc()).first()
    return {name: value for name, value in entry.detail.items() if name != "sessionId"} if entry else None


def renditions_of(session: Session) -> list[dict[str, Any]]:
    """For the metadata: the source first, then by size; and what was left out, with the reason."""
    told = ladder_of(session) or {"rendered": [], "leftOut": []}
    video = session.video
    source = {
        "name": "source",
        "width": video.get("width"),
        "height": video.get("height"),
        "fps": video.get("fps"),
        "bitrate": video.get("bitrate") or session.bitrate,
    }
    return [
        *([source | {"state": "source"}] if video else []),
        *(each | {"state": "transcoded"} for each in told["rendered"]),
        *(dict.fromkeys(source) | each | {"state": "left_out"} for each in told["leftOut"]),
    ]
