"""Addresses that expire, for channels with `playback: signed` (docs/decisions/0014-signed-playback.md).

A signature is `<expires>-<digest>`, the same for every file and page of its channel. nginx checks it where files are
served (media/servers/nginx.conf.j2: secure_link knows MD5 only), `valid` does for pages.
"""

import hashlib
import hmac
import re
from base64 import urlsafe_b64encode
from collections.abc import Callable
from datetime import datetime
from functools import cached_property

from db import to_ms

SIGNATURE = re.compile(r"([0-9]{1,10})-([A-Za-z0-9_-]{22})", re.ASCII)


class Signer:
    """Signs and checks with the installation's key, which is read when it is first needed."""

    def __init__(self, read_key: Callable[[], str]) -> None:
        self.read_key = read_key

    @cached_property
    def key(self) -> str:
        return self.read_key()

    def sign(self, channel_id: str, expires_at: datetime) -> str:
        """What opens the channel until then, to the second."""
        expires = str(to_ms(expires_at) // 1000)
        return f"{expires}-{self._digest(channel_id, expires)}"

    def valid(self, channel_id: str, signature: str, now: datetime) -> bool:
        """Whether it opens this channel now; nginx too takes the second in which it expires for valid."""
        parts = SIGNATURE.fullmatch(signature)
        if parts is None or int(parts[1]) < to_ms(now) // 1000:
            return False
        return hmac.compare_digest(parts[2], self._digest(channel_id, parts[1]))

    def _digest(self, channel_id: str, expires: str) -> str:
        # The key stands last: who knows a digest cannot lengthen what it is of.
        digest = hashlib.md5(f"{expires} {channel_id} {self.key}".encode()).digest()  # noqa: S324
        return urlsafe_b64encode(digest).decode().rstrip("=")


def signed(url: str | None, channel_id: str, signature: str) -> str | None:
    """The address of a file of the channel, with the signature in its path: relative addresses in playlists keep it."""
    return url and url.replace(f"/play/{channel_id}/", f"/play/{channel_id}/~{signature}/", 1)
