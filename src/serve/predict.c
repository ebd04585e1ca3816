/* POST /api/v1/predict: the contract's format. */
#include "serve/explain.h"
#include "serve/handlers.h"
#include "serve/reply.h"
#include "serve/schema.h"
#include "serve/scoring.h"
#include "text/ticker.h"

#include <string.h>

enum { PREDICT_TICKERS_MAX = 64 };

/* The texts of a request; with explanations each has its variants, one after the other. */
typedef struct prediction {
    bool many;
    size_t n;
    finch_text *texts;   /* [n] */
    explain_plan *plans; /* [n]; NULL: none */
    size_t *first;       /* [n]: the text's place among those that are scored */
} prediction;

static explain_method method_of(const json_t *explain)
{
    if (json_is_true(explain)) return EXPLAIN_SHAPLEY;
    if (!json_is_string(explain)) return EXPLAIN_NONE;
    return strcmp(json_string_value(explain), "occlusion") == 0 ? EXPLAIN_OCCLUSION : EXPLAIN_SHAPLEY;
}

/* ---- the answer ------------------------------------------------------------------------------------------------------ */

static json_t *tickers_json(finch_text text)
{
    text_ticker found[PREDICT_TICKERS_MAX];
    size_t n = text_tickers_find(text, found, PREDICT_TICKERS_MAX);
    json_t *list = json_array();
    for (size_t i = 0; i < n && i < PREDICT_TICKERS_MAX; i++) {
        bool seen = false;
        for (size_t j = 0; j < i; j++) seen = seen || strcmp(found[i].symbol, found[j].symbol) == 0;
        if (!seen) json_array_append_new(list, json_string(found[i].symbol));
    }
    return list;
}

/* The word's bytes as a JSON text: words end at white space, so they are whole characters. */
static json_t *word_json(const explain_plan *plan, const explain_word *w)
{
    return json_pack("{s:o, s:I, s:I, s:f}", "word", json_stringn(plan->text.at + w->begin, w->end - w->begin), "begin",
                     (json_int_t)w->begin, "end", (json_int_t)w->end, "weight", w->weight);
}

static json_t *explanation_json(const scoring *s, const prediction *p, size_t i)
{
    explain_plan *plan = &p->plans[i];
    double *scores;
    json_t *words = json_array();
    if (words == NULL || ARENA_NEW(&s->r->memory, &scores, plan->n_variants, NULL) != FINCH_OK) {
        json_decref(words);
        return NULL;
    }
    for (size_t v = 0; v < plan->n_variants; v++) scores[v] = scoring_value(s, p->first[i] + v);
    explain_finish(plan, scores);
    for (size_t w = 0; w < plan->n_words; w++) json_array_append_new(words, word_json(plan, &plan->words[w]));
    return json_pack("{s:s, s:f, s:f, s:f, s:o}", "method", plan->method == EXPLAIN_SHAPLEY ? "shapley" : "occlusion",
                     "base", plan->base, "sum", plan->sum, "residual", plan->residual, "words", words);
}

static json_t *prediction_json(const scoring *s, const prediction *p, size_t i)
{
    const model_slot *slot = s->job.slot;
    const batch_text *t = &s->job.texts[p->first[i]];
    const model_config *c = model_get_config(slot->engine);
    float probabilities[MODEL_LABELS_MAX];
    size_t best = scoring_probabilities(s, p->first[i], probabilities);
    json_t *classes = json_object();
    for (size_t k = 0; k < c->n_labels; k++) json_object_set_new(classes, c->labels[k], json_real((double)probabilities[k]));
    json_t *one = json_pack("{s:s, s:o, s:o, s:o, s:I, s:b, s:s, s:b}", "label", c->labels[best], "score",
                            slot->has_sentiment ? json_real(model_sentiment(slot->engine, probabilities)) : json_null(),
                            "probabilities", classes, "tickers", tickers_json(p->texts[i]), "tokens",
                            (json_int_t)t->info.n_tokens, "truncated", (int)t->info.truncated, "model", slot->title,
                            "cached", (int)t->cached);
    if (one != NULL && p->plans != NULL) json_object_set_new(one, "explanation", explanation_json(s, p, i));
    return one;
}

static void answer(scoring *s)
{
    const prediction *p = s->context;
    for (size_t i = 0; i < p->n; i++) scoring_observe(s, p->first[i]);
    if (!p->many) {
        reply_data(s->r, 200, prediction_json(s, p, 0));
        return;
    }
    json_t *all = json_array();
    for (size_t i = 0; i < p->n; i++) json_array_append_new(all, prediction_json(s, p, i));
    reply_data(s->r, 200, all);
}

/* ---- the request ----------------------------------------------------------------------------------------------------- */

static finch_status take_texts(request *r, prediction *p, finch_error *err)
{
    const json_t *texts = json_object_get(r->json, "texts");
    p->many = texts != NULL;
    p->n = p->many ? json_array_size(texts) : 1;
    FINCH_TRY(ARENA_NEW(&r->memory, &p->texts, p->n, err));
    FINCH_TRY(ARENA_NEW(&r->memory, &p->first, p->n, err));
    for (size_t i = 0; i < p->n; i++) {
        const json_t *text = p->many ? json_array_get(texts, i) : json_object_get(r->json, "text");
        p->texts[i] = (finch_text){json_string_value(text), json_string_length(text)};
        p->first[i] = i;
    }
    return FINCH_OK;
}

static finch_status plan_explanations(request *r, prediction *p, explain_method method, size_t *n_scored, finch_error *err)
{
    *n_scored = p->n;
    if (method == EXPLAIN_NONE) return FINCH_OK;
    *n_scored = 0;
    FINCH_TRY(ARENA_NEW(&r->memory, &p->plans, p->n, err));
    for (size_t i = 0; i < p->n; i++) {
        FINCH_TRY(explain_prepare(&p->plans[i], method, p->texts[i], &r->memory, err));
        p->first[i] = *n_scored;
        *n_scored += p->plans[i].n_variants;
        if (*n_scored > r->server->options.limits.max_queue)
            return finch_fail(err, FINCH_E_BUSY, "the explanations need more texts than may wait");
    }
    return FINCH_OK;
}

static void fill(scoring *s, const prediction *p)
{
    for (size_t i = 0; i < p->n; i++) {
        if (p->plans == NULL) s->job.texts[i].text = p->texts[i];
        for (size_t v = 0; p->plans != NULL && v < p->plans[i].n_variants; v++)
            s->job.texts[p->first[i] + v].text = p->plans[i].variants[v];
    }
}

handler_answer handle_predict(request *r)
{
    finch_error err = {0};
    prediction *p;
    scoring *s;
    size_t n_scored = 0;
    finch_status st = ARENA_NEW(&r->memory, &p, 1, &err);
    if (st == FINCH_OK) {
        *p = (prediction){0};
        st = take_texts(r, p, &err);
    }
    if (st == FINCH_OK) st = plan_explanations(r, p, method_of(json_object_get(r->json, "explain")), &n_scored, &err);
    if (st == FINCH_E_BUSY) {
        reply_limit(r, 413, "too_many_explanations", "max_queue", r->server->options.limits.max_queue, "max-queue",
                    err.message);
        return HANDLER_ANSWERED;
    }
    if (st != FINCH_OK) {
        reply_failure(r, st, &err);
        return HANDLER_ANSWERED;
    }
    if (!scoring_open(r, json_string_value(json_object_get(r->json, "model")), n_scored, answer, p, &s))
        return HANDLER_ANSWERED;
    s->job.use_cache = !json_is_false(json_object_get(r->json, "cache"));
    fill(s, p);
    return scoring_run(s);
}
