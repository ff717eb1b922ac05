"""A real S3-compatible store for tests: moto's server, over HTTP, in a thread of the test's process."""

import logging
from typing import Any, Self

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer

from config import StoreSettings
from media.objects import Store

BUCKET, PREFIX = "videos", "live/"
ANYBODY_READS = (
    '{"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject",'
    ' "Resource": "arn:aws:s3:::videos/*"}]}'
)


class ObjectStore:
    """A bucket that anybody may read, as docs/operations.md has it set up."""

    def __init__(self) -> None:
        self.server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)

    def __enter__(self) -> Self:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self.server.start()
        self.client.create_bucket(Bucket=BUCKET)
        self.client.put_bucket_policy(Bucket=BUCKET, Policy=ANYBODY_READS)
        rule = {"AllowedOrigins": ["*"], "AllowedMethods": ["GET", "HEAD"]}
        self.client.put_bucket_cors(Bucket=BUCKET, CORSConfiguration={"CORSRules": [rule]})
        return self

    def __exit__(self, *_: object) -> None:
        self.server.stop()
        s3_backends[DEFAULT_ACCOUNT_ID]["aws"].reset()

    @property
    def url(self) -> str:
        host, port = self.server.get_host_and_port()
        return f"http://{host}:{port}"

    @property
    def environment(self) -> dict[str, str]:
        """The settings of a box that uses it."""
        return {
            "S3_BUCKET": BUCKET,
            "S3_ENDPOINT": self.url,
            "S3_PREFIX": PREFIX,
            "S3_PUBLIC_URL": f"{self.url}/{BUCKET}",
            "S3_ACCESS_KEY": "an-access-key",
            "S3_SECRET_KEY": "a-secret-key",
        }

    @property
    def settings(self) -> StoreSettings:
        return StoreSettings(
            *(BUCKET, f"{self.url}/{BUCKET}", PREFIX, self.url, None, "an-access-key", "a-secret-key")
        )

    @property
    def client(self) -> Any:
        return Store(self.settings).client

    def names(self) -> set[str]:
        """Every object, without S3_PREFIX."""
        found = self.client.list_objects_v2(Bucket=BUCKET).get("Contents", [])
        return {each["Key"].removeprefix(PREFIX) for each in found}
