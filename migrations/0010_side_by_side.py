"""PostgreSQL: channels are counted by adding rows, which no transaction waits for (docs/decisions/0022).

A counter is the sum of its rows; `fold_counters` makes one of them now and then. SQLite has one writer at a time, and a
row for each counter.
"""

SUMS = (
    "ALTER TABLE channel_count DROP CONSTRAINT channel_count_pkey",
    # Rows that are not in a sum yet: what there is to fold, however many counters there are.
    "ALTER TABLE channel_count ADD COLUMN fresh boolean NOT NULL DEFAULT false",
    "ALTER TABLE channel_count ALTER COLUMN fresh SET DEFAULT true",
    "CREATE INDEX channel_count_fresh ON channel_count (account_id, tag, status) WHERE fresh",
    "CREATE INDEX channel_count_of ON channel_count (account_id, tag, status) INCLUDE (n)",
    "DROP TRIGGER channel_counts ON channel",
    "DROP TRIGGER channel_tag_counts ON channel_tag",
    "DROP TRIGGER channel_relisted ON channel",
    "DROP FUNCTION count_in, count_out, channel_counts, channel_tag_counts",
    """CREATE FUNCTION counted(whose text, which text, state text, more integer) RETURNS void LANGUAGE sql AS $$
        INSERT INTO channel_count (account_id, tag, status, n)
            VALUES (whose, which, state, more), ('', which, state, more)
    $$""",
    """CREATE FUNCTION channel_counts() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF TG_OP != 'INSERT' THEN PERFORM counted(OLD.account_id, '', OLD.status, -1); END IF;
        IF TG_OP != 'DELETE' THEN PERFORM counted(NEW.account_id, '', NEW.status, 1); END IF;
        RETURN NULL;
    END $$""",
    """CREATE FUNCTION channel_tag_counts() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF TG_OP != 'INSERT' THEN PERFORM counted(OLD.account_id, OLD.tag, OLD.status, -1); END IF;
        IF TG_OP != 'DELETE' THEN PERFORM counted(NEW.account_id, NEW.tag, NEW.status, 1); END IF;
        RETURN NULL;
    END $$""",
    *(
        f"""CREATE TRIGGER {table}_counts AFTER INSERT OR DELETE ON {table}
            FOR EACH ROW EXECUTE FUNCTION {table}_counts()"""
        for table in ("channel", "channel_tag")
    ),
    *(
        f"""CREATE TRIGGER {table}_counts_again AFTER UPDATE OF status, account_id ON {table} FOR EACH ROW
            WHEN ((OLD.status, OLD.account_id) IS DISTINCT FROM (NEW.status, NEW.account_id))
            EXECUTE FUNCTION {table}_counts()"""
        for table in ("channel", "channel_tag")
    ),
    """CREATE TRIGGER channel_relisted AFTER UPDATE OF status, account_id, listed_at ON channel FOR EACH ROW
        WHEN ((OLD.status, OLD.account_id, OLD.listed_at) IS DISTINCT FROM
              (NEW.status, NEW.account_id, NEW.listed_at))
        EXECUTE FUNCTION channel_relisted()""",
)


def up(migrator, db):
    if db.kind == "postgresql":
        for statement in SUMS:
            db.execute_sql(statement)


def down(migrator, db):
    """Nothing, on SQLite; only releases before this one would ask for it."""
    if db.kind == "postgresql":
        raise NotImplementedError("Restore the dump that was taken before the upgrade.")
