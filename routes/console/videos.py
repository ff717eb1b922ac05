"""All videos: what is left of broadcasts."""

from flask import Blueprint, Response, g

from db import utcnow
from live import videos
from models_search import Video
from routes.console import lists
from routes.console.page import go, page
from routes.context import box
from schemas_search import VideoQuery

bp = Blueprint("videos", __name__, url_prefix="/videos")


@bp.get("")
def index() -> Response:
    asked, wrong = lists.asked_of_account(VideoQuery())
    found = videos.found(asked, utcnow())
    rows = [videos.video_object(each, box.links) for each in found.rows]
    pager = lists.Pager.of(asked, found.total)
    return page("console/videos.html", rows=rows, pager=pager, wrong=wrong)


@bp.get("/<video_id>/delete")
def confirm(video_id: str) -> Response:
    return page("console/video_delete.html", video=own(video_id))


@bp.post("/<video_id>/delete")
def delete(video_id: str) -> Response:
    videos.remove(own(video_id), utcnow())
    box.lifecycle.ring()
    return go(".index", done="deleted")


def own(video_id: str) -> Video:
    return videos.named(video_id, g.token.account_id)
