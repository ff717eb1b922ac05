"""Whether sessions can be played, by what the packager says of them. Times are of the monotonic clock, in seconds."""

from dataclasses import dataclass
from typing import Any, Literal

State = Literal["playable", "unplayable"] | None

# Segments stand still: no new one for this long, or for three key frame intervals, while bytes arrive.
STALLED_S = 12.0
# A first segment is whole when the second key frame is there; encoders send one every 10 s at the rarest.
HOPELESS_S = 20.0
# So long a picture may come after the sound. Then it is of a codec that nginx-rtmp drops, as it does with HEVC.
UNSEEN_S = 5.0
NOTHING = "Nothing that can be played came out of the signal; send H.264 video and AAC audio."
STOPPED = "No picture has come for a while although the encoder is connected; look at the encoder, or start it anew."
UNSEEN = "The picture is of a codec that cannot be played here, only its sound is; send H.264 video."


@dataclass
class _Seen:
    number: int | None
    moved_at: float
    began: float


class Watch:
    """Remembers of each open session when its last segment came."""

    def __init__(self) -> None:
        self.seen: dict[str, _Seen] = {}

    def judge(
        self,
        session_id: str,
        signal: dict[str, Any],
        receiving: bool,
        now: float,
        announced: bool | None = None,
    ) -> State:
        """What the session is, as far as anybody can say; `signal` is media.index.read_signal's.

        `announced`: whether the encoder says that it sends a picture; None where the media server was not asked yet.
        """
        number = signal.get("lastNumber")
        seen = self.seen.setdefault(session_id, _Seen(number, now, now))
        if (
            number != seen.number or not receiving
        ):  # what nobody sends can neither stand still nor fail to play
            seen.number, seen.moved_at = number, now
        still_s = now - seen.moved_at
        if signal.get("playable") and not signal["video"] and announced is not False:
            if now - seen.began <= UNSEEN_S:
                return None
            if announced:
                return "unplayable"
        if number is None:
            return "unplayable" if still_s > HOPELESS_S else "playable" if signal.get("playable") else None
        group_s = signal["video"].get("keyframeInterval") or 0
        if still_s > max(STALLED_S, 3 * group_s):
            return "unplayable"
        return "playable" if signal["playable"] else None

    def forget_all_but(self, session_ids: set[str]) -> None:
        for session_id in self.seen.keys() - session_ids:
            del self.seen[session_id]


def reason(signal: dict[str, Any], announced: bool | None = None) -> str:
    """Why a session is unplayable, for people."""
    if announced and signal.get("playable") and not signal["video"]:
        return UNSEEN
    return STOPPED if signal.get("lastNumber") is not None else NOTHING
