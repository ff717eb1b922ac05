-- Full text. Words are folded and parted in Python (live/text.py): position 1 is a name's, 2 a tag's, 3 a
-- description's (live/fulltext_postgresql.py). A table of its own: a row of channel changes all the time.
CREATE TABLE channel_text (
    pk bigint PRIMARY KEY,
    name text NOT NULL,
    words tsvector NOT NULL
);
CREATE INDEX channel_text_name ON channel_text USING gin (name gin_trgm_ops);
CREATE INDEX channel_text_words ON channel_text USING gin (words);
CREATE TABLE video_text (
    pk bigint PRIMARY KEY,
    words tsvector NOT NULL
);
CREATE INDEX video_text_words ON video_text USING gin (words);

-- A counter for the account and one for all accounts. A channel counts with tag '', and with each of its tags.
CREATE FUNCTION count_in(whose text, which text, state text) RETURNS void LANGUAGE sql AS $$
    INSERT INTO channel_count (account_id, tag, status, n)
        VALUES (whose, which, state, 1), ('', which, state, 1)
        ON CONFLICT (account_id, tag, status) DO UPDATE SET n = channel_count.n + 1
$$;
CREATE FUNCTION count_out(whose text, which text, state text) RETURNS void LANGUAGE sql AS $$
    UPDATE channel_count SET n = n - 1 WHERE account_id IN (whose, '') AND tag = which AND status = state
$$;

CREATE FUNCTION channel_counts() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF TG_OP != 'INSERT' THEN PERFORM count_out(OLD.account_id, '', OLD.status); END IF;
    IF TG_OP != 'DELETE' THEN PERFORM count_in(NEW.account_id, '', NEW.status); END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER channel_counts AFTER INSERT OR DELETE OR UPDATE OF status, account_id ON channel
    FOR EACH ROW EXECUTE FUNCTION channel_counts();

CREATE FUNCTION channel_tag_counts() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF TG_OP != 'INSERT' THEN PERFORM count_out(OLD.account_id, OLD.tag, OLD.status); END IF;
    IF TG_OP != 'DELETE' THEN PERFORM count_in(NEW.account_id, NEW.tag, NEW.status); END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER channel_tag_counts AFTER INSERT OR DELETE OR UPDATE OF status, account_id ON channel_tag
    FOR EACH ROW EXECUTE FUNCTION channel_tag_counts();

CREATE FUNCTION channel_relisted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    UPDATE channel_tag SET status = NEW.status, account_id = NEW.account_id, listed_at = NEW.listed_at
     WHERE channel_id = NEW.pk;
    RETURN NULL;
END $$;
CREATE TRIGGER channel_relisted AFTER UPDATE OF status, account_id, listed_at ON channel
    FOR EACH ROW EXECUTE FUNCTION channel_relisted();

CREATE FUNCTION text_gone() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF TG_TABLE_NAME = 'channel' THEN
        DELETE FROM channel_text WHERE pk = OLD.pk;
    ELSE
        DELETE FROM video_text WHERE pk = OLD.pk;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER text_gone AFTER DELETE ON channel FOR EACH ROW EXECUTE FUNCTION text_gone();
CREATE TRIGGER text_gone AFTER DELETE ON video FOR EACH ROW EXECUTE FUNCTION text_gone();

-- Whoever removes or changes a row, and by whatever statement: what follows for the disk is written with it.
CREATE FUNCTION chore_of_channel() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO chore (channel_id) VALUES (OLD.id);
    RETURN NULL;
END $$;
CREATE TRIGGER chore_of_end AFTER UPDATE OF status ON channel
    FOR EACH ROW WHEN (NEW.status = 'ended' AND OLD.status != 'ended') EXECUTE FUNCTION chore_of_channel();
CREATE TRIGGER chore_of_wishes AFTER UPDATE OF catchup, record, playback ON channel
    FOR EACH ROW WHEN (NEW.catchup != OLD.catchup OR NEW.record != OLD.record OR NEW.playback != OLD.playback)
    EXECUTE FUNCTION chore_of_channel();
CREATE TRIGGER chore_of_channel_gone AFTER DELETE ON channel FOR EACH ROW EXECUTE FUNCTION chore_of_channel();

CREATE FUNCTION chore_of_session() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO chore (channel_id) SELECT id FROM channel WHERE pk = NEW.channel_id;
    RETURN NULL;
END $$;
CREATE TRIGGER chore_of_session AFTER UPDATE OF stop_time ON session
    FOR EACH ROW WHEN (NEW.stop_time IS NOT NULL) EXECUTE FUNCTION chore_of_session();

CREATE FUNCTION video_gone() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    UPDATE channel SET kept = (kept::jsonb || CASE OLD.type
            WHEN 'catchup' THEN '{"catchup": null}'::jsonb
            ELSE jsonb_build_object('record', COALESCE(kept::jsonb -> 'record', '{}')
                                              || jsonb_build_object(OLD.session_id, NULL)) END)::text
     WHERE pk = OLD.channel_id;
    INSERT INTO chore (channel_id) SELECT id FROM channel WHERE pk = OLD.channel_id;
    RETURN NULL;
END $$;
CREATE TRIGGER video_gone AFTER DELETE ON video FOR EACH ROW EXECUTE FUNCTION video_gone();
