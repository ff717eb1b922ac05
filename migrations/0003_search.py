"""Videos, full-text indexes, counters and what else keeps lists and search flat. Frozen, like every migration."""

import json
import unicodedata

from peewee import *

INDEXES = (
    "CREATE INDEX channel_listed_by_account_status ON channel (account_id, status, listed_at, pk)",
    "CREATE INDEX channel_listed_by_mode ON channel (mode, listed_at, pk)",
    "CREATE INDEX channel_tag_listed ON channel_tag (tag, listed_at, channel_id, status)",
    "CREATE INDEX channel_tag_listed_by_account ON channel_tag (tag, account_id, listed_at, channel_id, status)",
    "CREATE INDEX video_listed ON video (created_at, pk)",
    "CREATE INDEX video_listed_by_account ON video (account_id, created_at, pk)",
    "CREATE INDEX video_listed_by_channel ON video (channel_id, created_at, pk)",
    "CREATE INDEX video_listed_by_type ON video (type, created_at, pk)",
    "CREATE INDEX video_tag_listed ON video_tag (tag, created_at, video_id, account_id)",
)
# Words are folded and parted in Python (live/text.py): all that FTS5 has to do is to part them at spaces.
WORDS = "content='', contentless_delete=1, prefix='1 2 3', tokenize='ascii'"
PARTS = "content='', contentless_delete=1, tokenize='trigram case_sensitive 1'"
TEXTS = {
    "channel_text": f"CREATE VIRTUAL TABLE channel_text USING fts5(name, tags, description, {WORDS})",
    "video_text": f"CREATE VIRTUAL TABLE video_text USING fts5(name, tags, description, {WORDS})",
    "channel_name": f"CREATE VIRTUAL TABLE channel_name USING fts5(name, {PARTS})",
}
# A counter for the account and one for all accounts. A channel counts with tag '', and with each of its tags.
ADD = """INSERT INTO channel_count (account_id, tag, status, n)
        VALUES (NEW.account_id, NEW.tag, NEW.status, 1), ('', NEW.tag, NEW.status, 1)
        ON CONFLICT DO UPDATE SET n = n + 1;"""
TAKE = """UPDATE channel_count SET n = n - 1
        WHERE account_id IN (OLD.account_id, '') AND tag = OLD.tag AND status = OLD.status;"""
ADD_ANY, TAKE_ANY = ADD.replace("NEW.tag", "''"), TAKE.replace("OLD.tag", "''")
TRIGGERS = {
    "channel_added": f"AFTER INSERT ON channel BEGIN {ADD_ANY} END",
    "channel_changed": f"AFTER UPDATE OF status, account_id ON channel BEGIN {TAKE_ANY} {ADD_ANY} END",
    "channel_relisted": """AFTER UPDATE OF status, account_id, listed_at ON channel BEGIN
        UPDATE channel_tag SET status = NEW.status, account_id = NEW.account_id, listed_at = NEW.listed_at
        WHERE channel_id = NEW.pk; END""",
    "channel_gone": f"""AFTER DELETE ON channel BEGIN {TAKE_ANY}
        DELETE FROM channel_text WHERE rowid = OLD.pk;
        DELETE FROM channel_name WHERE rowid = OLD.pk; END""",
    "channel_tag_added": f"AFTER INSERT ON channel_tag BEGIN {ADD} END",
    "channel_tag_changed": f"AFTER UPDATE OF status, account_id ON channel_tag BEGIN {TAKE} {ADD} END",
    "channel_tag_gone": f"AFTER DELETE ON channel_tag BEGIN {TAKE} END",
    "video_gone": "AFTER DELETE ON video BEGIN DELETE FROM video_text WHERE rowid = OLD.pk; END",
}


def up(migrator, db):
    class Base(Model):
        class Meta:
            database = db
            legacy_table_names = False

    class Channel(Base):
        pk = AutoField()

    class ChannelCount(Base):
        account_id = CharField()
        tag = CharField()
        status = CharField()
        n = IntegerField()

        class Meta:
            table_name = "channel_count"
            primary_key = CompositeKey("account_id", "tag", "status")

    class ChannelTag(Base):
        channel = ForeignKeyField(Channel, on_delete="CASCADE")
        tag = CharField()
        account_id = CharField()
        status = CharField()
        listed_at = BigIntegerField()

        class Meta:
            table_name = "channel_tag"

    class Video(Base):
        pk = AutoField()
        id = CharField(unique=True)
        channel = ForeignKeyField(Channel, on_delete="CASCADE", index=False)
        account_id = CharField()
        name = TextField()
        tags = TextField()
        type = CharField(constraints=[Check("type IN ('catchup', 'record')")])
        path = TextField()
        thumbnail = TextField(null=True)
        duration = IntegerField()
        size = BigIntegerField()
        created_at = BigIntegerField()

    class VideoTag(Base):
        video = ForeignKeyField(Video, on_delete="CASCADE")
        tag = CharField()
        account_id = CharField()
        created_at = BigIntegerField()

        class Meta:
            table_name = "video_tag"

    db.execute_sql("ALTER TABLE channel_tag RENAME TO old_tag")
    db.execute_sql("DROP INDEX channel_tag_channel_id")
    db.create_tables([ChannelCount, ChannelTag, Video, VideoTag])
    db.execute_sql(
        "INSERT INTO channel_tag (channel_id, tag, account_id, status, listed_at) SELECT channel_id, tag, "
        "account_id, status, listed_at FROM old_tag JOIN channel ON channel.pk = channel_id"
    )
    db.execute_sql("DROP TABLE old_tag")
    for account, tag, table in (
        ("account_id", "''", "channel"),
        ("''", "''", "channel"),
        ("account_id", "tag", "channel_tag"),
        ("''", "tag", "channel_tag"),
    ):
        db.execute_sql(
            f"INSERT INTO channel_count SELECT {account}, {tag}, status, count(*) FROM {table} GROUP BY 1, 2, 3"
        )
    for statement in (*INDEXES, *TEXTS.values()):
        db.execute_sql(statement)
    for name, trigger in TRIGGERS.items():
        db.execute_sql(f"CREATE TRIGGER {name} {trigger}")
    index_texts(db)


def down(migrator, db):
    for trigger in TRIGGERS:
        db.execute_sql(f"DROP TRIGGER {trigger}")
    for table in ("video_tag", "video", "channel_count", *TEXTS):
        db.execute_sql(f"DROP TABLE {table}")
    for index in (
        "channel_tag_listed",
        "channel_tag_listed_by_account",
        "channel_listed_by_account_status",
        "channel_listed_by_mode",
    ):
        db.execute_sql(f"DROP INDEX {index}")
    for column in ("account_id", "status", "listed_at"):
        db.execute_sql(f"ALTER TABLE channel_tag DROP COLUMN {column}")
    db.execute_sql("CREATE INDEX channel_tag_tag ON channel_tag (tag)")


def index_texts(db):
    """Channels that were made before there was an index."""
    for pk, name, tags, description in db.execute_sql("SELECT pk, name, tags, description FROM channel"):
        texts = [words(text) for text in (name, ", ".join(json.loads(tags)), description)]
        db.execute_sql(
            "INSERT INTO channel_text (rowid, name, tags, description) VALUES (?, ?, ?, ?)", [pk, *texts]
        )
    db.execute_sql("INSERT INTO channel_name (rowid, name) SELECT pk, name_folded FROM channel")


def words(text):
    plain = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(char for char in plain if not unicodedata.combining(char)).replace("đ", "d")
    return "".join(char if unicodedata.category(char)[0] in "LNM" else " " for char in plain)
