"""The first schema. A frozen copy on purpose: the models move on, this file does not."""

from peewee import *


def up(migrator, db):
    class Base(Model):
        class Meta:
            database = db
            legacy_table_names = False

    class Channel(Base):
        pk = AutoField()
        id = CharField(unique=True)
        name = TextField()
        name_folded = TextField()
        description = TextField()
        account_id = CharField()
        tags = TextField()
        mode = CharField()
        catchup = BooleanField()
        record = BooleanField()
        dvr = BooleanField()
        thumbnail = BooleanField()
        thumb_width = IntegerField()
        thumb_height = IntegerField()
        thumb_interval = IntegerField()
        expire = IntegerField()
        transcode_profile = TextField()
        stop_timeout = IntegerField()
        stream_token = CharField(index=True)
        start_at = BigIntegerField(null=True)
        playback = CharField()
        metadata = TextField()
        status = CharField(constraints=[Check("status IN ('coming', 'init', 'live', 'ended', 'error')")])
        end_reason = CharField(null=True)
        created_at = BigIntegerField()
        updated_at = BigIntegerField()
        start_time = BigIntegerField(null=True)
        stop_time = BigIntegerField(null=True)
        published_at = BigIntegerField(null=True)
        left_at = BigIntegerField(null=True)
        listed_at = BigIntegerField()
        due_at = BigIntegerField(null=True, index=True)
        sent_ms = BigIntegerField()
        seq = IntegerField()

    class ChannelTag(Base):
        channel = ForeignKeyField(Channel, on_delete="CASCADE")
        tag = CharField(index=True)

        class Meta:
            table_name = "channel_tag"

    class Session(Base):
        pk = AutoField()
        id = CharField(unique=True)
        channel = ForeignKeyField(Channel, on_delete="CASCADE")
        connection = CharField(unique=True)
        client_ip = CharField()
        encoder = TextField()
        start_time = BigIntegerField()
        stop_time = BigIntegerField(null=True)
        live_at = BigIntegerField(null=True)
        last_byte_at = BigIntegerField()
        silent_since = BigIntegerField(null=True)
        silent_ms = BigIntegerField()
        bytes_in = BigIntegerField()
        video = TextField()
        audio = TextField()
        end_reason = CharField(null=True)

        class Meta:
            constraints = [Check("stop_time IS NULL OR stop_time >= start_time")]

    class TimelineEntry(Base):
        pk = AutoField()
        channel = ForeignKeyField(Channel, on_delete="CASCADE", null=True)
        time = BigIntegerField()
        kind = CharField()
        detail = TextField()

        class Meta:
            table_name = "timeline"

    class Event(Base):
        id = AutoField()
        name = CharField()
        time = BigIntegerField()
        channel_id = CharField(index=True)
        account_id = CharField()
        seq = IntegerField()
        session_id = CharField(null=True)
        payload = TextField()

    class Webhook(Base):
        pk = AutoField()
        id = CharField(unique=True)
        uri = TextField()
        events = TextField()
        account_id = CharField(null=True)
        description = TextField()
        secret = TextField()
        old_secret = TextField(null=True)
        old_secret_until = BigIntegerField(null=True)
        active = BooleanField()
        disabled_reason = TextField(null=True)
        failing_since = BigIntegerField(null=True)
        created_at = BigIntegerField()

    class Delivery(Base):
        pk = AutoField()
        id = CharField(unique=True)
        event = ForeignKeyField(Event, on_delete="CASCADE", null=True)
        payload = TextField(null=True)
        webhook_id = CharField()
        queue = CharField()
        status = CharField(constraints=[Check("status IN ('pending', 'delivered', 'failed', 'cancelled')")])
        attempts = IntegerField()
        created_at = BigIntegerField()
        next_at = BigIntegerField(null=True)
        lease_until = BigIntegerField(null=True)

    class Attempt(Base):
        pk = AutoField()
        delivery = ForeignKeyField(Delivery, on_delete="CASCADE")
        number = IntegerField()
        time = BigIntegerField()
        status_code = IntegerField(null=True)
        latency_ms = IntegerField(null=True)
        answer = BlobField(null=True)
        error = TextField(null=True)

    class Token(Base):
        pk = AutoField()
        id = CharField(unique=True)
        secret_sha256 = CharField()
        role = CharField(constraints=[Check("role IN ('admin', 'app', 'read')")])
        account_id = CharField(null=True)
        name = TextField()
        created_at = BigIntegerField()
        expires_at = BigIntegerField(null=True)
        last_used_at = BigIntegerField(null=True)

    db.create_tables([Channel, ChannelTag, Session, TimelineEntry, Event, Webhook, Delivery, Attempt, Token])
    for statement in (
        "CREATE UNIQUE INDEX one_open_channel_per_token ON channel (stream_token) WHERE status != 'ended'",
        "CREATE UNIQUE INDEX one_open_session_per_channel ON session (channel_id) WHERE stop_time IS NULL",
        "CREATE INDEX timeline_of_nobody ON timeline (time) WHERE channel_id IS NULL",
        "CREATE INDEX channel_listed ON channel (listed_at, pk)",
        "CREATE INDEX channel_listed_by_status ON channel (status, listed_at, pk)",
        "CREATE INDEX channel_listed_by_account ON channel (account_id, listed_at, pk)",
        "CREATE INDEX delivery_pending ON delivery (webhook_id, queue, pk) WHERE status = 'pending'",
        "CREATE INDEX delivery_due ON delivery (webhook_id, next_at, pk) "
        "WHERE status = 'pending' AND next_at IS NOT NULL",
        "CREATE INDEX delivery_log ON delivery (webhook_id, pk)",
    ):
        db.execute_sql(statement)


def down(migrator, db):
    for table in (
        "token",
        "attempt",
        "delivery",
        "webhook",
        "event",
        "timeline",
        "session",
        "channel_tag",
        "channel",
    ):
        db.execute_sql(f'DROP TABLE "{table}"')
