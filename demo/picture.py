"""The broadcaster: ffmpeg with a test picture and a tone."""

import shutil
import subprocess
import time

from config import Config
from demo.place import DemoError
from media import ffmpeg


class Picture:
    """Not started yet; `began` is when it was, in seconds since 1970."""

    def __init__(self, config: Config) -> None:
        candidates = [ffmpeg.program(config.ffmpeg), shutil.which("ffmpeg")]
        self.program = next((each for each in candidates if each and _encodes(each)), None)
        if self.program is None:
            raise DemoError("No ffmpeg here has libx264: set FFMPEG to one that has.")
        self.process: subprocess.Popen[str] | None = None
        self.began = 0.0

    def start(self, url: str) -> None:
        """`url` ends with the streamToken, which other users of this machine can see while it runs: ffmpeg takes it
        no other way. The channel is the demo's own and gone afterwards."""
        self.began = time.time()
        self.process = subprocess.Popen(
            [
                *(self.program, "-nostdin", "-hide_banner", "-loglevel", "error", "-re"),
                *("-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=25"),
                *("-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100"),
                *("-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "25"),
                *("-b:v", "1500k", "-pix_fmt", "yuv420p", "-c:a", "aac", "-b:a", "96k", "-f", "flv", url),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for us: we end it in our own time
        )

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def complaint(self, secret: str) -> str:
        """What it said when it ended by itself; ffmpeg prints the whole URL where it fails."""
        said = (self.process.communicate()[1] if self.process else "").strip().splitlines()
        return said[-1].replace(secret, "...") if said else "It said nothing."

    def stop(self) -> None:
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()


def _encodes(program: str) -> bool:
    try:
        told = subprocess.run(
            [program, "-hide_banner", "-encoders"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return False
    return "libx264" in told.stdout.split()
