#define ROWS_NAME(kernel) kernel##_avx2
#include "tensor/kernels/rows_body.h"
