/* A long call on a thread of its own, beside the one that asks the provider. Its progress is shown, and its end decided, by the
 * thread that waits for it: bars are drawn and Ctrl-C is seen by one thread alone. */
#ifndef FINCH_LABEL_ASIDE_H
#define FINCH_LABEL_ASIDE_H

#include "base/progress.h"
#include "base/status.h"

#include <pthread.h>

/* watch says when to stop: the call then ends with FINCH_E_CANCELLED. */
typedef finch_status (*aside_work_fn)(void *context, const progress *watch, finch_error *err);

typedef struct aside {
    pthread_mutex_t lock; /* guards what follows, and of its user what is to change with it */
    pthread_cond_t changed;
    bool begun; /* the thread is there: aside_end has to be called */
    bool cancelled, over;
    uint64_t done, total;
    finch_status status;
    finch_error error;
    pthread_t thread;
    aside_work_fn work;
    void *context;
    progress watch;
} aside;

/* Neither call has anything to free where aside_begin was not called or failed. */
finch_status aside_begin(aside *a, aside_work_fn work, void *context, finch_error *err);
/* Any thread's; the call ends at its next look. */
void aside_cancel(aside *a);
/* Waits for the end, showing how far it is; where watch (may be NULL) wants no more the call is cancelled. What it came to.
 * FINCH_OK where nothing was begun. */
finch_status aside_end(aside *a, const progress *watch, finch_error *err);

/* Waits for a change until seconds are over, the lock being held. */
void aside_wait(aside *a, double seconds);

#endif
