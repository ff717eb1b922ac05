"""The video resource (contract, section 5)."""

from typing import Any

from flask import Blueprint, Response, g

from auth import account_filter, require_token
from db import utcnow
from errors import NotPossibleError, nothing, ok, ok_list
from live import videos
from models_search import Video
from routes.call import call
from routes.context import box
from schemas_search import DownloadOut, VideoOut, VideoQuery

bp = Blueprint("video", __name__)
bp.before_request(require_token)


@bp.get("")
@call(VideoQuery, gives={200: [VideoOut]})
def read_list(asked: dict[str, Any]) -> Response:
    """List videos, the newest first."""
    page = videos.found(asked | {"account_id": account_filter(asked.get("account_id"))}, utcnow())
    return ok_list([videos.video_object(each, box.links) for each in page.rows], page.total, asked["page"])


@bp.get("/<video_id>")
@call(gives={200: VideoOut})
def read(video_id: str) -> Response:
    """Read one video.

    Of a `signed` channel its addresses refuse viewers: `/v1/live/{channelId}/playback` makes those that open.
    """
    return ok(videos.video_object(own(video_id), box.links))


@bp.delete("/<video_id>")
@call(gives={204: None})
def delete(video_id: str) -> Response:
    """Remove a video and its files."""
    videos.remove(own(video_id), utcnow())
    box.lifecycle.ring()
    return nothing()


@bp.post("/<video_id>/download")
@call(gives={200: DownloadOut})
def download(video_id: str) -> Response:
    """Ask for the video as one mp4: a recording is one, of a catch-up it is made now.

    Ask again, by GET, until `status` is `ready`; it is there for a day from the last POST on.
    """
    video = own(video_id)
    videos.ask_for_download(video, utcnow())
    box.lifecycle.ring()
    return ok(DownloadOut().dump(videos.download_object(video, box.links)))


@bp.get("/<video_id>/download")
@call(gives={200: DownloadOut}, fails=(NotPossibleError,))
def read_download(video_id: str) -> Response:
    """Read how far the file to download is; of a `signed` channel, `/v1/live/{channelId}/playback` opens it."""
    return ok(DownloadOut().dump(videos.download_object(own(video_id), box.links)))


def own(video_id: str) -> Video:
    return videos.named(video_id, g.token.account_id)
