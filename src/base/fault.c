#include "base/fault.h"

#include <stdatomic.h>

static atomic_int armed_kind = FAULT_NONE;
static atomic_int hits_left;

bool fault_arm(fault_kind kind, int nth)
{
    atomic_store(&hits_left, nth);
    atomic_store(&armed_kind, (int)kind);
    return true;
}

bool fault_disarm(void)
{
    atomic_store(&armed_kind, FAULT_NONE);
    return atomic_load(&hits_left) <= 0;
}

bool fault_hit(fault_kind kind)
{
    if (atomic_load_explicit(&armed_kind, memory_order_relaxed) != (int)kind) return false;
    return atomic_fetch_sub(&hits_left, 1) == 1;
}
