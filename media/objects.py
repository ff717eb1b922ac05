"""The S3-compatible store: the only place that knows boto3, and it imports it when it is first needed."""

import hashlib
import secrets
import threading
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache, cached_property
from pathlib import Path, PurePath
from typing import Any

from config import StoreSettings

CONNECT_S, READ_S, TRIES = 5, 30, 3
AT_ONCE = 6
MB = 1_000_000
# Larger files go up in parts. S3 takes 10,000 of them.
WHOLE, PART, MOST_PARTS = 8 * MB, 16 * MB, 9000
TYPES = {
    ".m3u8": "application/vnd.apple.mpegurl",
    ".ts": "video/mp2t",
    ".mp4": "video/mp4",
    ".vtt": "text/vtt",
    ".jpg": "image/jpeg",
}
# As nginx says it of the same files; a playlist of the store's never changes, but may be deleted.
KEPT_BY_CACHES = {".ts": "public, max-age=31536000, immutable", ".m3u8": "public, max-age=300"}
OTHERWISE = "public, max-age=86400"


class StoreError(Exception):
    """The store has not done what was asked. `code` is S3's or boto3's name for why; the words hold no secret."""

    def __init__(self, words: str, code: str = "") -> None:
        super().__init__(words)
        self.code = code


@cache  # what it reads of S3's description is megabytes
def session() -> Any:
    from boto3.session import Session

    return Session()


class Store:
    """Objects below S3_PREFIX. `folder` is the first part of their names, a channel's id, `name` the rest."""

    def __init__(self, settings: StoreSettings, stopping: threading.Event | None = None) -> None:
        self.settings = settings
        self.stopping = stopping or threading.Event()
        self.sent = 0  # objects, for the metrics

    @cached_property
    def client(self) -> Any:
        from botocore.config import Config

        own = self.settings
        how = Config(
            connect_timeout=CONNECT_S,
            read_timeout=READ_S,
            retries={"mode": "standard", "total_max_attempts": TRIES},
            max_pool_connections=5 * AT_ONCE,  # four for a file in parts
            # What S3 has had since 2022, others have not; Content-MD5 and sizes are checked everywhere.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            # Few stores of one's own have a host name for each bucket.
            s3={"addressing_style": "path" if own.endpoint else "auto"},
        )
        with told_plainly():
            return session().client(
                "s3",
                endpoint_url=own.endpoint,
                region_name=own.region or ("us-east-1" if own.endpoint else None),
                aws_access_key_id=own.access_key,
                aws_secret_access_key=own.secret_key,
                config=how,
            )

    def listed(self, folder: str) -> dict[str, int]:
        """What is there: the bytes of each, by name."""
        begin = self._key(folder, "")
        with told_plainly():
            pages = self.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.settings.bucket, Prefix=begin
            )
            return {
                each["Key"].removeprefix(begin): each["Size"]
                for page in pages
                for each in page.get("Contents", ())
            }

    def put(self, folder: str, names: Iterable[str], source: Path) -> None:
        """Send these files of `source`, in any order; what is there under the same name is replaced."""
        self._each(lambda name: self._put(source / name, self._key(folder, name)), names)

    def fetch(self, folder: str, names: Iterable[str], target: Path) -> None:
        """Write these below `target`."""
        self._each(lambda name: self._fetch(self._key(folder, name), target / name), names)

    def remove(self, folder: str, names: Iterable[str]) -> None:
        """One by one: not every store takes a list, with the checksum that S3 wants of it."""
        where = {"Bucket": self.settings.bucket}
        self._each(lambda name: self.client.delete_object(**where, Key=self._key(folder, name)), names)

    def drop_halves(self, folder: str) -> None:
        """Parts of files that were never finished: they are paid for, and no list shows them. Not every store and
        every key lets us; a rule of the bucket's does it, too."""
        where = {"Bucket": self.settings.bucket}
        with suppress(StoreError), told_plainly():
            found = self.client.list_multipart_uploads(**where, Prefix=self._key(folder, ""))
            for each in found.get("Uploads", ()):
                self.client.abort_multipart_upload(**where, Key=each["Key"], UploadId=each["UploadId"])

    @contextmanager
    def probe(self) -> Iterator[str]:
        """A small object, written, listed and read; its name below S3_PREFIX. Afterwards it is removed."""
        name = f"probe-{secrets.token_hex(8)}.txt"
        where = {"Bucket": self.settings.bucket, "Key": f"{self.settings.prefix}{name}"}
        with told_plainly():
            self.client.put_object(**where, Body=name.encode(), ContentType="text/plain")
            try:
                self.client.list_objects_v2(Bucket=where["Bucket"], Prefix=where["Key"])
                if self.client.get_object(**where)["Body"].read() != name.encode():
                    raise StoreError("what was written is not what is read")
                yield name
            finally:
                self.client.delete_object(**where)

    def _key(self, folder: str, name: str) -> str:
        return f"{self.settings.prefix}{folder}/{name}"

    def _put(self, path: Path, key: str) -> None:
        size, where = path.stat().st_size, {"Bucket": self.settings.bucket, "Key": key}
        if size <= WHOLE:
            content = path.read_bytes()
            digest = hashlib.md5(content, usedforsecurity=False).digest()
            checked = {"ContentMD5": b64encode(digest).decode()}
            self.client.put_object(**where, **headers(key), **checked, Body=content)
        else:
            from boto3.s3.transfer import TransferConfig

            parts = TransferConfig(
                multipart_threshold=WHOLE,
                multipart_chunksize=max(PART, size // MOST_PARTS),
                max_concurrency=4,
            )
            how = {"ExtraArgs": headers(key), "Config": parts, "Callback": self._go_on}
            self.client.upload_file(str(path), where["Bucket"], key, **how)
        self.sent += 1

    def _fetch(self, key: str, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.client.download_file(self.settings.bucket, key, str(path), Callback=self._go_on)

    def _go_on(self, _: int = 0) -> None:
        if self.stopping.is_set():
            raise StoreError("the worker stops")

    def _each(self, act: Callable[[str], object], names: Iterable[str]) -> None:
        """Several at once; the first failure ends the others that have not begun."""

        def go(name: str) -> None:
            self._go_on()
            with told_plainly():
                act(name)

        with ThreadPoolExecutor(AT_ONCE, "store") as pool:
            running = [pool.submit(go, name) for name in names]
            try:
                for each in running:
                    each.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def headers(name: str) -> dict[str, str]:
    """What players and caches are told of an object."""
    kind = PurePath(name).suffix
    return {
        "ContentType": TYPES.get(kind, "application/octet-stream"),
        "CacheControl": KEPT_BY_CACHES.get(kind, OTHERWISE),
    }


@contextmanager
def told_plainly() -> Iterator[None]:
    """boto3's failures as ours."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        raise StoreError(
            f"the store answers {error.operation_name} with {code or 'an error'}", code
        ) from error
    except (Boto3Error, BotoCoreError) as error:
        code = type(error).__name__
        raise StoreError(f"{code}: {' '.join(str(error).split())}", code) from error
