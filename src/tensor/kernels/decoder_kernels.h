/* The variants of decoder_ops.h. */
#ifndef FINCH_TENSOR_KERNELS_DECODER_KERNELS_H
#define FINCH_TENSOR_KERNELS_DECODER_KERNELS_H

#include "tensor/decoder_ops.h"

extern const decoder_ops decoder_ops_scalar;
extern const decoder_ops decoder_ops_avx2;
extern const decoder_ops decoder_ops_avx512;

#endif
