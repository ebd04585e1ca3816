#include "store/events.h"

#include "store/history.h"
#include "store/values.h"

#include <stdlib.h>
#include <string.h>

finch_status events_take_ids(store *s, int64_t n, int64_t *first, finch_error *err)
{
    static const sql_statement take = {
        "UPDATE store_counter SET value = value + $1 WHERE name = 'event' RETURNING value - $1 + 1", NULL};
    sql_value values[] = {sql_integer(n)};
    return store_run(s, &take, values, 1, sql_take_integer, first, NULL, err);
}

typedef struct adding {
    const char *kind;
    const char *data;
} adding;

/* The oldest go with every hundredth that comes. */
static finch_status drop_old(store *s, int64_t id, finch_error *err)
{
    static const sql_statement drop = {"DELETE FROM event WHERE time < $1 OR id <= (SELECT id FROM event ORDER BY id DESC "
                                       "LIMIT 1 OFFSET $2)",
                                       NULL};
    static const sql_statement note = {
        "UPDATE store_counter SET value = coalesce((SELECT min(id) - 1 FROM event), $1) WHERE "
        "name = 'forgotten'",
        NULL};
    uint64_t n_dropped = 0;
    if (id % 100 != 0) return FINCH_OK;
    sql_value values[] = {sql_integer(store_now_ms(s) - EVENTS_KEPT_MS), sql_integer(EVENTS_KEPT)};
    FINCH_TRY(store_run(s, &drop, values, 2, NULL, NULL, &n_dropped, err));
    sql_value last = sql_integer(id);
    return n_dropped > 0 ? store_run(s, &note, &last, 1, NULL, NULL, NULL, err) : FINCH_OK;
}

static finch_status add(store *s, void *context, finch_error *err)
{
    static const sql_statement insert = {"INSERT INTO event (id, time, kind, data) VALUES ($1, $2, $3, $4)", NULL};
    const adding *a = context;
    int64_t id = 0;
    FINCH_TRY(events_take_ids(s, 1, &id, err));
    sql_value values[] = {sql_integer(id), sql_integer(store_now_ms(s)), sql_text(a->kind), sql_text(a->data)};
    FINCH_TRY(store_run(s, &insert, values, 4, NULL, NULL, NULL, err));
    return drop_old(s, id, err);
}

finch_status events_add(store *s, const char *kind, const json_t *data, finch_error *err)
{
    char *text = values_dump(data);
    if (text == NULL) return finch_fail(err, FINCH_E_MEMORY, "out of memory for an event");
    adding a = {kind, text};
    finch_status st = store_within(s, add, &a, err);
    free(text); /* jansson's own */
    return st;
}

finch_status events_last(store *s, int64_t *out, finch_error *err)
{
    static const sql_statement look = {"SELECT value FROM store_counter WHERE name = 'event'", NULL};
    *out = 0;
    return store_run(s, &look, NULL, 0, sql_take_integer, out, NULL, err);
}

finch_status events_forgotten(store *s, int64_t *out, finch_error *err)
{
    static const sql_statement look = {"SELECT value FROM store_counter WHERE name = 'forgotten'", NULL};
    *out = 0;
    return store_run(s, &look, NULL, 0, sql_take_integer, out, NULL, err);
}

/* ---- events and predictions in one order ---- */

typedef struct kept_event {
    int64_t id, time_ms;
    char *kind, *data;
    size_t data_bytes;
} kept_event;

typedef struct merging {
    event_fn visit;
    void *context;
    size_t limit, n_given;
    int64_t last; /* what is newer waits for the next look: its smaller neighbours were perhaps not there when the other list
                   * was read */
    kept_event *events;
    size_t n_events, next;
} merging;

static finch_status keep_event(void *context, const sql_row *row, finch_error *err)
{
    merging *m = context;
    finch_text kind = sql_row_text(row, 2), data = sql_row_text(row, 3);
    kept_event *kept = &m->events[m->n_events];
    *kept = (kept_event){.id = sql_row_integer(row, 0), .time_ms = sql_row_integer(row, 1), .data_bytes = data.size_bytes};
    m->n_events++;
    FINCH_TRY(mem_text(kind.at, kind.size_bytes, &kept->kind, err));
    return mem_text(data.at, data.size_bytes, &kept->data, err);
}

static finch_status give(merging *m, const event *e, finch_error *err)
{
    if (m->n_given == m->limit) return FINCH_OK;
    m->n_given++;
    return m->visit(m->context, e, err);
}

static finch_status give_events_below(merging *m, int64_t id, finch_error *err)
{
    for (; m->next < m->n_events && m->events[m->next].id < id; m->next++) {
        const kept_event *kept = &m->events[m->next];
        event e = {kept->id, kept->time_ms, kept->kind, {kept->data, kept->data_bytes}, {"", 0}};
        FINCH_TRY(give(m, &e, err));
    }
    return FINCH_OK;
}

static finch_status give_prediction(void *context, const history_row *row, finch_error *err)
{
    merging *m = context;
    if (row->id > m->last) return FINCH_OK;
    FINCH_TRY(give_events_below(m, row->id, err));
    json_t *object = history_row_json(row);
    char *text = object != NULL ? json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(7)) : NULL; /* kept in 1e-6 */
    json_decref(object);
    if (text == NULL) return finch_fail(err, FINCH_E_MEMORY, "out of memory for an event");
    event e = {row->id, row->time_ms, "prediction", {text, strlen(text)}, row->tickers};
    finch_status st = give(m, &e, err);
    free(text); /* jansson's own */
    return st;
}

/* Each list has its first limit, so the first limit of both together are among them. */
static finch_status merge(store *s, merging *m, int64_t after, finch_error *err)
{
    static const sql_statement look = {
        "SELECT id, time, kind, data FROM event WHERE id > $1 AND id <= $3 ORDER BY id LIMIT $2", NULL};
    FINCH_TRY(events_last(s, &m->last, err));
    sql_value values[] = {sql_integer(after), sql_integer((int64_t)m->limit), sql_integer(m->last)};
    FINCH_TRY(MEM_NEW(&m->events, m->limit, err));
    FINCH_TRY(store_run(s, &look, values, 3, keep_event, m, NULL, err));
    FINCH_TRY(history_rows_after(s, after, m->limit, give_prediction, m, err));
    return give_events_below(m, INT64_MAX, err);
}

finch_status events_after(store *s, int64_t after, size_t limit, event_fn visit, void *context, finch_error *err)
{
    merging m = {.visit = visit, .context = context, .limit = limit};
    finch_status st = merge(s, &m, after > 0 ? after : 0, err);
    for (size_t i = 0; i < m.n_events; i++) {
        mem_free(m.events[i].kind);
        mem_free(m.events[i].data);
    }
    mem_free(m.events);
    return st;
}
