"""One file per media server: how its hooks read, how it is asked and told, how it is configured."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol


class MediaServerError(Exception):
    """The media server does not answer, or not sensibly. `gone`: nothing listens, so nobody can publish."""

    def __init__(self, msg: str, *, gone: bool) -> None:
        super().__init__(msg)
        self.gone = gone


class BadHookError(ValueError):
    """A callback that no media server of this kind sends."""


@dataclass(frozen=True)
class Hook:
    """What a callback says. `connection` is unique over all instances of all media servers."""

    call: Literal["publish", "unpublish", "play", "other"]
    connection: str
    stream_token: str = field(repr=False)
    client_ip: str
    encoder: str


@dataclass(frozen=True)
class Publisher:
    """A publisher as the media server itself sees it now. `stream` is the name that our answer gave it, None where
    the media server gives no names."""

    connection: str
    client_id: str
    stream: str | None
    bytes_in: int
    video: dict[str, Any] = field(default_factory=dict)
    audio: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Look:
    """Everything that one look at a media server shows. `instance` is what its connections begin with."""

    instance: str
    publishers: list[Publisher]


@dataclass(frozen=True)
class Answer:
    """What a callback is answered with."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    content_type: str = "text/plain"


@dataclass(frozen=True)
class Announcement:
    """A callback as a media server would make it, for trying out what is answered."""

    query: str
    body: str
    content_type: str


class Dialect(Protocol):
    """How a media server's callbacks are read and answered."""

    def parse_hook(self, body: bytes, args: Mapping[str, str]) -> Hook: ...

    def answer(self, stream: str | None) -> Answer:
        """Let in under this name, "" for a mere yes, None for a refusal."""

    def announcement(self, stream_token: str) -> Announcement:
        """A publisher with this token, of a media server that does not exist."""


class MediaServer(Protocol):
    """A media server that can be looked at and told to drop a client. `name` is for people."""

    name: str

    def look(self) -> Look: ...

    def drop(self, client_id: str) -> None: ...
