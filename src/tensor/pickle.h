/* A reader of the pickles that PyTorch state dicts are made of. It executes nothing: it builds plain values from the few
 * opcodes such files use, and knows the few globals they name. Everything else is refused with its name and byte.
 *
 * Source: Python's pickletools (opcode semantics), torch/serialization.py and torch/_utils.py (what state dicts hold).
 *
 * Invariants
 *  1. No import, call or attribute: a global is a row of a constant table, REDUCE knows what each row means.
 *  2. Every length is held against the rest of the stream; every pop against the stack and its innermost mark.
 *  3. Memory is linear in the stream, which has at most PICKLE_BYTES_MAX; memo indices and containers are bounded.
 *  4. No recursion: values may share parts and even hold themselves, and are freed with the arena.
 * For this room only. */
#ifndef FINCH_TENSOR_PICKLE_H
#define FINCH_TENSOR_PICKLE_H

#include "base/arena.h"
#include "base/bytes.h"
#include "tensor/tensor.h"

enum { PICKLE_BYTES_MAX = 16 << 20, PICKLE_MEMO_MAX = 1 << 22, PICKLE_NODES_MAX = 1 << 20 };

typedef enum pickle_kind {
    PICKLE_UNSET, /* an empty place of the memo, never a value */
    PICKLE_MARK,  /* on the stack only */
    PICKLE_NONE,
    PICKLE_BOOL,
    PICKLE_INT,
    PICKLE_FLOAT,
    PICKLE_TEXT,
    PICKLE_TUPLE,
    PICKLE_LIST,
    PICKLE_DICT, /* items: key, value, key, value, ... in order of insertion, keys possibly repeated */
    PICKLE_GLOBAL,
    PICKLE_STORAGE,
    PICKLE_TENSOR
} pickle_kind;

typedef struct pickle_value pickle_value;

typedef struct pickle_items {
    pickle_value *at;
    size_t n;
    size_t capacity;
} pickle_items;

typedef enum pickle_role {
    PICKLE_ROLE_ORDERED_DICT,
    PICKLE_ROLE_TENSOR,
    PICKLE_ROLE_PARAMETER,
    PICKLE_ROLE_STORAGE
} pickle_role;

typedef struct pickle_global {
    const char *module;
    const char *name;
    pickle_role role;
    tensor_dtype dtype; /* of a storage */
} pickle_global;

/* The raw bytes behind tensors: a file of the zip, named by key. */
typedef struct pickle_storage {
    bytes key;
    tensor_dtype dtype;
    size_t n_items;
} pickle_storage;

/* offset and strides count items of the storage. */
typedef struct pickle_tensor {
    const pickle_storage *storage;
    size_t offset;
    size_t n_dims;
    size_t dims[TENSOR_DIMS_MAX];
    size_t strides[TENSOR_DIMS_MAX];
} pickle_tensor;

struct pickle_value {
    pickle_kind kind;
    union {
        bool truth;
        int64_t whole;
        double real;
        bytes text;
        pickle_items *items; /* tuple, list, dict */
        const pickle_global *global;
        const pickle_storage *storage;
        const pickle_tensor *tensor;
    } as;
};

typedef struct pickle_result {
    pickle_value root;
    pickle_items storages; /* every storage that was named, in order, possibly repeated */
    size_t used_bytes;     /* of the stream, STOP included */
} pickle_result;

/* Reads one pickle from the front of stream. Texts are views into stream, everything else lives in memory. file is for
 * messages, and base_bytes is where the stream begins in it.
 * Errors: FINCH_E_DATA (malformed), FINCH_E_UNSUPPORTED (foreign opcode or global), FINCH_E_MEMORY. */
finch_status pickle_load(bytes stream, const char *file, size_t base_bytes, arena *memory, pickle_result *out,
                         finch_error *err);

/* "a dict", for messages. */
const char *pickle_kind_text(pickle_kind kind);

/* ---- what PyTorch's names mean (pickle_torch.c) ---- */

/* The row of a known global; NULL for any other. */
const pickle_global *pickle_global_find(bytes module, bytes name);

/* Where the pickle is read, for messages: "file, byte at". */
typedef struct pickle_place {
    const char *file;
    size_t at;
} pickle_place;

/* The meaning of calling global with args, for all roles but PICKLE_ROLE_ORDERED_DICT (a container of the machine's). */
finch_status pickle_torch_call(const pickle_global *global, const pickle_items *args, pickle_place place, arena *memory,
                               pickle_value *out, finch_error *err);
/* The storage a persistent id names. */
finch_status pickle_torch_storage(const pickle_value *id, pickle_place place, arena *memory, pickle_value *out,
                                  finch_error *err);

#endif
