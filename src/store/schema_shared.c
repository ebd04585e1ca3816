/* Version 5: what only PostgreSQL has, from its version 12 on. A SQLite store passes through it unchanged.
 *
 * Notices. A trigger says on the channel "finch" which counter of store_counter moved, when its transaction commits. Whoever writes
 * moves the counter anyway, so no writer can forget to tell.
 *
 * Parts. prediction and prediction_ticker are partitioned by time: a part for each month (UTC) that has rows, and the default
 * part for times that get no month of their own (before 2006, or past the next month), so that no row is ever refused and
 * times that a stranger made up do not make a table each. history_part lists the months.
 *  1. A month's two tables and its line in history_part are made and dropped in one transaction.
 *  2. Months are made and dropped one at a time, under the advisory lock below; whoever waited for it looks again.
 *  3. Rows that lie in the default part move over when their month is made.
 * The tables from before this version are not copied: they become the first part, up to the end of the last month they have. */
#include "store/schema.h"

#define LOCK "PERFORM pg_advisory_xact_lock(7021934818);"

static const sql_statement statements[] = {
    {"SELECT 1", "CREATE FUNCTION finch_moved() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_notify('finch', "
                 "NEW.name); RETURN NULL; END $$"},
    {"SELECT 1", "CREATE TRIGGER store_counter_moved AFTER UPDATE ON store_counter FOR EACH ROW WHEN (NEW.name IN ('event', "
                 "'keys', 'registry') AND NEW.value <> OLD.value) EXECUTE FUNCTION finch_moved()"},

    /* The beginning of the month that lies n months after the one of a time. */
    {"SELECT 1", "CREATE FUNCTION finch_month(time_ms BIGINT, n INTEGER) RETURNS BIGINT LANGUAGE sql STABLE AS $$ SELECT "
                 "CAST(extract(epoch FROM date_trunc('month', to_timestamp(time_ms / 1000) AT TIME ZONE 'UTC') + n * "
                 "INTERVAL '1 month') * 1000 AS BIGINT) $$"},
    {"SELECT 1", "CREATE TABLE history_part (name TEXT PRIMARY KEY, first BIGINT NOT NULL, until BIGINT NOT NULL UNIQUE)"},

    {"SELECT 1", "ALTER TABLE prediction RENAME TO prediction_before"},
    {"SELECT 1", "ALTER TABLE prediction_before DROP CONSTRAINT prediction_pkey, ADD CONSTRAINT prediction_before_pkey "
                 "PRIMARY KEY (id, time)"},
    {"SELECT 1", "CREATE TABLE prediction (LIKE prediction_before, PRIMARY KEY (id, time)) PARTITION BY RANGE (time)"},
    {"SELECT 1", "CREATE TABLE prediction_rest PARTITION OF prediction DEFAULT"},
    {"SELECT 1", "ALTER TABLE prediction_ticker RENAME TO prediction_ticker_before"},
    {"SELECT 1", "ALTER TABLE prediction_ticker_before RENAME CONSTRAINT prediction_ticker_pkey TO "
                 "prediction_ticker_before_pkey"},
    {"SELECT 1",
     "CREATE TABLE prediction_ticker (LIKE prediction_ticker_before, PRIMARY KEY (ticker, time, id)) PARTITION BY "
     "RANGE (time)"},
    {"SELECT 1", "CREATE TABLE prediction_ticker_rest PARTITION OF prediction_ticker DEFAULT"},

    /* "prediction_" or "prediction_ticker_" + name becomes the part [first, until). */
    {"SELECT 1", "CREATE FUNCTION finch_part_add(part TEXT, first BIGINT, until BIGINT) RETURNS void LANGUAGE plpgsql AS $$ "
                 "DECLARE whole TEXT; BEGIN "
                 "FOREACH whole IN ARRAY ARRAY['prediction', 'prediction_ticker'] LOOP "
                 "EXECUTE format('WITH moved AS (DELETE FROM %1$I WHERE time >= %3$s AND time < %4$s RETURNING *) INSERT "
                 "INTO %2$I SELECT * FROM moved', whole || '_rest', whole || '_' || part, first, until); "
                 "EXECUTE format('ALTER TABLE %1$I ATTACH PARTITION %2$I FOR VALUES FROM (%3$s) TO (%4$s)', whole, whole || "
                 "'_' || part, first, until); END LOOP; "
                 "INSERT INTO history_part (name, first, until) VALUES (part, first, until); END $$"},
    /* The month of a time, where it gets one and has none. */
    {"SELECT 1", "CREATE FUNCTION finch_part_make(time_ms BIGINT) RETURNS void LANGUAGE plpgsql AS $$ "
                 "DECLARE begins BIGINT := finch_month(time_ms, 0); part TEXT; BEGIN "
                 "IF time_ms < 1136073600000 OR time_ms >= finch_month(CAST(extract(epoch FROM clock_timestamp()) * 1000 AS "
                 "BIGINT), 2) OR EXISTS (SELECT FROM history_part p WHERE p.first <= begins AND p.until > begins) THEN "
                 "RETURN; END IF; " LOCK
                 " IF EXISTS (SELECT FROM history_part p WHERE p.first <= begins AND p.until > begins) THEN RETURN; END IF; "
                 "part := to_char(to_timestamp(begins / 1000) AT TIME ZONE 'UTC', 'YYYY_MM'); "
                 "EXECUTE format('CREATE TABLE %I (LIKE prediction, PRIMARY KEY (id, time))', 'prediction_' || part); "
                 "EXECUTE format('CREATE TABLE %I (LIKE prediction_ticker, PRIMARY KEY (ticker, time, id))', "
                 "'prediction_ticker_' || part); "
                 "PERFORM finch_part_add(part, begins, finch_month(begins, 1)); END $$"},
    /* Drops the parts that lie before a time, and says how many rows they had. Ids up to the largest of theirs are forgotten. Others'
     * questions wait while this waits for one that runs, so it does not wait for long. */
    {"SELECT 1", "CREATE FUNCTION finch_part_drop(before BIGINT) RETURNS BIGINT LANGUAGE plpgsql SET lock_timeout = '2s' "
                 "AS $$ DECLARE part TEXT; n BIGINT; newest BIGINT; sum BIGINT := 0; BEGIN "
                 "IF NOT EXISTS (SELECT FROM history_part p WHERE p.until <= before) THEN RETURN 0; END IF; " LOCK
                 " FOR part IN SELECT p.name FROM history_part p WHERE p.until <= before LOOP "
                 "EXECUTE format('SELECT count(*), coalesce(max(id), 0) FROM %I', 'prediction_' || part) INTO n, newest; "
                 "EXECUTE format('DROP TABLE %I, %I', 'prediction_' || part, 'prediction_ticker_' || part); "
                 "DELETE FROM history_part p WHERE p.name = part; "
                 "UPDATE store_counter SET value = newest WHERE name = 'forgotten' AND value < newest; "
                 "sum := sum + n; END LOOP; RETURN sum; END $$"},

    {"SELECT 1", "DO $$ DECLARE last BIGINT := (SELECT max(time) FROM prediction_ticker_before WHERE ticker = '*'); BEGIN "
                 "IF last IS NULL THEN DROP TABLE prediction_before, prediction_ticker_before; "
                 "ELSE PERFORM finch_part_add('before', 0, finch_month(last, 1)); END IF; END $$"},
};

const schema_version schema_version_shared = {statements, sizeof statements / sizeof statements[0]};
