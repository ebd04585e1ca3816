/* API keys: made at random, shown once, kept as a hash.
 *
 * A key is "finch_" + 12 hex digits, its id + "_" + 64 hex digits, the secret: 256 random bits. The store has the id in
 * clear (lists and logs name a key by it) and the SHA-256 of the whole key. A slow hash as for passwords would protect
 * nothing here: 2^256 keys can not be tried, however fast the hash, and every request would pay for it.
 *
 * keys_cache is the server's: all keys in memory, looked up without the store. A thread of its own asks the store every
 * refresh_seconds whether a key was made or revoked, so a revoked key is refused at most refresh_seconds after the revocation,
 * while the store answers. When the store can not be asked for keys_cache_options.trust_seconds, no key is good any more. */
#ifndef FINCH_STORE_KEYS_H
#define FINCH_STORE_KEYS_H

#include "base/json.h"
#include "store/store.h"

typedef enum keys_scope { KEYS_READ = 1, KEYS_PREDICT = 2, KEYS_ADMIN = 4 } keys_scope;

enum { KEYS_ID_BYTES = 13, KEYS_TEXT_BYTES = 84, KEYS_NAME_BYTES = 81 };

/* "read,predict,admin", in any order, to bits. Admin includes the others. Errors: FINCH_E_USAGE naming what is wrong. */
finch_status keys_scopes_parse(const char *text, unsigned *out, finch_error *err);
/* The same back, static storage of the caller: out holds KEYS_SCOPES_BYTES. */
enum { KEYS_SCOPES_BYTES = 24 };
const char *keys_scopes_text(unsigned scopes, char out[KEYS_SCOPES_BYTES]);

typedef struct keys_new {
    const char *name;           /* for people: at most 80 bytes of UTF-8 without control characters */
    unsigned scopes;            /* bits of keys_scope */
    int64_t expires_ms;         /* Unix milliseconds; 0: never */
    int64_t requests_a_minute;  /* 0: the server's preset */
    bool store_predictions;     /* whether what is predicted with it is kept in the history */
} keys_new;

/* Makes a key. text gets it, the only time it is ever shown: KEYS_TEXT_BYTES. */
finch_status keys_create(store *s, const keys_new *spec, char text[KEYS_TEXT_BYTES], finch_error *err);
/* Given an id or a whole key. Revoked keys stay in the list. Errors: FINCH_E_NOT_FOUND. */
finch_status keys_revoke(store *s, const char *id, finch_error *err);
/* All, newest first: [{"id","name","scopes":["read"],"created","expires","revoked","last_used","requests_a_minute",
 * "store_predictions","state":"active|expired|revoked"}]; times are ISO 8601 or null. */
finch_status keys_list(store *s, json_t **out, finch_error *err);
/* How many keys are good now. */
finch_status keys_count_active(store *s, size_t *out, finch_error *err);

/* ---- the server's look-up ---- */

/* Of a key that is good. */
typedef struct keys_entry {
    char id[KEYS_ID_BYTES];
    char name[KEYS_NAME_BYTES];
    unsigned scopes;
    int64_t expires_ms, requests_a_minute;
    bool store_predictions;
} keys_entry;

typedef enum keys_verdict { KEYS_GOOD, KEYS_UNKNOWN, KEYS_EXPIRED, KEYS_REVOKED, KEYS_UNSURE } keys_verdict;

typedef struct keys_cache_options {
    const char *place;      /* as store_open; copied */
    double refresh_seconds; /* 0: 1 */
    double trust_seconds;   /* 0: 300 */
    double stamp_seconds;   /* how often last_used is written; 0: 60 */
} keys_cache_options;

typedef struct keys_cache keys_cache;

finch_status keys_cache_open(const keys_cache_options *options, keys_cache **out, finch_error *err);
void keys_cache_close(keys_cache *cache); /* writes the last stamps */

/* Takes what the client sent, of any length. The time it takes does not depend on how much of the secret is right: what was
 * sent is hashed and the whole hashes are compared, also where there is no such id. KEYS_UNSURE: the store has been away too
 * long. *out is filled where KEYS_GOOD. Threads: any; never waits for the store. */
keys_verdict keys_cache_check(keys_cache *cache, const char *text, size_t size, keys_entry *out);
/* Asks the store now, as after a revocation by this server. */
finch_status keys_cache_refresh(keys_cache *cache, finch_error *err);
/* The same by its own thread: something has changed. Never waits. */
void keys_cache_wake(keys_cache *cache);
/* Keys good or not that the cache knows; 0: the server runs without keys. */
size_t keys_cache_size(keys_cache *cache);

#endif
