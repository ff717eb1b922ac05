"""Values that the OpenAPI description shows: by the field's name, or by schema and field where a name means more."""

from typing import Any, NamedTuple

MOMENT = "2026-11-23T09:02:44.506Z"
CHANNEL, WEBHOOK, DELIVERY = "ch_30894e0cef2c3c2c9b40", "wh_3188d93c4d6ff4c28a1e", "dlv_5f0c1a7b9d3e42c68a10"
SIGNATURE = "1795424564-b1mYxQ0d3p7K9sVJtW2fZg"
TOKEN = "tok_7d3b0f5e9a1c42c68a10"  # noqa: S105 (an id, and nobody\'s)

EXAMPLES: dict[str, Any] = {
    "channelId": CHANNEL,
    "webhookId": WEBHOOK,
    "deliveryId": DELIVERY,
    "accountId": "1",
    "name": "My first broadcast",
    "streamId": CHANNEL,
    "streamUrl": "rtmp://live.example.com:1935/live",
    "streamToken": "a3a88c8d5fc9ac6406699183f16a7a2887a7d923",
    "ingest": {"rtmp": "rtmp://live.example.com:1935/live"},
    "node": "main",
    "region": "eu",
    "publicUrl": "https://live.example.com",
    "rtmpUrl": "rtmp://live.example.com:1935/live",
    "tokenId": TOKEN,
    "requestId": "5b1f0c9d2e4a7836",
    "uri": "https://app.example.com/livestream/events",
    "secret": "whsec_xT3GdtdCYrjw/evebolNtuMQgHIRF2mcncPVg0uA4qY=",
    "clientIp": "192.0.2.7",
    "encoder": "obs-output/30.2.3",
    "ChannelCreate.tags": "news,morning",
    "ChannelCreate.dvr": True,
    "ChannelCreate.stopTimeout": 60,
    "ChannelUpdate.name": "Renamed",
    "ChannelOut.id": CHANNEL,
    "ChannelOut.tags": ["news", "morning"],
    "ChannelOut.thumbWidth": 400,
    "ChannelOut.thumbHeight": 400,
    "ChannelOut.thumbInterval": 10,
    "ChannelOut.expire": 86400,
    "ChannelOut.stopTimeout": 60,
    "ChannelOut.status": "live",
    "ChannelOut.duration": 2,
    "ChannelOut.publishing": True,
    "ChannelOut.livestreamUrl": f"https://live.example.com/play/{CHANNEL}/master.m3u8",
    "ChannelOut.transcodeProfile": ["1080p", "720p", "480p", "360p"],
    "PlaybackOut.livestreamUrl": f"https://live.example.com/play/{CHANNEL}/~{SIGNATURE}/master.m3u8",
    "PlaybackOut.watchUrl": f"https://live.example.com/watch/{CHANNEL}?signature={SIGNATURE}",
    "StreamOut.id": CHANNEL,
    "CreatedOut.id": CHANNEL,
    "SessionOut.id": "s_0d1f9b3c5a7e42c68a10",
    "WebhookCreate.event": "channel_live,channel_stop,channel_ended",
    "WebhookUpdate.event": "all",
    "WebhookOut.id": WEBHOOK,
    "WebhookOut.event": ["channel_live", "channel_stop", "channel_ended"],
    "WebhookOut.active": True,
    "WebhookSecretOut.id": WEBHOOK,
    "WebhookSecretOut.event": ["channel_live", "channel_stop", "channel_ended"],
    "WebhookSecretOut.active": True,
    "DeliveryOut.id": DELIVERY,
    "DeliveryTriesOut.id": DELIVERY,
    "RedeliverSince.status": "failed,cancelled",
    "TokenCreate.role": "app",
    "TokenCreate.accountId": "1",
    "TokenCreate.name": "The shop's server",
    "TokenOut.id": TOKEN,
    "TokenOut.role": "app",
    "TokenOut.name": "The shop's server",
    "TokenSecretOut.id": TOKEN,
    "TokenSecretOut.role": "app",
    "TokenSecretOut.name": "The shop's server",
    "TokenSecretOut.secret": "q3Zb0kN1xVd8fJ6sYpR2mTuLwEaHcGi5oX4-_9vBnKc",
    "StudioOut.studioUrl": "https://live.example.com/studio/q3Zb0kN1xVd8fJ6sYpR2mTuLwEaHcGi5oX4-_9vBnKc",
    "NodeOut.name": "main",
    "UserCreate.id": "acme",
    "UserCreate.name": "Acme",
    "UserCreate.limits": {"maxLive": 2},
    "UserUpdate.name": "Acme",
    "UserUpdate.limits": {"maxLive": 2, "maxDuration": None},
    "UserOut.id": "acme",
    "UserOut.name": "Acme",
    "EventOut.event": "channel_live",
    "EventOut.id": CHANNEL,
    "EventOut.eventTime": 1476697473034,
    "EventOut.eventId": 1204,
    "EventOut.seq": 2,
    "AuditOut.action": "create",
    "AuditOut.kind": "channel",
    "AuditOut.target": CHANNEL,
    "PartsOut.database": "ok",
    "PartsOut.worker": "ok",
    "PartsOut.media": "ok",
    "AliveOut.alive": True,
    "AboutOut.version": "v1.0-poc",
    "AboutOut.status": "ready",
    "AboutOut.release": "0.1.0",
    "ReadyOut.database": "ok",
    "ReadyOut.worker": "ok",
    "ReadyOut.media": "ok",
}


class Told(NamedTuple):
    """What an `ec` means (contract, section 1), and how it may read."""

    status: int
    meaning: str
    example: str
    errors: dict[str, list[str]] | None = None


WRONG = "There is no such parameter."
FAILURES: dict[int, Told] = {
    40000: Told(400, "Unreadable request.", "The body must be a JSON object."),
    40001: Told(
        400, "Required field missing.", "Send name: required.", {"name": ["This field is required."]}
    ),
    40100: Told(401, "Authentication failed.", "Send a valid API token id and secret as HTTP Basic."),
    40300: Told(403, "Not allowed for this token.", "This token may only read."),
    40301: Told(403, "A limit of the user is reached.", "The user's maxChannels is reached."),
    40400: Told(404, "Not found.", f"There is no channel '{CHANNEL}'."),
    42200: Told(422, "Wrong parameter.", f"page2: {WRONG}", {"page2": [WRONG]}),
    42201: Told(422, "Not possible in the channel's present state.", "The channel has ended."),
    42202: Told(422, "streamToken in use.", "Another channel holds this streamToken."),
    42203: Told(422, "Idempotency-Key reused with another body.", "This key belongs to another body."),
    42900: Told(429, "Too many failed authentications.", "Too many wrong credentials; wait a minute."),
    50000: Told(500, "Internal error.", "Internal error."),
    50300: Told(503, "Temporarily unavailable.", "The database cannot be reached; nothing was changed."),
}
