/* A thread that does a piece of work again and again, with a pause between, until it is ended.
 * Threads: any may wake it; create and destroy come from one. */
#ifndef FINCH_SERVE_BEAT_H
#define FINCH_SERVE_BEAT_H

#include "base/status.h"

#include <stdbool.h>

typedef struct beat beat;

/* what: for the error, "a thread for ... could not be started". */
finch_status beat_create(const char *what, double pause_seconds, void (*work)(beat *self, void *context), void *context,
                         beat **out, finch_error *err);
/* Ends the pause that is, or the next one. NULL is legal. */
void beat_wake(beat *b);
/* For work that takes long: stop. */
bool beat_ended(beat *b);
/* Waits for the work in hand. NULL is legal. */
void beat_destroy(beat *b);

#endif
