/* Tensors as they lie in a file: element types, read-only views, and their conversion to f32.
 *
 * A view owns nothing: name and data belong to whoever opened the file (weights.h) and live as long as that is open.
 * data may be unaligned for its type, because a file may be: read it through tensor_to_f32, or ask tensor_is_aligned
 * before a cast. Layout is row-major and contiguous, always; numbers are little-endian, as on every machine finch builds for. */
#ifndef FINCH_TENSOR_TENSOR_H
#define FINCH_TENSOR_TENSOR_H

#include "base/status.h"

/*        name  bytes  name in safetensors files */
#define TENSOR_DTYPE_LIST(X) \
    X(F32, 4, "F32")         \
    X(F16, 2, "F16")         \
    X(BF16, 2, "BF16")       \
    X(I8, 1, "I8")           \
    X(U8, 1, "U8")           \
    X(I16, 2, "I16")         \
    X(I32, 4, "I32")         \
    X(I64, 8, "I64")         \
    X(F64, 8, "F64")         \
    X(BOOL, 1, "BOOL")

typedef enum tensor_dtype {
#define TENSOR_DTYPE_ENUM(name, size_bytes, file_name) TENSOR_##name,
    TENSOR_DTYPE_LIST(TENSOR_DTYPE_ENUM)
#undef TENSOR_DTYPE_ENUM
        TENSOR_DTYPE_COUNT
} tensor_dtype;

enum { TENSOR_DIMS_MAX = 8, TENSOR_SHAPE_TEXT_BYTES = 192 };

typedef struct tensor {
    const char *name; /* NUL-terminated */
    tensor_dtype dtype;
    size_t n_dims; /* 0 for a scalar, which has one item */
    size_t dims[TENSOR_DIMS_MAX];
    size_t n_items;
    const void *data;
    size_t size_bytes;
} tensor;

size_t tensor_dtype_bytes(tensor_dtype dtype);
/* "BF16"; static. */
const char *tensor_dtype_name(tensor_dtype dtype);
/* The type of that safetensors name; false where there is none. */
bool tensor_dtype_find(const char *file_name, tensor_dtype *out);
/* f32, f16, bf16 and f64. */
bool tensor_dtype_is_float(tensor_dtype dtype);

/* The items and bytes of a shape; false, and the outputs untouched, where a product does not fit size_t.
 * dims [n_dims]; n_dims <= TENSOR_DIMS_MAX. */
bool tensor_shape_size(tensor_dtype dtype, const size_t *dims, size_t n_dims, size_t *n_items, size_t *size_bytes);

/* "[384, 1536]" into out, for messages; returns out. */
const char *tensor_shape_text(const size_t *dims, size_t n_dims, char out[TENSOR_SHAPE_TEXT_BYTES]);

/* Whether data may be read through a pointer to its own type. */
bool tensor_is_aligned(const tensor *t);

/* All items as f32 into out [n_items], exact from f32, f16 and bf16, rounded to nearest even from f64.
 * Errors: FINCH_E_DATA for whole-number types, naming the tensor; out is then untouched. */
finch_status tensor_to_f32(const tensor *t, float *out, finch_error *err);

/* n items, rounded to nearest even; NaN stays NaN, what is too large becomes infinite, f16 subnormals are kept.
 * The file-side pointer (f16, bf16) and the f32 side must not overlap. */
void tensor_bf16_from_f32(const float *in, uint16_t *out, size_t n);
void tensor_f32_from_bf16(const uint16_t *in, float *out, size_t n);
void tensor_f16_from_f32(const float *in, uint16_t *out, size_t n);
void tensor_f32_from_f16(const uint16_t *in, float *out, size_t n);

#endif
