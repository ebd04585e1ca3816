/* COPY (SELECT columns, s.label, s.label_reason FROM (SELECT *, finch_label_row(text) AS s FROM input)) TO output, where the
 * function asks the store once for each chunk of 2,048 rows. */
#include "label/export.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "data/output.h"
#include "data/relation.h"
#include "label/people.h"
#include "label/texts.h"
#include "label/values.h"

#include <stdlib.h>
#include <string.h>

#define ROW_FUNCTION "finch_label_row"

/* Between two looks at what is not settled yet: from, doubled, to. */
#define NEWS_SECONDS 0.1
#define NEWS_MOST_SECONDS 1.6

enum { TIME_BYTES = 24, TRIM_CHUNKS = 16, ROW_GROUP_ROWS = 8192 };

/* The added columns. Those from CONFIDENCE to TIME tell of the job's own label, BY_MODEL, also where people's counts. */
enum {
    LABEL,
    REASON,
    PLAIN_COLUMNS,
    CONFIDENCE = PLAIN_COLUMNS,
    VOTES,
    AGREEING,
    MODEL,
    PROMPT,
    REQUEST,
    TIME,
    SOURCE,
    BY_MODEL,
    PEOPLE,
    ALL_COLUMNS
};

static const struct {
    const char *name;
    duckdb_type type;
} added[ALL_COLUMNS] = {
    [LABEL] = {"label", DUCKDB_TYPE_VARCHAR},
    [REASON] = {"label_reason", DUCKDB_TYPE_VARCHAR},
    [CONFIDENCE] = {"label_confidence", DUCKDB_TYPE_DOUBLE},
    [VOTES] = {"label_votes", DUCKDB_TYPE_BIGINT},
    [AGREEING] = {"label_agreeing", DUCKDB_TYPE_BIGINT},
    [MODEL] = {"label_model", DUCKDB_TYPE_VARCHAR},
    [PROMPT] = {"label_prompt", DUCKDB_TYPE_VARCHAR},
    [REQUEST] = {"label_request", DUCKDB_TYPE_VARCHAR},
    [TIME] = {"label_time", DUCKDB_TYPE_VARCHAR},
    [SOURCE] = {"label_source", DUCKDB_TYPE_VARCHAR},
    [BY_MODEL] = {"label_by_model", DUCKDB_TYPE_VARCHAR},
    [PEOPLE] = {"label_people", DUCKDB_TYPE_VARCHAR},
};

static size_t count_added(const export_options *o) { return o->provenance ? ALL_COLUMNS : PLAIN_COLUMNS; }

/* What the store knows of one text, in the chunk's arena. */
typedef struct known_text {
    char hash[STORE_HASH_BYTES];
    labels_known known;
} known_text;

typedef struct row {
    text_kind kind;
    char hash[STORE_HASH_BYTES];
} row;

typedef struct exporting {
    store *s;
    const labels_job *job;
    const export_options *options;
    export_result *result;
    uint64_t n_total, n_chunks;
    arena memory;
    row rows[TEXTS_CHUNK_ROWS];
    known_text known[TEXTS_CHUNK_ROWS];
    size_t n_known, n_unsettled;
    bool waits;
    str scratch, people;
    finch_error error;
} exporting;

/* ---- asking the store ---- */

static finch_status keep_text(exporting *x, finch_text in, finch_text *out, finch_error *err)
{
    char *copy = NULL;
    FINCH_TRY(ARENA_NEW(&x->memory, &copy, in.size_bytes + 1, err));
    memcpy(copy, in.at, in.size_bytes);
    copy[in.size_bytes] = '\0';
    *out = (finch_text){copy, in.size_bytes};
    return FINCH_OK;
}

static finch_status keep_known(void *context, const labels_known *known, finch_error *err)
{
    exporting *x = context;
    if (x->waits && known->state != LABELS_SETTLED) { /* it is asked for again */
        x->n_unsettled++;
        return FINCH_OK;
    }
    if (x->n_known == TEXTS_CHUNK_ROWS || known->hash.size_bytes != STORE_HASH_BYTES - 1)
        return finch_fail(err, FINCH_E_FAILED, "the store gives more than it was asked for");
    known_text *k = &x->known[x->n_known++];
    k->known = *known;
    memcpy(k->hash, known->hash.at, known->hash.size_bytes);
    k->hash[known->hash.size_bytes] = '\0';
    FINCH_TRY(keep_text(x, known->reason, &k->known.reason, err));
    FINCH_TRY(keep_text(x, known->reviews, &k->known.reviews, err));
    FINCH_TRY(keep_text(x, known->model, &k->known.model, err));
    FINCH_TRY(keep_text(x, known->prompt, &k->known.prompt, err));
    return keep_text(x, known->request, &k->known.request, err);
}

static int by_hash(const void *a, const void *b)
{
    return strcmp(((const known_text *)a)->hash, ((const known_text *)b)->hash);
}

static known_text *find_known(exporting *x, const row *r)
{
    known_text wanted;
    if (r->kind != TEXT_ASKED) return NULL;
    memcpy(wanted.hash, r->hash, sizeof wanted.hash);
    return bsearch(&wanted, x->known, x->n_known, sizeof *x->known, by_hash);
}

/* Asks for all rows whose texts are not known. */
static finch_status ask_store(exporting *x, idx_t n, finch_error *err)
{
    json_t *list = json_array();
    bool made = list != NULL;
    for (idx_t i = 0; made && i < n; i++)
        if (x->rows[i].kind == TEXT_ASKED && find_known(x, &x->rows[i]) == NULL)
            made = json_array_append_new(list, json_string(x->rows[i].hash)) == 0;
    char *hashes = made ? json_dumps(list, JSON_COMPACT) : NULL;
    json_decref(list);
    if (hashes == NULL) return finch_fail(err, FINCH_E_MEMORY, "out of memory for a look into the store");
    finch_status st = labels_lookup(x->s, x->job, hashes, keep_known, x, err);
    free(hashes); /* jansson's own */
    if (st == FINCH_OK) qsort(x->known, x->n_known, sizeof *x->known, by_hash);
    return st;
}

static bool is_over(export_news *news)
{
    if (news == NULL) return true;
    pthread_mutex_lock(&news->lock);
    bool over = news->over;
    pthread_mutex_unlock(&news->lock);
    return over;
}

static void wait_for_news(export_news *news, double seconds)
{
    struct timespec until = clock_after(CLOCK_REALTIME, seconds);
    pthread_mutex_lock(&news->lock);
    if (!news->over) pthread_cond_timedwait(&news->changed, &news->lock, &until);
    pthread_mutex_unlock(&news->lock);
}

/* All that there will be to know of the chunk's texts. */
static finch_status know_texts(exporting *x, idx_t n, finch_error *err)
{
    double pause = NEWS_SECONDS;
    arena_reset(&x->memory);
    x->n_known = 0;
    do {
        x->waits = !is_over(x->options->news); /* before the store is asked: what is settled until then counts */
        x->n_unsettled = 0;
        FINCH_TRY(ask_store(x, n, err));
        if (x->n_unsettled == 0) return FINCH_OK;
        wait_for_news(x->options->news, pause);
        if (pause < NEWS_MOST_SECONDS) pause *= 2;
    } while (progress_report(x->options->watch, x->result->n_rows, x->n_total, NULL));
    return finch_fail(err, FINCH_E_CANCELLED, "interrupted");
}

void export_news_open(export_news *news)
{
    pthread_mutex_init(&news->lock, NULL); /* neither fails with default attributes on Linux */
    pthread_cond_init(&news->changed, NULL);
    news->over = false;
}

void export_news_close(export_news *news)
{
    pthread_cond_destroy(&news->changed);
    pthread_mutex_destroy(&news->lock);
}

void export_news_end(export_news *news)
{
    pthread_mutex_lock(&news->lock);
    news->over = true;
    pthread_cond_broadcast(&news->changed);
    pthread_mutex_unlock(&news->lock);
}

/* ---- writing the rows ---- */

static void set_null(duckdb_vector vector, idx_t at)
{
    duckdb_vector_ensure_validity_writable(vector);
    duckdb_validity_set_row_invalid(duckdb_vector_get_validity(vector), at);
}

static void set_text(duckdb_vector vector, idx_t at, finch_text text)
{
    if (text.size_bytes == 0) set_null(vector, at);
    else duckdb_vector_assign_string_element_len(vector, at, text.at, text.size_bytes);
}

static finch_text text_of(const char *text) { return (finch_text){text, strlen(text)}; }

static const char *reason_of(const row *r, const known_text *k)
{
    if (r->kind != TEXT_ASKED) return texts_reason(r->kind);
    if (k == NULL) return "the job does not hold this text";
    if (k->known.state != LABELS_SETTLED) return "not asked yet";
    return k->known.label == LABELS_NO_CLASS && k->known.reason.size_bytes == 0 ? "no reason was kept" : k->known.reason.at;
}

static void set_count(duckdb_vector vector, idx_t at, size_t n)
{
    ((int64_t *)duckdb_vector_get_data(vector))[at] = (int64_t)n;
}

/* What the job itself says; k is NULL where that is nothing. */
static void write_origin(duckdb_vector *columns, idx_t at, const known_text *k)
{
    char time[TIME_BYTES] = "";
    if (k == NULL) {
        for (size_t i = CONFIDENCE; i <= TIME; i++) set_null(columns[i], at);
        set_null(columns[BY_MODEL], at);
        return;
    }
    if (k->known.created_ms > 0) clock_format_utc(k->known.created_ms / 1000, time, sizeof time);
    if (k->known.confidence >= 0) ((double *)duckdb_vector_get_data(columns[CONFIDENCE]))[at] = k->known.confidence;
    else set_null(columns[CONFIDENCE], at);
    set_count(columns[VOTES], at, k->known.votes);
    set_count(columns[AGREEING], at, k->known.agreeing);
    set_text(columns[MODEL], at, k->known.model);
    set_text(columns[PROMPT], at, k->known.prompt);
    set_text(columns[REQUEST], at, k->known.request);
    set_text(columns[TIME], at, text_of(time));
    set_text(columns[BY_MODEL], at, text_of(values_class_name(k->known.label)));
}

static const char *source_of(const exporting *x, const known_text *k, bool by_people)
{
    return by_people ? "people" : k == NULL ? "" : k->known.judged ? "judge" : x->job->votes > 1 ? "votes" : "model";
}

static void count_row(export_result *result, int label, bool by_people)
{
    result->n_rows++;
    result->n_by_people += by_people;
    if (label == LABELS_NO_CLASS) result->n_unlabelled++;
    else {
        result->n_labelled++;
        result->classes[label]++;
    }
}

/* k is NULL where the store knows nothing of the row's text. */
static finch_status write_row(exporting *x, duckdb_vector *columns, idx_t at, const known_text *k, finch_error *err)
{
    people_say people;
    finch_text reviews = k != NULL ? k->known.reviews : text_of("");
    bool labelled = k != NULL && k->known.state == LABELS_SETTLED && k->known.label != LABELS_NO_CLASS;
    FINCH_TRY(people_read(reviews, &people, err));
    bool by_people = people.label != LABELS_NO_CLASS && x->options->people == EXPORT_PEOPLE_WIN;
    int label = by_people ? people.label : labelled ? k->known.label : LABELS_NO_CLASS;
    set_text(columns[LABEL], at, text_of(values_class_name(label)));
    set_text(columns[REASON], at, text_of(label == LABELS_NO_CLASS ? reason_of(&x->rows[at], k) : ""));
    count_row(x->result, label, by_people);
    if (!x->options->provenance) return FINCH_OK;
    str_clear(&x->people);
    FINCH_TRY(people_write(reviews, &x->people, err));
    write_origin(columns, at, labelled ? k : NULL);
    set_text(columns[SOURCE], at, text_of(source_of(x, labelled ? k : NULL, by_people)));
    set_text(columns[PEOPLE], at, (finch_text){x->people.at, x->people.size});
    return FINCH_OK;
}

static finch_status write_rows(exporting *x, duckdb_vector output, idx_t n, finch_error *err)
{
    duckdb_vector columns[ALL_COLUMNS];
    for (size_t i = 0; i < count_added(x->options); i++) columns[i] = duckdb_struct_vector_get_child(output, i);
    for (idx_t at = 0; at < n; at++) FINCH_TRY(write_row(x, columns, at, find_known(x, &x->rows[at]), err));
    return FINCH_OK;
}

static finch_status export_chunk(exporting *x, duckdb_vector input, duckdb_vector output, idx_t n, finch_error *err)
{
    const duckdb_string_t *strings = duckdb_vector_get_data(input);
    uint64_t *valid = duckdb_vector_get_validity(input);
    if (n > TEXTS_CHUNK_ROWS) return finch_fail(err, FINCH_E_FAILED, "DuckDB gave %llu rows at once", (unsigned long long)n);
    for (idx_t at = 0; at < n; at++) {
        bool there = valid == NULL || duckdb_validity_row_is_valid(valid, at);
        finch_text text, in = there ? data_vector_text(strings, at) : (finch_text){"", 0};
        FINCH_TRY(texts_prepare(in, &x->scratch, &text, x->rows[at].hash, &x->rows[at].kind, err));
    }
    if (x->n_chunks++ % TRIM_CHUNKS == 0) mem_trim_files();
    FINCH_TRY(know_texts(x, n, err));
    FINCH_TRY(write_rows(x, output, n, err));
    if (!progress_report(x->options->watch, x->result->n_rows, x->n_total, NULL))
        return finch_fail(err, FINCH_E_CANCELLED, "interrupted");
    return FINCH_OK;
}

static void run(duckdb_function_info info, duckdb_data_chunk chunk, duckdb_vector output)
{
    exporting *x = duckdb_scalar_function_get_extra_info(info);
    finch_status st = export_chunk(x, duckdb_data_chunk_get_vector(chunk, 0), output, duckdb_data_chunk_get_size(chunk),
                                   &x->error);
    if (st != FINCH_OK) duckdb_scalar_function_set_error(info, x->error.message);
}

/* ---- the query ---- */

static finch_status register_function(exporting *x, data_database *db, finch_error *err)
{
    duckdb_type types[ALL_COLUMNS];
    const char *names[ALL_COLUMNS];
    for (size_t i = 0; i < ALL_COLUMNS; i++) {
        names[i] = added[i].name;
        types[i] = added[i].type;
    }
    data_function function = {.name = ROW_FUNCTION,
                              .n_arguments = 1,
                              .argument = DUCKDB_TYPE_VARCHAR,
                              .result = data_struct_type(names, types, count_added(x->options)),
                              .run = run,
                              .context = x,
                              .counts = true};
    return data_function_register(db, &function, err);
}

static finch_status added_name(const export_options *o, size_t i, str *out, finch_error *err)
{
    str_clear(out);
    return str_add_format(out, err, "%s%s", o->prefix, added[i].name);
}

finch_status export_check_names(const export_options *o, const data_names *columns, finch_error *err)
{
    str name = {0};
    finch_status st = FINCH_OK;
    for (size_t i = 0; st == FINCH_OK && i < count_added(o); i++) {
        st = added_name(o, i, &name, err);
        if (st == FINCH_OK && data_names_find_any_case(columns, name.at) < columns->n)
            st = finch_fail(
                err, FINCH_E_USAGE,
                "the input has a column \"%s\" already; name the added ones otherwise, for example with --prefix llm_",
                name.at);
    }
    str_free(&name);
    return st;
}

static finch_status build_query(const export_options *o, const data_relation *input, str *sql, finch_error *err)
{
    const data_names *there = data_relation_columns(input);
    str name = {0};
    FINCH_TRY(export_check_names(o, there, err));
    finch_status st = str_add_text(sql, "SELECT ", err);
    for (size_t i = 0; st == FINCH_OK && i < there->n; i++) {
        st = data_sql_name(sql, there->at[i], err);
        if (st == FINCH_OK) st = str_add_text(sql, ", ", err);
    }
    for (size_t i = 0; st == FINCH_OK && i < count_added(o); i++) {
        st = added_name(o, i, &name, err);
        if (st == FINCH_OK) st = str_add_format(sql, err, "%s\"finch row\".%s AS ", i > 0 ? ", " : "", added[i].name);
        if (st == FINCH_OK) st = data_sql_name(sql, name.at, err);
    }
    str_free(&name);
    FINCH_TRY(st);
    FINCH_TRY(str_add_text(sql, " FROM (SELECT *, " ROW_FUNCTION "(CAST(", err));
    FINCH_TRY(data_sql_name(sql, o->text_column, err));
    return str_add_format(sql, err, " AS VARCHAR)) AS \"finch row\" FROM (%s))", data_relation_sql(input));
}

static finch_status write_output(exporting *x, data_database *db, const data_relation *input, data_output *output,
                                 finch_error *err)
{
    str sql = {0};
    uint64_t n_written = 0;
    x->n_total = data_relation_rows(input);
    finch_status st = build_query(x->options, input, &sql, err);
    if (st == FINCH_OK) st = register_function(x, db, err);
    if (st == FINCH_OK) st = data_output_copy(db, output, sql.at, &n_written, err);
    str_free(&sql);
    if (x->error.status != FINCH_OK) { /* our own words rather than DuckDB's about them */
        if (err != NULL) *err = x->error;
        return x->error.status;
    }
    FINCH_TRY(st);
    if (n_written != x->result->n_rows)
        return finch_fail(err, FINCH_E_FAILED,
                          "%llu rows were looked up and %llu written; nothing was kept. Please report this input",
                          (unsigned long long)x->result->n_rows, (unsigned long long)n_written);
    FINCH_TRY(data_relation_check_rows(input, n_written, err));
    return data_output_commit(output, err);
}

finch_status export_check(const char *output, finch_error *err)
{
    data_output probe = {0};
    if (strcmp(output, "-") != 0) FINCH_TRY(file_check_output(output, err));
    finch_status st = data_output_open(output, &probe, err);
    data_output_close(&probe);
    return st;
}

finch_status export_table(store *s, const labels_job *job, const export_options *options, export_result *out,
                          finch_error *err)
{
    data_database db = {0};
    data_relation *input = NULL;
    data_output output = {0};
    exporting *x = NULL;
    *out = (export_result){0};
    mem_trim_files();
    finch_status st = MEM_NEW(&x, 1, err);
    if (st == FINCH_OK) {
        x->s = s;
        x->job = job;
        x->options = options;
        x->result = out;
        arena_init(&x->memory);
        st = data_output_open(options->output, &output, err);
    }
    output.row_group_rows = ROW_GROUP_ROWS;
    if (st == FINCH_OK) st = data_database_open(&db, err);
    bool typed = output.kind.format != DATA_CSV; /* CSV to CSV keeps every byte of a value */
    if (st == FINCH_OK)
        st = data_relation_open(&db, &options->source, &(data_relation_options){typed, options->text_column, options->watch},
                                &input, err);
    if (st == FINCH_OK) st = data_relation_need(input, options->text_column, "--text-column", err);
    if (st == FINCH_OK) st = write_output(x, &db, input, &output, err);
    data_output_close(&output);
    data_relation_close(input);
    data_database_close(&db); /* before what its function works on */
    if (x != NULL) {
        arena_free(&x->memory);
        str_free(&x->scratch);
        str_free(&x->people);
    }
    mem_free(x);
    return st;
}
