/* Who may do what, and how often: API keys by the store's cache of them, scopes by the route, a bucket of requests a minute for
 * each key.
 *
 * A key comes as "Authorization: Bearer KEY" or "X-Api-Key: KEY". Browsers' event sources can send neither: POST
 * /api/v1/session turns a key into a cookie (HttpOnly, SameSite=Strict, so no other site's page can use it), which is an
 * id of a session in memory; requests that change something need the header X-Finch-Session as well, which no form can send. */
#ifndef FINCH_SERVE_GATE_H
#define FINCH_SERVE_GATE_H

#include "serve/route.h"
#include "store/keys.h"

typedef struct gate gate;

/* state NULL: no store, no keys. required: also where the store has no key yet. rate_per_minute 0: none. */
typedef struct gate_options {
    bool has_store;
    const char *state;
    bool required;
    size_t rate_per_minute;
} gate_options;

finch_status gate_create(const gate_options *options, gate **out, finch_error *err);
void gate_destroy(gate *a); /* NULL is legal */
/* Whether keys are asked for now. */
bool gate_required(gate *a);
keys_cache *gate_keys(gate *a);

/* A session of a key that gate_check found good. */
enum { GATE_SESSION_BYTES = 33 };
#define GATE_COOKIE "finch_session"
finch_status gate_session_open(gate *a, const char *key, char out[GATE_SESSION_BYTES], finch_error *err);
void gate_session_close(gate *a, const char *id);
bool gate_session_cookie(const request *r, char out[GATE_SESSION_BYTES]);

/* False, and 401, 403, 429 or 503 answered, where the request may not go on. Fills r->caller. */
bool gate_check(gate *a, request *r);

#endif
