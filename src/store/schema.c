/* A version is a list of statements that lead from the one before to it; a store's version is the number in
 * finch_schema. A published version is never changed: what comes is a new one. docs/store.md tells the tables.
 *
 * Invariants of the labelling tables
 *  1. label_answer holds one row for each (asker, text, vote); its label is written once and never changed.
 *  2. A row of label_answer without a label is a claim: its owner, until the time in it, is the only one who may ask.
 *  3. A request is in label_request before its first byte is sent.
 *  4. An item (a text of a job) with state 2 has a label or a reason, never both, never none. */
#include "store/schema.h"

#include <inttypes.h>

static const sql_statement version_1[] = {
    {"CREATE TABLE label_prompt (version TEXT PRIMARY KEY, content TEXT NOT NULL, created BIGINT NOT NULL)", NULL},
    {"CREATE TABLE label_asker (id BIGINT PRIMARY KEY, model TEXT NOT NULL, prompt TEXT NOT NULL, UNIQUE (model, prompt))",
     NULL},
    {"CREATE TABLE label_job (id BIGINT PRIMARY KEY, name TEXT NOT NULL UNIQUE, created BIGINT NOT NULL, "
     "state TEXT NOT NULL, reason TEXT NOT NULL, asker BIGINT NOT NULL, judge BIGINT, votes BIGINT NOT NULL, "
     "provider TEXT NOT NULL, input TEXT NOT NULL, text_column TEXT NOT NULL, n_rows BIGINT, n_items BIGINT)",
     NULL},
    {"CREATE TABLE label_item (job BIGINT NOT NULL, seq BIGINT NOT NULL, hash TEXT NOT NULL, text TEXT NOT NULL, "
     "state BIGINT NOT NULL, stage BIGINT NOT NULL, grain BIGINT NOT NULL, tries BIGINT NOT NULL, owner TEXT, "
     "until BIGINT, label BIGINT, confidence DOUBLE PRECISION, reason TEXT, gold BIGINT, PRIMARY KEY (job, seq))",
     NULL},
    {"CREATE UNIQUE INDEX label_item_hash ON label_item (job, hash)", NULL},
    {"CREATE INDEX label_item_state ON label_item (job, state, seq)", NULL},
    {"CREATE TABLE label_answer (asker BIGINT NOT NULL, hash TEXT NOT NULL, vote BIGINT NOT NULL, label BIGINT, "
     "confidence DOUBLE PRECISION, request TEXT, created BIGINT, owner TEXT, until BIGINT, "
     "PRIMARY KEY (asker, hash, vote)) WITHOUT ROWID",
     "CREATE TABLE label_answer (asker BIGINT NOT NULL, hash TEXT NOT NULL, vote BIGINT NOT NULL, label BIGINT, "
     "confidence DOUBLE PRECISION, request TEXT, created BIGINT, owner TEXT, until BIGINT, "
     "PRIMARY KEY (asker, hash, vote))"},
    {"CREATE INDEX label_answer_claim ON label_answer (owner) WHERE label IS NULL", NULL},
    {"CREATE TABLE label_request (id TEXT PRIMARY KEY, job BIGINT NOT NULL, asker BIGINT NOT NULL, key TEXT NOT NULL, "
     "owner TEXT NOT NULL, n_items BIGINT NOT NULL, items TEXT NOT NULL, sent BIGINT NOT NULL, ended BIGINT, status BIGINT, "
     "outcome TEXT, provider_id TEXT, input_tokens BIGINT, output_tokens BIGINT, cost BIGINT, body BLOB)",
     "CREATE TABLE label_request (id TEXT PRIMARY KEY, job BIGINT NOT NULL, asker BIGINT NOT NULL, key TEXT NOT NULL, "
     "owner TEXT NOT NULL, n_items BIGINT NOT NULL, items TEXT NOT NULL, sent BIGINT NOT NULL, ended BIGINT, status BIGINT, "
     "outcome TEXT, provider_id TEXT, input_tokens BIGINT, output_tokens BIGINT, cost BIGINT, body BYTEA)"},
    {"CREATE INDEX label_request_job ON label_request (job, cost)", NULL},
    {"CREATE TABLE label_model (provider TEXT NOT NULL, model TEXT NOT NULL, answers_by_schema BIGINT NOT NULL, "
     "PRIMARY KEY (provider, model))",
     NULL},
    {"CREATE TABLE label_pace (key TEXT PRIMARY KEY, next_us BIGINT NOT NULL)", NULL},
};

/* The review desk: people's labels, one a person and text. */
static const sql_statement version_2[] = {
    {"CREATE TABLE label_review (hash TEXT NOT NULL, reviewer TEXT NOT NULL, label BIGINT NOT NULL, created BIGINT NOT "
     "NULL, "
     "PRIMARY KEY (hash, reviewer))",
     NULL},
    {"CREATE INDEX label_review_reviewer ON label_review (reviewer, hash)", NULL},
};

/* Models' files in a store that several machines share; a SQLite store has them beside it. */
static const sql_statement version_4[] = {
    {"CREATE TABLE model_blob (sha256 TEXT NOT NULL, part BIGINT NOT NULL, content BLOB NOT NULL, PRIMARY KEY (sha256, "
     "part))",
     "CREATE TABLE model_blob (sha256 TEXT NOT NULL, part BIGINT NOT NULL, content BYTEA NOT NULL, PRIMARY KEY (sha256, "
     "part))"},
};

static const schema_version first = {version_1, sizeof version_1 / sizeof version_1[0]};
static const schema_version second = {version_2, sizeof version_2 / sizeof version_2[0]};

static const schema_version fourth = {version_4, sizeof version_4 / sizeof version_4[0]};

static const schema_version *const versions[] = {&first, &second, &schema_version_serve, &fourth, &schema_version_shared};

enum { VERSION_NOW = sizeof versions / sizeof versions[0] };

static finch_status read_version(sql_db *db, int64_t *out, finch_error *err)
{
    /* Two processes that open a new store at once: one makes the tables, the other waits and sees them. */
    static const sql_statement lock = {"SELECT 1", "SELECT pg_advisory_xact_lock(7021934817)"};
    static const sql_statement make = {"CREATE TABLE IF NOT EXISTS finch_schema (version BIGINT NOT NULL)", NULL};
    static const sql_statement look = {"SELECT coalesce(max(version), 0) FROM finch_schema", NULL};
    *out = 0;
    FINCH_TRY(sql_run(db, &lock, NULL, 0, NULL, NULL, NULL, err));
    FINCH_TRY(sql_run(db, &make, NULL, 0, NULL, NULL, NULL, err));
    return sql_run(db, &look, NULL, 0, sql_take_integer, out, NULL, err);
}

finch_status schema_bring_up(sql_db *db, finch_error *err)
{
    static const sql_statement note = {"INSERT INTO finch_schema (version) VALUES ($1)", NULL};
    int64_t now = 0;
    FINCH_TRY(read_version(db, &now, err));
    if (now < 0 || now > VERSION_NOW)
        return finch_fail(err, FINCH_E_UNSUPPORTED,
                          "the store's tables have version %" PRId64 ", this finch knows up to %d; use a newer finch or "
                          "another --state",
                          now, (int)VERSION_NOW);
    for (int64_t next = now; next < VERSION_NOW; next++) {
        for (size_t i = 0; i < versions[next]->n_statements; i++)
            FINCH_TRY(sql_run(db, &versions[next]->statements[i], NULL, 0, NULL, NULL, NULL, err));
        sql_value number = sql_integer(next + 1);
        FINCH_TRY(sql_run(db, &note, &number, 1, NULL, NULL, NULL, err));
    }
    return FINCH_OK;
}
