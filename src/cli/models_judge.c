#include "cli/models_judge.h"

#include "cli/commands.h"
#include "cli/eval.h"
#include "cli/options.h"

#include "serve/drift_book.h"

#include <stdio.h>
#include <string.h>

enum { WORDS_FIXED = 16, SCORED_AT_ONCE = 4096 };

extern const cli_command cli_command_eval;

/* ---- finch eval's arguments out of ours ---- */

static finch_status eval_args(const cli_args *args, const char *folder, arena *memory, cli_args **out, finch_error *err)
{
    size_t n_data, n = 0;
    char *number;
    const char *const *data = cli_list(args, "data", &n_data);
    const char **words;
    if (n_data == 0) return finch_fail(err, FINCH_E_USAGE, "--data F... is missing: the labelled rows");
    FINCH_TRY(ARENA_NEW(memory, &words, n_data + WORDS_FIXED, err));
    FINCH_TRY(ARENA_NEW(memory, &number, 24, err));
    snprintf(number, 24, "%zu", cli_size(args, "max-tokens"));
    const char *const fixed[] = {"--model",        folder,
                                 "--text-column",  cli_text(args, "text-column"),
                                 "--label-column", cli_text(args, "label-column"),
                                 "--max-tokens",   number};
    for (; n < sizeof fixed / sizeof fixed[0]; n++) words[n] = fixed[n];
    if (cli_flag(args, "quiet")) words[n++] = "--quiet";
    words[n++] = "--data";
    for (size_t i = 0; i < n_data; i++) words[n++] = data[i];
    FINCH_TRY(cli_parse(&cli_command_eval, words, n, memory, out, err));
    cli_set_threads(*out, cli_threads(args));
    return FINCH_OK;
}

finch_status models_judge(const cli_args *args, const char *folder, json_t **out, finch_error *err)
{
    arena memory;
    cli_args *own;
    *out = NULL;
    arena_init(&memory);
    finch_status st = eval_args(args, folder, &memory, &own, err);
    if (st == FINCH_OK) st = eval_document(own, out, err);
    arena_free(&memory);
    return st;
}

/* ---- profiles ---- */

typedef struct profiling {
    model *engine;
    model_scorer *scorer;
    text_scratch *scratch;
    drift_counts *counts;
    arena memory;
    size_t max_tokens;
    float *logits;            /* [SCORED_AT_ONCE, n_labels] */
    model_text_info *info;    /* [SCORED_AT_ONCE] */
    int32_t *ids;             /* [max_tokens] */
} profiling;

static void profiling_close(profiling *p)
{
    model_scorer_destroy(p->scorer);
    text_scratch_destroy(p->scratch);
    drift_counts_free(p->counts);
    model_close(p->engine);
    arena_free(&p->memory);
}

static finch_status profiling_open(const cli_args *args, const char *folder, profiling *p, finch_error *err)
{
    FINCH_TRY(model_open(folder, MODEL_AUTO, &p->engine, err));
    FINCH_TRY(model_scorer_create(p->engine, cli_threads(args), &p->scorer, err));
    FINCH_TRY(text_scratch_create(&p->scratch, err));
    FINCH_TRY(drift_counts_make(&p->counts, err));
    size_t most = model_config_max_tokens(model_get_config(p->engine)), asked = cli_size(args, "max-tokens");
    p->max_tokens = size_least(asked, most);
    FINCH_TRY(ARENA_NEW(&p->memory, &p->logits, SCORED_AT_ONCE * model_get_config(p->engine)->n_labels, err));
    FINCH_TRY(ARENA_NEW(&p->memory, &p->info, SCORED_AT_ONCE, err));
    return ARENA_NEW(&p->memory, &p->ids, p->max_tokens, err);
}

static finch_status count_text(profiling *p, finch_text text, const float *logits, finch_error *err)
{
    size_t n, label = model_best_label(logits, model_get_config(p->engine)->n_labels);
    const text_tokenizer *t = model_tokenizer(p->engine);
    FINCH_TRY(text_encode(t, text, p->max_tokens, p->ids, &n, NULL, NULL, p->scratch, err));
    cache_info info = {.n_tokens = (uint32_t)n, .n_unknown = drift_book_unknown(t, p->ids, n)};
    return drift_book_add(p->counts, text, info, model_class_id(p->engine, label), err);
}

static finch_status count_all(const cli_args *args, profiling *p, const eval_data *d, finch_error *err)
{
    size_t n_labels = model_get_config(p->engine)->n_labels;
    cli_bar bar;
    finch_status st = FINCH_OK;
    cli_bar_begin(&bar, args, "scoring", "texts");
    progress watch = cli_bar_progress(&bar);
    for (size_t at = 0; st == FINCH_OK && at < d->n; at += SCORED_AT_ONCE) {
        size_t n = size_least(SCORED_AT_ONCE, d->n - at);
        st = model_score_texts(p->scorer, d->texts + at, n, p->max_tokens, p->logits, p->info, err);
        for (size_t i = 0; st == FINCH_OK && i < n; i++) st = count_text(p, d->texts[at + i], p->logits + i * n_labels, err);
        if (st == FINCH_OK && !progress_report(&watch, at + n, d->n, NULL)) st = cli_cancelled_fail(err);
    }
    cli_bar_end(&bar);
    return st;
}

finch_status models_profile(const cli_args *args, const char *folder, json_t **out, finch_error *err)
{
    arena memory;
    cli_args *own;
    eval_data data = {0};
    profiling p = {0};
    *out = NULL;
    arena_init(&memory);
    arena_init(&p.memory);
    finch_status st = eval_args(args, folder, &memory, &own, err);
    if (st == FINCH_OK) st = eval_data_read(own, &data, err);
    if (st == FINCH_OK) st = profiling_open(args, folder, &p, err);
    if (st == FINCH_OK) st = count_all(args, &p, &data, err);
    if (st == FINCH_OK) *out = drift_counts_json(p.counts);
    if (st == FINCH_OK && *out == NULL) st = finch_fail(err, FINCH_E_MEMORY, "out of memory for a profile");
    profiling_close(&p);
    eval_data_free(&data);
    arena_free(&memory);
    return st;
}
