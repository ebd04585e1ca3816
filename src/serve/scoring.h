/* Texts of a request through the batcher, and what came of them: what the two formats of predictions have in common. */
#ifndef FINCH_SERVE_SCORING_H
#define FINCH_SERVE_SCORING_H

#include "serve/batcher.h"
#include "serve/request.h"
#include "serve/route.h"

typedef struct scoring scoring;

/* Builds the answer from scored texts; runs on a compute thread, or the request's own where all were in the cache. */
typedef void (*scoring_answer_fn)(scoring *s);

struct scoring {
    request *r;
    batch_job job;
    scoring_answer_fn answer;
    void *context;
};

/* Room for n_texts in the request's memory: the caller fills s->job.texts[i].text. name NULL: the default model. *out is NULL, and
 * an error is answered, where there is no such model. */
bool scoring_open(request *r, const char *name, size_t n_texts, scoring_answer_fn answer, void *context, scoring **out);
/* Hands the texts over; the handler returns what it says. */
handler_answer scoring_run(scoring *s);

/* probabilities [n_labels] of text i; returns the index of the likeliest label. */
size_t scoring_probabilities(const scoring *s, size_t i, float *probabilities);
/* Text i is one that the client sent: into the history where that was asked for, and to the observer. Before the answer is built. */
void scoring_observe(const scoring *s, size_t i);
/* -1 to 1; the likeliest label's probability where the model has none of the five classes. */
double scoring_value(const scoring *s, size_t i);

#endif
