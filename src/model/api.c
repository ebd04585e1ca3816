/* The public C API over model.h: a finch_model is a model. */
#include "finch.h"

#include "model/model.h"

#include <stddef.h>
#include <string.h>

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

static const char *architecture_name(model_arch arch)
{
    switch (arch) {
    case MODEL_BERT: return "bert";
    case MODEL_MPNET: return "mpnet";
    case MODEL_GEMMA3: return "gemma3";
    }
    return "unknown";
}

static finch_compute compute_from(model_compute compute)
{
    switch (compute) {
    case MODEL_AUTO: break;
    case MODEL_F32: return FINCH_COMPUTE_F32;
    case MODEL_BF16: return FINCH_COMPUTE_BF16;
    case MODEL_INT8: return FINCH_COMPUTE_INT8;
    case MODEL_BF16X3: return FINCH_COMPUTE_BF16X3;
    }
    return FINCH_COMPUTE_AUTO;
}

finch_status finch_model_get_info(const finch_model *m, finch_model_info *info, finch_error *err)
{
    if (m == NULL || info == NULL || info->size_bytes < sizeof(size_t))
        return finch_fail(err, FINCH_E_USAGE,
                          "finch_model_get_info needs a model and a finch_model_info with size_bytes set");
    const model_config *c = model_get_config(inner(m));
    size_t room = info->size_bytes < sizeof *info ? info->size_bytes : sizeof *info;
    finch_model_info whole = {.size_bytes = info->size_bytes,
                              .architecture = architecture_name(c->arch),
                              .compute = compute_from(model_get_compute(inner(m))),
                              .temperature = model_temperature(inner(m)),
                              .n_classes = c->n_labels,
                              .max_tokens = model_config_max_tokens(c),
                              .vocab_size = c->vocab_size};
    memcpy(info, &whole, room);
    return FINCH_OK;
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
    TAKE(output);
#undef TAKE
    return FINCH_OK;
}

/* With max_tokens as the model takes them. */
static finch_status options_of(const finch_model *m, const finch_score_options *given, finch_score_options *out,
                               finch_error *err)
{
    FINCH_TRY(take_options(given, out, err));
    size_t most = model_config_max_tokens(model_get_config(inner(m)));
    if (out->max_tokens == 0 || out->max_tokens > most) out->max_tokens = most;
    if (out->output != FINCH_OUTPUT_PROBABILITIES && out->output != FINCH_OUTPUT_LOGITS)
        return finch_fail(err, FINCH_E_USAGE, "%d is no finch_output", (int)out->output);
    return FINCH_OK;
}

finch_status finch_score(const finch_model *m, const finch_text *texts, size_t n_texts, const finch_score_options *options,
                         float *probabilities, double *sentiments, finch_error *err)
{
    finch_score_options chosen;
    model_scorer *scorer;
    if (m == NULL || (n_texts > 0 && (texts == NULL || probabilities == NULL)))
        return finch_fail(err, FINCH_E_USAGE, "finch_score needs a model, texts and room for their probabilities");
    FINCH_TRY(options_of(m, options, &chosen, err));
    if (chosen.output == FINCH_OUTPUT_LOGITS && sentiments != NULL)
        return finch_fail(err, FINCH_E_USAGE, "sentiments are made of probabilities; leave them out beside logits");
    FINCH_TRY(model_scorer_create(inner(m), chosen.n_threads, &scorer, err));
    finch_status st = model_score_texts(scorer, texts, n_texts, chosen.max_tokens, probabilities, NULL, err);
    model_scorer_destroy(scorer);
    if (st != FINCH_OK || chosen.output == FINCH_OUTPUT_LOGITS) return st;
    model_probabilities(inner(m), probabilities, n_texts, probabilities);
    for (size_t i = 0; sentiments != NULL && i < n_texts; i++)
        sentiments[i] = model_sentiment(inner(m), probabilities + i * finch_model_n_classes(m));
    return FINCH_OK;
}

/* ---- token ids ---- */

/* One text's ids into room for chosen->max_tokens. */
typedef struct token_reader {
    const text_tokenizer *tokenizer;
    finch_score_options chosen;
    text_scratch *scratch;
    int32_t *ids;
} token_reader;

static void token_reader_close(token_reader *r)
{
    text_scratch_destroy(r->scratch);
    mem_free(r->ids);
}

static finch_status token_reader_open(token_reader *r, const finch_model *m, const finch_score_options *options,
                                      finch_error *err)
{
    FINCH_TRY(options_of(m, options, &r->chosen, err));
    r->tokenizer = model_tokenizer(inner(m));
    FINCH_TRY(text_scratch_create(&r->scratch, err));
    return mem_alloc(r->chosen.max_tokens, sizeof *r->ids, (void **)&r->ids, err);
}

static finch_status token_reader_next(token_reader *r, const finch_text *texts, size_t at, size_t *n, bool *truncated,
                                      finch_error *err)
{
    finch_status st = text_encode(r->tokenizer, texts[at], r->chosen.max_tokens, r->ids, n, truncated, NULL, r->scratch,
                                  err);
    if (st != FINCH_OK && err != NULL) err->row = at + 1;
    return st == FINCH_OK ? st : finch_fail_prefix(err, "text %zu", at + 1);
}

finch_status finch_token_offsets(const finch_model *m, const finch_text *texts, size_t n_texts,
                                 const finch_score_options *options, uint64_t *offsets, bool *truncated, finch_error *err)
{
    token_reader r = {0};
    finch_status st = FINCH_OK;
    if (m == NULL || offsets == NULL || (n_texts > 0 && texts == NULL))
        return finch_fail(err, FINCH_E_USAGE, "finch_token_offsets needs a model, texts and room for their offsets");
    FINCH_GO(done, st, token_reader_open(&r, m, options, err));
    offsets[0] = 0;
    for (size_t i = 0; i < n_texts; i++) {
        size_t n;
        bool cut;
        FINCH_GO(done, st, token_reader_next(&r, texts, i, &n, &cut, err));
        offsets[i + 1] = offsets[i] + n;
        if (truncated != NULL) truncated[i] = cut;
    }
done:
    token_reader_close(&r);
    return st;
}

finch_status finch_tokenize(const finch_model *m, const finch_text *texts, size_t n_texts,
                            const finch_score_options *options, const uint64_t *offsets, int32_t *ids, finch_error *err)
{
    token_reader r = {0};
    finch_status st = FINCH_OK;
    if (m == NULL || offsets == NULL || (n_texts > 0 && (texts == NULL || ids == NULL)))
        return finch_fail(err, FINCH_E_USAGE, "finch_tokenize needs a model, texts, their offsets and room for their ids");
    FINCH_GO(done, st, token_reader_open(&r, m, options, err));
    for (size_t i = 0; st == FINCH_OK && i < n_texts; i++) {
        size_t n;
        FINCH_GO(done, st, token_reader_next(&r, texts, i, &n, NULL, err));
        if (offsets[i + 1] < offsets[i] || offsets[i + 1] - offsets[i] != n)
            st = finch_fail_row(err, FINCH_E_USAGE, i + 1,
                                "text %zu has %zu tokens, and its offsets leave room for %lld; take those of "
                                "finch_token_offsets for the same texts and options",
                                i + 1, n, (long long)(offsets[i + 1] - offsets[i]));
        else memcpy(ids + offsets[i], r.ids, n * sizeof *ids);
    }
done:
    token_reader_close(&r);
    return st;
}
