/* Callers share one model: threads of their own, each with its own calls, on one team or several, get the bits that a
 * caller alone gets. Also the thread sanitizer's case for the engine (make test-tsan). */
#include "harness.h"

#include "model/model.h"

#include <pthread.h>

enum { N_CALLERS = 4, N_ROUNDS = 3, N_TEXTS = 12, CLASSES_MAX = 8 };

static const char *const sentences[N_TEXTS] = {"$AAPL beats estimates, shares jump 5.2% after hours",
                                               "",
                                               "the market",
                                               "caf\xc3\xa9 \xf0\x9f\x9a\x80 $TSLA to the moon",
                                               "Lowe's to shut 34 stores as it reports revenue miss",
                                               "sell",
                                               "\xff\xfe not UTF-8",
                                               "guidance up, earnings up, stock down",
                                               "a b c d e f g h i j k l m n o p q r s t u v w x y z",
                                               "#markets",
                                               "12%",
                                               "neutral words of no meaning"};

typedef struct caller {
    const finch_model *model;
    const float *expected; /* [N_TEXTS, n_classes] */
    size_t first;          /* the text that comes first */
    size_t n_threads;
    size_t n_wrong;
    finch_status status;
} caller;

/* Scores the texts, beginning with another one than the other callers do. */
static void *call(void *context)
{
    caller *c = context;
    size_t n_classes = finch_model_n_classes(c->model);
    finch_score_options options = FINCH_SCORE_OPTIONS_DEFAULT;
    finch_text texts[N_TEXTS];
    float scored[N_TEXTS * CLASSES_MAX];
    options.n_threads = c->n_threads;
    for (size_t i = 0; i < N_TEXTS; i++) {
        const char *text = sentences[(c->first + i) % N_TEXTS];
        texts[i] = (finch_text){text, strlen(text)};
    }
    for (size_t round = 0; round < N_ROUNDS && c->status == FINCH_OK; round++) {
        size_t n = round == 0 ? 1 : N_TEXTS; /* one text is taken by a whole team, many are shared out */
        c->status = finch_score(c->model, texts, n, &options, scored, NULL, NULL);
        for (size_t i = 0; c->status == FINCH_OK && i < n; i++)
            c->n_wrong += memcmp(scored + i * n_classes, c->expected + (c->first + i) % N_TEXTS * n_classes,
                                 n_classes * sizeof *scored) != 0;
    }
    return NULL;
}

static void score_alone(const finch_model *m, float *out)
{
    finch_text texts[N_TEXTS];
    finch_error err;
    finch_score_options options = FINCH_SCORE_OPTIONS_DEFAULT;
    options.n_threads = 1;
    for (size_t i = 0; i < N_TEXTS; i++) texts[i] = (finch_text){sentences[i], strlen(sentences[i])};
    CHECK_OK(finch_score(m, texts, N_TEXTS, &options, out, NULL, &err), &err);
}

static void share(const char *folder, finch_compute compute)
{
    finch_error err;
    finch_model *m;
    pthread_t threads[N_CALLERS];
    caller callers[N_CALLERS];
    float expected[N_TEXTS * CLASSES_MAX];
    CHECK_OK(finch_model_open(folder, compute, &m, &err), &err);
    CHECK(finch_model_n_classes(m) <= CLASSES_MAX);
    score_alone(m, expected);
    for (size_t i = 0; i < N_CALLERS; i++) {
        callers[i] = (caller){.model = m, .expected = expected, .first = 3 * i, .n_threads = 1 + i % 2};
        CHECK_EQUAL(0, pthread_create(&threads[i], NULL, call, &callers[i]));
    }
    for (size_t i = 0; i < N_CALLERS; i++) {
        CHECK_EQUAL(0, pthread_join(threads[i], NULL));
        CHECK_EQUAL(FINCH_OK, callers[i].status);
        CHECK_EQUAL(0, callers[i].n_wrong);
    }
    finch_model_close(m);
}

TEST(callers_share_a_bert_in_every_type)
{
    share(FIXTURES "/models/tiny-bert", FINCH_COMPUTE_F32);
    share(FIXTURES "/models/tiny-bert", FINCH_COMPUTE_BF16);
    share(FIXTURES "/models/tiny-bert", FINCH_COMPUTE_INT8);
}

TEST(callers_share_an_mpnet)
{
    share(FIXTURES "/models/tiny-mpnet", FINCH_COMPUTE_INT8);
}
