"""Studio links: a page for the broadcaster of one channel, for whoever has its address."""

from peewee import *


def up(migrator, db):
    for statement in (
        """CREATE TABLE studio_link (
            pk INTEGER NOT NULL PRIMARY KEY,
            id VARCHAR(255) NOT NULL,
            channel_id INTEGER NOT NULL REFERENCES channel (pk) ON DELETE CASCADE,
            secret_sha256 VARCHAR(255) NOT NULL,
            created_at INTEGER NOT NULL,
            expires_at INTEGER NOT NULL)""",
        "CREATE UNIQUE INDEX studio_link_secret_sha256 ON studio_link (secret_sha256)",
        "CREATE INDEX studio_link_channel_id ON studio_link (channel_id)",
        "CREATE INDEX studio_link_expires_at ON studio_link (expires_at)",
    ):
        db.execute_sql(statement)


def down(migrator, db):
    db.execute_sql("DROP TABLE studio_link")
