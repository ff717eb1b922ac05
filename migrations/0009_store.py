"""Videos may move to an S3-compatible store: which channels have objects there."""

from peewee import *


def up(migrator, db):
    text, number = ("VARCHAR(255)", "INTEGER") if db.kind == "sqlite" else ('TEXT COLLATE "C"', "BIGINT")
    for statement in (
        f"""CREATE TABLE stored (
            channel_id {text} NOT NULL,
            node {text} NOT NULL,
            due_at {number},
            tries INTEGER NOT NULL DEFAULT 0,
            size {number} NOT NULL DEFAULT 0,
            PRIMARY KEY (channel_id, node))""",
        "CREATE INDEX stored_due_at ON stored (due_at)",
        f"ALTER TABLE video ADD COLUMN moved_at {number}",
    ):
        db.execute_sql(statement)


def down(migrator, db):
    db.execute_sql("ALTER TABLE video DROP COLUMN moved_at")
    db.execute_sql("DROP TABLE stored")
