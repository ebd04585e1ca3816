/* What gemm.c and gemm_split.c share. */
#ifndef FINCH_TENSOR_GEMM_INTERNAL_H
#define FINCH_TENSOR_GEMM_INTERNAL_H

#include "base/status.h"

/* Leading dimensions and sizes are possible. Errors: FINCH_E_USAGE. */
finch_status gemm_check(bool trans_a, bool trans_b, size_t m, size_t n, size_t k, size_t lda, size_t ldb, size_t ldc,
                        finch_error *err);

#endif
