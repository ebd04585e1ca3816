/* The training operators for this instruction set: kernels/train_body.h over kernels/v16_plain.h. */
#define TRAIN_ISA scalar
#include "tensor/kernels/train_body.h"
