/* Faults on purpose: tests make the n-th allocation, read, write, fsync or rename fail, then walk n upwards until the
 * call under test makes fewer. Disarmed (the only state outside tests) a check is one relaxed load.
 * Threads: arm and disarm from one thread; hits are counted atomically. */
#ifndef FINCH_BASE_FAULT_H
#define FINCH_BASE_FAULT_H

#include <stdbool.h>

typedef enum fault_kind {
    FAULT_NONE,
    FAULT_ALLOC,
    FAULT_OPEN,
    FAULT_READ,
    FAULT_WRITE,
    FAULT_FSYNC,
    FAULT_RENAME
} fault_kind;

/* The nth (1-based) hit of kind fails, once. Returns true so that it can head a for loop. */
bool fault_arm(fault_kind kind, int nth);

/* Returns whether the armed fault happened, and disarms. */
bool fault_disarm(void);

/* Called where the fault would strike: true means fail now. */
bool fault_hit(fault_kind kind);

#endif
