/* One pass of a packed batch through a Gemma.
 *
 * A layer: x += norm(attention(norm(x))), x += norm(down(gelu(gate) * up)) of norm(x). Source: arXiv:2503.19786 and
 * transformers' modeling_gemma3.py, whose order of operations is kept. After the last layer only the wanted tokens matter, so
 * that layer computes keys and values for all, and everything else for these alone.
 *
 * A call inside a parallel region stays on its thread; elsewhere each step's panels, rows or heads are divided. What a number
 * is computed from, and in which order, is the same either way. */
#include "model/gemma_internal.h"
#include "tensor/kernels/constants.h"

#include <math.h>
#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#endif

enum { TEAM_ROWS_MAX = 1024, ROWS_PART = 8, INTEGER_ROWS_MAX = 256, KEYS_PART = 64, TEXTS_EACH = 2 };

/* Rows as the products read them: floats where they lie, and what is made of them. */
typedef struct rows_in {
    const float *x;
    size_t n_rows, width;
    linear_input packed;
    block_rows blocks;
} rows_in;

typedef struct pass {
    const gemma *g;
    const gemma_batch *b;
    size_t team;
    size_t queries, keys;  /* widths of all heads together */
    size_t block_rows;     /* rows that go through a layer's dense half at a time */
    size_t longest;        /* the most keys that a text sees */
    uint32_t *wanted_of;   /* [n_texts + 1] where a text's wanted tokens begin */
    size_t first_place;    /* of the tables below */
    float *angles[2];      /* local and global: [places, 2, head_width / 2] cosines and sines */
    float *x;              /* [n_tokens, hidden]: the residual stream */
    float *normed;         /* [n_tokens, hidden] */
    float *some;           /* [n_wanted, hidden]: the wanted rows of x in the last layer */
    float *q, *k, *v;
    float *context;        /* [n_tokens, queries] */
    float *sum;            /* [block_rows, hidden] */
    float *gate, *up;      /* [block_rows, intermediate] */
    rows_in in, context_in, wide_in; /* room */
    uint32_t *place_of;    /* [n_tokens] in its text, the prefix counted */
    float *low, *adapted;  /* of adapters: [n_tokens, rank], and [n_tokens, the widest product] */
    size_t thread_floats;  /* of each thread's part of scratch */
    float *scratch;
} pass;

/* ---- threads -------------------------------------------------------------------------------------------------- */

size_t gemma_team(size_t n_threads)
{
#ifdef _OPENMP
    if (omp_in_parallel()) return 1;
    return n_threads > 0 ? n_threads : (size_t)omp_get_max_threads();
#else
    (void)n_threads;
    return 1;
#endif
}

static size_t thread_index(void)
{
#ifdef _OPENMP
    return omp_get_level() > 0 && omp_get_num_threads() > 1 ? (size_t)omp_get_thread_num() : 0;
#else
    return 0;
#endif
}

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

static size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

static float *thread_scratch(const pass *p) { return p->scratch + (p->team > 1 ? thread_index() : 0) * p->thread_floats; }

/* ---- the batch ------------------------------------------------------------------------------------------------ */

static const gemma_cache *cache_of(const gemma_batch *b, size_t text) { return b->caches == NULL ? NULL : b->caches[text]; }

static size_t prefix_of(const gemma_batch *b, size_t text)
{
    const gemma_cache *c = cache_of(b, text);
    return c == NULL ? 0 : c->n_tokens;
}

static finch_status check_text(const gemma *g, const gemma_batch *b, size_t text, finch_error *err)
{
    size_t begin = b->offsets[text], end = b->offsets[text + 1], before = prefix_of(b, text);
    if (end <= begin || end > b->n_tokens || end - begin > g->config.n_positions - size_least(before, g->config.n_positions))
        return finch_fail_row(
            err, FINCH_E_USAGE, text + 1,
            "text %zu of the batch spans the tokens [%zu, %zu) of %zu behind %zu; it must have at least 1, and "
            "no more than %zu positions",
            text + 1, begin, end, b->n_tokens, before, g->config.n_positions);
    for (size_t i = begin; i < end; i++)
        if (b->ids[i] < 0 || (size_t)b->ids[i] >= g->config.vocab_size)
            return finch_fail_row(err, FINCH_E_USAGE, text + 1, "token %zu of text %zu is %ld; ids are below %zu",
                                  i - begin + 1, text + 1, (long)b->ids[i], g->config.vocab_size);
    if (!b->keep) return FINCH_OK;
    const gemma_cache *c = cache_of(b, text);
    if (c == NULL || c->room - c->n_tokens < end - begin)
        return finch_fail_row(err, FINCH_E_USAGE, text + 1,
                              "text %zu has %zu tokens to keep; its cache has no room for them", text + 1, end - begin);
    for (size_t other = 0; other < text; other++)
        if (b->caches[other] == c)
            return finch_fail_row(err, FINCH_E_USAGE, text + 1, "the texts %zu and %zu are to be kept in one cache",
                                  other + 1, text + 1);
    return FINCH_OK;
}

static finch_status check_batch(const gemma *g, const gemma_batch *b, finch_error *err)
{
    if (b->n_texts > 0 && b->offsets[0] != 0)
        return finch_fail(err, FINCH_E_USAGE, "a batch's first offset is %lu, not 0", (unsigned long)b->offsets[0]);
    for (size_t i = 0; i < b->n_texts; i++) FINCH_TRY(check_text(g, b, i, err));
    if (b->n_texts > 0 && b->offsets[b->n_texts] != b->n_tokens)
        return finch_fail(err, FINCH_E_USAGE, "a batch's last offset is %lu, its tokens are %zu",
                          (unsigned long)b->offsets[b->n_texts], b->n_tokens);
    for (size_t i = 0; i < b->n_wanted; i++)
        if (b->wanted[i] >= b->n_tokens || (i > 0 && b->wanted[i] <= b->wanted[i - 1]))
            return finch_fail(err, FINCH_E_USAGE, "the wanted tokens are not rising numbers below %zu", b->n_tokens);
    return FINCH_OK;
}

static void place_tokens(pass *p)
{
    const gemma_batch *b = p->b;
    size_t at = 0;
    for (size_t text = 0; text < b->n_texts; text++) {
        p->wanted_of[text] = (uint32_t)at;
        while (at < b->n_wanted && b->wanted[at] < b->offsets[text + 1]) at++;
    }
    p->wanted_of[b->n_texts] = (uint32_t)b->n_wanted;
    for (size_t text = 0; text < b->n_texts; text++)
        for (size_t i = b->offsets[text]; i < b->offsets[text + 1]; i++)
            p->place_of[i] = (uint32_t)(prefix_of(b, text) + i - b->offsets[text]);
}

/* ---- angles --------------------------------------------------------------------------------------------------- */

void gemma_angles(const gemma_config *c, bool is_global, size_t first, size_t n, float *out)
{
    size_t width = c->head_width, half = width / 2;
    float theta = (float)(is_global ? c->global_theta : c->local_theta);
    float factor = (float)(is_global ? c->global_factor : c->local_factor);
    for (size_t i = 0; i < half; i++) {
        float frequency = 1.0f / powf(theta, (float)(2 * i) / (float)width) / factor;
        for (size_t place = 0; place < n; place++) {
            float angle = (float)(first + place) * frequency;
            out[place * width + i] = cosf(angle);
            out[place * width + half + i] = sinf(angle);
        }
    }
}

static finch_status make_angles(pass *p, arena *a, finch_error *err)
{
    const gemma_config *c = &p->g->config;
    size_t first = SIZE_MAX, end = 0;
    for (size_t text = 0; text < p->b->n_texts; text++) {
        size_t before = prefix_of(p->b, text);
        first = size_least(first, before);
        end = larger(end, before + p->b->offsets[text + 1] - p->b->offsets[text]);
    }
    p->first_place = first;
    p->longest = end;
    for (size_t i = 0; i < 2; i++) {
        FINCH_TRY(ARENA_NEW(a, &p->angles[i], (end - first) * c->head_width, err));
        gemma_angles(c, i == 1, first, end - first, p->angles[i]);
    }
    return FINCH_OK;
}

/* ---- memory --------------------------------------------------------------------------------------------------- */

static finch_status rows_alloc(const gemma *g, arena *a, size_t n, size_t width, rows_in *out, finch_error *err)
{
    const gemma_layer *l = &g->layers[0];
    *out = (rows_in){.width = width};
    if (g->compute == MODEL_F32) return FINCH_OK;
    if (g->compute != MODEL_INT8) return linear_input_alloc(a, l->query.packed.type, n, width, &out->packed, err);
    return blocks_alloc(a, n, width, g->needs_parts, &out->blocks, err);
}

/* Each thread's: a panel of the widest product, or a head's keys and scores. */
static size_t thread_floats(const pass *p)
{
    const gemma_layer *l = &p->g->layers[0];
    size_t product = larger(stored_scratch_floats(&l->down.stored), stored_scratch_floats(&l->out.stored));
    size_t keys = round_up(causal_keys_floats(p->longest, p->g->config.head_width), 16) + causal_scratch_floats(p->longest);
    product = larger(product, stored_scratch_floats(&l->query.stored));
    if (p->g->compute == MODEL_INT8) product = (blocks_scratch_bytes() + sizeof(float) - 1) / sizeof(float);
    return round_up(larger(product, keys), 16);
}

/* A panel that is widened in every product serves all rows; packed ones few, so that the wide half stays in the cache; between
 * the two what is put in shape each time. */
static size_t rows_at_a_time(const pass *p)
{
    size_t n = p->b->n_tokens;
    if (p->g->compute == MODEL_F32) return n;
    if (p->g->compute == MODEL_INT8) return size_least(n, INTEGER_ROWS_MAX);
    return size_least(n, p->team > 1 ? TEAM_ROWS_MAX : p->g->products.block_rows);
}

static finch_status pass_init(pass *p, const gemma *g, const gemma_batch *b, arena *a, finch_error *err)
{
    const gemma_config *c = &g->config;
    size_t n = b->n_tokens;
    *p = (pass){.g = g, .b = b, .team = gemma_team(b->n_threads)};
    p->queries = c->n_heads * c->head_width;
    p->keys = c->n_key_heads * c->head_width;
    p->block_rows = rows_at_a_time(p);
    FINCH_TRY(make_angles(p, a, err));
    p->thread_floats = thread_floats(p);
    FINCH_TRY(ARENA_NEW(a, &p->wanted_of, b->n_texts + 1, err));
    FINCH_TRY(ARENA_NEW(a, &p->place_of, n, err));
    place_tokens(p);
    FINCH_TRY(ARENA_NEW(a, &p->x, n * c->hidden_size, err));
    FINCH_TRY(ARENA_NEW(a, &p->normed, n * c->hidden_size, err));
    FINCH_TRY(ARENA_NEW(a, &p->some, b->n_wanted * c->hidden_size, err));
    FINCH_TRY(ARENA_NEW(a, &p->q, n * p->queries, err));
    FINCH_TRY(ARENA_NEW(a, &p->k, n * p->keys, err));
    FINCH_TRY(ARENA_NEW(a, &p->v, n * p->keys, err));
    FINCH_TRY(ARENA_NEW(a, &p->context, n * p->queries, err));
    FINCH_TRY(ARENA_NEW(a, &p->sum, p->block_rows * c->hidden_size, err));
    FINCH_TRY(ARENA_NEW(a, &p->gate, p->block_rows * c->intermediate_size, err));
    FINCH_TRY(ARENA_NEW(a, &p->up, p->block_rows * c->intermediate_size, err));
    FINCH_TRY(rows_alloc(g, a, n, c->hidden_size, &p->in, err));
    FINCH_TRY(rows_alloc(g, a, p->block_rows, p->queries, &p->context_in, err));
    FINCH_TRY(rows_alloc(g, a, p->block_rows, c->intermediate_size, &p->wide_in, err));
    if (g->adapter.rank > 0) {
        FINCH_TRY(ARENA_NEW(a, &p->low, n * g->adapter.rank, err));
        FINCH_TRY(ARENA_NEW(a, &p->adapted, n * larger(larger(c->intermediate_size, p->queries), c->hidden_size), err));
    }
    return ARENA_NEW(a, &p->scratch, p->team * p->thread_floats, err);
}

/* ---- steps ---------------------------------------------------------------------------------------------------- */

static size_t panels_of(const gemma_matrix *w) { return (w->stored.rows + KERNEL_PANEL - 1) / KERNEL_PANEL; }

/* y += the adapter's part, of x [n, columns]. */
static void add_adapter(const pass *p, const gemma_matrix *w, const float *x, size_t n, float *y)
{
    const ops *o = &p->g->products;
    size_t rows = w->stored.rows, rank = p->g->adapter.rank, n_panels = panels_of(w);
    const linear_input in = {.type = LINEAR_F32, .n_rows = n, .stride = w->stored.columns, .f32 = x};
    const linear_input low = {.type = LINEAR_F32, .n_rows = n, .stride = rank, .f32 = p->low};
    linear_run(o, &w->pair.low, &in, 0, rank, p->low, rank);
#pragma omp parallel for schedule(static) num_threads((int)p->team) if (p->team > 1)
    for (size_t panel = 0; panel < n_panels; panel++) {
        size_t begin = panel * KERNEL_PANEL, end = size_least(begin + KERNEL_PANEL, rows);
        linear_run(o, &w->pair.high, &low, begin, end, p->adapted, rows);
        for (size_t i = 0; i < n; i++)
            for (size_t j = begin; j < end; j++) y[i * rows + j] += p->adapted[i * rows + j];
    }
}

/* Panels [begin, end) of y = x w^T. */
static void multiply_panels(const pass *p, const gemma_matrix *w, const rows_in *in, size_t begin, size_t end, float *y)
{
    size_t rows = w->stored.rows;
    if (p->g->compute == MODEL_INT8)
        blocks_product(p->g->integers, &w->stored, &in->blocks, begin, end, thread_scratch(p), y, rows);
    else if (w->packed.panels != NULL)
        linear_run(&p->g->products, &w->packed, &in->packed, begin * KERNEL_PANEL, size_least(end * KERNEL_PANEL, rows), y,
                   rows);
    else stored_product(&p->g->products, &w->stored, in->x, in->width, in->n_rows, begin, end, thread_scratch(p), y, rows);
}

/* A product and where it goes: y [n_rows, rows of w]. */
typedef struct product {
    const gemma_matrix *w;
    float *y;
} product;

/* Products of the same rows, their panels divided among the threads together. */
static void multiply(const pass *p, const rows_in *in, size_t n_products, const product *all)
{
    size_t n_panels = 0;
    for (size_t i = 0; i < n_products; i++) n_panels += panels_of(all[i].w);
    size_t n_parts = size_least(n_panels, p->team);
#pragma omp parallel for schedule(static) num_threads((int)p->team) if (p->team > 1)
    for (size_t part = 0; part < n_parts; part++) {
        size_t begin = n_panels * part / n_parts, end = n_panels * (part + 1) / n_parts, first = 0;
        for (size_t i = 0; i < n_products; i++) {
            size_t own = panels_of(all[i].w), from = larger(begin, first), to = size_least(end, first + own);
            if (from < to) multiply_panels(p, all[i].w, in, from - first, to - first, all[i].y);
            first += own;
        }
    }
    for (size_t i = 0; i < n_products; i++)
        if (all[i].w->pair.low.panels != NULL) add_adapter(p, all[i].w, in->x, in->n_rows, all[i].y);
}

static void convert_part(const pass *p, const rows_in *to, size_t first, size_t n)
{
    const float *x = to->x + first * to->width;
    if (p->g->compute == MODEL_INT8) {
        block_rows some = blocks_part(&to->blocks, first, n);
        p->g->integers->quantize(&(block_quantize){.x = x, .ldx = to->width, .width = to->width, .to = &some});
    } else {
        linear_input some = to->packed;
        linear_input_fill(&p->g->products, &some, first, n, x, to->width, to->width);
    }
}

/* Rows x [n, width of room] as the products read them, in room. */
static rows_in convert(const pass *p, const rows_in *room, size_t n, const float *x)
{
    rows_in in = *room;
    in.x = x;
    in.n_rows = in.packed.n_rows = in.blocks.n_rows = n;
    if (p->g->compute == MODEL_F32) return in;
    size_t n_parts = (n + ROWS_PART - 1) / ROWS_PART;
#pragma omp parallel for schedule(static) num_threads((int)p->team) if (p->team > 1 && n_parts > 1)
    for (size_t part = 0; part < n_parts; part++)
        convert_part(p, &in, part * ROWS_PART, size_least(ROWS_PART, n - part * ROWS_PART));
    return in;
}

void gemma_norm_rows(const gemma *g, size_t team, const float *x, size_t n, size_t width, const float *gain,
                     const float *residual, float *y)
{
    (void)team; /* nobody reads it where OpenMP is off */
    size_t n_parts = (n + ROWS_PART - 1) / ROWS_PART;
#pragma omp parallel for schedule(static) num_threads((int)team) if (team > 1 && n_parts > 1)
    for (size_t part = 0; part < n_parts; part++) {
        size_t at = part * ROWS_PART * width;
        g->rows->norm(&(decoder_norm){.x = x + at,
                                      .ldx = width,
                                      .n_rows = size_least(ROWS_PART, n - part * ROWS_PART),
                                      .width = width,
                                      .gain = gain,
                                      .eps = g->config.norm_eps,
                                      .residual = residual == NULL ? NULL : residual + at,
                                      .y = y + at,
                                      .ldy = width});
    }
}

/* The same over rows of hidden_size. */
static void normalise(const pass *p, const float *x, const float *gain, const float *residual, float *y, size_t n)
{
    gemma_norm_rows(p->g, p->team, x, n, p->g->config.hidden_size, gain, residual, y);
}

static void embed(const pass *p)
{
    const gemma *g = p->g;
    size_t hidden = g->config.hidden_size;
#pragma omp parallel for schedule(static) num_threads((int)p->team) if (p->team > 1 && p->b->n_tokens > ROWS_PART)
    for (size_t i = 0; i < p->b->n_tokens; i++) {
        float *x = p->x + i * hidden;
        stored_rows(&g->words, (size_t)p->b->ids[i], 1, x);
        for (size_t j = 0; j < hidden; j++) x[j] *= g->word_scale;
    }
}

/* ---- attention ------------------------------------------------------------------------------------------------ */

/* Norm and rotation of the heads of one token, which is at `place` of its text. */
static void turn(const pass *p, float *x, size_t n_heads, const float *gain, bool is_global, size_t place)
{
    size_t width = p->g->config.head_width;
    const float *angles = p->angles[is_global] + (place - p->first_place) * width;
    p->g->rows->norm(&(decoder_norm){.x = x,
                                     .ldx = width,
                                     .n_rows = n_heads,
                                     .width = width,
                                     .gain = gain,
                                     .eps = p->g->config.norm_eps,
                                     .y = x,
                                     .ldy = width});
    p->g->rows->rotate(
        &(decoder_rotate){.x = x, .n_rows = n_heads, .width = width, .cosine = angles, .sine = angles + width / 2});
}

/* All keys, and the queries: of all tokens, or in the last layer of the wanted. */
static void turn_all(const pass *p, size_t layer, bool last)
{
    const gemma_config *c = &p->g->config;
    const gemma_layer *w = &p->g->layers[layer];
    bool is_global = c->is_global[layer];
#pragma omp parallel for schedule(static) num_threads((int)p->team) if (p->team > 1 && p->b->n_tokens > ROWS_PART)
    for (size_t i = 0; i < p->b->n_tokens; i++) {
        turn(p, p->k + i * p->keys, c->n_key_heads, w->key_norm, is_global, p->place_of[i]);
        if (!last) turn(p, p->q + i * p->queries, c->n_heads, w->query_norm, is_global, p->place_of[i]);
    }
    for (size_t i = 0; last && i < p->b->n_wanted; i++)
        turn(p, p->q + i * p->queries, c->n_heads, w->query_norm, is_global, p->place_of[p->b->wanted[i]]);
}

/* What was computed goes behind what the caches hold: attention reads it there. */
static void keep(const pass *p, size_t layer)
{
    const gemma_batch *b = p->b;
    size_t width = p->g->config.head_width, n_heads = p->g->config.n_key_heads;
    for (size_t text = 0; b->keep && text < b->n_texts; text++) {
        const gemma_cache *c = b->caches[text];
        size_t begin = b->offsets[text], n = b->offsets[text + 1] - begin, n_parts = (n + KEYS_PART - 1) / KEYS_PART;
#pragma omp parallel for schedule(static) num_threads((int)p->team) if (p->team > 1 && n_parts > 1)
        for (size_t i = 0; i < n_heads * n_parts; i++) {
            size_t head = i % n_heads, first = i / n_heads * KEYS_PART, from = (begin + first) * p->keys + head * width;
            causal_keys keys = gemma_cache_keys(c, layer, head);
            causal_keys_fill(&keys, c->n_tokens + first, size_least(KEYS_PART, n - first), p->k + from, p->v + from,
                             p->keys);
        }
    }
}

/* One query head over queries [first, first + n) of q and out, whose tokens stand at place and on. */
static void attend_head(const pass *p, size_t layer, size_t head, const causal_keys *keys, size_t first, size_t n,
                        size_t place, float *scratch)
{
    const gemma_config *c = &p->g->config;
    size_t width = c->head_width;
    causal_attend(&(causal_attention){.products = &p->g->products,
                                      .rows = p->g->rows,
                                      .keys = keys,
                                      .q = p->q + first * p->queries + head * width,
                                      .ldq = p->queries,
                                      .first = place,
                                      .n_queries = n,
                                      .window = c->is_global[layer] ? 0 : c->window,
                                      .scratch = scratch,
                                      .out = p->context + first * p->queries + head * width,
                                      .ldo = p->queries});
}

/* All of one key head. */
static void attend_heads(const pass *p, size_t layer, size_t key_head, const causal_keys *keys, size_t first, size_t n,
                         size_t place, float *scratch)
{
    size_t group = p->g->config.n_heads / p->g->config.n_key_heads;
    for (size_t head = key_head * group; head < (key_head + 1) * group; head++)
        attend_head(p, layer, head, keys, first, n, place, scratch);
}

/* The wanted tokens of a text, run by run of neighbours. */
static void attend_wanted(const pass *p, size_t layer, size_t key_head, size_t text, const causal_keys *keys, float *scratch)
{
    const gemma_batch *b = p->b;
    for (size_t i = p->wanted_of[text], end; i < p->wanted_of[text + 1]; i = end) {
        for (end = i + 1; end < p->wanted_of[text + 1] && b->wanted[end] == b->wanted[end - 1] + 1;) end++;
        attend_heads(p, layer, key_head, keys, i, end - i, p->place_of[b->wanted[i]], scratch);
    }
}

/* A text's keys in a thread's room: the prefix, unless it is there already, and the text's own. */
static void put_keys(const pass *p, size_t layer, size_t key_head, size_t text, const gemma_cache *there, causal_keys *keys)
{
    const gemma_cache *c = cache_of(p->b, text);
    size_t before = prefix_of(p->b, text), begin = p->b->offsets[text], n = p->b->offsets[text + 1] - begin;
    size_t from = begin * p->keys + key_head * p->g->config.head_width;
    if (c != NULL && c != there) {
        causal_keys kept = gemma_cache_keys(c, layer, key_head);
        causal_keys_copy(keys, &kept, 0, before);
    }
    causal_keys_fill(keys, before, n, p->k + from, p->v + from, p->keys);
}

/* Texts [from, to) under one key head. A prefix that neighbours share is copied once. */
static void attend_texts(const pass *p, size_t layer, size_t key_head, size_t from, size_t to, bool last)
{
    const gemma_batch *b = p->b;
    size_t width = p->g->config.head_width;
    float *memory = thread_scratch(p), *scratch = memory + round_up(causal_keys_floats(p->longest, width), 16);
    causal_keys keys = causal_keys_place(memory, p->longest, width);
    const gemma_cache *there = NULL;
    for (size_t text = from; text < to; text++) {
        size_t begin = b->offsets[text], n = b->offsets[text + 1] - begin;
        if (last && p->wanted_of[text] == p->wanted_of[text + 1]) continue;
        if (b->keep) keys = gemma_cache_keys(b->caches[text], layer, key_head);
        else put_keys(p, layer, key_head, text, there, &keys);
        there = cache_of(b, text);
        if (last) attend_wanted(p, layer, key_head, text, &keys, scratch);
        else attend_heads(p, layer, key_head, &keys, begin, n, prefix_of(b, text), scratch);
    }
}

/* Keys [at, at + KEYS_PART) of a text, as put_keys puts them; KEYS_PART is a multiple of a panel. */
static void put_keys_part(const pass *p, size_t layer, size_t key_head, size_t text, size_t at, causal_keys *keys)
{
    size_t before = prefix_of(p->b, text), begin = p->b->offsets[text], all = before + p->b->offsets[text + 1] - begin;
    size_t end = size_least(at + KEYS_PART, all), own = larger(at, before);
    if (at < before) {
        causal_keys kept = gemma_cache_keys(cache_of(p->b, text), layer, key_head);
        causal_keys_copy(keys, &kept, at, size_least(end, before) - at);
    }
    if (own >= end) return;
    size_t from = (begin + own - before) * p->keys + key_head * p->g->config.head_width;
    causal_keys_fill(keys, own, end - own, p->k + from, p->v + from, p->keys);
}

/* One text under one key head by all threads: its keys are put in shape in the first one's room unless a cache has them so, then
 * its heads and queries are divided. */
static void attend_together(const pass *p, size_t layer, size_t key_head, size_t text)
{
    const gemma_batch *b = p->b;
    size_t width = p->g->config.head_width, group = p->g->config.n_heads / p->g->config.n_key_heads;
    size_t before = prefix_of(b, text), begin = b->offsets[text], n = b->offsets[text + 1] - begin;
    size_t n_parts = (n + ATTENTION_QUERIES - 1) / ATTENTION_QUERIES;
    size_t scores = round_up(causal_keys_floats(p->longest, width), 16);
    causal_keys keys = b->keep ? gemma_cache_keys(b->caches[text], layer, key_head)
                               : causal_keys_place(p->scratch, p->longest, width);
#pragma omp parallel num_threads((int)p->team) if (p->team > 1 && n_parts * group > 1)
    {
#pragma omp for schedule(static)
        for (size_t at = 0; at < (b->keep ? 0 : before + n); at += KEYS_PART)
            put_keys_part(p, layer, key_head, text, at, &keys);
#pragma omp for schedule(dynamic) collapse(2)
        for (size_t part = 0; part < n_parts; part++)
            for (size_t i = 0; i < group; i++) {
                size_t first = (n_parts - 1 - part) * ATTENTION_QUERIES; /* the longest first */
                attend_head(p, layer, key_head * group + i, &keys, begin + first, size_least(ATTENTION_QUERIES, n - first),
                            before + first, thread_scratch(p) + scores);
            }
    }
}

static void attend_all(const pass *p, size_t layer, bool last)
{
    size_t n_heads = p->g->config.n_key_heads, n_texts = p->b->n_texts;
    size_t n_parts = size_least(n_texts, (4 * p->team + n_heads - 1) / n_heads);
    if (p->team == 1) n_parts = 1;
    if (!last && n_heads * n_texts < p->team * TEXTS_EACH && p->team > 1) {
        for (size_t i = 0; i < n_heads * n_texts; i++) attend_together(p, layer, i % n_heads, i / n_heads);
        return;
    }
#pragma omp parallel for schedule(dynamic) num_threads((int)p->team) if (p->team > 1)
    for (size_t i = 0; i < n_heads * n_parts; i++) {
        size_t part = i % n_parts;
        attend_texts(p, layer, i / n_parts, n_texts * part / n_parts, n_texts * (part + 1) / n_parts, last);
    }
}

/* ---- layers --------------------------------------------------------------------------------------------------- */

/* The dense half over rows [first, first + n) of x and context. */
static void dense_block(const pass *p, const gemma_layer *w, float *x, size_t first, size_t n)
{
    const gemma_config *c = &p->g->config;
    size_t hidden = c->hidden_size, wide = c->intermediate_size, n_parts = (n + ROWS_PART - 1) / ROWS_PART;
    float *rows = x + first * hidden, *normed = p->normed + first * hidden;
    rows_in in = convert(p, &p->context_in, n, p->context + first * p->queries);
    multiply(p, &in, 1, &(product){&w->out, p->sum});
    normalise(p, p->sum, w->after_attention, rows, rows, n);
    normalise(p, rows, w->before_wide, NULL, normed, n);
    in = convert(p, &p->in, n, normed);
    multiply(p, &in, 2, (product[]){{&w->gate, p->gate}, {&w->up, p->up}});
#pragma omp parallel for schedule(static) num_threads((int)p->team) if (p->team > 1 && n_parts > 1)
    for (size_t part = 0; part < n_parts; part++) {
        size_t at = part * ROWS_PART * wide;
        p->g->rows->gate(p->gate + at, p->up + at, size_least(ROWS_PART, n - part * ROWS_PART) * wide);
    }
    in = convert(p, &p->wide_in, n, p->gate);
    multiply(p, &in, 1, &(product){&w->down, p->sum});
    normalise(p, p->sum, w->after_wide, rows, rows, n);
}

static void gather(const pass *p, const float *from, float *to)
{
    size_t hidden = p->g->config.hidden_size;
    for (size_t i = 0; i < p->b->n_wanted; i++)
        memmove(to + i * hidden, from + p->b->wanted[i] * hidden, hidden * sizeof *to);
}

static void run_layer(const pass *p, size_t layer)
{
    const gemma *g = p->g;
    const gemma_layer *w = &g->layers[layer];
    size_t n = p->b->n_tokens;
    bool last = layer + 1 == g->config.n_layers;
    float *x = p->x;
    normalise(p, x, w->before_attention, NULL, p->normed, n);
    rows_in in = convert(p, &p->in, n, p->normed);
    multiply(p, &in, last ? 2 : 3, (product[]){{&w->key, p->k}, {&w->value, p->v}, {&w->query, p->q}});
    if (last) {
        x = p->some;
        n = p->b->n_wanted;
        gather(p, p->x, x);
        gather(p, p->normed, p->normed); /* rising: no row is read after it was written over */
        in = convert(p, &p->in, n, p->normed);
        multiply(p, &in, 1, &(product){&w->query, p->q});
    }
    turn_all(p, layer, last);
    keep(p, layer);
    attend_all(p, layer, last);
    for (size_t first = 0; first < n; first += p->block_rows)
        dense_block(p, w, x, first, size_least(p->block_rows, n - first));
}

finch_status gemma_hidden(const gemma *g, const gemma_batch *b, float *hidden, arena *scratch, finch_error *err)
{
    pass p;
    FINCH_TRY(check_batch(g, b, err));
    if (b->n_texts == 0) return FINCH_OK;
    arena_place mark = arena_mark(scratch);
    finch_status st = pass_init(&p, g, b, scratch, err);
    if (st == FINCH_OK) {
        embed(&p);
        for (size_t layer = 0; layer < g->config.n_layers; layer++) run_layer(&p, layer);
        normalise(&p, p.some, g->last_norm, NULL, hidden, b->n_wanted);
        for (size_t text = 0; b->keep && text < b->n_texts; text++)
            b->caches[text]->n_tokens += b->offsets[text + 1] - b->offsets[text];
    }
    arena_release(scratch, mark);
    return st;
}

/* ---- caches --------------------------------------------------------------------------------------------------- */

finch_status gemma_cache_create(const gemma *g, size_t n_tokens, gemma_cache **out, finch_error *err)
{
    const gemma_config *c = &g->config;
    gemma_cache *made;
    size_t n;
    finch_status st;
    *out = NULL;
    if (n_tokens > c->n_positions)
        return finch_fail(err, FINCH_E_USAGE, "a cache of %zu tokens is asked for; the model has %zu positions", n_tokens,
                          c->n_positions);
    FINCH_TRY(MEM_NEW(&made, 1, err));
    made->n_layers = c->n_layers;
    made->room = n_tokens;
    made->n_key_heads = c->n_key_heads;
    made->head_width = c->head_width;
    n = c->n_layers * c->n_key_heads * causal_keys_floats(n_tokens, c->head_width); /* at most 2^8 * 2^21 * 2^22: it fits */
    st = mem_alloc(n, sizeof *made->memory, (void **)&made->memory, err);
    if (st == FINCH_OK) *out = made;
    else gemma_cache_destroy(made);
    return st;
}

void gemma_cache_destroy(gemma_cache *c)
{
    if (c == NULL) return;
    mem_free(c->memory);
    mem_free(c);
}

causal_keys gemma_cache_keys(const gemma_cache *c, size_t layer, size_t key_head)
{
    size_t floats = causal_keys_floats(c->room, c->head_width);
    return causal_keys_place(c->memory + (layer * c->n_key_heads + key_head) * floats, c->room, c->head_width);
}

size_t gemma_cache_length(const gemma_cache *c) { return c->n_tokens; }

void gemma_cache_cut(gemma_cache *c, size_t n_tokens) { c->n_tokens = size_least(c->n_tokens, n_tokens); }

void gemma_cache_copy(const gemma_cache *from, size_t n_tokens, gemma_cache *to)
{
    for (size_t layer = 0; layer < from->n_layers; layer++)
        for (size_t head = 0; head < from->n_key_heads; head++) {
            causal_keys own = gemma_cache_keys(to, layer, head), others = gemma_cache_keys(from, layer, head);
            causal_keys_copy(&own, &others, 0, n_tokens);
        }
    to->n_tokens = n_tokens;
}
