#include "train/finetune.h"

#include "train/calibration.h"
#include "train/fingerprint.h"
#include "train/output.h"
#include "train/recipe.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef struct finetune {
    const finetune_tables *tables;
    const finetune_options *options;
    const progress *watch;
    output output;
    trainable *trained;
    examples_classes classes;
    size_t max_tokens;
    fingerprints *unseen; /* texts of the validation and excluded tables */
    examples train, valid;
    classify classify;
    loop_options loop;
    json_t *recipe;
    loop_result result;
} finetune;

static void FINCH_PRINTF(2, 3) say(const finetune *f, const char *format, ...)
{
    char line[1024];
    va_list list;
    if (f->options->say == NULL) return;
    va_start(list, format);
    vsnprintf(line, sizeof line, format, list);
    va_end(list);
    f->options->say(f->options->say_context, line);
}

/* ---- before the loop ---- */

static const char *const five_classes[] = {"STRONGLY_NEGATIVE", "NEGATIVE", "NEUTRAL", "POSITIVE", "STRONGLY_POSITIVE"};

/* The classes asked for; else the folder's, where they are names of sentiment; else finch's five (a folder without a
 * classifier has LABEL_0 and LABEL_1). */
static finch_status choose_classes(const finetune_options *o, const model_config *config, examples_classes *out,
                                   finch_error *err)
{
    bool known = config->n_labels > 1;
    for (size_t i = 0; i < config->n_labels; i++) known = known && strncmp(config->labels[i], "LABEL_", 6) != 0;
    *out = (examples_classes){.n = o->n_labels > 0 ? o->n_labels : known ? config->n_labels : 5};
    if (out->n < 2 || out->n > EXAMPLES_CLASSES_MAX)
        return finch_fail(err, FINCH_E_USAGE, "a classifier has from 2 to %d classes, not %zu", EXAMPLES_CLASSES_MAX,
                          out->n);
    for (size_t i = 0; i < out->n; i++) {
        out->names[i] = o->n_labels > 0 ? o->labels[i] : known ? config->labels[i] : five_classes[i];
        for (size_t k = 0; k < i; k++)
            if (strcmp(out->names[i], out->names[k]) == 0)
                return finch_fail(err, FINCH_E_USAGE, "the class %s is named twice", out->names[i]);
    }
    return FINCH_OK;
}

/* Value, gradient and two moments of each weight; of words of which few are used only the values are sure to be touched. */
static void say_model(const finetune *f)
{
    trainable_parameter *p;
    size_t n = trainable_parameters(f->trained, &p);
    double weights = 0.0, floats = 0.0;
    for (size_t i = 0; i < n; i++) {
        double items = (double)p[i].rows * (double)p[i].cols;
        weights += items;
        floats += items * (p[i].sparse_rows ? 1.0 : 4.0);
    }
    say(f, "%s: %s%zu classes, texts up to %zu tokens; %.1f million weights learn, in %.0f MiB and what a batch needs",
        f->options->model, trainable_head_is_new(f->trained) ? "a new classifier, " : "", f->classes.n, f->max_tokens,
        weights / 1e6, floats * sizeof(float) / (1024.0 * 1024.0));
}

static finch_status open_model(finetune *f, finch_error *err)
{
    const finetune_options *o = f->options;
    model_config config;
    examples_classes classes;
    FINCH_TRY(model_config_read(o->model, &config, err));
    FINCH_TRY(choose_classes(o, &config, &classes, err));
    trainable_options options = {.head = TRAINABLE_CLASSIFIER,
                                 .bf16 = o->bf16,
                                 .bf16x3 = o->bf16x3,
                                 .n_labels = classes.n,
                                 .labels = classes.names,
                                 .hidden_dropout = o->hidden_dropout,
                                 .attention_dropout = o->attention_dropout,
                                 .classifier_dropout = o->classifier_dropout,
                                 .seed = o->loop.seed,
                                 .lora = o->lora,
                                 .checkpoint_activations = o->lora == NULL && o->checkpoint_activations};
    if (o->lora != NULL && o->int8)
        return finch_fail(err, FINCH_E_USAGE, "adapters are written in f32; quantize the base instead");
    FINCH_TRY(trainable_open(o->model, &options, &f->trained, err));
    f->classes.n = classes.n;
    for (size_t i = 0; i < classes.n; i++) f->classes.names[i] = trainable_config(f->trained)->labels[i];
    size_t most = model_config_max_tokens(trainable_config(f->trained));
    f->max_tokens = o->max_tokens < most ? o->max_tokens : most;
    say_model(f);
    return FINCH_OK;
}

static void say_counts(const finetune *f, const char *what, const examples_counts *c)
{
    say(f,
        "%s: %zu of %zu rows (%zu without a label, %zu of the validation or excluded texts, %zu near copies of such, "
        "%zu coarse ones there already); %zu cut at %zu tokens",
        what, c->kept, c->rows, c->unlabelled, c->excluded, c->nearly_excluded, c->repeated, c->truncated, f->max_tokens);
}

static finch_status read_examples(finetune *f, finch_error *err)
{
    const finetune_tables *t = f->tables;
    const text_tokenizer *tokenizer = trainable_tokenizer(f->trained);
    examples_weights weights;
    FINCH_TRY(examples_weights_parse(f->options->class_weights, f->classes.n, &weights, err));
    FINCH_TRY(examples_fingerprints(t->valid, t->n_valid, t->exclude, t->n_exclude, &f->unseen, err));
    FINCH_TRY(examples_create(t->valid, t->n_valid, &f->classes, tokenizer, f->max_tokens, NULL, NULL, &f->valid, err));
    FINCH_TRY(
        examples_create(t->train, t->n_train, &f->classes, tokenizer, f->max_tokens, f->unseen, &weights, &f->train, err));
    say_counts(f, "training", &f->train.counts);
    say_counts(f, "validation", &f->valid.counts);
    return FINCH_OK;
}

static finch_status learn_from_teacher(finetune *f, finch_error *err)
{
    const finetune_options *o = f->options;
    if (o->n_teachers == 0) return FINCH_OK;
    if (!(o->classify.soft_share > 0.0 && o->classify.soft_share <= 1.0))
        return finch_fail(err, FINCH_E_USAGE, "the teacher's share of the loss must be above 0, at most 1, not %g",
                          o->classify.soft_share);
    return classify_teach(o->teachers, o->n_teachers, &f->classes, o->classify.soft_temperature, f->max_tokens, o->n_threads,
                          f->watch, &f->train, err);
}

static finch_status choose_rule(finetune *f, finch_error *err)
{
    const finetune_options *o = f->options;
    f->loop = o->loop;
    FINCH_TRY(stopping_parse(o->rule, o->patience, &f->loop.rule, err));
    f->loop.keep = stopping_first_metric(&f->loop.rule);
    if (o->keep != NULL && !metrics_find(o->keep, strlen(o->keep), &f->loop.keep))
        return finch_fail(
            err, FINCH_E_USAGE,
            "there is no metric \"%s\" to keep the best weights by; macro_f1, mcc, accuracy or log_loss will do", o->keep);
    f->loop.folder = f->output.work.at;
    f->loop.resume = o->resume;
    return FINCH_OK;
}

static finch_status describe_run(finetune *f, finch_error *err)
{
    const finetune_options *o = f->options;
    const model_config *c = trainable_config(f->trained);
    json_t *labels = json_array();
    int failed = 0;
    for (size_t i = 0; i < f->classes.n; i++) failed |= json_array_append_new(labels, json_string(f->classes.names[i]));
    f->recipe = json_pack("{s:s,s:o,s:I,s:b,s:b,s:f,s:f,s:f,s:f,s:s,s:I,s:f,s:f}", "objective", "classification", "labels",
                          labels, "max_tokens", (json_int_t)f->max_tokens, "bf16", o->bf16, "int8", o->int8,
                          "hidden_dropout", recipe_dropout(o->hidden_dropout, c->hidden_dropout), "attention_dropout",
                          recipe_dropout(o->attention_dropout, c->attention_dropout), "classifier_dropout",
                          recipe_dropout(o->classifier_dropout, c->classifier_dropout), "label_smoothing",
                          o->classify.label_smoothing, "class_weights", o->class_weights, "teachers",
                          (json_int_t)o->n_teachers, "teacher_share", o->n_teachers > 0 ? o->classify.soft_share : 0.0,
                          "teacher_temperature", o->n_teachers > 0 ? o->classify.soft_temperature : 1.0);
    if (o->bf16x3) failed |= json_object_set_new(f->recipe, "bf16x3", json_true());
    if (f->recipe == NULL || failed != 0) return finch_fail(err, FINCH_E_MEMORY, "out of memory for the options of the run");
    FINCH_TRY(recipe_add_lora(f->recipe, o->lora, f->trained, err));
    FINCH_TRY(recipe_add(f->recipe, &f->loop, o->rule, &f->train, &f->valid, f->trained, err));
    f->loop.run = f->recipe;
    return FINCH_OK;
}

/* ---- after it ---- */

/* The written int8 model reads the validation texts: the card tells how the model that ships does, not its origin. */
static finch_status score_written(finetune *f, const char *folder, finch_error *err)
{
    model *opened = NULL;
    model_scorer *scorer = NULL;
    finch_status st;
    FINCH_GO(done, st, model_open(folder, MODEL_AUTO, &opened, err));
    FINCH_GO(done, st, model_scorer_create(opened, f->options->n_threads, &scorer, err));
    st = model_score_texts(scorer, f->valid.texts, f->valid.n, f->max_tokens, f->classify.logits, NULL, err);
done:
    model_scorer_destroy(scorer);
    model_close(opened);
    return st;
}

static finch_status evaluate_final(finetune *f, const char *written, finch_error *err)
{
    double values[METRICS_COUNT];
    json_t *report = NULL;
    if (f->options->int8) return score_written(f, written, err);
    loop_objective objective = classify_objective(&f->classify);
    finch_status st = objective.evaluate(objective.context, values, &report, err);
    json_decref(report);
    return st;
}

/* Fits the temperature on the validation logits and adds it, and the metrics with it, to the card. */
static finch_status calibrate(finetune *f, json_t *card, finch_error *err)
{
    classify *c = &f->classify;
    size_t n = f->valid.n, k = f->classes.n;
    double temperature;
    json_t *report;
    FINCH_TRY(calibration_fit(c->truth, c->logits, n, k, &temperature, err));
    metrics_softmax(c->logits, n, k, 1.0, c->probabilities);
    FINCH_TRY(metrics_compute(c->truth, c->probabilities, n, k, &c->measured, err));
    double ece_before = c->measured.value[METRICS_ece], loss_before = c->measured.value[METRICS_log_loss];
    metrics_softmax(c->logits, n, k, temperature, c->probabilities);
    FINCH_TRY(metrics_compute(c->truth, c->probabilities, n, k, &c->measured, err));
    FINCH_TRY(metrics_to_json(&c->measured, f->classes.names, &report, err));
    int failed = json_object_set_new(card, "metrics", report);
    failed |= json_object_set_new(card, "calibration",
                                  json_pack("{s:f,s:f,s:f,s:f,s:f}", "temperature", temperature, "log_loss_before",
                                            loss_before, "log_loss", c->measured.value[METRICS_log_loss], "ece_before",
                                            ece_before, "ece", c->measured.value[METRICS_ece]));
    return failed == 0 ? FINCH_OK : finch_fail(err, FINCH_E_MEMORY, "out of memory for the model's card");
}

static finch_status add_fields(finetune *f, json_t *card, finch_error *err)
{
    int failed = json_object_set_new(
        card, "examples", json_pack("{s:o,s:o}", "train", recipe_counts(&f->train), "valid", recipe_counts(&f->valid)));
    failed |= json_object_set_new(card, "training", recipe_result(&f->result, f->loop.keep));
    failed |= json_object_set_new(card, "weights", json_string(f->options->int8 ? "int8" : "f32"));
    if (f->options->about != NULL) failed |= json_object_set(card, "data", (json_t *)(uintptr_t)f->options->about);
    if (f->options->preset != NULL) failed |= json_object_set(card, "preset", (json_t *)(uintptr_t)f->options->preset);
    return failed == 0 ? FINCH_OK : finch_fail(err, FINCH_E_MEMORY, "out of memory for the model's card");
}

static finch_status save_fingerprints(const finetune *f, const char *written, finch_error *err)
{
    fingerprints *seen;
    FINCH_TRY(fingerprints_create(f->train.texts, f->train.n, &seen, err));
    finch_status st = fingerprints_save(seen, written, err);
    fingerprints_close(seen);
    return st;
}

static finch_status save(finetune *f, json_t **card, finch_error *err)
{
    const char *written;
    FINCH_TRY(output_write_model(&f->output, f->trained, f->options->int8, &written, err));
    FINCH_TRY(evaluate_final(f, written, err));
    FINCH_TRY(recipe_card("text-classification", f->options->model, f->recipe, card, err));
    FINCH_TRY(calibrate(f, *card, err));
    FINCH_TRY(add_fields(f, *card, err));
    FINCH_TRY(save_fingerprints(f, written, err));
    return output_commit(&f->output, written, *card, err);
}

/* ---- the whole ---- */

static finch_status prepare(finetune *f, finch_error *err)
{
    FINCH_TRY(output_plan(f->options->output, &f->output, err));
    if (!f->options->resume || !output_exists(&f->output))
        FINCH_TRY(output_claim(&f->output, f->options->loop.ranks, f->options->resume, f->options->restart, err));
    FINCH_TRY(choose_rule(f, err));
    FINCH_TRY(open_model(f, err));
    FINCH_TRY(read_examples(f, err));
    FINCH_TRY(learn_from_teacher(f, err));
    FINCH_TRY(describe_run(f, err));
    return classify_open(f->trained, &f->train, &f->valid, &f->classes, &f->options->classify, f->options->loop.ranks,
                         &f->classify, err);
}

static finch_status train_and_save(finetune *f, json_t **card, finch_error *err)
{
    loop_objective objective = classify_objective(&f->classify);
    if (output_exists(&f->output)) {
        FINCH_TRY(output_finished(&f->output, f->recipe, card, err));
        say(f, "%s is complete already; there is nothing to resume", f->output.folder.at);
        return FINCH_OK;
    }
    FINCH_TRY(loop_run(f->trained, &objective, &f->loop, f->watch, &f->result, err));
    say(f, "%s", f->result.stop_reason);
    return ranks_lead(f->loop.ranks) ? save(f, card, err) : FINCH_OK;
}

finch_status finetune_run(const finetune_tables *tables, const finetune_options *options, const progress *watch,
                          json_t **card, finch_error *err)
{
    finetune f = {.tables = tables, .options = options, .watch = watch};
    *card = NULL;
    arena_init(&f.classify.scratch);
    finch_status st = prepare(&f, err);
    if (st == FINCH_OK) st = train_and_save(&f, card, err);
    if (st != FINCH_OK) {
        json_decref(*card);
        *card = NULL;
    }
    classify_close(&f.classify);
    examples_free(&f.train);
    examples_free(&f.valid);
    fingerprints_close(f.unseen);
    trainable_close(f.trained);
    json_decref(f.recipe);
    output_free(&f.output);
    return st;
}
