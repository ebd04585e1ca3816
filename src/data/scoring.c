#include "data/scoring.h"

#include "base/clock.h"

#include <ctype.h>
#include <string.h>

/* Texts of one engine call. At a call's end threads wait for the last one, so few calls are faster; but between calls is where
 * progress is told and Ctrl-C is heard. So a call gets what takes about CALL_SECONDS, found from the calls before. */
enum { CALL_TEXTS = 512, TIMED_TEXTS = 64 };
#define CALL_SECONDS 1.0

finch_status data_scoring_open(const model *engine, size_t n_threads, size_t max_tokens, size_t capacity, data_scoring *out,
                               finch_error *err)
{
    finch_status st;
    size_t n_labels = model_get_config(engine)->n_labels, n_values;
    *out = (data_scoring){.engine = engine, .n_labels = n_labels, .max_tokens = max_tokens, .capacity = capacity};
    for (size_t i = 0; i < n_labels; i++) out->has_sentiment |= model_class_id(engine, i) >= 0;
    if (!size_mul(capacity, n_labels, &n_values))
        return finch_fail(err, FINCH_E_MEMORY, "%zu rows are too many at once", capacity);
    FINCH_GO(done, st, model_scorer_create(engine, n_threads, &out->scorer, err));
    FINCH_GO(done, st, MEM_NEW(&out->dense, capacity, err));
    FINCH_GO(done, st, MEM_NEW(&out->rows, capacity, err));
    FINCH_GO(done, st, MEM_NEW(&out->info, capacity, err));
    FINCH_GO(done, st, MEM_NEW(&out->logits, n_values, err));
    FINCH_GO(done, st, MEM_NEW(&out->probabilities, n_values, err));
done:
    if (st != FINCH_OK) data_scoring_close(out);
    return st;
}

void data_scoring_close(data_scoring *s)
{
    model_scorer_destroy(s->scorer);
    data_summary_free(&s->summary);
    mem_free(s->dense);
    mem_free(s->rows);
    mem_free(s->info);
    mem_free(s->logits);
    mem_free(s->probabilities);
    *s = (data_scoring){0};
}

static finch_status note_row(data_scoring *s, size_t dense, const data_scoring_input *in, data_scoring_output *out,
                             finch_error *err)
{
    const float *p = s->probabilities + dense * s->n_labels;
    *out = (data_scoring_output){
        .scored = true,
        .truncated = s->info[dense].truncated,
        .label = model_best_label(p, s->n_labels),
        .score = model_sentiment(s->engine, p),
        .probabilities = p,
        .logits = s->logits + dense * s->n_labels,
    };
    s->counts.scored++;
    s->counts.truncated += out->truncated;
    s->counts.tokens += s->info[dense].n_tokens;
    return data_summary_add(&s->summary, &(data_summary_row){in->text, in->tickers, in->time, out->label, out->score}, err);
}

static finch_status score_call(data_scoring *s, size_t begin, size_t end, finch_error *err)
{
    size_t n_values = begin * s->n_labels;
    FINCH_TRY(model_score_texts(s->scorer, s->dense + begin, end - begin, s->max_tokens, s->logits + n_values,
                                s->info + begin, err));
    model_probabilities(s->engine, s->logits + n_values, end - begin, s->probabilities + n_values);
    return FINCH_OK;
}

static size_t calls_for(const data_scoring *s, size_t n_texts)
{
    double each = s->texts_per_second > 0 ? s->texts_per_second * CALL_SECONDS : CALL_TEXTS;
    size_t n = (size_t)((double)n_texts / each + 0.5);
    return n < 1 ? 1 : n > n_texts ? n_texts : n;
}

static finch_status score_timed(data_scoring *s, size_t begin, size_t end, finch_error *err)
{
    double from = clock_seconds();
    FINCH_TRY(score_call(s, begin, end, err));
    double took = clock_seconds() - from;
    if (end - begin >= TIMED_TEXTS && took > 0) s->texts_per_second = (double)(end - begin) / took;
    return FINCH_OK;
}

finch_status data_scoring_rows(data_scoring *s, const data_scoring_input *in, size_t n, data_scoring_output *out,
                               finch_error *err)
{
    size_t n_dense = 0;
    if (n > s->capacity) return finch_fail(err, FINCH_E_USAGE, "%zu rows at once where %zu have room", n, s->capacity);
    for (size_t i = 0; i < n; i++) {
        out[i] = (data_scoring_output){0};
        if (in[i].text.at == NULL || in[i].text.size_bytes == 0) continue;
        s->dense[n_dense] = in[i].text;
        s->rows[n_dense++] = i;
    }
    uint64_t before = s->counts.rows;
    size_t n_calls = n_dense > 0 ? calls_for(s, n_dense) : 0;
    for (size_t call = 0; call < n_calls; call++) {
        size_t begin = n_dense * call / n_calls, end = n_dense * (call + 1) / n_calls;
        FINCH_TRY(score_timed(s, begin, end, err));
        for (size_t i = begin; i < end; i++) FINCH_TRY(note_row(s, i, &in[s->rows[i]], &out[s->rows[i]], err));
        if (!progress_report(s->watch, before + s->rows[end - 1] + 1, s->n_total, NULL))
            return finch_fail(err, FINCH_E_CANCELLED, "interrupted");
    }
    s->counts.rows += n;
    s->counts.skipped += n - n_dense;
    return FINCH_OK;
}

/* A class's name as part of a column's: lower case, what is neither letter nor digit becomes _. */
static finch_status add_class_column(const data_scoring *s, const char *prefix, const char *kind, size_t label,
                                     data_names *names, finch_error *err)
{
    str name = {0};
    finch_status st = str_add_format(&name, err, "%s%s_", prefix, kind);
    for (const char *at = model_get_config(s->engine)->labels[label]; st == FINCH_OK && *at != '\0'; at++) {
        char c = isalnum((unsigned char)*at) || (unsigned char)*at >= 0x80 ? (char)tolower((unsigned char)*at) : '_';
        st = str_add(&name, &c, 1, err);
    }
    if (st == FINCH_OK && data_names_find_any_case(names, name.at) < names->n)
        st = finch_fail(err, FINCH_E_DATA, "two labels of the model give the column \"%s\"; rename one in its config.json",
                        name.at);
    if (st == FINCH_OK) st = data_names_add(names, name.at, name.size, err);
    str_free(&name);
    return st;
}

static finch_status add_plain_column(const char *prefix, const char *plain, data_names *names, finch_error *err)
{
    str name = {0};
    finch_status st = str_add_format(&name, err, "%s%s", prefix, plain);
    if (st == FINCH_OK) st = data_names_add(names, name.at, name.size, err);
    str_free(&name);
    return st;
}

finch_status data_scoring_columns(const data_scoring *s, const char *prefix, bool logits, data_names *names,
                                  finch_error *err)
{
    FINCH_TRY(add_plain_column(prefix, "label", names, err));
    FINCH_TRY(add_plain_column(prefix, "score", names, err));
    for (size_t i = 0; i < s->n_labels; i++) FINCH_TRY(add_class_column(s, prefix, "prob", i, names, err));
    for (size_t i = 0; logits && i < s->n_labels; i++) FINCH_TRY(add_class_column(s, prefix, "logit", i, names, err));
    return add_plain_column(prefix, "truncated", names, err);
}
