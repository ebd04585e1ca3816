/* Threads that hash what came, and put whole contents in place: neither the hashing nor the wait for the disk's flush
 * keeps the one that receives from receiving.
 *
 *     idle --hub_workers_give--> given --a worker--> running --> done --hub_workers_take--> idle
 *
 * A content has one task, so as many can be given as contents are open; one is at most HUB_TASK_BYTES of hashing, so waiting for it
 * is short. Between give and take the digest, `hashed` and, in a settling task, the whole blob are the worker's; writing further
 * parts of a blob that is only hashed goes on meanwhile.
 * Threads: all calls from one thread, the owner's. */
#ifndef FINCH_DATA_HUB_WORKER_H
#define FINCH_DATA_HUB_WORKER_H

#include "data/hub_blob.h"

enum { HUB_TASK_BYTES = 8 << 20 };

typedef enum hub_task_state { HUB_TASK_IDLE, HUB_TASK_GIVEN, HUB_TASK_RUNNING, HUB_TASK_DONE } hub_task_state;

typedef struct hub_task {
    hub_blob *blob;
    uint64_t end;    /* the content is there up to here: it is hashed so far */
    bool settles;    /* end is the content's: it is held against its id and, where good, put in place */
    bool good;       /* out: it was */
    finch_error err; /* out: status FINCH_OK, or what failed */
    hub_task_state state; /* under the workers' lock while given */
    struct hub_task *next;
} hub_task;

typedef struct hub_workers hub_workers;

/* wake is called from a worker's thread after each task; may be NULL. */
finch_status hub_workers_open(const hub_cache *cache, void (*wake)(void *context), void *context, hub_workers **out,
                              finch_error *err);
/* Tasks that no worker has begun are dropped; takes NULL. */
void hub_workers_close(hub_workers *w);

/* An idle task, filled in. Reached by its address until it was taken. */
void hub_workers_give(hub_workers *w, hub_task *task);
/* Whether the task is idle now; *ended: it was done, and its answer stands in it. */
bool hub_workers_take(hub_workers *w, hub_task *task, bool *ended);
/* Waits until a worker is done with the task; what it found is forgotten. */
void hub_workers_recall(hub_workers *w, hub_task *task);

#endif
