/* What the scalar definitions share. */
#ifndef FINCH_TENSOR_KERNELS_SCALAR_SCALAR_H
#define FINCH_TENSOR_KERNELS_SCALAR_SCALAR_H

#include "tensor/kernels/kernels.h"

/* The tree of kernels.h's rule 2 over n lanes, a power of two; they are used up. */
float lanes_sum(float *lane, size_t n);
float exp_scalar(float x);

#endif
