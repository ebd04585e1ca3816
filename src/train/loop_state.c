#include "train/loop_state.h"

#include "base/file.h"

#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STATE_VERSION = 1 };

/* ---- the moving average ---- */

static finch_status ema_create(loop *l, finch_error *err)
{
    if (l->options->ema == 0.0) return FINCH_OK;
    FINCH_TRY(MEM_NEW(&l->ema, l->n_parameters, err));
    FINCH_TRY(MEM_NEW(&l->ema_names, l->n_parameters, err));
    for (size_t i = 0; i < l->n_parameters; i++) {
        const trainable_parameter *p = &l->parameters[i];
        str name = {0};
        finch_status st = str_add_format(&name, err, "ema:%s", p->name);
        l->ema_names[i] = str_steal(&name);
        FINCH_TRY(st);
        FINCH_TRY(mem_alloc(p->rows * p->cols, sizeof(float), (void **)&l->ema[i], err));
        memcpy(l->ema[i], p->value, p->rows * p->cols * sizeof(float));
    }
    return FINCH_OK;
}

void loop_ema_update(loop *l)
{
    if (l->ema == NULL) return;
    /* A young average forgets faster, or the first weights would weigh on short runs (as TensorFlow's num_updates). */
    uint64_t n_updates = l->at.step / LOOP_EMA_STEPS;
    double n = (double)n_updates;
    double decay = fmin(pow(l->options->ema, LOOP_EMA_STEPS), (1.0 + n) / (10.0 + n));
    float keep = (float)decay, take = (float)(1.0 - decay);
    adamw_settle(l->optimiser);
    for (size_t i = 0; i < l->n_parameters; i++) {
        size_t n_items = l->parameters[i].rows * l->parameters[i].cols;
        const float *value = l->parameters[i].value;
        float *ema = l->ema[i];
#pragma omp parallel for simd schedule(static)
        for (size_t k = 0; k < n_items; k++) ema[k] = keep * ema[k] + take * value[k];
    }
}

void loop_ema_swap(loop *l)
{
    if (l->ema == NULL) return;
    for (size_t i = 0; i < l->n_parameters; i++) {
        size_t n_items = l->parameters[i].rows * l->parameters[i].cols;
        float *value = l->parameters[i].value, *ema = l->ema[i];
#pragma omp parallel for simd schedule(static)
        for (size_t k = 0; k < n_items; k++) {
            float held = value[k];
            value[k] = ema[k];
            ema[k] = held;
        }
    }
    trainable_values_changed(l->trained);
}

/* ---- the checkpoint's arrays ---- */

static finch_status list_arrays(loop *l, finch_error *err)
{
    adamw_array *moments;
    size_t n_moments = adamw_state_arrays(l->optimiser, &moments);
    FINCH_TRY(MEM_NEW(&l->arrays, 2 * l->n_parameters + n_moments, err));
    for (size_t i = 0; i < l->n_parameters; i++) {
        const trainable_parameter *p = &l->parameters[i];
        l->arrays[l->n_arrays++] = (checkpoint_array){p->name, TENSOR_F32, p->rows * p->cols, p->value};
        if (l->ema != NULL)
            l->arrays[l->n_arrays++] = (checkpoint_array){l->ema_names[i], TENSOR_F32, p->rows * p->cols, l->ema[i]};
    }
    for (size_t i = 0; i < n_moments; i++)
        l->arrays[l->n_arrays++] = (checkpoint_array){moments[i].name, moments[i].dtype, moments[i].n_items,
                                                      moments[i].data};
    return FINCH_OK;
}

/* ---- the checkpoint's state ---- */

static json_t *number(double value) { return isfinite(value) ? json_real(value) : json_null(); }

static finch_status place_to_json(const loop *l, json_t **out, finch_error *err)
{
    json_t *stopping = NULL, *kept_list = NULL;
    *out = NULL;
    FINCH_TRY(stopping_state_to_json(&l->at.stopping, &stopping, err));
    finch_status st = kept_to_json(&l->at.kept, &kept_list, err);
    if (st == FINCH_OK) {
        *out = json_pack("{s:i,s:I,s:o,s:o,s:o,s:o,s:o,s:I,s:O,s:O,s:O}", "version", STATE_VERSION, "step",
                         (json_int_t)l->at.step, "log_loss_sum", number(l->at.log_loss_sum), "log_weight",
                         number(l->at.log_weight), "train_seconds", number(l->at.train_seconds), "evaluation_seconds",
                         number(l->at.evaluation_seconds), "last_value", number(l->at.last_value), "journal_bytes",
                         (json_int_t)l->journal.size_bytes, "stopping", stopping, "kept", kept_list, "run", l->options->run);
        if (*out == NULL) st = finch_fail(err, FINCH_E_MEMORY, "out of memory for the state of the training run");
    }
    json_decref(stopping);
    json_decref(kept_list);
    return st;
}

static finch_status place_from_json(loop *l, const json_t *state, const char *path, size_t *journal_bytes, finch_error *err)
{
    size_t step;
    FINCH_TRY(json_get_size(state, path, "step", &step, err));
    FINCH_TRY(json_get_size(state, path, "journal_bytes", journal_bytes, err));
    FINCH_TRY(json_get_number(state, path, "log_loss_sum", &l->at.log_loss_sum, err));
    FINCH_TRY(json_get_number(state, path, "log_weight", &l->at.log_weight, err));
    FINCH_TRY(json_get_number(state, path, "train_seconds", &l->at.train_seconds, err));
    FINCH_TRY(json_get_number(state, path, "evaluation_seconds", &l->at.evaluation_seconds, err));
    if (json_has(state, "last_value")) FINCH_TRY(json_get_number(state, path, "last_value", &l->at.last_value, err));
    FINCH_TRY(stopping_state_from_json(json_object_get(state, "stopping"), path, &l->at.stopping, err));
    FINCH_TRY(kept_from_json(json_object_get(state, "kept"), path, &l->at.kept, err));
    if (step > l->total_steps)
        return finch_fail(err, FINCH_E_DATA, "%s is at step %zu of %llu", path, step, (unsigned long long)l->total_steps);
    l->at.step = step;
    return FINCH_OK;
}

/* Names the first thing in which the checkpoint's run is not this one. */
static finch_status check_run(const json_t *saved, const json_t *wanted, const char *path, finch_error *err)
{
    const char *key;
    json_t *value;
    if (!json_is_object(saved))
        return finch_fail(err, FINCH_E_DATA, "%s does not say of which run it is; start again with --restart", path);
    json_object_foreach((json_t *)(uintptr_t)wanted, key, value)
    {
        json_t *other = json_object_get(saved, key);
        if (other != NULL && json_equal(other, value)) continue;
        char *before = json_dumps(other, JSON_ENCODE_ANY | JSON_COMPACT),
             *now = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
        finch_status st = finch_fail(err, FINCH_E_USAGE,
                                     "%s is of a run with another %s (it has %.200s, now it is %.200s); give the same as "
                                     "then, or begin anew with --restart",
                                     path, key, before != NULL ? before : "none", now != NULL ? now : "?");
        free(before);
        free(now);
        return st;
    }
    return FINCH_OK;
}

bool loop_leads(const loop *l) { return ranks_lead(l->options->ranks); }

finch_status loop_save(loop *l, finch_error *err)
{
    json_t *state;
    if (l->saved) return FINCH_OK;
    adamw_settle(l->optimiser);
    l->saved = !loop_leads(l);
    if (l->saved) return FINCH_OK;
    FINCH_TRY(journal_sync(&l->journal, err));
    FINCH_TRY(place_to_json(l, &state, err));
    finch_status st = checkpoint_write(l->checkpoint_path.at, l->arrays, l->n_arrays, state, err);
    json_decref(state);
    l->saved = st == FINCH_OK;
    return st;
}

/* Removes what a killed process left half-written beside the files of the folder, and kept weights that the checkpoint
 * does not name. Best effort: a leftover costs room, not correctness. */
static void remove_leftovers(const loop *l, const char *folder)
{
    DIR *dir = opendir(folder);
    if (dir == NULL) return;
    str path = {0};
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        bool leftover = strstr(entry->d_name, ".part-") != NULL;
        if (strncmp(entry->d_name, "weights-", 8) == 0 && !leftover) {
            unsigned long long step = strtoull(entry->d_name + 8, NULL, 10);
            leftover = true;
            for (size_t i = 0; i < l->at.kept.n; i++) leftover = leftover && l->at.kept.entry[i].step != step;
        }
        if (leftover && file_join(folder, entry->d_name, &path, NULL) == FINCH_OK) unlink(path.at);
    }
    str_free(&path);
    closedir(dir);
}

static finch_status restore(loop *l, size_t *journal_bytes, finch_error *err)
{
    json_t *state;
    const char *path = l->checkpoint_path.at;
    size_t version;
    FINCH_TRY(checkpoint_read_state(path, &state, err));
    finch_status st = json_get_size(state, path, "version", &version, err);
    if (st == FINCH_OK && version != STATE_VERSION)
        st = finch_fail(err, FINCH_E_UNSUPPORTED,
                        "%s was written by another version of finch (format %zu); begin anew with --restart", path, version);
    if (st == FINCH_OK) st = check_run(json_object_get(state, "run"), l->options->run, path, err);
    if (st == FINCH_OK) st = place_from_json(l, state, path, journal_bytes, err);
    json_decref(state);
    if (st == FINCH_OK) st = checkpoint_restore(path, l->arrays, l->n_arrays, err);
    if (st == FINCH_OK) st = adamw_restored(l->optimiser, err);
    if (st == FINCH_OK) trainable_values_changed(l->trained);
    l->resumed = l->saved = st == FINCH_OK;
    return st;
}

/* ---- open and close ---- */

static void plan(loop *l)
{
    const loop_options *o = l->options;
    uint64_t per_step = (uint64_t)o->batch * o->accumulate;
    l->steps_per_epoch = (l->objective->n_examples + per_step - 1) / per_step;
    l->total_steps = l->steps_per_epoch * o->epochs;
    if (o->max_steps > 0 && o->max_steps < l->total_steps) l->total_steps = o->max_steps;
    l->eval_every = o->eval_every > 0 ? o->eval_every : (l->steps_per_epoch + 1) / 2;
    l->schedule = (schedule){o->schedule, o->learning_rate, schedule_warmup_steps(o->warmup_ratio, l->total_steps),
                             l->total_steps};
    l->order_epoch = UINT64_MAX;
    l->at.last_value = (double)NAN;
    l->at.kept.capacity = o->average;
    l->at.kept.higher_is_better = metrics_higher_is_better(o->keep);
    stopping_begin(&l->at.stopping);
}

static finch_status check_options(const loop_objective *objective, const loop_options *o, finch_error *err)
{
    if (objective->n_examples == 0 || o->epochs == 0 || o->batch == 0 || o->accumulate == 0 || o->log_every == 0)
        return finch_fail(err, FINCH_E_USAGE,
                          "examples, epochs, batch, accumulation and the logging interval must each be at least 1");
    if (o->average == 0 || o->average > KEPT_MAX)
        return finch_fail(err, FINCH_E_USAGE, "from 1 to %d evaluations can be averaged, not %zu", KEPT_MAX, o->average);
    if (!(o->ema >= 0.0 && o->ema < 1.0))
        return finch_fail(err, FINCH_E_USAGE, "the decay of the moving average must be from 0 to below 1");
    if (!(o->learning_rate > 0.0) || !(o->warmup_ratio >= 0.0 && o->warmup_ratio < 1.0))
        return finch_fail(err, FINCH_E_USAGE, "the learning rate must be above 0, the share of warm-up from 0 to below 1");
    if (o->epochs > SIZE_MAX / 2 / objective->n_examples || o->batch > SIZE_MAX / o->accumulate)
        return finch_fail(err, FINCH_E_USAGE, "so many epochs or examples a step can not be counted");
    return FINCH_OK;
}

static finch_status open_files(loop *l, finch_error *err)
{
    const loop_options *o = l->options;
    str path = {0};
    size_t journal_bytes = 0;
    finch_status st;
    if (loop_leads(l)) FINCH_GO(done, st, file_make_directories(o->folder, err));
    FINCH_GO(done, st, file_join(o->folder, LOOP_CHECKPOINT_FILE, &l->checkpoint_path, err));
    if (o->resume && file_exists(l->checkpoint_path.at)) FINCH_GO(done, st, restore(l, &journal_bytes, err));
    if (!loop_leads(l)) goto done;
    remove_leftovers(l, o->folder);
    FINCH_GO(done, st, file_join(o->folder, LOOP_JOURNAL_FILE, &path, err));
    st = journal_open(path.at, journal_bytes, &l->journal, err);
done:
    str_free(&path);
    return st;
}

finch_status loop_open(trainable *trained, const loop_objective *objective, const loop_options *options, loop *out,
                       finch_error *err)
{
    loop *l = out;
    finch_status st;
    *l = (loop){.trained = trained, .objective = objective, .options = options, .journal = {.descriptor = -1}};
    FINCH_TRY(check_options(objective, options, err));
    plan(l);
    l->n_parameters = trainable_parameters(trained, &l->parameters);
    FINCH_GO(failed, st, adamw_create(trained, &options->adamw, &l->optimiser, err));
    FINCH_GO(failed, st, ema_create(l, err));
    FINCH_GO(failed, st, list_arrays(l, err));
    FINCH_GO(failed, st, MEM_NEW(&l->order, objective->n_examples, err));
    FINCH_GO(failed, st, open_files(l, err));
    if (options->ranks != NULL) exchange_open(options->ranks, trained, &l->exchange);
    return FINCH_OK;
failed:
    loop_close(l);
    return st;
}

void loop_close(loop *l)
{
    exchange_close(&l->exchange);
    journal_close(&l->journal);
    str_free(&l->checkpoint_path);
    mem_free(l->order);
    mem_free(l->arrays);
    for (size_t i = 0; i < l->n_parameters; i++) {
        if (l->ema != NULL) mem_free(l->ema[i]);
        if (l->ema_names != NULL) mem_free(l->ema_names[i]);
    }
    mem_free(l->ema);
    mem_free(l->ema_names);
    adamw_destroy(l->optimiser);
    *l = (loop){.journal = {.descriptor = -1}};
}
