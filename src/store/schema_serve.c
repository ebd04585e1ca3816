/* Version 3: what the server keeps. docs/store.md tells the tables, the headers their rules.
 *
 * Invariants
 *  1. Ids of events and predictions come from one counter, taken inside the transaction that writes them.
 *  2. history_sum equals the sums over prediction_ticker of its hour or day, ticker, kind and model, as long as no row was pruned.
 *  3. A model_version's files lie in the registry's folder before its row is written; its row is never changed but for removed.
 *  4. A batch_job ends once: its state leaves "running" only where the attempt is the one that was claimed. */
#include "store/schema.h"

/* For SQLite a table is stored in the order of its primary key where that is not a number. */
#define TABLE_BY_KEY(columns) {columns " WITHOUT ROWID", columns}

static const sql_statement statements[] = {
    {"CREATE TABLE store_counter (name TEXT PRIMARY KEY, value BIGINT NOT NULL)", NULL},
    {"INSERT INTO store_counter (name, value) VALUES ('event', 0), ('keys', 0), ('registry', 0), ('forgotten', 0)", NULL},
    TABLE_BY_KEY("CREATE TABLE store_batch (name TEXT PRIMARY KEY, time BIGINT NOT NULL)"),
    {"CREATE INDEX store_batch_time ON store_batch (time)", NULL},
    {"CREATE TABLE store_alive (id BIGINT PRIMARY KEY, time BIGINT NOT NULL)", NULL},

    {"CREATE TABLE api_key (id TEXT PRIMARY KEY, hash TEXT NOT NULL, name TEXT NOT NULL, scopes BIGINT NOT NULL, "
     "created BIGINT NOT NULL, expires BIGINT NOT NULL, revoked BIGINT NOT NULL, last_used BIGINT NOT NULL, "
     "requests_a_minute BIGINT NOT NULL, store_predictions BIGINT NOT NULL)",
     NULL},

    {"CREATE TABLE event (id INTEGER PRIMARY KEY, time BIGINT NOT NULL, kind TEXT NOT NULL, data TEXT NOT NULL)",
     "CREATE TABLE event (id BIGINT PRIMARY KEY, time BIGINT NOT NULL, kind TEXT NOT NULL, data TEXT NOT NULL)"},

    {"CREATE TABLE batch_job (id TEXT PRIMARY KEY, created BIGINT NOT NULL, kind TEXT NOT NULL, state TEXT NOT NULL, "
     "input_path TEXT NOT NULL, input_name TEXT NOT NULL, input_bytes BIGINT NOT NULL, options TEXT NOT NULL, key TEXT NOT "
     "NULL, owner TEXT NOT NULL, until BIGINT NOT NULL, attempt BIGINT NOT NULL, rows_done BIGINT NOT NULL, rows_total "
     "BIGINT "
     "NOT NULL, result_path TEXT NOT NULL, result_bytes BIGINT NOT NULL, summary TEXT NOT NULL, error TEXT NOT NULL, "
     "started BIGINT NOT NULL, finished BIGINT NOT NULL)",
     NULL},
    {"CREATE INDEX batch_job_state ON batch_job (state, created)", NULL},
    {"CREATE INDEX batch_job_created ON batch_job (created)", NULL},

    {"CREATE TABLE history_model (id BIGINT PRIMARY KEY, name TEXT NOT NULL UNIQUE)", NULL},
    TABLE_BY_KEY("CREATE TABLE history_ticker (ticker TEXT PRIMARY KEY, n BIGINT NOT NULL, first BIGINT NOT NULL, last "
                 "BIGINT NOT NULL)"),
#define PREDICTION_COLUMNS                                                                                                 \
    "time BIGINT NOT NULL, hash TEXT NOT NULL, text TEXT, tickers TEXT NOT NULL, label BIGINT NOT NULL, p0 BIGINT NOT "    \
    "NULL, "                                                                                                               \
    "p1 BIGINT NOT NULL, p2 BIGINT NOT NULL, p3 BIGINT NOT NULL, p4 BIGINT NOT NULL, score BIGINT NOT NULL, model BIGINT " \
    "NOT NULL, source TEXT NOT NULL, reach BIGINT NOT NULL, flags BIGINT NOT NULL)"
    {"CREATE TABLE prediction (id INTEGER PRIMARY KEY, " PREDICTION_COLUMNS,
     "CREATE TABLE prediction (id BIGINT PRIMARY KEY, " PREDICTION_COLUMNS},
    /* One row for each ticker of a prediction and one for "*", with all that is summed. */
    TABLE_BY_KEY(
        "CREATE TABLE prediction_ticker (ticker TEXT NOT NULL, time BIGINT NOT NULL, id BIGINT NOT NULL, kind BIGINT "
        "NOT NULL, model BIGINT NOT NULL, label BIGINT NOT NULL, score BIGINT NOT NULL, w BIGINT NOT NULL, "
        "PRIMARY KEY (ticker, time, id))"),
    TABLE_BY_KEY(
        "CREATE TABLE history_sum (grain BIGINT NOT NULL, ticker TEXT NOT NULL, bucket BIGINT NOT NULL, kind BIGINT "
        "NOT NULL, model BIGINT NOT NULL, n BIGINT NOT NULL, s BIGINT NOT NULL, sq BIGINT NOT NULL, w BIGINT NOT "
        "NULL, w2 BIGINT NOT NULL, ws BIGINT NOT NULL, wsq BIGINT NOT NULL, c0 BIGINT NOT NULL, c1 BIGINT NOT NULL, "
        "c2 BIGINT NOT NULL, c3 BIGINT NOT NULL, c4 BIGINT NOT NULL, v0 BIGINT NOT NULL, v1 BIGINT NOT NULL, v2 "
        "BIGINT NOT NULL, v3 BIGINT NOT NULL, v4 BIGINT NOT NULL, PRIMARY KEY (grain, ticker, bucket, kind, model))"),
    {"CREATE INDEX history_sum_time ON history_sum (grain, bucket)", NULL},

    TABLE_BY_KEY(
        "CREATE TABLE model_version (name TEXT NOT NULL, number BIGINT NOT NULL, digest TEXT NOT NULL, card TEXT NOT "
        "NULL, note TEXT NOT NULL, author TEXT NOT NULL, created BIGINT NOT NULL, size BIGINT NOT NULL, removed "
        "BIGINT NOT NULL, PRIMARY KEY (name, number))"),
    TABLE_BY_KEY("CREATE TABLE model_file (name TEXT NOT NULL, number BIGINT NOT NULL, path TEXT NOT NULL, sha256 TEXT NOT "
                 "NULL, size BIGINT NOT NULL, PRIMARY KEY (name, number, path))"),
    {"CREATE INDEX model_file_sha256 ON model_file (sha256)", NULL},
    TABLE_BY_KEY(
        "CREATE TABLE model_stage (name TEXT NOT NULL, stage TEXT NOT NULL, number BIGINT NOT NULL, since BIGINT NOT "
        "NULL, PRIMARY KEY (name, stage))"),
    {"CREATE TABLE model_record (id BIGINT PRIMARY KEY, time BIGINT NOT NULL, name TEXT NOT NULL, stage TEXT NOT NULL, "
     "action TEXT NOT NULL, before BIGINT NOT NULL, after BIGINT NOT NULL, author TEXT NOT NULL, note TEXT NOT NULL)",
     NULL},
    {"CREATE INDEX model_record_name ON model_record (name, stage, id)", NULL},
    TABLE_BY_KEY(
        "CREATE TABLE model_document (name TEXT NOT NULL, number BIGINT NOT NULL, kind TEXT NOT NULL, created BIGINT "
        "NOT NULL, content TEXT NOT NULL, PRIMARY KEY (name, number, kind))"),

    {"CREATE TABLE alert_rule (id TEXT PRIMARY KEY, created BIGINT NOT NULL, name TEXT NOT NULL, ticker TEXT NOT NULL, "
     "measure BIGINT NOT NULL, direction BIGINT NOT NULL, window_ms BIGINT NOT NULL, baseline_ms BIGINT NOT NULL, threshold "
     "DOUBLE PRECISION NOT NULL, least_n BIGINT NOT NULL, rest_ms BIGINT NOT NULL, url TEXT NOT NULL, secret TEXT NOT NULL, "
     "enabled BIGINT NOT NULL, resend BIGINT NOT NULL, fired BIGINT NOT NULL, state BIGINT NOT NULL)",
     NULL},
    {"CREATE TABLE alert_delivery (id TEXT PRIMARY KEY, rule TEXT NOT NULL, created BIGINT NOT NULL, state TEXT NOT NULL, "
     "attempt BIGINT NOT NULL, next BIGINT NOT NULL, owner TEXT NOT NULL, until BIGINT NOT NULL, reason TEXT NOT NULL, body "
     "TEXT NOT NULL)",
     NULL},
    {"CREATE INDEX alert_delivery_state ON alert_delivery (state, next)", NULL},
    {"CREATE INDEX alert_delivery_created ON alert_delivery (created)", NULL},

    TABLE_BY_KEY("CREATE TABLE drift_count (model TEXT NOT NULL, day BIGINT NOT NULL, feature TEXT NOT NULL, bin TEXT NOT "
                 "NULL, n BIGINT NOT NULL, PRIMARY KEY (model, day, feature, bin))"),
};

const schema_version schema_version_serve = {statements, sizeof statements / sizeof statements[0]};
