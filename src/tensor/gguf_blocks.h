/* The block types of GGUF files: how large a block is and what its items are. For the GGUF reader only. */
#ifndef FINCH_TENSOR_GGUF_BLOCKS_H
#define FINCH_TENSOR_GGUF_BLOCKS_H

#include "tensor/gguf.h"

typedef struct gguf_block {
    const char *name;
    size_t n_items;
    size_t size_bytes;
    /* n_blocks blocks at in to out [n_blocks * n_items]. */
    void (*to_f32)(const unsigned char *in, size_t n_blocks, float *out);
} gguf_block;

/* NULL where finch does not read the type. */
const gguf_block *gguf_block_find(uint32_t id);
/* The name that ggml gives a type that finch does not read; "unknown" where there is none. Static. */
const char *gguf_block_foreign_name(uint32_t id);
/* "F32, F16, ..."; static. */
const char *gguf_block_names(void);

#endif
