/* Runs a Gemma over token ids, for tests that hold it against Python:
 *     parity_gemma_run MODEL COMPUTE WHAT [PREFIX] <ids >numbers
 * Each line of the input is a text's ids. The output is f32 as it lies in memory: for each text, of its last token, WHAT says
 * what: hidden, words (the whole vocabulary's logits) or classes. PREFIX: the first so many tokens of the first text are read into a
 * cache, and the texts (which all begin with them) continue it. */
#include "base/str.h"
#include "model/gemma.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOKENS_MAX = 1 << 16, TEXTS_MAX = 4096 };

typedef struct run {
    gemma *g;
    gemma_cache *cache;
    arena scratch;
    int32_t ids[TOKENS_MAX];
    uint32_t offsets[TEXTS_MAX + 1], wanted[TEXTS_MAX];
    gemma_cache *caches[TEXTS_MAX];
    size_t n_texts, n_tokens;
} run;

static void read_texts(run *r)
{
    char line[1 << 16];
    while (r->n_texts < TEXTS_MAX && fgets(line, sizeof line, stdin) != NULL) {
        char *at = line, *end;
        for (long id = strtol(at, &end, 10); end != at && r->n_tokens < TOKENS_MAX; id = strtol(at, &end, 10)) {
            r->ids[r->n_tokens++] = (int32_t)id;
            at = end;
        }
        r->offsets[++r->n_texts] = (uint32_t)r->n_tokens;
    }
}

/* The first text's first n tokens go into the cache and out of every text. */
static finch_status take_prefix(run *r, size_t n, finch_error *err)
{
    const uint32_t offsets[2] = {0, (uint32_t)n};
    FINCH_TRY(gemma_cache_create(r->g, n, &r->cache, err));
    gemma_batch b = {.ids = r->ids, .offsets = offsets, .n_texts = 1, .n_tokens = n, .caches = &r->cache, .keep = true};
    FINCH_TRY(gemma_hidden(r->g, &b, NULL, &r->scratch, err));
    size_t to = 0;
    for (size_t i = 0; i < r->n_texts; i++) {
        size_t from = r->offsets[i] + n, end = r->offsets[i + 1];
        r->offsets[i] = (uint32_t)to;
        for (; from < end; from++) r->ids[to++] = r->ids[from];
        r->caches[i] = r->cache;
    }
    r->offsets[r->n_texts] = (uint32_t)to;
    r->n_tokens = to;
    return FINCH_OK;
}

static finch_status answer(run *r, const char *what, finch_error *err)
{
    size_t hidden = gemma_get_config(r->g)->hidden_size, n_words = gemma_get_config(r->g)->vocab_size;
    float *states, *logits;
    for (size_t i = 0; i < r->n_texts; i++) r->wanted[i] = r->offsets[i + 1] - 1;
    gemma_batch b = {.ids = r->ids,
                     .offsets = r->offsets,
                     .n_texts = r->n_texts,
                     .n_tokens = r->n_tokens,
                     .caches = r->caches,
                     .wanted = r->wanted,
                     .n_wanted = r->n_texts};
    FINCH_TRY(ARENA_NEW(&r->scratch, &states, r->n_texts * hidden, err));
    FINCH_TRY(gemma_hidden(r->g, &b, states, &r->scratch, err));
    if (strcmp(what, "hidden") == 0) {
        fwrite(states, sizeof *states, r->n_texts * hidden, stdout);
        return FINCH_OK;
    }
    bool words = strcmp(what, "words") == 0;
    size_t width = words ? n_words : gemma_n_classes(r->g);
    FINCH_TRY(ARENA_NEW(&r->scratch, &logits, r->n_texts * width, err));
    if (words) FINCH_TRY(gemma_vocabulary_logits(r->g, states, r->n_texts, 0, logits, &r->scratch, err));
    else gemma_class_logits(r->g, states, r->n_texts, logits);
    fwrite(logits, sizeof *logits, r->n_texts * width, stdout);
    return FINCH_OK;
}

int main(int argc, char **argv)
{
    static run r;
    finch_error err = {0};
    model_compute compute;
    if (argc < 4 || !model_compute_find(argv[2], &compute)) return 2;
    arena_init(&r.scratch);
    finch_status st = gemma_open(argv[1], compute, &r.g, &err);
    if (st == FINCH_OK) read_texts(&r);
    if (st == FINCH_OK && argc > 4) st = take_prefix(&r, (size_t)strtoul(argv[4], NULL, 10), &err);
    if (st == FINCH_OK) st = answer(&r, argv[3], &err);
    if (st != FINCH_OK) fprintf(stderr, "%s\n", err.message);
    gemma_cache_destroy(r.cache);
    arena_free(&r.scratch);
    gemma_close(r.g);
    return finch_status_exit_code(st);
}
