/* Adapters in PEFT's layout beside a Gemma (docs/lora.md): a folder with adapter_config.json, adapter_model.safetensors, and, where
 * finch made it, finch_adapter.json, which says what base it belongs to: the base's hash, and the logits that eight texts had.
 * Opening computes those again and refuses another base, or a classifier that is not the one that was trained. */
#ifndef FINCH_MODEL_GEMMA_ADAPTER_H
#define FINCH_MODEL_GEMMA_ADAPTER_H

#include "base/str.h"
#include "model/gemma.h"

#define GEMMA_ADAPTER_CONFIG "adapter_config.json"
#define GEMMA_ADAPTER_PROBES "finch_adapter.json"

enum { GEMMA_PROBES = 8, GEMMA_PROBE_TOKENS_MAX = 128 };

/* Whether the folder is one of adapters. */
bool gemma_adapter_is(const char *folder);
/* Where its base is, by adapter_config.json. Errors: FINCH_E_DATA naming file and key. */
finch_status gemma_adapter_base(const char *folder, str *out, finch_error *err);
/* Puts the folder's adapters beside g's products, and its classifier in place of g's. Errors: FINCH_E_DATA (a tensor that is
 * missing, of another rank or shape, or belongs nowhere), FINCH_E_UNSUPPORTED (a kind of adapter that finch has not got). */
finch_status gemma_adapter_attach(gemma *g, const char *folder, finch_error *err);
/* Holds g against finch_adapter.json, where there is one. Errors: FINCH_E_DATA. */
finch_status gemma_adapter_verify(const gemma *g, const char *folder, finch_error *err);
/* Writes finch_adapter.json. ids [GEMMA_PROBES] of n tokens each, logits [GEMMA_PROBES, n_classes]. */
finch_status gemma_adapter_save_probes(const char *folder, uint64_t base_hash, const int32_t (*ids)[GEMMA_PROBE_TOKENS_MAX],
                                       const size_t *n, const float *logits, size_t n_classes, finch_error *err);

/* Of every tensor's name, type, shape and first bytes. */
uint64_t gemma_hash(const gemma *g);

#endif
