/* A trainable as a folder in Hugging Face layout: config.json as it was read with what training decides, model.safetensors
 * under the names of transformers, the tokenizer's files. */
#include "model/trainable.h"

#include "base/file.h"
#include "model/trainable_internal.h"

#include <stdio.h>
#include <string.h>

static const char *architecture(const trainable *t)
{
    bool bert = t->config.arch == MODEL_BERT;
    if (t->config.arch == MODEL_GEMMA3) return "Gemma3TextForSequenceClassification";
    if (t->head == TRAINABLE_CLASSIFIER) return bert ? "BertForSequenceClassification" : "MPNetForSequenceClassification";
    return bert ? "BertForMaskedLM" : "MPNetForMaskedLM";
}

/* true where every set of the list worked; jansson's only failure here is memory. */
static bool set_labels(const trainable *t, json_t *config)
{
    json_t *id2label = json_object(), *label2id = json_object();
    bool ok = json_object_set_new(config, "id2label", id2label) == 0;
    ok = json_object_set_new(config, "label2id", label2id) == 0 && ok;
    for (size_t i = 0; ok && i < t->config.n_labels; i++) {
        char id[24];
        snprintf(id, sizeof id, "%zu", i);
        ok = json_object_set_new(id2label, id, json_string(t->config.labels[i])) == 0 &&
             json_object_set_new(label2id, t->config.labels[i], json_integer((json_int_t)i)) == 0;
    }
    return ok && json_object_set_new(config, "problem_type", json_string("single_label_classification")) == 0;
}

/* A Gemma with images has its text part's configuration in its own; what learnt is saved as a text model. */
static json_t *config_copy(const trainable *t)
{
    const json_t *text = json_object_get(t->config_json, "text_config");
    bool part = t->learner != NULL && !t->adapts && json_is_object(text);
    json_t *config = json_deep_copy(part ? text : t->config_json);
    if (!part || config == NULL || json_object_set_new(config, "model_type", json_string("gemma3_text")) == 0) return config;
    json_decref(config);
    return NULL;
}

static finch_status make_config(const trainable *t, json_t **out, finch_error *err)
{
    json_t *config = config_copy(t);
    *out = config;
    bool ok = config != NULL && json_object_set_new(config, "architectures", json_pack("[s]", architecture(t))) == 0;
    ok = ok && json_object_set_new(config, "dtype", json_string("float32")) == 0;
    if (ok) {
        (void)json_object_del(config, "torch_dtype"); /* dtype's older name */
        (void)json_object_del(config, "_name_or_path");
        (void)json_object_del(config, "num_labels"); /* id2label says it */
        if (!t->adapts) (void)json_object_del(config, "quantization_config"); /* what learns is in floats */
    }
    if (ok && t->head == TRAINABLE_CLASSIFIER) ok = set_labels(t, config);
    return ok ? FINCH_OK : finch_fail(err, FINCH_E_MEMORY, "out of memory for config.json");
}

static finch_status save_config(const trainable *t, const char *folder, finch_error *err)
{
    str path = {0};
    json_t *config = NULL;
    finch_status st = make_config(t, &config, err);
    if (st == FINCH_OK) st = file_join(folder, "config.json", &path, err);
    if (st == FINCH_OK) st = json_write_file(path.at, config, err);
    str_free(&path);
    json_decref(config);
    return st;
}

static safetensors_entry make_entry(const char *name, size_t rows, size_t cols, bool vector, const float *data)
{
    return (safetensors_entry){
        .name = name, .dtype = TENSOR_F32, .n_dims = vector ? 1 : 2, .dims = {vector ? cols : rows, cols}, .data = data};
}

static finch_status save_weights(const trainable *t, const char *folder, finch_error *err)
{
    finch_status st = FINCH_OK;
    safetensors_entry *entries = NULL;
    str path = {0};
    size_t n = 0;
    FINCH_GO(done, st, MEM_NEW(&entries, t->n_parameters + t->n_carried, err));
    for (size_t i = 0; i < t->n_parameters; i++) {
        const trainable_parameter *p = &t->parameters[i];
        entries[n++] = make_entry(p->name, p->rows, p->cols, t->is_vector[i], p->value);
    }
    for (size_t i = 0; i < t->n_carried; i++) {
        const carried_tensor *c = &t->carried[i];
        entries[n++] = make_entry(c->name, c->rows, c->cols, c->rows == 0, c->value);
    }
    FINCH_GO(done, st, file_join(folder, "model.safetensors", &path, err));
    st = safetensors_write(path.at, entries, n, err);
done:
    str_free(&path);
    mem_free(entries);
    return st;
}

finch_status trainable_save(trainable *t, const char *folder, finch_error *err)
{
    FINCH_TRY(file_make_directories(folder, err));
    if (t->adapts) {
        FINCH_TRY(adapters_save(t, folder, err));
        return save_config(t, folder, err);
    }
    FINCH_TRY(save_weights(t, folder, err));
    FINCH_TRY(text_tokenizer_save(t->tokenizer, folder, err));
    return save_config(t, folder, err);
}
