"""How a channel's signal is, and since when a session is beyond a limit. Frozen, like every migration."""

STATEMENTS = (
    "ALTER TABLE channel ADD COLUMN health VARCHAR(255)",
    "ALTER TABLE channel ADD COLUMN health_reasons TEXT",
    "ALTER TABLE session ADD COLUMN beyond_since INTEGER",
    "ALTER TABLE session ADD COLUMN warned TEXT",
)


def up(migrator, db):
    for statement in STATEMENTS:
        db.execute_sql(statement)


def down(migrator, db):
    for table, column in (
        ("session", "warned"),
        ("session", "beyond_since"),
        ("channel", "health_reasons"),
        ("channel", "health"),
    ):
        db.execute_sql(f'ALTER TABLE "{table}" DROP COLUMN "{column}"')
