/* Matrix products of any shape through oneDNN, for training and for weights that change from call to call. Products
 * with weights that stay (inference) are linear.h's: packed once, with what follows them fused in.
 *
 * All matrices are row-major with leading dimensions in items. a is op(A) [m, k]: stored [m, k], or [k, m] where
 * trans_a; b is op(B) [k, n]: stored [k, n], or [n, k] where trans_b.
 * Threads: callers on any thread, at once. Outside a parallel region a product uses OpenMP's team; inside one, it stays
 * on the calling thread. The same shape and thread count give the same bits.
 * oneDNN's version differences (2.x, 3.x) and its types stay inside gemm*.c. */
#ifndef FINCH_TENSOR_GEMM_H
#define FINCH_TENSOR_GEMM_H

#include "base/status.h"

/* c[m, n] = op(A) op(B) + beta c. Where beta is 0, c is not read.
 * Errors: FINCH_E_USAGE (a leading dimension too small), FINCH_E_FAILED (oneDNN's status), FINCH_E_MEMORY. */
finch_status gemm_f32(bool trans_a, bool trans_b, size_t m, size_t n, size_t k, const float *a, size_t lda, const float *b,
                      size_t ldb, float beta, float *c, size_t ldc, finch_error *err);

/* The same from bf16 into f32, summed in f32; beta is 0 or 1. Where the CPU has no bf16 products, the inputs are widened
 * to f32 (exactly) first. */
finch_status gemm_bf16(bool trans_a, bool trans_b, size_t m, size_t n, size_t k, const uint16_t *a, size_t lda,
                       const uint16_t *b, size_t ldb, float beta, float *c, size_t ldc, finch_error *err);

/* Memory that products keep between calls: grown where one needs more, and then kept. One thread's at a time; {0} at first. */
typedef struct gemm_room {
    void *at;
    size_t size_bytes;
} gemm_room;

finch_status gemm_room_reserve(gemm_room *room, size_t size_bytes, finch_error *err);
void gemm_room_free(gemm_room *room);

/* gemm_f32 by three products of bf16 with f32 sums: items within 2^-16 of the sum of |a| |b|. beta is 0 or 1. The same bits at
 * any number of threads. Where the CPU has no AMX tiles for bf16, it is gemm_f32. */
finch_status gemm_bf16x3(bool trans_a, bool trans_b, size_t m, size_t n, size_t k, const float *a, size_t lda,
                         const float *b, size_t ldb, float beta, float *c, size_t ldc, gemm_room *room, finch_error *err);
bool gemm_bf16x3_is_native(void);

/* "oneDNN 2.6.3, bf16 native"; static. For finch doctor. */
const char *gemm_describe(void);

#endif
