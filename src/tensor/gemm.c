/* f32 products go to oneDNN's sgemm; bf16 products to its matmul primitive, made once a shape and kept.
 *
 * The cache of primitives:
 *  1. A slot's key is all that the primitive depends on, the thread count included (oneDNN plans for it).
 *  2. users counts the calls that run a slot's primitive; only a slot without users is replaced, the longest unused one.
 *  3. The lock guards slots, clock and engine; it is not held while a product runs.
 *  4. Where every slot is in use, the primitive is made for the one call.
 * Primitives get their scratchpad from us (mode user): oneDNN's own is bound to the thread that made the primitive. */
#include "tensor/gemm.h"

#include "base/mem.h"
#include "tensor/cpu.h"
#include "tensor/gemm_internal.h"
#include "tensor/tensor.h"

#include <dnnl.h>
#ifdef _OPENMP
#include <omp.h>
#endif
#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { GEMM_SLOTS = 128 };

typedef struct gemm_key {
    size_t m, n, k, lda, ldb, ldc;
    int n_threads;
    bool trans_a, trans_b, add;
} gemm_key;

typedef struct gemm_slot {
    gemm_key key;
    dnnl_primitive_t primitive; /* NULL: free */
    size_t users;
    uint64_t used_at;
    dnnl_memory_desc_t a, b, c, scratch;
    size_t scratch_bytes;
} gemm_slot;

static struct {
    pthread_mutex_t lock;
    gemm_slot slots[GEMM_SLOTS];
    uint64_t clock;
    dnnl_engine_t engine;
} gemm_cache = {.lock = PTHREAD_MUTEX_INITIALIZER};

static finch_status gemm_failed(const char *call, dnnl_status_t status, finch_error *err)
{
    if (status == dnnl_out_of_memory) return finch_fail(err, FINCH_E_MEMORY, "oneDNN ran out of memory in %s", call);
    return finch_fail(err, FINCH_E_FAILED, "oneDNN's %s failed with status %d; run finch doctor", call, (int)status);
}

#define GEMM_GO(label, st, call)                            \
    do {                                                    \
        dnnl_status_t gemm_go_status = (call);              \
        if (gemm_go_status != dnnl_success) {               \
            (st) = gemm_failed(#call, gemm_go_status, err); \
            goto label;                                     \
        }                                                   \
    } while (0)

finch_status gemm_check(bool trans_a, bool trans_b, size_t m, size_t n, size_t k, size_t lda, size_t ldb, size_t ldc,
                        finch_error *err)
{
    if (lda < (trans_a ? m : k) || ldb < (trans_b ? k : n) || ldc < n)
        return finch_fail(err, FINCH_E_USAGE,
                          "a product of %zu x %zu x %zu has a leading dimension below its row (%zu, %zu, %zu)", m, n, k, lda,
                          ldb, ldc);
    if ((m | n | k | lda | ldb | ldc) > (size_t)INT32_MAX)
        return finch_fail(err, FINCH_E_USAGE, "a product of %zu x %zu x %zu is too large", m, n, k);
    return FINCH_OK;
}

/* c = beta c, the whole of a product over nothing. */
static void gemm_scale(size_t m, size_t n, float beta, float *c, size_t ldc)
{
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) c[i * ldc + j] = beta == 0.0f ? 0.0f : beta * c[i * ldc + j];
}

finch_status gemm_f32(bool trans_a, bool trans_b, size_t m, size_t n, size_t k, const float *a, size_t lda, const float *b,
                      size_t ldb, float beta, float *c, size_t ldc, finch_error *err)
{
    FINCH_TRY(gemm_check(trans_a, trans_b, m, n, k, lda, ldb, ldc, err));
    if (m == 0 || n == 0) return FINCH_OK;
    if (k == 0) {
        gemm_scale(m, n, beta, c, ldc);
        return FINCH_OK;
    }
    dnnl_status_t status = dnnl_sgemm(trans_a ? 'T' : 'N', trans_b ? 'T' : 'N', (dnnl_dim_t)m, (dnnl_dim_t)n, (dnnl_dim_t)k,
                                      1.0f, a, (dnnl_dim_t)lda, b, (dnnl_dim_t)ldb, beta, c, (dnnl_dim_t)ldc);
    return status == dnnl_success ? FINCH_OK : gemm_failed("dnnl_sgemm", status, err);
}

/* ---- bf16 ---------------------------------------------------------------------------------------------------- */

static dnnl_status_t gemm_desc(dnnl_memory_desc_t *out, size_t rows, size_t cols, dnnl_data_type_t type, size_t row_stride,
                               size_t col_stride)
{
    dnnl_dims_t dims = {(dnnl_dim_t)rows, (dnnl_dim_t)cols};
    dnnl_dims_t strides = {(dnnl_dim_t)row_stride, (dnnl_dim_t)col_stride};
#if DNNL_VERSION_MAJOR >= 3
    return dnnl_memory_desc_create_with_strides(out, 2, dims, type, strides);
#else
    return dnnl_memory_desc_init_by_strides(out, 2, dims, type, strides);
#endif
}

static void gemm_slot_clear(gemm_slot *s)
{
    if (s->primitive != NULL) dnnl_primitive_destroy(s->primitive);
#if DNNL_VERSION_MAJOR >= 3
    if (s->a != NULL) dnnl_memory_desc_destroy(s->a);
    if (s->b != NULL) dnnl_memory_desc_destroy(s->b);
    if (s->c != NULL) dnnl_memory_desc_destroy(s->c);
    if (s->scratch != NULL) dnnl_memory_desc_destroy(s->scratch);
#endif
    memset(s, 0, sizeof *s);
}

static finch_status gemm_slot_describe(gemm_slot *s, dnnl_primitive_desc_t pd, finch_error *err)
{
#if DNNL_VERSION_MAJOR >= 3
    const_dnnl_memory_desc_t scratch = dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
    dnnl_status_t status = dnnl_memory_desc_clone(&s->scratch, scratch);
    if (status != dnnl_success) return gemm_failed("dnnl_memory_desc_clone", status, err);
    s->scratch_bytes = dnnl_memory_desc_get_size(s->scratch);
#else
    const dnnl_memory_desc_t *scratch = dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
    if (scratch == NULL) return finch_fail(err, FINCH_E_FAILED, "oneDNN describes no scratchpad; run finch doctor");
    s->scratch = *scratch;
    s->scratch_bytes = dnnl_memory_desc_get_size(scratch);
#endif
    return FINCH_OK;
}

static finch_status gemm_slot_make(dnnl_engine_t engine, const gemm_key *key, gemm_slot *s, finch_error *err)
{
    finch_status st = FINCH_OK;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_post_ops_t post = NULL;
    dnnl_primitive_desc_t pd = NULL;
    memset(s, 0, sizeof *s);
    s->key = *key;
    GEMM_GO(done, st, gemm_desc(&s->a, key->m, key->k, dnnl_bf16, key->trans_a ? 1 : key->lda, key->trans_a ? key->lda : 1));
    GEMM_GO(done, st, gemm_desc(&s->b, key->k, key->n, dnnl_bf16, key->trans_b ? 1 : key->ldb, key->trans_b ? key->ldb : 1));
    GEMM_GO(done, st, gemm_desc(&s->c, key->m, key->n, dnnl_f32, key->ldc, 1));
    GEMM_GO(done, st, dnnl_primitive_attr_create(&attr));
    GEMM_GO(done, st, dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user));
    if (key->add) {
        GEMM_GO(done, st, dnnl_post_ops_create(&post));
#if DNNL_VERSION_MAJOR >= 3
        GEMM_GO(done, st, dnnl_post_ops_append_sum(post, 1.0f, 0, dnnl_data_type_undef));
#else
        GEMM_GO(done, st, dnnl_post_ops_append_sum(post, 1.0f));
#endif
        GEMM_GO(done, st, dnnl_primitive_attr_set_post_ops(attr, post));
    }
#if DNNL_VERSION_MAJOR >= 3
    GEMM_GO(done, st, dnnl_matmul_primitive_desc_create(&pd, engine, s->a, s->b, NULL, s->c, attr));
#else
    dnnl_matmul_desc_t op;
    GEMM_GO(done, st, dnnl_matmul_desc_init(&op, &s->a, &s->b, NULL, &s->c));
    GEMM_GO(done, st, dnnl_primitive_desc_create(&pd, &op, attr, engine, NULL));
#endif
    FINCH_GO(done, st, gemm_slot_describe(s, pd, err));
    GEMM_GO(done, st, dnnl_primitive_create(&s->primitive, pd));
done:
    if (pd != NULL) dnnl_primitive_desc_destroy(pd);
    if (post != NULL) dnnl_post_ops_destroy(post);
    if (attr != NULL) dnnl_primitive_attr_destroy(attr);
    if (st != FINCH_OK) gemm_slot_clear(s);
    return st;
}

static bool gemm_key_equal(const gemm_key *x, const gemm_key *y)
{
    return x->m == y->m && x->n == y->n && x->k == y->k && x->lda == y->lda && x->ldb == y->ldb && x->ldc == y->ldc &&
           x->n_threads == y->n_threads && x->trans_a == y->trans_a && x->trans_b == y->trans_b && x->add == y->add;
}

/* The slot to serve key: a hit, else the free or longest unused one; NULL where all are in use. Lock held. */
static gemm_slot *gemm_slot_choose(const gemm_key *key)
{
    gemm_slot *oldest = NULL;
    for (size_t i = 0; i < GEMM_SLOTS; i++) {
        gemm_slot *s = &gemm_cache.slots[i];
        if (s->primitive != NULL && gemm_key_equal(&s->key, key)) return s;
        if (s->users == 0 && (oldest == NULL || s->used_at < oldest->used_at)) oldest = s;
    }
    return oldest;
}

/* A slot with one user more: of the cache, or *own where the cache has no room. */
static finch_status gemm_slot_borrow(const gemm_key *key, gemm_slot *own, gemm_slot **out, finch_error *err)
{
    finch_status st = FINCH_OK;
    *out = NULL;
    pthread_mutex_lock(&gemm_cache.lock);
    if (gemm_cache.engine == NULL) GEMM_GO(done, st, dnnl_engine_create(&gemm_cache.engine, dnnl_cpu, 0));
    gemm_slot *s = gemm_slot_choose(key);
    if (s == NULL) {
        FINCH_GO(done, st, gemm_slot_make(gemm_cache.engine, key, own, err));
        s = own;
    } else if (s->primitive == NULL || !gemm_key_equal(&s->key, key)) {
        gemm_slot_clear(s);
        FINCH_GO(done, st, gemm_slot_make(gemm_cache.engine, key, s, err));
    }
    s->users++;
    s->used_at = ++gemm_cache.clock;
    *out = s;
done:
    pthread_mutex_unlock(&gemm_cache.lock);
    return st;
}

static void gemm_slot_give_back(gemm_slot *s, gemm_slot *own)
{
    if (s == own) {
        gemm_slot_clear(own);
        return;
    }
    pthread_mutex_lock(&gemm_cache.lock);
    s->users--;
    pthread_mutex_unlock(&gemm_cache.lock);
}

#if DNNL_VERSION_MAJOR >= 3
#define GEMM_DESC(desc) (desc)
#else
#define GEMM_DESC(desc) (&(desc))
#endif

static finch_status gemm_slot_run(const gemm_slot *s, const uint16_t *a, const uint16_t *b, float *c, finch_error *err)
{
    finch_status st = FINCH_OK;
    dnnl_memory_t memory[4] = {NULL, NULL, NULL, NULL};
    dnnl_stream_t stream = NULL;
    void *scratch = NULL;
    if (s->scratch_bytes > 0) FINCH_GO(done, st, mem_alloc(s->scratch_bytes, 1, &scratch, err));
    /* oneDNN takes every handle as writable; a and b are only read. */
    GEMM_GO(done, st, dnnl_memory_create(&memory[0], GEMM_DESC(s->a), gemm_cache.engine, (void *)(uintptr_t)a));
    GEMM_GO(done, st, dnnl_memory_create(&memory[1], GEMM_DESC(s->b), gemm_cache.engine, (void *)(uintptr_t)b));
    GEMM_GO(done, st, dnnl_memory_create(&memory[2], GEMM_DESC(s->c), gemm_cache.engine, c));
    GEMM_GO(done, st, dnnl_memory_create(&memory[3], GEMM_DESC(s->scratch), gemm_cache.engine, scratch));
    GEMM_GO(done, st, dnnl_stream_create(&stream, gemm_cache.engine, dnnl_stream_default_flags));
    dnnl_exec_arg_t args[4] = {{DNNL_ARG_SRC, memory[0]},
                               {DNNL_ARG_WEIGHTS, memory[1]},
                               {DNNL_ARG_DST, memory[2]},
                               {DNNL_ARG_SCRATCHPAD, memory[3]}};
    GEMM_GO(done, st, dnnl_primitive_execute(s->primitive, stream, 4, args));
    GEMM_GO(done, st, dnnl_stream_wait(stream));
done:
    if (stream != NULL) dnnl_stream_destroy(stream);
    for (size_t i = 0; i < 4; i++)
        if (memory[i] != NULL) dnnl_memory_destroy(memory[i]);
    mem_free(scratch);
    return st;
}

static int gemm_n_threads(void)
{
#ifdef _OPENMP
    return omp_in_parallel() ? 1 : omp_get_max_threads();
#else
    return 1;
#endif
}

/* rows x cols of bf16 with leading dimension ld, widened to dense f32. */
static finch_status gemm_widen(const uint16_t *in, size_t rows, size_t cols, size_t ld, float **out, finch_error *err)
{
    size_t n;
    *out = NULL;
    if (!size_mul(rows, cols, &n))
        return finch_fail(err, FINCH_E_MEMORY, "a matrix of %zu x %zu does not fit memory", rows, cols);
    FINCH_TRY(mem_alloc(n, sizeof **out, (void **)out, err));
    for (size_t i = 0; i < rows; i++) tensor_f32_from_bf16(in + i * ld, *out + i * cols, cols);
    return FINCH_OK;
}

static finch_status gemm_bf16_widened(const gemm_key *key, const uint16_t *a, const uint16_t *b, float *c, finch_error *err)
{
    finch_status st = FINCH_OK;
    float *wide_a = NULL;
    float *wide_b = NULL;
    size_t a_cols = key->trans_a ? key->m : key->k;
    size_t b_cols = key->trans_b ? key->k : key->n;
    FINCH_GO(done, st, gemm_widen(a, key->trans_a ? key->k : key->m, a_cols, key->lda, &wide_a, err));
    FINCH_GO(done, st, gemm_widen(b, key->trans_b ? key->n : key->k, b_cols, key->ldb, &wide_b, err));
    st = gemm_f32(key->trans_a, key->trans_b, key->m, key->n, key->k, wide_a, a_cols, wide_b, b_cols, key->add ? 1.0f : 0.0f,
                  c, key->ldc, err);
done:
    mem_free(wide_a);
    mem_free(wide_b);
    return st;
}

finch_status gemm_bf16(bool trans_a, bool trans_b, size_t m, size_t n, size_t k, const uint16_t *a, size_t lda,
                       const uint16_t *b, size_t ldb, float beta, float *c, size_t ldc, finch_error *err)
{
    FINCH_TRY(gemm_check(trans_a, trans_b, m, n, k, lda, ldb, ldc, err));
    if (beta != 0.0f && beta != 1.0f)
        return finch_fail(err, FINCH_E_USAGE, "a bf16 product's beta is %g; it may be 0 or 1", (double)beta);
    if (m == 0 || n == 0) return FINCH_OK;
    if (k == 0) {
        gemm_scale(m, n, beta, c, ldc);
        return FINCH_OK;
    }
    gemm_key key = {.m = m,
                    .n = n,
                    .k = k,
                    .lda = lda,
                    .ldb = ldb,
                    .ldc = ldc,
                    .n_threads = gemm_n_threads(),
                    .trans_a = trans_a,
                    .trans_b = trans_b,
                    .add = beta != 0.0f};
    if (!cpu_has(CPU_AVX512_BF16)) return gemm_bf16_widened(&key, a, b, c, err);
    gemm_slot own;
    gemm_slot *slot;
    FINCH_TRY(gemm_slot_borrow(&key, &own, &slot, err));
    finch_status st = gemm_slot_run(slot, a, b, c, err);
    gemm_slot_give_back(slot, &own);
    return st;
}

const char *gemm_describe(void)
{
    static char text[64];
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&lock);
    if (text[0] == '\0') {
        const dnnl_version_t *v = dnnl_version();
        snprintf(text, sizeof text, "oneDNN %d.%d.%d, bf16 %s", v->major, v->minor, v->patch,
                 cpu_has(CPU_AVX512_BF16) ? "native" : "widened to f32");
    }
    pthread_mutex_unlock(&lock);
    return text;
}
