/* The public C API over model.h: a finch_model is a model. */
#include "finch.h"

#include "model/model.h"

#include <stddef.h>

static const model *inner(const finch_model *m) { return (const model *)(const void *)m; }

static bool compute_of(finch_compute compute, model_compute *out)
{
    switch (compute) {
    case FINCH_COMPUTE_AUTO: *out = MODEL_AUTO; return true;
    case FINCH_COMPUTE_F32: *out = MODEL_F32; return true;
    case FINCH_COMPUTE_BF16: *out = MODEL_BF16; return true;
    case FINCH_COMPUTE_INT8: *out = MODEL_INT8; return true;
    case FINCH_COMPUTE_BF16X3: *out = MODEL_BF16X3; return true;
    }
    return false;
}

finch_status finch_model_open(const char *folder, finch_compute compute, finch_model **out, finch_error *err)
{
    model_compute type;
    model *m;
    *out = NULL;
    if (folder == NULL) return finch_fail(err, FINCH_E_USAGE, "finch_model_open needs a folder");
    if (!compute_of(compute, &type)) return finch_fail(err, FINCH_E_USAGE, "%d is no finch_compute", (int)compute);
    FINCH_TRY(model_open(folder, type, &m, err));
    *out = (finch_model *)(void *)m;
    return FINCH_OK;
}

void finch_model_close(finch_model *m) { model_close((model *)(void *)m); }

size_t finch_model_n_classes(const finch_model *m) { return model_get_config(inner(m))->n_labels; }

const char *finch_model_label(const finch_model *m, size_t index)
{
    const model_config *c = model_get_config(inner(m));
    return index < c->n_labels ? c->labels[index] : NULL;
}

/* The caller's options, or the defaults for fields that its version of the struct does not have. */
static finch_status take_options(const finch_score_options *given, finch_score_options *out, finch_error *err)
{
    *out = (finch_score_options)FINCH_SCORE_OPTIONS_DEFAULT;
    if (given == NULL) return FINCH_OK;
    if (given->size_bytes < sizeof(size_t))
        return finch_fail(err, FINCH_E_USAGE, "finch_score_options.size_bytes is %zu; set it to the struct's size",
                          given->size_bytes);
#define TAKE(field) \
    if (given->size_bytes >= offsetof(finch_score_options, field) + sizeof given->field) out->field = given->field
    TAKE(n_threads);
    TAKE(max_tokens);
#undef TAKE
    return FINCH_OK;
}

finch_status finch_score(const finch_model *m, const finch_text *texts, size_t n_texts, const finch_score_options *options,
                         float *probabilities, double *sentiments, finch_error *err)
{
    finch_score_options chosen;
    model_scorer *scorer;
    if (m == NULL || (n_texts > 0 && (texts == NULL || probabilities == NULL)))
        return finch_fail(err, FINCH_E_USAGE, "finch_score needs a model, texts and room for their probabilities");
    FINCH_TRY(take_options(options, &chosen, err));
    size_t max_tokens = chosen.max_tokens == 0 ? model_config_max_tokens(model_get_config(inner(m))) : chosen.max_tokens;
    FINCH_TRY(model_scorer_create(inner(m), chosen.n_threads, &scorer, err));
    finch_status st = model_score_texts(scorer, texts, n_texts, max_tokens, probabilities, NULL, err);
    model_scorer_destroy(scorer);
    FINCH_TRY(st);
    model_probabilities(inner(m), probabilities, n_texts, probabilities);
    for (size_t i = 0; sentiments != NULL && i < n_texts; i++)
        sentiments[i] = model_sentiment(inner(m), probabilities + i * finch_model_n_classes(m));
    return FINCH_OK;
}
