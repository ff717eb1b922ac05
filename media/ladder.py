"""Which renditions a source gets, what each costs, and what fits into the box: pure (docs/decisions/0010-ladder.md)."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from media.playlists import Variant

GROUPS = "new"  # the folder, in a rendition's own, that its transcoder writes to
# By the shorter side, in lines: kbit/s of video at up to 30 frames a second, never exceeded for longer than BUFFER_S.
LINES = {"1080p": 1080, "720p": 720, "480p": 480, "360p": 360}
KBITS = {"1080p": 4500, "720p": 2500, "480p": 1200, "360p": 700}
SOUND_KBITS = 160
WRAPPING = 1.06  # what MPEG-TS adds
BUFFER_S = 0.5
# A rendition nearly as large as the source would be the source once more, only worse.
NEARLY = 0.9
FAST_FPS = 40.0
FAST_FROM_LINES = 720
# Cores for a million pixels a second, measured on the box of docs/measured.md; the decoder's share is paid once.
DECODE_CORES = 0.0015
SCALE_CORES = 0.001  # of the source's pixels, for each rendition
ENCODE_CORES = 0.011
# H.264 levels (ITU-T H.264, A-1): the number, macroblocks in a picture, macroblocks in a second.
LEVELS = (
    *((30, 1620, 40_500), (31, 3600, 108_000), (32, 5120, 216_000), (40, 8192, 245_760)),
    *((42, 8704, 522_240), (50, 22_080, 589_824), (51, 36_864, 983_040), (52, 36_864, 2_073_600)),
)

NO_ROOM = "no_room"  # it does not fit into TRANSCODE_CORES beside what runs
OFF = "switched_off"  # TRANSCODE_CORES is 0
TOO_LATE = "overloaded"  # it ran, but the box could not keep up
FAILED = "failed"  # its transcoder ended again and again
ULTRA = "ultra_low_latency"
NOT_HERE = "media_server"  # SRS: nobody can read a stream there without its streamToken


@dataclass(frozen=True)
class Picture:
    """What is sent, or what is made of it. `fps` is 0.0 where nobody knows yet."""

    width: int
    height: int
    fps: float

    @property
    def lines(self) -> int:
        return min(self.width, self.height)

    @property
    def megapixels(self) -> float:
        """In a second."""
        return self.width * self.height * (self.fps or 30.0) / 1e6


@dataclass(frozen=True)
class Rendition(Picture):
    """A picture that is to be made."""

    name: str
    halved: bool = False  # every other picture of the source

    @property
    def fast(self) -> bool:
        return self.fps > FAST_FPS

    @property
    def bitrate(self) -> int:
        """kbit/s of video, at most: twice the pictures, half as much again."""
        return round(KBITS[self.name] * (1.5 if self.fast else 1))

    @property
    def level(self) -> int:
        blocks = -(-self.width // 16) * -(-self.height // 16)
        fits = (level for level, most, rate in LEVELS if blocks <= most and blocks * self.fps <= rate)
        return next(fits, LEVELS[-1][0])

    def variant(self, sound: str) -> Variant:
        """Its line in the multivariant playlist, promised before there is a byte of it. `sound`: its codec, or "".

        A segment of a second may hold what the encoder's buffer had saved up, besides a second's worth.
        """
        most = self.bitrate + (SOUND_KBITS if sound else 0)
        return Variant(
            f"{self.name}.m3u8",
            peak=_bits((most + self.bitrate * BUFFER_S) * WRAPPING),
            average=_bits(most * WRAPPING),
            codecs=",".join(filter(None, [f"avc1.6400{self.level:02x}", sound])),
            size=(self.width, self.height),
            fps=self.fps or None,
        )


@dataclass(frozen=True)
class Ladder:
    """What is made of a source, smallest first, and what is not: why, by name."""

    source: Picture
    renditions: tuple[Rendition, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def names(self) -> set[str]:
        return {rendition.name for rendition in self.renditions}

    @property
    def cores(self) -> float:
        return cost(self.source, self.renditions)

    def is_of(self, source: Picture) -> bool:
        """Whether it was made for pictures of this size; a frame rate wavers."""
        return (self.source.width, self.source.height) == (source.width, source.height)

    def without(self, names: Iterable[str], why: str) -> "Ladder":
        gone = set(names)
        kept = tuple(rendition for rendition in self.renditions if rendition.name not in gone)
        return Ladder(self.source, kept, self.left_out | dict.fromkeys(sorted(gone), why))

    def with_room(self, cores: float, free: float) -> "Ladder":
        """What it becomes where so much of the box's `cores` is free: what had no room comes in, nothing goes."""
        no_room = [name for name, why in self.left_out.items() if why == NO_ROOM]
        more = plan(self.source, [*self.names, *no_room], ultra=False, cores=cores, free=free)
        if not more.names > self.names:
            return self
        others = {name: why for name, why in self.left_out.items() if name not in no_room}
        return Ladder(self.source, more.renditions, more.left_out | others)

    def told(self) -> dict[str, Any]:
        """For people and programs: the timeline and the metadata."""
        rendered = [
            {
                "name": each.name,
                "width": each.width,
                "height": each.height,
                "fps": each.fps or None,
                "bitrate": each.bitrate,
            }
            for each in reversed(self.renditions)
        ]
        left_out = [{"name": name, "reason": why} for name, why in self.left_out.items()]
        return {"rendered": rendered, "leftOut": left_out}

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        renditions = tuple(Rendition(**each) for each in data["renditions"])
        return cls(Picture(**data["source"]), renditions, data["left_out"])


def plan(source: Picture, profile: Iterable[str], *, ultra: bool, cores: float, free: float) -> Ladder:
    """What a session gets: of `profile` as much as fits into the `free` of the box's `cores`.

    The smallest come first: they cost least, and it is the viewers with the poorest lines who have nothing else.
    """
    wanted = [_rendition(name, source) for name in _below(source, profile)]
    if ultra or not cores:
        why = ULTRA if ultra else OFF
        return Ladder(source, (), {each.name: why for each in reversed(wanted)})
    taken: list[Rendition] = []
    for each in wanted:
        if cost(source, [*taken, each]) > free:
            break
        taken.append(each)
    left = wanted[len(taken) :]
    return Ladder(source, tuple(taken), {each.name: NO_ROOM for each in reversed(left)})


def cost(source: Picture, renditions: Iterable[Rendition]) -> float:
    """Cores that a transcoder takes; nothing where there is nothing to make."""
    each = [SCALE_CORES * source.megapixels + ENCODE_CORES * made.megapixels for made in renditions]
    return DECODE_CORES * source.megapixels + sum(each) if each else 0.0


def _below(source: Picture, profile: Iterable[str]) -> list[str]:
    names = [name for name in profile if LINES[name] <= source.lines * NEARLY]
    return sorted(names, key=LINES.__getitem__)


def _rendition(name: str, source: Picture) -> Rendition:
    """The shorter side becomes the profile's lines; sizes are even, as 4:2:0 wants them.

    More than 40 frames a second stay from 720 lines on; below that, half of them look as good for half the price.
    """
    lines = LINES[name]
    longer = 2 * round(max(source.width, source.height) * lines / source.lines / 2)
    width, height = (longer, lines) if source.width >= source.height else (lines, longer)
    halved = source.fps > FAST_FPS and lines < FAST_FROM_LINES
    return Rendition(width, height, round(source.fps / 2, 3) if halved else source.fps, name, halved)


def _bits(kbits: float) -> int:
    """Bits a second, up to the next 10 kbit/s."""
    return -(-round(kbits) // 10) * 10_000
