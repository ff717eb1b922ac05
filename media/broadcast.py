"""One channel's playlists: written by rename, and read again by the next packager, which goes on where this one was.

A reconnection is a discontinuity in them, not a new address (docs/decisions/0008-one-packager.md).
"""

import shutil
from collections import deque
from contextlib import suppress
from dataclasses import replace
from math import ceil
from pathlib import Path

from media import index, playlists
from media.index import Job, Segment
from media.intake import MEASURED_SEGMENTS, Intake
from media.parts import NAME, Part, Slicer
from media.playlists import Entry, MediaPlaylist, Variant
from media.renditions import Renditions, made_of
from media.storage import write_public

ULTRA = "ultra-low-latency"
LISTED_S = {"normal": 20.0, "low-latency": 12.0, ULTRA: 8.0}
DVR_EVERY_MS = 4000  # it may be seconds late, and is long
# Whoever read a playlist a moment ago may still ask for what has left it.
GRACE_MS = 30_000
CLEAN_EVERY_MS = 10_000
IN_MEMORY = 60


class Broadcast:
    """The playlists of a channel with the session that is being taken in."""

    def __init__(self, intake: Intake) -> None:
        self.intake = intake
        self.folder = intake.folder.parent
        self.job = index.read_job(intake.folder)
        self.live = _read(self.folder / playlists.SOURCE)
        self.slicer = self._slicer() if self.job.mode == ULTRA else None
        self.renditions = Renditions(intake.folder, self.job.mode, independent=self.slicer is None)
        self.playable = any(self._is_ours(entry) for entry in self.live.entries)
        self.said: tuple[object, ...] = ()  # what the multivariant playlist says
        self.dvr: MediaPlaylist | None = None
        self.dvr_at_ms = self.cleaned_at_ms = 0
        self.parts_gone: deque[tuple[int, Path]] = deque()

    def look(self, now_ms: int) -> bool:
        """Show what has become whole. True where the worker should know at once: it plays, or says what it is."""
        fresh = self.intake.look(now_ms)
        was_playable = self.playable
        if self.slicer:
            self._show([self._of_part(part, now_ms) for part in self.slicer.look()], now_ms)
        else:
            self._show([self._of_segment(segment) for segment in fresh], now_ms)
        self.renditions.look(self.live, fresh, now_ms)
        if fresh:
            self.intake.keep(fresh)
        learned = not self.intake.measures and self.intake.probe()
        began = self.playable and not was_playable
        if self.playable and (began or fresh):
            self._write_master()
        if fresh and self.job.dvr:
            self._write_dvr(fresh, now_ms)
        if fresh or learned or began:
            self._tell(over=False)
        if fresh and now_ms - self.cleaned_at_ms >= CLEAN_EVERY_MS:
            self.cleaned_at_ms = now_ms
            self._clean(now_ms)
        return learned or began

    def reread_job(self) -> None:
        """The worker writes it anew when the channel's wishes for what is kept have changed."""
        before, self.job = self.job, index.read_job(self.intake.folder)
        if before.keep and not self.job.keep:
            self.intake.known.segments = index.read(self.intake.folder).segments

    def finish(self, now_ms: int) -> None:
        """The publisher has left and nginx has closed its files: show what is left, and say that this was all."""
        self.look(now_ms)
        self.renditions.finish(self.live)
        if self.dvr:
            self.dvr_at_ms = 0
            self._write_dvr([], now_ms)
        self._tell(over=True)

    # Live.

    def _show(self, entries: list[Entry], now_ms: int) -> None:
        shown = {entry.uri for entry in self.live.entries}
        for entry in entries:
            if (
                entry.uri not in shown
            ):  # shown, but not yet written down when a packager before this one ended
                self._add(entry)
        if not entries:
            return
        gone = self.live.trim(LISTED_S[self.job.mode], at_least=self._needed())
        self.parts_gone.extend(
            (now_ms + GRACE_MS, self.folder / each.uri) for each in gone if NAME.search(each.uri)
        )
        write_public(
            self.folder / playlists.SOURCE, playlists.media(self.live, independent=self.slicer is None)
        )
        self.playable = True

    def _needed(self) -> int:
        """How many entries a player needs at least: three, and of parts all since the last key frame."""
        numbers = [found["number"] for entry in self.live.entries if (found := NAME.search(entry.uri))]
        return max(3, numbers.count(numbers[-1]) if numbers else 0)

    def _add(self, entry: Entry) -> None:
        """Wall time goes on from the entry before, where time stamps do."""
        last = self.live.entries[-1] if self.live.entries else None
        if last and not self._is_ours(last):
            entry = Entry(entry.uri, entry.seconds, entry.began_ms, broken=True)
        elif last and self.slicer and not entry.broken:
            entry = Entry(entry.uri, entry.seconds, last.began_ms + round(last.seconds * 1000))
        self.live.add(entry)

    def _of_part(self, part: Part, now_ms: int) -> Entry:
        return Entry(self._uri(part.file), part.seconds, now_ms - round(part.seconds * 1000))

    def _of_segment(self, segment: Segment) -> Entry:
        return Entry(self._uri(segment.file), segment.seconds, segment.began_ms, segment.broken)

    def _uri(self, file: str) -> str:
        return f"{self.intake.session_id}/{file}"

    def _is_ours(self, entry: Entry) -> bool:
        return entry.uri.startswith(f"{self.intake.session_id}/")

    def _slicer(self) -> Slicer:
        """Goes on behind the last part that is listed."""
        ours = [NAME.search(entry.uri) for entry in self.live.entries if self._is_ours(entry)]
        if not ours or ours[-1] is None:
            return Slicer(self.intake.folder)
        return Slicer(self.intake.folder, int(ours[-1]["number"]), int(ours[-1]["end"]))

    def _write_master(self) -> None:
        """Rates are estimates until ten segments have been measured, and then stay; codecs and sizes are followed."""
        signal, measured = self.intake.signal(), len(self.intake.measures)
        video = signal["video"]
        size = (video["width"], video["height"]) if video else None
        others = self.renditions.variants(signal["codecs"])
        said = (signal["codecs"], size, measured == MEASURED_SEGMENTS or min(measured, 1), others)
        if said == self.said:
            return
        self.said = said
        peak = _rounded(signal["peak"] or self._peak_of_parts())
        source = Variant(
            playlists.SOURCE,
            peak=peak,
            average=_rounded(signal["average"]) or peak,
            codecs=signal["codecs"],
            size=size,
            fps=video.get("fps"),
        )
        write_public(self.folder / playlists.MASTER, playlists.master([source, *others]))
        if self.job.dvr:
            seekable = replace(source, uri=playlists.SOURCE_DVR)
            others = self.renditions.variants(signal["codecs"], dvr=True)
            write_public(self.folder / playlists.MASTER_DVR, playlists.master([seekable, *others]))

    def _peak_of_parts(self) -> int:
        rates = [0.0]
        for entry in self.live.entries:
            with suppress(FileNotFoundError):
                rates.append((self.folder / entry.uri).stat().st_size * 8 / max(entry.seconds, 0.1))
        return round(max(rates))

    # DVR: whole segments, of all sessions within two hours.

    def _write_dvr(self, fresh: list[Segment], now_ms: int) -> None:
        if self.dvr is None:
            self.dvr = whole(self.folder)
        else:
            for segment in fresh:
                self.dvr.add(self._of_segment(segment))
        if now_ms - self.dvr_at_ms < DVR_EVERY_MS:
            return
        self.dvr_at_ms = now_ms
        self.dvr.trim(self.job.dvr_s)
        write_public(self.folder / playlists.SOURCE_DVR, playlists.media(self.dvr))
        self.renditions.follow_dvr(self.dvr)

    # What nobody needs any more.

    def _clean(self, now_ms: int) -> None:
        while self.parts_gone and self.parts_gone[0][0] <= now_ms:
            self.parts_gone.popleft()[1].unlink(missing_ok=True)
        known = self.intake.known
        if self.job.keep:
            del known.segments[:-IN_MEMORY]  # they stand in the index
            return
        behind_ms = _behind(self.job, now_ms)
        index.forget_before(self.intake.folder, known, behind_ms, self.job.kept_to_ms)
        _forget_sessions(self.folder, self.intake.folder, behind_ms)

    def _tell(self, *, over: bool) -> None:
        index.write_signal(
            self.intake.folder, self.intake.signal() | {"playable": self.playable, "over": over}
        )


def make_room(session: Path, now_ms: int) -> None:
    """The disk is full to the last byte: what is not kept goes, and of DVR all but the short one."""
    job = index.read_job(session)
    behind_ms = _behind(replace(job, dvr_s=index.SHORT_DVR_S), now_ms)
    if not job.keep:
        index.forget_before(session, index.read(session), behind_ms, job.kept_to_ms)
    _forget_sessions(session.parent, session, behind_ms)


def _behind(job: Job, now_ms: int) -> int:
    """What ended before this is not to be seen any more, but for catch-up."""
    return now_ms - GRACE_MS - round((job.dvr_s if job.dvr else LISTED_S[job.mode]) * 1000)


def _forget_sessions(channel: Path, running: Path, behind_ms: int) -> None:
    """Of those before the running one, what nobody keeps."""
    for folder, each in index.sessions(channel):
        job = index.read_job(folder)
        if folder == running or job.keep:
            continue
        if not job.kept_to_ms and (not each.segments or each.segments[-1].ends_ms < behind_ms):
            shutil.rmtree(folder, ignore_errors=True)
        else:
            index.forget_before(folder, each, behind_ms, job.kept_to_ms)


def whole(channel: Path, rendition: str = "") -> MediaPlaylist:
    """Everything of a channel that is on disk, over all its sessions: what catch-up shows, and DVR the end of.

    `rendition`: as far as it was made, "480p" say, and the source where it was not.
    """
    found = MediaPlaylist()
    for folder, each in index.sessions(channel):
        if not found.entries:
            found.first = each.first_base
            found.breaks = each.breaks
        before = None
        for segment in each.segments:
            follows = before is not None and segment.number == before + 1
            broken = segment.broken or (not follows and bool(found.entries))
            before = segment.number
            uri = f"{folder.name}/{segment.file}"
            uri = made_of(channel, uri, rendition) if rendition else uri
            found.add(Entry(uri, segment.seconds, segment.began_ms, broken))
    return found


def _read(path: Path) -> MediaPlaylist:
    try:
        return playlists.parse(path.read_text())
    except FileNotFoundError:
        return MediaPlaylist()


def _rounded(bits_per_second: int) -> int:
    """Up to the next 10 kbit/s: more digits than that would be made up."""
    return ceil(bits_per_second / 10_000) * 10_000
