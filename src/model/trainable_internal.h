/* What the files of the training engine share. Reading order: trainable_parameters.c (what there is), trainable_frozen.c (the same
 * where adapters learn), trainable_plan.c (the memory of a step), trainable_dense.c (a linear layer), trainable_forward.c,
 * trainable_backward.c, trainable_classifier.c and trainable_mlm.c (the heads), trainable_lora.c (adapters), trainable_gemma.c, trainable.c (the
 * calls), trainable_save.c. */
#ifndef FINCH_MODEL_TRAINABLE_INTERNAL_H
#define FINCH_MODEL_TRAINABLE_INTERNAL_H

#include "base/arena.h"
#include "base/json.h"
#include "model/frozen.h"
#include "model/gemma_learn.h"
#include "model/trainable.h"
#include "tensor/gemm.h"
#include "tensor/train_ops.h"
#include "tensor/weights.h"

enum {
    TRAINABLE_NAME_BYTES = 96,
    TRAINABLE_BLOCK_ROWS = 16, /* rows whose sums form one partial: fixed, so that sums do not depend on threads */
    TRAINABLE_STRIP = 64 /* columns of a table that one thread adds to */
};

/* Where adapters may stand: in a layer, and at BERT's pooler. */
typedef enum adapter_site {
    ADAPTER_QUERY,
    ADAPTER_KEY,
    ADAPTER_VALUE,
    ADAPTER_OUT,
    ADAPTER_UP,
    ADAPTER_DOWN,
    ADAPTER_POOLER,
    ADAPTER_SITES,
    ADAPTER_LAYER_SITES = ADAPTER_POOLER
} adapter_site;

/* A matrix that does not learn, as its file has it, and the adapter beside it. */
typedef struct frozen_part {
    stored_matrix weight;
    lora_pair pair;
} frozen_part;

/* y = x w^T + b. w [out, in]; gradients beside; w16 is the bf16 copy, NULL in f32.
 * frozen  where the model does not learn: in place of w, dw, w16 and db, which are NULL, the n_parts matrices that w is made of
 *         (query, key, value, or one), whose sites begin at `site`. */
typedef struct dense {
    size_t in, out;
    float *w, *dw;
    const uint16_t *w16;
    float *b, *db;
    frozen_part *frozen;
    size_t n_parts;
    adapter_site site;
} dense;

typedef struct scale_shift {
    float *gain, *dgain;
    float *shift, *dshift;
} scale_shift;

typedef struct encoder_layer {
    dense qkv; /* query, key and value one after the other: three tensors of the file, one product */
    dense out, up, down;
    scale_shift norm1, norm2;
} encoder_layer;

typedef struct table {
    float *value, *grad;
} table;

/* A tensor of the checkpoint that this head does not train and the saved folder keeps (the pooler, in a masked LM). */
typedef struct carried_tensor {
    char name[TRAINABLE_NAME_BYTES];
    size_t rows, cols; /* rows 0: a vector */
    float *value;
} carried_tensor;

enum { TRAINABLE_CARRIED_MAX = 2 };

struct trainable {
    model_config config;
    trainable_head head;
    bool bf16, bf16x3;
    uint64_t seed;
    float hidden_dropout, attention_dropout, classifier_dropout;
    bool head_is_new;
    json_t *config_json; /* as read, for saving */
    text_tokenizer *tokenizer;
    const train_ops *ops;
    /* Adapters. */
    bool adapts;
    lora_options lora;
    char *base_path, *targets;
    gemma *
        base; /* a Gemma: these two are set, and what belongs to layers and tables is not, but for `word` where all learns */
    gemma_learner *learner;
    weights *frozen; /* a BERT's or MPNet's: the file that does not learn, */
    stored_matrix words;
    float *frozen_values; /* its biases, norms, small tables and pooler */
    frozen_part *frozen_parts; /* [n_layers, ADAPTER_LAYER_SITES] */
    lora_setup setup;
    lora_pair pooler;
    size_t lowest; /* the first layer with an adapter; n_layers where none has */
    bool trains_pooler; /* the file has none */

    size_t n_parameters;
    trainable_parameter *parameters;
    char (*names)[TRAINABLE_NAME_BYTES];
    bool *is_vector;
    /* One block each, the word embeddings last. */
    size_t n_values, n_dense_values;
    float *values, *grads;
    float *word_grads; /* a whole Gemma's word embeddings': a quarter of a million rows of which few are used */
    uint16_t *values16; /* NULL in f32 */
    size_t n_values16;

    encoder_layer *layers;
    table word, position, type, relative;
    scale_shift embedding_norm;
    dense hidden_head, output_head; /* classifier: pooler and classifier; masked LM: transform and the tied decoder */
    scale_shift head_norm; /* masked LM */
    carried_tensor carried[TRAINABLE_CARRIED_MAX];
    size_t n_carried;

    arena scratch;
    gemm_room *room; /* of products; a pointer, so that a const trainable can multiply */
    bool grads_stale; /* gradients count as zero whatever is in their memory (the touched rows' apart) */
    bool copies_stale; /* values16 is older than values */
    uint32_t *touched; /* [vocab_size] rows in order of first use */
    size_t n_touched;
    uint8_t *is_touched;
    trainable_rows_fn before_rows;
    void *before_rows_context;
    trainable_before before; /* of the whole batch, the part before the next steps' */
    trainable_final_fn on_final;
    void *on_final_context;
};

/* trainable_parameters.c: lays out every parameter, then fills them from the checkpoint or the seed. */
finch_status trainable_layout(trainable *t, finch_error *err);
finch_status trainable_load(trainable *t, const weights *w, bool keep_head, finch_error *err);

/* What transformers calls the linear layers and norms; %zu is the layer. */
typedef struct layer_names {
    const char *q, *k, *v, *out, *norm1, *up, *down, *norm2;
} layer_names;
const layer_names *trainable_names(const model_config *c);
/* The tensor under its name, without the architecture's prefix, or with the names of layer norms in old checkpoints; NULL where
 * it is missing. */
const tensor *checkpoint_find(const weights *w, const char *name);
/* The tensor [rows, cols], or a vector of cols, as f32. Errors: FINCH_E_DATA where it is missing or of another shape. */
finch_status checkpoint_read(const weights *w, const char *name, size_t rows, size_t cols, bool vector, float *out,
                             finch_error *err);
/* N(0, 0.02) for matrices, zeros for biases; index tells tensors apart. */
void parameter_draw(uint64_t seed, size_t index, bool vector, size_t n, float *out);

/* ---- the memory of a step -------------------------------------------------------------------------------------- */

/* The input of a product: f or h (bf16) is used, as the mode says. Activations that are also summed keep both. */
typedef struct matrix {
    float *f;
    uint16_t *h;
} matrix;

/* What the forward pass of a layer leaves for its backward pass. n_rows is n_tokens, in the last layer n_selected. */
typedef struct layer_pass {
    size_t index;
    size_t n_rows, room; /* room: rows of its products, plan_room(n_rows) */
    bool selected;
    matrix x; /* [n_tokens, hidden] */
    matrix x_rows; /* the rows of x that go on: x itself, or gathered */
    float *q, *k, *v;
    size_t ldq, ldk;
    float *probs;
    const size_t *probs_at; /* [n_texts] start of a text's probabilities */
    matrix context;
    float *sum1, *stats1;
    matrix y1;
    float *slope;
    matrix h;
    float *sum2, *stats2;
    matrix y2;
    uint16_t *keep_attention, *keep1, *keep2;
    lora_kept kept[ADAPTER_LAYER_SITES];
} layer_pass;

/* One forward (and backward) of a batch; memory is the arena's. */
typedef struct step_pass {
    const model_batch *batch;
    bool training;
    uint64_t step;
    size_t n_tokens, n_selected;
    size_t room; /* of n_tokens */
    size_t longest;
    uint32_t *selected; /* [n_selected] token indices, rising: the rows that leave the last layer */
    uint32_t *selected_first; /* [n_texts + 1] where a text's begin */
    uint32_t *selected_place; /* [n_selected] place in their text */
    size_t *probs_at_full, *probs_at_selected;
    float *embedding_sum, *embedding_stats;
    matrix embedded;
    uint16_t *keep_embedding;
    float *relative; /* MPNet: [n_heads, 2 * longest - 1] bias by distance, or NULL */
    float *relative_grad;
    layer_pass *layers;
    float *attention_scratch;
    size_t attention_scratch_items;
    size_t n_threads;
    frozen_products products; /* where the model does not learn, and scratch of its adapters: */
    float *lora_low; /* [n_tokens, rank] */
    float *lora_room, *lora_more; /* [n_tokens, the widest input] */
} step_pass;

/* A dropout site and its bits; p and its inverse scale. */
typedef enum dropout_site {
    SITE_EMBEDDING,
    SITE_ATTENTION,
    SITE_OUT,
    SITE_DOWN,
    SITE_HEAD_IN,
    SITE_HEAD,
    SITE_COUNT
} dropout_site;

/* trainable_plan.c */
finch_status plan_make(trainable *t, step_pass *p, finch_error *err);
/* Draws the bits of a site; *out is NULL where the pass has no dropout there. */
/* Words [first, first + n_words) of the whole batch's. */
finch_status plan_dropout(trainable *t, const step_pass *p, dropout_site site, size_t layer, size_t first, size_t n_words,
                          float probability, uint16_t **out, finch_error *err);
/* 1 / the kept share, of the probability as it is drawn (in 1 / 65536). */
float plan_keep_scale(float probability);
/* Rows that a product over n_rows works on. bf16 products are made once a shape, and batches have any number of tokens:
 * rounded up, few shapes are met. What the products write past n_rows is never read, so outputs need memory for it only. */
size_t plan_room(const trainable *t, size_t n_rows);
/* f or h of [plan_room(n_rows), n_cols] as the mode needs it as a product's input; both where also_f32. The rows of h
 * past n_rows are 0, so that they add nothing to a sum over rows. */
finch_status plan_matrix(trainable *t, size_t n_rows, size_t n_cols, bool also_f32, matrix *out, finch_error *err);

/* c = op(a) op(b) + beta c in the trainable's mode. */
finch_status step_product(const trainable *t, bool trans_a, bool trans_b, size_t m, size_t n, size_t k, matrix a, size_t lda,
                          matrix b, size_t ldb, float beta, float *c, size_t ldc, finch_error *err);
/* 0 while this step is the first to write a gradient matrix, else 1. */
float step_beta(const trainable *t);

/* ---- trainable_dense.c: linear layers, those that learn and those that have adapters ---- */

matrix dense_weight(const dense *d, size_t first_row);

/* Parts [first, first + n) of a dense layer over n_rows of x. */
typedef struct dense_use {
    const dense *d;
    size_t first, n;
    size_t n_rows;
    matrix x;
} dense_use;

/* y [n_rows, ldy] = x w^T of the parts, their first column at y. Of l only what belongs to its adapters is read and written. */
finch_status dense_forward(const trainable *t, const step_pass *p, layer_pass *l, const dense_use *u, float *y, size_t ldy,
                           finch_error *err);
/* The gradients of what learns in the parts from dy, and dx [n_rows, in] = dy w + beta dx where dx is not NULL. */
finch_status dense_backward(const trainable *t, const step_pass *p, const layer_pass *l, const dense_use *u, matrix dy,
                            size_t ld_dy, float beta, float *dx, finch_error *err);

/* Whether the layer's forward pass is run again for its backward pass. */
bool layer_is_computed_again(const trainable *t, const step_pass *p, size_t index);

/* trainable_forward.c: fills p->layers; the last layer's y2 [n_selected, hidden] is the result. */
finch_status forward_run(trainable *t, step_pass *p, finch_error *err);
finch_status forward_layer(const trainable *t, const step_pass *p, layer_pass *l, finch_error *err);
/* The arguments of one head of one text, forward; the backward pass adds its own. */
train_attention layer_attention(const trainable *t, const step_pass *p, const layer_pass *l, const encoder_layer *w,
                                size_t text, size_t head);
/* Row of the relative-bias table for a key that far after the query (before it: below 0). */
size_t trainable_relative_bucket(ptrdiff_t distance, size_t n_buckets);
train_activation trainable_activation(const trainable *t);
void forward_norm(const trainable *t, const train_norm *a, size_t n_rows);
void forward_activate(const trainable *t, const train_activate *a, size_t n_rows);

/* trainable_backward.c: dy [n_selected, hidden], the gradient of the last layer's y2, is overwritten. */
finch_status backward_run(trainable *t, step_pass *p, float *dy, finch_error *err);
finch_status backward_norm(trainable *t, const train_norm_back *a, size_t n_rows, scale_shift *norm, float *dbias,
                           finch_error *err);
finch_status backward_activate(trainable *t, const train_activate_back *a, size_t n_rows, float *dbias, finch_error *err);
/* trainable_classifier.c */
typedef struct classifier_pass {
    float *features, *tanh, *pooled; /* [n, hidden]: the dense layer's input, its output, and that after dropout */
    float *logits; /* [n, n_labels] */
    uint16_t *keep_in, *keep;
    lora_kept kept; /* of the pooler's adapter */
} classifier_pass;
/* y [n_selected, hidden]: the first tokens' rows. */
finch_status classifier_forward(trainable *t, const step_pass *p, const float *y, classifier_pass *c, finch_error *err);
finch_status classifier_targets_check(const trainable *t, const model_batch *b, const trainable_targets *targets,
                                      finch_error *err);
finch_status classifier_step(trainable *t, step_pass *p, const trainable_targets *targets, double scale, double *loss_sum,
                             finch_error *err);

/* The losses of n texts' logits, summed; their gradients into dlogits. */
double classifier_losses(const trainable *t, const float *logits, size_t n, const trainable_targets *targets, double scale,
                         float *dlogits);

/* trainable_gemma.c: a Gemma of which all learns, or adapters beside it; batch and targets are checked. */
finch_status gemma_open_whole(trainable *t, const char *folder, const trainable_options *options, bool same_labels,
                              finch_error *err);
finch_status gemma_open_adapters(trainable *t, const char *folder, bool same_labels, finch_error *err);
finch_status gemma_step(trainable *t, const model_batch *batch, const trainable_targets *targets, double scale,
                        uint64_t step, double *loss_sum, finch_error *err);
finch_status gemma_logits(trainable *t, const model_batch *batch, float *logits, finch_error *err);

/* trainable_lora.c: opening and saving of adapters. */
finch_status adapters_open(trainable *t, const char *folder, const trainable_options *options, bool same_labels,
                           finch_error *err);
finch_status adapters_save(trainable *t, const char *folder, finch_error *err);
/* A freshly opened Gemma or BERT with its adapters' tensors in t->parameters, not yet placed. */
finch_status frozen_layout(trainable *t, const char *folder, finch_error *err);
/* Fills what frozen_layout placed: the base's small tensors, and first values of what learns. */
finch_status frozen_load(trainable *t, bool keep_head, finch_error *err);
void frozen_free(trainable *t);
/* One block for values and one for gradients of t->parameters, each tensor on its own cache line; the gradients of a sparse one,
 * which is the last, apart. */
finch_status parameters_place(trainable *t, finch_error *err);
/* Notes that rows have gradients (trainable_backward.c). */
void rows_touch(trainable *t, const int32_t *ids, size_t n);
/* Tells that a block of gradients is final. */
void gradients_final(const trainable *t, size_t block);
/* Clears what a step adds to (trainable.c). */
void gradients_begin(trainable *t);

/* trainable_mlm.c: target_ids [n_selected] in the order of p->selected. */
finch_status mlm_step(trainable *t, step_pass *p, const int32_t *target_ids, double scale, bool backward, double *loss_sum,
                      size_t *n_correct, finch_error *err);

#endif
