"""A channel's renditions beside its source, as viewers see them: the same numbers, times and discontinuities.

An entry is what a transcoder made of the source's segment, or, where there is none in time, the source's segment
itself: viewers never wait for a transcoder, and the sequence has no hole. A transcoder writes a file for each group of
pictures; those that belong to the source's segment 7, told by their time stamps, become `<session>/480p/7.ts`. That it
is there is all that anybody has to know.
"""

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from media import playlists, ts
from media.index import Segment
from media.ladder import GROUPS, LINES, Ladder
from media.playlists import Entry, MediaPlaylist, Variant
from media.storage import write_public

LADDER = "ladder.json"  # what is to be made of a session: the worker writes it
STATE = "renditions.json"  # how each rendition gets on: the packager does
# So long a segment waits for its rendition, while the transcoder is at work; its players are that much later.
WAIT_MS = {"normal": 4000, "low-latency": 2000}
# A group of pictures with fewer than these came out of a transcoder that could not read fast enough.
ENOUGH = 0.9
REMEMBERED = 200


def read_ladder(folder: Path) -> Ladder | None:
    try:
        return Ladder.from_json(json.loads((folder / LADDER).read_text()))
    except (FileNotFoundError, ValueError, KeyError, TypeError):  # none yet, or of another release
        return None


def write_ladder(folder: Path, ladder: Ladder) -> None:
    write_public(folder / LADDER, json.dumps(ladder.as_json()))


def read_state(folder: Path) -> dict[str, int]:
    """How many segments in a row each rendition was too late for."""
    try:
        return json.loads((folder / STATE).read_text())
    except (FileNotFoundError, ValueError):
        return {}


@dataclass(frozen=True)
class Wanted:
    """A segment of the source that a rendition should have: the time stamps of its key frames, in order."""

    number: int
    keys: tuple[int, ...]
    pictures: int
    since_ms: int


@dataclass
class Making:
    """One rendition of the session that is being taken in: from its transcoder's groups to segments."""

    folder: Path
    halved: bool
    wait_ms: int
    waiting: dict[int, Wanted] = field(default_factory=dict)
    groups: dict[int, tuple[Path, int]] = field(
        default_factory=dict
    )  # by first time stamp; and how many pictures
    looked_at: set[str] = field(default_factory=set)
    missed: dict[int, int] = field(default_factory=dict)  # since when, by the time stamp of a key frame
    at_work: bool = False  # what it made last was in time
    late: int = 0

    def expects(self, now_ms: int) -> bool:
        """Whether something may come that matters: that is waited for, or tells that it is worth waiting again."""
        last = next(reversed(self.missed.values()), 0)
        return bool(self.waiting) or now_ms - last < self.wait_ms

    def look(self, now_ms: int) -> None:
        """Make segments of what the transcoder has finished; give up what it has not finished in time."""
        self._read_groups()
        for wanted in list(self.waiting.values()):
            if self._has(wanted):
                self._make(wanted)
                self.at_work, self.late = True, 0
            elif not self.at_work or now_ms - wanted.since_ms >= self.wait_ms:
                self.at_work = False
                self.late += 1
                self.missed |= dict.fromkeys(wanted.keys, wanted.since_ms)
            else:
                break  # in order
            del self.waiting[wanted.number]
        self._forget(now_ms)

    def _read_groups(self) -> None:
        try:
            names = {path.name for path in (self.folder / GROUPS).iterdir() if path.suffix == ".ts"}
        except FileNotFoundError:
            return
        for name in names - self.looked_at:
            path = self.folder / GROUPS / name
            with suppress(FileNotFoundError):
                pictures = [frame for frame in ts.frames(path.read_bytes()) if frame.video]
                if pictures:
                    self._take(pictures[0].pts, path, len(pictures))
        self.looked_at = names

    def _take(self, key: int, path: Path, pictures: int) -> None:
        """A transcoder that hands over to the next makes the same as that, and the last of it by half."""
        path_before, had = self.groups.get(key, (None, -1))
        if pictures <= had:
            path.unlink()
            return
        if path_before:
            path_before.unlink()
        self.groups[key] = path, pictures

    def _has(self, wanted: Wanted) -> bool:
        """All groups of a segment, with (nearly) all of their pictures."""
        found = [self.groups[key][1] for key in wanted.keys if key in self.groups]
        complete = bool(found) and len(found) == len(wanted.keys)
        return complete and sum(found) * (1 + self.halved) >= wanted.pictures * ENOUGH

    def _make(self, wanted: Wanted) -> None:
        first, *others = [self.groups.pop(key)[0] for key in wanted.keys]
        if others:
            with open(first, "ab") as file:
                for other in others:
                    file.write(other.read_bytes())
                    other.unlink()
        first.rename(self.folder / f"{wanted.number}.ts")

    def _forget(self, now_ms: int) -> None:
        """Groups of segments that have gone without them. A transcoder that is not far behind is waited for again."""
        for key in self.groups.keys() & self.missed.keys():
            if now_ms - self.missed[key] < self.wait_ms:
                self.at_work = True
            self.groups.pop(key)[0].unlink(missing_ok=True)
        for key in list(self.groups)[:-REMEMBERED]:
            self.groups.pop(key)[0].unlink(missing_ok=True)
        for key in list(self.missed)[:-REMEMBERED]:
            del self.missed[key]


class Renditions:
    """All of a channel's. One that was shown once goes on, as the source itself if need be: players keep to it."""

    def __init__(self, session: Path, mode: str, *, independent: bool) -> None:
        self.session = session
        self.independent = independent
        self.channel = session.parent
        self.wait_ms = WAIT_MS.get(mode, 0)
        self.ladder: Ladder | None = None
        self.read_at: int | None = None
        self.making: dict[str, Making] = {}
        self.shown: dict[Path, MediaPlaylist] = {}
        self.said: dict[str, int] = {}

    def look(self, live: MediaPlaylist, fresh: list[Segment], now_ms: int) -> None:
        """Let the live playlists of the renditions follow the source's. `fresh`: segments that have become whole."""
        if not fresh and not any(each.expects(now_ms) for each in self.making.values()):
            return
        if fresh:
            self._read_ladder()
            self._want(fresh, now_ms)
        for each in self.making.values():
            each.look(now_ms)
        self._follow_live(live)
        self._tell()

    def finish(self, live: MediaPlaylist) -> None:
        """The session is over: nobody waits for what its transcoder has not finished."""
        for each in self.making.values():
            each.waiting.clear()
        self._follow_live(live)
        for name in self.making:
            shutil.rmtree(self.session / name / GROUPS, ignore_errors=True)

    def _follow_live(self, live: MediaPlaylist) -> None:
        for name in self.names(playlists.SOURCE):
            self._follow(self.channel / f"{name}.m3u8", live, self._chooser(name))

    def follow_dvr(self, dvr: MediaPlaylist) -> None:
        for name in self.names(playlists.SOURCE_DVR):
            self._follow(self.channel / f"{name}_dvr.m3u8", dvr, self._chooser(name))

    def variants(self, codecs: str, *, dvr: bool = False) -> list[Variant]:
        """Lines of the multivariant playlist, the largest first."""
        found = (
            [each.variant(_sound(codecs)) for each in reversed(self.ladder.renditions)] if self.ladder else []
        )
        return [replace(each, uri=each.uri.replace(".", "_dvr.")) for each in found] if dvr else found

    def names(self, source: str) -> list[str]:
        """Of the renditions that there are in this kind of playlist: those to be made, and those once shown."""
        tail = source.removeprefix("source")
        made = self.ladder.names if self.ladder else set()
        return [name for name in LINES if name in made or (self.channel / f"{name}{tail}").exists()]

    def _read_ladder(self) -> None:
        try:
            changed_at = (self.session / LADDER).stat().st_mtime_ns
        except FileNotFoundError:
            return
        if changed_at == self.read_at:
            return
        self.read_at, self.ladder = changed_at, read_ladder(self.session)
        before, self.making = self.making, {}
        for each in self.ladder.renditions if self.ladder else ():
            fresh = Making(self.session / each.name, each.halved, self.wait_ms)
            kept = before.get(each.name)
            self.making[each.name] = kept if kept and kept.halved == each.halved else fresh

    def _want(self, fresh: list[Segment], now_ms: int) -> None:
        if not self.making:
            return
        for wanted in [self._wanted(segment, now_ms) for segment in fresh]:
            for each in self.making.values():
                if wanted.keys:
                    each.waiting[wanted.number] = wanted

    def _wanted(self, segment: Segment, now_ms: int) -> Wanted:
        try:
            data = (self.session / segment.file).read_bytes()
        except FileNotFoundError:  # the channel is being deleted
            data = b""
        pictures = [frame for frame in ts.frames(data) if frame.video]
        keys = tuple(frame.pts for frame in pictures if frame.key)
        whole = keys and pictures[0].key  # else it begins in the middle of a group
        return Wanted(segment.number, keys if whole else (), len(pictures), now_ms)

    def _chooser(self, name: str) -> Callable[[Entry], str | None]:
        """What stands in a rendition's playlist for an entry of the source's; None where it is not decided yet."""
        making = self.making.get(name)
        waiting = {f"{self.session.name}/{number}.ts" for number in making.waiting} if making else set()
        return lambda entry: None if entry.uri in waiting else made_of(self.channel, entry.uri, name)

    def _follow(self, path: Path, source: MediaPlaylist, choose: Callable[[Entry], str | None]) -> None:
        shown = self.shown.get(path) or _read(path)
        if shown is None or not source.first <= shown.next_number <= source.next_number:
            shown = MediaPlaylist(source.first, source.breaks)
        before = shown.first, shown.next_number
        gone = max(0, source.first - shown.first)
        del shown.entries[:gone]
        shown.first, shown.breaks = source.first, source.breaks
        for entry in source.entries[shown.next_number - source.first :]:
            uri = choose(entry)
            if uri is None:
                break
            shown.add(replace(entry, uri=uri))
        shown.target = source.target
        known = path in self.shown
        self.shown[path] = shown
        if shown.entries and (not known or before != (shown.first, shown.next_number)):
            write_public(path, playlists.media(shown, independent=self.independent))

    def _tell(self) -> None:
        said = {name: each.late for name, each in self.making.items()}
        if said != self.said:
            self.said = said
            write_public(self.session / STATE, json.dumps(said))


def made_of(channel: Path, uri: str, name: str) -> str:
    """The rendition's file for a file of the source, or that itself where there is none."""
    session, file = uri.split("/")
    made = f"{session}/{name}/{file}"
    return made if (channel / made).exists() else uri


def kept(channel: Path, codecs: str) -> list[Variant]:
    """Of a whole broadcast, what was made in any of its sessions, the largest first: see broadcast.whole."""
    found: dict[str, Variant] = {}
    for session in sorted(path.parent for path in channel.glob(f"*/{LADDER}")):
        ladder = read_ladder(session)
        for each in ladder.renditions if ladder else ():
            if any((session / each.name).glob("*.ts")):
                found[each.name] = each.variant(_sound(codecs))
    return [found[name] for name in LINES if name in found]


def _sound(codecs: str) -> str:
    return next((codec for codec in codecs.split(",") if codec.startswith("mp4a")), "")


def _read(path: Path) -> MediaPlaylist | None:
    try:
        return playlists.parse(path.read_text())
    except FileNotFoundError:
        return None
