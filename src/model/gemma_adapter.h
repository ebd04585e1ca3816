/* Adapters (adapter.h) beside a Gemma: their part is added in f32 to products of any type. */
#ifndef FINCH_MODEL_GEMMA_ADAPTER_H
#define FINCH_MODEL_GEMMA_ADAPTER_H

#include "model/gemma.h"

/* Puts the folder's adapters beside g's products, and its classifier in place of g's. Errors: FINCH_E_DATA (a tensor that is
 * missing, of another rank or shape, or belongs nowhere), FINCH_E_UNSUPPORTED (a kind of adapter that finch has not got). */
finch_status gemma_adapter_attach(gemma *g, const char *folder, finch_error *err);
/* Holds g against finch_adapter.json, where there is one. Errors: FINCH_E_DATA. */
finch_status gemma_adapter_verify(const gemma *g, const char *folder, finch_error *err);

/* Of every tensor's name, size and first bytes. */
uint64_t gemma_hash(const gemma *g);

#endif
