"""Figures of viewers and broadcasts, by minute and by hour. Frozen, like every migration."""

from peewee import *

FIGURES = ("audience_minute", "audience_hour")


def up(migrator, db):
    for table in FIGURES:
        db.execute_sql(
            f"""CREATE TABLE {table} (
                pk INTEGER NOT NULL PRIMARY KEY,
                channel_id VARCHAR(255) NOT NULL,
                account_id VARCHAR(255) NOT NULL,
                time INTEGER NOT NULL,
                peak INTEGER NOT NULL,
                views INTEGER NOT NULL,
                watch_ms INTEGER NOT NULL,
                bytes INTEGER NOT NULL,
                broadcast_ms INTEGER NOT NULL,
                looks INTEGER NOT NULL,
                bitrate INTEGER NOT NULL,
                fps REAL NOT NULL)"""
        )
        db.execute_sql(f"CREATE UNIQUE INDEX {table}_of ON {table} (channel_id, account_id, time)")
        db.execute_sql(f"CREATE INDEX {table}_at ON {table} (time, account_id)")
    db.execute_sql(
        """CREATE TABLE audience_now (
            channel_id VARCHAR(255) NOT NULL PRIMARY KEY,
            account_id VARCHAR(255) NOT NULL,
            viewers INTEGER NOT NULL,
            bitrate_out INTEGER NOT NULL)"""
    )
    db.execute_sql(
        """CREATE TABLE audience_state (
            pk INTEGER NOT NULL PRIMARY KEY,
            counted_mark VARCHAR(255) NOT NULL,
            counted_offset INTEGER NOT NULL,
            again_mark VARCHAR(255) NOT NULL,
            again_offset INTEGER NOT NULL,
            broadcast_to INTEGER NOT NULL)"""
    )
    db.execute_sql("CREATE INDEX session_stopped ON session (stop_time)")


def down(migrator, db):
    db.execute_sql("DROP INDEX session_stopped")
    for table in ("audience_state", "audience_now", *FIGURES):
        db.execute_sql(f"DROP TABLE {table}")
