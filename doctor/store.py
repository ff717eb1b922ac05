"""The S3-compatible store: whether it takes what is sent, and viewers get it."""

import ssl
from collections.abc import Iterator
from urllib.parse import urlsplit

from config import StoreSettings
from db import connection
from doctor import sockets
from doctor.finding import Finding, Patient, failed, ok, warning
from live import videos
from media.objects import Store, StoreError

WHAT_TO_DO = {
    "NoSuchBucket": "Make the bucket, or set S3_BUCKET, S3_REGION and S3_ENDPOINT to where it is.",
    "AccessDenied": "The key needs PutObject, GetObject, DeleteObject, ListBucket and AbortMultipartUpload.",
    "InvalidAccessKeyId": "Set S3_ACCESS_KEY and S3_SECRET_KEY to those of the store at S3_ENDPOINT.",
    "SignatureDoesNotMatch": "S3_SECRET_KEY is not that of S3_ACCESS_KEY.",
    "NoCredentialsError": "Set S3_ACCESS_KEY and S3_SECRET_KEY.",
    "EndpointConnectionError": "Is S3_ENDPOINT right, and the store up?",
}
OTHERWISE = "Look at S3_ENDPOINT, S3_REGION and the store; what waits is sent when it is well."
ANYWHERE = "https://player.example"


def store(patient: Patient) -> Iterator[Finding]:
    settings = patient.config.store
    if settings is None:
        yield from _left_behind(patient)
        return
    try:
        there = Store(settings)
        with there.probe() as name:
            yield ok("store", f"bucket {settings.bucket} takes what is sent, and gives it back")
            yield from _for_viewers(settings, name)
        yield from _is_the_one(patient, there)
    except StoreError as error:
        yield failed("store", str(error).rstrip("."), WHAT_TO_DO.get(error.code, OTHERWISE))


def _left_behind(patient: Patient) -> Iterator[Finding]:
    if not patient.database_is_well:
        return
    with connection():
        count = len(videos.moved_channels(patient.config.node))
    if count:
        found = f"videos of {count} channels are in a store, and S3_BUCKET is not set"
        yield failed("store", found, "Set the S3_... variables again, for this command as for the box.")


def _is_the_one(patient: Patient, there: Store) -> Iterator[Finding]:
    """By the video that has moved last: with another bucket or prefix nothing would fail but viewers."""
    if not patient.database_is_well:
        return
    with connection():
        last = videos.last_moved()
    if last and last.path.partition("/")[2] not in there.listed(last.channel.id):
        found = f"{last.path}, which moved last, is not there"
        yield failed("store", found, "Are S3_BUCKET, S3_PREFIX and S3_ENDPOINT those that it moved to?")


def _for_viewers(settings: StoreSettings, name: str) -> Iterator[Finding]:
    """From here, as a player in somebody's page asks."""
    url = f"{settings.url}/{name}"
    parts = urlsplit(url)
    trusted = ssl.create_default_context() if parts.scheme == "https" else None
    port = parts.port or (443 if trusted else 80)
    try:
        answer = sockets.ask(
            "GET", parts.hostname or "", port, parts.path, headers={"Origin": ANYWHERE}, tls=trusted
        )
    except OSError as error:
        yield warning(
            "store", f"S3_PUBLIC_URL is not answered, seen from here ({error})", "Try it from outside."
        )
        return
    if answer.status != 200:
        found = f"viewers get {answer.status} at S3_PUBLIC_URL {settings.public_url}"
        yield failed("store", found, "Let anybody read objects: docs/operations.md, A store for videos.")
    elif answer.headers.get("Access-Control-Allow-Origin") not in ("*", ANYWHERE):
        found = "browsers may not play from S3_PUBLIC_URL: it answers without Access-Control-Allow-Origin"
        yield failed("store", found, "Set the bucket's CORS: docs/operations.md, A store for videos.")
    else:
        yield ok("store", f"viewers reach it at {settings.public_url}")
