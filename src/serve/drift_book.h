/* Drift by model: counts on their way into the store, and how far the last days are from the training data (store/drift.h).
 * Threads: one counts and flushes, any may read. */
#ifndef FINCH_SERVE_DRIFT_BOOK_H
#define FINCH_SERVE_DRIFT_BOOK_H

#include "base/str.h"
#include "serve/cache.h"
#include "serve/models.h"
#include "store/drift.h"
#include "store/pool.h"

typedef struct drift_book drift_book;

finch_status drift_book_create(drift_book **out, finch_error *err);
void drift_book_destroy(drift_book *b);

/* One text into counts; label: the class the model gave it, 0 .. 4 (others are not counted). */
finch_status drift_book_add(drift_counts *counts, finch_text text, cache_info info, int label, finch_error *err);
/* How many of the tokens the vocabulary does not know. */
uint32_t drift_book_unknown(const text_tokenizer *t, const int32_t *ids, size_t n);

/* A text that slot gave the class label. */
finch_status drift_book_count(drift_book *b, const model_slot *slot, finch_text text, cache_info info, int label,
                              finch_error *err);
/* Writes what was counted and measures anew. What could not be written stays and is written with the next. days: those
 * that are measured, today and the ones before. */
finch_status drift_book_flush(drift_book *b, store *s, size_t days, finch_error *err);

finch_status drift_book_metrics(drift_book *b, str *out, finch_error *err);
/* NULL: nothing was counted for this model. */
json_t *drift_book_json(drift_book *b, const char *title);

#endif
