"""What is left of broadcasts: what a channel has to show, what is to be done on disk. Frozen, like every migration."""

from peewee import *

COLUMNS = {
    "channel": {"kept": "TEXT NOT NULL DEFAULT '{}'"},
    "video": {
        "session_id": "VARCHAR(255)",
        "asked_at": "INTEGER",
        "download": "VARCHAR(255)",
        "download_size": "INTEGER NOT NULL DEFAULT 0",
    },
}
CHORE = "INSERT INTO chore (channel_id)"
# Whoever removes or changes a row, and by whatever statement: what follows for the disk is written with it.
TRIGGERS = {
    "chore_of_end": f"""AFTER UPDATE OF status ON channel WHEN NEW.status = 'ended' AND OLD.status != 'ended' BEGIN
        {CHORE} VALUES (NEW.id); END""",
    "chore_of_wishes": f"""AFTER UPDATE OF catchup, record, playback ON channel
        WHEN NEW.catchup != OLD.catchup OR NEW.record != OLD.record OR NEW.playback != OLD.playback BEGIN
        {CHORE} VALUES (NEW.id); END""",
    "chore_of_channel_gone": f"AFTER DELETE ON channel BEGIN {CHORE} VALUES (OLD.id); END",
    "chore_of_session": f"""AFTER UPDATE OF stop_time ON session WHEN NEW.stop_time IS NOT NULL BEGIN
        {CHORE} SELECT id FROM channel WHERE pk = NEW.channel_id; END""",
    "chore_of_video_gone": f"""AFTER DELETE ON video BEGIN
        UPDATE channel SET kept = CASE OLD.type WHEN 'catchup' THEN json_set(kept, '$.catchup', NULL)
            ELSE json_set(kept, '$.record."' || OLD.session_id || '"', NULL) END WHERE pk = OLD.channel_id;
        {CHORE} SELECT id FROM channel WHERE pk = OLD.channel_id; END""",
}


def up(migrator, db):
    class Chore(Model):
        pk = AutoField()
        channel_id = CharField()

        class Meta:
            database = db
            table_name = "chore"

    db.create_tables([Chore])
    for table, columns in COLUMNS.items():
        for name, kind in columns.items():
            db.execute_sql(f"ALTER TABLE {table} ADD COLUMN {name} {kind}")
    db.execute_sql("CREATE INDEX video_asked ON video (asked_at) WHERE asked_at IS NOT NULL")
    for name, trigger in TRIGGERS.items():
        db.execute_sql(f"CREATE TRIGGER {name} {trigger}")


def down(migrator, db):
    for trigger in TRIGGERS:
        db.execute_sql(f"DROP TRIGGER {trigger}")
    db.execute_sql("DROP INDEX video_asked")
    for table, columns in COLUMNS.items():
        for name in columns:
            db.execute_sql(f"ALTER TABLE {table} DROP COLUMN {name}")
    db.execute_sql("DROP TABLE chore")
