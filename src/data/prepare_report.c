/* The report of a preparation. Its figures come from queries over the temporary file and the verdicts; the page is made from
 * the same JSON document, so the two can not differ. Neither holds a time or a place: the same run gives the same bytes. */
#include "base/file.h"
#include "base/html.h"
#include "base/json.h"
#include "data/prepare_job.h"

#include <inttypes.h>
#include <string.h>

enum { LENGTH_STEP = 20, LENGTH_LAST = 400, TICKERS = 50, GROUPS = 8, GROUP_ROWS = 4, TEXT_CHARACTERS = 300 };

/* ---- JSON from queries ---- */

/* Adds the query's rows to the document under key, as objects: kinds has 'i' or 't' for each of the names. */
static finch_status add_query(prepare_job *j, json_t *document, const char *key, const char *sql, const char *kinds,
                              const char *const *names, finch_error *err)
{
    duckdb_result result;
    json_t *rows = json_array();
    bool whole = rows != NULL && json_object_set_new(document, key, rows) == 0;
    if (!whole) return finch_fail(err, FINCH_E_MEMORY, "out of memory for the report");
    FINCH_TRY(data_query(&j->db, sql, &result, err));
    data_cursor cursor = {.result = &result};
    while (whole && data_cursor_step(&cursor)) {
        json_t *row = json_object();
        for (size_t i = 0; kinds[i] != '\0'; i++) {
            finch_text text;
            int64_t number;
            json_t *value = NULL;
            if (kinds[i] == 'i' && data_cursor_integer(&cursor, i, &number)) value = json_integer((json_int_t)number);
            if (kinds[i] == 't' && data_cursor_text(&cursor, i, &text)) value = json_stringn(text.at, text.size_bytes);
            if (value == NULL) value = json_null();
            whole &= json_object_set_new(row, names[i], value) == 0;
        }
        whole &= json_array_append_new(rows, row) == 0;
    }
    data_cursor_close(&cursor);
    duckdb_destroy_result(&result);
    return whole ? FINCH_OK : finch_fail(err, FINCH_E_MEMORY, "out of memory for the report");
}

static finch_status add_lengths(prepare_job *j, json_t *document, finch_error *err)
{
    static const char *const names[] = {"from_characters", "rows"};
    str sql = {0};
    finch_status st = str_add_format(&sql, err,
                                     "SELECT CAST(least(length(clean) // %d * %d, %d) AS BIGINT), count(*) FROM %s WHERE "
                                     "finch_reason(n) = 0 AND clean IS NOT NULL GROUP BY 1 ORDER BY 1",
                                     LENGTH_STEP, LENGTH_STEP, LENGTH_LAST, j->source.at);
    if (st == FINCH_OK) st = add_query(j, document, "lengths", sql.at, "ii", names, err);
    str_free(&sql);
    return st;
}

static finch_status add_languages(prepare_job *j, json_t *document, finch_error *err)
{
    static const char *const names[] = {"code", "rows", "dropped"};
    str sql = {0};
    finch_status st = str_add_format(
        &sql, err,
        "SELECT language, count(*), count(*) FILTER (finch_reason(n) = %d) FROM %s WHERE language "
        "IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1",
        PREPARE_NOT_ENGLISH, j->source.at);
    if (st == FINCH_OK) st = add_query(j, document, "languages", sql.at, "tii", names, err);
    str_free(&sql);
    return st;
}

static finch_status add_tickers(prepare_job *j, json_t *document, finch_error *err)
{
    static const char *const names[] = {"symbol", "rows"};
    str sql = {0};
    finch_status st = str_add_format(
        &sql, err,
        "SELECT symbol, count(*) FROM (SELECT unnest(string_split(tickers, '|')) AS symbol FROM "
        "%s WHERE finch_reason(n) = 0 AND tickers IS NOT NULL) GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT %d",
        j->source.at, TICKERS);
    if (st == FINCH_OK) st = add_query(j, document, "tickers", sql.at, "ti", names, err);
    str_free(&sql);
    return st;
}

/* A time as TIMESTAMP: whole numbers are Unix seconds or, where they are too large for that, milliseconds. */
static finch_status add_time(const prepare_job *j, str *sql, finch_error *err)
{
    const char *type = j->result->types.at[j->time];
    bool number = strcmp(type, "BIGINT") == 0 || strcmp(type, "INTEGER") == 0 || strcmp(type, "UBIGINT") == 0;
    if (!number) return str_add_format(sql, err, "TRY_CAST(c%zu AS TIMESTAMP)", j->time);
    return str_add_format(
        sql, err,
        "CASE WHEN c%zu BETWEEN 0 AND 99999999999 THEN make_timestamp(CAST(c%zu AS BIGINT) * 1000000) WHEN c%zu "
        "BETWEEN 100000000000 AND 99999999999999 THEN make_timestamp(CAST(c%zu AS BIGINT) * 1000) END",
        j->time, j->time, j->time, j->time);
}

static finch_status add_months(prepare_job *j, json_t *document, finch_error *err)
{
    static const char *const names[] = {"month", "rows", "kept"};
    str sql = {0};
    if (j->time == j->result->columns.n) return FINCH_OK;
    finch_status st = str_add_text(&sql, "SELECT strftime(t, '%Y-%m'), count(*), count(*) FILTER (kept) FROM (SELECT ", err);
    if (st == FINCH_OK) st = add_time(j, &sql, err);
    if (st == FINCH_OK)
        st = str_add_format(&sql, err, " AS t, finch_reason(n) = 0 AS kept FROM %s) GROUP BY 1 ORDER BY 1", j->source.at);
    if (st == FINCH_OK) st = add_query(j, document, "months", sql.at, "tii", names, err);
    str_free(&sql);
    return st;
}

/* The largest groups of rows that were dropped for this reason, with the row that was kept and some of theirs. */
static finch_status add_groups(prepare_job *j, json_t *document, const char *key, prepare_reason reason, finch_error *err)
{
    static const char *const names[] = {"kept_row", "dropped_rows", "row", "author", "text"};
    str sql = {0}, author = {0};
    finch_status st = j->author < j->result->columns.n ? str_add_format(&author, err, "CAST(c%zu AS VARCHAR)", j->author)
                                                       : str_add_text(&author, "CAST(NULL AS VARCHAR)", err);
    if (st == FINCH_OK)
        st = str_add_format(
            &sql, err,
            "WITH top AS (SELECT finch_kept(n) AS k, count(*) AS c FROM %s WHERE finch_reason(n) = %d GROUP BY 1 ORDER BY 2 "
            "DESC, "
            "1 LIMIT %d) SELECT k + 1, c, n + 1, %s, left(clean, %d) FROM %s JOIN top ON finch_kept(n) = k WHERE "
            "finch_reason(n) IN (0, %d) QUALIFY row_number() OVER (PARTITION BY k ORDER BY n) <= %d ORDER BY c DESC, k, n",
            j->source.at, reason, GROUPS, author.at, TEXT_CHARACTERS, j->source.at, reason, GROUP_ROWS);
    if (st == FINCH_OK) st = add_query(j, document, key, sql.at, "iiitt", names, err);
    str_free(&sql);
    str_free(&author);
    return st;
}

/* ---- the document ---- */

static bool stage_drops(prepare_stage stage)
{
    for (int reason = PREPARE_KEPT + 1; reason < PREPARE_REASONS; reason++)
        if (prepare_reason_stage((prepare_reason)reason) == stage) return true;
    return false;
}

static json_t *stages_json(const prepare_job *j)
{
    const prepare_counts *c = &j->result->counts;
    json_t *stages = json_array();
    uint64_t left = c->rows;
    for (int stage = 0; stage < PREPARE_STAGES; stage++) {
        uint64_t dropped = 0;
        for (int reason = PREPARE_KEPT + 1; reason < PREPARE_REASONS; reason++)
            if (prepare_reason_stage((prepare_reason)reason) == (prepare_stage)stage) dropped += c->by_reason[reason];
        left -= dropped;
        bool drops = stage_drops((prepare_stage)stage);
        json_array_append_new(stages,
                              json_pack("{s:s, s:b, s:I, s:I}", "stage", prepare_stage_name((prepare_stage)stage), "on",
                                        !j->options->off[stage], drops ? "dropped" : "changed",
                                        (json_int_t)(drops ? dropped : c->changed[stage]), "rows_left", (json_int_t)left));
    }
    return stages;
}

static json_t *columns_json(const prepare_job *j)
{
    json_t *columns = json_array();
    for (size_t i = 0; i < j->result->columns.n; i++)
        json_array_append_new(columns,
                              json_pack("{s:s, s:s}", "name", j->result->columns.at[i], "type", j->result->types.at[i]));
    return columns;
}

static json_t *reasons_json(const prepare_counts *c)
{
    json_t *reasons = json_object();
    for (int reason = PREPARE_KEPT + 1; reason < PREPARE_REASONS; reason++)
        json_object_set_new(reasons, prepare_reason_name((prepare_reason)reason),
                            json_integer((json_int_t)c->by_reason[reason]));
    return reasons;
}

static finch_status build_document(prepare_job *j, json_t **out, finch_error *err)
{
    const prepare_counts *c = &j->result->counts;
    *out = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o}", "rows", (json_int_t)c->rows, "rejected",
                     (json_int_t)c->rejected, "kept", (json_int_t)c->kept, "dropped", (json_int_t)c->dropped, "tidied",
                     (json_int_t)c->tidied, "ill_formed", (json_int_t)c->ill_formed, "near_pairs_compared",
                     (json_int_t)c->near_judged, "dropped_for", reasons_json(c), "stages", stages_json(j), "columns",
                     columns_json(j));
    if (*out == NULL) return finch_fail(err, FINCH_E_MEMORY, "out of memory for the report");
    FINCH_TRY(add_lengths(j, *out, err));
    FINCH_TRY(add_languages(j, *out, err));
    FINCH_TRY(add_tickers(j, *out, err));
    FINCH_TRY(add_months(j, *out, err));
    FINCH_TRY(add_groups(j, *out, "duplicates", PREPARE_DUPLICATE, err));
    FINCH_TRY(add_groups(j, *out, "near_duplicates", PREPARE_NEAR_DUPLICATE, err));
    return add_groups(j, *out, "floods", PREPARE_FLOOD, err);
}

/* ---- the page ---- */

static const char *text_of(const json_t *row, const char *key)
{
    const char *text = json_string_value(json_object_get(row, key));
    return text != NULL ? text : "-";
}

static int64_t integer_of(const json_t *row, const char *key) { return json_integer_value(json_object_get(row, key)); }

static finch_status heading(str *page, const char *text, finch_error *err)
{
    return str_add_format(page, err, "<h2>%s</h2>\n", text);
}

static finch_status one_bar(str *page, const char *label, int64_t part, int64_t whole, const char *more, finch_error *err)
{
    char value[160];
    snprintf(value, sizeof value, "%" PRId64 "%s", part, more);
    return html_bar(page, label, whole > 0 ? (double)part / (double)whole : 0, value, err);
}

static finch_status add_waterfall(str *page, const json_t *document, finch_error *err)
{
    size_t i;
    json_t *stage;
    int64_t rows = integer_of(document, "rows");
    FINCH_TRY(heading(page, "Rows through the stages", err));
    FINCH_TRY(one_bar(page, "read", rows, rows, "", err));
    json_array_foreach(json_object_get(document, "stages"), i, stage)
    {
        char more[96];
        bool drops = json_object_get(stage, "dropped") != NULL, on = json_is_true(json_object_get(stage, "on"));
        if (!on) snprintf(more, sizeof more, " (off)");
        else if (drops) snprintf(more, sizeof more, " (%" PRId64 " dropped)", integer_of(stage, "dropped"));
        else snprintf(more, sizeof more, " (%" PRId64 " with it)", integer_of(stage, "changed"));
        FINCH_TRY(one_bar(page, text_of(stage, "stage"), integer_of(stage, "rows_left"), rows, more, err));
    }
    return FINCH_OK;
}

/* A bar for each object of the list; the longest fills the line. */
static finch_status add_bars(str *page, const json_t *document, const char *key, const char *title, const char *label,
                             const char *suffix, finch_error *err)
{
    size_t i;
    json_t *row, *rows = json_object_get(document, key);
    int64_t most = 0;
    if (json_array_size(rows) == 0) return FINCH_OK;
    FINCH_TRY(heading(page, title, err));
    json_array_foreach(rows, i, row) if (integer_of(row, "rows") > most) most = integer_of(row, "rows");
    json_array_foreach(rows, i, row)
    {
        char name[96];
        if (json_is_integer(json_object_get(row, label)))
            snprintf(name, sizeof name, "%" PRId64 "%s", integer_of(row, label), suffix);
        else snprintf(name, sizeof name, "%.80s%s", text_of(row, label), suffix);
        FINCH_TRY(one_bar(page, name, integer_of(row, "rows"), most, "", err));
    }
    return FINCH_OK;
}

static finch_status add_examples(str *page, const json_t *document, const char *key, const char *title, finch_error *err)
{
    size_t i;
    json_t *row, *rows = json_object_get(document, key);
    int64_t before = -1;
    if (json_array_size(rows) == 0) return FINCH_OK;
    FINCH_TRY(heading(page, title, err));
    FINCH_TRY(str_add_text(
        page, "<div class=\"scroll\"><table><tr><th>rows dropped</th><th>row</th><th>author</th><th>text</th></tr>\n", err));
    json_array_foreach(rows, i, row)
    {
        bool kept = integer_of(row, "kept_row") != before;
        before = integer_of(row, "kept_row");
        if (kept) FINCH_TRY(str_add_format(page, err, "<tr><td>%" PRId64 "</td>", integer_of(row, "dropped_rows")));
        else FINCH_TRY(str_add_text(page, "<tr><td></td>", err));
        FINCH_TRY(str_add_format(page, err, "<td>%" PRId64 "</td><td class=\"text\">", integer_of(row, "row")));
        FINCH_TRY(html_text(page, text_of(row, "author"), strlen(text_of(row, "author")), err));
        FINCH_TRY(str_add_text(page, kept ? "</td><td class=\"text\"><b>" : "</td><td class=\"text\">", err));
        FINCH_TRY(html_text(page, text_of(row, "text"), strlen(text_of(row, "text")), err));
        FINCH_TRY(str_add_text(page, kept ? "</b></td></tr>\n" : "</td></tr>\n", err));
    }
    return str_add_text(page, "</table></div>\n", err);
}

static finch_status build_page(const json_t *document, str *page, finch_error *err)
{
    FINCH_TRY(html_begin(page, "Prepared tweets", err));
    FINCH_TRY(str_add_format(page, err,
                             "<h1>Prepared tweets</h1><p>%" PRId64 " rows read, %" PRId64 " kept, %" PRId64
                             " dropped; %" PRId64 " broken rows beside.</p>\n",
                             integer_of(document, "rows"), integer_of(document, "kept"), integer_of(document, "dropped"),
                             integer_of(document, "rejected")));
    FINCH_TRY(add_waterfall(page, document, err));
    FINCH_TRY(
        add_bars(page, document, "lengths", "Length of the kept texts", "from_characters", " characters and more", err));
    FINCH_TRY(add_bars(page, document, "languages", "Languages of all rows", "code", "", err));
    FINCH_TRY(add_bars(page, document, "tickers", "Tickers of the kept rows", "symbol", "", err));
    FINCH_TRY(add_bars(page, document, "months", "All rows by month", "month", "", err));
    FINCH_TRY(add_examples(page, document, "duplicates", "Duplicates: what was kept (bold) and what was not", err));
    FINCH_TRY(add_examples(page, document, "near_duplicates", "Near-duplicates", err));
    FINCH_TRY(add_examples(page, document, "floods", "Floods: one author, one template", err));
    return html_end(page, err);
}

finch_status prepare_report_write(prepare_job *j, finch_error *err)
{
    const prepare_options *o = j->options;
    json_t *document = NULL;
    str page = {0};
    if (o->report_json == NULL && o->report_html == NULL) return FINCH_OK;
    finch_status st = build_document(j, &document, err);
    if (st == FINCH_OK) st = build_page(document, &page, err);
    if (st == FINCH_OK && o->report_json != NULL) st = json_write_file(o->report_json, document, err);
    if (st == FINCH_OK && o->report_html != NULL) st = file_write(o->report_html, page.at, page.size, err);
    json_decref(document);
    str_free(&page);
    return st;
}
