/* Redis Streams (https://redis.io/docs/data-types/streams/), Redis 6.2 and later, through hiredis.
 *
 * Publishing and acknowledging are one script, so that they happen together or not at all: an output is added only if its entry is
 * still pending. A message that two consumers scored (one was taken for dead) is published once, and no window of time is needed
 * to remember ids. Both streams must be on one server; in a cluster, in one slot.
 *
 * An entry that came is the JSON object in its field "data"; without one, its fields are the object's keys, their values texts.
 * An output has the fields id and data; a dead letter also reason and deliveries.
 *
 * Entries of consumers that died are taken by XAUTOCLAIM once they have been idle for ack_wait_seconds. */
#include "stream/broker.h"
#include "stream/library.h"

#include "base/clock.h"

#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PORT = 6379, CONNECT_SECONDS = 5, ANSWER_SECONDS = 10, CURSOR_BYTES = 48, NUMBER_BYTES = 24 };

/* ---- the library ---- */

#define FUNCTION_LIST(X)       \
    X(redisConnectWithTimeout) \
    X(redisSetTimeout)         \
    X(redisEnableKeepAlive)    \
    X(redisFree)               \
    X(redisCommand)            \
    X(redisAppendCommandArgv)  \
    X(redisGetReply)           \
    X(freeReplyObject)

static struct {
    FUNCTION_LIST(STREAM_POINTER)
} lib; /* set once, by the opening of the library */
static const stream_symbol symbols[] = {FUNCTION_LIST(STREAM_SYMBOL)};
static stream_library library = STREAM_LIBRARY(FINCH_HIREDIS, symbols);

/* ---- a connection ---- */

typedef struct redis {
    const stream_place *place;
    redisContext *link;
    char publish_script[41]; /* SHA-1 */
    double claim_due;        /* clock_seconds */
    char claim_cursor[CURSOR_BYTES];
} redis;

/* KEYS: input, output. ARGV: group, entry, then the fields of the output. */
static const char publish_script[] =
    "if #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[2], ARGV[2], 1) == 0 then return 0 end "
    "redis.call('XADD', KEYS[2], '*', unpack(ARGV, 3)) "
    "redis.call('XACK', KEYS[1], ARGV[1], ARGV[2]) return 1";

/* A consumer that is deleted takes what it holds with it, so only one that holds nothing goes. */
static const char leave_script[] = "if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2]) == 0 then "
                                   "redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2]) end return 0";

/* Errors of a server that may be over when one comes back; NOGROUP and NOSCRIPT are mended by opening again. */
static bool passes(const char *error)
{
    static const char *const words[] = {"LOADING", "READONLY", "OOM",       "MASTERDOWN", "CLUSTERDOWN",
                                        "BUSY",    "TRYAGAIN", "MISCONF",   "NOREPLICAS", "UNBLOCKED",
                                        "NOGROUP", "NOSCRIPT", "UNKILLABLE"};
    size_t n = strcspn(error, " ");
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strlen(words[i]) == n && memcmp(words[i], error, n) == 0) return true;
    return false;
}

/* Takes reply over. Errors: what the server or the connection said. */
static finch_status check(const redis *r, redisReply *reply, const char *doing, finch_error *err)
{
    finch_status st = FINCH_OK;
    if (reply == NULL)
        st = finch_fail(err, FINCH_E_REMOTE, "%s: the connection was lost while %s (%s)", r->place->place, doing,
                        r->link->errstr);
    else if (reply->type == REDIS_REPLY_ERROR)
        st = finch_fail(err, passes(reply->str) ? FINCH_E_REMOTE : FINCH_E_FAILED, "%s refused %s: %.300s", r->place->place,
                        doing, reply->str);
    if (st != FINCH_OK && reply != NULL) lib.freeReplyObject(reply);
    return st;
}

static finch_status done(const redis *r, redisReply *reply, const char *doing, finch_error *err)
{
    FINCH_TRY(check(r, reply, doing, err));
    lib.freeReplyObject(reply);
    return FINCH_OK;
}

static finch_status malformed(const redis *r, const char *doing, finch_error *err)
{
    return finch_fail(err, FINCH_E_FAILED, "%s gave no answer that Redis 6.2 or later gives when %s", r->place->place,
                      doing);
}

static finch_status sign_in(const redis *r, const stream_url *u, finch_error *err)
{
    const char *database = u->path != NULL && u->path[0] == '/' ? u->path + 1 : "";
    if (u->password != NULL && u->user != NULL && u->user[0] != '\0')
        FINCH_TRY(done(r, lib.redisCommand(r->link, "AUTH %s %s", u->user, u->password), "the user and password", err));
    else if (u->password != NULL) FINCH_TRY(done(r, lib.redisCommand(r->link, "AUTH %s", u->password), "the password", err));
    if (database[0] == '\0') return FINCH_OK;
    return done(r, lib.redisCommand(r->link, "SELECT %s", database), "the database of the URL", err);
}

static finch_status make_group(const redis *r, finch_error *err)
{
    const stream_place *p = r->place;
    redisReply *reply = lib.redisCommand(r->link, "XGROUP CREATE %s %s %s MKSTREAM", p->input, p->group,
                                         p->from_new ? "$" : "0");
    if (reply != NULL && reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "BUSYGROUP", 9) == 0) {
        lib.freeReplyObject(reply);
        return FINCH_OK;
    }
    return done(r, reply, "the consumer group", err);
}

static finch_status load_script(redis *r, finch_error *err)
{
    redisReply *reply = lib.redisCommand(r->link, "SCRIPT LOAD %s", publish_script);
    FINCH_TRY(check(r, reply, "the script that publishes", err));
    bool whole = reply->type == REDIS_REPLY_STRING && reply->len == sizeof r->publish_script - 1;
    if (whole) memcpy(r->publish_script, reply->str, reply->len);
    lib.freeReplyObject(reply);
    return whole ? FINCH_OK : malformed(r, "loading a script", err);
}

static finch_status connect_to(redis *r, const stream_url *u, finch_error *err)
{
    r->link = lib.redisConnectWithTimeout(u->host, u->port, (struct timeval){.tv_sec = CONNECT_SECONDS});
    if (r->link == NULL) return finch_fail(err, FINCH_E_MEMORY, "out of memory for a connection");
    if (r->link->err != 0)
        return finch_fail(err, FINCH_E_REMOTE, "%s can not be reached: %s", r->place->place, r->link->errstr);
    lib.redisSetTimeout(r->link, (struct timeval){.tv_sec = ANSWER_SECONDS});
    lib.redisEnableKeepAlive(r->link);
    FINCH_TRY(sign_in(r, u, err));
    FINCH_TRY(make_group(r, err));
    return load_script(r, err);
}

static void redis_close(void *connection, bool leave)
{
    redis *r = connection;
    if (r == NULL) return;
    if (leave) {
        redisReply *reply = lib.redisCommand(r->link, "EVAL %s 1 %s %s %s", leave_script, r->place->input, r->place->group,
                                             r->place->consumer);
        if (reply != NULL) lib.freeReplyObject(reply); /* where it fails, the name stays in the group and harms nobody */
    }
    if (r->link != NULL) lib.redisFree(r->link);
    mem_free(r);
}

static finch_status redis_open(const stream_place *place, const stream_url *url, void **connection, finch_error *err)
{
    redis *r;
    FINCH_TRY(MEM_NEW(&r, 1, err));
    *connection = r;
    *r = (redis){.place = place, .claim_cursor = "0-0"};
    return connect_to(r, url, err);
}

/* ---- reading ---- */

static bool is_text(const redisReply *reply) { return reply != NULL && reply->type == REDIS_REPLY_STRING; }
static bool is_array(const redisReply *reply, size_t n_least)
{
    return reply != NULL && reply->type == REDIS_REPLY_ARRAY && reply->elements >= n_least;
}

/* Bytes that are not UTF-8 go through as they are: the object's reader refuses them, and the dead letter has them. */
static finch_status add_json_bytes(str *out, const redisReply *text, finch_error *err)
{
    FINCH_TRY(str_add_text(out, "\"", err));
    for (size_t i = 0; i < text->len; i++) {
        unsigned char c = (unsigned char)text->str[i];
        if (c < 0x20) FINCH_TRY(str_add_format(out, err, "\\u%04x", c));
        else {
            if (c == '"' || c == '\\') FINCH_TRY(str_add_text(out, "\\", err));
            FINCH_TRY(str_add(out, text->str + i, 1, err));
        }
    }
    return str_add_text(out, "\"", err);
}

static finch_status fields_as_json(const redisReply *fields, str *out, finch_error *err)
{
    FINCH_TRY(str_add_text(out, "{", err));
    for (size_t i = 0; i + 1 < fields->elements; i += 2) {
        if (i > 0) FINCH_TRY(str_add_text(out, ",", err));
        FINCH_TRY(add_json_bytes(out, fields->element[i], err));
        FINCH_TRY(str_add_text(out, ":", err));
        FINCH_TRY(add_json_bytes(out, fields->element[i + 1], err));
    }
    return str_add_text(out, "}", err);
}

static finch_status add_payload(const redisReply *fields, stream_batch *batch, stream_message **out, finch_error *err)
{
    str json = {0};
    for (size_t i = 0; i + 1 < fields->elements; i += 2) {
        const redisReply *name = fields->element[i], *value = fields->element[i + 1];
        if (name->len == 4 && memcmp(name->str, "data", 4) == 0)
            return stream_batch_add(batch, value->str, value->len, out, err);
    }
    finch_status st = fields_as_json(fields, &json, err);
    if (st == FINCH_OK) st = stream_batch_add(batch, json.at, json.size, out, err);
    str_free(&json);
    return st;
}

/* An entry that was deleted while it was pending has no fields: nothing is left to score, and it leaves the list. */
static finch_status drop_entry(const redis *r, const char *entry, finch_error *err)
{
    return done(r, lib.redisCommand(r->link, "XACK %s %s %s", r->place->input, r->place->group, entry), "an acknowledgement",
                err);
}

static finch_status add_entry(const redis *r, const redisReply *entry, stream_batch *batch, finch_error *err)
{
    stream_message *m;
    if (!is_array(entry, 2) || !is_text(entry->element[0])) return malformed(r, "reading", err);
    const redisReply *id = entry->element[0], *fields = entry->element[1];
    if (fields->type == REDIS_REPLY_NIL) return drop_entry(r, id->str, err);
    if (!is_array(fields, 2)) return malformed(r, "reading", err);
    for (size_t i = 0; i < fields->elements; i++)
        if (!is_text(fields->element[i])) return malformed(r, "reading", err);
    FINCH_TRY(add_payload(fields, batch, &m, err));
    snprintf(m->id, sizeof m->id, "%.*s/%.*s", STREAM_NAME_BYTES, r->place->input, CURSOR_BYTES, id->str);
    m->time_ms = (int64_t)strtoll(id->str, NULL, 10);
    return FINCH_OK;
}

static finch_status add_entries(const redis *r, const redisReply *entries, stream_batch *batch, finch_error *err)
{
    if (!is_array(entries, 0)) return malformed(r, "reading", err);
    for (size_t i = 0; i < entries->elements; i++)
        if (entries->element[i]->type != REDIS_REPLY_NIL) FINCH_TRY(add_entry(r, entries->element[i], batch, err));
    return FINCH_OK;
}

/* The part of a message's id that Redis gave. */
static const char *entry_of(const stream_message *m) { return strrchr(m->id, '/') + 1; }

static finch_status count_deliveries(const redis *r, stream_message *m, finch_error *err)
{
    redisReply *reply = lib.redisCommand(r->link, "XPENDING %s %s %s %s 1", r->place->input, r->place->group, entry_of(m),
                                         entry_of(m));
    FINCH_TRY(check(r, reply, "the count of deliveries", err));
    if (is_array(reply, 1) && is_array(reply->element[0], 4) && reply->element[0]->element[3]->type == REDIS_REPLY_INTEGER)
        m->n_deliveries = (uint64_t)reply->element[0]->element[3]->integer;
    lib.freeReplyObject(reply);
    return FINCH_OK;
}

/* What others hold, and this consumer itself held before it was started again. */
static finch_status take_over(redis *r, size_t most, stream_batch *batch, finch_error *err)
{
    size_t before = batch->n;
    double idle_ms = r->place->ack_wait_seconds * 1000;
    redisReply *reply = lib.redisCommand(r->link, "XAUTOCLAIM %s %s %s %llu %s COUNT %llu", r->place->input, r->place->group,
                                         r->place->consumer, (unsigned long long)idle_ms, r->claim_cursor,
                                         (unsigned long long)most);
    FINCH_TRY(check(r, reply, "taking over the messages of dead consumers", err));
    finch_status st = is_array(reply, 2) && is_text(reply->element[0]) && reply->element[0]->len < CURSOR_BYTES
                          ? add_entries(r, reply->element[1], batch, err)
                          : malformed(r, "taking over messages", err);
    if (st == FINCH_OK) memcpy(r->claim_cursor, reply->element[0]->str, reply->element[0]->len + 1);
    lib.freeReplyObject(reply);
    for (size_t i = before; st == FINCH_OK && i < batch->n; i++) st = count_deliveries(r, &batch->messages[i], err);
    if (strcmp(r->claim_cursor, "0-0") == 0) r->claim_due = clock_seconds() + r->place->ack_wait_seconds / 2;
    return st;
}

static finch_status redis_read(void *connection, size_t most, unsigned wait_ms, stream_batch *batch, finch_error *err)
{
    redis *r = connection;
    size_t before = batch->n;
    const stream_place *p = r->place;
    if (clock_seconds() >= r->claim_due) FINCH_TRY(take_over(r, most, batch, err));
    unsigned long long room = most - (batch->n - before);
    if (room == 0) return FINCH_OK;
    redisReply *reply = wait_ms > 0 && batch->n == before
                            ? lib.redisCommand(r->link, "XREADGROUP GROUP %s %s COUNT %llu BLOCK %u STREAMS %s >", p->group,
                                               p->consumer, room, wait_ms, p->input)
                            : lib.redisCommand(r->link, "XREADGROUP GROUP %s %s COUNT %llu STREAMS %s >", p->group,
                                               p->consumer, room, p->input);
    FINCH_TRY(check(r, reply, "reading", err));
    finch_status st = FINCH_OK;
    if (reply->type != REDIS_REPLY_NIL)
        st = is_array(reply, 1) && is_array(reply->element[0], 2) ? add_entries(r, reply->element[0]->element[1], batch, err)
                                                                  : malformed(r, "reading", err);
    lib.freeReplyObject(reply);
    return st;
}

/* ---- publishing ---- */

static finch_status append_output(const redis *r, const stream_message *m, const stream_output *o, finch_error *err)
{
    enum { WORDS_MAX = 14 };
    char deliveries[NUMBER_BYTES];
    const stream_place *p = r->place;
    snprintf(deliveries, sizeof deliveries, "%" PRIu64, m->n_deliveries);
    const char *words[WORDS_MAX] = {
        "EVALSHA",  r->publish_script, "2",       p->input,    o->reason != NULL ? p->dead : p->output,
        p->group,   entry_of(m),       "id",      o->id,       "data",
        o->data.at, "reason",          o->reason, "deliveries"};
    const char *all[WORDS_MAX + 1];
    size_t sizes[WORDS_MAX + 1];
    int n = o->reason != NULL ? WORDS_MAX + 1 : 11;
    memcpy(all, words, sizeof words);
    all[WORDS_MAX] = deliveries;
    for (int i = 0; i < n; i++) sizes[i] = i == 10 ? o->data.size_bytes : strlen(all[i]);
    if (lib.redisAppendCommandArgv(r->link, n, all, sizes) == REDIS_OK) return FINCH_OK;
    return finch_fail(err, FINCH_E_REMOTE, "%s: publishing failed (%s)", p->place, r->link->errstr);
}

static size_t redis_output_max(const void *connection)
{
    (void)connection;
    return 512u << 20; /* proto-max-bulk-len, unless a server was told otherwise */
}

/* All answers are read whatever the first ones say, so that the connection stays in step. */
static finch_status redis_publish(void *connection, const stream_batch *batch, const stream_output *outputs,
                                  finch_error *err)
{
    redis *r = connection;
    finch_status st = FINCH_OK;
    for (size_t i = 0; i < batch->n; i++) FINCH_TRY(append_output(r, &batch->messages[i], &outputs[i], err));
    for (size_t i = 0; i < batch->n; i++) {
        void *reply = NULL;
        if (lib.redisGetReply(r->link, &reply) != REDIS_OK) return check(r, NULL, "publishing", err);
        finch_status one = done(r, reply, "publishing", st == FINCH_OK ? err : NULL);
        if (st == FINCH_OK) st = one;
    }
    return st;
}

/* The script that published did it. */
static finch_status redis_acknowledge(void *connection, const stream_batch *batch, finch_error *err)
{
    (void)connection;
    (void)batch;
    (void)err;
    return FINCH_OK;
}

/* ---- lag ---- */

static const redisReply *field_of(const redisReply *pairs, const char *name)
{
    for (size_t i = 0; is_array(pairs, 2) && i + 1 < pairs->elements; i += 2)
        if (is_text(pairs->element[i]) && strcmp(pairs->element[i]->str, name) == 0) return pairs->element[i + 1];
    return NULL;
}

/* Redis says no lag before 7.0, and where entries were deleted. */
static finch_status redis_lag(void *connection, stream_lag *out, finch_error *err)
{
    redis *r = connection;
    redisReply *reply = lib.redisCommand(r->link, "XINFO GROUPS %s", r->place->input);
    *out = (stream_lag){.waiting = -1};
    FINCH_TRY(check(r, reply, "the lag", err));
    for (size_t i = 0; is_array(reply, 1) && i < reply->elements; i++) {
        const redisReply *group = reply->element[i], *name = field_of(group, "name"), *lag = field_of(group, "lag"),
                         *pending = field_of(group, "pending");
        if (!is_text(name) || strcmp(name->str, r->place->group) != 0) continue;
        if (lag != NULL && lag->type == REDIS_REPLY_INTEGER) out->waiting = lag->integer;
        if (pending != NULL && pending->type == REDIS_REPLY_INTEGER) out->pending = pending->integer;
    }
    lib.freeReplyObject(reply);
    return FINCH_OK;
}

static void redis_release(stream_batch *batch)
{
    batch->n = 0;
    str_clear(&batch->bytes);
}

const stream_broker stream_redis = {
    .scheme = "redis",
    .what = "Redis Streams",
    .library = &library,
    .port = PORT,
    .open = redis_open,
    .read = redis_read,
    .output_max = redis_output_max,
    .publish = redis_publish,
    .acknowledge = redis_acknowledge,
    .lag = redis_lag,
    .release = redis_release,
    .close = redis_close,
};
