/* How both modules say why a call failed. */
#include "tensor/cuda/launch.h"

#include <stdarg.h>
#include <stdio.h>

int gpu_fail(char *why, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(why, GPU_WHY_BYTES, format, list);
    va_end(list);
    return 1;
}
