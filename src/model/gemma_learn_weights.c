/* What a Gemma does that learns whole: its weights are f32 in the caller's memory, and the base's views of its file are turned to
 * them, so that every pass reads them as it reads a frozen base. Here are their names, first values and gradients. */
#include "model/gemma_learn_internal.h"

#include <stdio.h>
#include <string.h>

enum {
    TENSORS_OF_LAYER = LEARN_MATRICES + LEARN_NORMS,
    ENDS = 3, /* behind the layers: the last norm, the classifier, the words */
    ROWS_ROOM = 64, /* rows that bf16 products are rounded up to: they are made once a shape (trainable_plan.c) */
    STRIP = 64, /* columns of the words that one thread adds to */
    READ_ROWS = 64
};

static const char *const norm_names[LEARN_NORMS] = {
#define NORM_NAME(name, hub, gguf_name, width) hub,
    GEMMA_NORM_LIST(NORM_NAME)
#undef NORM_NAME
};

static const gemma_width norm_widths[LEARN_NORMS] = {
#define NORM_WIDTH(name, hub, gguf_name, width) width,
    GEMMA_NORM_LIST(NORM_WIDTH)
#undef NORM_WIDTH
};

/* ---- the list -------------------------------------------------------------------------------------------------- */

static gemma_learnt *add_tensor(gemma_learner *l, size_t rows, size_t cols)
{
    gemma_learnt *t = &l->tensors[l->n_tensors++];
    *t = (gemma_learnt){.rows = rows, .cols = cols};
    return t;
}

static void add_layer(gemma_learner *l, size_t layer)
{
    const gemma_config *c = &l->base->config;
    for (size_t i = 0; i < LEARN_MATRICES; i++) {
        gemma_learnt *t = add_tensor(l, learn_outputs(c, (learn_matrix)i), learn_inputs(c, (learn_matrix)i));
        snprintf(t->name, sizeof t->name, "model.layers.%zu.%s.weight", layer, learn_modules[i]);
    }
    for (size_t i = 0; i < LEARN_NORMS; i++) {
        gemma_learnt *t = add_tensor(l, 1, gemma_width_of(c, norm_widths[i]));
        snprintf(t->name, sizeof t->name, "model.layers.%zu.%s.weight", layer, norm_names[i]);
        t->is_vector = true;
    }
}

static void lay_out(gemma_learner *l)
{
    const gemma_config *c = &l->base->config;
    gemma_learnt *t;
    for (size_t layer = 0; layer < c->n_layers; layer++) add_layer(l, layer);
    t = add_tensor(l, 1, c->hidden_size);
    snprintf(t->name, sizeof t->name, "model.norm.weight");
    t->is_vector = true;
    t = add_tensor(l, l->n_classes, c->hidden_size);
    snprintf(t->name, sizeof t->name, "score.weight");
    t->is_head = true;
    t = add_tensor(l, c->vocab_size, c->hidden_size);
    snprintf(t->name, sizeof t->name, "model.embed_tokens.weight");
    t->is_table = true;
}

finch_status gemma_learner_create_whole(gemma *base, const gemma_whole_options *options, size_t n_classes,
                                        gemma_learner **out, finch_error *err)
{
    gemma_learner *l;
    finch_status st;
    *out = NULL;
    if (base->compute != MODEL_F32 || base->adapter.rank > 0)
        return finch_fail(err, FINCH_E_USAGE, "%s: a model learns whole that was opened in f32, without adapters",
                          base->path);
    FINCH_TRY(MEM_NEW(&l, 1, err));
    *l = (gemma_learner){.base = base,
                         .whole = base,
                         .setup = {.ops = train_ops_get()},
                         .n_classes = n_classes,
                         .checkpoint = options->checkpoint_activations,
                         .bf16 = options->bf16};
    FINCH_GO(done, st, MEM_NEW(&l->pairs, base->config.n_layers, err));
    FINCH_GO(done, st, MEM_NEW(&l->weights, base->config.n_layers, err));
    FINCH_GO(done, st, MEM_NEW(&l->no_bias, base->config.intermediate_size, err));
    FINCH_GO(done, st, MEM_NEW(&l->tensors, TENSORS_OF_LAYER * base->config.n_layers + ENDS, err));
    lay_out(l);
    *out = l;
done:
    if (st != FINCH_OK) gemma_learner_destroy(l);
    return st;
}

size_t gemma_learner_layer_begins(const gemma_learner *l, size_t layer)
{
    (void)l;
    return layer * TENSORS_OF_LAYER;
}

void weights_bind(gemma_learner *l, size_t i, float *value, float *grad)
{
    size_t layer = i / TENSORS_OF_LAYER, which = i % TENSORS_OF_LAYER;
    if (layer < l->base->config.n_layers) {
        learn_layer_weights *w = &l->weights[layer];
        if (which < LEARN_MATRICES) w->matrices[which].value = value, w->matrices[which].grad = grad;
        else w->norms[which - LEARN_MATRICES].value = value, w->norms[which - LEARN_MATRICES].grad = grad;
    } else if (l->tensors[i].is_head) {
        l->score = value, l->dscore = grad;
    } else if (l->tensors[i].is_table) {
        l->words.value = value, l->words.grad = grad;
    } else {
        l->last_gain.value = value, l->last_gain.grad = grad;
    }
}

/* ---- first values ---------------------------------------------------------------------------------------------- */

/* The matrix's numbers to their place in memory, which is what the base reads from then on. */
static void take_matrix(stored_matrix *m, learn_weight *to)
{
    size_t n_parts = (m->rows + READ_ROWS - 1) / READ_ROWS;
#pragma omp parallel for schedule(dynamic)
    for (size_t part = 0; part < n_parts; part++) {
        size_t first = part * READ_ROWS;
        stored_rows(m, first, size_least(READ_ROWS, m->rows - first), to->value + first * m->columns);
    }
    stored_forget(m);
    stored_from_memory(to->value, m->rows, m->columns, &to->view, m);
}

/* The gain is what the file's weight and the one make in f32, so the first pass has the base's bits. */
static void take_norm(float *gain, size_t width, float factor, learn_gain *to)
{
    to->gain = gain;
    to->width = width;
    to->factor = factor;
    for (size_t i = 0; i < width; i++) to->value[i] = gain[i] / factor - 1.0f;
}

void weights_draw(gemma_learner *l)
{
    gemma *g = l->whole;
    const gemma_config *c = &g->config;
    for (size_t layer = 0; layer < c->n_layers; layer++) {
        gemma_layer *from = &g->layers[layer];
        learn_layer_weights *to = &l->weights[layer];
#define TAKE_MATRIX(name, hub, gguf_name, outputs, inputs) take_matrix(&from->name.stored, &to->matrices[LEARN_##name]);
        GEMMA_MATRIX_LIST(TAKE_MATRIX)
#undef TAKE_MATRIX
#define TAKE_NORM(name, hub, gguf_name, width)                                                                \
    take_norm(from->name, gemma_width_of(c, width), LEARN_##name == LEARN_query_norm ? c->query_scale : 1.0f, \
              &to->norms[LEARN_##name]);
        GEMMA_NORM_LIST(TAKE_NORM)
#undef TAKE_NORM
    }
    take_norm(g->last_norm, c->hidden_size, 1.0f, &l->last_gain);
    take_matrix(&g->words, &l->words);
    g->vocabulary = g->words;
    g->score = (stored_matrix){0};
    weights_close(g->file);
    gguf_close(g->blocks);
    g->file = NULL;
    g->blocks = NULL;
}

static void renew_gain(const learn_gain *n)
{
    for (size_t i = 0; i < n->width; i++) n->gain[i] = (1.0f + n->value[i]) * n->factor;
}

void gemma_learner_values_changed(gemma_learner *l)
{
    if (l->whole == NULL) return;
    for (size_t layer = 0; layer < l->base->config.n_layers; layer++)
        for (size_t i = 0; i < LEARN_NORMS; i++) renew_gain(&l->weights[layer].norms[i]);
    renew_gain(&l->last_gain);
}

/* ---- gradients ------------------------------------------------------------------------------------------------- */

learn_gain *weights_gain(const gemma_learner *l, size_t layer, learn_norm which)
{
    return l->whole == NULL ? NULL : &l->weights[layer].norms[which];
}

static size_t rows_room(size_t n) { return (n + ROWS_ROOM - 1) / ROWS_ROOM * ROWS_ROOM; }

finch_status weights_plan(const gemma_learner *l, gemma_learnt_pass *p, finch_error *err)
{
    size_t items = rows_room(p->n_tokens) * p->products.widest;
    if (l->whole == NULL || !l->bf16 || !p->how.training) return FINCH_OK;
    FINCH_TRY(ARENA_NEW(p->how.scratch, &p->narrow_x, items, err));
    return ARENA_NEW(p->how.scratch, &p->narrow_dy, items, err);
}

/* x [n, width] in bf16, and rows of zeros behind it, which add nothing to a sum over rows. */
static void narrow(const gemma_learnt_pass *p, const float *x, size_t n, size_t width, uint16_t *to)
{
    size_t room = rows_room(n);
#pragma omp parallel for schedule(static)
    for (size_t row = 0; row < room; row++) {
        if (row < n) p->products.kernels.narrow(x + row * width, to + row * width, width);
        else memset(to + row * width, 0, width * sizeof *to);
    }
}

finch_status weight_back(const gemma_learner *l, const gemma_learnt_pass *p, size_t layer, learn_matrix which, size_t n,
                         const float *x, const float *dy, finch_error *err)
{
    if (l->whole == NULL) return FINCH_OK;
    size_t rows = learn_outputs(&l->base->config, which), columns = learn_inputs(&l->base->config, which);
    float *grad = l->weights[layer].matrices[which].grad, beta = p->add ? 1.0f : 0.0f;
    if (!l->bf16) return lora_product(true, false, rows, columns, n, dy, rows, x, columns, beta, grad, columns, err);
    narrow(p, dy, n, rows, p->narrow_dy);
    narrow(p, x, n, columns, p->narrow_x);
    return lora_product_bf16(true, false, rows, columns, rows_room(n), p->narrow_dy, rows, p->narrow_x, columns, beta, grad,
                             columns, err);
}

static void add_columns(const gemma_learner *l, const gemma_learnt_pass *p, const float *dx, size_t begin, size_t end)
{
    size_t hidden = l->base->config.hidden_size;
    for (size_t i = 0; i < p->n_tokens; i++) {
        float *row = l->words.grad + (size_t)p->how.batch->ids[i] * hidden;
        for (size_t c = begin; c < end; c++) row[c] += dx[i * hidden + c] * l->base->word_scale;
    }
}

void words_back(const gemma_learner *l, const gemma_learnt_pass *p, const float *dx)
{
    size_t hidden = l->base->config.hidden_size, n_strips = (hidden + STRIP - 1) / STRIP;
#pragma omp parallel for schedule(static)
    for (size_t strip = 0; strip < n_strips; strip++)
        add_columns(l, p, dx, strip * STRIP, size_least((strip + 1) * STRIP, hidden));
}
