#include "model/gemma_adapter.h"

#include "base/file.h"
#include "base/siphash.h"
#include "model/gemma_internal.h"
#include "model/lora.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* How far a probe's logits may be from what they were, as a part of the largest: rounding in f32, quantisation elsewhere. */
#define PROBE_F32_MAX 1e-3f
#define PROBE_OTHER_MAX 0.35f

bool gemma_adapter_is(const char *folder)
{
    str path = {0};
    bool is = file_join(folder, GEMMA_ADAPTER_CONFIG, &path, NULL) == FINCH_OK && file_exists(path.at);
    str_free(&path);
    return is;
}

static finch_status read_json(const char *folder, const char *name, str *path, json_t **out, finch_error *err)
{
    FINCH_TRY(file_join(folder, name, path, err));
    return json_parse_file(path->at, out, err);
}

finch_status gemma_adapter_base(const char *folder, str *out, finch_error *err)
{
    str path = {0};
    json_t *root = NULL;
    const char *base;
    finch_status st = read_json(folder, GEMMA_ADAPTER_CONFIG, &path, &root, err);
    if (st == FINCH_OK) st = json_get_text(root, path.at, "base_model_name_or_path", &base, err);
    if (st == FINCH_OK && !file_exists(base))
        st = finch_fail(err, FINCH_E_NOT_FOUND,
                        "%s: the base %s is not there; set \"base_model_name_or_path\" to where the model is", path.at,
                        base);
    if (st == FINCH_OK) st = str_add_text(out, base, err);
    json_decref(root);
    str_free(&path);
    return st;
}

/* ---- attaching ------------------------------------------------------------------------------------------------- */

typedef struct attaching {
    gemma *g;
    const char *path; /* of adapter_config.json */
    size_t rank;
    double scale;
    str name;
    size_t n_used; /* tensors of the file */
    finch_error *err;
} attaching;

static bool is_set(const json_t *root, const char *key)
{
    const json_t *value = json_object_get(root, key);
    return value != NULL && !json_is_null(value) && !json_is_false(value) &&
           json_object_size(value) + json_array_size(value) > 0;
}

static finch_status read_config(attaching *a, const json_t *root)
{
    static const char *const foreign[] = {"rank_pattern", "alpha_pattern", "layer_replication"};
    static const char *const switches[] = {"use_dora", "use_rslora", "fan_in_fan_out"};
    const char *type, *bias = "none";
    double alpha;
    FINCH_TRY(json_get_text(root, a->path, "peft_type", &type, a->err));
    if (json_has(root, "bias")) FINCH_TRY(json_get_text(root, a->path, "bias", &bias, a->err));
    if (strcmp(type, "LORA") != 0 || strcmp(bias, "none") != 0)
        return finch_fail(a->err, FINCH_E_UNSUPPORTED,
                          "%s: \"peft_type\" is \"%.40s\" and \"bias\" \"%.40s\"; finch has LORA and none", a->path, type,
                          bias);
    for (size_t i = 0; i < 3; i++)
        if (is_set(root, foreign[i]) || json_is_true(json_object_get(root, switches[i])))
            return finch_fail(a->err, FINCH_E_UNSUPPORTED, "%s: \"%s\" is set, which finch does not have", a->path,
                              is_set(root, foreign[i]) ? foreign[i] : switches[i]);
    FINCH_TRY(json_get_size(root, a->path, "r", &a->rank, a->err));
    FINCH_TRY(json_get_number(root, a->path, "lora_alpha", &alpha, a->err));
    if (a->rank < 1 || a->rank > LORA_RANK_MAX)
        return finch_fail(a->err, FINCH_E_DATA, "%s: \"r\" is %zu; it must be from 1 to %d", a->path, a->rank,
                          LORA_RANK_MAX);
    a->scale = alpha / (double)a->rank;
    return FINCH_OK;
}

/* The tensor called a->name, times factor, packed into *to [rows, columns]. */
static finch_status attach_half(attaching *a, size_t rows, size_t columns, double factor, linear *to)
{
    const size_t dims[2] = {rows, columns};
    const tensor *t;
    float *values;
    FINCH_TRY(weights_require(a->g->adapter, a->name.at, 2, dims, &t, a->err));
    FINCH_TRY(linear_init_in(&a->g->memory, to, LINEAR_F32, rows, columns, a->err));
    FINCH_TRY(MEM_NEW(&values, rows * columns, a->err));
    finch_status st = tensor_to_f32(t, values, a->err);
    if (st == FINCH_OK) st = linear_pack(to, 0, rows, values, NULL, (float)factor, a->err);
    mem_free(values);
    if (st != FINCH_OK) return finch_fail_prefix(a->err, "%s: %s", a->path, a->name.at);
    a->n_used++;
    return FINCH_OK;
}

static finch_status make_name(attaching *a, size_t layer, const char *part, const char *half)
{
    static const char *const prefixes[] = {"base_model.model.model.", "base_model.model.model.language_model.",
                                           "base_model.model."};
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
        str_clear(&a->name);
        FINCH_TRY(str_add_format(&a->name, a->err, "%slayers.%zu.%s.%s.weight", prefixes[i], layer, part, half));
        if (weights_find(a->g->adapter, a->name.at) != NULL) break;
    }
    return FINCH_OK;
}

static finch_status attach_matrix(attaching *a, size_t layer, const char *part, gemma_matrix *to)
{
    FINCH_TRY(make_name(a, layer, part, "lora_A"));
    if (weights_find(a->g->adapter, a->name.at) == NULL) return FINCH_OK;
    FINCH_TRY(attach_half(a, a->rank, to->stored.columns, 1.0, &to->low));
    FINCH_TRY(make_name(a, layer, part, "lora_B"));
    return attach_half(a, to->stored.rows, a->rank, a->scale, &to->high);
}

static finch_status attach_head(attaching *a)
{
    static const char name[] = "base_model.model.score.weight";
    const tensor *t = weights_find(a->g->adapter, name);
    if (t == NULL) return FINCH_OK;
    if (t->n_dims != 2 || t->dims[0] == 0 || t->dims[0] > MODEL_LABELS_MAX)
        return finch_fail(a->err, FINCH_E_DATA, "%s: the tensor %s is not of 1 to %d rows", a->path, name, MODEL_LABELS_MAX);
    a->n_used++;
    return stored_from_weights(a->g->adapter, name, t->dims[0], a->g->config.hidden_size, &a->g->score, a->err);
}

static finch_status attach_all(attaching *a)
{
    gemma *g = a->g;
    for (size_t i = 0; i < g->config.n_layers; i++) {
        gemma_layer *layer = &g->layers[i];
#define ATTACH(name, hub, gguf_name, outputs, inputs) FINCH_TRY(attach_matrix(a, i, hub, &layer->name));
        GEMMA_MATRIX_LIST(ATTACH)
#undef ATTACH
    }
    FINCH_TRY(attach_head(a));
    if (a->n_used != weights_count(g->adapter))
        return finch_fail(a->err, FINCH_E_DATA, "%s: %zu of the adapter's %zu tensors belong to no layer of the base",
                          a->path, weights_count(g->adapter) - a->n_used, weights_count(g->adapter));
    g->adapter_rank = a->rank;
    return FINCH_OK;
}

finch_status gemma_adapter_attach(gemma *g, const char *folder, finch_error *err)
{
    str path = {0}, file = {0};
    json_t *root = NULL;
    attaching a = {.g = g, .err = err};
    finch_status st = read_json(folder, GEMMA_ADAPTER_CONFIG, &path, &root, err);
    a.path = path.at;
    FINCH_GO(done, st, st);
    FINCH_GO(done, st, read_config(&a, root));
    FINCH_GO(done, st, file_join(folder, "adapter_model.safetensors", &file, err));
    FINCH_GO(done, st, weights_open(file.at, &g->adapter, err));
    st = attach_all(&a);
done:
    json_decref(root);
    str_free(&path);
    str_free(&file);
    str_free(&a.name);
    return st;
}

/* ---- the base's hash ------------------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t hash, const void *data, size_t size)
{
    return siphash((siphash_key){{hash, size}}, data, size).low;
}

uint64_t gemma_hash(const gemma *g)
{
    enum { FIRST_BYTES = 256 };
    uint64_t hash = 0;
    size_t n = g->file != NULL ? weights_count(g->file) : gguf_count(g->blocks);
    for (size_t i = 0; i < n; i++) {
        const tensor *t = g->file != NULL ? weights_at(g->file, i) : NULL;
        const gguf_tensor *b = t == NULL ? gguf_at(g->blocks, i) : NULL;
        const char *name = t != NULL ? t->name : b->name;
        size_t size = t != NULL ? t->size_bytes : b->size_bytes;
        hash = mix(hash, name, strlen(name));
        hash = mix(hash, t != NULL ? t->data : b->data, size < FIRST_BYTES ? size : FIRST_BYTES);
        hash = mix(hash, &size, sizeof size);
    }
    return hash;
}

/* ---- probes ---------------------------------------------------------------------------------------------------- */

finch_status gemma_adapter_save_probes(const char *folder, uint64_t base_hash, const int32_t (*ids)[GEMMA_PROBE_TOKENS_MAX],
                                       const size_t *n, const float *logits, size_t n_classes, finch_error *err)
{
    char hex[17];
    str path = {0};
    json_t *probes = json_array();
    int failed = 0;
    snprintf(hex, sizeof hex, "%016" PRIx64, base_hash);
    for (size_t i = 0; i < GEMMA_PROBES; i++) {
        json_t *tokens = json_array(), *numbers = json_array();
        for (size_t k = 0; k < n[i]; k++) failed |= json_array_append_new(tokens, json_integer(ids[i][k]));
        for (size_t k = 0; k < n_classes; k++)
            failed |= json_array_append_new(numbers, json_real((double)logits[i * n_classes + k]));
        failed |= json_array_append_new(probes, json_pack("{s:o,s:o}", "ids", tokens, "logits", numbers));
    }
    json_t *root = json_pack("{s:s,s:o}", "base_hash", hex, "probes", probes);
    finch_status st = failed == 0 && root != NULL
                          ? file_join(folder, GEMMA_ADAPTER_PROBES, &path, err)
                          : finch_fail(err, FINCH_E_MEMORY, "out of memory for " GEMMA_ADAPTER_PROBES);
    if (st == FINCH_OK) st = json_write_file(path.at, root, err);
    json_decref(root);
    str_free(&path);
    return st;
}

/* One probe's ids and logits; false where it is not of this model. */
static bool take_probe(const gemma *g, const json_t *probe, int32_t *ids, size_t *n, float *logits)
{
    const json_t *tokens = json_object_get(probe, "ids"), *numbers = json_object_get(probe, "logits");
    *n = json_array_size(tokens);
    if (*n == 0 || *n > GEMMA_PROBE_TOKENS_MAX || json_array_size(numbers) != g->score.rows) return false;
    for (size_t i = 0; i < *n; i++) {
        json_int_t id = json_integer_value(json_array_get(tokens, i));
        if (id < 0 || (size_t)id >= g->config.vocab_size) return false;
        ids[i] = (int32_t)id;
    }
    for (size_t i = 0; i < g->score.rows; i++) logits[i] = (float)json_number_value(json_array_get(numbers, i));
    return true;
}

/* The largest difference of a probe's logits over the largest of them. */
static finch_status distance(const gemma *g, const int32_t *ids, size_t n, const float *expected, float *out,
                             finch_error *err)
{
    const uint32_t offsets[2] = {0, (uint32_t)n}, last = (uint32_t)n - 1;
    float logits[MODEL_LABELS_MAX], worst = 0.0f, size = 1e-3f, *hidden;
    arena a;
    arena_init(&a);
    gemma_batch b = {.ids = ids, .offsets = offsets, .n_texts = 1, .n_tokens = n, .wanted = &last, .n_wanted = 1};
    finch_status st = ARENA_NEW(&a, &hidden, g->config.hidden_size, err);
    if (st == FINCH_OK) st = gemma_hidden(g, &b, hidden, &a, err);
    if (st == FINCH_OK) gemma_class_logits(g, hidden, 1, logits);
    for (size_t i = 0; st == FINCH_OK && i < g->score.rows; i++) {
        float apart = fabsf(logits[i] - expected[i]);
        worst = apart > worst || !isfinite(apart) ? apart : worst;
        size = fmaxf(size, fabsf(expected[i]));
    }
    arena_free(&a);
    *out = worst / size;
    return st;
}

static finch_status verify(const gemma *g, const char *path, const json_t *root, finch_error *err)
{
    const json_t *probes = json_object_get(root, "probes");
    float limit = g->compute == MODEL_F32 ? PROBE_F32_MAX : PROBE_OTHER_MAX;
    char hex[17];
    const char *made;
    FINCH_TRY(json_get_text(root, path, "base_hash", &made, err));
    snprintf(hex, sizeof hex, "%016" PRIx64, gemma_hash(g));
    bool same = strcmp(made, hex) == 0;
    if (!same) limit = PROBE_OTHER_MAX; /* perhaps the same base in another type: the probes tell */
    if (json_array_size(probes) != GEMMA_PROBES)
        return finch_fail(err, FINCH_E_DATA, "%s: it has not %d probes", path, GEMMA_PROBES);
    for (size_t i = 0; i < GEMMA_PROBES; i++) {
        int32_t ids[GEMMA_PROBE_TOKENS_MAX];
        float expected[MODEL_LABELS_MAX], apart = INFINITY;
        size_t n;
        if (!take_probe(g, json_array_get(probes, i), ids, &n, expected))
            return finch_fail(err, FINCH_E_DATA, "%s: probe %zu is not of this model", path, i + 1);
        FINCH_TRY(distance(g, ids, n, expected, &apart, err));
        if (!(apart <= limit))
            return finch_fail(
                err, FINCH_E_DATA,
                "%s: probe %zu gives logits that are %.2g of the largest away from those at training (at most %.2g): %s",
                path, i + 1, (double)apart, (double)limit,
                same ? "the adapter or its classifier was changed" : "the base is not the one it was trained beside");
    }
    return FINCH_OK;
}

finch_status gemma_adapter_verify(const gemma *g, const char *folder, finch_error *err)
{
    str path = {0};
    json_t *root = NULL;
    finch_status st = file_join(folder, GEMMA_ADAPTER_PROBES, &path, err);
    if (st == FINCH_OK && file_exists(path.at)) {
        st = json_parse_file(path.at, &root, err);
        if (st == FINCH_OK) st = verify(g, path.at, root, err);
    }
    json_decref(root);
    str_free(&path);
    return st;
}
