/* A BERT or MPNet that does not learn, and what learns beside it: adapters at linear layers, and the classifier.
 *
 * Matrices and word embeddings stay in their file whatever their type. Biases, norms, positions, relative bias and BERT's pooler,
 * which every format keeps as floats and which are small, lie in one block. */
#include "model/adapter.h"
#include "model/trainable_internal.h"

#include <stdio.h>
#include <string.h>

/* ---- what there is --------------------------------------------------------------------------------------------- */

/* Where a linear layer is, by its site. */
typedef struct site_place {
    const char *name; /* with %zu for the layer */
    size_t rows, columns;
} site_place;

static void places_of(const trainable *t, site_place places[ADAPTER_LAYER_SITES])
{
    const model_config *c = &t->config;
    const layer_names *n = trainable_names(c);
    size_t hidden = c->hidden_size, inner = c->intermediate_size;
    places[ADAPTER_QUERY] = (site_place){n->q, hidden, hidden};
    places[ADAPTER_KEY] = (site_place){n->k, hidden, hidden};
    places[ADAPTER_VALUE] = (site_place){n->v, hidden, hidden};
    places[ADAPTER_OUT] = (site_place){n->out, hidden, hidden};
    places[ADAPTER_UP] = (site_place){n->up, inner, hidden};
    places[ADAPTER_DOWN] = (site_place){n->down, hidden, inner};
}

static void tensor_name(char *out, const char *stem, size_t layer, const char *ending)
{
    const char *number = strstr(stem, "%zu");
    if (number == NULL) snprintf(out, TRAINABLE_NAME_BYTES, "%s%s", stem, ending);
    else snprintf(out, TRAINABLE_NAME_BYTES, "%.*s%zu%s%s", (int)(number - stem), stem, layer, number + 3, ending);
}

static const char pooler_name[] = "bert.pooler.dense";

/* Which of the sites the options name. MPNet's dense layer belongs to its classifier, which is trained whole. */
static finch_status choose_sites(trainable *t, bool used[ADAPTER_SITES], finch_error *err)
{
    site_place places[ADAPTER_LAYER_SITES];
    const char *modules[ADAPTER_SITES];
    bool bert = t->config.arch == MODEL_BERT;
    size_t n = bert ? ADAPTER_SITES : ADAPTER_LAYER_SITES;
    places_of(t, places);
    for (size_t i = 0; i < ADAPTER_LAYER_SITES; i++) modules[i] = places[i].name;
    modules[ADAPTER_POOLER] = pooler_name;
    FINCH_TRY(lora_options_check(&t->lora, modules, n,
                                 bert ? "query, key, value, attention.output.dense, intermediate.dense, output.dense, "
                                        "pooler.dense and dense, which is all of the last four"
                                      : "q, k, v, o, intermediate.dense and output.dense",
                                 err));
    if (!bert && lora_targets_has(t->lora.targets, "classifier.dense") && strcmp(t->lora.targets, LORA_ALL_LINEAR) != 0)
        return finch_fail(err, FINCH_E_USAGE,
                          "the target \"dense\" is the classifier's too, which learns whole; name intermediate.dense and "
                          "output.dense");
    for (size_t i = 0; i < ADAPTER_SITES; i++) used[i] = i < n && lora_targets_has(t->lora.targets, modules[i]);
    used[ADAPTER_POOLER] = used[ADAPTER_POOLER] && !t->trains_pooler;
    return FINCH_OK;
}

/* ---- what learns ----------------------------------------------------------------------------------------------- */

/* The walk runs twice: first to list the tensors, then, when they are placed, to tell their owners where they are. */
typedef struct walk {
    trainable *t;
    bool placed;
    size_t n;
} walk;

static void walk_tensor(walk *w, const char *stem, size_t layer, const char *ending, size_t rows, size_t cols, bool vector,
                        float **value, float **grad)
{
    trainable *t = w->t;
    size_t i = w->n++;
    if (w->placed) {
        *value = t->parameters[i].value;
        *grad = t->parameters[i].grad;
        return;
    }
    char name[TRAINABLE_NAME_BYTES];
    tensor_name(name, stem, layer, ending);
    snprintf(t->names[i], TRAINABLE_NAME_BYTES, ADAPTER_PREFIX "%.70s", name);
    t->is_vector[i] = vector;
    t->parameters[i] = (trainable_parameter){.name = t->names[i], .rows = rows, .cols = cols, .decay = !vector};
}

static void walk_pair(walk *w, lora_pair *pair, const char *stem, size_t layer, size_t rows, size_t columns)
{
    pair->used = true;
    pair->in = columns;
    pair->out = rows;
    walk_tensor(w, stem, layer, ".lora_A.weight", w->t->setup.rank, columns, false, &pair->a, &pair->da);
    walk_tensor(w, stem, layer, ".lora_B.weight", rows, w->t->setup.rank, false, &pair->b, &pair->db);
}

static void walk_whole(walk *w, dense *d, const char *stem, size_t out)
{
    size_t hidden = w->t->config.hidden_size;
    d->in = hidden;
    d->out = out;
    d->n_parts = 1;
    walk_tensor(w, stem, 0, ".weight", out, hidden, false, &d->w, &d->dw);
    walk_tensor(w, stem, 0, ".bias", 1, out, true, &d->b, &d->db);
}

static void walk_all(walk *w, const bool used[ADAPTER_SITES])
{
    trainable *t = w->t;
    size_t hidden = t->config.hidden_size;
    bool bert = t->config.arch == MODEL_BERT;
    site_place places[ADAPTER_LAYER_SITES];
    places_of(t, places);
    for (size_t layer = 0; layer < t->config.n_layers; layer++)
        for (size_t i = 0; i < ADAPTER_LAYER_SITES; i++)
            if (used[i])
                walk_pair(w, &t->frozen_parts[layer * ADAPTER_LAYER_SITES + i].pair, places[i].name, layer, places[i].rows,
                          places[i].columns);
    if (used[ADAPTER_POOLER]) walk_pair(w, &t->pooler, pooler_name, 0, hidden, hidden);
    if (!bert || t->trains_pooler) walk_whole(w, &t->hidden_head, bert ? pooler_name : "classifier.dense", hidden);
    walk_whole(w, &t->output_head, bert ? "classifier" : "classifier.out_proj", t->config.n_labels);
}

finch_status parameters_place(trainable *t, finch_error *err)
{
    enum { ALIGN_ITEMS = MEM_ALIGN / sizeof(float) };
    for (size_t i = 0; i < t->n_parameters; i++) {
        const trainable_parameter *p = &t->parameters[i];
        t->n_values += (p->rows * p->cols + ALIGN_ITEMS - 1) / ALIGN_ITEMS * ALIGN_ITEMS;
        if (!p->sparse_rows) t->n_dense_values = t->n_values;
    }
    FINCH_TRY(MEM_NEW(&t->values, t->n_values, err));
    FINCH_TRY(MEM_NEW(&t->grads, t->n_dense_values, err));
    FINCH_TRY(mem_alloc_sparse(t->n_values - t->n_dense_values, sizeof *t->word_grads, (void **)&t->word_grads, err));
    for (size_t i = 0, at = 0; i < t->n_parameters; i++) {
        trainable_parameter *p = &t->parameters[i];
        p->value = t->values + at;
        p->grad = p->sparse_rows ? t->word_grads : t->grads + at;
        at += (p->rows * p->cols + ALIGN_ITEMS - 1) / ALIGN_ITEMS * ALIGN_ITEMS;
    }
    return FINCH_OK;
}

static finch_status lay_out_learnt(trainable *t, finch_error *err)
{
    bool used[ADAPTER_SITES];
    size_t most = t->config.n_layers * ADAPTER_LAYER_SITES * 2 + 6;
    FINCH_TRY(choose_sites(t, used, err));
    FINCH_TRY(MEM_NEW(&t->names, most, err));
    FINCH_TRY(MEM_NEW(&t->is_vector, most, err));
    FINCH_TRY(MEM_NEW(&t->parameters, most, err));
    walk w = {.t = t};
    walk_all(&w, used);
    t->n_parameters = w.n;
    FINCH_TRY(parameters_place(t, err));
    w = (walk){.t = t, .placed = true};
    walk_all(&w, used);
    bool in_layers = false;
    for (size_t i = 0; i < ADAPTER_LAYER_SITES; i++) in_layers = in_layers || used[i];
    t->lowest = in_layers ? 0 : t->config.n_layers;
    return FINCH_OK;
}

/* ---- what does not --------------------------------------------------------------------------------------------- */

/* Small tensors of the file into the one block, one behind another. */
typedef struct taker {
    trainable *t;
    size_t at;
    finch_error *err;
} taker;

static finch_status take(taker *k, const char *stem, size_t layer, const char *ending, size_t rows, size_t cols, float **out)
{
    char name[TRAINABLE_NAME_BYTES];
    tensor_name(name, stem, layer, ending);
    *out = k->t->frozen_values + k->at;
    k->at += (rows == 0 ? 1 : rows) * cols;
    return checkpoint_read(k->t->frozen, name, rows, cols, rows == 0, *out, k->err);
}

static finch_status take_norm(taker *k, const char *stem, size_t layer, scale_shift *out)
{
    size_t hidden = k->t->config.hidden_size;
    FINCH_TRY(take(k, stem, layer, ".weight", 0, hidden, &out->gain));
    return take(k, stem, layer, ".bias", 0, hidden, &out->shift);
}

static finch_status take_matrix(const trainable *t, const char *stem, size_t layer, size_t rows, size_t columns,
                                stored_matrix *out, finch_error *err)
{
    char name[TRAINABLE_NAME_BYTES];
    tensor_name(name, stem, layer, ".weight");
    const tensor *found = checkpoint_find(t->frozen, name);
    return stored_from_weights(t->frozen, found != NULL ? found->name : name, rows, columns, out, err);
}

/* The layer of n_parts sites from `first` on; its biases lie one behind another, as its outputs do. */
static finch_status take_dense(taker *k, size_t layer, adapter_site first, size_t n_parts, const site_place *places,
                               dense *out)
{
    trainable *t = k->t;
    frozen_part *parts = &t->frozen_parts[layer * ADAPTER_LAYER_SITES + first];
    *out = (dense){.in = places[first].columns,
                   .out = n_parts * places[first].rows,
                   .frozen = parts,
                   .n_parts = n_parts,
                   .site = first};
    for (size_t i = 0; i < n_parts; i++) {
        const site_place *place = &places[first + i];
        float *bias;
        FINCH_TRY(take_matrix(t, place->name, layer, place->rows, place->columns, &parts[i].weight, k->err));
        FINCH_TRY(take(k, place->name, layer, ".bias", 0, place->rows, &bias));
        if (i == 0) out->b = bias;
    }
    return FINCH_OK;
}

static finch_status take_layers(taker *k)
{
    trainable *t = k->t;
    const layer_names *names = trainable_names(&t->config);
    site_place places[ADAPTER_LAYER_SITES];
    places_of(t, places);
    for (size_t i = 0; i < t->config.n_layers; i++) {
        encoder_layer *layer = &t->layers[i];
        FINCH_TRY(take_dense(k, i, ADAPTER_QUERY, 3, places, &layer->qkv));
        FINCH_TRY(take_dense(k, i, ADAPTER_OUT, 1, places, &layer->out));
        FINCH_TRY(take_dense(k, i, ADAPTER_UP, 1, places, &layer->up));
        FINCH_TRY(take_dense(k, i, ADAPTER_DOWN, 1, places, &layer->down));
        FINCH_TRY(take_norm(k, names->norm1, i, &layer->norm1));
        FINCH_TRY(take_norm(k, names->norm2, i, &layer->norm2));
    }
    return FINCH_OK;
}

static finch_status take_rest(taker *k)
{
    trainable *t = k->t;
    const model_config *c = &t->config;
    size_t hidden = c->hidden_size;
    bool bert = c->arch == MODEL_BERT;
    FINCH_TRY(take_norm(k, bert ? "bert.embeddings.LayerNorm" : "mpnet.embeddings.LayerNorm", 0, &t->embedding_norm));
    FINCH_TRY(take(k, bert ? "bert.embeddings.position_embeddings" : "mpnet.embeddings.position_embeddings", 0, ".weight",
                   c->n_positions, hidden, &t->position.value));
    if (bert) FINCH_TRY(take(k, "bert.embeddings.token_type_embeddings", 0, ".weight", c->n_types, hidden, &t->type.value));
    else
        FINCH_TRY(take(k, "mpnet.encoder.relative_attention_bias", 0, ".weight", c->n_relative_buckets, c->n_heads,
                       &t->relative.value));
    if (bert && !t->trains_pooler) {
        t->hidden_head = (dense){.in = hidden, .out = hidden, .n_parts = 1};
        FINCH_TRY(take(k, pooler_name, 0, ".weight", hidden, hidden, &t->hidden_head.w));
        FINCH_TRY(take(k, pooler_name, 0, ".bias", 0, hidden, &t->hidden_head.b));
    }
    return take_matrix(t, bert ? "bert.embeddings.word_embeddings" : "mpnet.embeddings.word_embeddings", 0, c->vocab_size,
                       hidden, &t->words, k->err);
}

static size_t small_items(const trainable *t)
{
    const model_config *c = &t->config;
    size_t hidden = c->hidden_size, layer = 9 * hidden + c->intermediate_size; /* biases of six layers, two norms */
    size_t tables = (c->n_positions + c->n_types) * hidden + c->n_relative_buckets * c->n_heads;
    return c->n_layers * layer + tables + 2 * hidden + (hidden + 1) * hidden;
}

/* ---- the whole ------------------------------------------------------------------------------------------------- */

finch_status frozen_layout(trainable *t, const char *folder, finch_error *err)
{
    taker k = {.t = t, .err = err};
    FINCH_TRY(weights_open(folder, &t->frozen, err));
    t->setup = lora_setup_of(&t->lora);
    t->trains_pooler = t->config.arch == MODEL_BERT && checkpoint_find(t->frozen, "bert.pooler.dense.weight") == NULL;
    FINCH_TRY(MEM_NEW(&t->layers, t->config.n_layers, err));
    FINCH_TRY(MEM_NEW(&t->frozen_parts, t->config.n_layers * ADAPTER_LAYER_SITES, err));
    FINCH_TRY(MEM_NEW(&t->frozen_values, small_items(t), err));
    FINCH_TRY(lay_out_learnt(t, err));
    FINCH_TRY(take_layers(&k));
    return take_rest(&k);
}

/* A tensor of the classifier: the file's, or a new one where it has none of these classes. */
static finch_status load_whole(trainable *t, size_t i, bool keep_head, finch_error *err)
{
    const trainable_parameter *p = &t->parameters[i];
    const char *name = p->name + strlen(ADAPTER_PREFIX);
    if (keep_head && checkpoint_find(t->frozen, name) != NULL)
        return checkpoint_read(t->frozen, name, p->rows, p->cols, t->is_vector[i], p->value, err);
    parameter_draw(t->seed, i, t->is_vector[i], p->rows * p->cols, p->value);
    t->head_is_new = true;
    return FINCH_OK;
}

finch_status frozen_load(trainable *t, bool keep_head, finch_error *err)
{
    size_t n = 0;
    for (size_t i = 0; i < t->config.n_layers * ADAPTER_LAYER_SITES; i++) {
        if (!t->frozen_parts[i].pair.used) continue;
        lora_draw(&t->setup, &t->frozen_parts[i].pair, t->seed, n);
        n += 2;
    }
    if (t->pooler.used) lora_draw(&t->setup, &t->pooler, t->seed, n), n += 2;
    for (; n < t->n_parameters; n++) FINCH_TRY(load_whole(t, n, keep_head, err));
    return FINCH_OK;
}

void frozen_free(trainable *t)
{
    mem_free(t->frozen_parts);
    mem_free(t->frozen_values);
    weights_close(t->frozen);
}
