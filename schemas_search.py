"""What search and videos take and give (contract, section 5)."""

from marshmallow import fields

from schemas import MODES, STATUSES, ChannelOut, Page
from wire import AccountId, Choice, CommaList, Instant, Number, Text, Wire

KINDS = ("channel", "video")
VIDEO_TYPES = ("catchup", "record")
LONGEST = 10**9  # seconds: some 30 years


class SearchQuery(Page):
    type = Choice(KINDS)
    query = Text(0, 255)
    tags = CommaList(20, 50)
    status = CommaList(5, 10, STATUSES)
    account_id = AccountId()
    from_ = Instant(word=True, data_key="from")
    to = Instant(word=True)
    mode = Choice(MODES)
    min_duration = Number(0, LONGEST)
    max_duration = Number(0, LONGEST)
    order = Choice(("relevance", "desc", "asc"))


class VideoQuery(Page):
    order = Choice(("desc", "asc"), load_default="desc")
    account_id = AccountId()
    channel_id = Text(0, 255)
    type = Choice(VIDEO_TYPES)
    tags = CommaList(20, 50)


class VideoOut(Wire):
    id = fields.String()
    channel_id = fields.String()
    account_id = fields.String()
    name = fields.String()
    tags = fields.List(fields.String())
    type = fields.String()
    url = fields.String()
    thumbnail_url = fields.String()
    duration = fields.Integer()
    size = fields.Integer()
    created_at = Instant()


class SearchOut(VideoOut, ChannelOut):
    """A channel object or a video object, with what search adds: each item has the fields of its kind."""

    type = Choice(KINDS)
    score = fields.Float(allow_none=True)
    highlight = fields.Dict()
    video_type = fields.String()  # a video's own `type`, which the item's `type` stands in the place of
