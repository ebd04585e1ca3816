/* API keys: what is kept, what is shown, and the look-up of the server under many threads. */
#include "store_test.h"

#include "base/clock.h"
#include "store/keys.h"
#include "store/pool.h"
#include "store/values.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

static const keys_new plain = {.name = "web", .scopes = KEYS_READ | KEYS_PREDICT};

static void make(const keys_new *spec, char text[KEYS_TEXT_BYTES]) { CHECK_OK(keys_create(s, spec, text, &err), &err); }

static keys_cache *open_cache(double refresh, double trust)
{
    keys_cache *cache;
    keys_cache_options options = {test_place(), refresh, trust, 0.01};
    CHECK_OK(keys_cache_open(&options, &cache, &err), &err);
    return cache;
}

static keys_verdict check(keys_cache *cache, const char *text, keys_entry *out)
{
    return keys_cache_check(cache, text, strlen(text), out);
}

TEST(a_key_is_random_and_only_its_hash_is_kept)
{
    char a[KEYS_TEXT_BYTES], b[KEYS_TEXT_BYTES], hash[VALUES_SHA256_BYTES];
    test_begin();
    make(&plain, a);
    make(&plain, b);
    CHECK_EQUAL(KEYS_TEXT_BYTES - 1, strlen(a));
    CHECK(strncmp(a, "finch_", 6) == 0);
    CHECK(strcmp(a + 19, b + 19) != 0);
    CHECK_EQUAL(2, test_number("SELECT count(*) FROM api_key"));
    static const sql_statement look = {"SELECT count(*) FROM api_key WHERE hash = $1", NULL};
    static const sql_statement leak = {"SELECT count(*) FROM api_key WHERE id || hash || name LIKE $1", NULL};
    int64_t n = 0;
    CHECK_OK(values_sha256(a, strlen(a), hash, &err), &err);
    sql_value value = sql_text(hash);
    CHECK_OK(store_run(s, &look, &value, 1, sql_take_integer, &n, NULL, &err), &err);
    CHECK_EQUAL(1, n);
    char part[40];
    snprintf(part, sizeof part, "%%%.16s%%", a + 19);
    value = sql_text(part);
    CHECK_OK(store_run(s, &leak, &value, 1, sql_take_integer, &n, NULL, &err), &err);
    CHECK_EQUAL(0, n);
    test_end();
}

TEST(what_is_no_good_key_is_refused_with_its_reason)
{
    char text[KEYS_TEXT_BYTES];
    test_begin();
    CHECK_STATUS(FINCH_E_USAGE, keys_create(s, &(keys_new){.name = "", .scopes = KEYS_READ}, text, &err), &err);
    CHECK_TEXT("", text);
    CHECK_STATUS(FINCH_E_USAGE, keys_create(s, &(keys_new){.name = "a\nb", .scopes = KEYS_READ}, text, &err), &err);
    CHECK_STATUS(FINCH_E_USAGE, keys_create(s, &(keys_new){.name = "a\xFF", .scopes = KEYS_READ}, text, &err), &err);
    CHECK_STATUS(FINCH_E_USAGE, keys_create(s, &(keys_new){.name = "a"}, text, &err), &err);
    CHECK_STATUS(FINCH_E_USAGE, keys_create(s, &(keys_new){.name = "a", .scopes = 8}, text, &err), &err);
    CHECK_STATUS(FINCH_E_USAGE, keys_create(s, &(keys_new){.name = "a", .scopes = 1, .expires_ms = 5}, text, &err), &err);
    CHECK_STATUS(FINCH_E_USAGE, keys_create(s, &(keys_new){.name = "a", .scopes = 1, .requests_a_minute = -1}, text, &err),
                 &err);
    unsigned bits = 0;
    CHECK_OK(keys_scopes_parse("admin,read", &bits, &err), &err);
    CHECK_EQUAL(KEYS_ADMIN | KEYS_READ, bits);
    char scopes[KEYS_SCOPES_BYTES];
    CHECK_TEXT("read,admin", keys_scopes_text(bits, scopes));
    CHECK_TEXT("read,predict,admin", keys_scopes_text(7, scopes));
    CHECK_STATUS(FINCH_E_USAGE, keys_scopes_parse("read,", &bits, &err), &err);
    CHECK_STATUS(FINCH_E_USAGE, keys_scopes_parse("", &bits, &err), &err);
    CHECK_STATUS(FINCH_E_USAGE, keys_scopes_parse("reader", &bits, &err), &err);
    test_end();
}

TEST(a_good_key_is_known_and_every_other_text_is_not)
{
    char text[KEYS_TEXT_BYTES], wrong[KEYS_TEXT_BYTES];
    keys_entry entry;
    test_begin();
    make(&(keys_new){.name = "desk", .scopes = KEYS_ADMIN, .requests_a_minute = 90, .store_predictions = true}, text);
    keys_cache *cache = open_cache(60, 60);
    CHECK_EQUAL(1, keys_cache_size(cache));
    CHECK_EQUAL(KEYS_GOOD, check(cache, text, &entry));
    CHECK(strncmp(entry.id, text + 6, 12) == 0);
    CHECK_TEXT("desk", entry.name);
    CHECK_EQUAL(KEYS_ADMIN, entry.scopes);
    CHECK_EQUAL(90, entry.requests_a_minute);
    CHECK(entry.store_predictions);
    for (size_t i = 0; i < KEYS_TEXT_BYTES - 1; i++) { /* every place counts */
        memcpy(wrong, text, sizeof wrong);
        wrong[i] = wrong[i] == '0' ? '1' : '0';
        CHECK_EQUAL(KEYS_UNKNOWN, check(cache, wrong, &entry));
    }
    CHECK_EQUAL(KEYS_UNKNOWN, check(cache, "", &entry));
    CHECK_EQUAL(KEYS_UNKNOWN, keys_cache_check(cache, text, strlen(text) - 1, &entry));
    char longer[8192];
    memset(longer, 'f', sizeof longer);
    memcpy(longer, text, strlen(text));
    CHECK_EQUAL(KEYS_UNKNOWN, keys_cache_check(cache, longer, sizeof longer, &entry));
    keys_cache_close(cache);
    test_end();
}

/* ---- time tells nothing ---- */

enum { TIMED = 20000, TIMED_KINDS = 4 };

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *at, size_t n)
{
    qsort(at, n, sizeof *at, by_value);
    return at[n / 2];
}

/* Medians of the time a look-up takes, the kinds of keys by turns so that whatever slows the machine slows all alike. */
static void time_kinds(keys_cache *cache, char kinds[TIMED_KINDS][KEYS_TEXT_BYTES], double out[TIMED_KINDS])
{
    static double seconds[TIMED_KINDS][TIMED];
    keys_entry entry;
    for (size_t i = 0; i < TIMED; i++)
        for (size_t k = 0; k < TIMED_KINDS; k++) {
            size_t kind = (k + i) % TIMED_KINDS;
            double begin = clock_seconds();
            (void)keys_cache_check(cache, kinds[kind], KEYS_TEXT_BYTES - 1, &entry);
            seconds[kind][i] = clock_seconds() - begin;
        }
    for (size_t k = 0; k < TIMED_KINDS; k++) out[k] = median(seconds[k], TIMED);
}

/* Right but for the last digit, right but for the secret's first one, a secret of its own, an id that nobody has. A comparison that
 * ends early, or a hash that is left out, would tell them apart by far more than the bound. */
TEST(how_long_a_wrong_key_takes_does_not_tell_what_is_wrong)
{
    char key[KEYS_TEXT_BYTES], kinds[TIMED_KINDS][KEYS_TEXT_BYTES];
    double took[TIMED_KINDS], least = 0, most = 1;
    test_begin();
    make(&plain, key);
    keys_cache *cache = open_cache(60, 60);
    for (size_t k = 0; k < TIMED_KINDS; k++) memcpy(kinds[k], key, sizeof key);
    kinds[0][KEYS_TEXT_BYTES - 2] = key[KEYS_TEXT_BYTES - 2] == '0' ? '1' : '0';
    kinds[1][19] = key[19] == '0' ? '1' : '0';
    for (size_t i = 19; i < KEYS_TEXT_BYTES - 1; i++) kinds[2][i] = key[i] == '0' ? '1' : '0';
    for (size_t i = 6; i < 18; i++) kinds[3][i] = key[i] == '0' ? '1' : '0';
    for (int tries = 0; tries < 5 && most > 1.1 * least; tries++) {
        time_kinds(cache, kinds, took);
        least = most = took[0];
        for (size_t k = 1; k < TIMED_KINDS; k++) {
            least = took[k] < least ? took[k] : least;
            most = took[k] > most ? took[k] : most;
        }
    }
    CHECK(most <= 1.1 * least);
    keys_cache_close(cache);
    test_end();
}

TEST(a_revoked_or_expired_key_is_refused_in_time)
{
    char text[KEYS_TEXT_BYTES], brief[KEYS_TEXT_BYTES];
    keys_entry entry;
    size_t n;
    test_begin();
    make(&plain, text);
    make(&(keys_new){.name = "brief", .scopes = KEYS_READ, .expires_ms = store_now_ms(s) + 300}, brief);
    CHECK_OK(keys_count_active(s, &n, &err), &err);
    CHECK_EQUAL(2, n);
    keys_cache *cache = open_cache(0.05, 60);
    CHECK_EQUAL(KEYS_GOOD, check(cache, text, &entry));
    CHECK_EQUAL(KEYS_GOOD, check(cache, brief, &entry));
    CHECK_OK(keys_revoke(s, text, &err), &err); /* the whole key names it too */
    for (int i = 0; i < 400 && check(cache, text, &entry) == KEYS_GOOD; i++) usleep(10000);
    CHECK_EQUAL(KEYS_REVOKED, check(cache, text, &entry));
    usleep(320000);
    CHECK_EQUAL(KEYS_EXPIRED, check(cache, brief, &entry));
    CHECK_OK(keys_count_active(s, &n, &err), &err);
    CHECK_EQUAL(0, n);
    CHECK_STATUS(FINCH_E_NOT_FOUND, keys_revoke(s, "000000000000", &err), &err);
    keys_cache_close(cache);
    test_end();
}

TEST(a_new_key_is_known_after_a_refresh)
{
    char text[KEYS_TEXT_BYTES];
    keys_entry entry;
    test_begin();
    keys_cache *cache = open_cache(3600, 3600);
    CHECK_EQUAL(0, keys_cache_size(cache));
    make(&plain, text);
    CHECK_EQUAL(KEYS_UNKNOWN, check(cache, text, &entry));
    CHECK_OK(keys_cache_refresh(cache, &err), &err);
    CHECK_EQUAL(KEYS_GOOD, check(cache, text, &entry));
    keys_cache_close(cache);
    test_end();
}

TEST(no_key_is_good_when_the_store_was_away_too_long)
{
    char text[KEYS_TEXT_BYTES];
    keys_entry entry;
    test_begin();
    make(&plain, text);
    keys_cache *cache = open_cache(3600, 0.05);
    CHECK_EQUAL(KEYS_GOOD, check(cache, text, &entry));
    usleep(80000);
    CHECK_EQUAL(KEYS_UNSURE, check(cache, text, &entry));
    CHECK_OK(keys_cache_refresh(cache, &err), &err);
    CHECK_EQUAL(KEYS_GOOD, check(cache, text, &entry));
    keys_cache_close(cache);
    test_end();
}

TEST(the_last_use_is_stamped_and_shown_without_the_secret)
{
    char text[KEYS_TEXT_BYTES];
    keys_entry entry;
    json_t *list;
    test_begin();
    make(&plain, text);
    CHECK_OK(keys_list(s, &list, &err), &err);
    CHECK(json_is_null(json_object_get(json_array_get(list, 0), "last_used")));
    json_decref(list);
    keys_cache *cache = open_cache(3600, 3600);
    CHECK_EQUAL(KEYS_GOOD, check(cache, text, &entry));
    keys_cache_close(cache);
    CHECK_OK(keys_list(s, &list, &err), &err);
    const json_t *key = json_array_get(list, 0);
    CHECK(json_is_string(json_object_get(key, "last_used")));
    CHECK_TEXT("active", json_string_value(json_object_get(key, "state")));
    CHECK_TEXT("predict", json_string_value(json_array_get(json_object_get(key, "scopes"), 1)));
    char *dumped = values_dump(list);
    CHECK(dumped != NULL && strstr(dumped, text + 19) == NULL);
    free(dumped);
    json_decref(list);
    test_end();
}

/* ---- threads ---- */

enum { THREADS = 4, ROUNDS = 400 };

typedef struct crowd {
    keys_cache *cache;
    store_pool *pool;
    const char *text;
    int n_wrong;
} crowd;

static void *check_often(void *context)
{
    crowd *c = context;
    keys_entry entry;
    for (int i = 0; i < ROUNDS; i++) {
        if (check(c->cache, c->text, &entry) != KEYS_GOOD) __atomic_add_fetch(&c->n_wrong, 1, __ATOMIC_RELAXED);
        if (i % 100 == 0) {
            store *mine;
            if (store_pool_borrow(c->pool, &mine, NULL) != FINCH_OK) __atomic_add_fetch(&c->n_wrong, 1, __ATOMIC_RELAXED);
            else {
                char text[KEYS_TEXT_BYTES];
                if (keys_create(mine, &plain, text, NULL) != FINCH_OK) __atomic_add_fetch(&c->n_wrong, 1, __ATOMIC_RELAXED);
                if (keys_cache_refresh(c->cache, NULL) != FINCH_OK ||
                    keys_cache_check(c->cache, text, strlen(text), &entry) != KEYS_GOOD)
                    __atomic_add_fetch(&c->n_wrong, 1, __ATOMIC_RELAXED);
                store_pool_give(c->pool, mine);
            }
        }
    }
    return NULL;
}

TEST(many_threads_check_while_keys_are_made)
{
    char text[KEYS_TEXT_BYTES];
    pthread_t threads[THREADS];
    crowd c = {.text = text};
    store_pool_options options = {.place = test_place(), .n_most = 2, .patience_seconds = 20};
    test_begin();
    make(&plain, text);
    CHECK_OK(store_pool_open(&options, &c.pool, &err), &err);
    CHECK_OK(store_pool_ready(c.pool, &err), &err);
    c.cache = open_cache(0.01, 60);
    for (int i = 0; i < THREADS; i++) CHECK_EQUAL(0, pthread_create(&threads[i], NULL, check_often, &c));
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    CHECK_EQUAL(0, c.n_wrong);
    CHECK_EQUAL(1 + THREADS * ROUNDS / 100, test_number("SELECT count(*) FROM api_key"));
    keys_cache_close(c.cache);
    store_pool_close(c.pool);
    test_end();
}
