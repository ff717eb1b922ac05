"""What an H.264 stream says of itself in its sequence parameter set (ITU-T H.264, 7.3.2.1.1), pure."""

import re
from dataclasses import dataclass

PROFILES = {66: "Baseline", 77: "Main", 88: "Extended", 100: "High", 110: "High 10", 122: "High 4:2:2"}
# Profiles whose parameter set says more of chroma and scaling.
WITH_CHROMA = {44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 144, 244}
CONSTRAINED = 0x40  # constraint_set1_flag: baseline without what nobody has implemented
START_CODE = re.compile(rb"\x00\x00\x01")
SPS = 7


@dataclass(frozen=True)
class Parameters:
    """`codec` as HLS wants it (RFC 6381): avc1, then profile, constraints and level in hexadecimal."""

    codec: str
    profile: str
    level: str
    width: int
    height: int


def parameters(access_unit: bytes) -> Parameters | None:
    """The first parameter set in a picture (Annex B byte stream); None if it has none that can be read."""
    for match in START_CODE.finditer(access_unit):
        at = match.end()
        if at < len(access_unit) and access_unit[at] & 0x1F == SPS:
            end = START_CODE.search(access_unit, at)
            try:
                return _parse(access_unit[at + 1 : end.start() if end else None])
            except IndexError:  # cut short
                return None
    return None


def _parse(sps: bytes) -> Parameters:
    bits = _Bits(sps.replace(b"\x00\x00\x03", b"\x00\x00"))
    profile, constraints, level = bits.take(8), bits.take(8), bits.take(8)
    bits.golomb()
    chroma = 1
    if profile in WITH_CHROMA:
        chroma = _chroma(bits)
    bits.golomb()
    order = bits.golomb()
    if order == 0:
        bits.golomb()
    elif order == 1:
        bits.take(1)
        bits.golomb()
        bits.golomb()
        for _ in range(bits.golomb()):
            bits.golomb()
    bits.golomb()
    bits.take(1)
    width, height = (bits.golomb() + 1) * 16, (bits.golomb() + 1) * 16
    frames_only = bits.take(1)
    height *= 2 - frames_only
    if not frames_only:
        bits.take(1)
    bits.take(1)
    if bits.take(1):
        left, right, top, bottom = (bits.golomb() for _ in range(4))
        across, down = {0: (1, 1), 1: (2, 2), 2: (2, 1), 3: (1, 1)}[chroma]
        width -= (left + right) * across
        height -= (top + bottom) * down * (2 - frames_only)
    name = PROFILES.get(profile, str(profile))
    if profile == 66 and constraints & CONSTRAINED:
        name = "Constrained Baseline"
    codec = f"avc1.{profile:02x}{constraints:02x}{level:02x}"
    return Parameters(codec, name, f"{level // 10}.{level % 10}", width, height)


def _chroma(bits: "_Bits") -> int:
    chroma = bits.golomb()
    if chroma == 3:
        bits.take(1)
    bits.golomb()
    bits.golomb()
    bits.take(1)
    if bits.take(1):
        for number in range(8 if chroma != 3 else 12):
            if bits.take(1):
                _skip_scaling(bits, 16 if number < 6 else 64)
    return chroma


def _skip_scaling(bits: "_Bits", size: int) -> None:
    last, following = 8, 8
    for _ in range(size):
        if following:
            code = bits.golomb()
            delta = (code + 1) // 2 if code % 2 else -(code // 2)
            following = (last + delta) % 256
        last = following or last


class _Bits:
    """Bits one after the other, from the highest of the first byte on."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, count: int) -> int:
        value = 0
        for _ in range(count):
            value = value << 1 | self.data[self.at >> 3] >> (7 - (self.at & 7)) & 1
            self.at += 1
        return value

    def golomb(self) -> int:
        """Exp-Golomb: as many zeros as bits follow the first one."""
        zeros = 0
        while not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)
