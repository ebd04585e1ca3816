/* Weights from a checkpoint into packed layers.
 *
 * Names are those of transformers, with or without the prefix of a model that has a head ("bert.encoder..." or
 * "encoder..."); layer norms of checkpoints converted from TensorFlow are called gamma and beta. Rows are read a few at a
 * time and their pages given back, so that no second copy of the weights is ever in memory. */
#include "model/engine.h"

#include "base/str.h"

#include <math.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { LOAD_ROWS = 64 };

typedef struct loader {
    model *m;
    const weights *file;
    const char *prefix; /* "bert.", "mpnet." or "" */
    str name;
    float *rows;        /* [LOAD_ROWS, widest input] */
    float *bias;        /* [most outputs] */
    float *scale;       /* [most outputs] */
    finch_error *err;
} loader;

/* What the architectures call their parts; %zu is the layer. */
typedef struct load_names {
    const char *prefix;
    const char *query, *key, *value, *out, *attention_norm, *up, *down, *output_norm;
    const char *head_dense, *head_out;
} load_names;

static const load_names load_names_of[] = {
    [MODEL_BERT] = {"bert.", "attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense",
                    "attention.output.LayerNorm", "intermediate.dense", "output.dense", "output.LayerNorm", "pooler.dense",
                    "classifier"},
    [MODEL_MPNET] = {"mpnet.", "attention.attn.q", "attention.attn.k", "attention.attn.v", "attention.attn.o",
                     "attention.LayerNorm", "intermediate.dense", "output.dense", "output.LayerNorm", "classifier.dense",
                     "classifier.out_proj"},
};

size_t engine_part_width(const model_config *c) { return (c->hidden_size + KERNEL_PANEL - 1) / KERNEL_PANEL * KERNEL_PANEL; }

/* ---- names and tensors --------------------------------------------------------------------------------------------- */

static finch_status name_make(loader *l, const char *part, const char *leaf)
{
    str_clear(&l->name);
    return str_add_format(&l->name, l->err, "%s%s.%s", l->prefix, part, leaf);
}

/* Gives a read tensor's pages back to the system: the mapping is private and read-only, a later read finds the file. */
static void forget_pages(const tensor *t)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t begin = ((uintptr_t)t->data + page - 1) / page * page;
    uintptr_t end = ((uintptr_t)t->data + t->size_bytes) / page * page;
    if (begin < end) (void)madvise((void *)begin, end - begin, MADV_DONTNEED); /* a hint: nothing is lost where it fails */
}

/* Of the tensor called l->name. */
static finch_status require_finite(const loader *l, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return finch_fail(l->err, FINCH_E_DATA, "%s: %s holds a value that is not finite", weights_path(l->file),
                              l->name.at);
    return FINCH_OK;
}

static finch_status require_vector(loader *l, const char *part, const char *leaf, const char *old_leaf, size_t n, float *out)
{
    const tensor *t;
    FINCH_TRY(name_make(l, part, leaf));
    if (old_leaf != NULL && weights_find(l->file, l->name.at) == NULL) {
        FINCH_TRY(name_make(l, part, old_leaf));
        if (weights_find(l->file, l->name.at) == NULL) FINCH_TRY(name_make(l, part, leaf));
    }
    FINCH_TRY(weights_require(l->file, l->name.at, 1, &n, &t, l->err));
    FINCH_TRY(tensor_to_f32(t, out, l->err));
    return require_finite(l, out, n);
}

static finch_status load_norm(loader *l, const char *part, engine_norm *out)
{
    size_t n = l->m->config.hidden_size;
    FINCH_TRY(MEM_NEW(&out->gain, n, l->err));
    FINCH_TRY(MEM_NEW(&out->bias, n, l->err));
    FINCH_TRY(require_vector(l, part, "weight", "gamma", n, out->gain));
    return require_vector(l, part, "bias", "beta", n, out->bias);
}

/* ---- layers -------------------------------------------------------------------------------------------------------- */

static finch_status pack_from_int8(loader *l, linear *to, size_t first, const compressed_matrix *from, float factor)
{
    FINCH_TRY(compressed_scales(from, l->scale, l->err));
    linear_pack_int8(to, first, from->rows, from->weight->data, l->scale, l->bias, factor);
    return FINCH_OK;
}

static finch_status pack_from_float(loader *l, linear *to, size_t first, const compressed_matrix *from, float factor)
{
    for (size_t row = 0; row < from->rows; row += LOAD_ROWS) {
        size_t n = from->rows - row < LOAD_ROWS ? from->rows - row : LOAD_ROWS;
        FINCH_TRY(compressed_rows_to_f32(from, row, n, l->rows, l->err));
        if (linear_pack(to, first + row, n, l->rows, l->bias + row, factor, l->err) != FINCH_OK)
            return finch_fail_prefix(l->err, "%s: %s from row %zu", weights_path(l->file), l->name.at, row);
    }
    return FINCH_OK;
}

/* part's weight [rows, columns] and bias [rows] into outputs [first, first + rows), both times factor. */
static finch_status load_rows(loader *l, linear *to, size_t first, const char *part, size_t rows, size_t columns,
                              float factor)
{
    compressed_matrix from;
    FINCH_TRY(require_vector(l, part, "bias", NULL, rows, l->bias));
    FINCH_TRY(name_make(l, part, "weight"));
    FINCH_TRY(compressed_require(l->file, l->name.at, rows, columns, &from, l->err));
    if (from.weight->dtype == TENSOR_I8 && to->type == LINEAR_INT8) FINCH_TRY(pack_from_int8(l, to, first, &from, factor));
    else FINCH_TRY(pack_from_float(l, to, first, &from, factor));
    forget_pages(from.weight);
    return FINCH_OK;
}

static finch_status load_linear(loader *l, linear *to, linear_type type, const char *part, size_t rows, size_t columns)
{
    FINCH_TRY(linear_init_in(&l->m->packed, to, type, rows, columns, l->err));
    return load_rows(l, to, 0, part, rows, columns, 1.0f);
}

static linear_type layer_type(model_compute compute)
{
    switch (compute) {
    case MODEL_INT8: return LINEAR_INT8;
    case MODEL_BF16: return LINEAR_BF16;
    case MODEL_BF16X3: return LINEAR_BF16X3;
    default: return LINEAR_F32;
    }
}

/* "encoder.layer.3.attention.self.query" into part. */
static finch_status layer_part(size_t index, const char *what, str *part, finch_error *err)
{
    str_clear(part);
    return str_add_format(part, err, "encoder.layer.%zu.%s", index, what);
}

/* The adapter beside "encoder.layer.3.attention.self.query", whose weights are multiplied by factor. */
static finch_status load_pair(loader *l, const char *part, size_t rows, size_t columns, float factor, adapter_packed *out)
{
    const char *modules[2];
    model *m = l->m;
    if (m->adapter.rank == 0) return FINCH_OK;
    str_clear(&l->name);
    FINCH_TRY(str_add_format(&l->name, l->err, "%s%s", load_names_of[m->config.arch].prefix, part));
    modules[0] = l->name.at;
    modules[1] = part;
    return adapter_pack(&m->adapter, modules, 2, rows, columns, (double)factor, &m->packed, out, l->err);
}

static finch_status load_attention(loader *l, size_t index, engine_layer *to, str *part)
{
    const model_config *c = &l->m->config;
    const load_names *names = &load_names_of[c->arch];
    const char *sources[3] = {names->query, names->key, names->value};
    adapter_packed *pairs[3] = {&to->query, &to->key, &to->value};
    size_t hidden = c->hidden_size, head_width = hidden / c->n_heads, width = engine_part_width(c);
    linear_type type = layer_type(l->m->compute);
    FINCH_TRY(linear_init_in(&l->m->packed, &to->qkv, type, 2 * width + hidden, hidden, l->err));
    for (size_t i = 0; i < 3; i++) {
        float factor = i == 0 ? (float)(1.0 / sqrt((double)head_width)) : 1.0f;
        FINCH_TRY(layer_part(index, sources[i], part, l->err));
        FINCH_TRY(load_rows(l, &to->qkv, i * width, part->at, hidden, hidden, factor));
        FINCH_TRY(load_pair(l, part->at, hidden, hidden, factor, pairs[i]));
    }
    FINCH_TRY(layer_part(index, names->out, part, l->err));
    FINCH_TRY(load_linear(l, &to->out, type, part->at, hidden, hidden));
    FINCH_TRY(load_pair(l, part->at, hidden, hidden, 1.0f, &to->out_pair));
    FINCH_TRY(layer_part(index, names->attention_norm, part, l->err));
    return load_norm(l, part->at, &to->attention_norm);
}

static finch_status load_dense(loader *l, size_t index, engine_layer *to, str *part)
{
    const model_config *c = &l->m->config;
    const load_names *names = &load_names_of[c->arch];
    linear_type type = layer_type(l->m->compute);
    FINCH_TRY(layer_part(index, names->up, part, l->err));
    FINCH_TRY(load_linear(l, &to->up, type, part->at, c->intermediate_size, c->hidden_size));
    FINCH_TRY(load_pair(l, part->at, c->intermediate_size, c->hidden_size, 1.0f, &to->up_pair));
    FINCH_TRY(layer_part(index, names->down, part, l->err));
    FINCH_TRY(load_linear(l, &to->down, type, part->at, c->hidden_size, c->intermediate_size));
    FINCH_TRY(load_pair(l, part->at, c->hidden_size, c->intermediate_size, 1.0f, &to->down_pair));
    FINCH_TRY(layer_part(index, names->output_norm, part, l->err));
    return load_norm(l, part->at, &to->output_norm);
}

/* One block for all that will be packed, so that it can lie in huge pages. */
static finch_status reserve_packed(loader *l)
{
    const model_config *c = &l->m->config;
    linear_type type = layer_type(l->m->compute);
    size_t hidden = c->hidden_size, wide = c->intermediate_size, head, all;
    const size_t parts[] = {linear_room(type, 2 * engine_part_width(c) + hidden, hidden), linear_room(type, hidden, hidden),
                            linear_room(type, wide, hidden), linear_room(type, hidden, wide)};
    bool fits = size_add(linear_room(LINEAR_F32, hidden, hidden), linear_room(LINEAR_F32, c->n_labels, hidden), &head);
    size_t layer = 0;
    for (size_t i = 0; i < 4; i++) fits = fits && size_add(layer, parts[i], &layer);
    fits = fits && size_mul(layer, c->n_layers, &all) && size_add(all, head, &all);
    void *block;
    if (!fits) return finch_fail(l->err, FINCH_E_MEMORY, "%s: its weights do not fit memory", weights_path(l->file));
    FINCH_TRY(arena_alloc(&l->m->packed, all, 1, &block, l->err));
    arena_reset(&l->m->packed);
    return FINCH_OK;
}

static finch_status load_layers(loader *l)
{
    finch_status st = FINCH_OK;
    str part = {0};
    FINCH_GO(done, st, MEM_NEW(&l->m->layers, l->m->config.n_layers, l->err));
    FINCH_GO(done, st, reserve_packed(l));
    for (size_t i = 0; i < l->m->config.n_layers; i++) {
        FINCH_GO(done, st, load_attention(l, i, &l->m->layers[i], &part));
        FINCH_GO(done, st, load_dense(l, i, &l->m->layers[i], &part));
    }
done:
    str_free(&part);
    return st;
}

/* ---- embeddings, relative positions, head -------------------------------------------------------------------------- */

static finch_status load_table(loader *l, const char *part, size_t rows, size_t columns, compressed_matrix *out)
{
    FINCH_TRY(name_make(l, part, "weight"));
    return compressed_require(l->file, l->name.at, rows, columns, out, l->err);
}

static finch_status load_embeddings(loader *l)
{
    model *m = l->m;
    const model_config *c = &m->config;
    compressed_matrix positions, types;
    FINCH_TRY(load_table(l, "embeddings.word_embeddings", c->vocab_size, c->hidden_size, &m->words));
    FINCH_TRY(load_table(l, "embeddings.position_embeddings", c->n_positions, c->hidden_size, &positions));
    FINCH_TRY(MEM_NEW(&m->positions, c->n_positions * c->hidden_size, l->err));
    FINCH_TRY(compressed_to_f32(&positions, m->positions, l->err));
    FINCH_TRY(require_finite(l, m->positions, c->n_positions * c->hidden_size));
    if (c->n_types > 0) {
        FINCH_TRY(load_table(l, "embeddings.token_type_embeddings", c->n_types, c->hidden_size, &types));
        FINCH_TRY(compressed_rows_to_f32(&types, 0, 1, l->rows, l->err));
        FINCH_TRY(require_finite(l, l->rows, c->hidden_size));
        for (size_t i = 0; i < c->n_positions * c->hidden_size; i++) m->positions[i] += l->rows[i % c->hidden_size];
    }
    return load_norm(l, "embeddings.LayerNorm", &m->embedding_norm);
}

/* T5's buckets as MPNet uses them (arXiv:1910.10683): half of them for each direction, of those half exact, then in
 * logarithmic steps up to a distance of 128. In f32, as transformers computes it. */
static size_t relative_bucket(ptrdiff_t key_minus_query, size_t n_buckets)
{
    size_t half = n_buckets / 2, exact = half / 2;
    size_t base = key_minus_query > 0 ? half : 0;
    size_t distance = (size_t)(key_minus_query > 0 ? key_minus_query : -key_minus_query);
    if (distance < exact) return base + distance;
    float steps = logf((float)distance / (float)exact) / (float)log(128.0 / (double)exact) * (float)(half - exact);
    size_t bucket = exact + (size_t)steps;
    return base + (bucket < half ? bucket : half - 1);
}

static finch_status load_relative(loader *l)
{
    model *m = l->m;
    const model_config *c = &m->config;
    size_t n_tokens = model_config_max_tokens(c), row = 2 * n_tokens - 1;
    compressed_matrix from;
    if (c->n_relative_buckets == 0) return FINCH_OK;
    FINCH_TRY(load_table(l, "encoder.relative_attention_bias", c->n_relative_buckets, c->n_heads, &from));
    FINCH_TRY(MEM_NEW(&m->relative, c->n_heads * row, l->err));
    for (size_t i = 0; i < row; i++) {
        size_t bucket = relative_bucket((ptrdiff_t)i - (ptrdiff_t)(n_tokens - 1), c->n_relative_buckets);
        FINCH_TRY(compressed_rows_to_f32(&from, bucket, 1, l->rows, l->err));
        FINCH_TRY(require_finite(l, l->rows, c->n_heads));
        for (size_t head = 0; head < c->n_heads; head++) m->relative[head * row + i] = l->rows[head];
    }
    return FINCH_OK;
}

/* The head's layer called name: the adapter's, where it was trained whole, else the file's behind prefix. */
static finch_status load_head_layer(loader *l, linear *to, const char *prefix, const char *name, size_t rows)
{
    const char *own = l->prefix;
    str whole = {0};
    finch_status st = str_add_format(&whole, l->err, "%s%s.weight", prefix, name);
    bool adapted = st == FINCH_OK && l->m->adapter.rank > 0 && adapter_whole(&l->m->adapter, whole.at) != NULL;
    str_clear(&whole);
    if (st == FINCH_OK) st = str_add_format(&whole, l->err, "%s%s.bias", prefix, name);
    if (adapted && st == FINCH_OK) (void)adapter_whole(&l->m->adapter, whole.at); /* counted; its absence is found below */
    str_clear(&whole);
    if (st == FINCH_OK) st = str_add_format(&whole, l->err, "%s%s", adapted ? ADAPTER_PREFIX : "", prefix);
    l->file = adapted ? l->m->adapter.file : l->m->file;
    l->prefix = adapted ? whole.at : own[0] == '\0' || prefix[0] == '\0' ? "" : own;
    if (st == FINCH_OK) st = load_linear(l, to, LINEAR_F32, name, rows, l->m->config.hidden_size);
    l->file = l->m->file;
    l->prefix = own;
    str_free(&whole);
    return st;
}

/* BERT's pooler has the prefix, the classifiers have none. */
static finch_status load_head(loader *l)
{
    model *m = l->m;
    const model_config *c = &m->config;
    const load_names *names = &load_names_of[c->arch];
    bool bert = c->arch == MODEL_BERT;
    str_clear(&l->name);
    FINCH_TRY(str_add_format(&l->name, l->err, ADAPTER_PREFIX "%s.weight", names->head_out));
    if (weights_find(m->file, l->name.at + strlen(ADAPTER_PREFIX)) == NULL &&
        (m->adapter.rank == 0 || weights_find(m->adapter.file, l->name.at) == NULL))
        return finch_fail(l->err, FINCH_E_DATA,
                          "%s has no classification head (no tensor %s); train one first: finch train --model <folder>",
                          weights_path(m->file), l->name.at + strlen(ADAPTER_PREFIX));
    FINCH_TRY(load_head_layer(l, &m->head_dense, bert ? names->prefix : "", names->head_dense, c->hidden_size));
    if (bert) FINCH_TRY(load_pair(l, names->head_dense, c->hidden_size, c->hidden_size, 1.0f, &m->head_pair));
    return load_head_layer(l, &m->head_out, "", names->head_out, c->n_labels);
}

/* ---- the whole ----------------------------------------------------------------------------------------------------- */

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

static finch_status loader_init(loader *l, model *m, finch_error *err)
{
    const model_config *c = &m->config;
    size_t widest = larger(larger(c->hidden_size, c->intermediate_size), c->n_heads);
    *l = (loader){.m = m, .file = m->file, .prefix = load_names_of[c->arch].prefix, .err = err};
    FINCH_TRY(name_make(l, "embeddings.word_embeddings", "weight"));
    if (weights_find(l->file, l->name.at) == NULL && weights_find(l->file, l->name.at + strlen(l->prefix)) != NULL)
        l->prefix = "";
    FINCH_TRY(MEM_NEW(&l->rows, LOAD_ROWS * widest, err));
    FINCH_TRY(MEM_NEW(&l->bias, larger(widest, c->n_labels), err));
    return MEM_NEW(&l->scale, larger(widest, c->n_labels), err);
}

finch_status engine_load(model *m, finch_error *err)
{
    finch_status st = FINCH_OK;
    loader l;
    FINCH_GO(done, st, loader_init(&l, m, err));
    FINCH_GO(done, st, load_embeddings(&l));
    FINCH_GO(done, st, load_relative(&l));
    FINCH_GO(done, st, load_layers(&l));
    FINCH_GO(done, st, load_head(&l));
    if (m->adapter.rank > 0) st = adapter_all_used(&m->adapter, err);
done:
    str_free(&l.name);
    mem_free(l.rows);
    mem_free(l.bias);
    mem_free(l.scale);
    return st;
}

static void norm_free(engine_norm *n)
{
    mem_free(n->gain);
    mem_free(n->bias);
}

static void layer_free(engine_layer *layer)
{
    norm_free(&layer->attention_norm);
    norm_free(&layer->output_norm);
}

void engine_unload(model *m)
{
    if (m->layers != NULL)
        for (size_t i = 0; i < m->config.n_layers; i++) layer_free(&m->layers[i]);
    mem_free(m->layers);
    mem_free(m->positions);
    mem_free(m->relative);
    norm_free(&m->embedding_norm);
    adapter_close(&m->adapter);
    arena_free(&m->packed);
}
