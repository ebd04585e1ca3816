/* finch_adapter.json: what base adapters belong to, told by its hash and by what eight texts give. */
#include "model/adapter.h"

#include "base/file.h"
#include "base/json.h"
#include "base/siphash.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* How far a probe's logits may be from what they were, as a part of the largest: rounding in f32, quantisation elsewhere. */
#define PROBE_F32_MAX 1e-3f
#define PROBE_OTHER_MAX 0.35f

/* Texts of every class, short and long: what they give tells bases and classifiers apart. */
static const char *const texts[ADAPTER_N_PROBES] = {
    "$AAPL to the moon! Strong buy, target raised to $150.",
    "Revenue fell 12% year over year; guidance cut, shares plunge after hours.",
    "$T declares quarterly dividend of $0.26",
    "What do you think about $TSLA this week?",
    "Going short here, this chart looks terrible",
    "Small beat for $KO, organic growth of 3%",
    "FDA approves the drug: $MRNA soars 25% premarket",
    "bankruptcy"};

/* ---- the base's hash ------------------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t hash, const void *data, size_t size)
{
    return siphash((siphash_key){{hash, size}}, data, size).low;
}

uint64_t adapter_hash(uint64_t hash, const char *name, const void *data, size_t size_bytes)
{
    enum { FIRST_BYTES = 256 };
    hash = mix(hash, name, strlen(name));
    hash = mix(hash, data, size_least(FIRST_BYTES, size_bytes));
    return mix(hash, &size_bytes, sizeof size_bytes);
}

uint64_t adapter_hash_weights(const weights *w)
{
    uint64_t hash = 0;
    for (size_t i = 0; i < weights_count(w); i++) {
        const tensor *t = weights_at(w, i);
        hash = adapter_hash(hash, t->name, t->data, t->size_bytes);
    }
    return hash;
}

/* ---- saving ---------------------------------------------------------------------------------------------------- */

static json_t *probe_json(const adapter_probed *m, const int32_t *ids, size_t n, const float *logits)
{
    json_t *tokens = json_array(), *numbers = json_array();
    int failed = 0;
    for (size_t i = 0; i < n; i++) failed |= json_array_append_new(tokens, json_integer(ids[i]));
    for (size_t i = 0; i < m->n_classes; i++) failed |= json_array_append_new(numbers, json_real((double)logits[i]));
    json_t *probe = json_pack("{s:o,s:o}", "ids", tokens, "logits", numbers);
    if (failed == 0) return probe;
    json_decref(probe);
    return NULL;
}

static finch_status make_probes(const adapter_probed *m, const text_tokenizer *tokenizer, text_scratch *scratch,
                                json_t *probes, finch_error *err)
{
    for (size_t i = 0; i < ADAPTER_N_PROBES; i++) {
        int32_t ids[ADAPTER_PROBE_TOKENS_MAX];
        float logits[MODEL_LABELS_MAX];
        size_t n;
        const finch_text text = {texts[i], strlen(texts[i])};
        FINCH_TRY(text_encode(tokenizer, text, ADAPTER_PROBE_TOKENS_MAX, ids, &n, NULL, NULL, scratch, err));
        const uint32_t offsets[2] = {0, (uint32_t)n};
        FINCH_TRY(m->logits(m->context, &(model_batch){ids, offsets, 1, n}, logits, err));
        if (json_array_append_new(probes, probe_json(m, ids, n, logits)) != 0)
            return finch_fail(err, FINCH_E_MEMORY, "out of memory for " ADAPTER_PROBES);
    }
    return FINCH_OK;
}

static finch_status write_probes(const char *folder, const adapter_probed *m, json_t *probes, finch_error *err)
{
    char hex[17];
    str path = {0};
    snprintf(hex, sizeof hex, "%016" PRIx64, m->base_hash);
    json_t *root = json_pack("{s:s,s:b,s:O}", "base_hash", hex, "exact", m->exact, "probes", probes);
    finch_status st = root != NULL ? file_join(folder, ADAPTER_PROBES, &path, err)
                                   : finch_fail(err, FINCH_E_MEMORY, "out of memory for " ADAPTER_PROBES);
    if (st == FINCH_OK) st = json_write_file(path.at, root, err);
    json_decref(root);
    str_free(&path);
    return st;
}

finch_status adapter_save_probes(const char *folder, const adapter_probed *m, const text_tokenizer *tokenizer,
                                 finch_error *err)
{
    text_scratch *scratch;
    json_t *probes = json_array();
    FINCH_TRY(text_scratch_create(&scratch, err));
    finch_status st = make_probes(m, tokenizer, scratch, probes, err);
    if (st == FINCH_OK) st = write_probes(folder, m, probes, err);
    json_decref(probes);
    text_scratch_destroy(scratch);
    return st;
}

/* ---- holding a model against them ------------------------------------------------------------------------------ */

/* One probe's ids and logits; false where it is not of this model. */
static bool take_probe(const adapter_probed *m, const json_t *probe, int32_t *ids, size_t *n, float *logits)
{
    const json_t *tokens = json_object_get(probe, "ids"), *numbers = json_object_get(probe, "logits");
    *n = json_array_size(tokens);
    if (*n == 0 || *n > ADAPTER_PROBE_TOKENS_MAX || json_array_size(numbers) != m->n_classes) return false;
    for (size_t i = 0; i < *n; i++) {
        json_int_t id = json_integer_value(json_array_get(tokens, i));
        if (id < 0 || (size_t)id >= m->vocab_size) return false;
        ids[i] = (int32_t)id;
    }
    for (size_t i = 0; i < m->n_classes; i++) logits[i] = (float)json_number_value(json_array_get(numbers, i));
    return true;
}

/* The largest difference of a probe's logits over the largest of them. */
static finch_status distance(const adapter_probed *m, const int32_t *ids, size_t n, const float *expected, float *out,
                             finch_error *err)
{
    const uint32_t offsets[2] = {0, (uint32_t)n};
    float logits[MODEL_LABELS_MAX], worst = 0.0f, size = 1e-3f;
    FINCH_TRY(m->logits(m->context, &(model_batch){ids, offsets, 1, n}, logits, err));
    for (size_t i = 0; i < m->n_classes; i++) {
        float apart = fabsf(logits[i] - expected[i]);
        worst = apart > worst || !isfinite(apart) ? apart : worst;
        size = fmaxf(size, fabsf(expected[i]));
    }
    *out = worst / size;
    return FINCH_OK;
}

static finch_status verify(const adapter_probed *m, const char *path, const json_t *root, finch_error *err)
{
    const json_t *probes = json_object_get(root, "probes");
    /* Either side may have rounded its products. */
    bool exact = m->exact && !json_is_false(json_object_get(root, "exact"));
    float limit = exact ? PROBE_F32_MAX : PROBE_OTHER_MAX;
    char hex[17];
    const char *made;
    FINCH_TRY(json_get_text(root, path, "base_hash", &made, err));
    snprintf(hex, sizeof hex, "%016" PRIx64, m->base_hash);
    bool same = strcmp(made, hex) == 0;
    if (!same) limit = PROBE_OTHER_MAX; /* perhaps the same base in another type: the probes tell */
    if (json_array_size(probes) != ADAPTER_N_PROBES)
        return finch_fail(err, FINCH_E_DATA, "%s: it has not %d probes", path, ADAPTER_N_PROBES);
    for (size_t i = 0; i < ADAPTER_N_PROBES; i++) {
        int32_t ids[ADAPTER_PROBE_TOKENS_MAX];
        float expected[MODEL_LABELS_MAX], apart = INFINITY;
        size_t n;
        if (!take_probe(m, json_array_get(probes, i), ids, &n, expected))
            return finch_fail(err, FINCH_E_DATA, "%s: probe %zu is not of this model", path, i + 1);
        FINCH_TRY(distance(m, ids, n, expected, &apart, err));
        if (!(apart <= limit))
            return finch_fail(
                err, FINCH_E_DATA,
                "%s: probe %zu gives logits that are %.2g of the largest away from those at training (at most %.2g): %s",
                path, i + 1, (double)apart, (double)limit,
                same ? "the adapter or its classifier was changed" : "the base is not the one it was trained beside");
    }
    return FINCH_OK;
}

finch_status adapter_verify(const char *folder, const adapter_probed *m, finch_error *err)
{
    str path = {0};
    json_t *root = NULL;
    finch_status st = file_join(folder, ADAPTER_PROBES, &path, err);
    if (st == FINCH_OK && file_exists(path.at)) {
        st = json_parse_file(path.at, &root, err);
        if (st == FINCH_OK) st = verify(m, path.at, root, err);
    }
    json_decref(root);
    str_free(&path);
    return st;
}
