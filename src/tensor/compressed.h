/* int8 checkpoints in the layout of compressed-tensors ("int-quantized", W8A8), which transformers and vLLM read.
 *
 * A matrix X.weight [rows, columns] becomes X.weight in I8 and X.weight_scale in F32 [rows, 1]: item = q * scale of its row.
 * config.json gets a "quantization_config": Linear weights int8 per output channel, their inputs int8 per token at run
 * time; Embedding weights int8 per row. Symmetric, so there are no zero points.
 * Source: the compressed-tensors package 0.20 (compressors/naive_quantized, quantization/quant_args.py).
 *
 * What is quantised: every 2-D floating-point *.weight but those of the modules in COMPRESSED_KEPT_LIST, which are small
 * and decide much (heads), or are small tables (positions, token types, MPNet's relative bias). They stay as they are, and so
 * does a Gemma's embedding where it is the output's weights as well, which transformers reads without its scale. */
#ifndef FINCH_TENSOR_COMPRESSED_H
#define FINCH_TENSOR_COMPRESSED_H

#include "base/json.h"
#include "base/progress.h"
#include "tensor/weights.h"

/* Modules, anywhere in a tensor's dotted name, whose weights stay floating-point. */
#define COMPRESSED_KEPT_LIST(X) \
    X("pooler")                 \
    X("classifier")             \
    X("score")                  \
    X("cls")                    \
    X("lm_head")                \
    X("qa_outputs")             \
    X("position_embeddings")    \
    X("token_type_embeddings")  \
    X("relative_attention_bias")

typedef enum compressed_role {
    COMPRESSED_KEPT,     /* stays floating-point */
    COMPRESSED_LINEAR,   /* int8 per row */
    COMPRESSED_EMBEDDING /* int8 per row, looked up rather than multiplied */
} compressed_role;

compressed_role compressed_role_of(const tensor *t);

/* Rows to int8: scale = largest magnitude / 127, q = w / scale rounded half to even, in [-127, 127]; a row of zeros has
 * scale 1. w [rows, columns], q likewise, scale [rows]. The result does not depend on the number of threads.
 * Errors: FINCH_E_DATA where an item is not finite (err->row is its 1-based row); q and scale are then undefined. */
finch_status compressed_quantize_rows(const float *w, size_t rows, size_t columns, int8_t *q, float *scale,
                                      finch_error *err);

/* A matrix of a checkpoint in either form.
 * weight  its items: I8, or a float type.
 * scale   [rows, 1] or [rows], of a float type; NULL where weight is of a float type. */
typedef struct compressed_matrix {
    const tensor *weight;
    const tensor *scale;
    size_t rows;
    size_t columns;
} compressed_matrix;

/* The matrix of that name ("encoder.layer.0.output.dense.weight") with exactly that shape. Errors: FINCH_E_DATA naming
 * file and tensor: missing, another shape, I8 without its scale, another type; *out is then zeroed. */
finch_status compressed_require(const weights *w, const char *name, size_t rows, size_t columns, compressed_matrix *out,
                                finch_error *err);
/* The matrix as f32 into out [rows, columns], dequantised where it is int8. */
finch_status compressed_to_f32(const compressed_matrix *m, float *out, finch_error *err);
/* Rows [first, first + n) as f32 into out [n, columns]. Errors: FINCH_E_USAGE (rows past the end). */
finch_status compressed_rows_to_f32(const compressed_matrix *m, size_t first, size_t n, float *out, finch_error *err);
/* The scale of one row; as compressed_scales. */
finch_status compressed_row_scale(const compressed_matrix *m, size_t row, float *out, finch_error *err);
/* The scales as f32 into out [rows]; only where scale is not NULL. Errors: FINCH_E_DATA where one is not finite and above 0. */
finch_status compressed_scales(const compressed_matrix *m, float *out, finch_error *err);

/* A new reference to the "quantization_config" that finch writes; NULL where memory is out. */
json_t *compressed_config_json(void);

/* Whether config.json (parsed; name for messages) says that its weights are int8 as above. *out is false where there is
 * no quantization_config. Errors: FINCH_E_UNSUPPORTED for any other quantisation, naming the field. */
finch_status compressed_config_check(const json_t *config, const char *name, bool *out, finch_error *err);

/* What the Hub's own files have at most. */
#define COMPRESSED_SHARD_BYTES ((size_t)5000000000)

typedef struct compressed_report {
    size_t n_tensors; /* of the float checkpoint */
    size_t n_quantized;
    uint64_t bytes_before; /* of the tensors' items */
    uint64_t bytes_after;
    size_t n_files; /* of weights */
    size_t working_bytes; /* memory of our own: does not grow with a matrix but for its longest row */
    double largest_error; /* of one item, over its row's largest magnitude: at most 1/254 and rounding */
} compressed_report;

/* Writes the folder `to` as `from` with int8 weights: model.safetensors, config.json, and every other plain file
 * (tokenizer, finch.json) as it is, the weights' own files left out. Some rows at a time: memory is a few megabytes. Where
 * the weights are more than shard_bytes they go into several files with an index.
 * The folder is made beside and renamed, so it appears whole or not at all; it must not exist yet or be empty. progress
 * counts bytes; report may be NULL.
 * Errors: those of weights_open; FINCH_E_USAGE (`to` exists, or `from` is int8 already), FINCH_E_DATA, FINCH_E_IO,
 * FINCH_E_CANCELLED, FINCH_E_MEMORY. */
finch_status compressed_quantize_folder(const char *from, const char *to, size_t shard_bytes, const progress *p,
                                        compressed_report *report, finch_error *err);

#endif
