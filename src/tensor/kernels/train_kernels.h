/* The variants of the training operators, one table each. */
#ifndef FINCH_TENSOR_KERNELS_TRAIN_KERNELS_H
#define FINCH_TENSOR_KERNELS_TRAIN_KERNELS_H

#include "tensor/train_ops.h"

extern const train_ops train_ops_scalar;
extern const train_ops train_ops_avx2;
extern const train_ops train_ops_avx512;

#endif
