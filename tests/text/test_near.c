#include "text/near.h"

#include "base/rng.h"
#include "base/str.h"
#include "text/minhash.h"

#include "harness.h"

#ifdef _OPENMP
#include <omp.h>
#endif

enum { WORDS = 14, WORD_BYTES = 9 };

/* Texts of random words, as unlike as texts can be. */
typedef struct texts {
    str bytes;
    size_t at[6000], n;
} texts;

static void texts_add(texts *t, const char *text, size_t size)
{
    CHECK(t->n < sizeof t->at / sizeof t->at[0]);
    t->at[t->n++] = t->bytes.size;
    CHECK_OK(str_add(&t->bytes, text, size, NULL), NULL);
    CHECK_OK(str_add(&t->bytes, "", 1, NULL), NULL);
}

static finch_text text_at(const texts *t, size_t i)
{
    return (finch_text){t->bytes.at + t->at[i], strlen(t->bytes.at + t->at[i])};
}

static void random_word(rng *r, char *out)
{
    size_t n = 3 + rng_below(r, WORD_BYTES - 4);
    for (size_t i = 0; i < n; i++) out[i] = (char)('a' + rng_below(r, 26));
    out[n] = '\0';
}

static void random_words(rng *r, char words[WORDS][WORD_BYTES])
{
    for (size_t i = 0; i < WORDS; i++) random_word(r, words[i]);
}

static void join(char words[WORDS][WORD_BYTES], str *out)
{
    str_clear(out);
    for (size_t i = 0; i < WORDS; i++) CHECK_OK(str_add_format(out, NULL, "%s%s", i > 0 ? " " : "", words[i]), NULL);
}

/* A text and one whose similarity to it lies in [low, high]: words are changed, at the end or within, until it does. */
static void planted_pair(rng *r, double low, double high, str *a, str *b)
{
    char words[WORDS][WORD_BYTES];
    for (;;) {
        random_words(r, words);
        join(words, a);
        for (size_t tries = 0; tries < 6; tries++) {
            size_t at = rng_below(r, WORDS);
            words[at][rng_below(r, strlen(words[at]))] = (char)('a' + rng_below(r, 26));
            join(words, b);
            double found = near_similarity((finch_text){a->at, a->size}, (finch_text){b->at, b->size});
            if (found >= low && found <= high) return;
        }
    }
}

static void plant(texts *t, size_t n_pairs, double low, double high, uint64_t seed)
{
    rng r = {seed, 1, 0};
    str a = {0}, b = {0};
    for (size_t i = 0; i < n_pairs; i++) {
        planted_pair(&r, low, high, &a, &b);
        texts_add(t, a.at, a.size);
        texts_add(t, b.at, b.size);
    }
    str_free(&a);
    str_free(&b);
}

static void cluster_in_pieces(const texts *t, size_t piece, uint32_t *out, near_counts *counts)
{
    near_index *index;
    finch_error err = {0};
    finch_text all[sizeof t->at / sizeof t->at[0]];
    for (size_t i = 0; i < t->n; i++) all[i] = text_at(t, i);
    CHECK_OK(near_open(NEAR_THRESHOLD, &index, &err), &err);
    for (size_t i = 0; i < t->n; i += piece)
        CHECK_OK(near_add(index, all + i, t->n - i < piece ? t->n - i : piece, &err), &err);
    CHECK_EQUAL(t->n, near_rows(index));
    CHECK_OK(near_clusters(index, NULL, out, counts, &err), &err);
    near_close(index);
}

TEST(similarity_counts_shared_shingles)
{
    finch_text a = {"abcdef", 6}, b = {"bcdefg", 6}, c = {"abcdefabcdef", 12}, small = {"abc", 3};
    CHECK_NEAR(1, near_similarity(a, a), 0);
    CHECK_NEAR(1.0 / 3, near_similarity(a, b), 1e-15); /* abcde bcdef | bcdef cdefg */
    CHECK_NEAR(2.0 / 6, near_similarity(a, c), 1e-15); /* shingles that come twice count once */
    CHECK_NEAR(near_similarity(c, a), near_similarity(a, c), 0);
    CHECK_NEAR(1, near_similarity(small, small), 0);
    CHECK_NEAR(0, near_similarity(small, a), 0);
}

/* Of all shingles of both texts: how many there are and how many both have, by looking at every pair. */
static double plain_similarity(const char *a, size_t n, const char *b, size_t m)
{
    enum { SHINGLE = 5 };
    const char *shingles[256];
    size_t n_shingles = 0, both = 0, all = 0;
    for (size_t i = 0; i + SHINGLE <= n; i++) shingles[n_shingles++] = a + i;
    size_t n_first = n_shingles;
    for (size_t i = 0; i + SHINGLE <= m; i++) shingles[n_shingles++] = b + i;
    for (size_t i = 0; i < n_shingles; i++) {
        bool before = false, in_first = i < n_first, in_second = i >= n_first;
        for (size_t k = 0; k < n_shingles; k++) {
            if (memcmp(shingles[i], shingles[k], SHINGLE) != 0) continue;
            before |= k < i;
            in_first |= k < n_first;
            in_second |= k >= n_first;
        }
        all += !before;
        both += !before && in_first && in_second;
    }
    return (double)both / (double)all;
}

TEST(similarity_is_that_of_the_sets_whatever_the_texts_share)
{
    rng r = {5, 1, 0};
    for (int round = 0; round < 20000; round++) {
        char a[64], b[64];
        size_t n = 5 + rng_below(&r, 50), m = 5 + rng_below(&r, 50), letters = 1 + rng_below(&r, 4);
        for (size_t i = 0; i < n; i++) a[i] = (char)('a' + rng_below(&r, letters));
        for (size_t i = 0; i < m; i++) b[i] = (char)('a' + rng_below(&r, letters));
        size_t least = n < m ? n : m;
        if (round % 2 == 0) memcpy(b, a, rng_below(&r, least + 1));
        size_t tail = round % 3 == 0 ? rng_below(&r, least + 1) : 0;
        memcpy(b + m - tail, a + n - tail, tail);
        CHECK_NEAR(plain_similarity(a, n, b, m), near_similarity((finch_text){a, n}, (finch_text){b, m}), 1e-15);
    }
}

TEST(planted_pairs_just_above_the_threshold_are_found)
{
    texts t = {0};
    static uint32_t cluster[6000];
    size_t n_found = 0;
    plant(&t, 2000, 0.80, 0.82, 7);
    cluster_in_pieces(&t, 700, cluster, NULL);
    for (size_t i = 0; i < t.n; i += 2) n_found += cluster[i + 1] == cluster[i];
    printf("recall at 0.80 to 0.82: %.4f of %zu pairs\n", (double)n_found / 2000, t.n / 2);
    CHECK(n_found >= 1900);
    str_free(&t.bytes);
}

TEST(pairs_below_the_threshold_stay_apart)
{
    texts t = {0};
    static uint32_t cluster[6000];
    near_counts counts;
    plant(&t, 2000, 0.70, 0.795, 8);
    cluster_in_pieces(&t, 5000, cluster, &counts);
    for (size_t i = 0; i < t.n; i++) CHECK_EQUAL(i, cluster[i]);
    CHECK_EQUAL(t.n, counts.n_clusters);
    CHECK(counts.n_judged > 1000); /* they were looked at */
    str_free(&t.bytes);
}

TEST(clusters_do_not_depend_on_threads_or_pieces)
{
    texts t = {0};
    static uint32_t first[6000], second[6000];
    near_counts a, b;
    plant(&t, 800, 0.78, 0.9, 9);
    for (size_t i = 0; i < 300; i++) { /* chains: each is near the one before */
        char text[80];
        snprintf(text, sizeof text, "%.*s and then the market closed higher again today", (int)(i % 30),
                 "abcdefghijklmnopqrstuvwxyzabcdefghij");
        texts_add(&t, text, strlen(text));
    }
    cluster_in_pieces(&t, 6000, first, &a);
    for (int threads = 1; threads <= 4; threads++) {
#ifdef _OPENMP
        omp_set_num_threads(threads);
#endif
        cluster_in_pieces(&t, (size_t)(37 * threads), second, &b);
        CHECK(memcmp(first, second, t.n * sizeof *first) == 0);
        CHECK_EQUAL(a.n_clusters, b.n_clusters);
    }
    CHECK(a.n_clusters < t.n - 500);
    str_free(&t.bytes);
}

TEST(what_a_repost_changes_does_not_count_and_empty_texts_stand_alone)
{
    near_index *index;
    finch_error err = {0};
    uint32_t cluster[9];
    finch_text all[] = {
        {"$AAPL beats and raises, shares up 6% http://t.co/abc", 52},
        {NULL, 0},
        {"RT @someone: $AAPL beats and raises, shares up 6%", 49},
        {"http://t.co/xyz", 15},
        {"http://t.co/xyz", 15},
        {"", 0},
        {"$aapl BEATS and raises shares up 6% @another", 44},
        {"up", 2},
        {"Up", 2},
    };
    static const uint32_t expected[] = {0, 1, 0, 3, 4, 5, 0, 7, 7};
    near_counts counts;
    CHECK_OK(near_open(NEAR_THRESHOLD, &index, &err), &err);
    CHECK_OK(near_add(index, all, 9, &err), &err);
    CHECK_OK(near_clusters(index, NULL, cluster, &counts, &err), &err);
    for (size_t i = 0; i < 9; i++) CHECK_EQUAL(expected[i], cluster[i]);
    CHECK_EQUAL(6, counts.n_clusters);
    CHECK_EQUAL(2, counts.n_distinct);
    near_close(index);
}

TEST(long_texts_are_judged_by_their_sketches)
{
    texts t = {0};
    str text = {0};
    uint32_t cluster[3];
    rng r = {10, 1, 0};
    char word[WORD_BYTES];
    while (text.size < 20000) {
        random_word(&r, word);
        CHECK_OK(str_add_format(&text, NULL, "%s ", word), NULL);
    }
    texts_add(&t, text.at, text.size);
    memcpy(text.at + 5000, "another thing stands here", 25);
    texts_add(&t, text.at, text.size);
    texts_add(&t, text.at, 9000); /* less than half of it */
    cluster_in_pieces(&t, 2, cluster, NULL);
    CHECK_EQUAL(0, cluster[1]);
    CHECK_EQUAL(2, cluster[2]);
    str_free(&text);
    str_free(&t.bytes);
}

/* One bucket that holds everything must not become all pairs. */
TEST(a_giant_bucket_takes_time_in_proportion_to_its_texts)
{
    texts t = {0};
    static uint32_t cluster[6000];
    near_counts counts;
    rng r = {11, 1, 0};
    char words[WORDS][WORD_BYTES];
    str own = {0};
    for (size_t i = 0; i < 3000; i++) { /* alike enough to be judged, not to be joined */
        char text[400];
        random_words(&r, words);
        join(words, &own);
        snprintf(text, sizeof text,
                 "this disclaimer stands in every text of the feed and is longer than what it says itself: %.24s", own.at);
        texts_add(&t, text, strlen(text));
    }
    cluster_in_pieces(&t, 5000, cluster, &counts);
    printf("judged %llu pairs of %zu texts\n", (unsigned long long)counts.n_judged, t.n);
    CHECK(counts.n_judged > t.n);
    CHECK(counts.n_judged <= (uint64_t)t.n * NEAR_WINDOW * 12);
    str_free(&own);
    str_free(&t.bytes);
}

static bool stop_at_once(void *context, uint64_t done, uint64_t total, const char *note)
{
    (void)context, (void)done, (void)total, (void)note;
    return false;
}

TEST(wrong_thresholds_and_interruption_are_statuses)
{
    near_index *index;
    finch_error err = {0};
    uint32_t cluster[1];
    CHECK_STATUS(FINCH_E_USAGE, near_open(0, &index, &err), &err);
    CHECK_STATUS(FINCH_E_USAGE, near_open(1.01, &index, &err), &err);
    CHECK_STATUS(FINCH_E_USAGE, near_open(NAN, &index, &err), &err);
    CHECK_OK(near_open(1, &index, &err), &err);
    CHECK_OK(near_add(index, &(finch_text){"a text", 6}, 1, &err), &err);
    CHECK_STATUS(FINCH_E_CANCELLED, near_clusters(index, &(progress){stop_at_once, NULL}, cluster, NULL, &err), &err);
    near_close(index);
}

static finch_status all_steps(const texts *t, finch_error *err)
{
    near_index *index;
    finch_text all[40];
    uint32_t cluster[40];
    for (size_t i = 0; i < 40; i++) all[i] = text_at(t, i);
    finch_status st = near_open(NEAR_THRESHOLD, &index, err);
    if (st == FINCH_OK) st = near_add(index, all, 40, err);
    if (st == FINCH_OK) st = near_clusters(index, NULL, cluster, NULL, err);
    near_close(index);
    return st;
}

TEST(every_failing_allocation_is_a_status_and_frees_all)
{
    texts t = {0};
    finch_error err = {0};
    int n_failed = 0;
    for (size_t i = 0; i < 40; i++) { /* alike without one chain: their buckets are large */
        char text[200];
        snprintf(text, sizeof text, "%zu%zu%zu%zu the same words stand behind a number that is another each time", i * 7919,
                 i * 104729, i * 1299709, i * 15485863);
        texts_add(&t, text, strlen(text));
    }
    for (int nth = 1; fault_arm(FAULT_ALLOC, nth); nth++) {
        finch_status st = all_steps(&t, &err);
        if (!fault_disarm()) break;
        n_failed++;
        CHECK_EQUAL(FINCH_E_MEMORY, st);
    }
    CHECK(n_failed >= 12);
    str_free(&t.bytes);
}
