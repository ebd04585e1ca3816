#define DECODER_OPS decoder_ops_avx2
#define DECODER_NAME "avx2"
#include "tensor/kernels/decoder_body.h"
