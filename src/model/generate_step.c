/* A step: one pass over everything under way, then a token for each answer whose prompt is read. */
#include "model/generate_internal.h"

#include <math.h>
#include <string.h>

/* What goes into the pass: a text for each answer. A row's answer is the one that gets a token from it. */
typedef struct step {
    uint32_t offsets[GENERATE_MOST + 1], wanted[GENERATE_MOST];
    gemma_cache *caches[GENERATE_MOST];
    generation *texts[GENERATE_MOST], *rows[GENERATE_MOST];
    size_t n_texts, n_rows;
    float *hidden; /* [n_rows, hidden_size] */
} step;

/* ---- the pass --------------------------------------------------------------------------------------------------------- */

static void gather(generator *x, step *s)
{
    for (size_t i = 0; i < x->n_running; i++) {
        generation *g = x->running[i];
        size_t read = g->end == GENERATE_RUNS ? gemma_cache_length(g->memory.cache) : 0, at = s->offsets[s->n_texts];
        if (g->end != GENERATE_RUNS) continue;
        size_t n = size_least(g->memory.n_ids - read, GENERATE_PART);
        memcpy(x->ids + at, g->memory.ids + read, n * sizeof *x->ids);
        s->texts[s->n_texts] = g;
        s->caches[s->n_texts] = g->memory.cache;
        s->offsets[++s->n_texts] = (uint32_t)(at + n);
        if (read + n < g->memory.n_ids) continue;
        s->wanted[s->n_rows] = (uint32_t)(at + n - 1);
        s->rows[s->n_rows++] = g;
    }
}

static finch_status pass(generator *x, step *s, finch_error *err)
{
    const gemma_batch b = {.ids = x->ids,
                           .offsets = s->offsets,
                           .n_texts = s->n_texts,
                           .n_tokens = s->offsets[s->n_texts],
                           .caches = s->caches,
                           .keep = true,
                           .wanted = s->wanted,
                           .n_wanted = s->n_rows,
                           .n_threads = x->n_threads};
    FINCH_TRY(ARENA_NEW(&x->scratch, &s->hidden, s->n_rows * gemma_get_config(x->g)->hidden_size, err));
    return gemma_hidden(x->g, &b, s->hidden, &x->scratch, err);
}

/* ---- candidates ------------------------------------------------------------------------------------------------------- */

static finch_status check_logit(float logit, finch_error *err)
{
    if (isfinite(logit)) return FINCH_OK;
    return finch_fail(err, FINCH_E_DATA,
                      "a logit is no number: the model's weights are broken, or too large for its compute type");
}

/* All words of the vocabulary that have a piece, or those of the set and, where the text may end, the ends. */
static finch_status pick(generator *x, const generation *g, const piece_set *set, const float *logits, size_t *n,
                         finch_error *err)
{
    size_t n_pieces = size_least(text_tokenizer_vocab_size(x->t), x->n_words);
    *n = 0;
    for (size_t id = 0; id < n_pieces; id++) {
        if (set != NULL && (set->bits[id / 64] >> id % 64 & 1) == 0) continue;
        FINCH_TRY(check_logit(logits[id], err));
        x->candidates[(*n)++] = (candidate){logits[id], (int32_t)id};
    }
    for (size_t i = 0; set != NULL && form_may_end(g->form, &g->state) && i < x->n_ends; i++)
        x->candidates[(*n)++] = (candidate){logits[x->ends[i]], x->ends[i]};
    return FINCH_OK;
}

/* The logits of a short list alone: the rest of the vocabulary is not looked at. */
static finch_status pick_listed(generator *x, const generation *g, const piece_set *set, const float *hidden, size_t *n,
                                finch_error *err)
{
    int32_t ids[PIECES_LISTED_MAX + GENERATE_ENDS];
    float logits[PIECES_LISTED_MAX + GENERATE_ENDS];
    *n = set->n; /* NOLINT: who has no logits has a list */
    memcpy(ids, set->ids, set->n * sizeof *ids);
    for (size_t i = 0; form_may_end(g->form, &g->state) && i < x->n_ends; i++) ids[(*n)++] = x->ends[i];
    FINCH_TRY(gemma_token_logits(x->g, hidden, 1, ids, *n, logits, &x->scratch, err));
    for (size_t i = 0; i < *n; i++) {
        FINCH_TRY(check_logit(logits[i], err));
        x->candidates[i] = (candidate){logits[i], ids[i]};
    }
    return FINCH_OK;
}

/* The likeliest of all words that have a piece, the smallest id among equals: sampling_choose's at temperature 0, with no list. */
static finch_status find_likeliest(const generator *x, const float *logits, int32_t *id, finch_error *err)
{
    size_t n_pieces = size_least(text_tokenizer_vocab_size(x->t), x->n_words), best = 0;
    for (size_t i = 0; i < n_pieces; i++) {
        FINCH_TRY(check_logit(logits[i], err));
        if (logits[i] > logits[best]) best = i;
    }
    *id = (int32_t)best;
    return FINCH_OK;
}

/* ---- a token ---------------------------------------------------------------------------------------------------------- */

static bool is_end(const generator *x, int32_t id)
{
    for (size_t i = 0; i < x->n_ends; i++)
        if (x->ends[i] == id) return true;
    return false;
}

static void list_token(generator *x, generation *g, size_t chosen, size_t n)
{
    double sum = sampling_log_sum(x->candidates, n);
    generate_token *token = &g->tokens[g->n_listed++];
    candidate own = x->candidates[chosen];
    *token = (generate_token){.chosen = {own.id, (float)((double)own.logit - sum)}, .n_top = size_least(g->n_top, n)};
    if (token->n_top > 0) sampling_sort_top(x->candidates, n, token->n_top);
    for (size_t i = 0; i < token->n_top; i++)
        token->top[i] = (generate_choice){x->candidates[i].id, (float)((double)x->candidates[i].logit - sum)};
}

/* The log-probabilities need all candidates, which drawing puts in another order and filters. */
static int32_t choose(generator *x, generation *g, size_t n)
{
    rng draws = g->draws;
    if (!g->wants_tokens) return x->candidates[sampling_choose(&g->how, x->candidates, n, &g->draws)].id;
    int32_t id = x->candidates[sampling_choose(&g->how, x->candidates, n, &draws)].id;
    size_t place = 0;
    while (x->candidates[place].id != id) place++;
    if (!is_end(x, id)) list_token(x, g, place, n);
    g->draws = draws;
    return id;
}

static finch_status finish(generation *g, generate_end end, finch_error *err)
{
    bool stopped;
    FINCH_TRY(generate_text_end(&g->text, &stopped, err));
    g->end = stopped ? GENERATE_STOP : end;
    (void)generate_text_give(g, true);
    return FINCH_OK;
}

static finch_status accept(generator *x, generation *g, int32_t id, finch_error *err)
{
    bool stopped;
    if (is_end(x, id)) return finish(g, GENERATE_STOP, err);
    g->memory.ids[g->memory.n_ids++] = id;
    g->n_tokens++;
    if (g->form != NULL) piece_sets_take(g->sets, &g->state, id);
    FINCH_TRY(generate_text_add(&g->text, id, &stopped, err));
    if (stopped || (g->form != NULL && form_must_end(&g->state))) return finish(g, GENERATE_STOP, err);
    if (g->n_tokens == g->max_tokens) return finish(g, GENERATE_LENGTH, err);
    if (!generate_text_give(g, false)) g->end = GENERATE_CANCELLED;
    return FINCH_OK;
}

/* set NULL: any token. logits: the vocabulary's, or NULL where the set's list is enough. */
static finch_status continue_answer(generator *x, generation *g, const piece_set *set, const float *hidden,
                                    const float *logits, finch_error *err)
{
    size_t n;
    int32_t id;
    if (logits != NULL && set == NULL && g->how.temperature == 0.0 && !g->wants_tokens) {
        FINCH_TRY(find_likeliest(x, logits, &id, err));
        return accept(x, g, id, err);
    }
    if (logits == NULL) FINCH_TRY(pick_listed(x, g, set, hidden, &n, err));
    else FINCH_TRY(pick(x, g, set, logits, &n, err));
    if (n == 0) return finch_fail(err, FINCH_E_DATA, "the vocabulary has no piece that the answer's form allows next");
    return accept(x, g, choose(x, g, n), err);
}

static finch_status room_for_logits(generator *x, size_t n_rows, finch_error *err)
{
    if (n_rows <= x->n_rows_room) return FINCH_OK;
    mem_free(x->logits);
    x->n_rows_room = 0;
    FINCH_TRY(mem_alloc(n_rows, x->n_words * sizeof *x->logits, (void **)&x->logits, err));
    x->n_rows_room = n_rows;
    return FINCH_OK;
}

/* Rows that need the whole vocabulary go through it together, so that its weights are read once. */
static finch_status choose_all(generator *x, step *s, finch_error *err)
{
    const piece_set *sets[GENERATE_MOST];
    size_t width = gemma_get_config(x->g)->hidden_size, whole[GENERATE_MOST], n_whole = 0;
    float *rows;
    FINCH_TRY(ARENA_NEW(&x->scratch, &rows, s->n_rows * width, err));
    for (size_t i = 0; i < s->n_rows; i++) {
        generation *g = s->rows[i];
        sets[i] = NULL;
        if (g->form != NULL) FINCH_TRY(piece_sets_find(g->sets, &g->state, &sets[i], err));
        if (sets[i] != NULL && sets[i]->ids != NULL) continue;
        memcpy(rows + n_whole * width, s->hidden + i * width, width * sizeof *rows);
        whole[n_whole++] = i;
    }
    FINCH_TRY(room_for_logits(x, n_whole, err));
    if (n_whole > 0) FINCH_TRY(gemma_vocabulary_logits(x->g, rows, n_whole, x->n_threads, x->logits, &x->scratch, err));
    for (size_t i = 0, at = 0; i < s->n_rows; i++) {
        bool is_whole = at < n_whole && whole[at] == i;
        FINCH_TRY(continue_answer(x, s->rows[i], sets[i], s->hidden + i * width,
                                  is_whole ? x->logits + at * x->n_words : NULL, err));
        if (is_whole) at++;
    }
    return FINCH_OK;
}

/* Prompts grow by a token a step, and what a pass needs with them: a quarter more than was needed is kept, so that few steps allocate. */
static finch_status keep_scratch(generator *x, finch_error *err)
{
    unsigned char *block;
    arena_reset(&x->scratch);
    if (x->scratch.peak_bytes <= x->reserved_bytes) return FINCH_OK;
    x->reserved_bytes = x->scratch.peak_bytes + x->scratch.peak_bytes / 4;
    FINCH_TRY(ARENA_NEW(&x->scratch, &block, x->reserved_bytes, err));
    arena_reset(&x->scratch);
    x->reserved_bytes = x->scratch.peak_bytes;
    return FINCH_OK;
}

finch_status generator_step(generator *x, finch_error *err)
{
    step s = {.n_texts = 0};
    gather(x, &s);
    if (s.n_texts == 0) return FINCH_OK;
    finch_status st = pass(x, &s, err);
    if (st == FINCH_OK && s.n_rows > 0) st = choose_all(x, &s, err);
    if (st != FINCH_OK) {
        for (size_t i = 0; i < s.n_texts; i++)
            if (s.texts[i]->end == GENERATE_RUNS) s.texts[i]->end = GENERATE_CANCELLED;
        arena_reset(&x->scratch);
        return st;
    }
    return keep_scratch(x, err);
}
