"""The table of studio links."""

from typing import Any

from peewee import AutoField, CharField, ForeignKeyField

from db import UtcField
from models import Channel
from row import Row


class StudioLink(Row):
    """Whoever has the secret sees and starts one channel's broadcast, until it expires. Kept as a hash only."""

    pk = AutoField()
    id = CharField()
    channel = ForeignKeyField(Channel, backref="studio_links", on_delete="CASCADE")
    secret_sha256 = CharField(unique=True)
    created_at = UtcField()
    expires_at = UtcField(index=True)

    class Meta:
        table_name = "studio_link"


STUDIO_TABLES: list[type[Any]] = [StudioLink]
