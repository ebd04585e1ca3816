#include "model/gemma_model.h"

#include <string.h>

enum { WORDS = 5, PROMPT_TOKENS_MAX = 1024, SUFFIX_TOKENS_MAX = 16 };

/* What stands for the classes, in their order. Each word is one piece behind a blank. */
static const char *const words_of[WORDS] = {" terrible", " bad", " neutral", " good", " great"};

/* An example of each class and one more neutral, in no order that a model could go on with. */
static const char prompt_before[] =
    "What does each tweet say about the price of its stock: terrible, bad, neutral, good or great?\n\n"
    "Tweet: $MCD declares its quarterly dividend, call on Thursday\nOutlook: neutral\n\n"
    "Tweet: $XOM upgraded to buy, small beat on revenue\nOutlook: good\n\n"
    "Tweet: $GME files for bankruptcy, stock halted after a 60% crash\nOutlook: terrible\n\n"
    "Tweet: $NVDA soars 20% to a record high on blowout earnings\nOutlook: great\n\n"
    "Tweet: $DIS price target cut after a soft quarter\nOutlook: bad\n\n"
    "Tweet: What do you all think of $AAPL and $MSFT this week?\nOutlook: neutral\n\n"
    "Tweet: ";
static const char prompt_after[] = "\nOutlook:";
/* What a text without content may be. */
static const char *const nothing[] = {"N/A", "", "$"};

typedef struct gemma_words {
    gemma_cache *before;
    int32_t after[SUFFIX_TOKENS_MAX];
    size_t n_after;
    int32_t ids[WORDS];
    float bias[WORDS]; /* taken off the words' logits */
} gemma_words;

/* ---- opening --------------------------------------------------------------------------------------------------- */

finch_status gemma_model_open(model *m, const char *path, const char *base, model_compute compute, finch_error *err)
{
    FINCH_TRY(base != NULL ? gemma_open_adapted(path, base, compute, &m->gemma, err)
                           : gemma_open(path, compute, &m->gemma, err));
    m->compute = gemma_get_compute(m->gemma);
    return FINCH_OK;
}

void gemma_model_close(model *m)
{
    if (m->label_words != NULL) gemma_cache_destroy(m->label_words->before);
    mem_free(m->label_words);
    gemma_close(m->gemma);
}

/* The pieces of a text without <bos>. */
static finch_status encode(const model *m, const char *text, size_t room, int32_t *ids, size_t *n, text_scratch *scratch,
                           finch_error *err)
{
    int32_t all[PROMPT_TOKENS_MAX];
    bool cut;
    FINCH_TRY(
        text_encode(m->tokenizer, (finch_text){text, strlen(text)}, PROMPT_TOKENS_MAX, all, n, &cut, NULL, scratch, err));
    size_t skip = *n > 0 && all[0] == text_tokenizer_special(m->tokenizer).cls ? 1 : 0;
    *n -= skip;
    if (cut || *n > room)
        return finch_fail(err, FINCH_E_UNSUPPORTED, "%s: its tokenizer cuts the prompt of the label words into %zu pieces",
                          gemma_path(m->gemma), *n);
    memcpy(ids, all + skip, *n * sizeof *ids);
    return FINCH_OK;
}

static finch_status read_words(model *m, text_scratch *scratch, finch_error *err)
{
    gemma_words *w = m->label_words;
    for (size_t i = 0; i < WORDS; i++) {
        size_t n;
        FINCH_TRY(encode(m, words_of[i], 1, &w->ids[i], &n, scratch, err));
        if (n != 1)
            return finch_fail(err, FINCH_E_UNSUPPORTED, "%s: its vocabulary has no piece for the label word \"%s\"",
                              gemma_path(m->gemma), words_of[i]);
    }
    return encode(m, prompt_after, SUFFIX_TOKENS_MAX, w->after, &w->n_after, scratch, err);
}

/* Reads the part before the text into the cache. */
static finch_status read_before(model *m, text_scratch *scratch, arena *a, finch_error *err)
{
    int32_t ids[PROMPT_TOKENS_MAX];
    size_t n;
    FINCH_TRY(encode(m, prompt_before, PROMPT_TOKENS_MAX - 1, ids + 1, &n, scratch, err));
    ids[0] = text_tokenizer_special(m->tokenizer).cls;
    n++;
    if (n + m->label_words->n_after + TEXT_TOKENS_MIN > m->config.n_positions)
        return finch_fail(err, FINCH_E_UNSUPPORTED, "%s: %zu positions leave no room for the prompt of the label words",
                          gemma_path(m->gemma), m->config.n_positions);
    const uint32_t offsets[2] = {0, (uint32_t)n};
    FINCH_TRY(gemma_cache_create(m->gemma, n, &m->label_words->before, err));
    gemma_batch b = {
        .ids = ids, .offsets = offsets, .n_texts = 1, .n_tokens = n, .caches = &m->label_words->before, .keep = true};
    FINCH_TRY(gemma_hidden(m->gemma, &b, NULL, a, err));
    m->config.n_positions -= n + m->label_words->n_after;
    return FINCH_OK;
}

static finch_status set_bias(model *m, text_scratch *scratch, arena *a, finch_error *err)
{
    enum { TEXTS = sizeof nothing / sizeof nothing[0], ROOM = 8 };
    int32_t ids[TEXTS * ROOM];
    uint32_t offsets[TEXTS + 1] = {0};
    float logits[TEXTS * WORDS];
    for (size_t i = 0; i < TEXTS; i++) {
        size_t n, at = offsets[i];
        ids[at] = text_tokenizer_special(m->tokenizer).cls;
        FINCH_TRY(encode(m, nothing[i], ROOM - 1, ids + at + 1, &n, scratch, err));
        offsets[i + 1] = (uint32_t)(at + 1 + n);
    }
    const model_batch b = {ids, offsets, TEXTS, offsets[TEXTS]};
    FINCH_TRY(gemma_model_logits(m, &b, 0, logits, a, err));
    for (size_t j = 0; j < WORDS; j++) {
        float sum = 0.0f;
        for (size_t i = 0; i < TEXTS; i++) sum += logits[i * WORDS + j];
        m->label_words->bias[j] = sum / (float)TEXTS;
    }
    return FINCH_OK;
}

static finch_status choose_words(model *m, finch_error *err)
{
    finch_status st;
    text_scratch *scratch = NULL;
    arena a;
    arena_init(&a);
    FINCH_GO(done, st, MEM_NEW(&m->label_words, 1, err));
    FINCH_GO(done, st, text_scratch_create(&scratch, err));
    FINCH_GO(done, st, read_words(m, scratch, err));
    FINCH_GO(done, st, read_before(m, scratch, &a, err));
    st = set_bias(m, scratch, &a, err);
done:
    text_scratch_destroy(scratch);
    arena_free(&a);
    return st;
}

finch_status gemma_model_choose_head(model *m, const char *path, finch_error *err)
{
    size_t n = gemma_n_classes(m->gemma);
    if (n == 0 && m->config.n_labels != WORDS)
        return finch_fail(err, FINCH_E_DATA, "%s: config.json has a classifier's labels, the weights no score.weight", path);
    if (n > 0 && n != m->config.n_labels)
        return finch_fail(err, FINCH_E_DATA, "%s: score.weight has %zu classes, config.json's id2label %zu", path, n,
                          m->config.n_labels);
    if (n > 0) return FINCH_OK;
    if (text_tokenizer_style(m->tokenizer) != TEXT_GEMMA)
        return finch_fail(err, FINCH_E_UNSUPPORTED, "%s has no classifier, and label words need a Gemma's own tokenizer",
                          path);
    return choose_words(m, err);
}

/* ---- logits ---------------------------------------------------------------------------------------------------- */

static finch_status class_logits(const model *m, const model_batch *b, size_t n_threads, float *logits, arena *scratch,
                                 finch_error *err)
{
    uint32_t *last;
    float *hidden;
    FINCH_TRY(ARENA_NEW(scratch, &last, b->n_texts, err));
    FINCH_TRY(ARENA_NEW(scratch, &hidden, b->n_texts * m->config.hidden_size, err));
    for (size_t i = 0; i < b->n_texts; i++) last[i] = b->offsets[i + 1] - 1;
    const gemma_batch batch = {.ids = b->ids,
                               .offsets = b->offsets,
                               .n_texts = b->n_texts,
                               .n_tokens = b->n_tokens,
                               .wanted = last,
                               .n_wanted = b->n_texts,
                               .n_threads = n_threads};
    FINCH_TRY(gemma_hidden(m->gemma, &batch, hidden, scratch, err));
    gemma_class_logits(m->gemma, hidden, b->n_texts, logits);
    return FINCH_OK;
}

/* Each text without its <bos>, and what stands behind it in the prompt. */
static void join(const model *m, const model_batch *b, int32_t *ids, uint32_t *offsets, uint32_t *last)
{
    const gemma_words *w = m->label_words;
    int32_t bos = text_tokenizer_special(m->tokenizer).cls;
    size_t to = 0;
    offsets[0] = 0;
    for (size_t i = 0; i < b->n_texts; i++) {
        size_t from = b->offsets[i], end = b->offsets[i + 1];
        if (b->ids[from] == bos) from++;
        memcpy(ids + to, b->ids + from, (end - from) * sizeof *ids);
        to += end - from;
        memcpy(ids + to, w->after, w->n_after * sizeof *ids);
        to += w->n_after;
        offsets[i + 1] = (uint32_t)to;
        last[i] = (uint32_t)to - 1;
    }
}

static finch_status word_logits(const model *m, const model_batch *b, size_t n_threads, float *logits, arena *scratch,
                                finch_error *err)
{
    const gemma_words *w = m->label_words;
    size_t n = b->n_texts;
    int32_t *ids;
    uint32_t *offsets, *last;
    gemma_cache **caches;
    float *hidden;
    FINCH_TRY(ARENA_NEW(scratch, &ids, b->n_tokens + n * w->n_after, err));
    FINCH_TRY(ARENA_NEW(scratch, &offsets, n + 1, err));
    FINCH_TRY(ARENA_NEW(scratch, &last, n, err));
    FINCH_TRY(ARENA_NEW(scratch, &caches, n, err));
    FINCH_TRY(ARENA_NEW(scratch, &hidden, n * m->config.hidden_size, err));
    for (size_t i = 0; i < n; i++) caches[i] = w->before;
    join(m, b, ids, offsets, last);
    const gemma_batch batch = {.ids = ids,
                               .offsets = offsets,
                               .n_texts = n,
                               .n_tokens = offsets[n],
                               .caches = caches,
                               .wanted = last,
                               .n_wanted = n,
                               .n_threads = n_threads};
    FINCH_TRY(gemma_hidden(m->gemma, &batch, hidden, scratch, err));
    FINCH_TRY(gemma_token_logits(m->gemma, hidden, n, w->ids, WORDS, logits, scratch, err));
    for (size_t i = 0; i < n * WORDS; i++) logits[i] -= w->bias[i % WORDS];
    return FINCH_OK;
}

finch_status gemma_model_logits(const model *m, const model_batch *b, size_t n_threads, float *logits, arena *scratch,
                                finch_error *err)
{
    arena_place mark = arena_mark(scratch);
    finch_status st = m->label_words == NULL ? class_logits(m, b, n_threads, logits, scratch, err)
                                             : word_logits(m, b, n_threads, logits, scratch, err);
    arena_release(scratch, mark);
    return st;
}
