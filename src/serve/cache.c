#include "serve/cache.h"

#include "base/mem.h"

#include <pthread.h>
#include <string.h>

enum { CACHE_WAYS = 8, CACHE_LOCKS = 64 };

typedef struct entry {
    siphash128 hash;
    uint64_t serial; /* 0: free */
    uint64_t used;  /* the set's clock when it was */
    cache_info info;
    float logits[CACHE_LABELS_MAX];
} entry;

typedef struct entry_set {
    uint64_t clock;
    entry ways[CACHE_WAYS];
} entry_set;

/* locks[i] guards the sets whose index is i modulo CACHE_LOCKS. */
struct cache {
    pthread_mutex_t locks[CACHE_LOCKS];
    siphash_key key;
    entry_set *sets;
    size_t n_sets;
    size_t n_used; /* atomic */
};

finch_status cache_create(size_t n_entries, siphash_key key, cache **out, finch_error *err)
{
    cache *c;
    *out = NULL;
    FINCH_TRY(MEM_NEW(&c, 1, err));
    c->key = key;
    c->n_sets = (n_entries + CACHE_WAYS - 1) / CACHE_WAYS;
    finch_status st = MEM_NEW(&c->sets, c->n_sets, err);
    if (st != FINCH_OK) {
        mem_free(c);
        return st;
    }
    for (size_t i = 0; i < CACHE_LOCKS; i++) pthread_mutex_init(&c->locks[i], NULL);
    *out = c;
    return FINCH_OK;
}

void cache_destroy(cache *c)
{
    if (c == NULL) return;
    for (size_t i = 0; i < CACHE_LOCKS; i++) pthread_mutex_destroy(&c->locks[i]);
    mem_free(c->sets);
    mem_free(c);
}

size_t cache_used(cache *c) { return __atomic_load_n(&c->n_used, __ATOMIC_RELAXED); }

/* Of a text for a model. The set is locked; the caller unlocks. */
static entry_set *lock_set(cache *c, uint64_t serial, siphash128 hash, pthread_mutex_t **lock)
{
    size_t index = (size_t)((hash.low ^ serial * 0x9E3779B97F4A7C15u) % c->n_sets);
    *lock = &c->locks[index % CACHE_LOCKS];
    pthread_mutex_lock(*lock);
    return &c->sets[index];
}

static entry *find(entry_set *set, uint64_t serial, siphash128 hash)
{
    for (size_t i = 0; i < CACHE_WAYS; i++) {
        entry *e = &set->ways[i];
        if (e->serial == serial && e->hash.low == hash.low && e->hash.high == hash.high) return e;
    }
    return NULL;
}

bool cache_get(cache *c, uint64_t serial, finch_text text, float *logits, size_t n_labels, cache_info *info)
{
    pthread_mutex_t *lock;
    if (n_labels > CACHE_LABELS_MAX) return false;
    siphash128 hash = siphash(c->key, text.at, text.size_bytes);
    entry_set *set = lock_set(c, serial, hash, &lock);
    entry *e = find(set, serial, hash);
    if (e != NULL) {
        e->used = ++set->clock;
        memcpy(logits, e->logits, n_labels * sizeof *logits);
        *info = e->info;
    }
    pthread_mutex_unlock(lock);
    return e != NULL;
}

void cache_put(cache *c, uint64_t serial, finch_text text, const float *logits, size_t n_labels, cache_info info)
{
    pthread_mutex_t *lock;
    if (n_labels > CACHE_LABELS_MAX) return;
    siphash128 hash = siphash(c->key, text.at, text.size_bytes);
    entry_set *set = lock_set(c, serial, hash, &lock);
    entry *e = find(set, serial, hash);
    for (size_t i = 0; e == NULL && i < CACHE_WAYS; i++)
        if (set->ways[i].serial == 0) {
            e = &set->ways[i];
            __atomic_add_fetch(&c->n_used, 1, __ATOMIC_RELAXED);
        }
    if (e == NULL) {
        e = &set->ways[0];
        for (size_t i = 1; i < CACHE_WAYS; i++)
            if (set->ways[i].used < e->used) e = &set->ways[i];
    }
    *e = (entry){.hash = hash, .serial = serial, .used = ++set->clock, .info = info};
    memcpy(e->logits, logits, n_labels * sizeof *logits);
    pthread_mutex_unlock(lock);
}
