"""Media nodes: which machine has what of a broadcast. Frozen, like every migration.

What there was before belongs to the node "main", which is what a box is called that nobody gave a name.
"""

from peewee import *

TYPES = {
    "sqlite": {"TEXT": "VARCHAR(255)", "LONG": "TEXT", "INT": "INTEGER", "BIG": "INTEGER", "BOOL": "INTEGER"},
    "postgresql": {
        "TEXT": 'text COLLATE "C"',
        "LONG": "text",
        "INT": "integer",
        "BIG": "bigint",
        "BOOL": "boolean",
    },
}
STATEMENTS = (
    """CREATE TABLE node (
        name {TEXT} NOT NULL PRIMARY KEY,
        box {TEXT} NOT NULL,
        region {TEXT} NOT NULL,
        capacity {INT},
        public_url {LONG} NOT NULL,
        rtmp_url {LONG} NOT NULL,
        rtmps_url {LONG},
        srt_url {LONG},
        whip_url {LONG},
        started_at {BIG} NOT NULL,
        beats {BIG} NOT NULL,
        lost_at {BIG},
        lost_upto {BIG} NOT NULL,
        draining {BOOL} NOT NULL)""",
    "CREATE TABLE installation (name {TEXT} NOT NULL PRIMARY KEY, value {LONG} NOT NULL)",
    """CREATE TABLE channel_node (
        channel_id {TEXT} NOT NULL,
        node {TEXT} NOT NULL,
        PRIMARY KEY (channel_id, node))""",
    "ALTER TABLE channel ADD COLUMN node {TEXT} NOT NULL DEFAULT 'main'",
    "ALTER TABLE channel ADD COLUMN region {TEXT} NOT NULL DEFAULT ''",
    "ALTER TABLE session ADD COLUMN node {TEXT} NOT NULL DEFAULT 'main'",
    "ALTER TABLE video ADD COLUMN node {TEXT} NOT NULL DEFAULT 'main'",
    "ALTER TABLE chore ADD COLUMN node {TEXT}",
    "CREATE INDEX session_open_at ON session (node) WHERE stop_time IS NULL",
    "INSERT INTO channel_node (channel_id, node) SELECT id, 'main' FROM channel WHERE published_at IS NOT NULL",
    "UPDATE chore SET node = 'main'",
    # Each node counts its own playback log, and shows who watches there.
    "DROP TABLE audience_now",
    """CREATE TABLE audience_now (
        channel_id {TEXT} NOT NULL,
        node {TEXT} NOT NULL,
        account_id {TEXT} NOT NULL,
        viewers {INT} NOT NULL,
        bitrate_out {BIG} NOT NULL,
        PRIMARY KEY (channel_id, node))""",
    """CREATE TABLE audience_state (
        node {TEXT} NOT NULL PRIMARY KEY,
        counted_mark {TEXT} NOT NULL,
        counted_offset {BIG} NOT NULL,
        again_mark {TEXT} NOT NULL,
        again_offset {BIG} NOT NULL,
        broadcast_to {BIG} NOT NULL)""",
)
# A session leaves a folder on its node, whose name outlives the channel. A chore without a node is everybody's who
# has such a folder; where nobody has one it stays as it is, for any node.
TRIGGERS = {
    "sqlite": (
        """CREATE TRIGGER node_of_session AFTER INSERT ON session BEGIN
            INSERT INTO channel_node (channel_id, node) SELECT id, NEW.node FROM channel WHERE pk = NEW.channel_id
                ON CONFLICT (channel_id, node) DO NOTHING; END""",
        """CREATE TRIGGER chore_of_nodes AFTER INSERT ON chore
            WHEN NEW.node IS NULL AND EXISTS (SELECT 1 FROM channel_node WHERE channel_id = NEW.channel_id) BEGIN
            INSERT INTO chore (channel_id, node)
                SELECT channel_id, node FROM channel_node WHERE channel_id = NEW.channel_id;
            DELETE FROM chore WHERE pk = NEW.pk; END""",
    ),
    "postgresql": (
        """CREATE FUNCTION node_of_session() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            INSERT INTO channel_node (channel_id, node) SELECT id, NEW.node FROM channel WHERE pk = NEW.channel_id
                ON CONFLICT (channel_id, node) DO NOTHING;
            RETURN NULL;
        END $$""",
        """CREATE TRIGGER node_of_session AFTER INSERT ON session
            FOR EACH ROW EXECUTE FUNCTION node_of_session()""",
        """CREATE FUNCTION chore_of_nodes() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            INSERT INTO chore (channel_id, node)
                SELECT channel_id, node FROM channel_node WHERE channel_id = NEW.channel_id;
            IF FOUND THEN DELETE FROM chore WHERE pk = NEW.pk; END IF;
            RETURN NULL;
        END $$""",
        """CREATE TRIGGER chore_of_nodes AFTER INSERT ON chore
            FOR EACH ROW WHEN (NEW.node IS NULL) EXECUTE FUNCTION chore_of_nodes()""",
    ),
}


PLACE = "counted_mark, counted_offset, again_mark, again_offset, broadcast_to"
COLUMNS = (
    ("channel", "node"),
    ("channel", "region"),
    ("session", "node"),
    ("video", "node"),
    ("chore", "node"),
)
BEFORE = (
    """CREATE TABLE audience_now (channel_id {TEXT} NOT NULL PRIMARY KEY, account_id {TEXT} NOT NULL,
        viewers {INT} NOT NULL, bitrate_out {BIG} NOT NULL)""",
    """CREATE TABLE audience_state (pk INTEGER NOT NULL PRIMARY KEY, counted_mark {TEXT} NOT NULL,
        counted_offset {BIG} NOT NULL, again_mark {TEXT} NOT NULL, again_offset {BIG} NOT NULL,
        broadcast_to {BIG} NOT NULL)""",
)


def up(migrator, db):
    place = db.execute_sql(f"SELECT {PLACE} FROM audience_state").fetchall()
    db.execute_sql("DROP TABLE audience_state")
    for statement in STATEMENTS:
        db.execute_sql(statement.format(**TYPES[db.kind]))
    for statement in TRIGGERS[db.kind]:
        db.execute_sql(statement)
    for row in place:
        marks = ", ".join([db.param] * len(row))
        db.execute_sql(f"INSERT INTO audience_state (node, {PLACE}) VALUES ('main', {marks})", row)


def down(migrator, db):
    place = db.execute_sql(f"SELECT {PLACE} FROM audience_state WHERE node = 'main'").fetchall()
    for trigger, table in (("node_of_session", "session"), ("chore_of_nodes", "chore")):
        db.execute_sql(f"DROP TRIGGER {trigger}" + (f" ON {table}" if db.kind == "postgresql" else ""))
        if db.kind == "postgresql":
            db.execute_sql(f"DROP FUNCTION {trigger}")
    db.execute_sql("DROP INDEX session_open_at")
    for table in ("audience_now", "audience_state", "channel_node", "installation", "node"):
        db.execute_sql(f"DROP TABLE {table}")
    for table, column in COLUMNS:
        db.execute_sql(f"ALTER TABLE {table} DROP COLUMN {column}")
    for statement in BEFORE:
        db.execute_sql(statement.format(**TYPES[db.kind]))
    for row in place:
        marks = ", ".join([db.param] * len(row))
        db.execute_sql(f"INSERT INTO audience_state (pk, {PLACE}) VALUES (1, {marks})", row)
