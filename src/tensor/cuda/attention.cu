/* Attention forward: a block a tile of queries of one head of one text. Keys and values pass through block memory a chunk at a time; each warp
 * holds four queries with their running maximum, sum and output. A lane scores one key, and owns every 32nd column of the output. */
#include "tensor/cuda/attention.h"
#include "tensor/cuda/operators.h"

/* What a warp holds of its queries. first and last are equal where there is no query. */
template <int WIDTH> struct attention_state {
    uint32_t query[ATTENTION_OWN], first[ATTENTION_OWN], last[ATTENTION_OWN];
    float most[ATTENTION_OWN], sum[ATTENTION_OWN], out[ATTENTION_OWN][WIDTH / GPU_WARP];
};

/* The tile's queries to block memory; rows past the text's end are zeros. */
template <typename T, int WIDTH>
GPU_DEVICE void load_queries(float *queries, const gpu_attention &a, const gpu_tile &t, uint32_t head)
{
    for (uint32_t i = threadIdx.x * 4; i < GPU_TILE_QUERIES * WIDTH; i += ATTENTION_THREADS * 4) {
        uint32_t r = i / WIDTH, d = i % WIDTH;
        float x[4] = {0.0f, 0.0f, 0.0f, 0.0f};
        if (t.query + r < t.end) load<4>((const T *)a.q + (size_t)(t.query + r) * a.ldq + (size_t)head * WIDTH + d, x);
        store<4>(queries + i, x);
    }
}

template <int WIDTH>
GPU_DEVICE void begin_queries(attention_state<WIDTH> *s, const gpu_attention &a, const gpu_tile &t, uint32_t warp)
{
#pragma unroll
    for (int n = 0; n < ATTENTION_OWN; n++) {
        uint32_t i = t.query + warp * ATTENTION_OWN + n;
        s->query[n] = i;
        s->first[n] = s->last[n] = t.begin;
        if (i < t.end) keys_of(a, t, i, &s->first[n], &s->last[n]);
        s->most[n] = -INFINITY;
        s->sum[n] = 0.0f;
        for (int k = 0; k < WIDTH / GPU_WARP; k++) s->out[n][k] = 0.0f;
    }
}

/* Scores to weights of the new maximum; what was summed up before shrinks with it. */
template <int WIDTH> GPU_DEVICE void take_scores(attention_state<WIDTH> *s, float score[ATTENTION_OWN])
{
#pragma unroll
    for (int n = 0; n < ATTENTION_OWN; n++) {
        float most = fmaxf(s->most[n], warp_most(score[n])), base = most == -INFINITY ? 0.0f : most;
        float shrink = exp2f(s->most[n] - base);
        score[n] = exp2f(score[n] - base);
        s->most[n] = most;
        s->sum[n] = fmaf(s->sum[n], shrink, warp_sum(score[n]));
        for (int k = 0; k < WIDTH / GPU_WARP; k++) s->out[n][k] *= shrink;
    }
}

template <typename T, int WIDTH>
GPU_DEVICE void write_queries(const attention_state<WIDTH> &s, const gpu_attention &a, const gpu_tile &t, uint32_t head,
                              uint32_t lane)
{
#pragma unroll
    for (int n = 0; n < ATTENTION_OWN; n++) {
        if (s.query[n] >= t.end) continue;
        T *out = (T *)a.out + (size_t)s.query[n] * a.ldo + (size_t)head * WIDTH;
        for (int k = 0; k < WIDTH / GPU_WARP; k++) out[lane + k * GPU_WARP] = rounded<T>(s.out[n][k] / s.sum[n]);
        if (a.lse != NULL && lane == 0) a.lse[(size_t)head * a.n_tokens + s.query[n]] = (s.most[n] + log2f(s.sum[n])) * LN_2;
    }
}

template <typename T, int WIDTH>
static __global__ void __launch_bounds__(ATTENTION_THREADS) attention_kernel(const gpu_attention a)
{
    GPU_SHARED(float4_part, queries, GPU_TILE_QUERIES * WIDTH / 4);
    GPU_SHARED(float4_part, chunk, ATTENTION_CHUNK * WIDTH / 4);
    const gpu_tile t = a.tiles[blockIdx.x];
    uint32_t head = blockIdx.y, kv = head / (a.n_heads / a.n_kv_heads), lane = threadIdx.x % GPU_WARP,
             warp = threadIdx.x / GPU_WARP;
    uint32_t last_query = t.query + GPU_TILE_QUERIES < t.end ? t.query + GPU_TILE_QUERIES : t.end, first, last, unused;
    attention_state<WIDTH> s;
    keys_of(a, t, t.query, &first, &unused);
    keys_of(a, t, last_query - 1, &unused, &last);
    load_queries<T, WIDTH>(queries->at, a, t, head);
    begin_queries(&s, a, t, warp);
    for (uint32_t from = first; from < last; from += ATTENTION_CHUNK) {
        float score[ATTENTION_OWN] = {};
        uint32_t j = from + lane;
        load_chunk<T, WIDTH>(chunk->at, a.k, a.ldkv, kv, from, last);
        dot_chunk<float, WIDTH, ATTENTION_OWN>(chunk->at, lane, queries->at + warp * ATTENTION_OWN * WIDTH, WIDTH, score);
#pragma unroll
        for (int n = 0; n < ATTENTION_OWN; n++)
            score[n] = j >= s.first[n] && j < s.last[n] ? score_of(a, head, s.query[n], j, score[n]) : -INFINITY;
        take_scores(&s, score);
        load_chunk<T, WIDTH>(chunk->at, a.v, a.ldkv, kv, from, last);
        add_chunk<WIDTH, ATTENTION_OWN>(chunk->at, lane, score, s.out);
    }
    write_queries<T, WIDTH>(s, a, t, head, lane);
}

int gpu_attention_check(const gpu_attention *a, char *why)
{
    if (a->width != 32 && a->width != 64 && a->width != 256)
        return gpu_fail(why, "attention heads of %u items; there are kernels for 32, 64 and 256", a->width);
    if (a->n_kv_heads == 0 || a->n_heads % a->n_kv_heads != 0)
        return gpu_fail(why, "%u query heads do not share %u key heads evenly", a->n_heads, a->n_kv_heads);
    if (a->ldq % 4 != 0 || a->ldkv % 4 != 0 || a->ldo % 4 != 0)
        return gpu_fail(why, "attention's rows are %u, %u and %u items apart; they must be multiples of 4", a->ldq, a->ldkv,
                        a->ldo);
    return 0;
}

int gpu_run_attention(gpu_context *c, const gpu_attention *a, char *why)
{
    if (gpu_attention_check(a, why) != 0) return 1;
    return gpu_launch(c, ATTENTION_PICK(attention_kernel, a->type, a->width), {a->n_tiles, a->n_heads, ATTENTION_THREADS},
                      *a, why);
}
