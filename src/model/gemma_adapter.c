#include "model/gemma_adapter.h"

#include "base/str.h"
#include "model/gemma_internal.h"

#include <stdio.h>

static finch_status attach_matrix(gemma *g, size_t layer, const char *part, gemma_matrix *to, finch_error *err)
{
    static const char *const prefixes[] = {"model.", "model.language_model.", ""};
    enum { N = sizeof prefixes / sizeof prefixes[0], NAME_BYTES = 96 };
    char names[N][NAME_BYTES];
    const char *modules[N];
    for (size_t i = 0; i < N; i++) {
        snprintf(names[i], NAME_BYTES, "%slayers.%zu.%s", prefixes[i], layer, part);
        modules[i] = names[i];
    }
    return adapter_pack(&g->adapter, modules, N, to->stored.rows, to->stored.columns, 1.0, &g->memory, &to->pair, err);
}

static finch_status attach_head(gemma *g, finch_error *err)
{
    const tensor *t = adapter_whole(&g->adapter, "score.weight");
    if (t == NULL) return FINCH_OK;
    if (t->n_dims != 2 || t->dims[0] == 0 || t->dims[0] > MODEL_LABELS_MAX)
        return finch_fail(err, FINCH_E_DATA, "%s: the tensor %s is not of 1 to %d rows", g->adapter.path, t->name,
                          MODEL_LABELS_MAX);
    return stored_from_weights(g->adapter.file, t->name, t->dims[0], g->config.hidden_size, &g->score, err);
}

finch_status gemma_adapter_attach(gemma *g, const char *folder, finch_error *err)
{
    FINCH_TRY(adapter_open(folder, &g->adapter, err));
    for (size_t i = 0; i < g->config.n_layers; i++) {
        gemma_layer *layer = &g->layers[i];
#define ATTACH(name, hub, gguf_name, outputs, inputs) FINCH_TRY(attach_matrix(g, i, hub, &layer->name, err));
        GEMMA_MATRIX_LIST(ATTACH)
#undef ATTACH
    }
    FINCH_TRY(attach_head(g, err));
    return adapter_all_used(&g->adapter, err);
}

/* ---- the right base -------------------------------------------------------------------------------------------- */

uint64_t gemma_hash(const gemma *g)
{
    uint64_t hash = 0;
    if (g->file != NULL) return adapter_hash_weights(g->file);
    for (size_t i = 0; i < gguf_count(g->blocks); i++) {
        const gguf_tensor *b = gguf_at(g->blocks, i);
        hash = adapter_hash(hash, b->name, b->data, b->size_bytes);
    }
    return hash;
}

static finch_status probe(const void *context, const model_batch *b, float *logits, finch_error *err)
{
    const gemma *g = context;
    const uint32_t last = (uint32_t)b->n_tokens - 1;
    const gemma_batch batch = {
        .ids = b->ids, .offsets = b->offsets, .n_texts = 1, .n_tokens = b->n_tokens, .wanted = &last, .n_wanted = 1};
    float *hidden;
    arena a;
    arena_init(&a);
    finch_status st = ARENA_NEW(&a, &hidden, g->config.hidden_size, err);
    if (st == FINCH_OK) st = gemma_hidden(g, &batch, hidden, &a, err);
    if (st == FINCH_OK) gemma_class_logits(g, hidden, 1, logits);
    arena_free(&a);
    return st;
}

finch_status gemma_adapter_verify(const gemma *g, const char *folder, finch_error *err)
{
    const adapter_probed m = {g, probe, gemma_hash(g), g->score.rows, g->config.vocab_size, g->compute == MODEL_F32};
    return adapter_verify(folder, &m, err);
}
