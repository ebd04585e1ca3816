/* The training operators for this instruction set: kernels/train_body.h over kernels/v16.h. */
#define TRAIN_ISA avx2
#include "tensor/kernels/train_body.h"
