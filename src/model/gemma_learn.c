/* The learner's tensors: their names, shapes and first values. */
#include "model/gemma_learn_internal.h"

#include "base/rng.h"
#include "tensor/gemm.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct linear_shape {
    const char *part; /* "self_attn.q_proj" */
    gemma_width outputs, inputs;
} linear_shape;

static const linear_shape shapes[LEARN_MATRICES] = {
#define SHAPE(name, hub, gguf_name, outputs, inputs) {hub, outputs, inputs},
    GEMMA_MATRIX_LIST(SHAPE)
#undef SHAPE
};

static const char *name_of(size_t which) { return strchr(shapes[which].part, '.') + 1; }

const char *const *gemma_linear_names(size_t *n)
{
    static const char *const names[] = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"};
    *n = sizeof names / sizeof names[0];
    return names;
}

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
            if (!lora_targets_has(targets, name_of(i))) continue;
            l->pairs[layer][i].used = true;
            add_tensor(l, l->rank, gemma_width_of(c, shapes[i].inputs), false, shapes[i].part, layer, "lora_A");
            add_tensor(l, gemma_width_of(c, shapes[i].outputs), l->rank, false, shapes[i].part, layer, "lora_B");
        }
    add_tensor(l, l->n_classes, c->hidden_size, true, NULL, 0, NULL);
}

finch_status gemma_learner_create(const gemma *base, const lora_options *options, size_t n_classes, gemma_learner **out,
                                  finch_error *err)
{
    size_t n_names;
    const char *const *names = gemma_linear_names(&n_names);
    gemma_learner *l;
    finch_status st;
    *out = NULL;
    FINCH_TRY(lora_options_check(options, names, n_names, err));
    if (base->compute != MODEL_F32)
        return finch_fail(err, FINCH_E_USAGE, "adapters learn beside a base that computes in f32");
    FINCH_TRY(MEM_NEW(&l, 1, err));
    *l = (gemma_learner){.base = base,
                         .ops = train_ops_get(),
                         .rank = options->rank,
                         .n_classes = n_classes,
                         .scale = (float)(options->alpha / (double)options->rank),
                         .dropout = (float)options->dropout,
                         .checkpoint = options->checkpoint_activations};
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
static learn_pair *pair_of(const gemma_learner *l, size_t i)
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
    if (l->tensors[i].is_head) {
        l->score = value;
        l->dscore = grad;
        return;
    }
    learn_pair *pair = pair_of(l, i);
    if (i % 2 == 0) pair->a = value, pair->da = grad;
    else pair->b = value, pair->db = grad;
}

void gemma_learner_draw(gemma_learner *l, uint64_t seed, bool keep_head, bool *head_is_new)
{
    enum { STREAM_ADAPTER = 0x10A };
    for (size_t i = 0; i + 1 < l->n_tensors; i++) {
        learn_pair *pair = pair_of(l, i);
        size_t n = l->tensors[i].rows * l->tensors[i].cols;
        rng r = {.seed = seed, .stream = ((uint64_t)STREAM_ADAPTER << 32) + i};
        double bound = 1.0 / sqrt((double)l->tensors[i].cols);
        for (size_t k = 0; k < n; k++) {
            if (i % 2 == 0) pair->a[k] = (float)((2.0 * rng_unit(&r) - 1.0) * bound);
            else pair->b[k] = 0.0f;
        }
    }
    *head_is_new = !keep_head || l->base->score.rows != l->n_classes;
    if (!*head_is_new) {
        stored_rows(&l->base->score, 0, l->n_classes, l->score);
        return;
    }
    rng r = {.seed = seed, .stream = ((uint64_t)STREAM_ADAPTER << 32) + l->n_tensors};
    for (size_t k = 0; k < l->n_classes * l->base->config.hidden_size; k++) l->score[k] = (float)(0.02 * rng_normal(&r));
}

/* ---- products -------------------------------------------------------------------------------------------------- */

enum { PRODUCT_BLOCK = 64 };

finch_status learn_product(bool trans_a, bool trans_b, size_t m, size_t n, size_t k, const float *a, size_t lda,
                           const float *b, size_t ldb, float beta, float *c, size_t ldc, finch_error *err)
{
    bool by_rows = m >= n;
    size_t whole = by_rows ? m : n, n_blocks = (whole + PRODUCT_BLOCK - 1) / PRODUCT_BLOCK;
    finch_status worst = FINCH_OK;
#pragma omp parallel for schedule(static)
    for (size_t block = 0; block < n_blocks; block++) {
        finch_error own;
        size_t at = block * PRODUCT_BLOCK, size = whole - at < PRODUCT_BLOCK ? whole - at : PRODUCT_BLOCK;
        finch_status st = by_rows ? gemm_f32(trans_a, trans_b, size, n, k, a + (trans_a ? at : at * lda), lda, b, ldb, beta,
                                             c + at * ldc, ldc, &own)
                                  : gemm_f32(trans_a, trans_b, m, size, k, a, lda, b + (trans_b ? at * ldb : at), ldb, beta,
                                             c + at, ldc, &own);
        if (st == FINCH_OK) continue;
#pragma omp critical(finch_gemma_learn)
        {
            worst = st;
            if (err != NULL) *err = own;
        }
    }
    return worst;
}
