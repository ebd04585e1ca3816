/* The variants of block_ops.h. */
#ifndef FINCH_TENSOR_KERNELS_BLOCK_KERNELS_H
#define FINCH_TENSOR_KERNELS_BLOCK_KERNELS_H

#include "tensor/block_ops.h"

#define BLOCK_LEAST 1e-30f /* a block of no larger magnitude is zeros: 127 over it might be infinite */

extern const block_ops block_ops_scalar;
extern const block_ops block_ops_avx2;
extern const block_ops block_ops_avx512;

#endif
