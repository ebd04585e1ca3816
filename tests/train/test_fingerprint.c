#include "harness.h"

#include "base/file.h"
#include "base/rng.h"
#include "text/minhash.h"
#include "train/fingerprint.h"

static finch_text text_of(const char *text) { return (finch_text){text, strlen(text)}; }

static fingerprint_match match(const fingerprints *f, const char *text)
{
    finch_error err;
    fingerprint_match found = FINGERPRINT_NEW;
    CHECK_OK(fingerprints_match(f, text_of(text), &found, &err), &err);
    return found;
}

static fingerprints *sample(void)
{
    finch_error err;
    fingerprints *f = NULL;
    const finch_text texts[] = {
        text_of("$AAPL beats estimates, shares jump 5.2% after hours https://t.co/abc"),
        text_of("Needham's Martin defends her prediction that Netflix subscriptions will fall this quarter"),
        text_of("RT @someone: $AAPL beats estimates, shares jump 5.2% after hours"),
        text_of(""),
    };
    CHECK_OK(fingerprints_create(texts, 4, &f, &err), &err);
    return f;
}

TEST(a_repost_is_seen_and_an_edit_is_nearly_seen)
{
    fingerprints *f = sample();
    CHECK_EQUAL(3, fingerprints_count(f)); /* the retweet folds to the first text */
    CHECK_EQUAL(FINGERPRINT_SEEN, match(f, "RT @other $aapl beats estimates   shares jump 5.2% AFTER hours http://x.y"));
    CHECK_EQUAL(FINGERPRINT_NEAR_SEEN,
                match(f, "Needham's Martin defends her prediction that Netflix subscriptions will fall this quarter!! wow"));
    CHECK_EQUAL(FINGERPRINT_NEW, match(f, "Lowe's to shut 34 Canadian stores as it reports revenue miss"));
    CHECK_EQUAL(FINGERPRINT_NEW,
                match(f, "$AAPL beats estimates, shares jump 7.9% before the open on record iPhone sales in China"));
    fingerprints_close(f);
}

TEST(what_is_saved_opens_and_matches_the_same)
{
    finch_error err;
    fingerprints *f = sample(), *again = NULL;
    CHECK_OK(fingerprints_save(f, harness_folder(), &err), &err);
    CHECK_OK(fingerprints_open(harness_folder(), &again, &err), &err);
    CHECK_EQUAL(fingerprints_count(f), fingerprints_count(again));
    CHECK_EQUAL(FINGERPRINT_SEEN, match(again, ""));
    fingerprints_close(again);
    fingerprints_close(f);
}

TEST(every_cut_of_the_file_is_refused)
{
    finch_error err;
    fingerprints *f = sample(), *again = NULL;
    char *data;
    size_t size;
    str path = {0};
    CHECK_OK(fingerprints_save(f, harness_folder(), &err), &err);
    CHECK_OK(file_join(harness_folder(), FINGERPRINT_FILE, &path, &err), &err);
    CHECK_OK(file_read(path.at, 1 << 20, &data, &size, &err), &err);
    for (size_t cut = 0; cut < size; cut++) {
        CHECK_STATUS(FINCH_E_DATA, fingerprints_parse(data, cut, "cut", &again, &err), &err);
        CHECK(again == NULL);
    }
    memset(data + 8, 0xFF, 8); /* a count that overflows when multiplied by the record's size */
    CHECK_STATUS(FINCH_E_DATA, fingerprints_parse(data, size, "huge", &again, &err), &err);
    mem_free(data);
    str_free(&path);
    fingerprints_close(f);
}

TEST(each_failed_allocation_is_reported)
{
    finch_error err;
    fingerprints *f = NULL;
    finch_text text = text_of("some text of a tweet");
    for (int nth = 1;; nth++) {
        fault_arm(FAULT_ALLOC, nth);
        finch_status st = fingerprints_create(&text, 1, &f, &err);
        bool struck = fault_disarm();
        CHECK((st == FINCH_OK) == !struck);
        if (!struck) break;
        CHECK_EQUAL(FINCH_E_MEMORY, st);
        CHECK(f == NULL);
    }
    fingerprints_close(f);
}

TEST(the_estimate_follows_the_jaccard_of_shingles)
{
    char a[400], b[400];
    rng letters = {.seed = 1};
    double worst = 0, sum = 0;
    int n = 0;
    for (size_t shared = 20; shared < 390; shared += 10, n++) {
        for (size_t i = 0; i < sizeof a; i++) {
            a[i] = (char)('a' + rng_below(&letters, 26));
            b[i] = i < shared ? a[i] : (char)('a' + rng_below(&letters, 26));
        }
        double inter = (double)(shared - 4), expected = inter / (2 * 396 - inter);
        minhash x = minhash_of(a, sizeof a), y = minhash_of(b, sizeof b);
        double off = minhash_similarity(&x, &y) - expected;
        sum += off;
        if (fabs(off) > worst) worst = fabs(off);
    }
    /* One byte of 48 functions: standard error below 0.075; 37 draws stay within four of them, their mean near 0. */
    CHECK(worst < 0.3);
    CHECK_NEAR(0, sum / n, 0.05);
}
