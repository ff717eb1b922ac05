"""A broadcast whose picture carries the time: milliseconds of the wall clock as black and white blocks.

Raw frames go to the encoder through a pipe, each with the time at which it was made; the page reads them back from
what is on screen (READ), so that the difference is all of the way: encoder, network, packager, player, decoder.
"""

import subprocess
import threading
import time

from tests.box import FFMPEG, Box

WIDTH, HEIGHT, FPS = 640, 360, 25
BLOCK, COLUMNS, BITS = (
    20,
    16,
    32,
)  # two rows of blocks, then their complement: a picture in between reads as neither
BLACK, WHITE = b"\x10", b"\xeb"

READ = """
const [block, columns, bits] = arguments;
const video = document.querySelector("video");
const canvas = document.createElement("canvas");
canvas.width = block * columns;
canvas.height = block * bits * 2 / columns;
const paper = canvas.getContext("2d", { willReadFrequently: true });
const seen = window.seen = { latency: [], at: [], waits: [], unread: 0, hidden: 0, rates: [] };

function coded() {
  const scale = video.videoWidth / 640;
  paper.drawImage(video, 0, 0, canvas.width * scale, canvas.height * scale, 0, 0, canvas.width, canvas.height);
  const { data, width } = paper.getImageData(0, 0, canvas.width, canvas.height);
  const white = (n) => {
    const x = (n % columns) * block + block / 2, y = Math.floor(n / columns) * block + block / 2;
    return data[(y * width + x) * 4] > 127;
  };
  let value = 0;
  for (let n = 0; n < bits; n += 1) {
    if (white(n) === white(n + bits)) return null;
    value = value * 2 + (white(n) ? 1 : 0);
  }
  return value;
}

function look(now, frame) {
  const value = coded();
  const shown = performance.timeOrigin + Math.max(now, frame.expectedDisplayTime);
  if (value === null) seen.unread += 1;
  else {
    seen.latency.push((shown % 2 ** bits - value + 2 ** bits) % 2 ** bits);
    seen.at.push(shown);
  }
  video.requestVideoFrameCallback(look);
}
video.requestVideoFrameCallback(look);
video.addEventListener("waiting", () => seen.waits.push(Date.now()));
"""


class ClockEncoder:
    """Pushes the clock in real time to a channel, at 25 frames/s, with sound unless told otherwise."""

    def __init__(self, box: Box, key: str, *, gop: int = FPS, sound: bool = True) -> None:
        tone = ("-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100") if sound else ()
        self.argv = [
            *(FFMPEG, "-nostdin", "-loglevel", "error", "-fflags", "nobuffer", "-analyzeduration", "0"),
            *("-f", "rawvideo", "-pix_fmt", "gray", "-video_size", f"{WIDTH}x{HEIGHT}"),
            *("-framerate", str(FPS), "-i", "pipe:0", *tone),
            *("-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", str(gop)),
            *("-b:v", "800k", "-pix_fmt", "yuv420p", "-c:a", "aac", "-b:a", "96k", "-flush_packets", "1"),
            *("-f", "flv", f"rtmp://127.0.0.1:{box.rtmp_port}/live/{key}"),
        ]
        self.stopping = threading.Event()
        self.late = 0

    def __enter__(self) -> "ClockEncoder":
        self.process = subprocess.Popen(self.argv, stdin=subprocess.PIPE)
        self.thread = threading.Thread(target=self._draw)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self.thread.join()
        self.process.terminate()
        self.process.wait()

    def _draw(self) -> None:
        began = time.monotonic()
        number = 0
        try:
            while not self.stopping.wait(max(0.0, began + number / FPS - time.monotonic())):
                if time.monotonic() - began > number / FPS + 0.1:
                    self.late += 1
                self.process.stdin.write(picture(time.time_ns() // 1_000_000, number))
                self.process.stdin.flush()
                number += 1
            self.process.stdin.close()
        except BrokenPipeError:
            pass


def picture(ms: int, number: int) -> bytes:
    """The time in blocks, and below them a bar that moves."""
    bits = [bool(ms >> (BITS - 1 - n) & 1) for n in range(BITS)]
    cells = [*bits, *(not bit for bit in bits)]
    rows = [cells[at : at + COLUMNS] for at in range(0, len(cells), COLUMNS)]
    lines = [b"".join((WHITE if cell else BLACK) * BLOCK for cell in row) for row in rows]
    rest = WIDTH - BLOCK * COLUMNS
    coded = b"".join((line + BLACK * rest) * BLOCK for line in lines)
    at = number * 4 % (WIDTH - 40)
    bar = BLACK * at + WHITE * 40 + BLACK * (WIDTH - 40 - at)
    return coded + bar * (HEIGHT - BLOCK * len(rows))
