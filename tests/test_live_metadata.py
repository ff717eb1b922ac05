"""What is being received now: contract section 2, "More on a channel"."""

import pytest

from live.reconcile import reconcile
from media.servers import Publisher
from tests.envelope import refused
from tests.story import after, arrival, new

VIDEO = {"codec": "H264", "profile": "High", "width": 1280, "height": 720, "fps": 25}
AUDIO = {"codec": "AAC", "sampleRate": 48000, "channels": 2}
NOTHING = ("sessionId", "encoder", "startTime", "video", "audio", "bitrate", "bytesIn")


@pytest.fixture
def live(lifecycle, now):
    """A channel that receives 1,000 kbit/s since ten seconds."""
    channel = new(lifecycle, now)
    session = lifecycle.publish(channel.stream_token, arrival(1), now)
    for second, sent in ((0, 0), (10, 1_250_000)):
        seen = Publisher(session.connection, "1", session.id, sent, VIDEO, AUDIO)
        reconcile(lifecycle, session.connection.rpartition("/")[0], [seen], now + after(seconds=second))
    return channel


def test_the_media_of_the_running_session_are_described(client, live):
    received = client.get(f"/v1/live/{live.id}/metadata").json["data"]
    assert (received["video"], received["audio"]) == (VIDEO, AUDIO)
    assert (received["bitrate"], received["bytesIn"], received["encoder"]) == (1000, 1_250_000, "FMLE/3.0")
    assert received["startTime"] == "2026-11-23T10:00:00.000Z"
    assert received["sessionId"].startswith("ses_")


def test_where_nobody_publishes_everything_is_null(client, live, lifecycle, now):
    lifecycle.unpublish(arrival(1).connection, "left", now + after(seconds=20))
    assert client.get(f"/v1/live/{live.id}/metadata").json["data"] == dict.fromkeys(NOTHING)


def test_another_accounts_channel_does_not_exist(live, holder):
    refused(holder(accountId="acme").get(f"/v1/live/{live.id}/metadata"), 404, 40400)
