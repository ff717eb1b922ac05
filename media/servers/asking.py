"""One question to a media server over HTTP, and the whole answer: in time, and of a size."""

import errno
from dataclasses import dataclass
from pathlib import Path

import pycurl

from media.servers import MediaServerError

ASK_TIMEOUT_S = 2.0
ANSWER_MAX = 16 * 1024 * 1024  # a list of clients says 0.4 to 1 kB of each


@dataclass(frozen=True)
class Told:
    """What came back. The headers' names are in small letters."""

    status: int
    headers: dict[str, str]
    body: bytes


def ask(
    who: str, url: str, *, method: str = "GET", unix: Path | None = None, login: str | None = None
) -> Told:
    """By curl, whose deadline is for all of it: the worker's other steps wait meanwhile, and http.client would wait
    as long for each byte. `login` is name:password, `who` is for people."""
    headers: dict[str, str] = {}
    body = bytearray()

    def take_header(line: bytes) -> None:
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()

    def take_body(part: bytes) -> int | None:
        body.extend(part)
        return 0 if len(body) > ANSWER_MAX else None  # 0: no more of it

    curl = pycurl.Curl()
    try:
        if unix:
            curl.setopt(pycurl.UNIX_SOCKET_PATH, str(unix))
        if login:
            curl.setopt(pycurl.USERPWD, login)
        curl.setopt(pycurl.CUSTOMREQUEST, method)
        curl.setopt(pycurl.URL, url)
        curl.setopt(pycurl.PROXY, "")  # whatever the environment says of proxies: this is our own machine
        curl.setopt(pycurl.TIMEOUT_MS, round(ASK_TIMEOUT_S * 1000))
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.HEADERFUNCTION, take_header)
        curl.setopt(pycurl.WRITEFUNCTION, take_body)
        curl.perform()
        return Told(curl.getinfo(pycurl.RESPONSE_CODE), headers, bytes(body))
    except pycurl.error as error:
        gone = curl.getinfo(pycurl.OS_ERRNO) in (errno.ECONNREFUSED, errno.ENOENT)
        what = "listen" if gone else "answer"
        raise MediaServerError(f"{who} does not {what}: {error.args[1]}", gone=gone) from None
    finally:
        curl.close()
