"""The receiver of `script/bench webhooks`, a process of its own: answers at once, under /slow after five seconds.

Prints a line for each request: its path, the event's id and when it was there (monotonic, which all processes share).
"""

import asyncio
import re
import sys
import time

SLOW_S = 5.0
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
EVENT = re.compile(rb'"eventId":(\d+)')


class Sink(asyncio.Protocol):
    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport, self.data = transport, b""

    def data_received(self, data: bytes) -> None:
        self.data += data
        while (end := self.data.find(b"\r\n\r\n")) >= 0:
            over = end + 4 + int(LENGTH.search(self.data[:end])[1])
            if len(self.data) < over:
                return
            self.take(self.data[:over])
            self.data = self.data[over:]

    def take(self, request: bytes) -> None:
        path = request.split(b" ", 2)[1].decode()
        sys.stdout.write(f"{path} {EVENT.search(request)[1].decode()} {time.monotonic()}\n")
        if path.startswith("/slow"):
            asyncio.get_running_loop().call_later(SLOW_S, self.transport.write, ANSWER)
        else:
            self.transport.write(ANSWER)


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", int(sys.argv[1]), backlog=512)
    while server.is_serving():
        await asyncio.sleep(0.02)
        sys.stdout.flush()  # a line at a time would cost the receiver more than its answers


if __name__ == "__main__":
    asyncio.run(main())
