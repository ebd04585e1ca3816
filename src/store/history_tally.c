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

enum { WRITE_MOST = 1000, CELL_VALUES = 22 };

finch_status history_tally_add(history_tally *tally, const history_mark *mark, finch_error *err)
{
    static const int64_t grains[] = {HISTORY_HOUR_MS, HISTORY_DAY_MS};
    FINCH_TRY(MEM_ROOM(&tally->cells, tally->n, 2, &tally->n_room, err));
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

static void cell_values(const history_cell *cell, sql_value *v)
{
    const history_sums *sums = &cell->sums;
    const int64_t plain[] = {sums->n, sums->s, sums->sq, sums->w, sums->w2, sums->ws, sums->wsq};
    v[0] = sql_integer(cell->grain);
    v[1] = sql_text(cell->ticker);
    v[2] = sql_integer(cell->bucket);
    v[3] = sql_integer(cell->kind);
    v[4] = sql_integer(cell->model);
    for (size_t i = 0; i < 7; i++) v[5 + i] = sql_integer(plain[i]);
    for (size_t i = 0; i < HISTORY_CLASSES; i++) {
        v[12 + i] = sql_integer(sums->c[i]);
        v[17 + i] = sql_integer(sums->v[i]);
    }
}

static finch_status write_cells(store *s, const history_cell *cells, size_t n, sql_value *values, finch_error *err)
{
#define INSERT "INSERT INTO history_sum (grain, ticker, bucket, kind, model, " HISTORY_SUM_COLUMNS ") "
#define PLUS(column) #column " = history_sum." #column " + excluded." #column
#define CONFLICT                                                                                                     \
    " ON CONFLICT (grain, ticker, bucket, kind, model) DO UPDATE SET " PLUS(n) ", " PLUS(s) ", " PLUS(sq) ", " PLUS( \
        w) ", " PLUS(w2) ", " PLUS(ws) ", " PLUS(wsq) ", " PLUS(c0) ", " PLUS(c1) ", " PLUS(c2) ", " PLUS(c3) ", " PLUS(c4) ", " PLUS(v0) ", " PLUS(v1) ", " PLUS(v2) ", " PLUS(v3) ", " PLUS(v4)
    static const sql_statement add = {
        INSERT "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, "
               "$22)" CONFLICT,
        INSERT "SELECT $1[at], ticker, $3[at], $4[at], $5[at], $6[at], $7[at], $8[at], $9[at], $10[at], $11[at], $12[at], "
               "$13[at], $14[at], $15[at], $16[at], $17[at], $18[at], $19[at], $20[at], $21[at], $22[at] FROM "
               "unnest($2::text[]) WITH ORDINALITY AS t (ticker, at)" CONFLICT};
    for (size_t i = 0; i < n; i++) cell_values(&cells[i], values + i * CELL_VALUES);
    return store_run_rows(s, &add, values, n, CELL_VALUES, err);
}

/* What history_tickers lists: a row for each ticker, from its cells of days, which lie together. */
static finch_status write_tickers(store *s, const history_tally *tally, sql_value *values, finch_error *err)
{
    static const sql_statement add = {
        "INSERT INTO history_ticker (ticker, n, first, last) VALUES ($1, $2, $3, $4) ON CONFLICT (ticker) DO UPDATE SET n = "
        "history_ticker.n + excluded.n, first = min(history_ticker.first, excluded.first), last = max(history_ticker.last, "
        "excluded.last)",
        "INSERT INTO history_ticker (ticker, n, first, last) SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], "
        "$4::bigint[]) ON CONFLICT (ticker) DO UPDATE SET n = history_ticker.n + excluded.n, first = "
        "least(history_ticker.first, excluded.first), last = greatest(history_ticker.last, excluded.last)"};
    size_t n = 0;
    for (size_t i = 0; i < tally->n;) {
        const history_cell *cell = &tally->cells[i];
        int64_t count = 0, first = cell->first_ms, last = cell->last_ms;
        size_t end = i;
        for (;
             end < tally->n && tally->cells[end].grain == cell->grain && strcmp(tally->cells[end].ticker, cell->ticker) == 0;
             end++) {
            count += tally->cells[end].sums.n;
            if (tally->cells[end].first_ms < first) first = tally->cells[end].first_ms;
            if (tally->cells[end].last_ms > last) last = tally->cells[end].last_ms;
        }
        i = end;
        if (cell->grain != HISTORY_DAY_MS) continue;
        if (n == WRITE_MOST) {
            FINCH_TRY(store_run_rows(s, &add, values, n, 4, err));
            n = 0;
        }
        const sql_value row[] = {sql_text(cell->ticker), sql_integer(count), sql_integer(first), sql_integer(last)};
        memcpy(values + 4 * n++, row, sizeof row);
    }
    return store_run_rows(s, &add, values, n, 4, err);
}

finch_status history_tally_write(store *s, history_tally *tally, finch_error *err)
{
    sql_value *values;
    finch_status st = FINCH_OK;
    fold(tally);
    FINCH_TRY(MEM_NEW(&values, WRITE_MOST * CELL_VALUES, err));
    for (size_t at = 0; st == FINCH_OK && at < tally->n; at += WRITE_MOST)
        st = write_cells(s, tally->cells + at, tally->n - at < WRITE_MOST ? tally->n - at : WRITE_MOST, values, err);
    if (st == FINCH_OK) st = write_tickers(s, tally, values, err);
    mem_free(values);
    return st;
}
