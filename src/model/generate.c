/* Answers under way, and the caches they go on from. */
#include "model/generate_internal.h"

#include <string.h>

enum { MEMORY_STEP = 256, REUSE_LEAST = 16, TEXT_RESERVE_BYTES = 1 << 16, BYTES_A_TOKEN = 8 };

/* ---- the generator ---------------------------------------------------------------------------------------------------- */

static void add_end(generator *x, int32_t id)
{
    if (id < 0 || (size_t)id >= x->n_words) return;
    for (size_t i = 0; i < x->n_ends; i++)
        if (x->ends[i] == id) return;
    x->ends[x->n_ends++] = id;
}

/* The configuration's end of text, the vocabulary's, and the end of a speaker's turn. */
static void find_ends(generator *x)
{
    text_special special = text_tokenizer_special(x->t);
    add_end(x, gemma_get_config(x->g)->eos_id);
    add_end(x, special.sep);
    add_end(x, special.turn_end);
}

/* Published tokenizers have control tokens that a text model has no rows for (<image_soft_token>): these never come. */
static finch_status check_words(const gemma *g, const text_tokenizer *t, finch_error *err)
{
    size_t n_words = gemma_get_config(g)->vocab_size;
    for (size_t id = n_words; id < text_tokenizer_vocab_size(t); id++)
        if (text_tokenizer_kind(t, (int32_t)id) != TEXT_PIECE_CONTROL)
            return text_tokenizer_check_rows(t, n_words, gemma_path(g), err);
    return FINCH_OK;
}

finch_status generator_create(const gemma *g, const text_tokenizer *t, size_t n_most, size_t n_threads, generator **out,
                              finch_error *err)
{
    generator *x;
    *out = NULL;
    if (n_most == 0 || n_most > GENERATE_MOST)
        return finch_fail(err, FINCH_E_USAGE, "%zu answers at a time are asked for; it must be 1 to %d", n_most,
                          GENERATE_MOST);
    if (text_tokenizer_style(t) != TEXT_GEMMA)
        return finch_fail(err, FINCH_E_UNSUPPORTED, "%s has no tokenizer of Gemma's: its tokens can not be made text again",
                          gemma_path(g));
    FINCH_TRY(check_words(g, t, err));
    FINCH_TRY(MEM_NEW(&x, 1, err));
    x->g = g;
    x->t = t;
    x->n_most = n_most;
    x->n_threads = n_threads;
    x->n_words = gemma_get_config(g)->vocab_size;
    arena_init(&x->scratch);
    find_ends(x);
    finch_status st = mem_alloc(x->n_words + GENERATE_ENDS, sizeof *x->candidates, (void **)&x->candidates, err);
    if (st == FINCH_OK) st = mem_alloc(n_most * GENERATE_PART, sizeof *x->ids, (void **)&x->ids, err);
    if (st == FINCH_OK) *out = x;
    else generator_destroy(x);
    return st;
}

static void forget(generate_memory *m)
{
    gemma_cache_destroy(m->cache);
    mem_free(m->ids);
    *m = (generate_memory){0};
}

static void free_generation(generation *g)
{
    if (g == NULL) return;
    forget(&g->memory);
    generate_text_free(&g->text);
    piece_sets_destroy(g->sets);
    mem_free(g->tokens);
    mem_free(g);
}

void generator_destroy(generator *x)
{
    if (x == NULL) return;
    for (size_t i = 0; i < x->n_running; i++) free_generation(x->running[i]);
    forget(&x->idle);
    piece_table_destroy(x->pieces);
    arena_free(&x->scratch);
    mem_free(x->candidates);
    mem_free(x->ids);
    mem_free(x->logits);
    mem_free(x);
}

/* ---- caches ----------------------------------------------------------------------------------------------------------- */

/* How many tokens of the prompt m holds; never all, for the last one's hidden states are needed. */
static size_t held(const generate_memory *m, const generate_request *q)
{
    size_t most = m->cache == NULL ? 0 : size_least(gemma_cache_length(m->cache), q->n_prompt - 1), n = 0;
    while (n < most && m->ids[n] == q->prompt[n]) n++;
    return n >= REUSE_LEAST ? n : 0;
}

static finch_status new_memory(const generator *x, size_t room, generate_memory *m, finch_error *err)
{
    m->room = size_least((room + MEMORY_STEP - 1) / MEMORY_STEP * MEMORY_STEP, gemma_get_config(x->g)->n_positions);
    FINCH_TRY(mem_alloc(m->room, sizeof *m->ids, (void **)&m->ids, err));
    return gemma_cache_create(x->g, m->room, &m->cache, err);
}

/* The prompt's tokens, and a cache that holds as many of them as one is found that does. */
static finch_status remember(generator *x, const generate_request *q, generation *g, finch_error *err)
{
    size_t room = q->n_prompt + g->max_tokens, best = held(&x->idle, q);
    const generate_memory *from = &x->idle;
    for (size_t i = 0; i < x->n_running; i++) {
        size_t n = held(&x->running[i]->memory, q);
        if (n <= best) continue;
        best = n;
        from = &x->running[i]->memory;
    }
    if (best > 0 && from == &x->idle && x->idle.room >= room) {
        g->memory = x->idle;
        x->idle = (generate_memory){0};
        gemma_cache_cut(g->memory.cache, best);
    } else {
        FINCH_TRY(new_memory(x, room, &g->memory, err));
        if (best > 0) gemma_cache_copy(from->cache, best, g->memory.cache);
    }
    memcpy(g->memory.ids, q->prompt, q->n_prompt * sizeof *q->prompt);
    g->memory.n_ids = q->n_prompt;
    g->n_reused = best;
    return FINCH_OK;
}

/* ---- answers ---------------------------------------------------------------------------------------------------------- */

static finch_status check_request(const generator *x, const generate_request *q, finch_error *err)
{
    size_t n_positions = gemma_get_config(x->g)->n_positions;
    if (x->n_running == x->n_most) return finch_fail(err, FINCH_E_BUSY, "%zu answers are under way already", x->n_most);
    FINCH_TRY(sampling_check(&q->how, err));
    if (q->n_prompt == 0 || q->max_tokens == 0)
        return finch_fail(err, FINCH_E_USAGE, "a prompt has at least one token, an answer may have at least one");
    if (q->n_top > GENERATE_TOP_MAX)
        return finch_fail(err, FINCH_E_USAGE, "%zu likeliest tokens are asked for; at most %d are listed", q->n_top,
                          GENERATE_TOP_MAX);
    if (q->n_prompt >= n_positions)
        return finch_fail(err, FINCH_E_DATA, "the prompt has %zu tokens; the model takes %zu with the answer", q->n_prompt,
                          n_positions);
    for (size_t i = 0; i < q->n_prompt; i++)
        if (q->prompt[i] < 0 || (size_t)q->prompt[i] >= x->n_words)
            return finch_fail(err, FINCH_E_USAGE, "token %zu of the prompt is %ld; ids are below %zu", i + 1,
                              (long)q->prompt[i], x->n_words);
    return FINCH_OK;
}

static finch_status hold_to_form(generator *x, const generate_request *q, generation *g, finch_error *err)
{
    if (q->form == NULL) return FINCH_OK;
    if (x->pieces == NULL) FINCH_TRY(piece_table_create(x->t, &x->pieces, err));
    g->form = q->form;
    form_begin(q->form, &g->state);
    return piece_sets_create(x->pieces, q->form, &g->sets, err);
}

static finch_status begin(generator *x, const generate_request *q, generation *g, finch_error *err)
{
    g->how = q->how;
    g->draws = (rng){.seed = q->seed};
    g->n_prompt = q->n_prompt;
    g->max_tokens = size_least(q->max_tokens, gemma_get_config(x->g)->n_positions - q->n_prompt);
    g->take = q->take;
    g->context = q->context;
    g->wants_tokens = q->wants_tokens;
    g->n_top = q->n_top;
    FINCH_TRY(generate_text_begin(&g->text, q, x->t, err));
    FINCH_TRY(str_reserve(&g->text.all, size_least(g->max_tokens * BYTES_A_TOKEN, TEXT_RESERVE_BYTES), err));
    FINCH_TRY(hold_to_form(x, q, g, err));
    if (q->wants_tokens) FINCH_TRY(mem_alloc(g->max_tokens, sizeof *g->tokens, (void **)&g->tokens, err));
    return remember(x, q, g, err);
}

finch_status generator_add(generator *x, const generate_request *q, generation **out, finch_error *err)
{
    *out = NULL;
    FINCH_TRY(check_request(x, q, err));
    FINCH_TRY(MEM_NEW(out, 1, err));
    finch_status st = begin(x, q, *out, err);
    if (st == FINCH_OK) {
        x->running[x->n_running++] = *out;
        return FINCH_OK;
    }
    free_generation(*out);
    *out = NULL;
    return st;
}

size_t generator_running(const generator *x)
{
    size_t n = 0;
    for (size_t i = 0; i < x->n_running; i++) n += x->running[i]->end == GENERATE_RUNS ? 1 : 0;
    return n;
}

void generator_remove(generator *x, generation *g)
{
    size_t at = 0;
    while (at < x->n_running && x->running[at] != g) at++;
    if (at == x->n_running) return;
    x->running[at] = x->running[--x->n_running];
    forget(&x->idle);
    x->idle = g->memory;
    g->memory = (generate_memory){0};
    free_generation(g);
}

generate_result generation_result(const generation *g)
{
    return (generate_result){.end = g->end,
                             .text = {g->text.all.at, g->text.all.size},
                             .n_prompt = g->n_prompt,
                             .n_tokens = g->n_tokens,
                             .n_reused = g->n_reused,
                             .tokens = g->tokens,
                             .n_listed = g->n_listed};
}

void generation_cancel(generation *g)
{
    if (g->end == GENERATE_RUNS) g->end = GENERATE_CANCELLED;
}
