/* Gemma 3 from a GGUF file into a Hugging Face folder and back, out of the mapping and some rows at a time: memory is a few
 * megabytes and the tokenizer's. Everything is checked as for running (gemma.h) before anything is written; what appears, appears
 * whole. */
#ifndef FINCH_MODEL_CONVERT_H
#define FINCH_MODEL_CONVERT_H

#include "base/progress.h"
#include "tensor/gguf.h"

typedef struct convert_options {
    gguf_type type;           /* of matrices: GGUF_F32, _F16, _BF16; into a GGUF file also _Q8_0 */
    size_t shard_bytes;       /* of a folder's weights */
    const progress *listener; /* counts bytes written; may be NULL */
} convert_options;

typedef struct convert_report {
    size_t n_tensors;     /* written */
    size_t n_left_out;    /* the source's others, as those of a picture's encoder */
    size_t n_files;       /* of weights */
    uint64_t bytes_after; /* of the tensors' items */
    size_t working_bytes; /* memory of our own for items: does not grow with the model */
} convert_report;

/* Writes config.json (gemma3_text), weights, tokenizer.json, tokenizer_config.json and generation_config.json. Norms lose the one
 * that GGUF adds to them. `to` must not exist yet or be an empty folder.
 * Errors: those of gemma_open and model_tokenizer_from_gguf; FINCH_E_USAGE, FINCH_E_IO, FINCH_E_DATA, FINCH_E_CANCELLED. */
finch_status convert_to_folder(const char *from, const char *to, const convert_options *options, convert_report *report,
                               finch_error *err);

/* Writes a GGUF file as llama.cpp has them: norms stay f32, with the one added. Merges are not written: readers derive them from
 * the pieces.
 * Errors: the same; FINCH_E_UNSUPPORTED for what GGUF has no place for (a classification head, a scale of scores that is not the
 * head's width, scaled local positions). */
finch_status convert_to_gguf(const char *from, const char *to, const convert_options *options, convert_report *report,
                             finch_error *err);

#endif
