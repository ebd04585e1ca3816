/* What models see and what a candidate would have said, beside the requests: each text that was answered is handed over (a copy
 * into a row of bounded length; what does not fit is counted and let go), and a thread of the lowest priority
 *   - counts it for drift: length, unknown tokens, language, tickers, label, by model and day in the store (store/drift.h), and
 *     measures the distance of the last days from the profile of the training data;
 *   - scores it with the version in the stage "shadow" of the model's name, and compares (shadow.h).
 * No answer waits for any of it.
 * A profile is the document "profile" of a registered version, else "profile" in its card (finch.json), else profile.json in its
 * folder; finch models profile makes one. */
#ifndef FINCH_SERVE_OBSERVER_H
#define FINCH_SERVE_OBSERVER_H

#include "serve/cache.h"
#include "serve/models.h"
#include "serve/server.h"

typedef struct observer observer;

enum { OBSERVER_MOST = 4096, OBSERVER_DAYS = 2 };

finch_status observer_create(serve *s, observer **out, finch_error *err);
/* Counts what was handed over, and writes it as far as the store can be reached. NULL is legal. */
void observer_destroy(observer *o);

/* A text and what slot said of it: probabilities [slot->n_labels]. keep: what a shadow says of it goes into the history. Threads: any. */
void observer_add(observer *o, model_slot *slot, finch_text text, cache_info info, const float *probabilities, bool keep,
                  int64_t time_ms);

/* Drift and shadows as metrics; NULL writes nothing. */
finch_status observer_metrics(observer *o, str *out, finch_error *err);
/* {"texts","features":{"length":{"psi","kl","expected","live","training"},..}} of "name@version"; NULL where nothing is known. */
json_t *observer_drift_json(observer *o, const char *title);
/* {"model","shadow","texts","agreement",..} where name has a shadow that was compared, else NULL. */
json_t *observer_shadow_json(observer *o, const char *name);

#endif
