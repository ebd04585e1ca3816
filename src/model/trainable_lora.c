/* Adapters and a classifier beside a frozen base, as a trainable: its parameters are theirs, under the names that PEFT gives them,
 * so that optimiser, checkpoints and averages go by the same list as for any model. A Gemma's are opened and passed in trainable_gemma.c; a BERT's
 * or MPNet's those of the training engine, over a model that does not learn (trainable_frozen.c). */
#include "model/trainable_internal.h"

#include "base/file.h"
#include "model/adapter.h"
#include "model/gemma_adapter.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* ---- opening --------------------------------------------------------------------------------------------------- */

static finch_status check_options(const trainable_options *o, const char *folder, finch_error *err)
{
    if (o->head != TRAINABLE_CLASSIFIER)
        return finch_fail(err, FINCH_E_UNSUPPORTED, "%s: adapters are trained for a classifier, not for masked words",
                          folder);
    if (o->bf16x3)
        return finch_fail(err, FINCH_E_USAGE, "%s: products beside adapters are in f32 or bf16, not in bf16x3", folder);
    if (adapter_is(folder))
        return finch_fail(err, FINCH_E_UNSUPPORTED, "%s: it holds adapters; train beside their base", folder);
    return FINCH_OK;
}

/* What PEFT adapts where nothing is named. */
static const char *targets_of(const model_config *c)
{
    switch (c->arch) {
    case MODEL_GEMMA3: return "q_proj,v_proj";
    case MODEL_MPNET: return "q,v";
    default: return "query,value";
    }
}

finch_status adapters_open(trainable *t, const char *folder, const trainable_options *o, bool same_labels, finch_error *err)
{
    FINCH_TRY(check_options(o, folder, err));
    t->adapts = true;
    t->lora = *o->lora;
    t->lora.bf16 = t->lora.bf16 || o->bf16;
    t->bf16 = false; /* the frozen products round what they read; everything else is f32 */
    char whole[PATH_MAX]; /* the folder may be opened from another place */
    const char *base = realpath(folder, whole) != NULL ? whole : folder;
    const char *targets = t->lora.targets != NULL ? t->lora.targets : targets_of(&t->config);
    FINCH_TRY(mem_text(base, strlen(base), &t->base_path, err));
    FINCH_TRY(mem_text(targets, strlen(targets), &t->targets, err));
    t->lora.targets = t->targets;
    if (t->config.arch == MODEL_GEMMA3) return gemma_open_adapters(t, folder, same_labels, err);
    FINCH_TRY(frozen_layout(t, folder, err));
    return frozen_load(t, same_labels, err);
}

/* ---- saving: PEFT's layout ------------------------------------------------------------------------------------- */

/* The names as they were given: PEFT reads them as finch does. */
static json_t *targets_json(const char *targets)
{
    if (strcmp(targets, LORA_ALL_LINEAR) == 0) return json_string(targets);
    json_t *list = json_array();
    bool whole = list != NULL;
    for (const char *at = targets; *at != '\0';) {
        size_t size = strcspn(at, ",");
        if (size > 0) whole = whole && json_array_append_new(list, json_stringn(at, size)) == 0;
        at += size + (at[size] == ',' ? 1 : 0);
    }
    if (whole) return list;
    json_decref(list);
    return NULL;
}

static json_t *whole_modules_json(const trainable *t)
{
    if (t->config.arch == MODEL_GEMMA3) return json_pack("[s]", "score");
    return t->trains_pooler ? json_pack("[s,s]", "classifier", "pooler") : json_pack("[s]", "classifier");
}

static finch_status save_config(const trainable *t, const char *folder, finch_error *err)
{
    str path = {0};
    json_t *config = json_pack("{s:s,s:s,s:s,s:I,s:f,s:f,s:o,s:o,s:s,s:b,s:b}", "peft_type", "LORA", "task_type", "SEQ_CLS",
                               "base_model_name_or_path", t->base_path, "r", (json_int_t)t->lora.rank, "lora_alpha",
                               t->lora.alpha, "lora_dropout", t->lora.dropout, "target_modules",
                               targets_json(t->lora.targets), "modules_to_save", whole_modules_json(t), "bias", "none",
                               "fan_in_fan_out", 0, "inference_mode", 1);
    finch_status st = config != NULL ? file_join(folder, ADAPTER_CONFIG, &path, err)
                                     : finch_fail(err, FINCH_E_MEMORY, "out of memory for " ADAPTER_CONFIG);
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
        bool vector = t->is_vector[i];
        entries[i] = (safetensors_entry){.name = p->name,
                                         .dtype = TENSOR_F32,
                                         .n_dims = vector ? 1 : 2,
                                         .dims = {vector ? p->cols : p->rows, p->cols},
                                         .data = p->value};
    }
    finch_status st = file_join(folder, ADAPTER_WEIGHTS, &path, err);
    if (st == FINCH_OK) st = safetensors_write(path.at, entries, t->n_parameters, err);
    str_free(&path);
    mem_free(entries);
    return st;
}

/* What is trained, and in which function its logits are made. */
typedef struct probed {
    trainable *t;
} probed;

static finch_status probe(const void *context, const model_batch *b, float *logits, finch_error *err)
{
    const probed *p = context;
    return trainable_logits(p->t, b, logits, err);
}

finch_status adapters_save(trainable *t, const char *folder, finch_error *err)
{
    const probed p = {t};
    const adapter_probed m = {&p, probe, trainable_frozen_hash(t), t->config.n_labels, t->config.vocab_size, !t->lora.bf16};
    FINCH_TRY(save_tensors(t, folder, err));
    FINCH_TRY(text_tokenizer_save(t->tokenizer, folder, err));
    FINCH_TRY(adapter_save_probes(folder, &m, t->tokenizer, err));
    return save_config(t, folder, err);
}

uint64_t trainable_frozen_hash(const trainable *t)
{
    if (t->base != NULL && t->adapts) return gemma_hash(t->base);
    return t->frozen != NULL ? adapter_hash_weights(t->frozen) : 0;
}

const char *trainable_targets_of_adapters(const trainable *t) { return t->targets; }
