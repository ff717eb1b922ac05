"""Makes a channel, publishes a test picture, watches it become playable, receives its own webhooks, and prints how long
each leg took. On the box that runs, or on one of its own for the time of the demo. Exit status 0 if every leg came."""

import argparse
import os
import signal
import sys
from pathlib import Path

from config import ConfigError, from_env
from demo.broadcast import Broadcast
from demo.picture import Picture
from demo.place import DemoError, place
from demo.receiver import Receiver
from demo.telling import tell
from media.tls import TlsError

PROJECT = Path(__file__).resolve().parent.parent


def main() -> int:
    parser = argparse.ArgumentParser(prog="script/demo", description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=10, help="how long to broadcast (default: %(default)g)"
    )
    parser.add_argument("--keep", action="store_true", help="stay on air until Ctrl-C")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # clean up as after Ctrl-C
    try:
        config = from_env(os.environ)
        picture = Picture(config)
        with place(config, os.environ, PROJECT) as here, Receiver() as receiver:
            broadcast = Broadcast(here, receiver, picture)
            try:
                broadcast.run(asked.seconds, keep=asked.keep)
            finally:
                broadcast.clean_up()
    except (ConfigError, DemoError, TlsError) as error:
        print(f"The demo failed. {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; cleaned up.", file=sys.stderr)
        return 1
    tell(broadcast.table())
    return 0


if __name__ == "__main__":
    sys.exit(main())
