#include "harness.h"

#include "train/examples.h"

static const char vocab[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nbuy\nsell\nhold\nthe\nrumor\n##s\n$\naapl\n";
enum { CLS = 2, SEP = 3, BUY = 5, SELL = 6, THE = 8 };

static const examples_classes five = {{"STRONGLY_NEGATIVE", "NEGATIVE", "NEUTRAL", "POSITIVE", "STRONGLY_POSITIVE"}, 5};

static finch_text text_of(const char *text) { return (finch_text){text, strlen(text)}; }

static text_tokenizer *open_tokenizer(void)
{
    text_tokenizer *t;
    finch_error err;
    CHECK_OK(text_tokenizer_from_vocab(vocab, sizeof vocab - 1, true, &t, &err), &err);
    return t;
}

/* A table of text, label, text, label ... NULL. */
enum { ROWS_MAX = 16 };
typedef struct rows {
    finch_text texts[ROWS_MAX], labels[ROWS_MAX];
    uint64_t row[ROWS_MAX];
    examples_table table;
} rows;

static void fill(rows *r, const char *name, bool coarse, const char *const *cells)
{
    size_t n = 0;
    for (; cells[2 * n] != NULL; n++) {
        r->texts[n] = text_of(cells[2 * n]);
        r->labels[n] = text_of(cells[2 * n + 1]);
        r->row[n] = n + 1;
    }
    r->table = (examples_table){
        .name = name, .texts = r->texts, .labels = r->labels, .row = r->row, .n = n, .coarse = coarse, .weight = 1.0};
}

TEST(labels_name_classes_and_sets_of_them)
{
    static const struct {
        const char *label;
        bool coarse;
        uint32_t mask;
    } good[] = {
        {"NEUTRAL", false, 4},
        {" strongly_positive ", false, 16},
        {"POSITIVE|STRONGLY_POSITIVE", false, 24},
        {"NEGATIVE | NEUTRAL|NEGATIVE", false, 6},
        {"bearish", true, 3},
        {"NEGATIVE", true, 3},
        {"neutral", true, 4},
        {"Bullish", true, 24},
        {"POSITIVE", true, 24},
    };
    static const struct {
        const char *label;
        bool coarse;
    } bad[] = {{"positiv", false}, {"POSITIVE|", false},      {"|", false}, {"bullish", false}, {"STRONGLY_POSITIVE", true},
               {"1", true},        {"NEGATIVE|NEUTRAL", true}};
    finch_error err;
    uint32_t mask;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        CHECK_OK(examples_label(&five, text_of(good[i].label), good[i].coarse, &mask, &err), &err);
        if (mask != good[i].mask) fail_msg("%s is %u", good[i].label, mask);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK_STATUS(FINCH_E_DATA, examples_label(&five, text_of(bad[i].label), bad[i].coarse, &mask, &err), &err);
        CHECK(strstr(err.message, bad[i].coarse ? "bearish" : "STRONGLY_NEGATIVE") != NULL); /* what is allowed */
    }
    examples_classes other = {{"CATS", "DOGS"}, 2};
    CHECK_STATUS(FINCH_E_USAGE, examples_label(&other, text_of("bearish"), true, &mask, &err), &err);
}

TEST(texts_are_tokenised_end_to_end)
{
    static const char *const cells[] = {
        "buy the rumors", "POSITIVE", "Sell", "NEGATIVE|NEUTRAL", "hold hold hold hold hold hold", "NEUTRAL", NULL};
    rows r;
    examples e;
    finch_error err;
    text_tokenizer *t = open_tokenizer();
    fill(&r, "five.csv", false, cells);
    CHECK_OK(examples_create(&r.table, 1, &five, t, 6, NULL, NULL, &e, &err), &err);
    CHECK_EQUAL(3, e.n);
    CHECK_EQUAL(6, e.offset[1]);
    CHECK_EQUAL(9, e.offset[2]);
    CHECK_EQUAL(15, e.offset[3]);
    CHECK(e.ids[0] == CLS && e.ids[1] == BUY && e.ids[5] == SEP && e.ids[7] == SELL);
    CHECK_EQUAL(1, e.counts.truncated);
    CHECK_EQUAL(3, examples_class(&e, 0));
    CHECK_EQUAL(-1, examples_class(&e, 1));
    arena scratch;
    model_batch batch;
    size_t items[2] = {2, 0};
    arena_init(&scratch);
    CHECK_OK(examples_batch(&e, items, 2, &scratch, &batch, &err), &err);
    CHECK(batch.n_texts == 2 && batch.n_tokens == 12 && batch.offsets[1] == 6 && batch.offsets[2] == 12);
    CHECK(memcmp(batch.ids + 6, e.ids, 6 * sizeof *e.ids) == 0);
    arena_free(&scratch);
    examples_free(&e);
    text_tokenizer_close(t);
}

TEST(rows_are_left_out_for_a_reason_and_counted)
{
    static const char *const fine[] = {"buy", "POSITIVE", "sell", "  ", "the rumor", "NEUTRAL", "hold", "NEUTRAL", NULL};
    static const char *const coarse[] = {"BUY http://x", "bullish", "sell", "bearish", "hold the", "",
                                         "The Rumor",    "bearish", "hold", "neutral", NULL};
    rows a, b;
    examples e;
    finch_error err;
    fingerprints *exclude;
    const finch_text excluded = text_of("the rumor");
    text_tokenizer *t = open_tokenizer();
    fill(&a, "fine.csv", false, fine);
    fill(&b, "coarse.csv", true, coarse);
    CHECK_OK(fingerprints_create(&excluded, 1, &exclude, &err), &err);
    examples_table tables[2] = {a.table, b.table};
    CHECK_OK(examples_create(tables, 2, &five, t, 16, exclude, NULL, &e, &err), &err);
    CHECK_EQUAL(9, e.counts.rows);
    CHECK_EQUAL(2, e.counts.unlabelled);
    CHECK_EQUAL(2, e.counts.excluded);  /* "the rumor" of both tables */
    CHECK_EQUAL(2, e.counts.repeated);  /* "BUY http://x" and "hold" are in the fine table */
    CHECK_EQUAL(3, e.counts.kept);      /* "buy", "hold"; and "sell", which had no label before */
    CHECK_EQUAL(3, e.n);
    CHECK_EQUAL(3, e.mask[2]);
    examples_free(&e);
    fingerprints_close(exclude);
    text_tokenizer_close(t);
}

TEST(near_copies_of_excluded_texts_are_left_out_and_none_is_found_seen)
{
    static const char *const cells[] = {"RT @desk: $AAPL beats estimates, shares jump 5.2% after hours https://t.co/a",
                                        "POSITIVE",
                                        "$AAPL beats estimates, shares jump 5.2% after hours!! wow",
                                        "POSITIVE",
                                        "Lowe's to shut 34 Canadian stores as it reports revenue miss",
                                        "NEGATIVE",
                                        NULL};
    static const char *const held_out[] = {"$AAPL beats estimates, shares jump 5.2% after hours", "POSITIVE", NULL};
    rows train, valid;
    examples e;
    finch_error err;
    fingerprints *exclude, *learnt;
    fingerprint_match match;
    text_tokenizer *t = open_tokenizer();
    fill(&train, "train.csv", false, cells);
    fill(&valid, "valid.csv", false, held_out);
    CHECK_OK(examples_fingerprints(NULL, 0, &valid.table, 1, &exclude, &err), &err);
    CHECK_OK(examples_create(&train.table, 1, &five, t, 16, exclude, NULL, &e, &err), &err);
    CHECK_EQUAL(1, e.counts.excluded);
    CHECK_EQUAL(1, e.counts.nearly_excluded);
    CHECK_EQUAL(1, e.n);
    CHECK_OK(fingerprints_create(e.texts, e.n, &learnt, &err), &err);
    CHECK_OK(fingerprints_match(learnt, valid.texts[0], &match, &err), &err);
    CHECK_EQUAL(FINGERPRINT_NEW, match);
    fingerprints_close(learnt);
    fingerprints_close(exclude);
    examples_free(&e);
    text_tokenizer_close(t);
}

TEST(a_bad_label_is_told_with_file_and_row)
{
    static const char *const cells[] = {"buy", "POSITIVE", "sell", "negativ", NULL};
    static const char *const empty[] = {"buy", "", NULL};
    rows r;
    examples e;
    finch_error err;
    text_tokenizer *t = open_tokenizer();
    fill(&r, "five.csv", false, cells);
    r.row[1] = 77;
    CHECK_STATUS(FINCH_E_DATA, examples_create(&r.table, 1, &five, t, 16, NULL, NULL, &e, &err), &err);
    CHECK_EQUAL(77, err.row);
    CHECK(strstr(err.message, "five.csv, row 77") != NULL && strstr(err.message, "\"negativ\"") != NULL &&
          strstr(err.message, "NEUTRAL") != NULL);
    fill(&r, "five.csv", false, empty);
    CHECK_STATUS(FINCH_E_DATA, examples_create(&r.table, 1, &five, t, 16, NULL, NULL, &e, &err), &err);
    text_tokenizer_close(t);
}

TEST(class_weights_are_those_of_scikit_learn)
{
    /* compute_class_weight("balanced") of counts 4, 1, 3, 1, 1: n / (5 n_c). */
    static const double wanted[5] = {0.5, 2.0, 2.0 / 3.0, 2.0, 2.0};
    static const char *const cells[] = {"buy",  "STRONGLY_NEGATIVE",
                                        "buy",  "STRONGLY_NEGATIVE",
                                        "buy",  "STRONGLY_NEGATIVE",
                                        "buy",  "STRONGLY_NEGATIVE",
                                        "buy",  "NEGATIVE",
                                        "buy",  "NEUTRAL",
                                        "buy",  "NEUTRAL",
                                        "buy",  "NEUTRAL",
                                        "buy",  "POSITIVE",
                                        "buy",  "STRONGLY_POSITIVE",
                                        "sell", "STRONGLY_NEGATIVE|NEGATIVE",
                                        NULL};
    rows r;
    examples e;
    examples_weights weights;
    finch_error err;
    text_tokenizer *t = open_tokenizer();
    fill(&r, "five.csv", false, cells);
    CHECK_OK(examples_weights_parse("balanced", 5, &weights, &err), &err);
    CHECK_OK(examples_create(&r.table, 1, &five, t, 16, NULL, &weights, &e, &err), &err);
    for (size_t i = 0; i < 10; i++) CHECK_NEAR(wanted[examples_class(&e, i)], e.weight[i], 1e-6);
    CHECK_NEAR((4 * 0.5 + 2.0) / 5, e.weight[10], 1e-6); /* the mean of the set's examples */
    examples_free(&e);
    CHECK_OK(examples_weights_parse("sqrt", 5, &weights, &err), &err);
    CHECK_OK(examples_create(&r.table, 1, &five, t, 16, NULL, &weights, &e, &err), &err);
    double total = 0.0;
    for (size_t i = 0; i < 10; i++) total += (double)e.weight[i];
    CHECK_NEAR(10.0, total, 1e-5); /* as much in all as without weights */
    CHECK_NEAR(sqrt(2.0 / 0.5), e.weight[4] / e.weight[0], 1e-6);
    examples_free(&e);
    CHECK_OK(examples_weights_parse("1,2,3,4,5", 5, &weights, &err), &err);
    CHECK_OK(examples_create(&r.table, 1, &five, t, 16, NULL, &weights, &e, &err), &err);
    CHECK_NEAR(5.0, e.weight[9], 0);
    examples_free(&e);
    text_tokenizer_close(t);
}

TEST(class_weights_that_make_no_sense_are_refused)
{
    static const char *const bad[] = {"",         "heavy",      "1,2,3,4",     "1,2,3,4,5,6", "1,2,3,4,0",
                                      "1,2,,4,5", "1,2,3,4,5,", "nan,1,1,1,1", "inf,1,1,1,1", "1 2 3 4 5"};
    examples_weights weights;
    finch_error err;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (examples_weights_parse(bad[i], 5, &weights, &err) != FINCH_E_USAGE) fail_msg("\"%s\" was taken", bad[i]);
    static const char *const cells[] = {"buy", "NEUTRAL", NULL};
    rows r;
    examples e;
    text_tokenizer *t = open_tokenizer();
    fill(&r, "five.csv", false, cells);
    CHECK_OK(examples_weights_parse("balanced", 5, &weights, &err), &err);
    CHECK_STATUS(FINCH_E_DATA, examples_create(&r.table, 1, &five, t, 16, NULL, &weights, &e, &err), &err);
    text_tokenizer_close(t);
}

TEST(the_hash_tells_examples_apart)
{
    static const char *const cells[] = {"buy", "NEUTRAL", "sell", "POSITIVE", NULL};
    rows r;
    examples e;
    finch_error err;
    text_tokenizer *t = open_tokenizer();
    fill(&r, "five.csv", false, cells);
    CHECK_OK(examples_create(&r.table, 1, &five, t, 16, NULL, NULL, &e, &err), &err);
    uint64_t h = examples_hash(&e);
    CHECK(examples_hash(&e) == h);
    e.mask[1] ^= 4;
    CHECK(examples_hash(&e) != h);
    e.mask[1] ^= 4;
    e.ids[1]++;
    CHECK(examples_hash(&e) != h);
    e.ids[1]--;
    e.weight[0] = 2.0f;
    CHECK(examples_hash(&e) != h);
    examples_free(&e);
    text_tokenizer_close(t);
}

TEST(out_of_memory_at_any_allocation_leaks_nothing)
{
    static const char *const cells[] = {"buy", "POSITIVE", "sell", "NEGATIVE", NULL};
    static const char *const coarse[] = {"hold", "neutral", NULL};
    rows r, c;
    examples e;
    finch_error err;
    text_tokenizer *t = open_tokenizer();
    fill(&r, "five.csv", false, cells);
    fill(&c, "three.csv", true, coarse);
    examples_table tables[2] = {r.table, c.table};
    for (int nth = 1; fault_arm(FAULT_ALLOC, nth); nth++) {
        finch_status st = examples_create(tables, 2, &five, t, 16, NULL, NULL, &e, &err);
        bool struck = fault_disarm();
        if (!struck) {
            CHECK_OK(st, &err);
            examples_free(&e);
            CHECK(nth > 5);
            break;
        }
        CHECK_STATUS(FINCH_E_MEMORY, st, &err);
        CHECK(e.ids == NULL);
    }
    text_tokenizer_close(t);
}
