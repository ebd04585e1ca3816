/* The shapes of the eight tile registers. */
#ifndef FINCH_TENSOR_KERNELS_AMX_TILE_CONFIG_H
#define FINCH_TENSOR_KERNELS_AMX_TILE_CONFIG_H

#include <immintrin.h>
#include <stdint.h>

enum {
    TILE_COUNT = 8,
    TILE_ROWS = 16,  /* at most */
    TILE_BYTES = 64, /* of a row, at most */
};

typedef struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_config;
_Static_assert(sizeof(tile_config) == 64, "as the instruction reads it");

/* The intrinsic of gcc 12 says that it reads eight bytes; the others would not have to be written before it. */
static inline void tile_load_config(const tile_config *c) { __asm__ volatile("ldtilecfg %0" : : "m"(*c)); }

#endif
