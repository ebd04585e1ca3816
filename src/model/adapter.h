/* Adapters in PEFT's layout beside a base of any architecture (docs/lora.md): a folder with adapter_config.json,
 * adapter_model.safetensors, and, where finch made it, finch_adapter.json, which says what base it belongs to: the base's hash,
 * and the logits that eight texts had. Opening computes those again and refuses another base, or a classifier that is not the one
 * that was trained. */
#ifndef FINCH_MODEL_ADAPTER_H
#define FINCH_MODEL_ADAPTER_H

#include "base/str.h"
#include "model/model.h"
#include "tensor/linear.h"
#include "tensor/weights.h"

#define ADAPTER_CONFIG "adapter_config.json"
#define ADAPTER_WEIGHTS "adapter_model.safetensors"
#define ADAPTER_PROBES "finch_adapter.json"
/* PEFT's name of a tensor: this, the base's name of the module, and ".lora_A.weight" or ".lora_B.weight"; or this and the name of
 * a tensor of a module that was trained whole. */
#define ADAPTER_PREFIX "base_model.model."

enum { ADAPTER_N_PROBES = 8, ADAPTER_PROBE_TOKENS_MAX = 128 };

/* ---- the folder ------------------------------------------------------------------------------------------------ */

/* Whether the path is a folder of adapters. */
bool adapter_is(const char *path);
/* Whether the folder has such a file. */
bool adapter_has(const char *folder, const char *file);
/* Where its base is, by adapter_config.json. Errors: FINCH_E_DATA naming file and key, FINCH_E_NOT_FOUND, FINCH_E_UNSUPPORTED
 * where the base is a folder of adapters itself. */
finch_status adapter_base(const char *folder, str *out, finch_error *err);
/* The folder that holds the file: of a folder of adapters without it, its base (PEFT writes neither config.json nor a tokenizer);
 * else path itself. */
finch_status adapter_place_of(const char *path, const char *file, str *out, finch_error *err);

/* Its tensors. A zeroed one is none, and adapter_close of it is legal. */
typedef struct adapter {
    weights *file;
    char *path; /* of adapter_config.json, for messages */
    size_t rank;
    double scale; /* alpha / rank, or alpha / sqrt(rank) where "use_rslora" is set */
    size_t n_used; /* tensors that adapter_find gave */
} adapter;

/* Errors: FINCH_E_DATA, FINCH_E_UNSUPPORTED (a kind of adapter that finch has not got). */
finch_status adapter_open(const char *folder, adapter *out, finch_error *err);
void adapter_close(adapter *a);

/* The pair of the module [rows, columns]; both NULL where the file has none. modules [n_modules]: the names it may have.
 * Errors: FINCH_E_DATA where a half is missing or of another rank or shape. */
typedef struct adapter_pair {
    const tensor *a; /* [rank, columns] */
    const tensor *b; /* [rows, rank] */
} adapter_pair;
finch_status adapter_find(adapter *a, const char *const *modules, size_t n_modules, size_t rows, size_t columns,
                          adapter_pair *out, finch_error *err);
/* The pair packed in f32 in memory of the arena: A, and B times the scale and factor. */
typedef struct adapter_packed {
    linear low, high; /* panels NULL: none */
} adapter_packed;
finch_status adapter_pack(adapter *a, const char *const *modules, size_t n_modules, size_t rows, size_t columns,
                          double factor, arena *memory, adapter_packed *out, finch_error *err);
/* A tensor of a module that was trained whole, by the base's name; NULL where the file has none. */
const tensor *adapter_whole(adapter *a, const char *name);
/* Whether every tensor was asked for. Errors: FINCH_E_DATA. */
finch_status adapter_all_used(const adapter *a, finch_error *err);

/* ---- the right base -------------------------------------------------------------------------------------------- */

/* Mixes a tensor's name, size and first bytes into a hash of a base; begin with 0. */
uint64_t adapter_hash(uint64_t hash, const char *name, const void *data, size_t size_bytes);
uint64_t adapter_hash_weights(const weights *w);

/* The model that probes are held against. logits [n_classes] of one text. exact: products are in f32. */
typedef struct adapter_probed {
    const void *context;
    finch_status (*logits)(const void *context, const model_batch *b, float *logits, finch_error *err);
    uint64_t base_hash;
    size_t n_classes, vocab_size;
    bool exact;
} adapter_probed;

/* Holds the model against the folder's finch_adapter.json, where there is one. Errors: FINCH_E_DATA. */
finch_status adapter_verify(const char *folder, const adapter_probed *m, finch_error *err);
/* Writes finch_adapter.json. */
finch_status adapter_save_probes(const char *folder, const adapter_probed *m, const text_tokenizer *tokenizer,
                                 finch_error *err);

#endif
