/* Making, listing and revoking. The look-up of the server is in keys_cache.c. */
#include "store/keys.h"

#include "store/values.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#define PREFIX "finch_"

enum { ID_RANDOM_BYTES = 6, SECRET_BYTES = 32, REQUESTS_MOST = 10000000 };

static const struct {
    unsigned bit;
    const char *word;
} scopes_known[] = {{KEYS_READ, "read"}, {KEYS_PREDICT, "predict"}, {KEYS_ADMIN, "admin"}};

enum { SCOPES = sizeof scopes_known / sizeof scopes_known[0] };

static unsigned scope_of(const char *word, size_t size)
{
    for (size_t i = 0; i < SCOPES; i++)
        if (strlen(scopes_known[i].word) == size && memcmp(scopes_known[i].word, word, size) == 0)
            return scopes_known[i].bit;
    return 0;
}

finch_status keys_scopes_parse(const char *text, unsigned *out, finch_error *err)
{
    unsigned bits = 0;
    for (const char *at = text;; at++) {
        size_t size = strcspn(at, ",");
        unsigned bit = scope_of(at, size);
        if (bit == 0)
            return finch_fail(err, FINCH_E_USAGE, "\"%.*s\" is no scope; there are read, predict and admin", (int)size, at);
        bits |= bit;
        at += size;
        if (*at == '\0') break;
    }
    *out = bits;
    return FINCH_OK;
}

const char *keys_scopes_text(unsigned scopes, char out[KEYS_SCOPES_BYTES])
{
    size_t n = 0;
    out[0] = '\0';
    for (size_t i = 0; i < SCOPES; i++)
        if ((scopes & scopes_known[i].bit) != 0)
            n += (size_t)snprintf(out + n, KEYS_SCOPES_BYTES - n, "%s%s", n > 0 ? "," : "", scopes_known[i].word);
    return out;
}

/* ---- making and revoking ---- */

/* What every cache looks at. */
static finch_status note_change(store *s, finch_error *err)
{
    static const sql_statement note = {"UPDATE store_counter SET value = value + 1 WHERE name = 'keys'", NULL};
    return store_run(s, &note, NULL, 0, NULL, NULL, NULL, err);
}

typedef struct making {
    const keys_new *spec;
    const char *id, *hash;
} making;

static finch_status insert_key(store *s, void *context, finch_error *err)
{
    static const sql_statement insert = {
        "INSERT INTO api_key (id, hash, name, scopes, created, expires, revoked, last_used, requests_a_minute, "
        "store_predictions) VALUES ($1, $2, $3, $4, $5, $6, 0, 0, $7, $8) ON CONFLICT (id) DO NOTHING",
        NULL};
    const making *m = context;
    sql_value values[] = {sql_text(m->id),
                          sql_text(m->hash),
                          sql_text(m->spec->name),
                          sql_integer(m->spec->scopes),
                          sql_integer(store_now_ms(s)),
                          sql_integer(m->spec->expires_ms),
                          sql_integer(m->spec->requests_a_minute),
                          sql_integer(m->spec->store_predictions)};
    FINCH_TRY(store_run(s, &insert, values, 8, NULL, NULL, NULL, err));
    return note_change(s, err);
}

static finch_status check_spec(store *s, const keys_new *spec, finch_error *err)
{
    FINCH_TRY(values_check_name("a key's name", spec->name, KEYS_NAME_BYTES - 1, err));
    if (spec->scopes == 0 || (spec->scopes & ~(unsigned)(KEYS_READ | KEYS_PREDICT | KEYS_ADMIN)) != 0)
        return finch_fail(err, FINCH_E_USAGE, "a key has at least one of the scopes read, predict and admin");
    if (spec->expires_ms != 0 && spec->expires_ms <= store_now_ms(s))
        return finch_fail(err, FINCH_E_USAGE, "the key's expiry lies in the past");
    if (spec->requests_a_minute < 0 || spec->requests_a_minute > REQUESTS_MOST)
        return finch_fail(err, FINCH_E_USAGE, "a key's rate is 1 to %d requests a minute, or 0 for the server's preset",
                          (int)REQUESTS_MOST);
    return FINCH_OK;
}

finch_status keys_create(store *s, const keys_new *spec, char text[KEYS_TEXT_BYTES], finch_error *err)
{
    char id[2 * ID_RANDOM_BYTES + 1], secret[2 * SECRET_BYTES + 1], hash[VALUES_SHA256_BYTES];
    static_assert(sizeof id == KEYS_ID_BYTES && sizeof PREFIX + sizeof id + sizeof secret - 1 == KEYS_TEXT_BYTES,
                  "a key is the prefix, its id, a line and its secret");
    text[0] = '\0';
    FINCH_TRY(check_spec(s, spec, err));
    FINCH_TRY(values_random_hex(ID_RANDOM_BYTES, id, err));
    FINCH_TRY(values_random_hex(SECRET_BYTES, secret, err));
    snprintf(text, KEYS_TEXT_BYTES, PREFIX "%s_%s", id, secret);
    OPENSSL_cleanse(secret, sizeof secret);
    finch_status st = values_sha256(text, KEYS_TEXT_BYTES - 1, hash, err);
    making m = {spec, id, hash};
    if (st == FINCH_OK) st = store_transaction(s, insert_key, &m, err);
    if (st != FINCH_OK) OPENSSL_cleanse(text, KEYS_TEXT_BYTES);
    return st;
}

/* The id of a whole key, or what was given. */
static void id_of(const char *given, char out[KEYS_ID_BYTES])
{
    if (strncmp(given, PREFIX, sizeof PREFIX - 1) == 0) given += sizeof PREFIX - 1;
    snprintf(out, KEYS_ID_BYTES, "%.*s", (int)strcspn(given, "_"), given);
}

typedef struct revoking {
    char id[KEYS_ID_BYTES];
    uint64_t n_known;
} revoking;

static finch_status revoke(store *s, void *context, finch_error *err)
{
    /* Once revoked, the time stays. */
    static const sql_statement set = {
        "UPDATE api_key SET revoked = CASE WHEN revoked = 0 THEN $2 ELSE revoked END WHERE id = $1", NULL};
    revoking *r = context;
    sql_value values[] = {sql_text(r->id), sql_integer(store_now_ms(s))};
    FINCH_TRY(store_run(s, &set, values, 2, NULL, NULL, &r->n_known, err));
    return note_change(s, err);
}

finch_status keys_revoke(store *s, const char *id, finch_error *err)
{
    revoking r = {.n_known = 0};
    id_of(id, r.id);
    FINCH_TRY(store_transaction(s, revoke, &r, err));
    if (r.n_known == 0)
        return finch_fail(err, FINCH_E_NOT_FOUND, "there is no key %s in %s; finch keys list shows them", r.id,
                          store_place(s));
    return FINCH_OK;
}

/* ---- looking ---- */

static json_t *scopes_json(unsigned scopes)
{
    json_t *list = json_array();
    for (size_t i = 0; i < SCOPES; i++)
        if ((scopes & scopes_known[i].bit) != 0) json_array_append_new(list, json_string(scopes_known[i].word));
    return list;
}

static const char *state_of(int64_t expires_ms, int64_t revoked_ms, int64_t now_ms)
{
    if (revoked_ms != 0) return "revoked";
    return expires_ms != 0 && expires_ms <= now_ms ? "expired" : "active";
}

typedef struct listing {
    json_t *list;
    int64_t now_ms;
} listing;

static finch_status list_key(void *context, const sql_row *row, finch_error *err)
{
    listing *l = context;
    finch_text id = sql_row_text(row, 0), name = sql_row_text(row, 1);
    int64_t expires = sql_row_integer(row, 4), revoked = sql_row_integer(row, 5), limit = sql_row_integer(row, 7);
    json_t *key = json_pack("{s:s%, s:s%, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:s}", "id", id.at, id.size_bytes, "name",
                            name.at, name.size_bytes, "scopes", scopes_json((unsigned)sql_row_integer(row, 2)), "created",
                            values_time(sql_row_integer(row, 3)), "expires", values_time(expires), "revoked",
                            values_time(revoked), "last_used", values_time(sql_row_integer(row, 6)), "requests_a_minute",
                            limit != 0 ? json_integer(limit) : json_null(), "store_predictions",
                            (int)sql_row_integer(row, 8), "state", state_of(expires, revoked, l->now_ms));
    if (json_array_append_new(l->list, key) != 0)
        return finch_fail(err, FINCH_E_MEMORY, "out of memory for the list of keys");
    return FINCH_OK;
}

finch_status keys_list(store *s, json_t **out, finch_error *err)
{
    static const sql_statement all = {"SELECT id, name, scopes, created, expires, revoked, last_used, requests_a_minute, "
                                      "store_predictions FROM api_key ORDER BY created DESC, id",
                                      NULL};
    listing l = {json_array(), store_now_ms(s)};
    *out = NULL;
    finch_status st = store_run(s, &all, NULL, 0, list_key, &l, NULL, err);
    if (st == FINCH_OK) *out = l.list;
    else json_decref(l.list);
    return st;
}

finch_status keys_count_active(store *s, size_t *out, finch_error *err)
{
    static const sql_statement count = {"SELECT count(*) FROM api_key WHERE revoked = 0 AND (expires = 0 OR expires > $1)",
                                        NULL};
    sql_value now = sql_integer(store_now_ms(s));
    int64_t n = 0;
    FINCH_TRY(store_run(s, &count, &now, 1, sql_take_integer, &n, NULL, err));
    *out = (size_t)n;
    return FINCH_OK;
}
