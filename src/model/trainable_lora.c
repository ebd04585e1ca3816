/* Adapters and a classifier beside a frozen Gemma, as a trainable: its parameters are the learner's tensors, under the names that
 * PEFT gives them, so that optimiser, checkpoints and averages go by the same list as for any model. */
#include "model/trainable_internal.h"

#include "base/file.h"
#include "model/gemma_adapter.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGN_ITEMS = MEM_ALIGN / sizeof(float) };

/* ---- opening --------------------------------------------------------------------------------------------------- */

/* One block for values and one for gradients, each tensor on its own cache line. */
static finch_status lay_out(trainable *t, finch_error *err)
{
    const gemma_learnt *tensors;
    size_t n = gemma_learner_tensors(t->learner, &tensors), items = 0;
    for (size_t i = 0; i < n; i++)
        items += (tensors[i].rows * tensors[i].cols + ALIGN_ITEMS - 1) / ALIGN_ITEMS * ALIGN_ITEMS;
    t->n_parameters = n;
    t->n_values = t->n_dense_values = items;
    FINCH_TRY(MEM_NEW(&t->parameters, n, err));
    FINCH_TRY(MEM_NEW(&t->is_vector, n, err));
    FINCH_TRY(MEM_NEW(&t->values, items, err));
    FINCH_TRY(MEM_NEW(&t->grads, items, err));
    for (size_t i = 0, at = 0; i < n; i++) {
        t->parameters[i] = (trainable_parameter){.name = tensors[i].name,
                                                 .value = t->values + at,
                                                 .grad = t->grads + at,
                                                 .rows = tensors[i].rows,
                                                 .cols = tensors[i].cols,
                                                 .decay = true};
        gemma_learner_bind(t->learner, i, t->values + at, t->grads + at);
        at += (tensors[i].rows * tensors[i].cols + ALIGN_ITEMS - 1) / ALIGN_ITEMS * ALIGN_ITEMS;
    }
    return FINCH_OK;
}

static finch_status check_options(const trainable *t, const char *folder, const trainable_options *o, finch_error *err)
{
    if (t->config.arch != MODEL_GEMMA3)
        return finch_fail(err, FINCH_E_UNSUPPORTED, "%s: adapters are trained beside a Gemma 3; train a BERT or MPNet whole",
                          folder);
    if (o->head != TRAINABLE_CLASSIFIER)
        return finch_fail(err, FINCH_E_UNSUPPORTED, "%s: a Gemma 3 has no masked words to learn", folder);
    if (o->lora == NULL) return finch_fail(err, FINCH_E_USAGE, "%s: a Gemma 3 learns through adapters; add --lora", folder);
    if (gemma_adapter_is(folder))
        return finch_fail(err, FINCH_E_UNSUPPORTED, "%s: it holds adapters; train beside their base", folder);
    if (o->bf16) return finch_fail(err, FINCH_E_UNSUPPORTED, "%s: adapters are trained in f32; leave --bf16 out", folder);
    return FINCH_OK;
}

finch_status adapters_open(trainable *t, const char *folder, const trainable_options *o, bool same_labels, finch_error *err)
{
    FINCH_TRY(check_options(t, folder, o, err));
    t->lora = *o->lora;
    char whole[PATH_MAX]; /* the folder may be opened from another place */
    const char *base = realpath(folder, whole) != NULL ? whole : folder;
    FINCH_TRY(mem_text(base, strlen(base), &t->base_path, err));
    FINCH_TRY(mem_text(t->lora.targets, strlen(t->lora.targets), &t->targets, err));
    t->lora.targets = t->targets;
    FINCH_TRY(gemma_open(folder, MODEL_F32, &t->base, err));
    FINCH_TRY(gemma_learner_create(t->base, &t->lora, t->config.n_labels, &t->learner, err));
    FINCH_TRY(lay_out(t, err));
    gemma_learner_draw(t->learner, t->seed, same_labels, &t->head_is_new);
    return FINCH_OK;
}

/* ---- steps ----------------------------------------------------------------------------------------------------- */

finch_status adapters_step(trainable *t, const model_batch *batch, const trainable_targets *targets, double scale,
                           uint64_t step, double *loss_sum, finch_error *err)
{
    const gemma_learning how = {.batch = batch, .training = true, .seed = t->seed, .step = step, .scratch = &t->scratch};
    size_t items = batch->n_texts * t->config.n_labels;
    gemma_learnt_pass *pass;
    float *logits, *dlogits;
    FINCH_TRY(ARENA_NEW(&t->scratch, &logits, items, err));
    FINCH_TRY(ARENA_NEW(&t->scratch, &dlogits, items, err));
    FINCH_TRY(gemma_learner_forward(t->learner, &how, logits, &pass, err));
    *loss_sum += classifier_losses(t, logits, batch->n_texts, targets, scale, dlogits);
    gradients_begin(t);
    finch_status st = gemma_learner_backward(t->learner, pass, dlogits, err);
    t->grads_stale = false;
    return st;
}

finch_status adapters_logits(trainable *t, const model_batch *batch, float *logits, finch_error *err)
{
    const gemma_learning how = {.batch = batch, .scratch = &t->scratch};
    gemma_learnt_pass *pass;
    return gemma_learner_forward(t->learner, &how, logits, &pass, err);
}

/* ---- saving: PEFT's layout ------------------------------------------------------------------------------------- */

static json_t *targets_json(const char *targets)
{
    size_t n;
    const char *const *names = gemma_linear_names(&n);
    json_t *list = json_array();
    bool whole = list != NULL;
    for (size_t i = 0; i < n; i++)
        if (lora_targets_has(targets, names[i])) whole = whole && json_array_append_new(list, json_string(names[i])) == 0;
    if (whole) return list;
    json_decref(list);
    return NULL;
}

static finch_status save_config(const trainable *t, const char *folder, finch_error *err)
{
    str path = {0};
    json_t *config = json_pack("{s:s,s:s,s:s,s:I,s:f,s:f,s:o,s:[s],s:s,s:b,s:b}", "peft_type", "LORA", "task_type",
                               "SEQ_CLS", "base_model_name_or_path", t->base_path, "r", (json_int_t)t->lora.rank,
                               "lora_alpha", t->lora.alpha, "lora_dropout", t->lora.dropout, "target_modules",
                               targets_json(t->lora.targets), "modules_to_save", "score", "bias", "none", "fan_in_fan_out",
                               0, "inference_mode", 1);
    finch_status st = config != NULL ? file_join(folder, "adapter_config.json", &path, err)
                                     : finch_fail(err, FINCH_E_MEMORY, "out of memory for adapter_config.json");
    if (st == FINCH_OK) st = json_write_file(path.at, config, err);
    json_decref(config);
    str_free(&path);
    return st;
}

static finch_status save_tensors(const trainable *t, const char *folder, finch_error *err)
{
    safetensors_entry *entries;
    str path = {0};
    FINCH_TRY(MEM_NEW(&entries, t->n_parameters, err));
    for (size_t i = 0; i < t->n_parameters; i++) {
        const trainable_parameter *p = &t->parameters[i];
        entries[i] = (safetensors_entry){
            .name = p->name, .dtype = TENSOR_F32, .n_dims = 2, .dims = {p->rows, p->cols}, .data = p->value};
    }
    finch_status st = file_join(folder, "adapter_model.safetensors", &path, err);
    if (st == FINCH_OK) st = safetensors_write(path.at, entries, t->n_parameters, err);
    str_free(&path);
    mem_free(entries);
    return st;
}

/* Texts of every class, short and long: what they give tells bases and classifiers apart. */
static const char *const probe_texts[GEMMA_PROBES] = {
    "$AAPL to the moon! Strong buy, target raised to $150.",
    "Revenue fell 12% year over year; guidance cut, shares plunge after hours.",
    "$T declares quarterly dividend of $0.26",
    "What do you think about $TSLA this week?",
    "Going short here, this chart looks terrible",
    "Small beat for $KO, organic growth of 3%",
    "FDA approves the drug: $MRNA soars 25% premarket",
    "bankruptcy"};

static finch_status save_probes(const trainable *t, const char *folder, finch_error *err)
{
    int32_t ids[GEMMA_PROBES][GEMMA_PROBE_TOKENS_MAX];
    size_t n[GEMMA_PROBES];
    float logits[GEMMA_PROBES * TRAINABLE_CLASSES_MAX];
    text_scratch *tokenizing;
    arena scratch;
    FINCH_TRY(text_scratch_create(&tokenizing, err));
    arena_init(&scratch);
    finch_status st = FINCH_OK;
    for (size_t i = 0; st == FINCH_OK && i < GEMMA_PROBES; i++) {
        const finch_text text = {probe_texts[i], strlen(probe_texts[i])};
        st = text_encode(t->tokenizer, text, GEMMA_PROBE_TOKENS_MAX, ids[i], &n[i], NULL, NULL, tokenizing, err);
        if (st != FINCH_OK) break;
        const uint32_t offsets[2] = {0, (uint32_t)n[i]};
        const model_batch b = {ids[i], offsets, 1, n[i]};
        const gemma_learning how = {.batch = &b, .scratch = &scratch};
        gemma_learnt_pass *pass;
        st = gemma_learner_forward(t->learner, &how, logits + i * t->config.n_labels, &pass, err);
        arena_reset(&scratch);
    }
    if (st == FINCH_OK)
        st = gemma_adapter_save_probes(folder, gemma_hash(t->base), (const int32_t(*)[GEMMA_PROBE_TOKENS_MAX])ids, n, logits,
                                       t->config.n_labels, err);
    arena_free(&scratch);
    text_scratch_destroy(tokenizing);
    return st;
}

finch_status adapters_save(const trainable *t, const char *folder, finch_error *err)
{
    FINCH_TRY(save_tensors(t, folder, err));
    FINCH_TRY(text_tokenizer_save(t->tokenizer, folder, err));
    FINCH_TRY(save_probes(t, folder, err));
    return save_config(t, folder, err);
}

uint64_t trainable_frozen_hash(const trainable *t) { return t->base == NULL ? 0 : gemma_hash(t->base); }
