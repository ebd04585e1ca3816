/* The block types of GGUF files: how large a block is and what its items are. For the GGUF reader and the products over blocks. */
#ifndef FINCH_TENSOR_GGUF_BLOCKS_H
#define FINCH_TENSOR_GGUF_BLOCKS_H

#include "tensor/gguf.h"

enum { GGUF_BLOCK_ITEMS_MAX = 256, GGUF_BLOCK_SCALES_MAX = 16 };

/* One of to_f32 and take is set. */
typedef struct gguf_block {
    const char *name;
    size_t n_items;
    size_t size_bytes;
    /* n_blocks blocks at in to out [n_blocks * n_items]. */
    void (*to_f32)(const unsigned char *in, size_t n_blocks, float *out);
    /* One block: whole numbers items [n_items], a scale for each n_scaled of them, and where has_low is set what is added
     * behind it: item * scale + low. */
    void (*take)(const unsigned char *in, int8_t *items, float *scale, float *low);
    size_t n_scaled;
    bool has_low;
} gguf_block;

/* NULL where finch does not read the type. */
const gguf_block *gguf_block_find(uint32_t id);
const gguf_block *gguf_block_of(const gguf_tensor *t);
/* The name that ggml gives a type that finch does not read; "unknown" where there is none. Static. */
const char *gguf_block_foreign_name(uint32_t id);
/* "F32, F16, ..."; static. */
const char *gguf_block_names(void);

#endif
