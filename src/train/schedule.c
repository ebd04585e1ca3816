#include "train/schedule.h"

#include <math.h>

uint64_t schedule_warmup_steps(double ratio, uint64_t total_steps) { return (uint64_t)ceil(ratio * (double)total_steps); }

static double decay(schedule_kind kind, double done)
{
    const double pi = 3.141592653589793;
    switch (kind) {
    case SCHEDULE_LINEAR: return 1.0 - done;
    case SCHEDULE_COSINE: return 0.5 * (1.0 + cos(pi * done));
    case SCHEDULE_CONSTANT: break;
    }
    return 1.0;
}

double schedule_rate(const schedule *s, uint64_t step)
{
    if (step < s->warmup_steps) return s->peak * (double)(step + 1) / (double)(s->warmup_steps + 1);
    if (step >= s->total_steps) return s->kind == SCHEDULE_CONSTANT ? s->peak : 0.0;
    double done = (double)(step - s->warmup_steps) / (double)(s->total_steps - s->warmup_steps);
    return s->peak * decay(s->kind, done);
}
