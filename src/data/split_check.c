/* The files that were just written, read again in the order the rows had in the input: texts that are near-duplicates by
 * text/near.h and stand in two parts are leaks. The files are read side by side, a connection each, so memory holds what
 * the near-duplicate index needs and no text twice. */
#include "data/split_write.h"

#include "data/scan.h"
#include "data/split_plan.h"
#include "text/near.h"

#include <string.h>

enum { REPORT_ROWS = 1 << 16, BATCH_ROWS = 2048 };

/* One file as it is read; a row's text is borrowed until the next step. */
typedef struct back {
    data_database db; /* the connection only */
    duckdb_result result;
    bool open;
    data_cursor cursor;
} back;

static finch_status add_columns(const data_names *columns, bool with_fold, str *sql, finch_error *err)
{
    FINCH_TRY(str_add_text(sql, ", columns={", err));
    for (size_t i = 0; i < columns->n; i++) {
        FINCH_TRY(data_sql_text(sql, columns->at[i], strlen(columns->at[i]), err));
        FINCH_TRY(str_add_text(sql, ": 'VARCHAR', ", err));
    }
    return str_add_text(sql, with_fold ? "'fold': 'VARCHAR'})" : "})", err);
}

/* The file's rows as what wrote it (data/output.h) wrote them, without guessing. */
static finch_status add_reader(const split_file *f, const data_names *columns, const char *text, str *sql, finch_error *err)
{
    static const char *const compressions[] = {"uncompressed", "gzip", "zstd"};
    const data_output *o = &f->output;
    const char *compression = compressions[o->kind.compression];
    bool csv = o->kind.format == DATA_CSV, parquet = o->kind.format == DATA_PARQUET;
    FINCH_TRY(str_add_text(sql, csv ? "read_csv(" : parquet ? "read_parquet(" : "read_json(", err));
    FINCH_TRY(data_sql_text(sql, o->beside.at, o->beside.size, err));
    if (parquet) return str_add_text(sql, ", hive_partitioning=false)", err);
    FINCH_TRY(str_add_format(sql, err, ", auto_detect=false, hive_partitioning=false, compression='%s'", compression));
    if (csv) {
        FINCH_TRY(str_add_format(
            sql, err, ", header=true, quote='\"', escape='\"', strict_mode=true, max_line_size=%zu, buffer_size=%zu, delim=",
            f->max_line_bytes, 2 * f->max_line_bytes));
        FINCH_TRY(str_add_text(sql, data_output_is_tsv(o) ? "'\t'" : "','", err));
        return add_columns(columns, f->with_fold, sql, err);
    }
    FINCH_TRY(
        str_add_format(sql, err, ", format='%s', columns={", o->kind.format == DATA_JSON ? "array" : "newline_delimited"));
    FINCH_TRY(data_sql_text(sql, text, strlen(text), err));
    return str_add_text(sql, ": 'VARCHAR'})", err);
}

static finch_status open_back(data_database *db, const split_file *f, const data_names *columns, const char *text, back *b,
                              finch_error *err)
{
    str sql = {0};
    if (duckdb_connect(db->database, &b->db.connection) != DuckDBSuccess)
        return finch_fail(err, FINCH_E_FAILED, "DuckDB gave no connection");
    finch_status st = str_add_text(&sql, "SELECT CAST(", err);
    if (st == FINCH_OK) st = data_sql_name(&sql, text, err);
    if (st == FINCH_OK) st = str_add_text(&sql, " AS VARCHAR) FROM ", err);
    if (st == FINCH_OK) st = add_reader(f, columns, text, &sql, err);
    if (st == FINCH_OK) st = data_query_stream(&b->db, sql.at, &b->result, err);
    b->open = st == FINCH_OK;
    b->cursor.result = &b->result;
    str_free(&sql);
    return st;
}

static void close_back(back *b)
{
    data_cursor_close(&b->cursor);
    if (b->open) duckdb_destroy_result(&b->result);
    if (b->db.connection != NULL) duckdb_disconnect(&b->db.connection);
}

/* The file that has the part's rows; n where none is checked. */
static size_t file_of(const split_files *files, uint16_t part)
{
    size_t i = 0;
    while (i < files->n && !(files->at[i].is_checked && part >= files->at[i].first && part <= files->at[i].last)) i++;
    return i;
}

/* Texts that wait to be handed to the index together. */
typedef struct batch {
    str bytes;
    size_t n, size[BATCH_ROWS]; /* SIZE_MAX: null */
    finch_text texts[BATCH_ROWS];
} batch;

static finch_status flush(batch *b, near_index *index, finch_error *err)
{
    size_t at = 0;
    for (size_t i = 0; i < b->n; i++) {
        bool null = b->size[i] == SIZE_MAX;
        b->texts[i] = null ? (finch_text){NULL, 0} : (finch_text){b->bytes.at + at, b->size[i]};
        at += null ? 0 : b->size[i];
    }
    FINCH_TRY(near_add(index, b->texts, b->n, err));
    b->n = 0;
    str_clear(&b->bytes);
    return FINCH_OK;
}

/* The next text of the row's file. Rows of no file (late copies that were dropped) are nulls, which are near to nothing. */
static finch_status add_text(const split_files *files, back *backs, uint16_t part, batch *b, finch_error *err)
{
    finch_text text;
    size_t at = file_of(files, part), i = b->n++;
    b->size[i] = SIZE_MAX;
    if (at == files->n) return FINCH_OK;
    if (!data_cursor_step(&backs[at].cursor)) {
        FINCH_TRY(data_stream_check(&backs[at].result, err));
        return finch_fail(err, FINCH_E_FAILED, "%s has fewer rows than were written to it; nothing was kept",
                          files->at[at].path.at);
    }
    if (!data_cursor_text(&backs[at].cursor, 0, &text)) return FINCH_OK;
    b->size[i] = text.size_bytes;
    FINCH_TRY(str_reserve(&b->bytes, 1, err)); /* so that the bytes have a place even where all texts are empty */
    return str_add(&b->bytes, text.at, text.size_bytes, err);
}

/* Texts in the order of the input. */
static finch_status add_texts(const split_files *files, back *backs, const uint16_t *part_of, uint32_t n_rows,
                              near_index *index, const progress *watch, finch_error *err)
{
    batch *b;
    finch_status st = FINCH_OK;
    FINCH_TRY(MEM_NEW(&b, 1, err));
    for (uint32_t row = 0; st == FINCH_OK && row < n_rows; row++) {
        st = add_text(files, backs, part_of[row], b, err);
        if (st == FINCH_OK && (b->n == BATCH_ROWS || row + 1 == n_rows)) st = flush(b, index, err);
        if (st == FINCH_OK && row % REPORT_ROWS == 0 && !progress_report(watch, row, n_rows, NULL))
            st = finch_fail(err, FINCH_E_CANCELLED, "interrupted");
    }
    str_free(&b->bytes);
    mem_free(b);
    return st;
}

/* Clusters with rows in two parts: of each cluster the part of its first row is noted; a row elsewhere is a leak, counted
 * once a cluster. */
static uint64_t count_leaks(const uint32_t *cluster, const uint16_t *part_of, uint32_t n_rows, bool *leaks)
{
    uint64_t n = 0;
    for (uint32_t row = 0; row < n_rows; row++) {
        uint32_t first = cluster[row];
        if (part_of[row] == SPLIT_LATE || part_of[row] == part_of[first] || leaks[first]) continue;
        leaks[first] = true;
        n++;
    }
    return n;
}

static finch_status check(const split_files *files, back *backs, const uint16_t *part_of, uint32_t n_rows,
                          const progress *watch, uint64_t *n_leaks, finch_error *err)
{
    near_index *index = NULL;
    uint32_t *cluster = NULL;
    bool *leaks = NULL;
    finch_status st;
    FINCH_GO(done, st, near_open(NEAR_THRESHOLD, &index, err));
    FINCH_GO(done, st, MEM_NEW(&cluster, n_rows, err));
    FINCH_GO(done, st, MEM_NEW(&leaks, n_rows, err));
    FINCH_GO(done, st, add_texts(files, backs, part_of, n_rows, index, watch, err));
    FINCH_GO(done, st, near_clusters(index, watch, cluster, NULL, err));
    *n_leaks = count_leaks(cluster, part_of, n_rows, leaks);
done:
    near_close(index);
    mem_free(cluster);
    mem_free(leaks);
    return st;
}

finch_status split_files_check(data_database *db, const split_files *files, const data_names *columns, const char *text,
                               const uint16_t *part_of, uint32_t n_rows, const progress *watch, uint64_t *n_leaks,
                               finch_error *err)
{
    back *backs;
    finch_status st = FINCH_OK;
    *n_leaks = 0;
    FINCH_TRY(MEM_NEW(&backs, files->n, err));
    for (size_t i = 0; st == FINCH_OK && i < files->n; i++)
        if (files->at[i].is_checked) st = open_back(db, &files->at[i], columns, text, &backs[i], err);
    if (st == FINCH_OK) st = check(files, backs, part_of, n_rows, watch, n_leaks, err);
    for (size_t i = 0; i < files->n; i++) close_back(&backs[i]);
    mem_free(backs);
    return st;
}
