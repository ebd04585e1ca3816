/* Attention backward without atomic additions, in three launches (the probabilities are made again from lse, arXiv:2205.14135):
 *   dot   per query and head, dout times out;
 *   dq    tiles of queries over chunks of keys: ds = p (dout v - dot), dq = sum over keys of ds k;
 *   dk dv tiles of keys over chunks of queries and the query heads that share the key: dv = sum of p dout, dk = sum of ds q. */
#include "tensor/cuda/attention.h"
#include "tensor/cuda/operators.h"

/* A warp a query and head. */
template <typename T>
static __global__ void __launch_bounds__(ATTENTION_THREADS) attention_dot_kernel(const gpu_attention_back b)
{
    const gpu_attention &a = b.forward;
    uint32_t token = blockIdx.x * ATTENTION_WARPS + threadIdx.x / GPU_WARP, head = blockIdx.y, lane = threadIdx.x % GPU_WARP;
    if (token >= a.n_tokens) return;
    size_t row = (size_t)token * a.ldo + (size_t)head * a.width;
    float dot = 0.0f;
    for (uint32_t d = lane; d < a.width; d += GPU_WARP)
        dot = fmaf(value_of(((const T *)b.dout)[row + d]), value_of(((const T *)a.out)[row + d]), dot);
    dot = warp_sum(dot);
    if (lane == 0) b.dot[(size_t)head * a.n_tokens + token] = dot;
}

/* The probability of key j for query i from its score's products. */
GPU_DEVICE float probability(const gpu_attention &a, uint32_t head, uint32_t i, uint32_t j, float dot)
{
    return exp2f(score_of(a, head, i, j, dot) - a.lse[(size_t)head * a.n_tokens + i] * LOG2_E);
}

template <typename T, int WIDTH>
GPU_DEVICE void write_sum(void *to, size_t ld, uint32_t head, uint32_t row, uint32_t lane, const float sum[WIDTH / GPU_WARP])
{
    T *out = (T *)to + row * ld + (size_t)head * WIDTH;
    for (int k = 0; k < WIDTH / GPU_WARP; k++) out[lane + k * GPU_WARP] = rounded<T>(sum[k]);
}

/* The first of this warp's rows of a tile. The rows past the text's end stand for its last: they are computed and not written. */
GPU_DEVICE uint32_t own_row(const gpu_tile &t, uint32_t warp, int n)
{
    uint32_t i = t.query + warp * ATTENTION_OWN + (uint32_t)n;
    return i < t.end ? i : t.end - 1;
}

template <typename T, int WIDTH>
static __global__ void __launch_bounds__(ATTENTION_THREADS) attention_dq_kernel(const gpu_attention_back b)
{
    GPU_SHARED(float4_part, chunk, ATTENTION_CHUNK * WIDTH / 4);
    const gpu_attention &a = b.forward;
    const gpu_tile t = a.tiles[blockIdx.x];
    uint32_t head = blockIdx.y, kv = head / (a.n_heads / a.n_kv_heads), lane = threadIdx.x % GPU_WARP,
             warp = threadIdx.x / GPU_WARP;
    uint32_t last_query = t.query + GPU_TILE_QUERIES < t.end ? t.query + GPU_TILE_QUERIES : t.end, first, last, unused;
    float dq[ATTENTION_OWN][WIDTH / GPU_WARP] = {};
    keys_of(a, t, t.query, &first, &unused);
    keys_of(a, t, last_query - 1, &unused, &last);
    for (uint32_t from = first; from < last; from += ATTENTION_CHUNK) {
        float ds[ATTENTION_OWN] = {}, score[ATTENTION_OWN] = {};
        uint32_t j = from + lane;
        load_chunk<T, WIDTH>(chunk->at, a.v, a.ldkv, kv, from, last);
        for (int n = 0; n < ATTENTION_OWN; n++)
            dot_chunk<T, WIDTH, 1>(
                chunk->at, lane, (const T *)b.dout + (size_t)own_row(t, warp, n) * a.ldo + (size_t)head * WIDTH, 0, &ds[n]);
        load_chunk<T, WIDTH>(chunk->at, a.k, a.ldkv, kv, from, last);
        for (int n = 0; n < ATTENTION_OWN; n++) {
            uint32_t i = own_row(t, warp, n), low, high;
            dot_chunk<T, WIDTH, 1>(chunk->at, lane, (const T *)a.q + (size_t)i * a.ldq + (size_t)head * WIDTH, 0, &score[n]);
            keys_of(a, t, i, &low, &high);
            bool seen = j >= low && j < high;
            ds[n] = seen ? probability(a, head, i, j, score[n]) * (ds[n] - b.dot[(size_t)head * a.n_tokens + i]) * a.scale
                         : 0.0f;
        }
        add_chunk<WIDTH, ATTENTION_OWN>(chunk->at, lane, ds, dq);
    }
    for (int n = 0; n < ATTENTION_OWN; n++)
        if (t.query + warp * ATTENTION_OWN + (uint32_t)n < t.end)
            write_sum<T, WIDTH>(b.dq, a.ldq, head, own_row(t, warp, n), lane, dq[n]);
}

/* One chunk of queries of one head: adds to dk and dv of the warp's keys. */
template <typename T, int WIDTH>
GPU_DEVICE void add_queries(const gpu_attention_back &b, const gpu_tile &t, float *chunk, uint32_t head, uint32_t kv,
                            uint32_t from, uint32_t last, float dk[ATTENTION_OWN][WIDTH / GPU_WARP],
                            float dv[ATTENTION_OWN][WIDTH / GPU_WARP])
{
    const gpu_attention &a = b.forward;
    uint32_t lane = threadIdx.x % GPU_WARP, warp = threadIdx.x / GPU_WARP, i = from + lane;
    float p[ATTENTION_OWN] = {}, ds[ATTENTION_OWN] = {};
    load_chunk<T, WIDTH>(chunk, a.q, a.ldq, head, from, last);
    for (int n = 0; n < ATTENTION_OWN; n++) {
        uint32_t j = own_row(t, warp, n), low, high;
        dot_chunk<T, WIDTH, 1>(chunk, lane, (const T *)a.k + (size_t)j * a.ldkv + (size_t)kv * WIDTH, 0, &p[n]);
        queries_of(a, t, j, &low, &high);
        p[n] = i >= low && i < high ? probability(a, head, i, j, p[n]) : 0.0f;
    }
    load_chunk<T, WIDTH>(chunk, b.dout, a.ldo, head, from, last);
    for (int n = 0; n < ATTENTION_OWN; n++) {
        uint32_t j = own_row(t, warp, n);
        dot_chunk<T, WIDTH, 1>(chunk, lane, (const T *)a.v + (size_t)j * a.ldkv + (size_t)kv * WIDTH, 0, &ds[n]);
        ds[n] = i < last ? p[n] * (ds[n] - b.dot[(size_t)head * a.n_tokens + i]) * a.scale : 0.0f;
    }
    add_chunk<WIDTH, ATTENTION_OWN>(chunk, lane, p, dv);
    load_chunk<T, WIDTH>(chunk, a.q, a.ldq, head, from, last);
    add_chunk<WIDTH, ATTENTION_OWN>(chunk, lane, ds, dk);
}

template <typename T, int WIDTH>
static __global__ void __launch_bounds__(ATTENTION_THREADS) attention_dkv_kernel(const gpu_attention_back b)
{
    GPU_SHARED(float4_part, chunk, ATTENTION_CHUNK * WIDTH / 4);
    const gpu_attention &a = b.forward;
    const gpu_tile t = a.tiles[blockIdx.x];
    uint32_t kv = blockIdx.y, share = a.n_heads / a.n_kv_heads, lane = threadIdx.x % GPU_WARP, warp = threadIdx.x / GPU_WARP;
    uint32_t last_key = t.query + GPU_TILE_QUERIES < t.end ? t.query + GPU_TILE_QUERIES : t.end, first, last, unused;
    float dk[ATTENTION_OWN][WIDTH / GPU_WARP] = {}, dv[ATTENTION_OWN][WIDTH / GPU_WARP] = {};
    queries_of(a, t, t.query, &first, &unused);
    queries_of(a, t, last_key - 1, &unused, &last);
    for (uint32_t head = kv * share; head < (kv + 1) * share; head++)
        for (uint32_t from = first; from < last; from += ATTENTION_CHUNK)
            add_queries<T, WIDTH>(b, t, chunk->at, head, kv, from, last, dk, dv);
    for (int n = 0; n < ATTENTION_OWN; n++) {
        if (t.query + warp * ATTENTION_OWN + (uint32_t)n >= t.end) continue;
        write_sum<T, WIDTH>(b.dk, a.ldkv, kv, own_row(t, warp, n), lane, dk[n]);
        write_sum<T, WIDTH>(b.dv, a.ldkv, kv, own_row(t, warp, n), lane, dv[n]);
    }
}

int gpu_run_attention_back(gpu_context *c, const gpu_attention_back *b, char *why)
{
    const gpu_attention *a = &b->forward;
    if (gpu_attention_check(a, why) != 0) return 1;
    gpu_grid each = {gpu_blocks(a->n_tokens, ATTENTION_WARPS), a->n_heads, ATTENTION_THREADS},
             tiles = {a->n_tiles, a->n_heads, ATTENTION_THREADS};
    if (gpu_launch(c, a->type == GPU_BF16 ? attention_dot_kernel<bf16> : attention_dot_kernel<float>, each, *b, why) != 0)
        return 1;
    if (gpu_launch(c, ATTENTION_PICK(attention_dq_kernel, a->type, a->width), tiles, *b, why) != 0) return 1;
    tiles.y = a->n_kv_heads;
    return gpu_launch(c, ATTENTION_PICK(attention_dkv_kernel, a->type, a->width), tiles, *b, why);
}
