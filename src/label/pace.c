#include "label/pace.h"

#include <math.h>

#define SLOW 3.0           /* times the best latency, and */
#define SLOW_SECONDS 2.0   /* at least so much above it: then the provider is queueing */
#define SMOOTHING 0.1

void pace_window_open(pace_window *w, size_t most)
{
    *w = (pace_window){.most = (double)most, .size = (double)most, .best_seconds = -1, .last_cut = -1e18};
}

size_t pace_window_size(const pace_window *w) { return w->size < 1 ? 1 : (size_t)w->size; }

static void cut(pace_window *w, double now, double factor)
{
    double round_trip = w->usual_seconds > 0.05 ? w->usual_seconds : 0.05;
    if (now - w->last_cut < round_trip) return; /* what comes back now was sent before the last cut */
    w->size = w->size * factor < 1 ? 1 : w->size * factor;
    w->last_cut = now;
}

void pace_window_answered(pace_window *w, double now, double seconds)
{
    if (w->best_seconds < 0 || seconds < w->best_seconds) w->best_seconds = seconds;
    w->usual_seconds = w->usual_seconds > 0 ? w->usual_seconds + SMOOTHING * (seconds - w->usual_seconds) : seconds;
    if (w->usual_seconds > SLOW * w->best_seconds && w->usual_seconds > w->best_seconds + SLOW_SECONDS) cut(w, now, 0.9);
    else w->size = fmin(w->most, w->size + 1 / w->size);
}

void pace_window_limited(pace_window *w, double now) { cut(w, now, 0.5); }

double pace_backoff(rng *r, double base, double most, size_t tries)
{
    double bound = base * ldexp(1, tries < 40 ? (int)tries : 40);
    return rng_unit(r) * fmin(most, bound);
}

int64_t pace_interval_us(double rpm, double tpm, double tokens)
{
    double by_requests = rpm > 0 ? 60e6 / rpm : 0, by_tokens = tpm > 0 ? tokens * 60e6 / tpm : 0;
    return (int64_t)ceil(fmax(by_requests, by_tokens) * PACE_MARGIN);
}
