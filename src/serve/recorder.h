/* Predictions on their way into the history: kept in memory, written by a thread of its own in one transaction each quarter of a
 * second, so that no request waits for the store. Where the store is away they wait, at most RECORDER_MOST of them; what comes
 * then is counted as lost (finch_history_lost_total). At a clean end all are written. */
#ifndef FINCH_SERVE_RECORDER_H
#define FINCH_SERVE_RECORDER_H

#include "serve/metrics.h"
#include "serve/models.h"
#include "store/history.h"
#include "store/pool.h"

typedef struct recorder recorder;

enum { RECORDER_MOST = 65536 };

finch_status recorder_create(store_pool *pool, metrics *figures, recorder **out, finch_error *err);
/* Writes what is left, as far as the store can be reached. NULL is legal. */
void recorder_destroy(recorder *r);
/* What slot said of a text: kept where it is one of the five classes. probabilities [slot->n_labels]. Threads: any. */
void recorder_keep(recorder *r, const model_slot *slot, finch_text text, const float *probabilities, int64_t time_ms,
                   unsigned flags);
/* Copies the prediction. Threads: any. */
void recorder_add(recorder *r, const history_prediction *prediction);

#endif
