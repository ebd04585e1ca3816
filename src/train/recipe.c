#include "train/recipe.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "train/hash.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static json_t *hex(uint64_t hash)
{
    char text[17];
    snprintf(text, sizeof text, "%016" PRIx64, hash);
    return json_string(text);
}

static uint64_t weights_hash(trainable *t)
{
    trainable_parameter *parameters;
    size_t n = trainable_parameters(t, &parameters);
    uint64_t h = HASH_BEGIN;
    for (size_t i = 0; i < n; i++) {
        h = hash_add(h, parameters[i].name, strlen(parameters[i].name));
        h = hash_add(h, parameters[i].value, parameters[i].rows * parameters[i].cols * sizeof(float));
    }
    return h;
}

static const char *schedule_name(schedule_kind kind)
{
    switch (kind) {
    case SCHEDULE_LINEAR: return "linear";
    case SCHEDULE_COSINE: return "cosine";
    case SCHEDULE_CONSTANT: break;
    }
    return "constant";
}

finch_status recipe_add_lora(json_t *recipe, const lora_options *lora, const trainable *t, finch_error *err)
{
    if (lora == NULL) return FINCH_OK;
    json_t *part = json_pack("{s:I,s:f,s:f,s:s,s:b,s:o}", "rank", (json_int_t)lora->rank, "alpha", lora->alpha, "dropout",
                             lora->dropout, "targets", trainable_targets_of_adapters(t), "checkpoint_activations",
                             lora->checkpoint_activations, "base", hex(trainable_frozen_hash(t)));
    if (json_object_set_new(recipe, "lora", part) == 0) return FINCH_OK;
    return finch_fail(err, FINCH_E_MEMORY, "out of memory for the options of the run");
}

finch_status recipe_add(json_t *recipe, const loop_options *o, const char *rule, const examples *train,
                        const examples *valid, trainable *t, finch_error *err)
{
    json_t *part = json_pack(
        "{s:I,s:I,s:I,s:I,s:I,s:f,s:f,s:s,s:f,s:f,s:f,s:f,s:f,s:I,s:s,s:s,s:I,s:s,s:I,s:f}", "seed", (json_int_t)o->seed,
        "epochs", (json_int_t)o->epochs, "batch", (json_int_t)o->batch, "accumulate", (json_int_t)o->accumulate, "max_steps",
        (json_int_t)o->max_steps, "learning_rate", o->learning_rate, "warmup", o->warmup_ratio, "schedule",
        schedule_name(o->schedule), "weight_decay", o->adamw.weight_decay, "max_grad_norm", o->adamw.max_grad_norm, "beta1",
        o->adamw.beta1, "beta2", o->adamw.beta2, "epsilon", o->adamw.epsilon, "eval_every", (json_int_t)o->eval_every,
        "order", o->sequential ? "sequential" : "shuffled", "stop_rule", rule, "patience", (json_int_t)o->rule.patience,
        "keep", metrics_name(o->keep), "average", (json_int_t)o->average, "ema", o->ema);
    int failed = part == NULL || json_object_update(recipe, part) != 0;
    json_decref(part);
    failed |= json_object_set_new(recipe, "training data", hex(examples_hash(train)));
    failed |= json_object_set_new(recipe, "validation data", hex(examples_hash(valid)));
    failed |= json_object_set_new(recipe, "starting weights", hex(weights_hash(t)));
    return failed == 0 ? FINCH_OK : finch_fail(err, FINCH_E_MEMORY, "out of memory for the options of the run");
}

double recipe_dropout(double asked, float configured)
{
    return asked >= 0.0 ? asked : round((double)configured * 1e6) / 1e6;
}

json_t *recipe_counts(const examples *e)
{
    const examples_counts *c = &e->counts;
    return json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "rows", (json_int_t)c->rows, "used", (json_int_t)c->kept,
                     "unlabelled", (json_int_t)c->unlabelled, "excluded", (json_int_t)c->excluded, "nearly_excluded",
                     (json_int_t)c->nearly_excluded, "repeated", (json_int_t)c->repeated, "truncated",
                     (json_int_t)c->truncated, "tokens", (json_int_t)c->tokens);
}

json_t *recipe_result(const loop_result *r, metrics_id keep)
{
    return json_pack("{s:I,s:f,s:I,s:I,s:f,s:f,s:f,s:b,s:s,s:I,s:I,s:s,s:o}", "steps", (json_int_t)r->steps, "epochs",
                     r->epochs, "examples", (json_int_t)r->examples, "evaluations", (json_int_t)r->n_evaluations, "seconds",
                     r->seconds, "evaluation_seconds", r->evaluation_seconds, "examples_per_second",
                     (double)r->examples / fmax(r->seconds, 1e-9), "stopped_early", r->stopped_early, "stop_reason",
                     r->stop_reason, "best_step", (json_int_t)r->best_step, "averaged_evaluations",
                     (json_int_t)r->n_averaged, "kept_by", metrics_name(keep), "kept_value",
                     isfinite(r->value) ? json_real(r->value) : json_null());
}

/* The last name of a path: a card tells the model, not where it lay. */
static json_t *last_name(const char *path)
{
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/') end--;
    size_t begin = end;
    while (begin > 0 && path[begin - 1] != '/') begin--;
    json_t *name = json_stringn(path + begin, end - begin);
    return name != NULL ? name : json_null(); /* not UTF-8 */
}

/* The card of the folder the training began with: how a model came about is read from one file. */
static finch_status add_base_card(json_t *card, const char *folder, finch_error *err)
{
    str path = {0};
    json_t *base = NULL;
    finch_status st = file_join(folder, "finch.json", &path, err);
    if (st == FINCH_OK && file_exists(path.at)) {
        st = json_parse_file(path.at, &base, err);
        if (st == FINCH_OK && json_object_set_new(card, "base_card", base) != 0)
            st = finch_fail(err, FINCH_E_MEMORY, "out of memory for the model's card");
    }
    str_free(&path);
    return st;
}

finch_status recipe_card(const char *task, const char *base_folder, const json_t *recipe, json_t **out, finch_error *err)
{
    char created[32];
    clock_format_utc(clock_unix(), created, sizeof created);
    *out = json_pack("{s:s,s:s,s:s,s:o,s:O}", "finch", finch_version(), "task", task, "created", created, "base_model",
                     last_name(base_folder), "hyperparameters", recipe);
    if (*out == NULL) return finch_fail(err, FINCH_E_MEMORY, "out of memory for the model's card");
    finch_status st = add_base_card(*out, base_folder, err);
    if (st == FINCH_OK) return FINCH_OK;
    json_decref(*out);
    *out = NULL;
    return st;
}
