#include "serve/gate.h"

#include "base/clock.h"
#include "base/siphash.h"
#include "serve/reply.h"

#include <math.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>

enum { GATE_BUCKETS = 4096, GATE_SESSIONS = 1024, SESSION_BYTES = 33, SESSION_SECONDS = 12 * 3600 };

/* Of one key: how many requests it may still make at the time `at`. */
typedef struct rate_bucket {
    char key[KEYS_ID_BYTES];
    double left, at;
} rate_bucket;

typedef struct session {
    char id[SESSION_BYTES];
    char key[KEYS_TEXT_BYTES]; /* asked of the cache each time, so that a revoked key ends its sessions */
    double until;
} session;

/* lock guards buckets and sessions. */
struct gate {
    pthread_mutex_t lock;
    keys_cache *keys; /* NULL: no store */
    bool required;
    double rate_per_minute;
    siphash_key seed;
    rate_bucket buckets[GATE_BUCKETS];
    session sessions[GATE_SESSIONS];
};

finch_status gate_create(const gate_options *options, gate **out, finch_error *err)
{
    gate *a;
    *out = NULL;
    FINCH_TRY(MEM_NEW(&a, 1, err));
    pthread_mutex_init(&a->lock, NULL);
    a->required = options->required;
    a->rate_per_minute = (double)options->rate_per_minute;
    a->seed = siphash_key_make();
    finch_status st = options->has_store ? keys_cache_open(&(keys_cache_options){.place = options->state}, &a->keys, err)
                                         : FINCH_OK;
    if (st == FINCH_OK) *out = a;
    else gate_destroy(a);
    return st;
}

void gate_destroy(gate *a)
{
    if (a == NULL) return;
    if (a->keys != NULL) keys_cache_close(a->keys);
    pthread_mutex_destroy(&a->lock);
    mem_free(a);
}

bool gate_required(gate *a) { return a->required || (a->keys != NULL && keys_cache_size(a->keys) > 0); }

keys_cache *gate_keys(gate *a) { return a->keys; }

/* ---- sessions -------------------------------------------------------------------------------------------------------- */

finch_status gate_session_open(gate *a, const char *key, char out[GATE_SESSION_BYTES], finch_error *err)
{
    unsigned char random[GATE_SESSION_BYTES / 2];
    size_t n = strlen(key);
    if (n >= KEYS_TEXT_BYTES || getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return finch_fail(err, FINCH_E_FAILED, "no session could be made");
    for (size_t i = 0; i < sizeof random; i++) snprintf(out + 2 * i, 3, "%02x", random[i]);
    pthread_mutex_lock(&a->lock);
    session *s = &a->sessions[0];
    for (size_t i = 1; i < GATE_SESSIONS; i++)
        if (a->sessions[i].until < s->until) s = &a->sessions[i];
    memcpy(s->id, out, SESSION_BYTES);
    memcpy(s->key, key, n + 1);
    s->until = clock_seconds() + SESSION_SECONDS;
    pthread_mutex_unlock(&a->lock);
    return FINCH_OK;
}

static bool equal_bytes(const char *a, const char *b, size_t n)
{
    unsigned char differ = 0;
    for (size_t i = 0; i < n; i++) differ |= (unsigned char)(a[i] ^ b[i]);
    return differ == 0;
}

static session *find_session(gate *a, const char *id)
{
    session *found = NULL;
    double now = clock_seconds();
    for (size_t i = 0; i < GATE_SESSIONS; i++)
        if (a->sessions[i].until > now && equal_bytes(a->sessions[i].id, id, SESSION_BYTES - 1)) found = &a->sessions[i];
    return found;
}

void gate_session_close(gate *a, const char *id)
{
    if (strlen(id) != SESSION_BYTES - 1) return;
    pthread_mutex_lock(&a->lock);
    session *s = find_session(a, id);
    if (s != NULL) memset(s, 0, sizeof *s);
    pthread_mutex_unlock(&a->lock);
}

bool gate_session_cookie(const request *r, char out[GATE_SESSION_BYTES])
{
    const char *value = MHD_lookup_connection_value(r->connection, MHD_COOKIE_KIND, GATE_COOKIE);
    if (value == NULL || strlen(value) != SESSION_BYTES - 1) return false;
    memcpy(out, value, SESSION_BYTES);
    return true;
}

/* The key behind the request's cookie. */
static bool session_key(gate *a, const request *r, char key[KEYS_TEXT_BYTES])
{
    char id[GATE_SESSION_BYTES];
    if (!gate_session_cookie(r, id)) return false;
    if (strcmp(r->route->method, "GET") != 0 && request_field(r, "X-Finch-Session") == NULL) return false;
    pthread_mutex_lock(&a->lock);
    const session *s = find_session(a, id);
    if (s != NULL) memcpy(key, s->key, KEYS_TEXT_BYTES);
    pthread_mutex_unlock(&a->lock);
    return s != NULL;
}

/* ---- rates ----------------------------------------------------------------------------------------------------------- */

/* The key's bucket; where its places are taken, the one that rested the longest (and so is full) gives way. */
static rate_bucket *bucket_of(gate *a, const char *key, double full, double now)
{
    enum { PLACES = 8 };
    size_t first = (size_t)(siphash(a->seed, key, strlen(key)).low % (GATE_BUCKETS / PLACES)) * PLACES;
    rate_bucket *oldest = &a->buckets[first];
    for (size_t i = 0; i < PLACES; i++) {
        rate_bucket *b = &a->buckets[first + i];
        if (strcmp(b->key, key) == 0) return b;
        if (b->at < oldest->at) oldest = b;
    }
    *oldest = (rate_bucket){.left = full, .at = now};
    memcpy(oldest->key, key, KEYS_ID_BYTES);
    return oldest;
}

static bool take_request(gate *a, request *r, const keys_entry *key)
{
    double most = key->requests_a_minute > 0 ? (double)key->requests_a_minute : a->rate_per_minute, now = clock_seconds();
    if (most <= 0) return true;
    pthread_mutex_lock(&a->lock);
    rate_bucket *b = bucket_of(a, key->id, most, now);
    b->left = fmin(most, b->left + (now - b->at) * most / 60);
    b->at = now;
    bool ok = b->left >= 1;
    if (ok) b->left -= 1;
    double left = b->left;
    pthread_mutex_unlock(&a->lock);
    request_add_header(r, "RateLimit-Limit", "%.0f", most);
    request_add_header(r, "RateLimit-Remaining", "%.0f", floor(left));
    request_add_header(r, "RateLimit-Reset", "%.0f", ceil((most - left) * 60 / most));
    if (ok) return true;
    size_t wait = (size_t)ceil((1 - left) * 60 / most);
    reply_retry_after(r, wait > 0 ? wait : 1);
    reply_error(r, 429, "rate_limited", json_pack("{s:s, s:f}", "limit", "requests_a_minute", "value", most),
                "the key \"%s\" may make %.0f requests a minute; come back after Retry-After (the limit is the key's, or "
                "--rate-limit)",
                key->id, most);
    return false;
}

/* ---- keys ------------------------------------------------------------------------------------------------------------ */

static const char *key_of(gate *a, const request *r, char room[KEYS_TEXT_BYTES])
{
    const char *bearer = request_field(r, MHD_HTTP_HEADER_AUTHORIZATION), *key = request_field(r, "X-Api-Key");
    if (bearer != NULL && strncasecmp(bearer, "Bearer ", 7) == 0) {
        bearer += 7;
        while (*bearer == ' ') bearer++;
        return bearer;
    }
    if (key != NULL) return key;
    return session_key(a, r, room) ? room : NULL;
}

static bool refuse(request *r, const char *code, const char *message)
{
    request_add_header(r, "WWW-Authenticate", "Bearer realm=\"finch\"");
    reply_error(r, 401, code, NULL, "%s", message);
    return false;
}

static bool check_verdict(request *r, keys_verdict verdict)
{
    switch (verdict) {
    case KEYS_GOOD: return true;
    case KEYS_UNSURE:
        reply_retry_after(r, 5);
        reply_error(r, 503, "keys_unsure", NULL, "the store has been away too long to know which keys are good");
        return false;
    case KEYS_EXPIRED: return refuse(r, "key_expired", "the API key has expired; finch keys create makes another");
    case KEYS_UNKNOWN:
    case KEYS_REVOKED: break;
    }
    return refuse(r, "key_unknown", "the API key is not known here");
}

static unsigned needed(route_scope scope)
{
    return scope == SCOPE_ADMIN ? KEYS_ADMIN : scope == SCOPE_PREDICT ? KEYS_PREDICT : KEYS_READ;
}

bool gate_check(gate *a, request *r)
{
    static const char *const names[] = {"", "read", "predict", "admin"};
    char room[KEYS_TEXT_BYTES];
    keys_entry entry;
    if (r->route->scope == SCOPE_OPEN || !gate_required(a)) return true;
    const char *key = key_of(a, r, room);
    if (key == NULL)
        return refuse(r, "key_missing", "an API key is needed: Authorization: Bearer KEY (finch keys create makes one)");
    if (a->keys == NULL) return refuse(r, "key_unknown", "the server has no store, so it knows no key");
    if (!check_verdict(r, keys_cache_check(a->keys, key, strlen(key), &entry))) return false;
    snprintf(r->caller, sizeof r->caller, "%s", entry.id);
    r->store_predictions = entry.store_predictions;
    r->is_admin = (entry.scopes & KEYS_ADMIN) != 0;
    if ((entry.scopes & (needed(r->route->scope) | KEYS_ADMIN)) == 0) {
        reply_error(r, 403, "scope_missing", json_pack("{s:s}", "needed", names[r->route->scope]),
                    "the key \"%s\" may not do this: it needs the scope %s", entry.id, names[r->route->scope]);
        return false;
    }
    return take_request(a, r, &entry);
}
