#include "model/model.h"

#include "base/file.h"
#include "base/json.h"
#include "model/engine.h"
#include "model/gemma_model.h"
#include "model/tokenizer_file.h"

#include <math.h>
#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#endif

static const char *const compute_names[] = {
    [MODEL_AUTO] = "auto", [MODEL_F32] = "f32", [MODEL_BF16] = "bf16", [MODEL_INT8] = "int8", [MODEL_BF16X3] = "bf16x3"};

const char *model_compute_name(model_compute compute) { return compute_names[compute]; }

bool model_compute_find(const char *name, model_compute *out)
{
    for (size_t i = 0; i < sizeof compute_names / sizeof compute_names[0]; i++) {
        if (strcmp(compute_names[i], name) != 0) continue;
        *out = (model_compute)i;
        return true;
    }
    return false;
}

/* ---- opening ------------------------------------------------------------------------------------------------------- */

/* Whether the folder says its weights are int8. */
static finch_status read_quantization(const char *folder, bool *out, finch_error *err)
{
    finch_status st = FINCH_OK;
    str path = {0};
    json_t *root = NULL;
    FINCH_GO(done, st, file_join(folder, "config.json", &path, err));
    FINCH_GO(done, st, json_parse_file(path.at, &root, err));
    st = compressed_config_check(root, path.at, out, err);
done:
    json_decref(root);
    str_free(&path);
    return st;
}

static finch_status take_temperature(const json_t *root, const char *path, float *out, finch_error *err)
{
    double value;
    const json_t *calibration = json_object_get(root, "calibration");
    if (calibration == NULL || !json_has(calibration, "temperature")) return FINCH_OK;
    FINCH_TRY(json_get_number(calibration, path, "temperature", &value, err));
    if (!(value >= 1e-3 && value <= 1e3))
        return finch_fail(err, FINCH_E_DATA, "%s: \"calibration.temperature\" is %g; it must be from 0.001 to 1000", path,
                          value);
    *out = (float)value;
    return FINCH_OK;
}

static finch_status read_temperature(const char *folder, float *out, finch_error *err)
{
    finch_status st = FINCH_OK;
    str path = {0};
    json_t *root = NULL;
    *out = 1.0f;
    FINCH_GO(done, st, file_join(folder, "finch.json", &path, err));
    if (!file_exists(path.at)) goto done;
    FINCH_GO(done, st, json_parse_file(path.at, &root, err));
    st = take_temperature(root, path.at, out, err);
done:
    json_decref(root);
    str_free(&path);
    return st;
}

static finch_status check_tokenizer(const model *m, const char *folder, finch_error *err)
{
    if (text_tokenizer_vocab_size(m->tokenizer) > m->config.vocab_size)
        return finch_fail(err, FINCH_E_DATA, "%s: the tokenizer has %zu pieces, the model %zu (config.json's vocab_size)",
                          folder, text_tokenizer_vocab_size(m->tokenizer), m->config.vocab_size);
    if (model_config_max_tokens(&m->config) < TEXT_TOKENS_MIN)
        return finch_fail(err, FINCH_E_DATA,
                          "%s: config.json's max_position_embeddings leaves room for %zu tokens; a text has at least %d",
                          folder, model_config_max_tokens(&m->config), TEXT_TOKENS_MIN);
    return FINCH_OK;
}

static finch_status probe(const void *context, const model_batch *b, float *logits, finch_error *err)
{
    arena scratch;
    arena_init(&scratch);
    finch_status st = model_logits(context, b, logits, &scratch, err);
    arena_free(&scratch);
    return st;
}

/* The engine of a BERT or MPNet in `folder`, whose weights are in `base`: another one where the folder holds adapters. */
static finch_status open_weights(model *m, const char *folder, const char *base, model_compute compute, finch_error *err)
{
    bool is_int8 = false;
    FINCH_TRY(read_quantization(base, &is_int8, err));
    m->compute = compute != MODEL_AUTO ? compute : is_int8 ? MODEL_INT8 : MODEL_F32;
    m->kernels = ops_choose();
    FINCH_TRY(weights_open(base, &m->file, err));
    if (base == folder) return engine_load(m, err);
    FINCH_TRY(adapter_open(folder, &m->adapter, err));
    FINCH_TRY(engine_load(m, err));
    const adapter_probed probed = {
        m, probe, adapter_hash_weights(m->file), m->config.n_labels, m->config.vocab_size, m->compute == MODEL_F32};
    return adapter_verify(folder, &probed, err);
}

/* The folder that holds the file: base, where adapters have none of their own. */
static const char *place_of(const char *path, const char *base, const char *file)
{
    return base == NULL || adapter_has(path, file) ? path : base;
}

static finch_status open_tokenizer(model *m, const char *path, const char *base, finch_error *err)
{
    const char *place = place_of(path, base, "tokenizer.json");
    if (place != path && (adapter_has(path, "vocab.txt") || adapter_has(path, "tokenizer.model"))) place = path;
    FINCH_TRY(model_tokenizer_open(place, &m->tokenizer, err));
    return check_tokenizer(m, place, err);
}

/* base: of adapters; NULL where the path is a model of its own. */
static finch_status open_parts(model *m, const char *path, const char *base, model_compute compute, finch_error *err)
{
    FINCH_TRY(cpu_check(err));
    FINCH_TRY(model_config_read(place_of(path, base, "config.json"), &m->config, err));
    if (file_is_directory(path)) FINCH_TRY(read_temperature(path, &m->temperature, err));
    if (m->config.arch == MODEL_GEMMA3) FINCH_TRY(gemma_model_open(m, path, base, compute, err));
    FINCH_TRY(open_tokenizer(m, path, base, err));
    if (m->gemma != NULL) return gemma_model_choose_head(m, path, err);
    return open_weights(m, path, base != NULL ? base : path, compute, err);
}

static finch_status open_with(const char *path, const char *base, model_compute compute, model **out, finch_error *err)
{
    model *m;
    *out = NULL;
    FINCH_TRY(MEM_NEW(&m, 1, err));
    m->temperature = 1.0f;
    finch_status st = open_parts(m, path, base, compute, err);
    mem_trim(); /* of tokenizer.json's tree */
    if (st == FINCH_OK) *out = m;
    else model_close(m);
    return st;
}

finch_status model_open(const char *path, model_compute compute, model **out, finch_error *err)
{
    return adapter_is(path) ? model_open_adapted(path, NULL, compute, out, err) : open_with(path, NULL, compute, out, err);
}

finch_status model_open_adapted(const char *folder, const char *base, model_compute compute, model **out, finch_error *err)
{
    str found = {0};
    finch_status st = FINCH_OK;
    *out = NULL;
    if (!adapter_is(folder))
        st = finch_fail(err, FINCH_E_NOT_FOUND, "%s is no folder of adapters: it has no " ADAPTER_CONFIG, folder);
    if (st == FINCH_OK && base == NULL) st = adapter_base(folder, &found, err);
    if (st == FINCH_OK) st = open_with(folder, base != NULL ? base : found.at, compute, out, err);
    str_free(&found);
    return st;
}

void model_close(model *m)
{
    if (m == NULL) return;
    engine_unload(m);
    gemma_model_close(m);
    weights_close(m->file);
    text_tokenizer_close(m->tokenizer);
    mem_free(m);
}

const model_config *model_get_config(const model *m) { return &m->config; }

const text_tokenizer *model_tokenizer(const model *m) { return m->tokenizer; }

const gemma *model_gemma(const model *m) { return m->gemma; }

model_compute model_get_compute(const model *m) { return m->compute; }

float model_temperature(const model *m) { return m->temperature; }

/* ---- a batch ------------------------------------------------------------------------------------------------------- */

static finch_status check_text(const model *m, const model_batch *b, size_t text, finch_error *err)
{
    size_t begin = b->offsets[text], end = b->offsets[text + 1];
    if (end <= begin || end > b->n_tokens || end - begin > model_config_max_tokens(&m->config))
        return finch_fail_row(err, FINCH_E_USAGE, text + 1,
                              "text %zu of the batch spans the tokens [%zu, %zu) of %zu; it must have 1 to %zu", text + 1,
                              begin, end, b->n_tokens, model_config_max_tokens(&m->config));
    for (size_t i = begin; i < end; i++)
        if (b->ids[i] < 0 || (size_t)b->ids[i] >= m->config.vocab_size)
            return finch_fail_row(err, FINCH_E_USAGE, text + 1, "token %zu of text %zu is %ld; ids are below %zu",
                                  i - begin + 1, text + 1, (long)b->ids[i], m->config.vocab_size);
    return FINCH_OK;
}

static finch_status check_batch(const model *m, const model_batch *b, finch_error *err)
{
    if (b->n_texts > 0 && b->offsets[0] != 0)
        return finch_fail(err, FINCH_E_USAGE, "a batch's first offset is %lu, not 0", (unsigned long)b->offsets[0]);
    for (size_t i = 0; i < b->n_texts; i++) FINCH_TRY(check_text(m, b, i, err));
    if (b->n_texts > 0 && b->offsets[b->n_texts] != b->n_tokens)
        return finch_fail(err, FINCH_E_USAGE, "a batch's last offset is %lu, its tokens are %zu",
                          (unsigned long)b->offsets[b->n_texts], b->n_tokens);
    return FINCH_OK;
}

static size_t team_size(void)
{
#ifdef _OPENMP
    return omp_in_parallel() ? 1 : (size_t)omp_get_max_threads();
#else
    return 1;
#endif
}

finch_status model_logits(const model *m, const model_batch *b, float *logits, arena *scratch, finch_error *err)
{
    finch_status st = FINCH_OK;
    engine_pass pass;
    float *own = NULL;
    if (b->n_texts == 0) return FINCH_OK;
    FINCH_TRY(check_batch(m, b, err));
    arena_place mark = arena_mark(scratch);
    FINCH_GO(done, st, ARENA_NEW(scratch, &own, b->n_texts * m->config.n_labels, err));
    if (m->gemma != NULL) {
        FINCH_GO(done, st, gemma_model_logits(m, b, team_size(), own, scratch, err));
    } else {
        engine_limits most = engine_limits_of(b);
        FINCH_GO(done, st, engine_pass_init(&pass, m, &most, team_size(), scratch, err));
        engine_pass_take(&pass, b);
        engine_pass_run_team(&pass, own);
    }
    FINCH_GO(done, st, engine_check_logits(m, own, b->n_texts, err));
    memcpy(logits, own, b->n_texts * m->config.n_labels * sizeof *logits);
done:
    arena_release(scratch, mark);
    return st;
}

/* ---- what logits mean ---------------------------------------------------------------------------------------------- */

static void softmax(const float *logits, size_t n, double temperature, float *out)
{
    double most = logits[0], sum = 0.0, e[MODEL_LABELS_MAX];
    for (size_t i = 1; i < n; i++) most = logits[i] > most ? logits[i] : most;
    for (size_t i = 0; i < n; i++) {
        e[i] = exp(((double)logits[i] - most) / temperature);
        sum += e[i];
    }
    for (size_t i = 0; i < n; i++) out[i] = (float)(e[i] / sum);
}

void model_probabilities(const model *m, const float *logits, size_t n_texts, float *probabilities)
{
    size_t n = m->config.n_labels;
    for (size_t i = 0; i < n_texts; i++) softmax(logits + i * n, n, (double)m->temperature, probabilities + i * n);
}

size_t model_best_label(const float *row, size_t n_labels)
{
    size_t best = 0;
    for (size_t i = 1; i < n_labels; i++)
        if (row[i] > row[best]) best = i;
    return best;
}

int model_class_id(const model *m, size_t label_index)
{
    return label_index < m->config.n_labels ? model_label_class(m->config.labels[label_index]) : -1;
}

double model_sentiment(const model *m, const float *probabilities)
{
    double sum = 0.0;
    for (size_t i = 0; i < m->config.n_labels; i++) {
        int id = model_class_id(m, i);
        if (id >= 0) sum += (double)probabilities[i] * (id - 2) / 2.0;
    }
    return sum;
}
