"""What search and videos take and give (contract, section 5)."""

from marshmallow import fields

from schemas import MODES, STATUSES, ChannelOut, Page, one_of
from wire import AccountId, Choice, CommaList, Instant, Number, Text, Wire

KINDS = ("channel", "video")
VIDEO_TYPES = ("catchup", "record")
DOWNLOADS = ("preparing", "ready", "failed")
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
    type = one_of(VIDEO_TYPES)
    url = fields.String()
    thumbnail_url = fields.String(allow_none=True)
    duration = fields.Integer()
    size = fields.Integer()
    created_at = Instant()


class DownloadOut(Wire):
    """The file to download: `url` once it is ready; it goes again at `expiresAt`, unless it is asked for again."""

    status = one_of(DOWNLOADS)
    url = fields.String(allow_none=True)
    size = fields.Integer(allow_none=True)
    expires_at = Instant(allow_none=True)


class FoundOut(Wire):
    """What search adds to an object; without a query there is no score."""

    score = fields.Float(allow_none=True)
    highlight = fields.Dict()


class ChannelFoundOut(ChannelOut, FoundOut):
    type = one_of(("channel",))


class VideoFoundOut(VideoOut, FoundOut):
    """A video's own `type` makes room for the item's: it is `videoType` here."""

    type = one_of(("video",))
    video_type = one_of(VIDEO_TYPES)
