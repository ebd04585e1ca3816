/* One forward pass over a packed batch.
 *
 * A pass is run by one thread (bulk: every thread has its own batch, nothing is shared) or by a team (one text that is
 * waited for: each step's rows, columns or heads are divided, with a barrier after it). What a number is computed from,
 * and in which order, is the same either way, so the result is too.
 *
 * After the last layer only each text's first token is wanted, so the last layer computes queries, output and the dense
 * half for these alone. */
#include "model/engine.h"

#include <math.h>
#include <sched.h>
#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#endif

enum {
    PASS_TEAM_ROWS_MAX = 1024,
    PASS_GROUP_BLOCKS = 2,
    PASS_ADAPTER_ROWS = 64,
    PASS_ROWS_TOGETHER = 4, /* go through the steps between two products while they are in the first-level cache */
    PASS_SPINS = 1000 /* some 40 microseconds: longer than a step's parts differ on an idle machine */
};

/* The part of n items, in units of `unit`, that falls to rank. */
typedef struct share {
    size_t begin, end;
} share;

static share share_of(const engine_pass *p, size_t rank, size_t n, size_t unit)
{
    size_t units = (n + unit - 1) / unit;
    size_t begin = units * rank / p->team * unit, end = units * (rank + 1) / p->team * unit;
    return (share){begin < n ? begin : n, end < n ? end : n};
}

static void pause_briefly(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

/* Waits for the whole team. Not OpenMP's barrier: that spins for milliseconds, and a pass has dozens of barriers, so that
 * on a busy machine, where a member is not running, a text would take half a second. This one gives its core away soon. */
static void team_wait(engine_pass *p)
{
    if (p->team == 1) return;
    unsigned round = __atomic_load_n(&p->wait_round, __ATOMIC_ACQUIRE);
    if (__atomic_add_fetch(&p->wait_arrived, 1, __ATOMIC_ACQ_REL) == p->team) {
        __atomic_store_n(&p->wait_arrived, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&p->wait_round, round + 1, __ATOMIC_RELEASE);
        return;
    }
    for (size_t spins = 0; __atomic_load_n(&p->wait_round, __ATOMIC_ACQUIRE) == round; spins++) {
        if (spins < PASS_SPINS) pause_briefly();
        else sched_yield();
    }
}

static linear_type input_type(const model *m) { return m->layers[0].qkv.type; }

engine_limits engine_limits_of(const model_batch *b)
{
    engine_limits most = {.n_tokens = b->n_tokens, .n_texts = b->n_texts};
    for (size_t i = 0; i < b->n_texts; i++) {
        size_t n = b->offsets[i + 1] - b->offsets[i];
        most.longest = n > most.longest ? n : most.longest;
    }
    return most;
}

finch_status engine_pass_init(engine_pass *p, const model *m, const engine_limits *most, size_t team, arena *a,
                              finch_error *err)
{
    const model_config *c = &m->config;
    *p = (engine_pass){.m = m, .team = team};
    /* In bulk few rows, so that what goes from step to step stays in the second-level cache. */
    p->block_rows = size_least(team > 1 ? PASS_TEAM_ROWS_MAX : m->kernels.block_rows, most->n_tokens);
    p->group_rows = team > 1 ? most->n_tokens : PASS_GROUP_BLOCKS * p->block_rows;
    p->qkv_width = 3 * engine_part_width(c);
    p->attention_floats = kernel_attention_scratch(most->longest, c->hidden_size / c->n_heads);
    size_t group_rows_most = size_least(p->group_rows + most->longest, most->n_tokens);
    FINCH_TRY(ARENA_NEW(a, &p->x, most->n_tokens * c->hidden_size, err));
    FINCH_TRY(ARENA_NEW(a, &p->qkv, group_rows_most * p->qkv_width, err));
    FINCH_TRY(ARENA_NEW(a, &p->context, most->n_tokens * c->hidden_size, err));
    FINCH_TRY(ARENA_NEW(a, &p->sum, p->block_rows * c->hidden_size, err));
    p->wide_stride = c->intermediate_size + LINEAR_APART;
    FINCH_TRY(ARENA_NEW(a, &p->wide, p->block_rows * p->wide_stride, err));
    FINCH_TRY(ARENA_NEW(a, &p->first, most->n_texts * c->hidden_size, err));
    FINCH_TRY(ARENA_NEW(a, &p->first_query, most->n_texts * engine_part_width(c), err));
    FINCH_TRY(ARENA_NEW(a, &p->broken, most->n_texts, err));
    FINCH_TRY(ARENA_NEW(a, &p->attention_scratch, team * p->attention_floats, err));
    if (m->adapter.rank > 0) {
        size_t widest = c->hidden_size > c->intermediate_size ? c->hidden_size : c->intermediate_size;
        p->adapter_floats = PASS_ADAPTER_ROWS * (m->adapter.rank + widest);
        FINCH_TRY(ARENA_NEW(a, &p->adapter_scratch, team * p->adapter_floats, err));
    }
    FINCH_TRY(linear_input_alloc(a, input_type(m), most->n_tokens, c->hidden_size, &p->in, err));
    FINCH_TRY(linear_input_alloc(a, input_type(m), p->block_rows, c->hidden_size, &p->block_in, err));
    return linear_input_alloc(a, input_type(m), p->block_rows, c->intermediate_size, &p->wide_in, err);
}

void engine_pass_take(engine_pass *p, const model_batch *b) { p->batch = b; }

/* ---- adapters ------------------------------------------------------------------------------------------------------ */

/* y [n, ldy] columns [begin, end) += the adapter's part of x [n, ldx]; begin a multiple of KERNEL_PANEL. Every member of a team
 * makes the low half for itself. */
static void add_adapter(const engine_pass *p, size_t rank, const adapter_packed *a, const float *x, size_t ldx, size_t n,
                        size_t begin, size_t end, float *y, size_t ldy)
{
    const ops *o = &p->m->kernels;
    float *low = p->adapter_scratch + rank * p->adapter_floats, *part = low + PASS_ADAPTER_ROWS * p->m->adapter.rank;
    if (a->low.panels == NULL || begin >= end) return;
    for (size_t first = 0; first < n; first += PASS_ADAPTER_ROWS) {
        size_t rows = size_least(PASS_ADAPTER_ROWS, n - first), out = a->high.n_out;
        const linear_input in = {.type = LINEAR_F32, .n_rows = rows, .stride = ldx, .f32 = x + first * ldx};
        const linear_input low_in = {.type = LINEAR_F32, .n_rows = rows, .stride = a->low.n_out, .f32 = low};
        linear_run(o, &a->low, &in, 0, a->low.n_out, low, a->low.n_out);
        linear_run(o, &a->high, &low_in, begin, end, part, out);
        for (size_t row = 0; row < rows; row++)
            for (size_t i = begin; i < end; i++) y[(first + row) * ldy + i] += part[row * out + i];
    }
}

/* The same for the part of a qkv row that begins at column `first`, where columns [begin, end) of the row are this member's. */
static void add_adapter_part(const engine_pass *p, size_t rank, const adapter_packed *a, const float *x, size_t n,
                             size_t first, size_t begin, size_t end)
{
    size_t hidden = p->m->config.hidden_size;
    size_t from = begin > first ? begin - first : 0, to = end > first ? size_least(end - first, hidden) : 0;
    add_adapter(p, rank, a, x, hidden, n, from, to, p->qkv + first, p->qkv_width);
}

/* ---- embeddings ---------------------------------------------------------------------------------------------------- */

static void word_row(const model *m, int32_t id, float *out)
{
    /* The matrix was checked when the model was opened and the id with the batch: this can not fail. */
    (void)compressed_rows_to_f32(&m->words, (size_t)id, 1, out, NULL);
}

/* Rows of the position table: in order, from position_offset; MPNet gives the padding token the row of its own id. */
static void embed_text(const engine_pass *p, size_t text)
{
    const model *m = p->m;
    const model_config *c = &m->config;
    size_t begin = p->batch->offsets[text], n = p->batch->offsets[text + 1] - begin, place = 0;
    for (size_t i = 0; i < n; i++) {
        int32_t id = p->batch->ids[begin + i];
        float *x = p->x + (begin + i) * c->hidden_size;
        bool padding = c->arch == MODEL_MPNET && id == c->pad_id;
        size_t row = padding ? (size_t)c->pad_id : c->position_offset + place++;
        word_row(m, id, x);
        const float *position = m->positions + row * c->hidden_size;
        for (size_t j = 0; j < c->hidden_size; j++) x[j] += position[j];
    }
    m->kernels.layer_norm(&(kernel_layer_norm){.x = p->x + begin * c->hidden_size,
                                               .n_rows = n,
                                               .width = c->hidden_size,
                                               .gain = m->embedding_norm.gain,
                                               .bias = m->embedding_norm.bias,
                                               .eps = c->layer_norm_eps,
                                               .y = p->x + begin * c->hidden_size});
    /* All other weights were checked when they were packed. One item that is not finite makes its whole row so. */
    bool broken = false;
    for (size_t i = 0; i < n; i++) broken = broken || !isfinite(p->x[(begin + i) * c->hidden_size]);
    p->broken[text] = broken;
}

static void embed(engine_pass *p, size_t rank)
{
    size_t hidden = p->m->config.hidden_size;
    share texts = share_of(p, rank, p->batch->n_texts, 1);
    for (size_t i = texts.begin; i < texts.end; i++) {
        size_t begin = p->batch->offsets[i], n = p->batch->offsets[i + 1] - begin;
        embed_text(p, i);
        linear_input in = p->in;
        linear_input_fill(&p->m->kernels, &in, begin, n, p->x + begin * hidden, hidden, hidden);
    }
    team_wait(p);
}

/* ---- attention ----------------------------------------------------------------------------------------------------- */

/* Whole texts that follow one another, and their rows of the batch. */
typedef struct group {
    size_t text, n_texts;
    size_t row, n_rows;
} group;

/* The group that begins at a text: as many texts as reach group_rows. */
static group group_at(const engine_pass *p, size_t text)
{
    const model_batch *b = p->batch;
    group g = {.text = text, .row = b->offsets[text]};
    while (text + g.n_texts < b->n_texts && g.n_rows < p->group_rows) {
        g.n_texts++;
        g.n_rows = b->offsets[text + g.n_texts] - g.row;
    }
    return g;
}

/* p->in over the group's rows; for f32 that is x itself. */
static linear_input group_input(const engine_pass *p, const group *g)
{
    linear_input in = p->in;
    if (in.type == LINEAR_F32) {
        in.f32 = p->x;
        in.stride = p->m->config.hidden_size;
    }
    return linear_input_rows(&in, g->row, g->n_rows);
}

static void attend(const engine_pass *p, size_t rank, const group *g, size_t text, size_t head, const float *queries,
                   size_t n_queries, float *out)
{
    const model *m = p->m;
    size_t width = m->config.hidden_size / m->config.n_heads, part = engine_part_width(&m->config);
    size_t begin = p->batch->offsets[text], n = p->batch->offsets[text + 1] - begin;
    size_t max_tokens = model_config_max_tokens(&m->config);
    const float *qkv = p->qkv + (begin - g->row) * p->qkv_width + head * width;
    const float *bias = m->relative == NULL ? NULL : m->relative + head * (2 * max_tokens - 1) + (max_tokens - 1);
    m->kernels.attention(&(kernel_attention){.q = queries + head * width,
                                             .k = qkv + part,
                                             .v = qkv + 2 * part,
                                             .ldqkv = p->qkv_width,
                                             .n_tokens = n,
                                             .n_queries = n_queries,
                                             .width = width,
                                             .bias = bias,
                                             .scratch = p->attention_scratch + rank * p->attention_floats,
                                             .out = out + head * width,
                                             .ldout = m->config.hidden_size});
}

/* Queries, keys and values of the group's tokens, and attention into context. */
static void attention_group(engine_pass *p, size_t rank, const engine_layer *layer, const group *g)
{
    const model_config *c = &p->m->config;
    linear_input in = group_input(p, g);
    share columns = share_of(p, rank, layer->qkv.n_out, KERNEL_PANEL);
    const float *x = p->x + g->row * c->hidden_size;
    size_t part = engine_part_width(c);
    linear_run(&p->m->kernels, &layer->qkv, &in, columns.begin, columns.end, p->qkv, p->qkv_width);
    add_adapter_part(p, rank, &layer->query, x, g->n_rows, 0, columns.begin, columns.end);
    add_adapter_part(p, rank, &layer->key, x, g->n_rows, part, columns.begin, columns.end);
    add_adapter_part(p, rank, &layer->value, x, g->n_rows, 2 * part, columns.begin, columns.end);
    team_wait(p);
    share pairs = share_of(p, rank, g->n_texts * c->n_heads, 1);
    for (size_t i = pairs.begin; i < pairs.end; i++) {
        size_t text = g->text + i / c->n_heads, begin = p->batch->offsets[text], n = p->batch->offsets[text + 1] - begin;
        attend(p, rank, g, text, i % c->n_heads, p->qkv + (begin - g->row) * p->qkv_width, n,
               p->context + begin * c->hidden_size);
    }
    team_wait(p);
}

/* The same for each text's first token only: its query, all keys and values. Leaves the first tokens' rows of x in
 * first and their attention in context [n_texts, hidden]. */
static void attention_group_first(engine_pass *p, size_t rank, const engine_layer *layer, const group *g)
{
    const model_config *c = &p->m->config;
    const ops *o = &p->m->kernels;
    size_t hidden = c->hidden_size, part = engine_part_width(c);
    linear_input in = group_input(p, g);
    share columns = share_of(p, rank, layer->qkv.n_out - part, KERNEL_PANEL);
    const float *x = p->x + g->row * hidden;
    linear_run(o, &layer->qkv, &in, part + columns.begin, part + columns.end, p->qkv, p->qkv_width);
    add_adapter_part(p, rank, &layer->key, x, g->n_rows, part, part + columns.begin, part + columns.end);
    add_adapter_part(p, rank, &layer->value, x, g->n_rows, 2 * part, part + columns.begin, part + columns.end);
    share texts = share_of(p, rank, g->n_texts, 1);
    for (size_t i = g->text + texts.begin; i < g->text + texts.end; i++) {
        linear_input row = linear_input_rows(&in, p->batch->offsets[i] - g->row, 1);
        memcpy(p->first + i * hidden, p->x + p->batch->offsets[i] * hidden, hidden * sizeof(float));
        linear_run(o, &layer->qkv, &row, 0, hidden, p->first_query + i * part, part);
        add_adapter(p, rank, &layer->query, p->first + i * hidden, hidden, 1, 0, hidden, p->first_query + i * part, part);
    }
    team_wait(p);
    share pairs = share_of(p, rank, g->n_texts * c->n_heads, 1);
    for (size_t i = pairs.begin; i < pairs.end; i++) {
        size_t text = g->text + i / c->n_heads;
        attend(p, rank, g, text, i % c->n_heads, p->first_query + text * part, 1, p->context + text * hidden);
    }
    team_wait(p);
}

typedef void attention_fn(engine_pass *p, size_t rank, const engine_layer *layer, const group *g);

static void attention_all(engine_pass *p, size_t rank, const engine_layer *layer, attention_fn *attention)
{
    group g;
    for (size_t text = 0; text < p->batch->n_texts; text += g.n_texts) {
        g = group_at(p, text);
        attention(p, rank, layer, &g);
    }
}

/* ---- the dense half ------------------------------------------------------------------------------------------------ */

static kernel_map activation_of(const model *m)
{
    switch (m->config.hidden_act) {
    case MODEL_GELU: return m->kernels.gelu;
    case MODEL_GELU_TANH: return m->kernels.gelu_tanh;
    default: return m->kernels.relu;
    }
}

/* A few rows of a share, from the first on. */
static share share_next(share rows, size_t first)
{
    return (share){first, size_least(first + PASS_ROWS_TOGETHER, rows.end)};
}

static void add_and_norm_rows(const engine_pass *p, share rows, float *x, const engine_norm *norm, linear_input *next,
                              size_t next_row)
{
    const model *m = p->m;
    size_t hidden = m->config.hidden_size, n = rows.end - rows.begin;
    float *to = x + rows.begin * hidden;
    m->kernels.layer_norm(&(kernel_layer_norm){.x = p->sum + rows.begin * hidden,
                                               .residual = to,
                                               .n_rows = n,
                                               .width = hidden,
                                               .gain = norm->gain,
                                               .bias = norm->bias,
                                               .eps = m->config.layer_norm_eps,
                                               .y = to});
    if (next != NULL) linear_input_fill(&m->kernels, next, next_row + rows.begin, n, to, hidden, hidden);
}

/* x += sum, normalised, for the rows of rank; and the next product's input from it. */
static void add_and_norm(const engine_pass *p, share rows, float *x, const engine_norm *norm, linear_input *next,
                         size_t next_row)
{
    size_t row = rows.begin;
    do
        add_and_norm_rows(p, share_next(rows, row), x, norm, next,
                          next_row); /* without rows too: f32 inputs get their place */
    while ((row += PASS_ROWS_TOGETHER) < rows.end);
}

static void activate_rows(const engine_pass *p, share rows, linear_input *next)
{
    const kernel_map activation = activation_of(p->m);
    const size_t width = p->m->config.intermediate_size;
    float *wide = p->wide + rows.begin * p->wide_stride;
    for (size_t i = 0; i < rows.end - rows.begin; i++) activation(wide + i * p->wide_stride, width);
    linear_input_fill(&p->m->kernels, next, rows.begin, rows.end - rows.begin, wide, p->wide_stride, width);
}

/* The activation of the wide rows of rank, and the next product's input from it. */
static void activate(const engine_pass *p, share rows, linear_input *next)
{
    size_t row = rows.begin;
    do activate_rows(p, share_next(rows, row), next);
    while ((row += PASS_ROWS_TOGETHER) < rows.end);
}

/* Rows [first, first + n) of context and x through output projection, norm, the wide layers and norm; fills p->in for
 * the next layer where there is one. */
static void dense_block(engine_pass *p, size_t rank, const engine_layer *layer, size_t first, size_t n, float *x, bool last)
{
    const model *m = p->m;
    const ops *o = &m->kernels;
    size_t hidden = m->config.hidden_size, intermediate = m->config.intermediate_size;
    share rows = share_of(p, rank, n, 1);
    size_t n_own = rows.end - rows.begin;
    float *block = x + first * hidden;
    linear_input in = linear_input_rows(&p->block_in, 0, n), wide_in = linear_input_rows(&p->wide_in, 0, n), next = p->in;
    const float *context = p->context + first * hidden;
    linear_input_fill(o, &in, rows.begin, n_own, context + rows.begin * hidden, hidden, hidden);
    team_wait(p);
    share columns = share_of(p, rank, hidden, KERNEL_PANEL);
    linear_run(o, &layer->out, &in, columns.begin, columns.end, p->sum, hidden);
    add_adapter(p, rank, &layer->out_pair, context, hidden, n, columns.begin, columns.end, p->sum, hidden);
    team_wait(p);
    add_and_norm(p, rows, block, &layer->attention_norm, &in, 0);
    team_wait(p);
    share wide = share_of(p, rank, intermediate, KERNEL_PANEL);
    linear_run(o, &layer->up, &in, wide.begin, wide.end, p->wide, p->wide_stride);
    add_adapter(p, rank, &layer->up_pair, block, hidden, n, wide.begin, wide.end, p->wide, p->wide_stride);
    team_wait(p);
    activate(p, rows, &wide_in);
    team_wait(p);
    linear_run(o, &layer->down, &wide_in, columns.begin, columns.end, p->sum, hidden);
    add_adapter(p, rank, &layer->down_pair, p->wide, p->wide_stride, n, columns.begin, columns.end, p->sum, hidden);
    team_wait(p);
    add_and_norm(p, rows, block, &layer->output_norm, last ? NULL : &next, first);
    team_wait(p);
}

static void dense_all(engine_pass *p, size_t rank, const engine_layer *layer, size_t n_rows, float *x, bool last)
{
    for (size_t first = 0; first < n_rows; first += p->block_rows)
        dense_block(p, rank, layer, first, size_least(p->block_rows, n_rows - first), x, last);
}

/* ---- head ---------------------------------------------------------------------------------------------------------- */

static void head(engine_pass *p, size_t rank, float *logits)
{
    const model *m = p->m;
    const ops *o = &m->kernels;
    size_t hidden = m->config.hidden_size;
    share texts = share_of(p, rank, p->batch->n_texts, 1);
    for (size_t i = texts.begin; i < texts.end; i += p->block_rows) {
        size_t n = size_least(p->block_rows, texts.end - i);
        float *dense = p->context + i * hidden;
        linear_input in = {.type = LINEAR_F32, .n_rows = n, .stride = hidden, .f32 = p->first + i * hidden};
        linear_run(o, &m->head_dense, &in, 0, hidden, dense, hidden);
        add_adapter(p, rank, &m->head_pair, in.f32, hidden, n, 0, hidden, dense, hidden);
        o->tanh(dense, n * hidden);
        in.f32 = dense;
        linear_run(o, &m->head_out, &in, 0, m->config.n_labels, logits + i * m->config.n_labels, m->config.n_labels);
        for (size_t text = i; text < i + n; text++)
            if (p->broken[text]) logits[text * m->config.n_labels] = NAN;
    }
}

void engine_pass_run(engine_pass *p, size_t rank, float *logits)
{
    size_t n_layers = p->m->config.n_layers;
    embed(p, rank);
    for (size_t i = 0; i + 1 < n_layers; i++) {
        attention_all(p, rank, &p->m->layers[i], attention_group);
        dense_all(p, rank, &p->m->layers[i], p->batch->n_tokens, p->x, false);
    }
    attention_all(p, rank, &p->m->layers[n_layers - 1], attention_group_first);
    dense_all(p, rank, &p->m->layers[n_layers - 1], p->batch->n_texts, p->first, true);
    head(p, rank, logits);
}

void engine_pass_run_team(engine_pass *p, float *logits)
{
#ifdef _OPENMP
    if (p->team > 1) {
#pragma omp parallel num_threads((int)p->team)
        {
            /* A region may come with fewer threads than asked for: then the first runs the pass alone. */
            if ((size_t)omp_get_num_threads() == p->team) {
                engine_pass_run(p, (size_t)omp_get_thread_num(), logits);
            } else if (omp_get_thread_num() == 0) {
                p->team = 1;
                engine_pass_run(p, 0, logits);
            }
        }
        return;
    }
#endif
    p->team = 1;
    engine_pass_run(p, 0, logits);
}

finch_status engine_check_logits(const model *m, const float *logits, size_t n_texts, finch_error *err)
{
    size_t n_labels = m->config.n_labels;
    for (size_t i = 0; i < n_texts * n_labels; i++)
        if (!isfinite(logits[i]))
            return finch_fail_row(err, FINCH_E_DATA, i / n_labels + 1,
                                  "%s gives text %zu a logit that is not a finite number; its weights are broken",
                                  m->gemma != NULL ? gemma_path(m->gemma) : weights_path(m->file), i / n_labels + 1);
    return FINCH_OK;
}
