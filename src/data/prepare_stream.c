/* Rows on their way from the input, one pass:
 *
 *     input -> DuckDB -> chunks in order -> cleaners -> verdicts -> feed -> DuckDB -> kept rows
 *          \-> records of CSV in order -> blocks -/                     \-> DuckDB -> dropped rows
 *
 * Equal texts are found in the rows' order, so a row's verdict is known as soon as the rows before it are. Where a stage or a report looks at
 * all rows first, the feed has one reader, which writes every row into the temporary file, and there are no verdicts yet.
 *
 * The databases have threads of their own, so none waits for a thread that another holds. The query makes the columns that the
 * cleaners fill. Behind the verdict a chunk's keys are not needed any more: it is written in their place. */
#include "data/feed.h"
#include "data/prepare_clean.h"
#include "data/prepare_job.h"

#include <inttypes.h>
#include <pthread.h>
#include <string.h>

enum {
    FEED_CHUNKS = 16, /* the rows of a row group: while a writer packs one, the cleaners do not wait */
    AHEAD_BYTES = 1 << 20, /* of rows that a reading thread has made before those ahead of them are taken */
    WRITERS_MAX = 2,
};

/* Behind the input's columns: prepare_row.h's, then the author where its column is none of texts. Columns that a writer does not read must
 * stand behind those it does: DuckDB takes a feed's by their places. */
#define STREAM_FIELDS                                                                                                    \
    "'' AS clean, '' AS tickers, CAST(0 AS UTINYINT) AS reason, CAST(0 AS UBIGINT) AS low, CAST(0 AS UBIGINT) AS high, " \
    "CAST(0 AS UBIGINT) AS flood, '' AS language"

#define STREAM_SOURCE                                                                                                   \
    "(SELECT *, reason & 255 AS verdict, CAST(low AS BIGINT) AS cluster, CAST(high AS BIGINT) AS first, CAST(flood AS " \
    "BIGINT) AS n "                                                                                                     \
    "FROM rows)"

typedef struct writer writer;
typedef finch_status (*writer_run)(writer *w);

struct writer {
    const prepare_job *job;
    data_feed *feed;
    size_t index;
    data_database db;
    writer_run run;
    uint64_t n;
    pthread_t thread;
    bool running;
    finch_error error;
};

/* What becomes of the rows. */
typedef struct sink {
    writer_run run;
    size_t n_writers;
    bool judges;
    size_t author; /* column of texts; SIZE_MAX: none */
} sink;

/* What comes back from a feed as it went in. */
static bool type_streams(const char *type)
{
    static const char *const types[] = {"BOOLEAN",  "TINYINT", "SMALLINT", "INTEGER", "BIGINT",  "UTINYINT", "USMALLINT",
                                        "UINTEGER", "UBIGINT", "FLOAT",    "DOUBLE",  "VARCHAR", "DATE",     "TIMESTAMP"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(type, types[i]) == 0) return true;
    return false;
}

bool prepare_types_stream(const prepare_job *j)
{
    const data_names *types = data_relation_types(j->input);
    for (size_t i = 0; i < types->n; i++)
        if (!type_streams(types->at[i])) return false;
    return true;
}

bool prepare_streams(const prepare_job *j)
{
    const prepare_options *o = j->options;
    if (!o->off[PREPARE_NEAR_DUPLICATES] || !o->off[PREPARE_FLOODS]) return false;
    return o->report_json == NULL && o->report_html == NULL && prepare_types_stream(j);
}

/* ---- writers ---- */

static finch_status write_table(writer *w)
{
    const data_output *to = w->index == 0 ? &w->job->kept : &w->job->dropped;
    return prepare_write_table(w->job, &w->db, STREAM_SOURCE, to, w->index == 0, NULL, &w->n, &w->error);
}

static finch_status write_temporary(writer *w)
{
    str sql = {0};
    finch_status st = prepare_temporary_query(w->job, "SELECT * FROM rows", &sql, &w->error);
    if (st == FINCH_OK) st = data_query_count(&w->db, sql.at, &w->n, &w->error);
    str_free(&sql);
    return st;
}

static void *write_out(void *context)
{
    writer *w = context;
    w->error.status = w->run(w);
    data_feed_leave(w->feed, w->index);
    return NULL;
}

static finch_status start_writer(writer *w, uint64_t bytes, finch_error *err)
{
    FINCH_TRY(data_database_open(&w->db, err));
    FINCH_TRY(prepare_set(&w->db, "memory_limit = '%" PRIu64 "B'", bytes, err));
    uint64_t all = w->job->options->n_threads, n_threads = w->index == 0 && all > 2 ? all / 2 : 1;
    FINCH_TRY(prepare_set(&w->db, "threads = %" PRIu64, n_threads, err));
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

/* Where rows come from: the records of regular CSV, or else a query's chunks. */
typedef struct source {
    data_csv_rows *rows; /* NULL: the result's */
    duckdb_result result; /* its columns are the rows' in any case */
} source;

/* Columns of a batch that hold a verdict behind the keys that it is made of. */
typedef struct fields {
    uint8_t *reason;
    uint64_t *low, *high, *flood;
} fields;

/* The n rows of the batch that the verdicts took last. */
static void put_verdicts(const prepare_verdicts *v, const fields *to, size_t n)
{
    for (size_t i = 0, row = v->n - n; i < n; i++, row++) {
        to->reason[i] = v->reason[row];
        to->low[i] = v->cluster[row];
        to->high[i] = v->kept[row];
        to->flood[i] = row;
    }
}

static finch_status judge_chunk(prepare_job *j, duckdb_data_chunk chunk, prepare_keys *keys, finch_error *err)
{
    idx_t column = data_relation_columns(j->input)->n;
    const idx_t columns[PREPARE_KEY_COLUMNS] = {column + PREPARE_FIELD_TEXT, column + PREPARE_FIELD_REASON,
                                                column + PREPARE_FIELD_LOW, column + PREPARE_FIELD_HIGH,
                                                column + PREPARE_FIELD_FLOOD};
    void *data[PREPARE_KEY_COLUMNS];
    size_t n = (size_t)duckdb_data_chunk_get_size(chunk);
    prepare_read_keys(chunk, columns, keys);
    FINCH_TRY(prepare_verdicts_add(&j->verdicts, keys, n, err));
    for (size_t i = 1; i < PREPARE_KEY_COLUMNS; i++)
        data[i] = duckdb_vector_get_data(duckdb_data_chunk_get_vector(chunk, columns[i]));
    put_verdicts(&j->verdicts, &(fields){data[1], data[2], data[3], data[4]}, n);
    return FINCH_OK;
}

static finch_status judge_block(prepare_job *j, data_block *block, prepare_keys *keys, finch_error *err)
{
    data_column *c = block->columns + data_relation_columns(j->input)->n;
    const fields f = {c[PREPARE_FIELD_REASON].values, c[PREPARE_FIELD_LOW].values, c[PREPARE_FIELD_HIGH].values,
                      c[PREPARE_FIELD_FLOOD].values};
    size_t n = c->n;
    for (size_t row = 0; row < n; row++)
        keys[row] = (prepare_keys){.text = data_column_text(&c[PREPARE_FIELD_TEXT], row),
                                   .reason = f.reason[row],
                                   .key = {f.low[row], f.high[row]},
                                   .flood = f.flood[row]};
    FINCH_TRY(prepare_verdicts_add(&j->verdicts, keys, n, err));
    put_verdicts(&j->verdicts, &f, n);
    return FINCH_OK;
}

static finch_status push(data_feed *feed, prepare_batch *batch, bool *taken, finch_error *err)
{
    data_block *block = batch->block;
    if (block == NULL) return data_feed_push(feed, batch->chunk, taken, err);
    batch->block = NULL;
    return data_feed_push_block(feed, block, taken, err);
}

/* The oldest batch that the cleaners have; *taken is false where a writer has left. */
static finch_status pass_on(prepare_job *j, const sink *to, prepare_cleaners *cleaners, data_feed *feed, prepare_keys *keys,
                            bool *taken, finch_error *err)
{
    prepare_batch batch = prepare_cleaners_take(cleaners);
    if (batch.chunk == NULL && batch.block == NULL) return finch_fail(err, FINCH_E_FAILED, "a row could not be cleaned");
    finch_status st = FINCH_OK;
    if (to->judges)
        st = batch.block != NULL ? judge_block(j, batch.block, keys, err) : judge_chunk(j, batch.chunk, keys, err);
    if (st == FINCH_OK) st = push(feed, &batch, taken, err);
    prepare_batch_close(&batch);
    uint64_t done = __atomic_load_n(&j->row.done, __ATOMIC_RELAXED);
    if (st != FINCH_OK || progress_report(j->options->watch, done, data_relation_rows(j->input), NULL)) return st;
    return finch_fail(err, FINCH_E_CANCELLED, "interrupted");
}

/* The next rows go to the cleaners, which have room; *any is false at their end. */
static finch_status give_next(source *from, prepare_cleaners *cleaners, bool *any, finch_error *err)
{
    if (from->rows == NULL) {
        duckdb_data_chunk chunk = duckdb_fetch_chunk(from->result);
        *any = chunk != NULL;
        if (*any) prepare_cleaners_give(cleaners, chunk);
        return *any ? FINCH_OK : data_stream_check(&from->result, err);
    }
    size_t n = 0;
    FINCH_TRY(data_csv_rows_next(from->rows, prepare_cleaners_records(cleaners), &n, err));
    *any = n > 0;
    if (*any) prepare_cleaners_give_records(cleaners);
    return FINCH_OK;
}

static finch_status pass_all(prepare_job *j, const sink *to, prepare_cleaners *cleaners, data_feed *feed, source *from,
                             prepare_keys *keys, bool *taken, finch_error *err)
{
    bool any = true;
    *taken = true;
    while (*taken && (any || !prepare_cleaners_empty(cleaners))) {
        if (any && !prepare_cleaners_full(cleaners)) FINCH_TRY(give_next(from, cleaners, &any, err));
        else FINCH_TRY(pass_on(j, to, cleaners, feed, keys, taken, err));
    }
    return FINCH_OK;
}

static finch_status take_rows(prepare_job *j, const sink *to, data_feed *feed, source *from, finch_error *err)
{
    prepare_keys *keys;
    prepare_cleaners *cleaners = NULL;
    bool taken = true;
    const prepare_clean_columns columns = {j->text, to->author, data_relation_columns(j->input)->n};
    size_t most = DATA_CSV_PIECE_ROWS > duckdb_vector_size() ? DATA_CSV_PIECE_ROWS : duckdb_vector_size();
    FINCH_TRY(MEM_NEW(&keys, most, err));
    finch_status st = prepare_cleaners_open(&j->row, &columns, from->rows, j->options->n_threads, &cleaners, err);
    if (st == FINCH_OK) st = pass_all(j, to, cleaners, feed, from, keys, &taken, err);
    prepare_cleaners_close(cleaners);
    mem_free(keys);
    if (st != FINCH_OK || !taken || !to->judges) return st;
    FINCH_TRY(prepare_verdicts_finish(&j->verdicts, j->options->watch, err));
    return prepare_check_rows(j, j->verdicts.n, err);
}

/* From the source to the writers. Why a writer left is what the run fails with. */
static finch_status run_writers(prepare_job *j, const sink *to, data_feed *feed, source *from, uint64_t n_rows[WRITERS_MAX],
                                finch_error *err)
{
    writer writers[WRITERS_MAX] = {0};
    finch_status st = FINCH_OK;
    for (size_t i = 0; i < to->n_writers; i++) writers[i] = (writer){.job = j, .feed = feed, .index = i, .run = to->run};
    for (size_t i = 0; st == FINCH_OK && i < to->n_writers; i++)
        st = start_writer(&writers[i], i == 0 ? j->database_bytes * 5 / 16 : j->database_bytes / 4, err);
    if (st == FINCH_OK) st = take_rows(j, to, feed, from, err);
    data_feed_end(feed, st == FINCH_OK);
    for (size_t i = 0; i < to->n_writers; i++) stop_writer(&writers[i]);
    for (size_t i = 0; st == FINCH_OK && i < to->n_writers; i++) {
        st = writers[i].error.status;
        if (st != FINCH_OK && err != NULL) *err = writers[i].error;
        n_rows[i] = writers[i].n;
    }
    return st;
}

/* The author's column as the cleaners take it: one more is made where it holds no texts. */
static finch_status add_author(const prepare_job *j, str *sql, sink *to, finch_error *err)
{
    size_t n = data_relation_columns(j->input)->n;
    to->author = SIZE_MAX;
    if (j->author == n || j->options->off[PREPARE_FLOODS]) return FINCH_OK;
    bool texts = strcmp(data_relation_types(j->input)->at[j->author], "VARCHAR") == 0;
    to->author = texts ? j->author : n + PREPARE_FIELDS;
    return texts ? FINCH_OK : str_add_format(sql, err, ", CAST(c%zu AS VARCHAR) AS author", j->author);
}

/* Regular CSV is read without DuckDB, which then only tells what its columns are. */
static finch_status open_csv_rows(const prepare_job *j, const sink *to, data_csv_rows **out, finch_error *err)
{
    *out = NULL;
    bool another_author = to->author != SIZE_MAX && to->author >= data_relation_columns(j->input)->n;
    return another_author ? FINCH_OK : data_relation_csv_rows(j->input, out, err);
}

static finch_status open_rows(prepare_job *j, sink *to, source *from, finch_error *err)
{
    str sql = {0};
    uint64_t ahead = AHEAD_BYTES * (uint64_t)j->options->n_threads;
    /* Of CSV that is not read in parallel DuckDB keeps what it read, as long as there is room, and has no use for it. */
    uint64_t share = data_relation_is_csv(j->input) ? j->database_bytes / 8 : j->database_bytes * 7 / 16;
    FINCH_TRY(prepare_set(&j->db, "memory_limit = '%" PRIu64 "B'", share, err));
    FINCH_TRY(prepare_set(&j->db, "streaming_buffer_size = '%" PRIu64 "B'", ahead, err));
    FINCH_TRY(data_query(&j->db, "SET arrow_large_buffer_size = true", NULL, err));
    finch_status st = str_add_text(&sql, "SELECT *, " STREAM_FIELDS, err);
    if (st == FINCH_OK) st = add_author(j, &sql, to, err);
    if (st == FINCH_OK) st = str_add_text(&sql, " FROM ", err);
    if (st == FINCH_OK) st = prepare_input_query(j, &sql, err);
    if (st == FINCH_OK) st = open_csv_rows(j, to, &from->rows, err);
    if (st == FINCH_OK && from->rows != NULL) st = str_add_text(&sql, " LIMIT 0", err);
    if (st == FINCH_OK) st = data_query_stream(&j->db, sql.at, &from->result, err);
    str_free(&sql);
    return st;
}

static finch_status run(prepare_job *j, sink *to, uint64_t n_rows[WRITERS_MAX], finch_error *err)
{
    data_feed *feed = NULL;
    source from = {0};
    finch_status st = open_rows(j, to, &from, err);
    if (st == FINCH_OK) st = data_feed_open(&j->db, &from.result, to->n_writers, FEED_CHUNKS, &feed, err);
    if (st == FINCH_OK) st = run_writers(j, to, feed, &from, n_rows, err);
    duckdb_destroy_result(&from.result);
    data_feed_close(feed);
    data_csv_rows_close(from.rows);
    if (j->row.error.status == FINCH_OK) return st;
    if (err != NULL) *err = j->row.error; /* our own words rather than DuckDB's about them */
    return j->row.error.status;
}

finch_status prepare_stream_rows(prepare_job *j, uint64_t *n, finch_error *err)
{
    sink to = {.run = write_temporary, .n_writers = 1};
    uint64_t n_rows[WRITERS_MAX] = {0};
    FINCH_TRY(run(j, &to, n_rows, err));
    *n = n_rows[0];
    return prepare_set(&j->db, "memory_limit = '%" PRIu64 "B'", j->database_bytes, err);
}

finch_status prepare_stream(prepare_job *j, finch_error *err)
{
    sink to = {.run = write_table, .n_writers = 2, .judges = true};
    uint64_t n_rows[WRITERS_MAX] = {0};
    prepare_phase(j, "cleaning", "rows");
    prepare_row_restart(&j->row);
    prepare_verdicts_close(&j->verdicts);
    FINCH_TRY(prepare_verdicts_open(j->options, data_relation_rows(j->input), 0, &j->verdicts, err));
    FINCH_TRY(run(j, &to, n_rows, err));
    j->result->counts.kept = n_rows[0];
    j->result->counts.dropped = n_rows[1];
    prepare_count(j);
    return prepare_check_tables(j, err);
}
