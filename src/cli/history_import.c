/* One query gives whole numbers and texts for every row, whatever the table's types; batches of rows go into the store. */
#include "cli/history.h"

#include "base/arena.h"
#include "data/relation.h"
#include "text/ticker.h"

#include <stdio.h>
#include <string.h>

enum {
    BATCH = 10000,
    COLUMN_TEXT = 0,
    COLUMN_TIME,
    COLUMN_TICKERS,
    COLUMN_LABEL,
    COLUMN_SCORE,
    COLUMN_REACH,
    COLUMN_REASON,
    COLUMN_P0,
    COLUMNS = COLUMN_P0 + HISTORY_CLASSES
};

typedef struct import {
    const history_import_options *o;
    store *store;
    data_database db;
    data_relation *relation;
    arena arena; /* of a batch */
    history_prediction *batch; /* [BATCH] */
    size_t n;
    uint64_t first_row; /* of the batch */
    str identity;
    history_imported *out;
} import;

/* ---- the query ---- */

static bool has(const import *x, const char *column)
{
    const data_names *columns = data_relation_columns(x->relation);
    return data_names_find(columns, column) < columns->n;
}

static bool is_list(const import *x, const char *column)
{
    const char *type = data_relation_types(x->relation)->at[data_names_find(data_relation_columns(x->relation), column)];
    size_t n = strlen(type);
    return n >= 2 && strcmp(type + n - 2, "[]") == 0;
}

/* before "column" after; otherwise where there is no such column. */
static finch_status add_column(const import *x, const char *column, const char *before, const char *after,
                               const char *otherwise, str *sql, finch_error *err)
{
    if (!has(x, column)) return str_add_text(sql, otherwise, err);
    FINCH_TRY(str_add_text(sql, before, err));
    FINCH_TRY(data_sql_name(sql, column, err));
    return str_add_text(sql, after, err);
}

/* Unix seconds or milliseconds, a date, a time stamp, or Twitter's own created_at, as milliseconds. */
static finch_status add_time(const char *column, str *sql, finch_error *err)
{
    str name = {0};
    finch_status st = data_sql_name(&name, column, err);
    if (st == FINCH_OK)
        st = str_add_format(
            sql, err,
            "CAST(coalesce(CASE WHEN TRY_CAST(CAST(%s AS VARCHAR) AS DOUBLE) < 1e11 THEN round(1000 * "
            "TRY_CAST(CAST(%s AS VARCHAR) AS DOUBLE)) ELSE TRY_CAST(CAST(%s AS VARCHAR) AS DOUBLE) END, "
            "epoch_ms(coalesce(TRY_CAST(CAST(%s AS VARCHAR) AS TIMESTAMP), try_strptime(CAST(%s AS VARCHAR), "
            "'%%a %%b %%d %%H:%%M:%%S +0000 %%Y')))) AS BIGINT)",
            name.at, name.at, name.at, name.at, name.at);
    str_free(&name);
    return st;
}

static finch_status add_time_or_else(const import *x, const char *column, str *sql, finch_error *err)
{
    FINCH_TRY(str_add_text(sql, "coalesce(", err));
    if (has(x, column)) FINCH_TRY(add_time(column, sql, err));
    else FINCH_TRY(str_add_text(sql, "CAST(NULL AS BIGINT)", err));
    if (x->o->else_time_ms == 0) return str_add_text(sql, ", NULL), ", err);
    return str_add_format(sql, err, ", CAST(%lld AS BIGINT)), ", (long long)x->o->else_time_ms);
}

/* A class's name or its number; null for anything else. */
static finch_status add_label(const char *column, str *sql, finch_error *err)
{
    str name = {0};
    finch_status st = data_sql_name(&name, column, err);
    if (st == FINCH_OK) st = str_add_format(sql, err, "CAST(CASE upper(CAST(%s AS VARCHAR))", name.at);
    for (size_t i = 0; st == FINCH_OK && i < HISTORY_CLASSES; i++)
        st = str_add_format(sql, err, " WHEN '%s' THEN %zu WHEN '%zu' THEN %zu", history_class_name(i), i, i, i);
    str_free(&name);
    return st == FINCH_OK ? str_add_text(sql, " END AS BIGINT)", err) : st;
}

/* The sum of the columns of --reach that are there. */
static finch_status add_reach(const import *x, str *sql, finch_error *err)
{
    size_t n = x->o->n_reach;
    const char *const *columns = x->o->reach;
    static const char *const usual[] = {"like_num", "retweet_num", "comment_num"};
    if (n == 0) columns = usual;
    FINCH_TRY(str_add_text(sql, "CAST(0", err));
    for (size_t i = 0; i < (n > 0 ? n : 3); i++) {
        if (n > 0) FINCH_TRY(data_relation_need(x->relation, columns[i], "--reach", err));
        FINCH_TRY(add_column(x, columns[i], " + greatest(0, coalesce(TRY_CAST(", " AS BIGINT), 0))", "", sql, err));
    }
    return str_add_text(sql, " AS BIGINT)", err);
}

static finch_status add_probabilities(const import *x, str *sql, finch_error *err)
{
    static const char *const names[HISTORY_CLASSES] = {"prob_strongly_negative", "prob_negative", "prob_neutral",
                                                       "prob_positive", "prob_strongly_positive"};
    for (size_t i = 0; i < HISTORY_CLASSES; i++) {
        FINCH_TRY(str_add_text(sql, ", ", err));
        FINCH_TRY(add_column(x, names[i], "CAST(round(1e6 * TRY_CAST(", " AS DOUBLE)) AS BIGINT)", "CAST(NULL AS BIGINT)",
                             sql, err));
    }
    return FINCH_OK;
}

static finch_status make_query(const import *x, str *sql, finch_error *err)
{
    const char *text = x->o->text_column, *time = x->o->time_column, *tickers = x->o->ticker_column;
    FINCH_TRY(data_relation_need(x->relation, text, "--text-column", err));
    if (x->o->else_time_ms == 0) FINCH_TRY(data_relation_need(x->relation, time, "--date-column", err));
    FINCH_TRY(data_relation_need(x->relation, x->o->label_column, "--label-column", err));
    if (x->o->needs_tickers) FINCH_TRY(data_relation_need(x->relation, tickers, "--ticker-column", err));
    FINCH_TRY(str_add_text(sql, "SELECT CAST(", err));
    FINCH_TRY(data_sql_name(sql, text, err));
    FINCH_TRY(str_add_text(sql, " AS VARCHAR), ", err));
    FINCH_TRY(add_time_or_else(x, time, sql, err));
    bool list = has(x, tickers) && is_list(x, tickers);
    FINCH_TRY(add_column(x, tickers, list ? "array_to_string(" : "CAST(", list ? ", '|')" : " AS VARCHAR)",
                         "CAST(NULL AS VARCHAR)", sql, err));
    FINCH_TRY(str_add_text(sql, ", ", err));
    FINCH_TRY(add_label(x->o->label_column, sql, err));
    FINCH_TRY(str_add_text(sql, ", ", err));
    FINCH_TRY(add_column(x, x->o->score_column, "CAST(round(1e6 * TRY_CAST(", " AS DOUBLE)) AS BIGINT)",
                         "CAST(NULL AS BIGINT)", sql, err));
    FINCH_TRY(str_add_text(sql, ", ", err));
    FINCH_TRY(add_reach(x, sql, err));
    FINCH_TRY(str_add_text(sql, ", ", err));
    FINCH_TRY(add_column(x, "dropped_reason", "CAST(", " AS VARCHAR)", "CAST(NULL AS VARCHAR)", sql, err));
    FINCH_TRY(add_probabilities(x, sql, err));
    /* In the order of time: a batch then has few sums and touches few pages, and the batches are the same each time. */
    return str_add_format(sql, err, " FROM (%s) ORDER BY 2, 1", data_relation_sql(x->relation));
}

/* ---- rows ---- */

static finch_status keep_text(import *x, finch_text text, finch_text *out, finch_error *err)
{
    char *at;
    FINCH_TRY(ARENA_NEW(&x->arena, &at, text.size_bytes + 1, err));
    memcpy(at, text.at, text.size_bytes);
    *out = (finch_text){at, text.size_bytes};
    return FINCH_OK;
}

/* "AAPL|brk.b, $GME": what is no ticker is passed over. */
static finch_status keep_tickers(import *x, finch_text text, history_prediction *p, finch_error *err)
{
    char(*list)[HISTORY_TICKER_BYTES];
    FINCH_TRY(ARENA_NEW(&x->arena, &list, HISTORY_TICKERS_MOST, err));
    p->tickers = (const char(*)[HISTORY_TICKER_BYTES])list;
    for (size_t at = 0; at < text.size_bytes && p->n_tickers < HISTORY_TICKERS_MOST;) {
        char *ticker = list[p->n_tickers];
        size_t n = 0;
        while (at < text.size_bytes && strchr("|, $;", text.at[at]) != NULL && text.at[at] != '\0') at++;
        for (; at < text.size_bytes && (text.at[at] == '\0' || strchr("|, $;", text.at[at]) == NULL); at++, n++)
            if (n + 1 < HISTORY_TICKER_BYTES)
                ticker[n] = text.at[at] >= 'a' && text.at[at] <= 'z' ? (char)(text.at[at] - 'a' + 'A') : text.at[at];
        ticker[n < HISTORY_TICKER_BYTES ? n : 0] = '\0'; /* too long is none */
        if (history_ticker_valid(ticker)) p->n_tickers++;
    }
    return FINCH_OK;
}

_Static_assert((int)TEXT_SYMBOL_BYTES <= (int)HISTORY_TICKER_BYTES, "a symbol fits into the history");

/* Those that stand in the text, each once. */
static finch_status find_tickers(import *x, finch_text text, history_prediction *p, finch_error *err)
{
    text_ticker found[HISTORY_TICKERS_MOST];
    char(*list)[HISTORY_TICKER_BYTES];
    size_t n = text_tickers_find(text, found, HISTORY_TICKERS_MOST);
    FINCH_TRY(ARENA_NEW(&x->arena, &list, HISTORY_TICKERS_MOST, err));
    p->tickers = (const char(*)[HISTORY_TICKER_BYTES])list;
    for (size_t i = 0; i < n && i < HISTORY_TICKERS_MOST; i++) {
        bool seen = false;
        for (size_t k = 0; k < p->n_tickers; k++) seen = seen || strcmp(list[k], found[i].symbol) == 0;
        if (!seen) memcpy(list[p->n_tickers++], found[i].symbol, TEXT_SYMBOL_BYTES);
    }
    return FINCH_OK;
}

static unsigned flags_of(const data_cursor *row)
{
    finch_text reason;
    if (!data_cursor_text(row, COLUMN_REASON, &reason) || reason.size_bytes == 0) return 0;
    bool near = (reason.size_bytes == 9 && memcmp(reason.at, "duplicate", 9) == 0) ||
                (reason.size_bytes == 14 && memcmp(reason.at, "near_duplicate", 14) == 0);
    return near ? HISTORY_NEAR_DUPLICATE : HISTORY_SPAM;
}

/* Without probabilities the label is sure; without a score it follows from them. */
static void set_figures(const data_cursor *row, history_prediction *p)
{
    int64_t value;
    double score = 0;
    bool known = true;
    for (size_t i = 0; i < HISTORY_CLASSES; i++) {
        known = data_cursor_integer(row, COLUMN_P0 + i, &value) && known;
        p->probabilities[i] = known ? (double)value / 1e6 : 0;
    }
    if (!known) memset(p->probabilities, 0, sizeof p->probabilities), p->probabilities[p->label] = 1;
    for (size_t i = 0; i < HISTORY_CLASSES; i++) score += p->probabilities[i] * ((double)i - 2) / 2;
    p->score = data_cursor_integer(row, COLUMN_SCORE, &value) ? (double)value / 1e6 : score;
}

static finch_status take_row(import *x, const data_cursor *row, finch_error *err)
{
    finch_text text, tickers;
    int64_t time, label, reach;
    bool has_text = data_cursor_text(row, COLUMN_TEXT, &text);
    if (!has_text || !data_cursor_integer(row, COLUMN_TIME, &time) || !data_cursor_integer(row, COLUMN_LABEL, &label)) {
        x->out->n_skipped++;
        return FINCH_OK;
    }
    history_prediction *p = &x->batch[x->n++];
    *p = (history_prediction){.time_ms = time,
                              .model = x->o->model,
                              .source = x->o->source,
                              .label = (int)label,
                              .reach = data_cursor_integer(row, COLUMN_REACH, &reach) ? reach : 0,
                              .flags = flags_of(row)};
    FINCH_TRY(store_hash(text.at, text.size_bytes, p->hash, err));
    if (x->o->keep_texts) FINCH_TRY(keep_text(x, text, &p->text, err));
    if (data_cursor_text(row, COLUMN_TICKERS, &tickers)) FINCH_TRY(keep_tickers(x, tickers, p, err));
    else if (x->o->find_tickers) FINCH_TRY(find_tickers(x, text, p, err));
    set_figures(row, p);
    return str_add_format(&x->identity, err, "%lld %s %d %.0f;", (long long)time, p->hash, p->label, 1e6 * p->score);
}

/* The batch's name is made of what it holds and where it stands; of its source's own name where that has one. */
static finch_status write_batch(import *x, finch_error *err)
{
    char hash[STORE_HASH_BYTES], name[STORE_HASH_BYTES + 8];
    if (x->n == 0) return FINCH_OK;
    if (x->o->identity != NULL) str_clear(&x->identity);
    FINCH_TRY(str_add_format(&x->identity, err, "%s %llu", x->o->identity != NULL ? x->o->identity : x->o->model,
                             (unsigned long long)x->first_row));
    FINCH_TRY(store_hash(x->identity.at, x->identity.size, hash, err));
    snprintf(name, sizeof name, "import:%s", hash);
    bool is_new;
    finch_status st = history_import(x->store, name, x->batch, x->n, &is_new, err);
    FINCH_TRY(st);
    *(is_new ? &x->out->n_imported : &x->out->n_known) += x->n;
    x->n = 0;
    x->first_row = x->out->n_rows;
    str_clear(&x->identity);
    arena_reset(&x->arena);
    if (progress_report(x->o->watch, x->out->n_rows, data_relation_rows(x->relation), NULL)) return FINCH_OK;
    return finch_fail(err, FINCH_E_CANCELLED, "interrupted");
}

static finch_status read_rows(import *x, duckdb_result *result, finch_error *err)
{
    data_cursor cursor = {.result = result};
    finch_status st = FINCH_OK;
    while (st == FINCH_OK && data_cursor_step(&cursor)) {
        x->out->n_rows++;
        st = take_row(x, &cursor, err);
        if (st == FINCH_OK && x->n == BATCH) st = write_batch(x, err);
    }
    data_cursor_close(&cursor);
    if (st == FINCH_OK) st = data_stream_check(result, err);
    return st == FINCH_OK ? write_batch(x, err) : st;
}

static finch_status import_all(import *x, finch_error *err)
{
    data_source source = {.inputs = x->o->inputs, .n_inputs = x->o->n_inputs, .strict = x->o->strict};
    data_relation_options options = {.text_column = x->o->text_column};
    duckdb_result result;
    str sql = {0};
    FINCH_TRY(MEM_NEW(&x->batch, BATCH, err));
    FINCH_TRY(data_database_open(&x->db, err));
    FINCH_TRY(data_relation_open(&x->db, &source, &options, &x->relation, err));
    x->out->n_rejected = data_relation_rejects(x->relation)->n;
    finch_status st = make_query(x, &sql, err);
    if (st == FINCH_OK) st = data_query_stream(&x->db, sql.at, &result, err);
    str_free(&sql);
    FINCH_TRY(st);
    st = read_rows(x, &result, err);
    duckdb_destroy_result(&result);
    return st;
}

finch_status history_import_tables(const history_import_options *options, store *s, history_imported *out, finch_error *err)
{
import x = {.o = options, .store = s, .out = out };
    *out = (history_imported){0};
    arena_init(&x.arena);
    finch_status st = store_set_bulk(s, true, err);
    if (st == FINCH_OK) st = import_all(&x, err);
    finch_error ignored;
    finch_status ended = store_set_bulk(s, false, st == FINCH_OK ? err : &ignored);
    data_relation_close(x.relation);
    data_database_close(&x.db);
    arena_free(&x.arena);
    str_free(&x.identity);
    mem_free(x.batch);
    return st == FINCH_OK ? ended : st;
}
