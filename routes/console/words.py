"""The console's words: what the states, reasons and events of the API mean to a person.

One that is not in these tables is shown as it is.
"""

import re
from datetime import UTC, datetime
from typing import Any, NamedTuple

from markupsafe import Markup, escape

from models import Channel, Session, Status, TimelineEntry
from wire import iso

NOTHING = "\N{EN DASH}"
STATUSES = {
    "live": "Live",
    "init": "Waiting",
    "coming": "Scheduled",
    "error": "Signal error",
    "ended": "Ended",
}
ENDED = {
    "stop_timeout": "nobody came back within the stop time-out",
    "expired": "nobody published to it in time",
    "stopped": "it was stopped",
    "limit": "the account's time per channel is used up",
}
REFUSED = {
    "unknown_token": "no channel has this stream key",
    "ended": "the channel has ended",
    "too_early": "it is more than 15 minutes before the start",
    "busy": "another encoder is publishing",
    "repeated": "this connection had been here before",
    "limit_live": "the account has as many publishers as it may",
    "limit_storage": "the account's storage is used up",
    "limit_duration": "the account's time per channel is used up",
    "limit_bitrate": "the bitrate was beyond the account's limit",
    "limit_height": "the picture was larger than the account may send",
}
NEAR = {
    "limit_duration": "the account's time per channel will be used up",
    "limit_bitrate": "the bitrate is beyond the account's limit",
    "limit_height": "the picture is larger than the account may send",
}
LEFT = {
    "left": "the encoder disconnected",
    "lost": "the connection was lost",
    "token_reset": "the stream key was replaced",
    "silent": "nothing came in for two minutes",
}
LEFT_OUT = {
    "no_room": "no room beside what runs",
    "overloaded": "the box could not keep up",
    "failed": "its transcoder ended again and again",
    "switched_off": "transcoding is switched off",
    "ultra_low_latency": "ultra low latency has the source only",
    "media_server": "beside SRS there is the source only",
}
MODES = {"normal": "Normal", "low-latency": "Low latency", "ultra-low-latency": "Ultra low latency"}


class Advice(NamedTuple):
    """What is wrong with a signal, and what to change in the encoder."""

    what: str
    change: str = ""


HEALTHS = {
    "excellent": ("Excellent", "Steady, with the settings that are recommended."),
    "acceptable": ("Acceptable", "Steady, with settings to improve."),
    "unstable": ("Unstable", "Viewers are affected."),
}
ADVICE = {
    "keyframe_interval": Advice(
        "Key frames are far apart, so viewers start late and the delay grows.",
        "In OBS, Settings → Output → Streaming: set Keyframe Interval to 1 or 2 s, not 0 (auto).",
    ),
    "bitrate_low": Advice(
        "The bitrate is low for this picture size: it will look blurred.",
        "Raise the video bitrate, or send a smaller picture: 2,500 kbit/s suit 720p, 4,500 kbit/s 1080p.",
    ),
    "bitrate_high": Advice(
        "The bitrate is high for this picture size: viewers with slow connections will wait.",
        "Lower the video bitrate: 2,500 kbit/s suit 720p, 4,500 kbit/s 1080p.",
    ),
    "codec": Advice(
        "The video is not H.264, which is what every browser plays.",
        "Choose H.264 (x264, NVENC H.264, Apple VT H264) as the video encoder.",
    ),
    "profile": Advice(
        "The video has 10 bits or 4:2:2, which browsers and phones do not play.",
        "Choose the profile high or main, and in OBS, Settings → Advanced, the color format NV12.",
    ),
    "audio_codec": Advice(
        "The sound is not AAC with 44.1 or 48 kHz.",
        "Choose AAC at 96 to 160 kbit/s, and in OBS, Settings → Audio, a sample rate of 48 kHz.",
    ),
    "no_audio": Advice(
        "There is no sound.",
        "Add a source with sound, and check that it is not muted; a silent one will do.",
    ),
    "starved": Advice(
        "Less arrives than is played: the network between encoder and server is too slow.",
        "Lower the bitrate, use a cable instead of Wi-Fi, and close what else sends on that network.",
    ),
    "fps_low": Advice(
        "Frames are missing: the encoder cannot keep up, or drops them on the way.",
        "Look for skipped or dropped frames in OBS (View → Stats); choose a faster preset or a smaller picture.",
    ),
    "reconnects": Advice(
        "The encoder has connected again and again.",
        "Check its network; a lower bitrate helps where the line is at its limit.",
    ),
}


def health(name: str) -> tuple[str, str]:
    return HEALTHS.get(name, (name, ""))


def advice(reason: str) -> Advice:
    return ADVICE.get(reason) or Advice(reason)


def status(channel: Channel, session: Session | None) -> tuple[str, str]:
    """A word for the badge and a sentence."""
    word = STATUSES.get(channel.status, channel.status)
    match channel.status:
        case Status.COMING:
            return word, "It opens at its start; an encoder may connect 15 minutes before."
        case Status.LIVE:
            return word, "It can be watched now."
        case Status.ERROR:
            return (
                word,
                "An encoder is connected, but what it sends cannot be played. Send H.264 video and AAC sound.",
            )
        case Status.ENDED:
            return word, f"Over for good: {ENDED.get(channel.end_reason, channel.end_reason)}."
        case _ if session:
            return "Starting", "An encoder is connected; the picture is about to come."
        case _ if channel.published_at:
            wait = span(channel.stop_timeout)
            return "Interrupted", f"The encoder has left. It goes on if it comes back within {wait}."
    return word, "No encoder has connected yet."


def happened(entry: TimelineEntry) -> tuple[str, str]:
    """An event of the timeline, as a headline and what there is to know of it."""
    detail = entry.detail
    who = " ".join(f"{detail[name]}" for name in ("encoder", "clientIp") if detail.get(name))
    reason = detail.get("reason", "")
    match entry.kind:
        case "created":
            return "Created", ""
        case "scheduled":
            return "Scheduled", Markup("for {}").format(when(detail.get("startAt")))
        case "published":
            return "Encoder connected", who
        case "reconnected":
            return "Encoder connected again", who
        case "refused":
            times = f", {detail['count']} times" if detail.get("count", 1) > 1 else ""
            return "Encoder refused", f"{REFUSED.get(reason, reason)} ({who}{times})"
        case "live":
            return "Live", "the picture can be watched"
        case "unpublished":
            return "Encoder left", LEFT.get(reason, REFUSED.get(reason, ENDED.get(reason, reason)))
        case "updated":
            return "Changed", ", ".join(detail.get("fields", []))
        case "token_reset":
            return "Stream key replaced", "the encoder was disconnected" if detail.get("disconnect") else ""
        case "error":
            return "Signal error", reason
        case "unstable":
            return "Unstable", " ".join(advice(each).what for each in detail.get("reasons", []))
        case "stable":
            return "Stable again", ""
        case "ladder":
            return "Sizes for viewers", sizes(detail)
        case "limit_near":
            what = NEAR.get(detail.get("limit", ""), "")
            return "A limit is near", Markup("{}; cut off at {}").format(what, when(detail["endsAt"]))
        case "video_ready":
            return "Video ready", "the replay" if detail.get("type") == "catchup" else "a recording"
        case "video_failed":
            return "Video failed", reason
        case "storage_low":
            return "Disk nearly full", reason
        case "storage_enough":
            return "Disk has room", reason
        case "ended":
            return "Ended", ENDED.get(reason, reason)
    known = " · ".join(f"{name}: {value}" for name, value in detail.items() if name != "sessionId")
    return entry.kind.replace("_", " ").capitalize(), known


def sizes(detail: dict[str, Any]) -> str:
    """What is made of a picture, and what is not, with the reason."""
    made = [each["name"] for each in detail.get("rendered", [])]
    missing = [
        f"{each['name']} left out: {LEFT_OUT.get(each['reason'], each['reason'])}"
        for each in detail.get("leftOut", [])
    ]
    return "; ".join([", ".join(["the source", *made]), *missing])


def left(reason: str | None) -> str:
    return LEFT.get(reason or "", REFUSED.get(reason or "", ENDED.get(reason or "", reason or "")))


# Filters of the templates.


def duration(seconds: float | None) -> str:
    """1:02:03, as players show it."""
    if seconds is None:
        return NOTHING
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def hours(seconds: float) -> str:
    """A sum of time that may be of many people: 3 min, 12.5 h."""
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:,.1f} h"


def span(seconds: float) -> str:
    """A setting in seconds, as people say it: 10 min, 1 day."""
    for unit, name in ((86400, "day"), (3600, "h"), (60, "min")):
        if seconds >= unit and seconds % unit == 0:
            count = int(seconds // unit)
            return f"{count} {name}s" if name == "day" and count > 1 else f"{count} {name}"
    return f"{seconds:g} s"


def size(count: float | None) -> str:
    """Bytes in decimal units, as disks and networks count."""
    if count is None:
        return NOTHING
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit in ("B", "kB") else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def rate(bits: float | None) -> str:
    """Bit/s."""
    if bits is None:
        return NOTHING
    return f"{bits / 1e6:.1f} Mbit/s" if bits >= 1e6 else f"{bits / 1e3:.0f} kbit/s"


def breakable(address: str) -> Markup:
    """An address that goes on in the next line after a slash, and not in the middle of a word."""
    return Markup(re.sub(r"(?<![:/])/", "/<wbr>", escape(address)))  # noqa: S704 (escaped)


def grouped(number: float | None) -> str:
    return NOTHING if number is None else f"{number:,}"


def day_and_time(moment: datetime | str) -> str:
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def when(moment: datetime | str | None) -> str:
    """A moment in UTC; console.js shows it in the time of whoever looks."""
    if not moment:
        return NOTHING
    machine = moment if isinstance(moment, str) else iso(moment)
    return Markup('<time datetime="{}">{}</time>').format(escape(machine), day_and_time(moment))


FILTERS: dict[str, Any] = {
    "duration": duration,
    "hours": hours,
    "span": span,
    "size": size,
    "rate": rate,
    "grouped": grouped,
    "when": when,
    "breakable": breakable,
}
