#include "data/prepare.h"

#include "base/clock.h"
#include "data/prepare_job.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* Of the memory limit: what the process itself takes, and what DuckDB gets at least. With less its threads wait for each
 * other where rows are put in order again; more makes nothing faster, it only lets finished row groups wait. */
enum { OWN_BYTES = 96 << 20, DATABASE_LEAST_BYTES = 256 << 20 };

const char *prepare_stage_name(prepare_stage stage)
{
    static const char *const names[] = {
#define PREPARE_STAGE_NAME(name, word, help) word,
        PREPARE_STAGE_LIST(PREPARE_STAGE_NAME)
#undef PREPARE_STAGE_NAME
    };
    return names[stage];
}

static const struct {
    const char *name;
    prepare_stage stage;
} reasons[PREPARE_REASONS] = {
    [PREPARE_KEPT] = {"kept", PREPARE_STAGES},
    [PREPARE_NO_TEXT] = {"no_text", PREPARE_SHORT},
    [PREPARE_TOO_SHORT] = {"short", PREPARE_SHORT},
    [PREPARE_NOT_ENGLISH] = {"language", PREPARE_LANGUAGE},
    [PREPARE_DUPLICATE] = {"duplicate", PREPARE_DUPLICATES},
    [PREPARE_NEAR_DUPLICATE] = {"near_duplicate", PREPARE_NEAR_DUPLICATES},
    [PREPARE_FLOOD] = {"flood", PREPARE_FLOODS},
};

const char *prepare_reason_name(prepare_reason reason) { return reasons[reason].name; }
prepare_stage prepare_reason_stage(prepare_reason reason) { return reasons[reason].stage; }

void prepare_result_free(prepare_result *result)
{
    data_names_free(&result->columns);
    data_names_free(&result->types);
    *result = (prepare_result){0};
}

finch_status prepare_set(data_database *db, const char *setting, uint64_t value, finch_error *err)
{
    str sql = {0};
    finch_status st = str_add_text(&sql, "SET ", err);
    if (st == FINCH_OK) st = str_add_format(&sql, err, setting, value);
    if (st == FINCH_OK) st = data_query(db, sql.at, NULL, err);
    str_free(&sql);
    return st;
}

static void close_job(prepare_job *j)
{
    data_output_close(&j->kept);
    data_output_close(&j->dropped);
    data_relation_close(j->input);
    data_database_close(&j->db); /* before what its functions work on */
    prepare_row_close(&j->row);
    prepare_verdicts_close(&j->verdicts);
    data_spool_close(&j->rows);
    data_spool_close(&j->standard_input);
    mem_free(j->inputs);
    str_free(&j->source);
}

void prepare_phase(const prepare_job *j, const char *name, const char *unit)
{
    if (j->options->phase != NULL) j->options->phase(j->options->phase_context, name, unit);
}

/* ---- the database's share ---- */

static finch_status set_database(prepare_job *j, uint64_t bytes, finch_error *err)
{
    j->database_bytes = bytes;
    return prepare_set(&j->db, "memory_limit = '%" PRIu64 "B'", bytes, err);
}

static finch_status fail_limit(uint64_t limit, finch_error *err)
{
    finch_error why = {0};
    if (err != NULL) why = *err;
    if (strstr(why.message, "--memory-limit") != NULL) return FINCH_E_MEMORY;
    return finch_fail(err, FINCH_E_MEMORY,
                      "a memory limit of %" PRIu64 " MiB is too little for rows like these (%.200s); raise "
                      "--memory-limit or leave it out",
                      limit >> 20, why.message);
}

/* Runs a step with what the limit leaves the database beside taken_bytes of ours. Without a limit of the user's it begins
 * with the least, and begins again with the rest of half the machine's memory where that was too little. */
static finch_status run_step(prepare_job *j, uint64_t taken_bytes, finch_status (*step)(prepare_job *, finch_error *),
                             finch_error *err)
{
    const prepare_options *o = j->options;
    uint64_t limit = o->memory_limit_bytes, others = OWN_BYTES + taken_bytes;
    if (limit < others + DATABASE_LEAST_BYTES)
        return finch_fail(err, FINCH_E_MEMORY,
                          "a memory limit of %" PRIu64 " MiB is too little for this table: %" PRIu64
                          " MiB are needed at least; raise --memory-limit",
                          limit >> 20, (others + DATABASE_LEAST_BYTES) >> 20);
    bool once = o->memory_limit_given || strcmp(o->output, "-") == 0; /* what went down a pipe can not be taken back */
    FINCH_TRY(set_database(j, once ? limit - others : DATABASE_LEAST_BYTES, err));
    finch_status st = step(j, err);
    if (st == FINCH_E_MEMORY && once) return fail_limit(limit, err);
    if (st != FINCH_E_MEMORY) return st;
    j->result->steps_repeated++;
    FINCH_TRY(set_database(j, limit - others, err));
    return step(j, err);
}

/* ---- inputs ---- */

static finch_status spool_standard_input(prepare_job *j, finch_error *err)
{
    char piece[1 << 15];
    FINCH_TRY(data_spool_open(&j->standard_input, err));
    for (;;) {
        ssize_t got = read(STDIN_FILENO, piece, sizeof piece);
        if (got < 0 && errno != EINTR) return finch_fail(err, FINCH_E_IO, "standard input could not be read");
        if (got < 0 && !progress_report(j->options->watch, 0, 0, NULL))
            return finch_fail(err, FINCH_E_CANCELLED, "interrupted");
        if (got == 0) return data_spool_flush(&j->standard_input, err);
        if (got > 0) FINCH_TRY(data_spool_add(&j->standard_input, piece, (size_t)got, err));
    }
}

static finch_status name_inputs(prepare_job *j, data_source *source, finch_error *err)
{
    *source = j->options->source;
    FINCH_TRY(MEM_NEW(&j->inputs, source->n_inputs, err));
    for (size_t i = 0; i < source->n_inputs; i++) {
        j->inputs[i] = source->inputs[i];
        if (strcmp(source->inputs[i], "-") != 0) continue;
        if (j->standard_input.buffer != NULL) return finch_fail(err, FINCH_E_USAGE, "--input names - twice");
        FINCH_TRY(spool_standard_input(j, err));
        j->inputs[i] = j->standard_input.path;
    }
    source->inputs = j->inputs;
    return FINCH_OK;
}

/* The input's name of a column that is called `name` after renaming. */
static const char *name_in_input(const prepare_options *o, const char *name)
{
    for (size_t i = 0; i < o->n_renamings; i++)
        if (strcmp(o->renamings[i].to, name) == 0) return o->renamings[i].from;
    return name;
}

static const char *renamed(const prepare_options *o, const char *name)
{
    for (size_t i = 0; i < o->n_renamings; i++)
        if (strcmp(o->renamings[i].from, name) == 0) return o->renamings[i].to;
    return name;
}

/* The columns' names as they go out. The texts as they came make room for the clean ones: `text` goes out as `body`. */
static finch_status name_columns(prepare_job *j, finch_error *err)
{
    const data_names *there = data_relation_columns(j->input), *types = data_relation_types(j->input);
    data_names *out = &j->result->columns;
    for (size_t i = 0; i < there->n; i++) {
        const char *name = renamed(j->options, there->at[i]);
        if (i == j->text && strcasecmp(name, "text") == 0) name = "body";
        if (data_names_find_any_case(out, name) < out->n)
            return finch_fail(err, FINCH_E_USAGE, "two columns would be called \"%s\"; rename one with --map NEW=%s", name,
                              there->at[i]);
        FINCH_TRY(data_names_add(out, name, strlen(name), err));
        FINCH_TRY(data_names_add(&j->result->types, types->at[i], strlen(types->at[i]), err));
    }
    static const char *const added[] = {"text", "tickers", "cluster_id", "row", "dropped_reason", "kept_row"};
    for (size_t i = 0; i < sizeof added / sizeof added[0]; i++)
        if (data_names_find_any_case(out, added[i]) < out->n)
            return finch_fail(err, FINCH_E_USAGE,
                              "the input has a column \"%s\", which is also added; rename it with --map input_%s=%s",
                              out->at[data_names_find_any_case(out, added[i])], added[i],
                              there->at[data_names_find_any_case(out, added[i])]);
    return FINCH_OK;
}

static finch_status find_column(const prepare_job *j, const char *name, bool needed, const char *option, size_t *out,
                                finch_error *err)
{
    const char *there = name_in_input(j->options, name);
    *out = data_names_find(data_relation_columns(j->input), there);
    return needed ? data_relation_need(j->input, there, option, err) : FINCH_OK;
}

static finch_status find_columns(prepare_job *j, finch_error *err)
{
    const prepare_options *o = j->options;
    for (size_t i = 0; i < o->n_renamings; i++) FINCH_TRY(data_relation_need(j->input, o->renamings[i].from, NULL, err));
    FINCH_TRY(find_column(j, o->text_column, true, "--text-column", &j->text, err));
    FINCH_TRY(find_column(j, o->author_column, o->author_needed, "--author-column", &j->author, err));
    FINCH_TRY(find_column(j, o->time_column, o->time_needed, "--time-column", &j->time, err));
    FINCH_TRY(data_relation_need_text(j->input, data_relation_columns(j->input)->at[j->text], "--text-column", err));
    return name_columns(j, err);
}

static finch_status open_job(prepare_job *j, finch_error *err)
{
    const prepare_options *o = j->options;
    data_source source;
    FINCH_TRY(data_output_open(o->output, &j->kept, err));
    FINCH_TRY(data_output_open(o->dropped, &j->dropped, err));
    FINCH_TRY(data_database_open(&j->db, err));
    FINCH_TRY(prepare_set(&j->db, "threads = %" PRIu64, o->n_threads, err));
    prepare_phase(j, "looking", "rows");
    FINCH_TRY(name_inputs(j, &source, err));
    data_relation_options options = {j->kept.kind.format != DATA_CSV, name_in_input(o, o->text_column), o->watch};
    FINCH_TRY(data_relation_open(&j->db, &source, &options, &j->input, err));
    FINCH_TRY(find_columns(j, err));
    FINCH_TRY(prepare_row_open(o, &j->row, err));
    return prepare_row_register(&j->db, &j->row, err);
}

/* ---- 1: every row into the temporary file ---- */

/* Parquet has no whole numbers past 64 bits: they travel as text. */
static bool travels_as_text(const char *type) { return strcmp(type, "HUGEINT") == 0 || strcmp(type, "UHUGEINT") == 0; }

static finch_status add_author(const prepare_job *j, str *sql, finch_error *err)
{
    if (j->author == data_relation_columns(j->input)->n) return str_add_text(sql, "NULL", err);
    return str_add_format(sql, err, "CAST(c%zu AS VARCHAR)", j->author);
}

finch_status prepare_input_query(const prepare_job *j, str *sql, finch_error *err)
{
    const data_names *there = data_relation_columns(j->input), *types = data_relation_types(j->input);
    FINCH_TRY(str_add_text(sql, "(SELECT ", err));
    for (size_t i = 0; i < there->n; i++) {
        bool text = travels_as_text(types->at[i]);
        FINCH_TRY(str_add_text(sql, i > 0 ? ", " : "", err));
        if (text) FINCH_TRY(str_add_text(sql, "CAST(", err));
        FINCH_TRY(data_sql_name(sql, there->at[i], err));
        FINCH_TRY(str_add_format(sql, err, "%s AS c%zu", text ? " AS VARCHAR)" : "", i));
    }
    return str_add_format(sql, err, " FROM (%s))", data_relation_sql(j->input));
}

static finch_status rows_query(const prepare_job *j, str *sql, finch_error *err)
{
    FINCH_TRY(str_add_text(sql, "SELECT ", err));
    for (size_t i = 0; i < data_relation_columns(j->input)->n; i++) FINCH_TRY(str_add_format(sql, err, "c%zu, ", i));
    FINCH_TRY(str_add_format(
        sql, err,
        "r.text AS clean, r.tickers AS tickers, r.reason AS reason, r.low AS low, r.high AS high, r.flood AS flood, "
        "r.language AS language FROM (SELECT *, " PREPARE_ROW_FUNCTION "(CAST(c%zu AS VARCHAR), ",
        j->text));
    FINCH_TRY(add_author(j, sql, err));
    FINCH_TRY(str_add_text(sql, ") AS r FROM ", err));
    FINCH_TRY(prepare_input_query(j, sql, err));
    return str_add_text(sql, ")", err);
}

finch_status prepare_temporary_query(const prepare_job *j, const char *query, str *sql, finch_error *err)
{
    return str_add_format(
        sql, err,
        "COPY (%s) TO '%s' (USE_TMP_FILE false, FORMAT parquet, COMPRESSION uncompressed, DICTIONARY_SIZE_LIMIT 1, "
        "ROW_GROUP_SIZE 10240)",
        query, j->rows.path);
}

finch_status prepare_check_rows(const prepare_job *j, uint64_t n, finch_error *err)
{
    if (j->row.done != n)
        return finch_fail(err, FINCH_E_FAILED,
                          "%" PRIu64 " rows were cleaned and %" PRIu64 " came; please report this input", j->row.done, n);
    return data_relation_check_rows(j->input, n, err);
}

/* Where columns have types that do not stream: DuckDB's threads clean. */
static finch_status read_by_query(prepare_job *j, uint64_t *n, finch_error *err)
{
    str rows = {0}, sql = {0};
    data_query_watch watch = {j->options->watch, &j->row.done, data_relation_rows(j->input)};
    finch_status st = rows_query(j, &rows, err);
    if (st == FINCH_OK) st = prepare_temporary_query(j, rows.at, &sql, err);
    if (st == FINCH_OK) st = data_query_count_watched(&j->db, sql.at, &watch, n, err);
    str_free(&rows);
    str_free(&sql);
    return st;
}

static finch_status read_rows(prepare_job *j, finch_error *err)
{
    uint64_t n = 0;
    prepare_phase(j, "cleaning", "rows");
    data_spool_close(&j->rows);
    str_clear(&j->source);
    prepare_row_restart(&j->row);
    FINCH_TRY(data_spool_open(&j->rows, err));
    finch_status st = prepare_types_stream(j) ? prepare_stream_rows(j, &n, err) : read_by_query(j, &n, err);
    if (j->row.error.status != FINCH_OK) { /* our own words rather than DuckDB's about them */
        if (err != NULL) *err = j->row.error;
        return j->row.error.status;
    }
    FINCH_TRY(st);
    FINCH_TRY(prepare_check_rows(j, n, err));
    return str_add_format(&j->source, err,
                          "(SELECT *, finch_reason(n) AS verdict, finch_cluster(n) AS cluster, finch_kept(n) AS first FROM "
                          "(SELECT *, file_row_number AS n FROM read_parquet('%s', file_row_number=true, "
                          "hive_partitioning=false)))",
                          j->rows.path);
}

/* ---- 2: a verdict for every row ---- */

enum { JUDGED_CHUNKS = 8 }; /* that are judged at once: the team has more to do at a time */

void prepare_read_keys(duckdb_data_chunk chunk, const idx_t *columns, prepare_keys *keys)
{
    void *data[PREPARE_KEY_COLUMNS];
    uint64_t *valid = NULL;
    idx_t n = duckdb_data_chunk_get_size(chunk);
    for (idx_t i = 0; i < PREPARE_KEY_COLUMNS; i++) {
        duckdb_vector vector = duckdb_data_chunk_get_vector(chunk, columns[i]);
        data[i] = duckdb_vector_get_data(vector);
        if (i == 0) valid = duckdb_vector_get_validity(vector);
    }
    for (idx_t row = 0; row < n; row++) {
        prepare_keys *k = &keys[row];
        *k = (prepare_keys){.reason = ((const uint8_t *)data[1])[row],
                            .key = {((const uint64_t *)data[2])[row], ((const uint64_t *)data[3])[row]},
                            .flood = ((const uint64_t *)data[4])[row]};
        if (valid == NULL || duckdb_validity_row_is_valid(valid, row)) k->text = data_vector_text(data[0], row);
    }
}

/* The next chunks' rows, up to JUDGED_CHUNKS; 0 behind the last. */
static finch_status judge_some(prepare_job *j, duckdb_result *result, prepare_keys *keys, size_t *n, finch_error *err)
{
    static const idx_t columns[PREPARE_KEY_COLUMNS] = {0, 1, 2, 3, 4};
    duckdb_data_chunk chunks[JUDGED_CHUNKS];
    size_t n_chunks = 0;
    *n = 0;
    while (n_chunks < JUDGED_CHUNKS && (chunks[n_chunks] = duckdb_fetch_chunk(*result)) != NULL) {
        prepare_read_keys(chunks[n_chunks], columns, keys + *n);
        *n += (size_t)duckdb_data_chunk_get_size(chunks[n_chunks++]);
    }
    finch_status st = prepare_verdicts_add(&j->verdicts, keys, *n, err);
    for (size_t i = 0; i < n_chunks; i++) duckdb_destroy_data_chunk(&chunks[i]); /* the keys' texts lie in them */
    return st;
}

static finch_status judge_all(prepare_job *j, duckdb_result *result, finch_error *err)
{
    prepare_keys *keys;
    finch_status st = FINCH_OK;
    FINCH_TRY(MEM_NEW(&keys, JUDGED_CHUNKS * duckdb_vector_size(), err));
    for (size_t n = 1; st == FINCH_OK && n > 0;) {
        st = judge_some(j, result, keys, &n, err);
        if (st == FINCH_OK && !progress_report(j->options->watch, j->verdicts.n, j->row.done, NULL))
            st = finch_fail(err, FINCH_E_CANCELLED, "interrupted");
    }
    mem_free(keys);
    if (st == FINCH_OK) st = data_stream_check(result, err);
    if (st == FINCH_OK && j->verdicts.n != j->row.done)
        st = finch_fail(err, FINCH_E_FAILED, "%zu of %" PRIu64 " rows came back; please report this input", j->verdicts.n,
                        j->row.done);
    return st;
}

static finch_status judge_rows(prepare_job *j, finch_error *err)
{
    const prepare_options *o = j->options;
    str sql = {0};
    duckdb_result result;
    uint64_t n = j->row.done, arrays = prepare_verdicts_bytes(o, n);
    bool texts = !o->off[PREPARE_NEAR_DUPLICATES];
    prepare_phase(j, "comparing", "rows");
    prepare_verdicts_close(&j->verdicts);
    uint64_t left = o->memory_limit_bytes - OWN_BYTES - DATABASE_LEAST_BYTES - arrays;
    FINCH_TRY(prepare_verdicts_open(o, n, (size_t)left, &j->verdicts, err));
    finch_status st = str_add_format(&sql, err, "SELECT %s, reason, low, high, flood FROM read_parquet('%s')",
                                     texts ? "clean" : "CASE WHEN low <> 0 OR high <> 0 THEN '' END", j->rows.path);
    if (st == FINCH_OK) st = data_query_stream(&j->db, sql.at, &result, err);
    str_free(&sql);
    FINCH_TRY(st);
    st = judge_all(j, &result, err);
    duckdb_destroy_result(&result);
    FINCH_TRY(st);
    prepare_phase(j, "clustering", "bands");
    return prepare_verdicts_finish(&j->verdicts, o->watch, err);
}

/* ---- 3: two tables ---- */

finch_status prepare_add_columns(const prepare_job *j, str *sql, finch_error *err)
{
    const data_names *names = &j->result->columns, *types = &j->result->types;
    for (size_t i = 0; i < names->n; i++) {
        bool text = travels_as_text(types->at[i]);
        FINCH_TRY(str_add_format(sql, err, text ? "CAST(c%zu AS %s) AS " : "c%zu AS ", i, types->at[i]));
        FINCH_TRY(data_sql_name(sql, names->at[i], err));
        FINCH_TRY(str_add_text(sql, ", ", err));
    }
    return FINCH_OK;
}

/* A list where the format has lists. */
static const char *tickers_of(const data_output *o)
{
    if (o->kind.format == DATA_CSV) return "tickers";
    return "CASE WHEN tickers IS NULL THEN CAST([] AS VARCHAR[]) ELSE string_split(tickers, '|') END AS tickers";
}

finch_status prepare_write_table(const prepare_job *j, data_database *db, const char *source, const data_output *to,
                                 bool kept, const data_query_watch *watch, uint64_t *n, finch_error *err)
{
    str sql = {0};
    finch_status st = str_add_text(&sql, "SELECT ", err);
    if (st == FINCH_OK && !kept) st = str_add_text(&sql, "n + 1 AS \"row\", ", err);
    if (st == FINCH_OK) st = prepare_add_columns(j, &sql, err);
    if (st == FINCH_OK) st = str_add_format(&sql, err, "clean AS text, %s, ", tickers_of(to));
    if (st == FINCH_OK && kept) st = str_add_text(&sql, "cluster + 1 AS cluster_id", err);
    if (st == FINCH_OK && !kept)
        st = str_add_format(&sql, err,
                            "CASE WHEN verdict >= %d THEN cluster + 1 END AS cluster_id, "
                            "CASE WHEN verdict >= %d THEN first + 1 END AS kept_row, CASE verdict",
                            PREPARE_DUPLICATE, PREPARE_DUPLICATE);
    for (int reason = PREPARE_KEPT + 1; st == FINCH_OK && !kept && reason < PREPARE_REASONS; reason++)
        st = str_add_format(&sql, err, " WHEN %d THEN '%s'", reason, prepare_reason_name((prepare_reason)reason));
    if (st == FINCH_OK && !kept) st = str_add_text(&sql, " END AS dropped_reason", err);
    if (st == FINCH_OK) st = str_add_format(&sql, err, " FROM %s WHERE verdict %s 0", source, kept ? "=" : ">");
    if (st == FINCH_OK) st = data_output_copy_watched(db, to, sql.at, watch, n, err);
    str_free(&sql);
    return st;
}

void prepare_count(prepare_job *j)
{
    prepare_counts *c = &j->result->counts;
    const uint64_t *changed = j->row.changed;
    c->rows = j->row.done;
    c->rejected = data_relation_rejects(j->input)->n;
    for (size_t i = 0; i < j->verdicts.n; i++) c->by_reason[j->verdicts.reason[i]]++;
    static const struct {
        unsigned bit;
        prepare_stage stage;
    } stages[] = {{TEXT_CLEAN_REPAIR, PREPARE_REPAIR},
                  {TEXT_CLEAN_ENTITIES, PREPARE_ENTITIES},
                  {TEXT_CLEAN_URLS, PREPARE_URLS},
                  {TEXT_CLEAN_USERS, PREPARE_USERS}};
    for (size_t i = 0; i < PREPARE_CHANGE_BITS; i++) {
        for (size_t k = 0; k < sizeof stages / sizeof stages[0]; k++)
            if (stages[k].bit == 1u << i) c->changed[stages[k].stage] = changed[i];
        if (1u << i == TEXT_CLEAN_SPACES) c->tidied = changed[i];
        if (1u << i == TEXT_CLEAN_UTF8) c->ill_formed = changed[i];
    }
    c->changed[PREPARE_TICKERS] = j->row.with_ticker;
    c->near_judged = j->verdicts.near_judged;
}

finch_status prepare_check_tables(const prepare_job *j, finch_error *err)
{
    const prepare_counts *c = &j->result->counts;
    if (c->kept + c->dropped != c->rows || c->kept != c->by_reason[PREPARE_KEPT])
        return finch_fail(err, FINCH_E_FAILED,
                          "%" PRIu64 " rows came and %" PRIu64 " + %" PRIu64
                          " were written; nothing was kept. Please report this input",
                          c->rows, c->kept, c->dropped);
    return FINCH_OK;
}

static finch_status write_tables(prepare_job *j, finch_error *err)
{
    prepare_counts *c = &j->result->counts;
    data_query_watch watch = {j->options->watch, NULL, 0};
    prepare_phase(j, "writing", "rows");
    FINCH_TRY(prepare_write_table(j, &j->db, j->source.at, &j->dropped, false, &watch, &c->dropped, err));
    FINCH_TRY(prepare_write_table(j, &j->db, j->source.at, &j->kept, true, &watch, &c->kept, err));
    return prepare_check_tables(j, err);
}

/* The table of kept rows comes last: where it is, everything is. */
static finch_status commit(prepare_job *j, finch_error *err)
{
    const data_rejects *rejects = data_relation_rejects(j->input);
    if (rejects->n > 0) FINCH_TRY(data_rejects_write(rejects, j->options->rejects, err));
    FINCH_TRY(prepare_report_write(j, err));
    FINCH_TRY(data_output_commit(&j->dropped, err));
    return data_output_commit(&j->kept, err);
}

static finch_status run_in_two_passes(prepare_job *j, finch_error *err)
{
    double begin = clock_seconds();
    prepare_result *out = j->result;
    FINCH_TRY(run_step(j, 0, read_rows, err));
    out->seconds_reading = clock_seconds() - begin;
    FINCH_TRY(run_step(j, prepare_verdicts_bytes(j->options, j->row.done), judge_rows, err));
    FINCH_TRY(prepare_verdicts_register(&j->db, &j->verdicts, err));
    out->seconds_judging = clock_seconds() - begin - out->seconds_reading;
    prepare_count(j);
    return run_step(j, PREPARE_VERDICT_BYTES * j->row.done, write_tables, err);
}

static finch_status run_steps(prepare_job *j, finch_error *err)
{
    double begin = clock_seconds();
    prepare_result *out = j->result;
    if (prepare_streams(j))
        FINCH_TRY(run_step(j, prepare_verdicts_bytes(j->options, data_relation_rows(j->input)), prepare_stream, err));
    else FINCH_TRY(run_in_two_passes(j, err));
    FINCH_TRY(commit(j, err));
    out->seconds_writing = clock_seconds() - begin - out->seconds_reading - out->seconds_judging;
    return FINCH_OK;
}

finch_status data_prepare(const prepare_options *options, prepare_result *out, finch_error *err)
{
    prepare_job j = {.options = options, .result = out};
    *out = (prepare_result){0};
    double begin = clock_seconds();
    finch_status st = open_job(&j, err);
    out->seconds_looking = clock_seconds() - begin;
    if (st == FINCH_OK) st = run_steps(&j, err);
    close_job(&j);
    return st;
}
