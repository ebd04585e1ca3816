#define DECODER_OPS decoder_ops_avx512
#define DECODER_NAME "avx512"
#include "tensor/kernels/decoder_body.h"
