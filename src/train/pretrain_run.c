#include "train/pretrain_run.h"

#include "base/rng.h"
#include "train/output.h"
#include "train/recipe.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define HOLD_OUT_PURPOSE (UINT64_C(0x686F6C64) << 24)

/* The rows of all tables, parted; texts and row numbers are copied out, what they point to is borrowed. */
typedef struct parted {
    examples_table learn, measure;
    finch_text *texts; /* [n] the held-out rows first */
    uint64_t *row;
} parted;

typedef struct run {
    const pretrain_options *options;
    const progress *watch;
    output output;
    trainable *trained;
    size_t max_tokens;
    parted rows;
    fingerprints *unseen; /* texts held out or excluded */
    fingerprints *excluded;
    examples train, valid;
    pretrain objective;
    loop_options loop;
    json_t *recipe;
    loop_result result;
} run;

static void FINCH_PRINTF(2, 3) say(const run *r, const char *format, ...)
{
    char line[1024];
    va_list list;
    if (r->options->say == NULL) return;
    va_start(list, format);
    vsnprintf(line, sizeof line, format, list);
    va_end(list);
    r->options->say(r->options->say_context, line);
}

/* ---- before the loop ---- */

static finch_status open_model(run *r, finch_error *err)
{
    const pretrain_options *o = r->options;
    trainable_options options = {.head = TRAINABLE_MASKED_LM,
                                 .bf16 = o->bf16,
                                 .bf16x3 = o->bf16x3,
                                 .hidden_dropout = o->hidden_dropout,
                                 .attention_dropout = o->attention_dropout,
                                 .classifier_dropout = -1.0,
                                 .seed = o->loop.seed};
    FINCH_TRY(trainable_open(o->model, &options, &r->trained, err));
    size_t most = model_config_max_tokens(trainable_config(r->trained));
    r->max_tokens = o->max_tokens < most ? o->max_tokens : most;
    return FINCH_OK;
}

/* A row is held out by the seed and its place in the input. */
static bool is_held_out(const pretrain_options *o, size_t place)
{
    rng_block block = rng_at(o->loop.seed, HOLD_OUT_PURPOSE, place);
    return (double)block.word[0] * 0x1p-32 < o->hold_out;
}

static finch_status part_rows(run *r, const examples_table *tables, size_t n_tables, finch_error *err)
{
    size_t n = 0, place = 0, next[2] = {0, 0};
    for (size_t t = 0; t < n_tables; t++) n += tables[t].n;
    FINCH_TRY(MEM_NEW(&r->rows.texts, n, err));
    FINCH_TRY(MEM_NEW(&r->rows.row, n, err));
    for (size_t i = 0; i < n; i++) next[1] += is_held_out(r->options, i) ? 1 : 0;
    size_t held = next[1];
    for (size_t t = 0; t < n_tables; t++) {
        for (size_t i = 0; i < tables[t].n; i++) {
            size_t *at = is_held_out(r->options, place++) ? &next[0] : &next[1];
            r->rows.texts[*at] = tables[t].texts[i];
            r->rows.row[(*at)++] = tables[t].row[i];
        }
    }
    const char *name = n_tables > 0 ? tables[0].name : "the input";
    r->rows.measure = (examples_table){.name = name, .texts = r->rows.texts, .row = r->rows.row, .n = held, .weight = 1.0};
    r->rows.learn = (examples_table){
        .name = name, .texts = r->rows.texts + held, .row = r->rows.row + held, .n = n - held, .weight = 1.0};
    return FINCH_OK;
}

static finch_status read_examples(run *r, const examples_table *tables, size_t n_tables, const examples_table *exclude,
                                  size_t n_exclude, finch_error *err)
{
    const text_tokenizer *tokenizer = trainable_tokenizer(r->trained);
    FINCH_TRY(part_rows(r, tables, n_tables, err));
    FINCH_TRY(examples_fingerprints(exclude, n_exclude, NULL, 0, &r->excluded, err));
    FINCH_TRY(examples_fingerprints(exclude, n_exclude, &r->rows.measure, 1, &r->unseen, err));
    if (examples_create(&r->rows.measure, 1, NULL, tokenizer, r->max_tokens, r->excluded, NULL, &r->valid, err) != FINCH_OK)
        return finch_fail_prefix(err, "the held-out rows (--hold-out says how many)");
    FINCH_TRY(examples_create(&r->rows.learn, 1, NULL, tokenizer, r->max_tokens, r->unseen, NULL, &r->train, err));
    say(r,
        "%zu texts to learn from (left out: %zu held out or excluded, %zu near copies of such), %zu to measure on; "
        "%zu cut at %zu tokens",
        r->train.n, r->train.counts.excluded, r->train.counts.nearly_excluded, r->valid.n, r->train.counts.truncated,
        r->max_tokens);
    return FINCH_OK;
}

static finch_status describe_run(run *r, finch_error *err)
{
    const pretrain_options *o = r->options;
    const model_config *c = trainable_config(r->trained);
    r->recipe = json_pack("{s:s,s:I,s:b,s:f,s:f,s:f,s:f}", "objective", "masked language modelling", "max_tokens",
                          (json_int_t)r->max_tokens, "bf16", o->bf16, "masked_share", o->share, "hold_out", o->hold_out,
                          "hidden_dropout", recipe_dropout(o->hidden_dropout, c->hidden_dropout), "attention_dropout",
                          recipe_dropout(o->attention_dropout, c->attention_dropout));
    bool failed = o->bf16x3 && json_object_set_new(r->recipe, "bf16x3", json_true()) != 0;
    if (r->recipe == NULL || failed) return finch_fail(err, FINCH_E_MEMORY, "out of memory for the options of the run");
    return recipe_add(r->recipe, &r->loop, o->rule, &r->train, &r->valid, r->trained, err);
}

static finch_status choose_rule(run *r, finch_error *err)
{
    const pretrain_options *o = r->options;
    r->loop = o->loop;
    FINCH_TRY(stopping_parse(o->rule, o->patience, &r->loop.rule, err));
    for (size_t c = 0; c < r->loop.rule.n_clauses; c++) {
        const stopping_clause *clause = &r->loop.rule.clauses[c];
        for (size_t i = 0; i < clause->n_metrics; i++)
            if (clause->metrics[i] != METRICS_log_loss && clause->metrics[i] != METRICS_accuracy)
                return finch_fail(err, FINCH_E_USAGE,
                                  "masked language modelling has the metrics log_loss and accuracy, not %s",
                                  metrics_name(clause->metrics[i]));
    }
    r->loop.keep = stopping_first_metric(&r->loop.rule);
    r->loop.folder = r->output.work.at;
    r->loop.resume = o->resume;
    return FINCH_OK;
}

/* ---- the whole ---- */

static finch_status prepare(run *r, const examples_table *tables, size_t n_tables, const examples_table *exclude,
                            size_t n_exclude, finch_error *err)
{
    const pretrain_options *o = r->options;
    FINCH_TRY(output_plan(o->output, &r->output, err));
    if (!o->resume || !output_exists(&r->output))
        FINCH_TRY(output_claim(&r->output, o->loop.ranks, o->resume, o->restart, err));
    FINCH_TRY(choose_rule(r, err));
    FINCH_TRY(open_model(r, err));
    FINCH_TRY(read_examples(r, tables, n_tables, exclude, n_exclude, err));
    FINCH_TRY(describe_run(r, err));
    r->loop.run = r->recipe;
    return pretrain_open(r->trained, &r->train, &r->valid, o->loop.seed, o->share, o->loop.ranks, &r->objective, err);
}

static finch_status save(run *r, json_t **card, finch_error *err)
{
    const char *written;
    json_t *report = NULL;
    double values[METRICS_COUNT];
    loop_objective objective = pretrain_objective(&r->objective);
    FINCH_TRY(output_write_model(&r->output, r->trained, false, &written, err));
    FINCH_TRY(objective.evaluate(objective.context, values, &report, err));
    finch_status st = recipe_card("fill-mask", r->options->model, r->recipe, card, err);
    if (st != FINCH_OK) {
        json_decref(report);
        return st;
    }
    int failed = json_object_set_new(*card, "metrics", report);
    failed |= json_object_set_new(
        *card, "examples", json_pack("{s:o,s:o}", "train", recipe_counts(&r->train), "valid", recipe_counts(&r->valid)));
    failed |= json_object_set_new(*card, "training", recipe_result(&r->result, r->loop.keep));
    if (r->options->about != NULL) failed |= json_object_set(*card, "data", (json_t *)(uintptr_t)r->options->about);
    if (failed != 0) return finch_fail(err, FINCH_E_MEMORY, "out of memory for the model's card");
    return output_commit(&r->output, written, *card, err);
}

static finch_status train_and_save(run *r, json_t **card, finch_error *err)
{
    loop_objective objective = pretrain_objective(&r->objective);
    if (output_exists(&r->output)) {
        FINCH_TRY(output_finished(&r->output, r->recipe, card, err));
        say(r, "%s is complete already; there is nothing to resume", r->output.folder.at);
        return FINCH_OK;
    }
    FINCH_TRY(loop_run(r->trained, &objective, &r->loop, r->watch, &r->result, err));
    say(r, "%s", r->result.stop_reason);
    return ranks_lead(r->loop.ranks) ? save(r, card, err) : FINCH_OK;
}

static void clean_up(run *r)
{
    pretrain_close(&r->objective);
    examples_free(&r->train);
    examples_free(&r->valid);
    fingerprints_close(r->unseen);
    fingerprints_close(r->excluded);
    mem_free(r->rows.texts);
    mem_free(r->rows.row);
    trainable_close(r->trained);
    json_decref(r->recipe);
    output_free(&r->output);
}

finch_status pretrain_run(const examples_table *tables, size_t n_tables, const examples_table *exclude, size_t n_exclude,
                          const pretrain_options *options, const progress *watch, json_t **card, finch_error *err)
{
    run r = {.options = options, .watch = watch};
    *card = NULL;
    arena_init(&r.objective.scratch);
    finch_status st = prepare(&r, tables, n_tables, exclude, n_exclude, err);
    if (st == FINCH_OK) st = train_and_save(&r, card, err);
    if (st != FINCH_OK) {
        json_decref(*card);
        *card = NULL;
    }
    clean_up(&r);
    return st;
}
