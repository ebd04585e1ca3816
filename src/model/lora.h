/* Low-rank adapters (arXiv:2106.09685): y += (alpha / r) dropout(x) A^T B^T beside a frozen y = x W^T. A [r, in], B [out, r].
 * What Gemma's learner and the frozen BERT share: options, names, and a pair's forward and backward pass.
 * The bits of a pass depend on neither the number of threads nor what else was computed. */
#ifndef FINCH_MODEL_LORA_H
#define FINCH_MODEL_LORA_H

#include "base/arena.h"
#include "tensor/train_ops.h"

enum { LORA_RANK_MAX = 256, LORA_TARGETS_BYTES = 256 };

#define LORA_ALL_LINEAR "all-linear"

/* targets: names of linear layers between commas ("q_proj,v_proj"), LORA_ALL_LINEAR, or NULL for the architecture's own choice
 * (PEFT's); borrowed. */
typedef struct lora_options {
    size_t rank;
    double alpha;
    double dropout;
    const char *targets;
    bool bf16; /* products with the base in bf16, the adapters' own in f32 */
    bool checkpoint_activations; /* keep only the layers' inputs, compute the rest again: less memory, a third more time */
} lora_options;

#define LORA_OPTIONS_DEFAULT ((lora_options){.rank = 8, .alpha = 16.0, .dropout = 0.1})

/* Whether the list names the module, as PEFT reads such lists: a name of the list is the whole of the module's dotted path, or
 * its end behind a dot ("output.dense" names "attention.output.dense" too). */
bool lora_targets_has(const char *targets, const char *module);
/* Rank, alpha and dropout, and that every name of targets is that of a module. modules [n_modules]: paths of the linear layers;
 * hint: some names of them, for the message. Errors: FINCH_E_USAGE naming the option. */
finch_status lora_options_check(const lora_options *o, const char *const *modules, size_t n_modules, const char *hint,
                                finch_error *err);

/* ---- learning -------------------------------------------------------------------------------------------------- */

/* A pair that learns; not used: the linear layer has none. */
typedef struct lora_pair {
    bool used;
    size_t in, out;
    float *a, *da; /* [rank, in] */
    float *b, *db; /* [out, rank] */
} lora_pair;

/* What all pairs of a model have in common. scale: alpha / rank. */
typedef struct lora_setup {
    const train_ops *ops;
    size_t rank;
    float scale, dropout;
} lora_setup;

lora_setup lora_setup_of(const lora_options *o);

/* What a pair's forward pass leaves for its backward pass. words NULL: no dropout in that pass. */
typedef struct lora_kept {
    float *low; /* [n_rows, rank]: scale * dropout(x) A^T */
    uint16_t *words;
    uint16_t *drawn; /* where their memory begins: Philox gives eight at a time */
} lora_kept;

/* A uniform in +-1 / sqrt(in), as PEFT draws it; B zero. index tells the model's pairs apart. */
void lora_draw(const lora_setup *s, lora_pair *p, uint64_t seed, size_t index);

/* The dropout of a pair: a function of (seed, step, layer, site) and the place in x, so that a layer that is computed again has
 * it again. Memory comes from the arena where kept->drawn is NULL. */
typedef struct lora_dropout {
    uint64_t seed, step;
    size_t layer, site;
    size_t first; /* row of x in the whole batch that its first row is */
} lora_dropout;
finch_status lora_draw_words(const lora_setup *s, const lora_dropout *d, size_t n_rows, size_t width, arena *a,
                             lora_kept *kept, finch_error *err);

/* y += the pair's part of x [n_rows, in]. room [n_rows, in] is used where there is dropout; y with a stride of ldy. */
finch_status lora_forward(const lora_setup *s, const lora_pair *p, lora_kept *kept, size_t n_rows, const float *x,
                          float *room, float *y, size_t ldy, finch_error *err);

/* Adds the pair's gradients, and, where dx is not NULL, its part of the input's gradient to dx [n_rows, in].
 * low [n_rows, rank], room and more [n_rows, in]: scratch. dy with a stride of ld_dy. */
typedef struct lora_back {
    size_t n_rows;
    const float *x, *dy;
    size_t ld_dy;
    float *low, *room, *more;
    float *dx;
} lora_back;
finch_status lora_backward(const lora_setup *s, const lora_pair *p, const lora_kept *kept, const lora_back *g,
                           finch_error *err);

/* gemm_f32 in blocks of the result that do not depend on the number of threads: one thread a block, so the bits do not
 * either. Inside a parallel region use gemm_f32 itself. */
finch_status lora_product(bool trans_a, bool trans_b, size_t m, size_t n, size_t k, const float *a, size_t lda,
                          const float *b, size_t ldb, float beta, float *c, size_t ldc, finch_error *err);
/* The same with gemm_bf16. */
finch_status lora_product_bf16(bool trans_a, bool trans_b, size_t m, size_t n, size_t k, const uint16_t *a, size_t lda,
                               const uint16_t *b, size_t ldb, float beta, float *c, size_t ldc, finch_error *err);

#endif
