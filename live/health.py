"""How well a live channel's signal comes in, by rules (docs/health.md has each with its numbers in plain words).

Pure but for what a Monitor remembers: what it is asked about is measured by others, and `now` is an argument.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any


class Health(StrEnum):
    EXCELLENT = "excellent"
    ACCEPTABLE = "acceptable"
    UNSTABLE = "unstable"


# Viewers notice these; every other reason is a setting to improve. In this order they are shown.
AFFECTS_VIEWERS = ("starved", "reconnects", "fps_low")
REASONS = (
    *AFFECTS_VIEWERS,
    *("keyframe_interval", "bitrate_low", "bitrate_high", "codec", "profile", "audio_codec", "no_audio"),
)

# What every browser and phone decodes: 8 bits, 4:2:0.
PROFILES = ("Baseline", "Constrained Baseline", "Extended", "Main", "High")
SAMPLE_RATES = (44100, 48000)
# Four seconds and a little: at 29.97 frames a second 120 of them take 4.004 s.
KEYFRAME_INTERVAL_S = 4.1
# Up to this many lines (of a portrait: its width), kbit/s of video at up to 30 frames a second.
BITRATES = (
    (240, 250, 750),
    (360, 500, 1_500),
    (480, 1_000, 3_000),
    (720, 1_500, 6_000),
    (1080, 3_000, 8_000),
    (1440, 5_000, 25_000),
    (2160, 8_000, 35_000),
)
FAST_FPS, FAST_FACTOR = 35, 1.5
# Below this part of what the encoder says it sends. It may say nonsense: screen captures call themselves 1000.
FPS_PART, FPS_BELIEVED = 0.8, 120
# So much more behind live than at the best moment of the last minute, beside the segment that is under way.
LATE_S = 2.5
LATE_WITHIN = timedelta(seconds=60)
SILENT_S = 3.0
RECONNECTS, RECONNECTS_WITHIN = 3, timedelta(minutes=5)
# A rule speaks when it has held for this long, and is silent when it has not for that long: no flapping.
APPEARS, GOES = timedelta(seconds=4), timedelta(seconds=10)


@dataclass(frozen=True)
class Received:
    """A session at one look. `video` and `audio` as contract section 2 has them; `late_s` as Monitor measures it."""

    video: Mapping[str, Any]
    audio: Mapping[str, Any]
    nominal_fps: float | None = None
    late_s: float = 0.0
    longest_s: float = 0.0  # of its last segments
    silent_s: float = 0.0
    reconnects: int = 0


def health(reasons: list[str]) -> Health:
    if any(reason in AFFECTS_VIEWERS for reason in reasons):
        return Health.UNSTABLE
    return Health.ACCEPTABLE if reasons else Health.EXCELLENT


def found(received: Received) -> set[str]:
    """The rules that speak for what is received now; what is not known yet breaks none."""
    video, audio = received.video, received.audio
    low, high = bitrate_range(video)
    rate = video.get("bitrate") or None
    nominal = received.nominal_fps or 0
    measured_fps = (
        video.get("fps") if rate else None
    )  # before anything is measured it is what the encoder says
    spoken = {
        "starved": received.silent_s >= SILENT_S or received.late_s > LATE_S + segment_s(received),
        "reconnects": received.reconnects >= RECONNECTS,
        "fps_low": measured_fps and nominal <= FPS_BELIEVED and measured_fps < FPS_PART * nominal,
        "codec": video.get("codec") not in (None, "H264"),
        "profile": video.get("codec") == "H264" and (video.get("profile") or "Main") not in PROFILES,
        "keyframe_interval": (video.get("keyframeInterval") or 0) > KEYFRAME_INTERVAL_S,
        "bitrate_low": rate and rate < low,
        "bitrate_high": rate and rate > high,
        "audio_codec": audio and (audio.get("codec") != "AAC" or audio.get("sampleRate") not in SAMPLE_RATES),
        "no_audio": rate and not audio,
    }
    return {reason for reason, speaks in spoken.items() if speaks}


def bitrate_range(video: Mapping[str, Any]) -> tuple[float, float]:
    """The recommended kbit/s for this size and frame rate; anything goes while they are not known."""
    lines = min(video.get("width") or 0, video.get("height") or 0)
    if not lines:
        return 0, float("inf")
    factor = FAST_FACTOR if (video.get("fps") or 0) > FAST_FPS else 1
    low, high = next((each[1:] for each in BITRATES if lines <= each[0]), BITRATES[-1][1:])
    return low * factor, high * factor


def segment_s(received: Received) -> float:
    """What a segment may last: to the first key frame after a second. SRS cuts sound alone at ten."""
    video = received.video
    return max(2.0, video.get("keyframeInterval") or 0, 0 if video else received.longest_s)


@dataclass
class _Memory:
    """Of one session: how far its last segment was behind, look by look; and which rules are about to turn."""

    behind: deque[tuple[datetime, float]] = field(default_factory=deque)
    turning: dict[str, datetime] = field(default_factory=dict)
    starts: list[datetime] | None = None  # of the channel's last sessions


class Monitor:
    """What has to be remembered from one look to the next. A worker that is new begins with what is shown."""

    def __init__(self) -> None:
        self.memories: dict[str, _Memory] = {}

    def late_s(self, session_id: str, ends_ms: int | None, now: datetime) -> float:
        """How much further behind live the last whole segment ends than it did at best within the last minute.

        Not how far: an encoder that was frozen and goes on where it was is behind for good, and plays well.
        """
        if ends_ms is None:
            return 0.0
        behind = self._of(session_id).behind
        behind.append((now, now.timestamp() - ends_ms / 1000))
        while behind[0][0] < now - LATE_WITHIN:
            behind.popleft()
        return behind[-1][1] - min(seconds for _, seconds in behind)

    def reconnects(self, session_id: str, starts: Callable[[], list[datetime]], now: datetime) -> int:
        """How often the publisher has come back lately; `starts` is asked once for each session."""
        memory = self._of(session_id)
        if memory.starts is None:
            memory.starts = starts()
        return max(0, sum(now - start < RECONNECTS_WITHIN for start in memory.starts) - 1)

    def settle(self, session_id: str, shown: list[str], speaking: set[str], now: datetime) -> list[str]:
        """The reasons to show from now on."""
        turning = self._of(session_id).turning
        differ = speaking ^ set(shown)
        for reason in turning.keys() - differ:
            del turning[reason]
        turned = set()
        for reason in differ:
            since = turning.setdefault(reason, now)
            if now - since >= (APPEARS if reason in speaking else GOES):
                turned.add(reason)
                del turning[reason]
        settled = set(shown) ^ turned
        return [reason for reason in REASONS if reason in settled]

    def forget_all_but(self, session_ids: set[str]) -> None:
        for session_id in self.memories.keys() - session_ids:
            del self.memories[session_id]

    def _of(self, session_id: str) -> _Memory:
        return self.memories.setdefault(session_id, _Memory())
