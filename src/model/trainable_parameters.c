/* Every parameter of a trainable: its name in the file, its shape, its place in the one block of values, and where its
 * first values come from. One walk (layout) makes the list; the load, the optimiser and the saver go by the list. */
#include "model/trainable_internal.h"

#include "base/rng.h"

#include <stdio.h>
#include <string.h>

enum { ALIGN_ITEMS = MEM_ALIGN / sizeof(float) };

static const layer_names names_bert = {
    "bert.encoder.layer.%zu.attention.self.query",
    "bert.encoder.layer.%zu.attention.self.key",
    "bert.encoder.layer.%zu.attention.self.value",
    "bert.encoder.layer.%zu.attention.output.dense",
    "bert.encoder.layer.%zu.attention.output.LayerNorm",
    "bert.encoder.layer.%zu.intermediate.dense",
    "bert.encoder.layer.%zu.output.dense",
    "bert.encoder.layer.%zu.output.LayerNorm",
};
static const layer_names names_mpnet = {
    "mpnet.encoder.layer.%zu.attention.attn.q",    "mpnet.encoder.layer.%zu.attention.attn.k",
    "mpnet.encoder.layer.%zu.attention.attn.v",    "mpnet.encoder.layer.%zu.attention.attn.o",
    "mpnet.encoder.layer.%zu.attention.LayerNorm", "mpnet.encoder.layer.%zu.intermediate.dense",
    "mpnet.encoder.layer.%zu.output.dense",        "mpnet.encoder.layer.%zu.output.LayerNorm",
};

const layer_names *trainable_names(const model_config *c) { return c->arch == MODEL_BERT ? &names_bert : &names_mpnet; }

/* The walk runs twice: first to count (parameters is NULL), then to place. */
typedef struct walk {
    trainable *t;
    size_t n_parameters;
    size_t n_values;
    size_t layer;
    bool overflow;
} walk;

static void walk_align(walk *w) { w->n_values += (ALIGN_ITEMS - w->n_values % ALIGN_ITEMS) % ALIGN_ITEMS; }

/* rows 0: a vector of cols. Returns the place of its values. */
static size_t walk_add(walk *w, const char *stem, const char *ending, size_t rows, size_t cols, bool decay)
{
    trainable *t = w->t;
    size_t at = w->n_values, items;
    if (!size_mul(rows == 0 ? 1 : rows, cols, &items) || !size_add(w->n_values, items + ALIGN_ITEMS, &w->n_values))
        w->overflow = true;
    else w->n_values -= ALIGN_ITEMS;
    if (t->parameters != NULL) {
        char format[TRAINABLE_NAME_BYTES];
        char *name = t->names[w->n_parameters];
        const char *number = strstr(stem, "%zu");
        if (number != NULL) snprintf(format, sizeof format, "%.*s%zu%s", (int)(number - stem), stem, w->layer, number + 3);
        else snprintf(format, sizeof format, "%s", stem);
        snprintf(name, TRAINABLE_NAME_BYTES, "%.79s%.15s", format, ending);
        t->is_vector[w->n_parameters] = rows == 0;
        t->parameters[w->n_parameters] = (trainable_parameter){.name = name,
                                                               .value = t->values + at,
                                                               .grad = t->grads + at,
                                                               .rows = rows == 0 ? 1 : rows,
                                                               .cols = cols,
                                                               .decay = decay};
    }
    w->n_parameters++;
    return at;
}

static float *value_at(const trainable *t, size_t at) { return t->values == NULL ? NULL : t->values + at; }
static float *grad_at(const trainable *t, size_t at) { return t->grads == NULL ? NULL : t->grads + at; }

/* n tensors of [out, in] and their biases, each group contiguous. */
static void walk_dense(walk *w, dense *d, const char *const *stems, size_t n, size_t out, size_t in)
{
    size_t first = 0, first_bias = 0;
    walk_align(w);
    for (size_t i = 0; i < n; i++) {
        size_t at = walk_add(w, stems[i], ".weight", out, in, true);
        if (i == 0) first = at;
    }
    walk_align(w);
    for (size_t i = 0; i < n; i++) {
        size_t at = walk_add(w, stems[i], ".bias", 0, out, false);
        if (i == 0) first_bias = at;
    }
    *d = (dense){.in = in,
                 .out = n * out,
                 .w = value_at(w->t, first),
                 .dw = grad_at(w->t, first),
                 .w16 = w->t->values16 == NULL ? NULL : w->t->values16 + first,
                 .b = value_at(w->t, first_bias),
                 .db = grad_at(w->t, first_bias),
                 .n_parts = n};
}

static void walk_norm(walk *w, scale_shift *n, const char *stem, size_t width)
{
    walk_align(w);
    size_t gain = walk_add(w, stem, ".weight", 0, width, false);
    walk_align(w);
    size_t shift = walk_add(w, stem, ".bias", 0, width, false);
    *n = (scale_shift){value_at(w->t, gain), grad_at(w->t, gain), value_at(w->t, shift), grad_at(w->t, shift)};
}

static void walk_table(walk *w, table *e, const char *stem, size_t rows, size_t cols)
{
    walk_align(w);
    size_t at = walk_add(w, stem, ".weight", rows, cols, true);
    *e = (table){value_at(w->t, at), grad_at(w->t, at)};
}

static void walk_layer(walk *w, encoder_layer *layer)
{
    const model_config *c = &w->t->config;
    const layer_names *n = trainable_names(c);
    const char *const qkv[3] = {n->q, n->k, n->v};
    walk_dense(w, &layer->qkv, qkv, 3, c->hidden_size, c->hidden_size);
    walk_dense(w, &layer->out, &n->out, 1, c->hidden_size, c->hidden_size);
    walk_norm(w, &layer->norm1, n->norm1, c->hidden_size);
    walk_dense(w, &layer->up, &n->up, 1, c->intermediate_size, c->hidden_size);
    walk_dense(w, &layer->down, &n->down, 1, c->hidden_size, c->intermediate_size);
    walk_norm(w, &layer->norm2, n->norm2, c->hidden_size);
}

static void walk_head(walk *w)
{
    trainable *t = w->t;
    size_t hidden = t->config.hidden_size;
    bool bert = t->config.arch == MODEL_BERT;
    if (t->head == TRAINABLE_CLASSIFIER) {
        const char *inner = bert ? "bert.pooler.dense" : "classifier.dense";
        const char *outer = bert ? "classifier" : "classifier.out_proj";
        walk_dense(w, &t->hidden_head, &inner, 1, hidden, hidden);
        walk_dense(w, &t->output_head, &outer, 1, t->config.n_labels, hidden);
        return;
    }
    const char *inner = bert ? "cls.predictions.transform.dense" : "lm_head.dense";
    walk_dense(w, &t->hidden_head, &inner, 1, hidden, hidden);
    walk_norm(w, &t->head_norm, bert ? "cls.predictions.transform.LayerNorm" : "lm_head.layer_norm", hidden);
    walk_align(w);
    size_t bias = walk_add(w, bert ? "cls.predictions" : "lm_head", ".bias", 0, t->config.vocab_size, false);
    t->output_head = (dense){.in = hidden, .out = t->config.vocab_size, .b = value_at(t, bias), .db = grad_at(t, bias)};
}

static void walk_embeddings(walk *w)
{
    trainable *t = w->t;
    const model_config *c = &t->config;
    bool bert = c->arch == MODEL_BERT;
    walk_norm(w, &t->embedding_norm, bert ? "bert.embeddings.LayerNorm" : "mpnet.embeddings.LayerNorm", c->hidden_size);
    walk_table(w, &t->position, bert ? "bert.embeddings.position_embeddings" : "mpnet.embeddings.position_embeddings",
               c->n_positions, c->hidden_size);
    if (bert) walk_table(w, &t->type, "bert.embeddings.token_type_embeddings", c->n_types, c->hidden_size);
    if (!bert) walk_table(w, &t->relative, "mpnet.encoder.relative_attention_bias", c->n_relative_buckets, c->n_heads);
    walk_align(w);
    t->n_dense_values = w->n_values;
    walk_table(w, &t->word, bert ? "bert.embeddings.word_embeddings" : "mpnet.embeddings.word_embeddings", c->vocab_size,
               c->hidden_size);
    if (t->parameters != NULL) t->parameters[w->n_parameters - 1].sparse_rows = t->head == TRAINABLE_CLASSIFIER;
    if (t->head == TRAINABLE_MASKED_LM) {
        t->output_head.w = t->word.value;
        t->output_head.dw = t->word.grad;
        t->output_head.w16 = t->values16 == NULL ? NULL : t->values16 + t->n_dense_values;
    }
}

static walk walk_all(trainable *t)
{
    walk w = {.t = t};
    for (w.layer = 0; w.layer < t->config.n_layers; w.layer++) walk_layer(&w, &t->layers[w.layer]);
    walk_head(&w);
    walk_embeddings(&w);
    walk_align(&w);
    return w;
}

finch_status trainable_layout(trainable *t, finch_error *err)
{
    FINCH_TRY(MEM_NEW(&t->layers, t->config.n_layers, err));
    walk counted = walk_all(t);
    if (counted.overflow) return finch_fail(err, FINCH_E_MEMORY, "the model's parameters are more than memory can address");
    t->n_parameters = counted.n_parameters;
    t->n_values = counted.n_values;
    FINCH_TRY(MEM_NEW(&t->names, t->n_parameters, err));
    FINCH_TRY(MEM_NEW(&t->is_vector, t->n_parameters, err));
    FINCH_TRY(MEM_NEW(&t->values, t->n_values, err));
    FINCH_TRY(MEM_NEW(&t->grads, t->n_values, err));
    if (t->bf16) {
        t->n_values16 = t->head == TRAINABLE_MASKED_LM ? t->n_values : t->n_dense_values;
        FINCH_TRY(MEM_NEW(&t->values16, t->n_values16, err));
    }
    FINCH_TRY(MEM_NEW(&t->parameters, t->n_parameters, err));
    (void)walk_all(t);
    FINCH_TRY(MEM_NEW(&t->touched, t->config.vocab_size, err));
    return MEM_NEW(&t->is_touched, t->config.vocab_size, err);
}

/* ---- first values --------------------------------------------------------------------------------------------- */

const tensor *checkpoint_find(const weights *w, const char *name)
{
    char other[TRAINABLE_NAME_BYTES];
    const tensor *found = weights_find(w, name);
    if (found != NULL) return found;
    const char *dot = strchr(name, '.');
    bool prefixed = strncmp(name, "bert.", 5) == 0 || strncmp(name, "mpnet.", 6) == 0;
    if (prefixed && (found = weights_find(w, dot + 1)) != NULL) return found;
    const char *last = strrchr(name, '.');
    if (strstr(name, "LayerNorm") == NULL || last == NULL) return NULL;
    snprintf(other, sizeof other, "%.*s%s", (int)(last - name), name, strcmp(last, ".weight") == 0 ? ".gamma" : ".beta");
    if ((found = weights_find(w, other)) != NULL) return found;
    return prefixed ? weights_find(w, strchr(other, '.') + 1) : NULL;
}

static finch_status load_tensor(const weights *w, const tensor *found, size_t rows, size_t cols, bool vector, float *out,
                                finch_error *err)
{
    const size_t dims[2] = {vector ? cols : rows, cols};
    const tensor *checked;
    FINCH_TRY(weights_require(w, found->name, vector ? 1 : 2, dims, &checked, err));
    return tensor_to_f32(checked, out, err);
}

finch_status checkpoint_read(const weights *w, const char *name, size_t rows, size_t cols, bool vector, float *out,
                             finch_error *err)
{
    const tensor *found = checkpoint_find(w, name);
    if (found != NULL) return load_tensor(w, found, rows, cols, vector, out, err);
    return finch_fail(err, FINCH_E_DATA, "%s: tensor \"%s\" is missing; the checkpoint is not one of this model_type",
                      weights_path(w), name);
}

/* The head's own tensors: they may be missing. */
static bool in_head(const char *name)
{
    static const char *const stems[] = {"bert.pooler.", "classifier.", "cls.", "lm_head."};
    for (size_t i = 0; i < sizeof stems / sizeof stems[0]; i++)
        if (strncmp(name, stems[i], strlen(stems[i])) == 0) return true;
    return false;
}

static bool in_classifier(const char *name) { return strncmp(name, "classifier.", 11) == 0; }

void parameter_draw(uint64_t seed, size_t index, bool vector, size_t n, float *out)
{
    enum { STREAM_INIT = 0x1717 };
    rng r = {.seed = seed, .stream = ((uint64_t)STREAM_INIT << 32) + index};
    for (size_t i = 0; i < n; i++) out[i] = vector ? 0.0f : (float)(0.02 * rng_normal(&r));
}

static void draw(trainable *t, size_t index)
{
    const trainable_parameter *p = &t->parameters[index];
    bool norm = strstr(p->name, "LayerNorm") != NULL || strstr(p->name, "layer_norm") != NULL;
    parameter_draw(t->seed, index, t->is_vector[index], p->rows * p->cols, p->value);
    if (!norm || strstr(p->name, ".weight") == NULL) return;
    for (size_t i = 0; i < p->cols; i++) p->value[i] = 1.0f;
}

/* Tensors of the checkpoint that a classifier made from this folder later will want. */
static finch_status carry_pooler(trainable *t, const weights *w, finch_error *err)
{
    static const char *const names[TRAINABLE_CARRIED_MAX] = {"bert.pooler.dense.weight", "bert.pooler.dense.bias"};
    size_t hidden = t->config.hidden_size;
    if (t->config.arch != MODEL_BERT || t->head != TRAINABLE_MASKED_LM) return FINCH_OK;
    if (checkpoint_find(w, names[0]) == NULL || checkpoint_find(w, names[1]) == NULL) return FINCH_OK;
    for (size_t i = 0; i < TRAINABLE_CARRIED_MAX; i++) {
        carried_tensor *c = &t->carried[i];
        bool vector = i == 1;
        snprintf(c->name, sizeof c->name, "%s", names[i]);
        c->rows = vector ? 0 : hidden;
        c->cols = hidden;
        FINCH_TRY(mem_alloc(vector ? hidden : hidden * hidden, sizeof *c->value, (void **)&c->value, err));
        t->n_carried = i + 1;
        FINCH_TRY(load_tensor(w, checkpoint_find(w, names[i]), hidden, hidden, vector, c->value, err));
    }
    return FINCH_OK;
}

finch_status trainable_load(trainable *t, const weights *w, bool keep_head, finch_error *err)
{
    for (size_t i = 0; i < t->n_parameters; i++) {
        const trainable_parameter *p = &t->parameters[i];
        const tensor *found = checkpoint_find(w, p->name);
        bool replaced = in_classifier(p->name) && !keep_head;
        if (found != NULL && !replaced) {
            FINCH_TRY(load_tensor(w, found, p->rows, p->cols, t->is_vector[i], p->value, err));
        } else if (in_head(p->name)) {
            draw(t, i);
            t->head_is_new = t->head_is_new || strncmp(p->name, "bert.pooler.", 12) != 0;
        } else {
            FINCH_TRY(checkpoint_read(w, p->name, p->rows, p->cols, t->is_vector[i], p->value, err));
        }
    }
    return carry_pooler(t, w, err);
}
