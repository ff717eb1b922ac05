"""What the processes of web count and remember together: memory that they share since they were forked (processes.py).

Each writes into its own part and reads all of them. So nobody waits for anybody, who is killed leaves no lock behind,
and who takes its place goes on from what stands there. A process by itself has one part. Nothing is on a disk, which
may be full, and nothing outlives the last of them.
"""

import mmap
import os
import secrets
import threading
from collections.abc import Iterator
from hashlib import blake2b

FLOAT = 8  # bytes
NAME = 16  # of a row of Counts: its name takes the room of so many numbers
NUMBERS = 16
ROW = NAME + NUMBERS
ROWS = 8192  # all names that there can be are fewer: labels are of closed sets
DIGEST = 2  # of a row of Times: the same for its key
WAYS = 8

USED, PID, DEATHS = range(NAME, NAME + 3)  # numbers of a part's first row

own = 0  # which part is this process's


class Counts:
    """Rows of numbers that only grow, by name. The first row of a part says how many it has, whose it is and how often
    somebody who had it has died."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.divide(1)

    def divide(self, parts: int) -> None:
        self.parts = parts
        self.memory = mmap.mmap(-1, parts * ROWS * ROW * FLOAT)
        self.numbers = memoryview(self.memory).cast("d")
        self.take()

    def take(self) -> None:
        self.numbers[self._at(own, 0) + PID] = os.getpid()
        self.rows = dict(self._named(own))

    def add(self, name: str, column: int = 0, amount: float = 0.0) -> None:
        """One more in this column of the row, and so much in its last."""
        with self.lock:
            at = self.rows.get(name) or self._row(name)
            self.numbers[at + NAME + column] += 1
            self.numbers[at + ROW - 1] += amount

    def total(self) -> dict[str, list[float]]:
        """The rows of all parts, added up."""
        found: dict[str, list[float]] = {}
        for part in range(self.parts):
            for name, at in self._named(part):
                before = found.get(name, [0.0] * NUMBERS)
                here = self.numbers[at + NAME : at + ROW]
                found[name] = [one + other for one, other in zip(before, here, strict=True)]
        return found

    def pids(self) -> list[int]:
        """Who has the parts; one that has just died may be among them."""
        if self.parts == 1:
            return [os.getpid()]
        taken = (int(self.numbers[self._at(part, 0) + PID]) for part in range(self.parts))
        return [pid for pid in taken if pid]

    def died(self, part: int) -> None:
        """For the parent: nobody has this part until somebody takes it."""
        header = self._at(part, 0)
        self.numbers[header + PID] = 0
        self.numbers[header + DEATHS] += 1

    def deaths(self) -> int:
        return int(sum(self.numbers[self._at(part, 0) + DEATHS] for part in range(self.parts)))

    def _row(self, name: str) -> int:
        used = self._at(own, 0) + USED
        number = int(self.numbers[used]) + 1
        written = name.encode()
        if number >= ROWS or len(written) > NAME * FLOAT:
            raise ValueError(f"no room to count {name!r}")
        at = self._at(own, number)
        self.memory[at * FLOAT : (at + NAME) * FLOAT] = written.ljust(NAME * FLOAT, b"\0")
        self.numbers[used] = number  # last: killed before it, the row is nobody's
        self.rows[name] = at
        return at

    def _named(self, part: int) -> Iterator[tuple[str, int]]:
        for number in range(1, int(self.numbers[self._at(part, 0) + USED]) + 1):
            at = self._at(part, number)
            yield self.memory[at * FLOAT : (at + NAME) * FLOAT].rstrip(b"\0").decode(), at

    def _at(self, part: int, number: int) -> int:
        return (part * ROWS + number) * ROW


class Times:
    """The last times of each key, in seconds, `most` of them. Where too many keys meet, the one that has been quiet
    for longest is forgotten: there are `keys` in a part, and each has WAYS places to choose from."""

    def __init__(self, parts: int, keys: int, most: int) -> None:
        self.parts, self.sets, self.row = parts, keys // WAYS, DIGEST + most
        self.salt = secrets.token_bytes(16)  # nobody can know which keys meet
        self.memory = mmap.mmap(-1, parts * self.sets * WAYS * self.row * FLOAT)
        self.numbers = memoryview(self.memory).cast("d")
        self.lock = threading.Lock()

    def add(self, key: str, at: float) -> None:
        digest = self._digest(key)
        with self.lock:
            place = self._find(own, digest)
            if place is None:
                place = min(self._places(own, digest), key=lambda each: max(self._times(each)))
                self.memory[place * FLOAT : (place + self.row) * FLOAT] = digest.ljust(
                    self.row * FLOAT, b"\0"
                )
            times = self._times(place)
            self.numbers[place + DIGEST + times.index(min(times))] = at

    def after(self, key: str, at: float) -> list[float]:
        """All of this key that are later, whoever added them; the oldest first."""
        digest = self._digest(key)
        places = (self._find(part, digest) for part in range(self.parts))
        return sorted(
            time for place in places if place is not None for time in self._times(place) if time > at
        )

    def _digest(self, key: str) -> bytes:
        return blake2b(
            key.encode("utf-8", "surrogatepass"), digest_size=DIGEST * FLOAT, key=self.salt
        ).digest()

    def _places(self, part: int, digest: bytes) -> list[int]:
        first = (part * self.sets + int.from_bytes(digest[:4]) % self.sets) * WAYS
        return [number * self.row for number in range(first, first + WAYS)]

    def _find(self, part: int, digest: bytes) -> int | None:
        for place in self._places(part, digest):
            if self.memory[place * FLOAT : (place + DIGEST) * FLOAT] == digest:
                return place
        return None

    def _times(self, place: int) -> list[float]:
        return self.numbers[place + DIGEST : place + self.row].tolist()


counts = Counts()


def take(part: int) -> None:
    """Be this one of the processes from now on."""
    global own
    own = part
    counts.take()
