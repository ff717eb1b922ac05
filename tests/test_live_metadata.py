"""What is being received now: contract section 2, "More on a channel"."""

import pytest

from live.reconcile import reconcile
from media.servers import Publisher
from tests.envelope import refused
from tests.story import after, arrival, new, sessions

VIDEO = {"codec": "H264", "profile": "High", "width": 1280, "height": 720, "fps": 25}
AUDIO = {"codec": "AAC", "sampleRate": 48000, "channels": 2}
NOTHING = ("sessionId", "encoder", "startTime", "video", "audio", "bitrate", "bytesIn", "renditions")


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
    measured = {"bitrate": None, "keyframeInterval": None}  # by the packager, from the first segment on
    assert received["video"] == VIDEO | measured
    assert received["audio"] == AUDIO | {"bitrate": None}
    assert (received["bitrate"], received["bytesIn"], received["encoder"]) == (1000, 1_250_000, "FMLE/3.0")
    assert received["startTime"] == "2026-11-23T10:00:00.000Z"
    assert received["sessionId"].startswith("ses_")


def test_what_the_segments_show_counts_and_has_the_fields_of_the_contract(client, live, lifecycle, now):
    [session] = sessions(live)
    signal = {
        "video": {**VIDEO, "level": "3.1", "fps": 24.97, "bitrate": 2500, "keyframeInterval": 2.0},
        "audio": {**AUDIO, "profile": "LC", "bitrate": 128},
    }
    seen = Publisher(session.connection, "1", session.id, 1_300_000, VIDEO, AUDIO)
    reconcile(lifecycle, "nginx-rtmp/aa", [seen], now + after(seconds=12), {session.id: signal})
    for answer in (
        client.get(f"/v1/live/{live.id}/metadata").json["data"],
        client.get(f"/v1/live/{live.id}/session").json["data"][0],
    ):
        assert answer["video"] == VIDEO | {"fps": 24.97, "bitrate": 2500, "keyframeInterval": 2.0}
        assert answer["audio"] == AUDIO | {"bitrate": 128}


def test_where_nobody_publishes_everything_is_null(client, live, lifecycle, now):
    lifecycle.unpublish(arrival(1).connection, "left", now + after(seconds=20))
    assert client.get(f"/v1/live/{live.id}/metadata").json["data"] == dict.fromkeys(NOTHING)


def test_another_accounts_channel_does_not_exist(live, holder):
    refused(holder(accountId="acme").get(f"/v1/live/{live.id}/metadata"), 404, 40400)
