/* The bodies of the training operators over 16 lanes; tensor/train_ops.h holds their contracts. A file that includes this
 * defines TRAIN_ISA (scalar, avx2 or avx512) and gets the table train_ops_<TRAIN_ISA>. */
#include "tensor/kernels/train_kernels.h"
#include "tensor/kernels/v16_train.h"
#if defined(__AVX512F__)
#include "tensor/kernels/avx512/transpose.h"
#endif

enum {
#if defined(__AVX512F__)
    MM_ROWS = 8, /* rows of a tile of products: with two vectors of columns, half the registers */
#else
    MM_ROWS = 2,
#endif
    SQUARE_RUN = 1024
};

KERNEL_INLINE size_t chunks(size_t width) { return (width + 15) / 16; }

/* exp by 2^n times a polynomial of degree 6 (Cephes expf), at most 2 ulp off; below -87 it stays at exp(-87). */
KERNEL_INLINE v16 v16_exp(v16 x)
{
    x = v16_max(v16_min(x, v16_set(88.0f)), v16_set(-87.0f));
    v16i n = v16_to_int(v16_mul(x, v16_set(1.44269504088896341f)));
    v16 whole = v16_from_int(n);
    v16 r = v16_fma(whole, v16_set(-0.693359375f), x);
    r = v16_fma(whole, v16_set(2.12194440e-4f), r);
    v16 y = v16_set(1.9875691500e-4f);
    y = v16_fma(y, r, v16_set(1.3981999507e-3f));
    y = v16_fma(y, r, v16_set(8.3334519073e-3f));
    y = v16_fma(y, r, v16_set(4.1665795894e-2f));
    y = v16_fma(y, r, v16_set(1.6666665459e-1f));
    y = v16_fma(y, r, v16_set(5.0000001201e-1f));
    y = v16_fma(y, v16_mul(r, r), v16_add(r, v16_set(1.0f)));
    return v16_mul(y, v16_power_of_two(n));
}

KERNEL_INLINE void put(float *out, uint16_t *out16, size_t at, size_t n, v16 x)
{
    if (out != NULL) v16_put(out + at, n, x);
    if (out16 != NULL) v16_store_bf16(out16 + at, n, x);
}

KERNEL_INLINE v16 drop(v16 x, const uint16_t *keep, size_t word, v16 scale)
{
    return keep == NULL ? x : v16_masked(v16_mul(x, scale), keep[word]);
}

/* ---- layer norm ---------------------------------------------------------------------------------------------- */

static void norm_sums(const train_norm *a, size_t row, v16 *sum)
{
    size_t words = chunks(a->width);
    const uint16_t *keep = a->keep == NULL ? NULL : a->keep + row * words;
    const float *residual = a->residual == NULL ? NULL : a->residual + row * a->width;
    float *x = a->x + row * a->width;
    v16 scale = v16_set(a->keep_scale), total = v16_zero();
    for (size_t at = 0; at < a->width; at += 16) {
        size_t n = V16_REST(a->width, at);
        v16 s = v16_take(x + at, n);
        if (a->bias != NULL) s = v16_add(s, v16_take(a->bias + at, n));
        s = drop(s, keep, at / 16, scale);
        if (residual != NULL) s = v16_add(s, v16_take(residual + at, n));
        v16_put(x + at, n, s);
        total = v16_add(total, s);
    }
    *sum = total;
}

static void norm_row(const train_norm *a, size_t row)
{
    size_t words = chunks(a->width);
    const float *s = a->x + row * a->width;
    const uint16_t *keep = a->out_keep == NULL ? NULL : a->out_keep + row * words;
    float *out = a->out == NULL ? NULL : a->out + row * a->width;
    uint16_t *out16 = a->out16 == NULL ? NULL : a->out16 + row * a->width;
    v16 total, squares = v16_zero();
    norm_sums(a, row, &total);
    float mean = v16_sum(total) / (float)a->width;
    v16 means = v16_set(mean);
    for (size_t at = 0; at < a->width; at += 16) {
        size_t n = V16_REST(a->width, at);
        v16 d = v16_fill(v16_sub(v16_take(s + at, n), means), n, v16_zero());
        squares = v16_fma(d, d, squares);
    }
    v16 root = v16_sqrt(v16_set(v16_sum(squares) / (float)a->width + a->eps));
    v16 rstd = v16_div(v16_set(1.0f), root), scale = v16_set(a->out_scale);
    a->stats[2 * row] = mean;
    v16_put(&a->stats[2 * row + 1], 1, rstd);
    for (size_t at = 0; at < a->width; at += 16) {
        size_t n = V16_REST(a->width, at);
        v16 y = v16_mul(v16_sub(v16_take(s + at, n), means), rstd);
        y = v16_fma(y, v16_take(a->gain + at, n), v16_take(a->shift + at, n));
        put(out, out16, at, n, drop(y, keep, at / 16, scale));
    }
}

static void norm(const train_norm *a, size_t begin, size_t end)
{
    for (size_t row = begin; row < end; row++) norm_row(a, row);
}

KERNEL_INLINE void add_to(float *sums, size_t n, v16 x) { v16_put(sums, n, v16_add(v16_take(sums, n), x)); }

static void norm_back_row(const train_norm_back *a, size_t row, float *partial)
{
    size_t width = a->width, words = chunks(width), first = row * width;
    const uint16_t *out_keep = a->out_keep == NULL ? NULL : a->out_keep + row * words;
    const uint16_t *keep = a->keep == NULL ? NULL : a->keep + row * words;
    v16 mean = v16_set(a->stats[2 * row]), rstd = v16_set(a->stats[2 * row + 1]);
    v16 out_scale = v16_set(a->out_scale), scale = v16_set(a->keep_scale);
    v16 sum_g = v16_zero(), sum_gx = v16_zero();
    for (size_t at = 0; at < width; at += 16) {
        size_t n = V16_REST(width, at);
        v16 dy = drop(v16_take(a->dy + first + at, n), out_keep, at / 16, out_scale);
        v16 hat = v16_mul(v16_sub(v16_take(a->s + first + at, n), mean), rstd);
        v16 g = v16_mul(dy, v16_take(a->gain + at, n)); /* 0 in the lanes past the end */
        add_to(partial + at, n, v16_mul(dy, hat));
        add_to(partial + width + at, n, dy);
        sum_g = v16_add(sum_g, g);
        sum_gx = v16_fma(g, v16_fill(hat, n, v16_zero()), sum_gx);
    }
    v16 mean_g = v16_set(v16_sum(sum_g) / (float)width), mean_gx = v16_set(v16_sum(sum_gx) / (float)width);
    for (size_t at = 0; at < width; at += 16) {
        size_t n = V16_REST(width, at);
        v16 dy = drop(v16_take(a->dy + first + at, n), out_keep, at / 16, out_scale);
        v16 hat = v16_mul(v16_sub(v16_take(a->s + first + at, n), mean), rstd);
        v16 g = v16_sub(v16_mul(dy, v16_take(a->gain + at, n)), mean_g);
        v16 ds = v16_mul(rstd, v16_sub(g, v16_mul(hat, mean_gx)));
        v16 dx = drop(ds, keep, at / 16, scale);
        v16_put(a->ds + first + at, n, ds);
        put(a->dx == NULL ? NULL : a->dx + first, a->dx16 == NULL ? NULL : a->dx16 + first, at, n, dx);
        add_to(partial + 2 * width + at, n, dx);
    }
}

static void norm_back(const train_norm_back *a, size_t begin, size_t end, float *partial)
{
    for (size_t at = 0; at < 3 * a->width; at++) partial[at] = 0.0f;
    for (size_t row = begin; row < end; row++) norm_back_row(a, row, partial);
}

/* ---- activations --------------------------------------------------------------------------------------------- */

/* *slope = f'(x); returns f(x). */
KERNEL_INLINE v16 gelu(v16 x, v16 *slope)
{
    v16 one = v16_set(1.0f), z = v16_abs(x);
    /* erf(z / sqrt 2) = 1 - t (a1 + a2 t + ...) exp(-z^2 / 2), t = 1 / (1 + p z / sqrt 2); the exponential serves the slope too. */
    v16 e = v16_exp(v16_mul(v16_mul(x, x), v16_set(-0.5f)));
    v16 t = v16_div(one, v16_fma(z, v16_set(0.3275911f * 0.70710678f), one));
    v16 y = v16_set(1.061405429f);
    y = v16_fma(y, t, v16_set(-1.453152027f));
    y = v16_fma(y, t, v16_set(1.421413741f));
    y = v16_fma(y, t, v16_set(-0.284496736f));
    y = v16_fma(y, t, v16_set(0.254829592f));
    v16 tail = v16_mul(v16_mul(v16_mul(y, t), e), v16_set(0.5f)); /* the normal distribution's weight above z */
    uint16_t above = v16_positive(x);
    v16 cdf = v16_add(v16_masked(v16_sub(one, tail), above), v16_masked(tail, (uint16_t)~above));
    *slope = v16_fma(x, v16_mul(e, v16_set(0.39894228f)), cdf);
    return v16_mul(x, cdf);
}

KERNEL_INLINE v16 gelu_tanh(v16 x, v16 *slope)
{
    v16 one = v16_set(1.0f), square = v16_mul(x, x);
    v16 c = v16_set(0.79788456f), d = v16_set(0.044715f);
    v16 inner = v16_mul(v16_mul(c, x), v16_fma(d, square, one));
    v16 e = v16_exp(v16_mul(v16_set(2.0f), inner));
    v16 t = v16_sub(one, v16_div(v16_set(2.0f), v16_add(e, one)));
    v16 half = v16_mul(v16_set(0.5f), v16_add(one, t));
    v16 inner_slope = v16_mul(c, v16_fma(v16_set(3.0f * 0.044715f), square, one));
    v16 t_slope = v16_mul(v16_fma(v16_sub(v16_zero(), t), t, one), inner_slope);
    *slope = v16_fma(v16_mul(v16_set(0.5f), x), t_slope, half);
    return v16_mul(x, half);
}

KERNEL_INLINE v16 relu(v16 x, v16 *slope)
{
    uint16_t above = v16_positive(x);
    *slope = v16_masked(v16_set(1.0f), above);
    return v16_masked(x, above);
}

KERNEL_INLINE void activate_rows(const train_activate *a, size_t begin, size_t end, train_activation kind)
{
    for (size_t row = begin; row < end; row++) {
        float *x = a->x + row * a->width;
        float *h = a->h == NULL ? NULL : a->h + row * a->width;
        uint16_t *h16 = a->h16 == NULL ? NULL : a->h16 + row * a->width;
        for (size_t at = 0; at < a->width; at += 16) {
            size_t n = V16_REST(a->width, at);
            v16 slope, in = v16_add(v16_take(x + at, n), v16_take(a->bias + at, n));
            v16 y = kind == TRAIN_GELU ? gelu(in, &slope) : kind == TRAIN_RELU ? relu(in, &slope) : gelu_tanh(in, &slope);
            v16_put(x + at, n, slope);
            put(h, h16, at, n, y);
        }
    }
}

static void activate(const train_activate *a, size_t begin, size_t end)
{
    if (a->kind == TRAIN_GELU) activate_rows(a, begin, end, TRAIN_GELU);
    else if (a->kind == TRAIN_RELU) activate_rows(a, begin, end, TRAIN_RELU);
    else activate_rows(a, begin, end, TRAIN_GELU_TANH);
}

static void activate_back(const train_activate_back *a, size_t begin, size_t end, float *partial)
{
    for (size_t at = 0; at < a->width; at++) partial[at] = 0.0f;
    for (size_t row = begin; row < end; row++) {
        size_t first = row * a->width;
        for (size_t at = 0; at < a->width; at += 16) {
            size_t n = V16_REST(a->width, at);
            v16 dx = v16_mul(v16_take(a->dh + first + at, n), v16_take(a->slope + first + at, n));
            put(a->dx == NULL ? NULL : a->dx + first, a->dx16 == NULL ? NULL : a->dx16 + first, at, n, dx);
            add_to(partial + at, n, dx);
        }
    }
}

/* ---- products of a head's size ------------------------------------------------------------------------------- */

/* c[i, j] = alpha * sum over k of a[i * row_step + k * step] * b[k, j], k rising, fused multiply-adds from 0. */
typedef struct small_product {
    size_t m, n, k;
    const float *a;
    size_t row_step, step;
    const float *b;
    size_t ldb;
    float alpha;
    float *c;
    size_t ldc;
} small_product;

KERNEL_INLINE void mm_tile(const small_product *p, size_t row, size_t column, size_t n_rows, size_t n_columns)
{
    v16 sum[MM_ROWS][2];
    size_t n0 = V16_REST(n_columns, 0), n1 = n_columns > 16 ? n_columns - 16 : 0;
    const float *a = p->a + row * p->row_step;
    const float *b = p->b + column;
    KERNEL_UNROLL
    for (size_t i = 0; i < n_rows; i++) sum[i][0] = sum[i][1] = v16_zero();
    for (size_t k = 0; k < p->k; k++) {
        v16 b0 = v16_take(b + k * p->ldb, n0);
        v16 b1 = n1 > 0 ? v16_take(b + k * p->ldb + 16, n1) : v16_zero();
        KERNEL_UNROLL
        for (size_t i = 0; i < n_rows; i++) {
            v16 x = v16_set(a[i * p->row_step + k * p->step]);
            sum[i][0] = v16_fma(x, b0, sum[i][0]);
            if (n1 > 0) sum[i][1] = v16_fma(x, b1, sum[i][1]);
        }
    }
    v16 alpha = v16_set(p->alpha);
    float *c = p->c + row * p->ldc + column;
    KERNEL_UNROLL
    for (size_t i = 0; i < n_rows; i++) {
        v16_put(c + i * p->ldc, n0, v16_mul(alpha, sum[i][0]));
        if (n1 > 0) v16_put(c + i * p->ldc + 16, n1, v16_mul(alpha, sum[i][1]));
    }
}

KERNEL_INLINE void mm_columns(const small_product *p, size_t column, size_t n_columns)
{
    size_t row = 0;
    for (; row + MM_ROWS <= p->m; row += MM_ROWS) mm_tile(p, row, column, MM_ROWS, n_columns);
#if defined(__AVX512F__)
    for (; row + 4 <= p->m; row += 4) mm_tile(p, row, column, 4, n_columns);
#endif
    for (; row < p->m; row++) mm_tile(p, row, column, 1, n_columns);
}

static void mm(const small_product *p)
{
    size_t column = 0;
    for (; column + 32 <= p->n; column += 32) mm_columns(p, column, 32);
    if (column < p->n) mm_columns(p, column, p->n - column);
}

/* out [width, ld] = the transpose of x [n, width]; columns [n, ld) are zeroed. ld is a multiple of 16. */
static void transpose(const float *x, size_t ldx, size_t n, size_t width, float *out, size_t ld)
{
#if defined(__AVX512F__)
    for (size_t i = 0; i < ld; i += 16)
        for (size_t c = 0; c < width; c += 16)
            transpose_block(x + i * ldx + c, ldx, n > i ? n - i : 0, width - c, out + c * ld + i, ld);
#else
    for (size_t c = 0; c < width; c++) {
        for (size_t i = 0; i < n; i++) out[c * ld + i] = x[i * ldx + c];
        for (size_t i = n; i < ld; i++) out[c * ld + i] = 0.0f;
    }
#endif
}

/* ---- attention ----------------------------------------------------------------------------------------------- */

static void add_bias(float *x, size_t ld, size_t n_rows, size_t width, const float *bias)
{
    if (bias == NULL) return;
    for (size_t i = 0; i < n_rows; i++)
        for (size_t at = 0; at < width; at += 16) {
            size_t n = V16_REST(width, at);
            add_to(x + i * ld + at, n, v16_take(bias + at, n));
        }
}

KERNEL_INLINE const float *relative_row(const train_attention *a, size_t query)
{
    return a->relative - (a->place != NULL ? a->place[query] : query);
}

static void softmax_row(float *x, size_t n_keys, size_t ld, const float *relative)
{
    v16 lowest = v16_set(-3.0e38f), top = lowest, total = v16_zero();
    for (size_t at = 0; at < n_keys; at += 16) {
        size_t n = V16_REST(n_keys, at);
        v16 s = v16_take(x + at, n);
        if (relative != NULL) s = v16_add(s, v16_take(relative + at, n));
        v16_put(x + at, n, s);
        top = v16_max(top, v16_fill(s, n, lowest));
    }
    v16 peak = v16_set(v16_largest(top));
    for (size_t at = 0; at < n_keys; at += 16) {
        size_t n = V16_REST(n_keys, at);
        v16 e = v16_fill(v16_exp(v16_sub(v16_take(x + at, n), peak)), n, v16_zero());
        v16_store(x + at, e);
        total = v16_add(total, e);
    }
    v16 inverse = v16_div(v16_set(1.0f), v16_set(v16_sum(total)));
    for (size_t at = 0; at < ld; at += 16) v16_store(x + at, v16_mul(v16_load(x + at), inverse));
}

/* The probabilities after dropout: probs themselves, or a copy in room. */
static const float *dropped(const train_attention *a, float *room)
{
    if (a->keep == NULL) return a->probs;
    v16 scale = v16_set(a->keep_scale);
    for (size_t at = 0; at < a->n_queries * a->ldp; at += 16)
        v16_store(room + at, drop(v16_load(a->probs + at), a->keep, at / 16, scale));
    return room;
}

/* Rows of x [n_rows, width] to out or out16 with leading dimension ld; sums (or NULL) gets the column sums. */
static void emit(const float *x, size_t n_rows, size_t width, float *out, uint16_t *out16, size_t ld, float *sums)
{
    for (size_t at = 0; at < width; at += 16) {
        size_t n = V16_REST(width, at);
        v16 total = v16_zero();
        for (size_t i = 0; i < n_rows; i++) {
            v16 y = v16_take(x + i * width + at, n);
            put(out == NULL ? NULL : out + i * ld, out16 == NULL ? NULL : out16 + i * ld, at, n, y);
            total = v16_add(total, y);
        }
        if (sums != NULL) v16_put(sums + at, n, total);
    }
}

static void attention(const train_attention *a)
{
    size_t ld = a->ldp, scores = a->n_queries * ld;
    float *turned = a->scratch, *room = turned + a->width * ld, *rows = room + scores;
    add_bias(a->q, a->ldq, a->n_queries, a->width, a->bias_q);
    add_bias(a->k, a->ldk, a->n_keys, a->width, a->bias_k);
    add_bias(a->v, a->ldk, a->n_keys, a->width, a->bias_v);
    transpose(a->k, a->ldk, a->n_keys, a->width, turned, ld);
    mm(&(small_product){a->n_queries, ld, a->width, a->q, a->ldq, 1, turned, ld, a->scale, a->probs, ld});
    for (size_t i = 0; i < a->n_queries; i++)
        softmax_row(a->probs + i * ld, a->n_keys, ld, a->relative == NULL ? NULL : relative_row(a, i));
    const float *p = dropped(a, room);
    bool straight = a->out != NULL && a->out16 == NULL;
    mm(&(small_product){a->n_queries, a->width, a->n_keys, p, ld, 1, a->v, a->ldk, 1.0f, straight ? a->out : rows,
                        straight ? a->ldo : a->width});
    if (!straight) emit(rows, a->n_queries, a->width, a->out, a->out16, a->ldo, NULL);
}

/* From d, the gradient of the dropped probabilities, that of the scores, in place. */
static void softmax_back(const train_attention *a, float *d)
{
    v16 scale = v16_set(a->keep_scale);
    size_t ld = a->ldp;
    for (size_t i = 0; i < a->n_queries; i++) {
        const float *p = a->probs + i * ld;
        const uint16_t *keep = a->keep == NULL ? NULL : a->keep + i * (ld / 16);
        float *row = d + i * ld;
        v16 sum = v16_zero();
        for (size_t at = 0; at < ld; at += 16) {
            v16 g = drop(v16_load(row + at), keep, at / 16, scale);
            v16_store(row + at, g);
            sum = v16_fma(g, v16_load(p + at), sum);
        }
        v16 mean = v16_set(v16_sum(sum));
        for (size_t at = 0; at < ld; at += 16)
            v16_store(row + at, v16_mul(v16_load(p + at), v16_sub(v16_load(row + at), mean)));
        if (a->relative_grad == NULL) continue;
        float *relative = a->relative_grad - (a->place != NULL ? a->place[i] : i);
        for (size_t at = 0; at < a->n_keys; at += 16) {
            size_t n = V16_REST(a->n_keys, at);
            add_to(relative + at, n, v16_take(row + at, n));
        }
    }
}

static void attention_back(const train_attention *a)
{
    size_t ld = a->ldp, nq = a->n_queries, nk = a->n_keys, w = a->width;
    float *turned = a->scratch, *d = turned + w * ld, *room = d + nq * ld, *rows = room + nq * ld;
    const float *p = dropped(a, room);
    mm(&(small_product){nk, w, nq, p, 1, ld, a->dout, a->ldo, 1.0f, rows, w});
    emit(rows, nk, w, a->dv, a->dv16, a->ldk, a->sum_v);
    transpose(a->v, a->ldk, nk, w, turned, ld);
    mm(&(small_product){nq, ld, w, a->dout, a->ldo, 1, turned, ld, 1.0f, d, ld});
    softmax_back(a, d);
    mm(&(small_product){nq, w, nk, d, ld, 1, a->k, a->ldk, a->scale, rows, w});
    emit(rows, nq, w, a->dq, a->dq16, a->ldq, a->sum_q);
    mm(&(small_product){nk, w, nq, d, 1, ld, a->q, a->ldq, a->scale, rows, w});
    emit(rows, nk, w, a->dk, a->dk16, a->ldk, a->sum_k);
}

/* ---- the vocabulary's softmax -------------------------------------------------------------------------------- */

static void vocab_row(train_vocab_row *a)
{
    v16 lowest = v16_set(-3.0e38f), top = lowest, total = v16_zero();
    for (size_t at = 0; at < a->n; at += 16) {
        size_t n = V16_REST(a->n, at);
        v16 s = v16_add(v16_take(a->x + at, n), v16_take(a->bias + at, n));
        v16_put(a->x + at, n, s);
        top = v16_max(top, v16_fill(s, n, lowest));
    }
    float peak = v16_largest(top), own = a->x[a->target];
    v16 peaks = v16_set(peak);
    for (size_t at = 0; at < a->n; at += 16) {
        size_t n = V16_REST(a->n, at);
        total = v16_add(total, v16_fill(v16_exp(v16_sub(v16_take(a->x + at, n), peaks)), n, v16_zero()));
    }
    float sum = v16_sum(total);
    a->loss = __builtin_log((double)sum) - ((double)own - (double)peak);
    a->hit = own >= peak;
    for (size_t at = 0; a->hit && at < a->target; at++) a->hit = a->x[at] < own;
    if (!a->grad) return;
    v16 factor = v16_set(a->scale / sum);
    for (size_t at = 0; at < a->n; at += 16) {
        size_t n = V16_REST(a->n, at);
        v16_put(a->x + at, n, v16_mul(v16_exp(v16_sub(v16_take(a->x + at, n), peaks)), factor));
    }
    a->x[a->target] -= a->scale;
    for (size_t at = 0; a->x16 != NULL && at < a->n; at += 16) {
        size_t n = V16_REST(a->n, at);
        v16_store_bf16(a->x16 + at, n, v16_take(a->x + at, n));
    }
}

/* ---- sums and the optimiser ---------------------------------------------------------------------------------- */

static void bf16(const float *in, uint16_t *out, size_t n)
{
    for (size_t at = 0; at < n; at += 16) v16_store_bf16(out + at, V16_REST(n, at), v16_take(in + at, V16_REST(n, at)));
}

static void column_sum(const float *x, size_t n_rows, size_t width, size_t ld, float *out)
{
    for (size_t row = 0; row < n_rows; row++)
        for (size_t at = 0; at < width; at += 16) {
            size_t n = V16_REST(width, at);
            add_to(out + at, n, v16_take(x + row * ld + at, n));
        }
}

static double square_sum(const float *x, size_t n)
{
    double total = 0.0;
    for (size_t run = 0; run < n; run += SQUARE_RUN) {
        size_t end = n - run < SQUARE_RUN ? n : run + SQUARE_RUN;
        v16 sum = v16_zero();
        for (size_t at = run; at < end; at += 16) {
            v16 g = v16_take(x + at, V16_REST(end, at));
            sum = v16_fma(g, g, sum);
        }
        total += (double)v16_sum(sum);
    }
    return total;
}

/* In adamw and in its replay the same operations in the same order: what the replay leaves out is the product with a
 * gradient of 0, which changes no bit (v + 0 * 0 = v; 0 - m is exact). */
KERNEL_INLINE v16 adamw_value(const train_adamw_past *c, v16 epsilon, v16 p, v16 m, v16 v)
{
    v16 denominator = v16_fma(v16_sqrt(v), v16_set(c->correction), epsilon);
    p = v16_mul(p, v16_set(c->decay));
    return v16_sub(p, v16_mul(v16_set(c->step_size), v16_div(m, denominator)));
}

static void adamw(const train_adamw *a, float *p, const float *g, float *m, float *v, size_t n)
{
    v16_mode before = v16_flush_subnormals();
    train_adamw_past now = {a->decay, a->step_size, a->correction};
    v16 clip = v16_set(a->clip), rest1 = v16_set(a->one_minus_beta1), rest2 = v16_set(a->one_minus_beta2);
    v16 beta2 = v16_set(a->beta2), epsilon = v16_set(a->epsilon);
    for (size_t at = 0; at < n; at += 16) {
        size_t k = V16_REST(n, at);
        v16 grad = v16_mul(v16_take(g + at, k), clip);
        v16 mean = v16_take(m + at, k);
        mean = v16_fma(v16_sub(grad, mean), rest1, mean);
        v16 square = v16_fma(v16_mul(rest2, grad), grad, v16_mul(v16_take(v + at, k), beta2));
        v16_put(m + at, k, mean);
        v16_put(v + at, k, square);
        v16_put(p + at, k, adamw_value(&now, epsilon, v16_take(p + at, k), mean, square));
    }
    v16_mode_restore(before);
}

/* Vectors whose moments are zero everywhere only decay. */
KERNEL_INLINE bool all_zero(v16 x) { return v16_largest(v16_abs(x)) == 0.0f; }

static void replay_decay(const train_adamw_past *past, size_t n_past, float *p, size_t n)
{
    v16 value = v16_take(p, n);
    for (size_t step = 0; step < n_past; step++) value = v16_mul(value, v16_set(past[step].decay));
    v16_put(p, n, value);
}

static void replay_vector(const train_adamw *a, const train_adamw_past *past, size_t n_past, float *p, float *m, float *v,
                          size_t n)
{
    v16 mean = v16_take(m, n), square = v16_take(v, n), value = v16_take(p, n);
    v16 rest1 = v16_set(a->one_minus_beta1), beta2 = v16_set(a->beta2), epsilon = v16_set(a->epsilon);
    if (all_zero(mean) && all_zero(square)) {
        replay_decay(past, n_past, p, n);
        return;
    }
    for (size_t step = 0; step < n_past; step++) {
        mean = v16_fma(v16_sub(v16_zero(), mean), rest1, mean);
        square = v16_mul(square, beta2);
        value = adamw_value(&past[step], epsilon, value, mean, square);
    }
    v16_put(m, n, mean);
    v16_put(v, n, square);
    v16_put(p, n, value);
}

static void adamw_replay(const train_adamw *a, const train_adamw_past *past, size_t n_past, float *p, float *m, float *v,
                         size_t n)
{
    v16_mode before = v16_flush_subnormals();
    for (size_t at = 0; at < n; at += 16) replay_vector(a, past, n_past, p + at, m + at, v + at, V16_REST(n, at));
    v16_mode_restore(before);
}

/* ---- dropout -------------------------------------------------------------------------------------------------- */

/* base/rng.c's Philox4x32-10 over 16 counters at once. */
KERNEL_INLINE void philox(uint64_t seed, uint64_t stream, uint64_t counter, v16i word[4])
{
    int32_t low[16], high[16];
    for (uint64_t i = 0; i < 16; i++) {
        low[i] = (int32_t)(uint32_t)(counter + i);
        high[i] = (int32_t)(uint32_t)((counter + i) >> 32);
    }
    v16i c0 = v16i_load(low), c1 = v16i_load(high);
    v16i c2 = v16i_set((int32_t)(uint32_t)stream), c3 = v16i_set((int32_t)(uint32_t)(stream >> 32));
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        v16_pair p0 = v16_multiply_wide(c0, 0xD2511F53u), p1 = v16_multiply_wide(c2, 0xCD9E8D57u);
        c0 = v16i_xor(v16i_xor(p1.high, c1), v16i_set((int32_t)k0));
        c2 = v16i_xor(v16i_xor(p0.high, c3), v16i_set((int32_t)k1));
        c1 = p1.low;
        c3 = p0.low;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    word[0] = c0;
    word[1] = c1;
    word[2] = c2;
    word[3] = c3;
}

static void dropout_words(uint64_t seed, uint64_t stream, size_t first_group, size_t n_groups, uint32_t threshold,
                          uint16_t *words)
{
    int32_t limit = (int32_t)threshold;
    for (size_t group = 0; group < n_groups; group++) {
        v16i word[4];
        philox(seed, stream, 16 * (uint64_t)(first_group + group), word);
        for (size_t w = 0; w < 4; w++) {
            words[8 * group + 2 * w] = v16i_at_least(v16i_low_half(word[w]), limit);
            words[8 * group + 2 * w + 1] = v16i_at_least(v16i_high_half(word[w]), limit);
        }
    }
}

#define TRAIN_TABLE_NAME(isa) train_ops_##isa
#define TRAIN_TABLE(isa) TRAIN_TABLE_NAME(isa)
#define TRAIN_TEXT_OF(isa) #isa
#define TRAIN_TEXT(isa) TRAIN_TEXT_OF(isa)

const train_ops TRAIN_TABLE(TRAIN_ISA) = {
    .name = TRAIN_TEXT(TRAIN_ISA),
    .norm = norm,
    .norm_back = norm_back,
    .activate = activate,
    .activate_back = activate_back,
    .attention = attention,
    .attention_back = attention_back,
    .vocab_row = vocab_row,
    .bf16 = bf16,
    .column_sum = column_sum,
    .square_sum = square_sum,
    .adamw = adamw,
    .adamw_replay = adamw_replay,
    .dropout_words = dropout_words,
};
