/* What serves, and since when. */
#include "store/registry.h"

#include "store/events.h"
#include "store/registry_record.h"
#include "store/values.h"

#include <stdio.h>
#include <string.h>

enum { NOTE_MOST = 1000 };

/* ---- the record ---- */

finch_status registry_note_change(store *s, finch_error *err)
{
    static const sql_statement note = {"UPDATE store_counter SET value = value + 1 WHERE name = 'registry'", NULL};
    return store_run(s, &note, NULL, 0, NULL, NULL, NULL, err);
}

/* The counter's row is held until the transaction ends. */
finch_status registry_lock(store *s, finch_error *err) { return registry_note_change(s, err); }

finch_status registry_revision(store *s, int64_t *out, finch_error *err)
{
    static const sql_statement look = {"SELECT value FROM store_counter WHERE name = 'registry'", NULL};
    *out = 0;
    return store_run(s, &look, NULL, 0, sql_take_integer, out, NULL, err);
}

static json_t *number_json(int64_t number) { return number != 0 ? json_integer(number) : json_null(); }

static finch_status tell(store *s, const registry_entry *entry, finch_error *err)
{
    json_t *data = json_pack("{s:s, s:s, s:s, s:o, s:o, s:s}", "name", entry->name, "stage", entry->stage, "action",
                             entry->action, "from", number_json(entry->before), "to", number_json(entry->after), "by",
                             entry->by);
    if (data == NULL) return finch_fail(err, FINCH_E_MEMORY, "out of memory for an event");
    finch_status st = events_add(s, "model", data, err);
    json_decref(data);
    return st;
}

finch_status registry_write_record(store *s, const registry_entry *entry, finch_error *err)
{
    static const sql_statement insert = {"INSERT INTO model_record (id, time, name, stage, action, before, after, author, "
                                         "note) SELECT coalesce(max(id), 0) + "
                                         "1, $1, $2, $3, $4, $5, $6, $7, $8 FROM model_record",
                                         NULL};
    sql_value values[] = {sql_integer(store_now_ms(s)), sql_text(entry->name),
                          sql_text(entry->stage),       sql_text(entry->action),
                          sql_integer(entry->before),   sql_integer(entry->after),
                          sql_text(entry->by),          sql_text(entry->note != NULL ? entry->note : "")};
    FINCH_TRY(registry_note_change(s, err)); /* first: ids are counted up under its lock */
    FINCH_TRY(store_run(s, &insert, values, 8, NULL, NULL, NULL, err));
    return tell(s, entry, err);
}

static finch_status list_entry(void *context, const sql_row *row, finch_error *err)
{
    finch_text name = sql_row_text(row, 1), action = sql_row_text(row, 3), by = sql_row_text(row, 6);
    json_t *one = json_pack("{s:o, s:s%, s:o, s:s%, s:o, s:o, s:s%, s:o}", "time", values_time(sql_row_integer(row, 0)),
                            "name", name.at, name.size_bytes, "stage", values_text(sql_row_text(row, 2)), "action",
                            action.at, action.size_bytes, "from", number_json(sql_row_integer(row, 4)), "to",
                            number_json(sql_row_integer(row, 5)), "by", by.at, by.size_bytes, "note",
                            values_text(sql_row_text(row, 7)));
    if (json_array_append_new(context, one) != 0) return finch_fail(err, FINCH_E_MEMORY, "out of memory for the record");
    return FINCH_OK;
}

finch_status registry_record(store *s, const char *name, size_t limit, json_t **out, finch_error *err)
{
    static const sql_statement look = {
        "SELECT time, name, stage, action, before, after, author, note FROM model_record WHERE "
        "$1 IS NULL OR name = $1 ORDER BY id DESC LIMIT $2",
        NULL};
    json_t *list = json_array();
    sql_value values[] = {sql_text(name), sql_integer((int64_t)limit)};
    finch_status st = store_run(s, &look, values, 2, list_entry, list, NULL, err);
    *out = st == FINCH_OK ? list : NULL;
    if (st != FINCH_OK) json_decref(list);
    return st;
}

finch_status registry_at(store *s, const char *name, const char *stage, int64_t time_ms, int64_t *number, finch_error *err)
{
    static const sql_statement look = {
        "SELECT after FROM model_record WHERE name = $1 AND stage = $2 AND time <= $3 ORDER BY id DESC LIMIT 1", NULL};
    sql_value values[] = {sql_text(name), sql_text(stage), sql_integer(time_ms)};
    *number = 0;
    return store_run(s, &look, values, 3, sql_take_integer, number, NULL, err);
}

/* ---- stages ---- */

typedef struct changing {
    const registry_change *change;
    const char *by;
    int64_t number; /* promote: the version to come */
    int64_t before, now;
    bool missing;
} changing;

static finch_status read_stage(store *s, const registry_change *change, int64_t *number, finch_error *err)
{
    static const sql_statement look = {"SELECT number FROM model_stage WHERE name = $1 AND stage = $2", NULL};
    sql_value values[] = {sql_text(change->name), sql_text(change->stage)};
    *number = 0;
    return store_run(s, &look, values, 2, sql_take_integer, number, NULL, err);
}

/* number 0 empties it. */
static finch_status write_stage(store *s, const changing *c, int64_t number, const char *action, finch_error *err)
{
    static const sql_statement set = {
        "INSERT INTO model_stage (name, stage, number, since) VALUES ($1, $2, $3, $4) ON CONFLICT "
        "(name, stage) DO UPDATE SET number = excluded.number, since = excluded.since",
        NULL};
    static const sql_statement clear = {"DELETE FROM model_stage WHERE name = $1 AND stage = $2", NULL};
    sql_value values[] = {sql_text(c->change->name), sql_text(c->change->stage), sql_integer(number),
                          sql_integer(store_now_ms(s))};
    FINCH_TRY(store_run(s, number != 0 ? &set : &clear, values, number != 0 ? 4 : 2, NULL, NULL, NULL, err));
    registry_entry entry = {c->change->name, c->change->stage, action, c->before, number, c->by, c->change->note};
    return registry_write_record(s, &entry, err);
}

static finch_status is_there(store *s, const char *name, int64_t number, bool *out, finch_error *err)
{
    static const sql_statement look = {"SELECT count(*) FROM model_version WHERE name = $1 AND number = $2 AND removed = 0",
                                       NULL};
    int64_t n = 0;
    sql_value values[] = {sql_text(name), sql_integer(number)};
    FINCH_TRY(store_run(s, &look, values, 2, sql_take_integer, &n, NULL, err));
    *out = n > 0;
    return FINCH_OK;
}

static finch_status promote_work(store *s, void *context, finch_error *err)
{
    changing *c = context;
    bool there;
    FINCH_TRY(registry_lock(s, err));
    FINCH_TRY(is_there(s, c->change->name, c->number, &there, err));
    c->missing = !there;
    if (!there) return FINCH_OK;
    FINCH_TRY(read_stage(s, c->change, &c->before, err));
    return c->before != c->number ? write_stage(s, c, c->number, "promote", err) : FINCH_OK;
}

/* A stage's name is an alias behind the @: no number, not "latest". */
static finch_status check_change(const registry_change *change, finch_error *err)
{
    const char *stage = change->stage;
    bool number = stage[strspn(stage, "0123456789")] == '\0';
    if (!registry_name_valid(stage) || number || strcmp(stage, "latest") == 0)
        return finch_fail(err, FINCH_E_USAGE,
                          "\"%.80s\" can not be a stage: letters and digits with . _ - between them, no number, not latest",
                          stage);
    if (change->by != NULL) FINCH_TRY(values_check_name("who changes a stage", change->by, VALUES_USER_BYTES - 1, err));
    if (change->note != NULL && change->note[0] != '\0') return values_check_name("a note", change->note, NOTE_MOST, err);
    return FINCH_OK;
}

static finch_status make_change(store *s, changing *c, store_work_fn work, finch_error *err)
{
    char user[VALUES_USER_BYTES];
    c->by = c->change->by != NULL ? c->change->by : values_user(user);
    FINCH_TRY(check_change(c->change, err));
    return store_transaction(s, work, c, err);
}

finch_status registry_promote(store *s, const registry_change *change, int64_t number, int64_t *before, finch_error *err)
{
    changing c = {.change = change, .number = number};
    FINCH_TRY(make_change(s, &c, promote_work, err));
    if (c.missing)
        return finch_fail(err, FINCH_E_NOT_FOUND, "there is no model %.70s@%lld; finch models list shows what there is",
                          change->name, (long long)number);
    *before = c.before;
    return FINCH_OK;
}

/* What was in the stage before what is there now: the record as a stack, on which a promotion lays a version (emptying lays
 * none) and a rollback takes the uppermost away. Versions that were removed are passed over. */
typedef struct stack {
    int64_t *at;
    size_t n, n_room;
} stack;

static finch_status replay(void *context, const sql_row *row, finch_error *err)
{
    stack *x = context;
    finch_text action = sql_row_text(row, 0);
    int64_t after = sql_row_integer(row, 1);
    if (action.size_bytes == 8 && memcmp(action.at, "rollback", 8) == 0) {
        while (x->n > 0 && x->at[x->n - 1] != after) x->n--;
        return FINCH_OK;
    }
    FINCH_TRY(MEM_ROOM(&x->at, x->n, 1, &x->n_room, err));
    x->at[x->n++] = after;
    return FINCH_OK;
}

static finch_status rollback_work(store *s, void *context, finch_error *err)
{
    static const sql_statement look = {"SELECT action, after FROM model_record WHERE name = $1 AND stage = $2 ORDER BY id",
                                       NULL};
    changing *c = context;
    stack x = {NULL, 0, 0};
    sql_value values[] = {sql_text(c->change->name), sql_text(c->change->stage)};
    bool there = false;
    FINCH_TRY(registry_lock(s, err));
    finch_status st = read_stage(s, c->change, &c->before, err);
    if (st == FINCH_OK) st = store_run(s, &look, values, 2, replay, &x, NULL, err);
    c->now = 0;
    for (size_t i = x.n > 0 ? x.n - 1 : 0; st == FINCH_OK && !there && i > 0; i--) {
        c->now = x.at[i - 1];
        if (c->now != 0 && c->now != c->before) st = is_there(s, c->change->name, c->now, &there, err);
    }
    mem_free(x.at);
    c->missing = !there;
    return st == FINCH_OK && there ? write_stage(s, c, c->now, "rollback", err) : st;
}

finch_status registry_rollback(store *s, const registry_change *change, int64_t *before, int64_t *now, finch_error *err)
{
    changing c = {.change = change};
    *before = *now = 0;
    FINCH_TRY(make_change(s, &c, rollback_work, err));
    if (c.missing)
        return finch_fail(err, FINCH_E_NOT_FOUND,
                          "there is no version of %.70s that was in %.70s before; finch models show %.70s tells the record",
                          change->name, change->stage, change->name);
    *before = c.before;
    *now = c.now;
    return FINCH_OK;
}

static finch_status demote_work(store *s, void *context, finch_error *err)
{
    changing *c = context;
    FINCH_TRY(registry_lock(s, err));
    FINCH_TRY(read_stage(s, c->change, &c->before, err));
    return c->before != 0 ? write_stage(s, c, 0, "demote", err) : FINCH_OK;
}

finch_status registry_demote(store *s, const registry_change *change, finch_error *err)
{
    changing c = {.change = change};
    return make_change(s, &c, demote_work, err);
}
