/* The trie against the plainest definition of what it does. */
#include "harness.h"

#include "base/rng.h"
#include "text/trie.h"

#include <stdlib.h>

enum { KEYS_MAX = 3000, KEY_BYTES = 12 };

typedef struct key_set {
    unsigned char bytes[KEYS_MAX][KEY_BYTES];
    trie_key keys[KEYS_MAX];
    size_t n;
} key_set;

/* Different keys over few letters, so that they share prefixes, or over all bytes, so that nodes have many children. */
static key_set *random_keys(rng *r, size_t n, unsigned n_letters)
{
    key_set *set = malloc(sizeof *set);
    CHECK(set != NULL);
    for (size_t i = 0; i < n; i++) {
        size_t size = 1 + (size_t)rng_below(r, KEY_BYTES);
        for (size_t j = 0; j < size; j++) set->bytes[i][j] = (unsigned char)rng_below(r, n_letters);
        set->keys[i] = (trie_key){set->bytes[i], size, (int32_t)i};
    }
    trie_keys_sort(set->keys, n);
    set->n = 0;
    for (size_t i = 0; i < n; i++) {
        const trie_key *last = set->n == 0 ? NULL : &set->keys[set->n - 1];
        if (last != NULL && last->size == set->keys[i].size && memcmp(last->at, set->keys[i].at, last->size) == 0) continue;
        set->keys[set->n++] = set->keys[i];
    }
    return set;
}

static size_t longest(const key_set *set, const unsigned char *at, size_t size, int32_t *value)
{
    size_t best = 0;
    for (size_t i = 0; i < set->n; i++) {
        const trie_key *key = &set->keys[i];
        if (key->size <= best || key->size > size || memcmp(key->at, at, key->size) != 0) continue;
        best = key->size;
        *value = key->value;
    }
    return best;
}

static void check_matches(const trie *t, uint32_t root, const key_set *set, rng *r, unsigned n_letters)
{
    for (int round = 0; round < 400; round++) {
        unsigned char text[20];
        int32_t wanted = -1, got = -1;
        size_t size = (size_t)rng_below(r, sizeof text + 1);
        for (size_t i = 0; i < size; i++) text[i] = (unsigned char)rng_below(r, n_letters);
        CHECK_EQUAL(longest(set, text, size, &wanted), trie_longest(t, root, text, text + size, &got));
        CHECK_EQUAL(wanted, got);
    }
    for (size_t i = 0; i < set->n; i++) {
        int32_t got = -1;
        CHECK_EQUAL(set->keys[i].size, trie_longest(t, root, set->keys[i].at, set->keys[i].at + set->keys[i].size, &got));
        CHECK_EQUAL(set->keys[i].value, got);
    }
}

TEST(it_finds_the_longest_key_of_each_of_two_sets)
{
    static const unsigned letters[] = {1, 2, 5, 256};
    rng r = {9, 10, 0};
    for (size_t round = 0; round < 12; round++) {
        finch_error err;
        unsigned n_letters = letters[round % 4];
        key_set *first = random_keys(&r, 1 + (size_t)rng_below(&r, KEYS_MAX), n_letters);
        key_set *second = random_keys(&r, 1 + (size_t)rng_below(&r, 300), n_letters);
        trie t = {0};
        uint32_t first_root, second_root;
        CHECK_OK(trie_add(&t, first->keys, first->n, &first_root, &err), &err);
        CHECK_OK(trie_add(&t, second->keys, second->n, &second_root, &err), &err);
        CHECK(t.n_units % 256 == 0);
        check_matches(&t, first_root, first, &r, n_letters);
        check_matches(&t, second_root, second, &r, n_letters);
        trie_free(&t);
        free(first);
        free(second);
    }
}

TEST(an_empty_set_matches_nothing)
{
    finch_error err;
    trie t = {0};
    uint32_t root;
    int32_t value = -1;
    CHECK_OK(trie_add(&t, NULL, 0, &root, &err), &err);
    for (unsigned byte = 0; byte < 256; byte++) {
        unsigned char text = (unsigned char)byte;
        CHECK_EQUAL(0, trie_longest(&t, root, &text, &text + 1, &value));
    }
    CHECK_EQUAL(-1, value);
    trie_free(&t);
}

TEST(a_failing_allocation_leaves_the_other_sets_usable)
{
    rng r = {11, 12, 0};
    finch_error err;
    key_set *first = random_keys(&r, 500, 4), *second = random_keys(&r, KEYS_MAX, 256);
    int failures = 0;
    for (int nth = 1; fault_arm(FAULT_ALLOC, nth); nth++) {
        trie t = {0};
        uint32_t first_root, second_root;
        fault_disarm();
        CHECK_OK(trie_add(&t, first->keys, first->n, &first_root, &err), &err);
        fault_arm(FAULT_ALLOC, nth);
        finch_status st = trie_add(&t, second->keys, second->n, &second_root, &err);
        bool struck = fault_disarm();
        CHECK_STATUS(struck ? FINCH_E_MEMORY : FINCH_OK, st, &err);
        check_matches(&t, first_root, first, &r, 4);
        trie_free(&t);
        if (!struck) break;
        failures++;
    }
    CHECK(failures >= 3);
    free(first);
    free(second);
}
