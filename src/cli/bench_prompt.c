/* finch bench prompt: how fast a Gemma reads a prompt, and how fast it goes on from it a token at a time.
 *
 * A prompt is --max-tokens ids drawn at random; a pass reads it into an empty cache and ends with the whole vocabulary's logits of
 * its last token, as a peer's does. Then --steps tokens follow one by one, each with its logits. */
#include "cli/bench.h"

#include "base/clock.h"
#include "base/rng.h"
#include "model/gemma.h"

#include <string.h>

enum { PROMPT_TOKENS = 512, RUNS_MAX = 1000 };

typedef struct prompt_work {
    gemma *g;
    gemma_cache *cache;
    arena scratch;
    size_t n_prompt, n_steps, n_threads;
    int32_t *ids; /* [n_prompt + n_steps] */
    float *hidden, *logits;
} prompt_work;

static finch_status prompt_open(prompt_work *w, const cli_args *args, const char *path, finch_error *err)
{
    rng r = {.seed = 1};
    w->n_prompt = bench_max_tokens(args, PROMPT_TOKENS);
    w->n_steps = cli_size(args, "steps");
    w->n_threads = cli_threads(args);
    FINCH_TRY(gemma_open(path, bench_compute(args), &w->g, err));
    const gemma_config *c = gemma_get_config(w->g);
    size_t n = w->n_prompt + w->n_steps;
    FINCH_TRY(gemma_cache_create(w->g, n, &w->cache, err));
    FINCH_TRY(ARENA_NEW(&w->scratch, &w->ids, n, err));
    FINCH_TRY(ARENA_NEW(&w->scratch, &w->hidden, c->hidden_size, err));
    FINCH_TRY(ARENA_NEW(&w->scratch, &w->logits, c->vocab_size, err));
    for (size_t i = 0; i < n; i++) w->ids[i] = (int32_t)rng_below(&r, c->vocab_size);
    return FINCH_OK;
}

/* n ids from `first` on into the cache, and the logits behind the last. */
static finch_status read_ids(prompt_work *w, size_t first, size_t n, finch_error *err)
{
    const uint32_t offsets[2] = {0, (uint32_t)n}, last = (uint32_t)n - 1;
    gemma_batch b = {.ids = w->ids + first,
                     .offsets = offsets,
                     .n_texts = 1,
                     .n_tokens = n,
                     .caches = &w->cache,
                     .keep = true,
                     .wanted = &last,
                     .n_wanted = 1,
                     .n_threads = w->n_threads};
    FINCH_TRY(gemma_hidden(w->g, &b, w->hidden, &w->scratch, err));
    return gemma_vocabulary_logits(w->g, w->hidden, 1, w->n_threads, w->logits, &w->scratch, err);
}

static finch_status one_pass(prompt_work *w, double *prompt_seconds, double *step_seconds, finch_error *err)
{
    double begin = clock_seconds();
    gemma_cache_cut(w->cache, 0);
    FINCH_TRY(read_ids(w, 0, w->n_prompt, err));
    *prompt_seconds = clock_seconds() - begin;
    begin = clock_seconds();
    for (size_t i = 0; i < w->n_steps; i++) FINCH_TRY(read_ids(w, w->n_prompt + i, 1, err));
    *step_seconds = (clock_seconds() - begin) / (double)w->n_steps;
    return FINCH_OK;
}

static finch_status prompt_measure(prompt_work *w, const cli_args *args, const char *path, json_t **out, finch_error *err)
{
    double prompt[RUNS_MAX], steps[RUNS_MAX];
    size_t runs = cli_size(args, "runs");
    FINCH_TRY(one_pass(w, prompt, steps, err));
    for (size_t i = 0; i < runs; i++) {
        if (cli_cancelled()) return cli_cancelled_fail(err);
        FINCH_TRY(one_pass(w, prompt + i, steps + i, err));
    }
    double prompt_seconds = bench_median(prompt, runs), step_seconds = bench_median(steps, runs);
    *out = json_pack("{s:s, s:f, s:f, s:f, s:I, s:I, s:I, s:s, s:I, s:I, s:s}", "what", "prompt", "prompt_tokens_per_second",
                     (double)w->n_prompt / prompt_seconds, "prompt_seconds", prompt_seconds, "step_tokens_per_second",
                     1.0 / step_seconds, "prompt_tokens", (json_int_t)w->n_prompt, "steps", (json_int_t)w->n_steps,
                     "peak_rss_bytes", (json_int_t)cli_peak_rss_bytes(), "compute",
                     model_compute_name(gemma_get_compute(w->g)), "threads", (json_int_t)cli_threads(args), "runs",
                     (json_int_t)runs, "model", path);
    return FINCH_OK;
}

finch_status bench_prompt(const cli_args *args, json_t **out, finch_error *err)
{
    str path = {0};
    prompt_work w = {0};
    arena_init(&w.scratch);
    finch_status st = cli_model_folder(cli_text(args, "model"), &path, err);
    if (st == FINCH_OK) st = prompt_open(&w, args, path.at, err);
    if (st == FINCH_OK) st = prompt_measure(&w, args, path.at, out, err);
    gemma_cache_destroy(w.cache);
    gemma_close(w.g);
    arena_free(&w.scratch);
    str_free(&path);
    return st;
}
