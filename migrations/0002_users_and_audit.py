"""Users with limits, kept answers, the audit log, and what a session's limits are measured by."""

from peewee import *


def up(migrator, db):
    class Base(Model):
        class Meta:
            database = db
            legacy_table_names = False

    class User(Base):
        pk = AutoField()
        account_id = CharField(unique=True)
        name = TextField()
        limits = TextField()
        created_at = BigIntegerField()
        updated_at = BigIntegerField()

    class KeptAnswer(Base):
        pk = AutoField()
        token_id = CharField()
        key = CharField()
        fingerprint = CharField()
        location = CharField()
        body = TextField()
        created_at = BigIntegerField(index=True)

        class Meta:
            table_name = "kept_answer"

    class AuditEntry(Base):
        pk = AutoField()
        time = BigIntegerField(index=True)
        token_id = CharField()
        account_id = CharField(null=True)
        action = CharField()
        kind = CharField()
        target = CharField()
        client_ip = CharField()
        request_id = CharField()

        class Meta:
            table_name = "audit"

    db.create_tables([User, KeptAnswer, AuditEntry])
    for statement in (
        "ALTER TABLE session ADD COLUMN bitrate INTEGER",
        "ALTER TABLE session ADD COLUMN measured_at INTEGER",
        "ALTER TABLE session ADD COLUMN measured_bytes INTEGER",
        "ALTER TABLE session ADD COLUMN max_ms INTEGER",
        "CREATE UNIQUE INDEX kept_answer_once ON kept_answer (token_id, key)",
        "CREATE INDEX event_of_account ON event (account_id, id)",
    ):
        db.execute_sql(statement)


def down(migrator, db):
    for statement in (
        "DROP INDEX event_of_account",
        *(
            f"ALTER TABLE session DROP COLUMN {name}"
            for name in ("max_ms", "measured_bytes", "measured_at", "bitrate")
        ),
        "DROP TABLE audit",
        "DROP TABLE kept_answer",
        "DROP TABLE user",
    ):
        db.execute_sql(statement)
