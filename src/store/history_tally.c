/* Sums of a batch in memory, and their way into the tables: one row a cell however many predictions it has. */
#include "store/history_sums.h"

#include <stdlib.h>
#include <string.h>

typedef struct history_cell {
    char ticker[HISTORY_TICKER_BYTES];
    int64_t grain, bucket, kind, model;
    int64_t first_ms, last_ms;
    history_sums sums;
} history_cell;

enum { WRITE_MOST = 4000 };

finch_status history_tally_add(history_tally *tally, const history_mark *mark, finch_error *err)
{
    static const int64_t grains[] = {HISTORY_HOUR_MS, HISTORY_DAY_MS};
    if (tally->n + 2 > tally->n_room) {
        size_t room = tally->n_room > 0 ? 2 * tally->n_room : 256;
        FINCH_TRY(mem_grow((void **)&tally->cells, tally->n * sizeof *tally->cells, room, sizeof *tally->cells, err));
        tally->n_room = room;
    }
    for (size_t i = 0; i < 2; i++) {
        history_cell *cell = &tally->cells[tally->n++];
        *cell = (history_cell){.grain = grains[i], .kind = mark->kind, .model = mark->model};
        cell->bucket = mark->time_ms - mark->time_ms % grains[i];
        cell->first_ms = cell->last_ms = mark->time_ms;
        cell->sums = history_sums_of(mark->score, mark->w, mark->label, mark->sign);
        strncpy(cell->ticker, mark->ticker, sizeof cell->ticker - 1);
    }
    return FINCH_OK;
}

void history_tally_free(history_tally *tally)
{
    mem_free(tally->cells);
    *tally = (history_tally){0};
}

static int compare(int64_t a, int64_t b) { return a < b ? -1 : a > b; }

/* In the order of the table's key: neighbours in the table are written together. */
static int by_key(const void *a, const void *b)
{
    const history_cell *x = a, *y = b;
    int order = compare(x->grain, y->grain);
    if (order == 0) order = strcmp(x->ticker, y->ticker);
    if (order == 0) order = compare(x->bucket, y->bucket);
    if (order == 0) order = compare(x->kind, y->kind);
    return order != 0 ? order : compare(x->model, y->model);
}

/* Equal keys become one cell. */
static void fold(history_tally *tally)
{
    size_t n = 0;
    if (tally->n == 0) return;
    qsort(tally->cells, tally->n, sizeof *tally->cells, by_key);
    for (size_t i = 1; i < tally->n; i++) {
        history_cell *into = &tally->cells[n], *cell = &tally->cells[i];
        if (by_key(into, cell) != 0) {
            tally->cells[++n] = *cell;
            continue;
        }
        history_sums_add(&into->sums, &cell->sums);
        if (cell->first_ms < into->first_ms) into->first_ms = cell->first_ms;
        if (cell->last_ms > into->last_ms) into->last_ms = cell->last_ms;
    }
    tally->n = n + 1;
}

static finch_status add_cell(str *out, const history_cell *cell, finch_error *err)
{
    const history_sums *sums = &cell->sums;
    const int64_t plain[] = {sums->n, sums->s, sums->sq, sums->w, sums->w2, sums->ws, sums->wsq};
    FINCH_TRY(str_add_format(out, err, "%s[%lld,\"%s\",%lld,%lld,%lld", out->size > 1 ? "," : "", (long long)cell->grain,
                             cell->ticker, (long long)cell->bucket, (long long)cell->kind, (long long)cell->model));
    for (size_t i = 0; i < 7; i++) FINCH_TRY(str_add_format(out, err, ",%lld", (long long)plain[i]));
    for (size_t i = 0; i < HISTORY_CLASSES; i++) FINCH_TRY(str_add_format(out, err, ",%lld", (long long)sums->c[i]));
    for (size_t i = 0; i < HISTORY_CLASSES; i++) FINCH_TRY(str_add_format(out, err, ",%lld", (long long)sums->v[i]));
    return str_add_text(out, "]", err);
}

static finch_status write_cells(store *s, const history_cell *cells, size_t n, str *text, finch_error *err)
{
#define SUMS(at)                                                                                                           \
    at(5) ", " at(6) ", " at(7) ", " at(8) ", " at(9) ", " at(10) ", " at(11) ", " at(12) ", " at(13) ", " at(14) ", " at( \
        15) ", " at(16) ", " at(17) ", " at(18) ", " at(19) ", " at(20) ", " at(21)
#define INSERT "INSERT INTO history_sum (grain, ticker, bucket, kind, model, " HISTORY_SUM_COLUMNS ") SELECT "
#define PLUS(column) #column " = history_sum." #column " + excluded." #column
#define CONFLICT                                                                                                     \
    " ON CONFLICT (grain, ticker, bucket, kind, model) DO UPDATE SET " PLUS(n) ", " PLUS(s) ", " PLUS(sq) ", " PLUS( \
        w) ", " PLUS(w2) ", " PLUS(ws) ", " PLUS(wsq) ", " PLUS(c0) ", " PLUS(c1) ", " PLUS(c2) ", " PLUS(c3) ", " PLUS(c4) ", " PLUS(v0) ", " PLUS(v1) ", " PLUS(v2) ", " PLUS(v3) ", " PLUS(v4)
#define SL HISTORY_AT_SQLITE
#define PG HISTORY_AT_POSTGRES
    static const sql_statement add = {
        INSERT SL(0) ", " SL(1) ", " SL(2) ", " SL(3) ", " SL(4) ", " SUMS(SL) " FROM json_each($1) WHERE true" CONFLICT,
        INSERT PG(0) ", value->>1, " PG(2) ", " PG(3) ", " PG(4) ", " SUMS(
            PG) " FROM json_array_elements($1::json)" CONFLICT};
    str_clear(text);
    FINCH_TRY(str_add_text(text, "[", err));
    for (size_t i = 0; i < n; i++) FINCH_TRY(add_cell(text, &cells[i], err));
    FINCH_TRY(str_add_text(text, "]", err));
    sql_value value = sql_text(text->at);
    return store_run(s, &add, &value, 1, NULL, NULL, NULL, err);
}

/* What history_tickers lists: by ticker over the cells of days. */
static finch_status write_tickers(store *s, const history_tally *tally, str *text, finch_error *err)
{
    static const sql_statement add = {
        "INSERT INTO history_ticker (ticker, n, first, last) SELECT json_extract(value, '$[0]'), sum(json_extract(value, "
        "'$[1]')), min(json_extract(value, '$[2]')), max(json_extract(value, '$[3]')) FROM json_each($1) WHERE true GROUP "
        "BY 1 "
        "ORDER BY 1 ON CONFLICT (ticker) DO UPDATE SET n = history_ticker.n + excluded.n, first = min(history_ticker.first, "
        "excluded.first), last = max(history_ticker.last, excluded.last)",
        "INSERT INTO history_ticker (ticker, n, first, last) SELECT value->>0, sum((value->>1)::bigint)::bigint, "
        "min((value->>2)::bigint), max((value->>3)::bigint) FROM json_array_elements($1::json) GROUP BY 1 ORDER BY 1 ON "
        "CONFLICT (ticker) DO UPDATE SET n = history_ticker.n + excluded.n, first = least(history_ticker.first, "
        "excluded.first), last = greatest(history_ticker.last, excluded.last)"};
    str_clear(text);
    FINCH_TRY(str_add_text(text, "[", err));
    for (size_t i = 0; i < tally->n; i++) {
        const history_cell *cell = &tally->cells[i];
        if (cell->grain != HISTORY_DAY_MS) continue;
        FINCH_TRY(str_add_format(text, err, "%s[\"%s\",%lld,%lld,%lld]", text->size > 1 ? "," : "", cell->ticker,
                                 (long long)cell->sums.n, (long long)cell->first_ms, (long long)cell->last_ms));
    }
    FINCH_TRY(str_add_text(text, "]", err));
    sql_value value = sql_text(text->at);
    return store_run(s, &add, &value, 1, NULL, NULL, NULL, err);
}

finch_status history_tally_write(store *s, history_tally *tally, finch_error *err)
{
    str text = {0};
    finch_status st = FINCH_OK;
    fold(tally);
    for (size_t at = 0; st == FINCH_OK && at < tally->n; at += WRITE_MOST)
        st = write_cells(s, tally->cells + at, tally->n - at < WRITE_MOST ? tally->n - at : WRITE_MOST, &text, err);
    if (st == FINCH_OK) st = write_tickers(s, tally, &text, err);
    str_free(&text);
    return st;
}
