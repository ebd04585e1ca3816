/* The server's keys in memory: a table by id, replaced as a whole where something changed, read under a lock for a few
 * microseconds; one thread that asks the store. */
#include "store/keys.h"

#include "base/clock.h"
#include "store/values.h"

#include <openssl/crypto.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define REFRESH_PRESET 1.0
#define TRUST_PRESET 300.0
#define STAMP_PRESET 60.0
#define PATIENCE_SECONDS 1.0

enum { PREFIX_BYTES = 6, TEXT_MOST = 4096 };

typedef struct known_key {
    keys_entry entry;
    char hash[VALUES_SHA256_BYTES];
    bool revoked;
    int64_t used_ms; /* 0: not since the last stamp */
} known_key;

typedef struct table {
    known_key *keys; /* in the order of ids */
    size_t n, n_room;
} table;

struct keys_cache {
    pthread_mutex_t lock;      /* guards known, asked, woken, stop */
    pthread_cond_t wake;
    pthread_mutex_t work_lock; /* guards the store and what follows; taken before lock */
    store *store;
    int64_t revision;
    double stamped;
    table known;
    double asked; /* when the store last answered */
    bool woken, stop, started;
    pthread_t thread;
    double refresh_seconds, trust_seconds, stamp_seconds;
};

static void table_free(table *t)
{
    mem_free(t->keys);
    *t = (table){0};
}

/* ---- reading the store ---- */

static void take_text(char *out, size_t room, finch_text text)
{
    size_t n = text.size_bytes < room ? text.size_bytes : room - 1;
    memcpy(out, text.at, n);
    out[n] = '\0';
}

static finch_status take_key(void *context, const sql_row *row, finch_error *err)
{
    table *t = context;
    FINCH_TRY(MEM_ROOM(&t->keys, t->n, 1, &t->n_room, err));
    known_key *key = &t->keys[t->n++];
    memset(key, 0, sizeof *key);
    take_text(key->entry.id, sizeof key->entry.id, sql_row_text(row, 0));
    take_text(key->hash, sizeof key->hash, sql_row_text(row, 1));
    take_text(key->entry.name, sizeof key->entry.name, sql_row_text(row, 2));
    key->entry.scopes = (unsigned)sql_row_integer(row, 3);
    key->entry.expires_ms = sql_row_integer(row, 4);
    key->revoked = sql_row_integer(row, 5) != 0;
    key->entry.requests_a_minute = sql_row_integer(row, 6);
    key->entry.store_predictions = sql_row_integer(row, 7) != 0;
    return FINCH_OK;
}

static int by_id(const void *a, const void *b)
{
    const known_key *x = a, *y = b;
    return strcmp(x->entry.id, y->entry.id);
}

static known_key *find(const table *t, const char *id)
{
    size_t low = 0, high = t->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(t->keys[middle].entry.id, id);
        if (order == 0) return &t->keys[middle];
        if (order < 0) low = middle + 1;
        else high = middle;
    }
    return NULL;
}

/* What was used but not stamped yet goes on in the new table. */
static void replace(keys_cache *c, table *fresh)
{
    table old;
    if (fresh->n > 0) qsort(fresh->keys, fresh->n, sizeof *fresh->keys, by_id);
    pthread_mutex_lock(&c->lock);
    for (size_t i = 0; i < c->known.n; i++) {
        known_key *key = find(fresh, c->known.keys[i].entry.id);
        if (key != NULL) key->used_ms = c->known.keys[i].used_ms;
    }
    old = c->known;
    c->known = *fresh;
    pthread_mutex_unlock(&c->lock);
    table_free(&old);
}

/* The revision is read first: a change in between is seen the next time. */
static finch_status ask_store(keys_cache *c, finch_error *err)
{
    static const sql_statement look = {"SELECT value FROM store_counter WHERE name = 'keys'", NULL};
    static const sql_statement all = {"SELECT id, hash, name, scopes, expires, revoked, requests_a_minute, "
                                      "store_predictions FROM api_key",
                                      NULL};
    double now = clock_seconds();
    int64_t revision = 0;
    table fresh = {0};
    FINCH_TRY(store_run(c->store, &look, NULL, 0, sql_take_integer, &revision, NULL, err));
    if (revision != c->revision) {
        finch_status st = store_run(c->store, &all, NULL, 0, take_key, &fresh, NULL, err);
        if (st != FINCH_OK) {
            table_free(&fresh);
            return st;
        }
        replace(c, &fresh);
        c->revision = revision;
    }
    pthread_mutex_lock(&c->lock);
    c->asked = now;
    pthread_mutex_unlock(&c->lock);
    return FINCH_OK;
}

/* ---- stamps ---- */

/* [[id, ms], ...] of the keys used since the last time, as text; *text is NULL where there are none. */
static finch_status take_stamps(keys_cache *c, char **text, finch_error *err)
{
    json_t *list = json_array();
    bool made = list != NULL;
    *text = NULL;
    pthread_mutex_lock(&c->lock);
    for (size_t i = 0; made && i < c->known.n; i++) {
        known_key *key = &c->known.keys[i];
        if (key->used_ms != 0)
            made = json_array_append_new(list, json_pack("[s, I]", key->entry.id, (json_int_t)key->used_ms)) == 0;
        key->used_ms = 0;
    }
    pthread_mutex_unlock(&c->lock);
    if (made && json_array_size(list) > 0) made = (*text = values_dump(list)) != NULL;
    json_decref(list);
    return made ? FINCH_OK : finch_fail(err, FINCH_E_MEMORY, "out of memory for the keys' stamps");
}

static finch_status write_stamps(keys_cache *c, finch_error *err)
{
    static const sql_statement stamp = {
        "UPDATE api_key SET last_used = json_extract(j.value, '$[1]') FROM json_each($1) j WHERE api_key.id = "
        "json_extract(j.value, '$[0]') AND api_key.last_used < json_extract(j.value, '$[1]')",
        "UPDATE api_key SET last_used = (j.value->>1)::bigint FROM json_array_elements($1::json) j WHERE api_key.id = "
        "j.value->>0 AND api_key.last_used < (j.value->>1)::bigint"};
    char *text;
    FINCH_TRY(take_stamps(c, &text, err));
    if (text == NULL) return FINCH_OK;
    sql_value list = sql_text(text);
    finch_status st = store_run(c->store, &stamp, &list, 1, NULL, NULL, NULL, err);
    free(text); /* jansson's own */
    return st;
}

/* ---- the thread ---- */

finch_status keys_cache_refresh(keys_cache *c, finch_error *err)
{
    pthread_mutex_lock(&c->work_lock);
    finch_status st = ask_store(c, err);
    pthread_mutex_unlock(&c->work_lock);
    return st;
}

void keys_cache_wake(keys_cache *c)
{
    pthread_mutex_lock(&c->lock);
    c->woken = true;
    pthread_cond_signal(&c->wake);
    pthread_mutex_unlock(&c->lock);
}

/* False at the end. */
static bool wait_a_while(keys_cache *c)
{
    struct timespec until = clock_after(CLOCK_MONOTONIC, c->refresh_seconds);
    pthread_mutex_lock(&c->lock);
    while (!c->stop && !c->woken && pthread_cond_timedwait(&c->wake, &c->lock, &until) == 0) continue;
    bool go_on = !c->stop;
    c->woken = false;
    pthread_mutex_unlock(&c->lock);
    return go_on;
}

/* A store that is away is asked again after the same pause: the trust in what is known runs out by itself. */
static void *keep_fresh(void *context)
{
    keys_cache *c = context;
    while (wait_a_while(c)) {
        pthread_mutex_lock(&c->work_lock);
        finch_status st = ask_store(c, NULL);
        if (st == FINCH_OK && clock_seconds() - c->stamped >= c->stamp_seconds) {
            c->stamped = clock_seconds();
            write_stamps(c, NULL);
        }
        pthread_mutex_unlock(&c->work_lock);
    }
    return NULL;
}

static double preset(double given, double otherwise) { return given > 0 ? given : otherwise; }

static finch_status start(keys_cache *c, const keys_cache_options *options, finch_error *err)
{
    c->refresh_seconds = preset(options->refresh_seconds, REFRESH_PRESET);
    c->trust_seconds = preset(options->trust_seconds, TRUST_PRESET);
    c->stamp_seconds = preset(options->stamp_seconds, STAMP_PRESET);
    c->stamped = clock_seconds();
    c->revision = -1;
    FINCH_TRY(store_open(options->place, &c->store, err));
    store_set_patience(c->store, PATIENCE_SECONDS);
    FINCH_TRY(ask_store(c, err));
    if (pthread_create(&c->thread, NULL, keep_fresh, c) != 0)
        return finch_fail(err, FINCH_E_FAILED, "no thread can be started to keep the API keys fresh");
    c->started = true;
    return FINCH_OK;
}

finch_status keys_cache_open(const keys_cache_options *options, keys_cache **out, finch_error *err)
{
    keys_cache *c = NULL;
    pthread_condattr_t attributes;
    *out = NULL;
    FINCH_TRY(MEM_NEW(&c, 1, err));
    pthread_mutex_init(&c->lock, NULL);
    pthread_mutex_init(&c->work_lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&c->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    finch_status st = start(c, options, err);
    if (st == FINCH_OK) *out = c;
    else keys_cache_close(c);
    return st;
}

void keys_cache_close(keys_cache *c)
{
    if (c == NULL) return;
    pthread_mutex_lock(&c->lock);
    c->stop = true;
    pthread_cond_signal(&c->wake);
    pthread_mutex_unlock(&c->lock);
    if (c->started) {
        pthread_join(c->thread, NULL);
        write_stamps(c, NULL);
    }
    store_close(c->store);
    table_free(&c->known);
    pthread_cond_destroy(&c->wake);
    pthread_mutex_destroy(&c->work_lock);
    pthread_mutex_destroy(&c->lock);
    mem_free(c);
}

/* ---- the look-up ---- */

/* The id that the text names; "" where it names none. What is no key at all needs no constant time: it tells nothing. */
static void id_in(const char *text, size_t size, char out[KEYS_ID_BYTES])
{
    out[0] = '\0';
    if (size != KEYS_TEXT_BYTES - 1 || memcmp(text, "finch_", PREFIX_BYTES) != 0) return;
    memcpy(out, text + PREFIX_BYTES, KEYS_ID_BYTES - 1);
    out[KEYS_ID_BYTES - 1] = '\0';
}

static keys_verdict judge(keys_cache *c, known_key *key, const char *hash, int64_t now_ms, keys_entry *out)
{
    static const char nothing[VALUES_SHA256_BYTES] = "";
    const char *kept = key != NULL ? key->hash : nothing;
    bool equal = CRYPTO_memcmp(kept, hash, VALUES_SHA256_BYTES) == 0;
    if (clock_seconds() - c->asked > c->trust_seconds) return KEYS_UNSURE;
    if (!equal || key == NULL) return KEYS_UNKNOWN;
    if (key->revoked) return KEYS_REVOKED;
    if (key->entry.expires_ms != 0 && key->entry.expires_ms <= now_ms) return KEYS_EXPIRED;
    key->used_ms = now_ms;
    *out = key->entry;
    return KEYS_GOOD;
}

keys_verdict keys_cache_check(keys_cache *c, const char *text, size_t size, keys_entry *out)
{
    char id[KEYS_ID_BYTES], hash[VALUES_SHA256_BYTES];
    id_in(text, size, id);
    if (values_sha256(text, size < TEXT_MOST ? size : TEXT_MOST, hash, NULL) != FINCH_OK) return KEYS_UNSURE;
    int64_t now_ms = clock_unix_ms();
    pthread_mutex_lock(&c->lock);
    keys_verdict verdict = judge(c, find(&c->known, id), hash, now_ms, out);
    pthread_mutex_unlock(&c->lock);
    return verdict;
}

size_t keys_cache_size(keys_cache *c)
{
    pthread_mutex_lock(&c->lock);
    size_t n = c->known.n;
    pthread_mutex_unlock(&c->lock);
    return n;
}
