"""Search over channels and videos (contract, section 5)."""

from datetime import datetime
from typing import Any

from flask import Blueprint, Response

from auth import account_filter, require_token
from db import utcnow
from errors import ok_list
from live import listing
from live.search import Found, search
from live.snapshot import channel_object
from live.videos import video_object
from models import Channel, Session
from models_search import Video
from routes.call import call
from routes.context import box
from schemas_search import ChannelFoundOut, SearchQuery, VideoFoundOut

bp = Blueprint("search", __name__)
bp.before_request(require_token)


@bp.get("")
@call(SearchQuery, gives={200: [ChannelFoundOut, VideoFoundOut]})
def find(asked: dict[str, Any]) -> Response:
    """Search channels and videos, the best match first."""
    now = utcnow()
    page = search(asked | {"account_id": account_filter(asked.get("account_id"))}, now)
    sessions = listing.open_sessions([each.row for each in page.rows if isinstance(each.row, Channel)])
    return ok_list([show(each, sessions, now) for each in page.rows], page.total, asked["page"])


def show(found: Found, sessions: dict[int, Session], now: datetime) -> dict[str, Any]:
    """The object, behind what search says of it. A video's own `type` makes room for the item's."""
    said = {"score": found.score, "highlight": found.highlight}
    if isinstance(found.row, Video):
        video = video_object(found.row, box.links)
        return {"type": "video"} | said | video | {"type": "video", "videoType": video["type"]}
    channel = channel_object(found.row, sessions.get(found.row.pk), box.links, now)
    return {"type": "channel"} | said | channel
