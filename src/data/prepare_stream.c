/* Preparing in one pass. Equal texts are found in the rows' order, so a row's verdict is known as soon as the rows before it
 * are: then no temporary file is needed.
 *
 *     input -> DuckDB, our function on all its threads -> chunks in order -> verdicts -> feed -> DuckDB -> kept rows
 *                                                                                           \-> DuckDB -> dropped rows
 *
 * The three databases have threads of their own, so none waits for a thread that another holds. Of the last columns of a
 * chunk the keys are not needed any more behind the verdict: it is written in their place. */
#include "data/feed.h"
#include "data/prepare_job.h"

#include <inttypes.h>
#include <pthread.h>
#include <string.h>

enum {
    FEED_CHUNKS = 8,
    AHEAD_BYTES = 8 << 20, /* of rows that a thread has made before those ahead of them are taken */
    WRITERS = 2,
};

/* Behind the input's columns. */
enum { COLUMN_CLEAN, COLUMN_TICKERS, COLUMN_REASON, COLUMN_LOW, COLUMN_HIGH, COLUMN_FLOOD };

#define STREAM_SOURCE                                                                                                   \
    "(SELECT *, reason & 255 AS verdict, CAST(low AS BIGINT) AS cluster, CAST(high AS BIGINT) AS first, CAST(flood AS " \
    "BIGINT) AS n "                                                                                                     \
    "FROM rows)"

typedef struct writer {
    const prepare_job *job;
    data_feed *feed;
    size_t index;
    data_database db;
    const data_output *to;
    uint64_t n;
    pthread_t thread;
    bool running;
    finch_error error;
} writer;

/* What comes back from a feed as it went in. */
static bool type_streams(const char *type)
{
    static const char *const types[] = {"BOOLEAN",  "TINYINT", "SMALLINT", "INTEGER", "BIGINT",  "UTINYINT", "USMALLINT",
                                        "UINTEGER", "UBIGINT", "FLOAT",    "DOUBLE",  "VARCHAR", "DATE",     "TIMESTAMP"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(type, types[i]) == 0) return true;
    return false;
}

bool prepare_streams(const prepare_job *j)
{
    const prepare_options *o = j->options;
    const data_names *types = data_relation_types(j->input);
    if (!o->off[PREPARE_NEAR_DUPLICATES] || !o->off[PREPARE_FLOODS]) return false;
    if (o->report_json != NULL || o->report_html != NULL) return false;
    for (size_t i = 0; i < types->n; i++)
        if (!type_streams(types->at[i])) return false;
    return true;
}

/* ---- writers ---- */

static void *write_out(void *context)
{
    writer *w = context;
    w->error.status = prepare_write_table(w->job, &w->db, STREAM_SOURCE, w->to, w->index == 0, NULL, &w->n, &w->error);
    data_feed_leave(w->feed, w->index);
    return NULL;
}

static finch_status start_writer(writer *w, uint64_t bytes, finch_error *err)
{
    FINCH_TRY(data_database_open(&w->db, err));
    FINCH_TRY(prepare_set(&w->db, "memory_limit = '%" PRIu64 "B'", bytes, err));
    FINCH_TRY(prepare_set(&w->db, "threads = %" PRIu64, w->index == 0 ? w->job->options->n_threads : 1, err));
    FINCH_TRY(data_feed_view(w->feed, w->index, &w->db, "rows", err));
    w->running = pthread_create(&w->thread, NULL, write_out, w) == 0;
    return w->running ? FINCH_OK : finch_fail(err, FINCH_E_MEMORY, "a thread could not be started");
}

static void stop_writer(writer *w)
{
    if (w->running) pthread_join(w->thread, NULL);
    w->running = false;
    data_database_close(&w->db);
}

/* ---- rows ---- */

/* The n rows of the chunk that the verdicts took last. */
static void put_verdicts(const prepare_verdicts *v, duckdb_data_chunk chunk, idx_t column, size_t n)
{
    uint8_t *reason = duckdb_vector_get_data(duckdb_data_chunk_get_vector(chunk, column + COLUMN_REASON));
    uint64_t *cluster = duckdb_vector_get_data(duckdb_data_chunk_get_vector(chunk, column + COLUMN_LOW));
    uint64_t *first = duckdb_vector_get_data(duckdb_data_chunk_get_vector(chunk, column + COLUMN_HIGH));
    uint64_t *number = duckdb_vector_get_data(duckdb_data_chunk_get_vector(chunk, column + COLUMN_FLOOD));
    for (size_t i = 0, row = v->n - n; i < n; i++, row++) {
        reason[i] = v->reason[row];
        cluster[i] = v->cluster[row];
        first[i] = v->kept[row];
        number[i] = row;
    }
}

static finch_status take_chunk(prepare_job *j, data_feed *feed, duckdb_data_chunk chunk, prepare_keys *keys, bool *taken,
                               finch_error *err)
{
    idx_t column = data_relation_columns(j->input)->n;
    const idx_t columns[PREPARE_KEY_COLUMNS] = {column + COLUMN_CLEAN, column + COLUMN_REASON, column + COLUMN_LOW,
                                                column + COLUMN_HIGH, column + COLUMN_FLOOD};
    size_t n = (size_t)duckdb_data_chunk_get_size(chunk);
    prepare_read_keys(chunk, columns, keys);
    FINCH_TRY(prepare_verdicts_add(&j->verdicts, keys, n, err));
    put_verdicts(&j->verdicts, chunk, column, n);
    FINCH_TRY(data_feed_push(feed, chunk, taken, err));
    if (progress_report(j->options->watch, j->verdicts.n, data_relation_rows(j->input), NULL)) return FINCH_OK;
    return finch_fail(err, FINCH_E_CANCELLED, "interrupted");
}

static finch_status take_rows(prepare_job *j, data_feed *feed, duckdb_result *result, finch_error *err)
{
    prepare_keys *keys;
    duckdb_data_chunk chunk;
    bool taken = true;
    FINCH_TRY(MEM_NEW(&keys, duckdb_vector_size(), err));
    finch_status st = FINCH_OK;
    while (st == FINCH_OK && taken && (chunk = duckdb_fetch_chunk(*result)) != NULL) {
        st = take_chunk(j, feed, chunk, keys, &taken, err);
        duckdb_destroy_data_chunk(&chunk);
    }
    mem_free(keys);
    if (st == FINCH_OK && taken) st = data_stream_check(result, err);
    if (st == FINCH_OK && taken) st = prepare_verdicts_finish(&j->verdicts, j->options->watch, err);
    return st == FINCH_OK && taken ? prepare_check_rows(j, j->verdicts.n, err) : st;
}

/* From the result to both tables. Why a writer left is what the run fails with. */
static finch_status run_writers(prepare_job *j, data_feed *feed, duckdb_result *result, finch_error *err)
{
    const data_output *outputs[WRITERS] = {&j->kept, &j->dropped};
    writer writers[WRITERS] = {0};
    finch_status st = FINCH_OK;
    for (size_t i = 0; i < WRITERS; i++) writers[i] = (writer){.job = j, .feed = feed, .index = i, .to = outputs[i]};
    for (size_t i = 0; st == FINCH_OK && i < WRITERS; i++)
        st = start_writer(&writers[i], i == 0 ? j->database_bytes * 5 / 16 : j->database_bytes / 4, err);
    if (st == FINCH_OK) st = take_rows(j, feed, result, err);
    data_feed_end(feed, st == FINCH_OK);
    for (size_t i = 0; i < WRITERS; i++) stop_writer(&writers[i]);
    for (size_t i = 0; st == FINCH_OK && i < WRITERS; i++) {
        st = writers[i].error.status;
        if (st != FINCH_OK && err != NULL) *err = writers[i].error;
    }
    j->result->counts.kept = writers[0].n;
    j->result->counts.dropped = writers[1].n;
    return st;
}

static finch_status open_rows(prepare_job *j, duckdb_result *result, finch_error *err)
{
    str sql = {0};
    uint64_t ahead = AHEAD_BYTES * (uint64_t)j->options->n_threads;
    FINCH_TRY(prepare_set(&j->db, "memory_limit = '%" PRIu64 "B'", j->database_bytes * 7 / 16, err));
    FINCH_TRY(prepare_set(&j->db, "streaming_buffer_size = '%" PRIu64 "B'", ahead, err));
    FINCH_TRY(data_query(&j->db, "SET arrow_large_buffer_size = true", NULL, err));
    finch_status st = prepare_rows_query(j, &sql, err);
    if (st == FINCH_OK) st = data_query_stream(&j->db, sql.at, result, err);
    str_free(&sql);
    return st;
}

finch_status prepare_stream(prepare_job *j, finch_error *err)
{
    data_feed *feed = NULL;
    duckdb_result result = {0};
    prepare_phase(j, "cleaning", "rows");
    prepare_row_restart(&j->row);
    prepare_verdicts_close(&j->verdicts);
    FINCH_TRY(prepare_verdicts_open(j->options, data_relation_rows(j->input), 0, &j->verdicts, err));
    finch_status st = open_rows(j, &result, err);
    if (st == FINCH_OK) st = data_feed_open(&j->db, &result, WRITERS, FEED_CHUNKS, &feed, err);
    if (st == FINCH_OK) st = run_writers(j, feed, &result, err);
    duckdb_destroy_result(&result);
    data_feed_close(feed);
    if (j->row.error.status != FINCH_OK) { /* our own words rather than DuckDB's about them */
        if (err != NULL) *err = j->row.error;
        return j->row.error.status;
    }
    FINCH_TRY(st);
    prepare_count(j);
    return prepare_check_tables(j, err);
}
