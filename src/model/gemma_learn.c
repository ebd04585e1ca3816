/* The learner's tensors: their names, shapes and first values. */
#include "model/gemma_learn_internal.h"

#include "base/rng.h"

#include <stdio.h>
#include <string.h>

typedef struct linear_shape {
    gemma_width outputs, inputs;
} linear_shape;

static const linear_shape shapes[LEARN_MATRICES] = {
#define SHAPE(name, hub, gguf_name, outputs, inputs) {outputs, inputs},
    GEMMA_MATRIX_LIST(SHAPE)
#undef SHAPE
};

const char *const learn_modules[LEARN_MATRICES] = {
#define MODULE(name, hub, gguf_name, outputs, inputs) hub,
    GEMMA_MATRIX_LIST(MODULE)
#undef MODULE
};

size_t learn_outputs(const gemma_config *c, learn_matrix which) { return gemma_width_of(c, shapes[which].outputs); }
size_t learn_inputs(const gemma_config *c, learn_matrix which) { return gemma_width_of(c, shapes[which].inputs); }

static void add_tensor(gemma_learner *l, size_t rows, size_t cols, bool is_head, const char *part, size_t layer,
                       const char *which)
{
    gemma_learnt *t = &l->tensors[l->n_tensors++];
    *t = (gemma_learnt){.rows = rows, .cols = cols, .is_head = is_head};
    if (is_head) snprintf(t->name, sizeof t->name, "base_model.model.score.weight");
    else snprintf(t->name, sizeof t->name, "base_model.model.model.layers.%zu.%s.%s.weight", layer, part, which);
}

static void lay_out(gemma_learner *l, const char *targets)
{
    const gemma_config *c = &l->base->config;
    for (size_t layer = 0; layer < c->n_layers; layer++)
        for (size_t i = 0; i < LEARN_MATRICES; i++) {
            size_t rank = l->setup.rank, in = learn_inputs(c, (learn_matrix)i), out = learn_outputs(c, (learn_matrix)i);
            if (!lora_targets_has(targets, learn_modules[i])) continue;
            l->pairs[layer][i] = (lora_pair){.used = true, .in = in, .out = out};
            add_tensor(l, rank, in, false, learn_modules[i], layer, "lora_A");
            add_tensor(l, out, rank, false, learn_modules[i], layer, "lora_B");
        }
    add_tensor(l, l->n_classes, c->hidden_size, true, NULL, 0, NULL);
}

finch_status gemma_learner_create(const gemma *base, const lora_options *options, size_t n_classes, gemma_learner **out,
                                  finch_error *err)
{
    gemma_learner *l;
    finch_status st;
    *out = NULL;
    FINCH_TRY(lora_options_check(options, learn_modules, LEARN_MATRICES,
                                 "q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj and down_proj", err));
    if (base->compute != MODEL_F32)
        return finch_fail(err, FINCH_E_USAGE, "adapters learn beside a base that computes in f32");
    FINCH_TRY(MEM_NEW(&l, 1, err));
    *l = (gemma_learner){.base = base,
                         .setup = lora_setup_of(options),
                         .n_classes = n_classes,
                         .checkpoint = options->checkpoint_activations,
                         .bf16 = options->bf16};
    FINCH_GO(done, st, MEM_NEW(&l->pairs, base->config.n_layers, err));
    FINCH_GO(done, st, MEM_NEW(&l->no_bias, base->config.intermediate_size, err));
    FINCH_GO(done, st, MEM_NEW(&l->tensors, 2 * LEARN_MATRICES * base->config.n_layers + 1, err));
    lay_out(l, options->targets);
    *out = l;
done:
    if (st != FINCH_OK) gemma_learner_destroy(l);
    return st;
}

void gemma_learner_destroy(gemma_learner *l)
{
    if (l == NULL) return;
    mem_free(l->pairs);
    mem_free(l->weights);
    mem_free(l->no_bias);
    mem_free(l->tensors);
    mem_free(l);
}

size_t gemma_learner_tensors(const gemma_learner *l, const gemma_learnt **out)
{
    *out = l->tensors;
    return l->n_tensors;
}

/* The pair of tensor i of n: A first, then B. */
static lora_pair *pair_of(const gemma_learner *l, size_t i)
{
    size_t at = 0;
    for (size_t layer = 0; layer < l->base->config.n_layers; layer++)
        for (size_t k = 0; k < LEARN_MATRICES; k++) {
            if (!l->pairs[layer][k].used) continue;
            if (at == i / 2) return &l->pairs[layer][k];
            at++;
        }
    return NULL;
}

void gemma_learner_bind(gemma_learner *l, size_t i, float *value, float *grad)
{
    if (l->whole != NULL) {
        weights_bind(l, i, value, grad);
        return;
    }
    if (l->tensors[i].is_head) {
        l->score = value;
        l->dscore = grad;
        return;
    }
    lora_pair *pair = pair_of(l, i);
    if (i % 2 == 0) pair->a = value, pair->da = grad;
    else pair->b = value, pair->db = grad;
}

static void draw_head(gemma_learner *l, uint64_t seed, bool keep, bool *is_new)
{
    enum { STREAM_HEAD = 0x10B };
    *is_new = !keep || l->base->score.rows != l->n_classes;
    if (!*is_new) {
        stored_rows(&l->base->score, 0, l->n_classes, l->score);
        return;
    }
    rng r = {.seed = seed, .stream = (uint64_t)STREAM_HEAD << 32};
    for (size_t k = 0; k < l->n_classes * l->base->config.hidden_size; k++) l->score[k] = (float)(0.02 * rng_normal(&r));
}

void gemma_learner_draw(gemma_learner *l, uint64_t seed, bool keep_head, bool *head_is_new)
{
    draw_head(l, seed, keep_head, head_is_new);
    if (l->whole != NULL) weights_draw(l);
    else
        for (size_t i = 0; i + 1 < l->n_tensors; i += 2) lora_draw(&l->setup, pair_of(l, i), seed, i);
}
