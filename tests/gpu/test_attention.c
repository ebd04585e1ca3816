/* The GPU's attention over packed texts, forward and backward, against its meaning in double: full, causal, sliding windows, shared key heads,
 * relative biases, ragged texts. */
#include "gpu_case.h"

/* Dot products of up to 256 items of size 1, and sums over up to 36 keys, in f32. */
#define ATTENTION_TOLERANCE 1e-5
/* Gradients: products of three such sums. */
#define BACK_TOLERANCE 5e-5

typedef struct shape {
    uint32_t n_heads, n_kv_heads, width;
    int causal;
    uint32_t window;
    bool relative;
    gpu_type last_type; /* bf16 once a width */
} shape;

static const shape shapes[] = {
    {3, 3, 32, 0, 0, false, GPU_F32},  {2, 2, 32, 0, 0, true, GPU_BF16},    {4, 2, 64, 1, 0, false, GPU_F32},
    {2, 1, 64, 1, 7, false, GPU_BF16}, {2, 1, 256, 1, 20, false, GPU_BF16}, {1, 1, 256, 0, 5, false, GPU_F32},
};
static const uint32_t offsets[] = {0, 1, 18, 18, 51, 87};
enum {
    N_SHAPES = sizeof shapes / sizeof shapes[0],
    N_TEXTS = sizeof offsets / sizeof offsets[0] - 1,
    N_TOKENS = 87,
    REACH = 36
};

/* Everything of one case. */
typedef struct attention_case {
    const shape *s;
    gpu_attention a;
    gpu_attention_back b;
    values q, k, v, out, dout, dq, dk, dv, relative, lse, dot;
    void *tiles;
} attention_case;

static void case_make(gpu *g, rng *r, const shape *s, gpu_type type, attention_case *c)
{
    uint32_t ldq = s->n_heads * s->width + 4, ldkv = s->n_kv_heads * s->width + 8, ldo = s->n_heads * s->width;
    gpu_tile tiles[N_TOKENS];
    size_t n_tiles = gpu_tiles(offsets, N_TEXTS, NULL);
    CHECK_EQUAL(n_tiles, gpu_tiles(offsets, N_TEXTS, tiles));
    CHECK_EQUAL(1 + 2 + 0 + 3 + 3, n_tiles);
    c->s = s;
    c->q = values_make(g, r, (size_t)N_TOKENS * ldq, type, 1, 0),
    c->k = values_make(g, r, (size_t)N_TOKENS * ldkv, type, 1, 0);
    c->v = values_make(g, r, (size_t)N_TOKENS * ldkv, type, 1, 0),
    c->out = values_make(g, r, (size_t)N_TOKENS * ldo, type, 1, 0);
    c->dout = values_make(g, r, (size_t)N_TOKENS * ldo, type, 1, 0),
    c->dq = values_make(g, r, (size_t)N_TOKENS * ldq, type, 0, 0);
    c->dk = values_make(g, r, (size_t)N_TOKENS * ldkv, type, 0, 0),
    c->dv = values_make(g, r, (size_t)N_TOKENS * ldkv, type, 0, 0);
    c->relative = values_make(g, r, (size_t)s->n_heads * (2 * REACH + 1), GPU_F32, 1, 0);
    c->lse = values_make(g, r, (size_t)s->n_heads * N_TOKENS, GPU_F32, 1, 0),
    c->dot = values_make(g, r, (size_t)s->n_heads * N_TOKENS, GPU_F32, 1, 0);
    c->tiles = upload(g, tiles, n_tiles * sizeof *tiles);
    c->a = (gpu_attention){type,
                           N_TOKENS,
                           s->n_heads,
                           s->n_kv_heads,
                           s->width,
                           ldq,
                           ldkv,
                           ldo,
                           c->tiles,
                           (uint32_t)n_tiles,
                           c->q.device,
                           c->k.device,
                           c->v.device,
                           0.125f,
                           s->causal,
                           s->window,
                           s->relative ? c->relative.device : NULL,
                           REACH,
                           c->out.device,
                           c->lse.device};
    c->b = (gpu_attention_back){c->a, c->dout.device, c->dq.device, c->dk.device, c->dv.device, c->dot.device};
}

static void case_free(gpu *g, attention_case *c)
{
    values *all[] = {&c->q, &c->k, &c->v, &c->out, &c->dout, &c->dq, &c->dk, &c->dv, &c->relative, &c->lse, &c->dot};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) values_free(g, all[i]);
    g->table->release(g->context, c->tiles);
}

static bool sees(const shape *s, uint32_t i, uint32_t j)
{
    if (s->causal && j > i) return false;
    return s->window == 0 || (i < j ? j - i : i - j) < s->window;
}

static double dot(const float *x, const float *y, size_t n)
{
    double sum = 0;
    for (size_t d = 0; d < n; d++) sum += (double)x[d] * (double)y[d];
    return sum;
}

/* One query of one head: its probabilities over the keys of its text, and log of the sum of exponentials. */
static double probabilities(const attention_case *c, uint32_t head, uint32_t i, uint32_t begin, uint32_t end,
                            double p[N_TOKENS])
{
    const shape *s = c->s;
    uint32_t kv = head / (s->n_heads / s->n_kv_heads);
    double most = -INFINITY, sum = 0;
    for (uint32_t j = begin; j < end; j++) {
        p[j] = dot(c->q.host + (size_t)i * c->a.ldq + (size_t)head * s->width,
                   c->k.host + (size_t)j * c->a.ldkv + (size_t)kv * s->width, s->width) *
               0.125;
        if (s->relative) p[j] += (double)c->relative.host[(size_t)head * (2 * REACH + 1) + j + REACH - i];
        if (!sees(s, i, j)) p[j] = -INFINITY;
        most = fmax(most, p[j]);
    }
    for (uint32_t j = begin; j < end; j++) sum += p[j] = exp(p[j] - most);
    for (uint32_t j = begin; j < end; j++) p[j] /= sum;
    return most + log(sum);
}

static void forward_query(attention_case *c, uint32_t head, uint32_t i, uint32_t begin, uint32_t end,
                          const double p[N_TOKENS])
{
    uint32_t width = c->s->width, kv = head / (c->s->n_heads / c->s->n_kv_heads);
    for (uint32_t d = 0; d < width; d++) {
        double sum = 0;
        for (uint32_t j = begin; j < end; j++)
            sum += p[j] * (double)c->v.host[(size_t)j * c->a.ldkv + (size_t)kv * width + d];
        c->out.host[(size_t)i * c->a.ldo + (size_t)head * width + d] = (float)sum;
    }
}

static void backward_query(attention_case *c, uint32_t head, uint32_t i, uint32_t begin, uint32_t end,
                           const double p[N_TOKENS])
{
    uint32_t width = c->s->width, kv = head / (c->s->n_heads / c->s->n_kv_heads);
    size_t query = (size_t)i * c->a.ldq + (size_t)head * width;
    const float *dout = c->dout.host + (size_t)i * c->a.ldo + (size_t)head * width;
    double mean = dot(dout, c->out.host + (size_t)i * c->a.ldo + (size_t)head * width, width);
    for (uint32_t j = begin; j < end; j++) {
        size_t key = (size_t)j * c->a.ldkv + (size_t)kv * width;
        double ds = p[j] * (dot(dout, c->v.host + key, width) - mean) * 0.125;
        for (uint32_t d = 0; d < width; d++) {
            c->dq.host[query + d] += (float)(ds * (double)c->k.host[key + d]);
            c->dk.host[key + d] += (float)(ds * (double)c->q.host[query + d]);
            c->dv.host[key + d] += (float)(p[j] * (double)dout[d]);
        }
    }
}

/* Host values become what is expected; columns between the heads and the next row keep what they were. */
static void define(attention_case *c, bool backward)
{
    double p[N_TOKENS];
    for (size_t text = 0; text < N_TEXTS; text++)
        for (uint32_t head = 0; head < c->s->n_heads; head++)
            for (uint32_t i = offsets[text]; i < offsets[text + 1]; i++) {
                c->lse.host[(size_t)head * N_TOKENS + i] = (float)probabilities(c, head, i, offsets[text], offsets[text + 1],
                                                                                p);
                forward_query(c, head, i, offsets[text], offsets[text + 1], p);
                if (backward) backward_query(c, head, i, offsets[text], offsets[text + 1], p);
            }
}

static void forwards(gpu *g)
{
    rng r = {.seed = 1};
    for (size_t i = 0; i < N_SHAPES; i++)
        for (gpu_type type = GPU_F32; type <= shapes[i].last_type; type++) {
            attention_case c;
            case_make(g, &r, &shapes[i], type, &c);
            define(&c, false);
            GPU_RUNS(g, attention, &c.a);
            check_values(g, c.out.host, &c.out, ATTENTION_TOLERANCE);
            check_values(g, c.lse.host, &c.lse, ATTENTION_TOLERANCE);
            case_free(g, &c);
        }
}
TEST(attention_is_what_it_means)
{
    on_every_module(forwards);
}

static void backwards(gpu *g)
{
    rng r = {.seed = 2};
    for (size_t i = 0; i < N_SHAPES; i++)
        for (gpu_type type = GPU_F32; type <= shapes[i].last_type; type++) {
            attention_case c;
            case_make(g, &r, &shapes[i], type, &c);
            define(&c, true);
            GPU_RUNS(g, attention, &c.a);
            GPU_RUNS(g, attention_back, &c.b);
            double tolerance = type == GPU_F32 ? BACK_TOLERANCE
                                               : 2e-2; /* out, which the gradient reads, is rounded to bf16 */
            check_values(g, c.dq.host, &c.dq, tolerance);
            check_values(g, c.dk.host, &c.dk, tolerance);
            check_values(g, c.dv.host, &c.dv, tolerance);
            case_free(g, &c);
        }
}
TEST(attention_s_gradients_are_what_they_mean)
{
    on_every_module(backwards);
}

static void refusals(gpu *g)
{
    char why[GPU_WHY_BYTES] = "";
    gpu_attention a = {.width = 48, .n_heads = 2, .n_kv_heads = 2};
    CHECK(g->table->attention(g->context, &a, why) != 0);
    CHECK(strstr(why, "heads of 48 items; there are kernels for 32, 64 and 256") != NULL);
    a.width = 32, a.n_kv_heads = 0;
    CHECK(g->table->attention(g->context, &a, why) != 0);
    a.n_kv_heads = 2, a.ldq = 66;
    CHECK(g->table->attention(g->context, &a, why) != 0);
    CHECK(strstr(why, "multiples of 4") != NULL);
}
TEST(shapes_without_a_kernel_are_refused)
{
    on_every_module(refusals);
}
