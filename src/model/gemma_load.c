/* A Gemma's weights: found under the names of either kind of file, checked, and packed where the compute type asks for it.
 *
 * Hugging Face files have one of several prefixes, by the class that saved them; the one under which the embedding is found
 * holds for all. Their norms lack the one that Gemma adds; GGUF's have it. */
#include "model/gemma_adapter.h"
#include "model/gemma_internal.h"

#include "base/file.h"
#include "base/str.h"
#include "tensor/tensor.h"

#include <math.h>
#include <string.h>

typedef struct loader {
    gemma *g;
    const char *prefix; /* "model." or another; of Hugging Face files */
    str name;
    finch_error *err;
} loader;

size_t gemma_width_of(const gemma_config *c, gemma_width width)
{
    switch (width) {
    case GEMMA_HIDDEN: return c->hidden_size;
    case GEMMA_WIDE: return c->intermediate_size;
    case GEMMA_QUERIES: return c->n_heads * c->head_width;
    case GEMMA_KEYS: return c->n_key_heads * c->head_width;
    default: return c->head_width;
    }
}

/* ---- names ---------------------------------------------------------------------------------------------------- */

static finch_status name_of_layer(loader *l, size_t layer, const char *hub, const char *gguf_name)
{
    str_clear(&l->name);
    if (l->g->blocks != NULL) return str_add_format(&l->name, l->err, "blk.%zu.%s.weight", layer, gguf_name);
    return str_add_format(&l->name, l->err, "%slayers.%zu.%s.weight", l->prefix, layer, hub);
}

static finch_status name_of(loader *l, const char *hub, const char *gguf_name)
{
    str_clear(&l->name);
    if (l->g->blocks != NULL) return str_add_format(&l->name, l->err, "%s.weight", gguf_name);
    return str_add_format(&l->name, l->err, "%s%s.weight", l->prefix, hub);
}

static finch_status find_prefix(loader *l)
{
    static const char *const known[] = {"", "model.language_model.", "language_model.model.", "language_model.", "model."};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        l->prefix = known[i];
        FINCH_TRY(name_of(l, "embed_tokens", ""));
        if (weights_find(l->g->file, l->name.at) != NULL) return FINCH_OK;
    }
    return FINCH_OK; /* the last one: the message about what is missing names it */
}

/* ---- tensors -------------------------------------------------------------------------------------------------- */

/* The matrix called l->name. */
static finch_status find_matrix(loader *l, size_t rows, size_t columns, stored_matrix *out)
{
    if (l->g->blocks != NULL) return stored_from_gguf(l->g->blocks, l->g->path, l->name.at, rows, columns, out, l->err);
    return stored_from_weights(l->g->file, l->name.at, rows, columns, out, l->err);
}

static finch_status read_vector(loader *l, size_t n, float *out)
{
    const tensor *t;
    if (l->g->blocks == NULL) {
        FINCH_TRY(weights_require(l->g->file, l->name.at, 1, &n, &t, l->err));
        return tensor_to_f32(t, out, l->err);
    }
    const gguf_tensor *found = gguf_find(l->g->blocks, l->name.at);
    if (found == NULL) return finch_fail(l->err, FINCH_E_DATA, "%s: the tensor %s is missing", l->g->path, l->name.at);
    if (found->n_dims != 1 || found->dims[0] != n)
        return finch_fail(l->err, FINCH_E_DATA, "%s: the tensor %s has not the shape [%zu]", l->g->path, l->name.at, n);
    return gguf_to_f32(found, 0, n, out, l->err);
}

/* The gain called l->name, times factor. */
static finch_status load_norm(loader *l, size_t n, float factor, float **out)
{
    FINCH_TRY(ARENA_NEW(&l->g->memory, out, n, l->err));
    FINCH_TRY(read_vector(l, n, *out));
    for (size_t i = 0; i < n; i++) {
        float gain = l->g->blocks != NULL ? (*out)[i] : 1.0f + (*out)[i];
        if (!isfinite(gain))
            return finch_fail(l->err, FINCH_E_DATA, "%s: %s holds a value that is not finite", l->g->path, l->name.at);
        (*out)[i] = gain * factor;
    }
    return FINCH_OK;
}

static bool packed_type(model_compute compute, linear_type *out)
{
    *out = compute == MODEL_BF16 ? LINEAR_BF16 : LINEAR_BF16X3;
    return compute == MODEL_BF16 || compute == MODEL_BF16X3;
}

static finch_status pack_matrix(loader *l, linear_type type, gemma_matrix *to)
{
    FINCH_TRY(linear_init_in(&l->g->memory, &to->packed, type, to->stored.rows, to->stored.columns, l->err));
    return stored_pack(&to->stored, &to->packed, 0, l->err);
}

static finch_status load_matrix(loader *l, size_t rows, size_t columns, gemma_matrix *out)
{
    finch_status st = FINCH_OK;
    linear_type type;
    FINCH_TRY(find_matrix(l, rows, columns, &out->stored));
    if (packed_type(l->g->compute, &type)) st = pack_matrix(l, type, out);
    else if (l->g->compute == MODEL_INT8 && !blocks_fit(&out->stored))
        st = blocks_from_floats(&l->g->memory, &out->stored, &out->stored, l->err);
    l->g->needs_parts |= l->g->compute == MODEL_INT8 && blocks_need_parts(&out->stored);
    return st == FINCH_OK ? st : finch_fail_prefix(l->err, "%s: %s", l->g->path, l->name.at);
}

/* ---- layers --------------------------------------------------------------------------------------------------- */

static finch_status load_layer(loader *l, size_t index, gemma_layer *to)
{
    const gemma_config *c = &l->g->config;
#define LOAD_MATRIX(name, hub, gguf_name, outputs, inputs) \
    FINCH_TRY(name_of_layer(l, index, hub, gguf_name));    \
    FINCH_TRY(load_matrix(l, gemma_width_of(c, outputs), gemma_width_of(c, inputs), &to->name));
    GEMMA_MATRIX_LIST(LOAD_MATRIX)
#undef LOAD_MATRIX
#define LOAD_NORM(name, hub, gguf_name, width)          \
    FINCH_TRY(name_of_layer(l, index, hub, gguf_name)); \
    FINCH_TRY(load_norm(l, gemma_width_of(c, width), 1.0f, &to->name));
    GEMMA_NORM_LIST(LOAD_NORM)
#undef LOAD_NORM
    for (size_t i = 0; i < c->head_width; i++) to->query_norm[i] *= c->query_scale;
    return FINCH_OK;
}

/* One block for all that will be packed, so that it can lie in huge pages. */
static finch_status reserve(loader *l)
{
    const gemma_config *c = &l->g->config;
    linear_type type;
    size_t layer = 0, all;
    bool fits = true;
    void *block;
    if (!packed_type(l->g->compute, &type)) return FINCH_OK;
#define ADD_ROOM(name, hub, gguf_name, outputs, inputs) \
    fits = fits && size_add(layer, linear_room(type, gemma_width_of(c, outputs), gemma_width_of(c, inputs)), &layer);
    GEMMA_MATRIX_LIST(ADD_ROOM)
#undef ADD_ROOM
    if (!fits || !size_mul(layer, c->n_layers, &all))
        return finch_fail(l->err, FINCH_E_MEMORY, "%s: its weights do not fit memory", l->g->path);
    FINCH_TRY(arena_alloc(&l->g->memory, all, 1, &block, l->err));
    arena_reset(&l->g->memory);
    return FINCH_OK;
}

static finch_status load_layers(loader *l)
{
    gemma *g = l->g;
    FINCH_TRY(reserve(l));
    FINCH_TRY(ARENA_NEW(&g->memory, &g->layers, g->config.n_layers, l->err));
    memset(g->layers, 0, g->config.n_layers * sizeof *g->layers);
    for (size_t i = 0; i < g->config.n_layers; i++) FINCH_TRY(load_layer(l, i, &g->layers[i]));
    return FINCH_OK;
}

/* ---- the ends ------------------------------------------------------------------------------------------------- */

/* The output's weights where the file has its own, else the embedding's. */
static finch_status load_vocabulary(loader *l)
{
    gemma *g = l->g;
    bool own;
    g->vocabulary = g->words;
    if (g->blocks != NULL) {
        FINCH_TRY(name_of(l, "", "output"));
        own = gguf_find(g->blocks, l->name.at) != NULL;
    } else {
        str_clear(&l->name);
        FINCH_TRY(str_add_text(&l->name, "lm_head.weight", l->err));
        own = weights_find(g->file, l->name.at) != NULL;
    }
    return own ? find_matrix(l, g->config.vocab_size, g->config.hidden_size, &g->vocabulary) : FINCH_OK;
}

static finch_status load_score(loader *l)
{
    static const char name[] = "score.weight";
    gemma *g = l->g;
    const tensor *t = g->blocks == NULL ? weights_find(g->file, name) : NULL;
    if (t == NULL) return FINCH_OK;
    if (t->n_dims != 2 || t->dims[0] == 0 || t->dims[0] > MODEL_LABELS_MAX)
        return finch_fail(l->err, FINCH_E_DATA, "%s: the tensor %s is not of 1 to %d rows", g->path, name, MODEL_LABELS_MAX);
    return stored_from_weights(g->file, name, t->dims[0], g->config.hidden_size, &g->score, l->err);
}

static finch_status load_ends(loader *l)
{
    gemma *g = l->g;
    FINCH_TRY(name_of(l, "embed_tokens", "token_embd"));
    FINCH_TRY(find_matrix(l, g->config.vocab_size, g->config.hidden_size, &g->words));
    FINCH_TRY(name_of(l, "norm", "output_norm"));
    FINCH_TRY(load_norm(l, g->config.hidden_size, 1.0f, &g->last_norm));
    g->word_scale = (float)sqrt((double)g->config.hidden_size);
    if (g->compute == MODEL_BF16) {
        uint16_t rounded;
        tensor_bf16_from_f32(&g->word_scale, &rounded, 1);
        tensor_f32_from_bf16(&rounded, &g->word_scale, 1);
    }
    FINCH_TRY(load_vocabulary(l));
    return load_score(l);
}

finch_status gemma_load(gemma *g, finch_error *err)
{
    finch_status st = FINCH_OK;
    loader l = {.g = g, .err = err};
    if (g->file != NULL) FINCH_GO(done, st, find_prefix(&l));
    FINCH_GO(done, st, load_layers(&l));
    st = load_ends(&l);
done:
    str_free(&l.name);
    return st;
}

/* ---- opening -------------------------------------------------------------------------------------------------- */

static finch_status open_folder(gemma *g, const char *folder, bool *is_int8, finch_error *err)
{
    finch_status st = FINCH_OK;
    str path = {0};
    json_t *root = NULL;
    FINCH_GO(done, st, file_join(folder, "config.json", &path, err));
    FINCH_GO(done, st, json_parse_file(path.at, &root, err));
    FINCH_GO(done, st, gemma_config_from_json(root, path.at, &g->config, err));
    FINCH_GO(done, st, compressed_config_check(root, path.at, is_int8, err));
    st = weights_open(folder, &g->file, err);
done:
    json_decref(root);
    str_free(&path);
    return st;
}

static finch_status open_blocks(gemma *g, const char *path, finch_error *err)
{
    FINCH_TRY(gguf_open(path, &g->blocks, err));
    return gemma_config_from_gguf(g->blocks, path, &g->config, err);
}

/* Whether a GGUF file's products are with whole numbers: those of the first layer tell. */
static bool has_blocks(const gemma *g)
{
    const gguf_tensor *t = g->blocks == NULL ? NULL : gguf_find(g->blocks, "blk.0.attn_q.weight");
    return t != NULL && blocks_fit(&(stored_matrix){.blocks = t});
}

static finch_status open_base(gemma *g, const char *path, model_compute compute, bool adapted, finch_error *err)
{
    bool is_int8 = false;
    FINCH_TRY(file_is_directory(path) ? open_folder(g, path, &is_int8, err) : open_blocks(g, path, err));
    g->compute = compute != MODEL_AUTO ? compute : is_int8 || (!adapted && has_blocks(g)) ? MODEL_INT8 : MODEL_F32;
    g->products = ops_choose();
    g->rows = decoder_ops_get();
    g->integers = block_ops_get();
    return gemma_load(g, err);
}

/* base: of adapters; NULL where the path is a model of its own. */
static finch_status open_with(const char *path, const char *base, model_compute compute, gemma **out, finch_error *err)
{
    finch_status st;
    gemma *g;
    *out = NULL;
    FINCH_TRY(MEM_NEW(&g, 1, err));
    arena_init(&g->memory);
    FINCH_GO(done, st, mem_text(path, strlen(path), &g->path, err));
    FINCH_GO(done, st, open_base(g, base != NULL ? base : path, compute, base != NULL, err));
    if (base != NULL) FINCH_GO(done, st, gemma_adapter_attach(g, path, err));
    if (base != NULL) st = gemma_adapter_verify(g, path, err);
done:
    if (st == FINCH_OK) *out = g;
    else gemma_close(g);
    return st;
}

finch_status gemma_open_adapted(const char *folder, const char *base, model_compute compute, gemma **out, finch_error *err)
{
    return open_with(folder, base, compute, out, err);
}

finch_status gemma_open(const char *path, model_compute compute, gemma **out, finch_error *err)
{
    str base = {0};
    *out = NULL;
    if (!adapter_is(path)) return open_with(path, NULL, compute, out, err);
    finch_status st = adapter_base(path, &base, err);
    if (st == FINCH_OK) st = open_with(path, base.at, compute, out, err);
    str_free(&base);
    return st;
}

void gemma_close(gemma *g)
{
    if (g == NULL) return;
    adapter_close(&g->adapter);
    weights_close(g->file);
    gguf_close(g->blocks);
    arena_free(&g->memory);
    mem_free(g->path);
    mem_free(g);
}

const char *gemma_path(const gemma *g) { return g->path; }

const gemma_config *gemma_get_config(const gemma *g) { return &g->config; }

model_compute gemma_get_compute(const gemma *g) { return g->compute; }

size_t gemma_n_classes(const gemma *g) { return g->score.rows; }
