/* LoRA into its base: the base's folder written again with the adapters' part added to its weights, as an ordinary model folder of
 * transformers. Rows are read, added to and written a few at a time, in the type that the base has (f16 becomes f32), so that memory
 * does not grow with the model. int8 rows get new scales: what that changes is the caller's to measure (merge_options.check). */
#ifndef FINCH_MODEL_MERGE_H
#define FINCH_MODEL_MERGE_H

#include "base/progress.h"
#include "base/status.h"

/* adapter      folder in PEFT's layout.
 * base         folder of its base; NULL: where the adapter says it is.
 * output       folder to make; appears whole or not at all.
 * as_f32       matrices are written in f32, also where the base is int8.
 * shard_bytes  weights of more bytes go into several files.
 * check        called with the finished folder before it takes its place: a failure leaves nothing behind. May be NULL. */
typedef struct merge_options {
    const char *adapter, *base, *output;
    bool as_f32;
    size_t shard_bytes;
    finch_status (*check)(void *context, const char *folder, finch_error *err);
    void *context;
    const progress *listener;
} merge_options;

typedef struct merge_report {
    size_t n_tensors, n_merged; /* of the output; matrices that an adapter was added to */
    size_t n_int8; /* of the merged ones */
    size_t n_replaced; /* tensors of the classifier and other modules that were trained whole */
    size_t n_files;
} merge_report;

/* Errors: those of adapter.h; FINCH_E_USAGE (the output is there already), FINCH_E_UNSUPPORTED (a GGUF base), FINCH_E_DATA,
 * FINCH_E_IO, FINCH_E_CANCELLED, FINCH_E_MEMORY, and check's. */
finch_status merge_run(const merge_options *options, merge_report *report, finch_error *err);

#endif
