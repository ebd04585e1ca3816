/* What the scalar definitions share. */
#ifndef FINCH_TENSOR_KERNELS_SCALAR_H
#define FINCH_TENSOR_KERNELS_SCALAR_H

#include "tensor/kernels/kernels.h"

/* The tree of kernels.h's rule 2. */
float lanes_sum(const float lane[16]);
float exp_scalar(float x);

#endif
