/* How many requests at once, how long to wait before another try, how much a key may send. All are functions of the given
 * time, so that they can be tested without waiting. */
#ifndef FINCH_LABEL_PACE_H
#define FINCH_LABEL_PACE_H

#include "base/rng.h"

#include <stdbool.h>

/* Requests in flight: additive increase, multiplicative decrease (Chiu and Jain, 1989). A 429 halves it, at most once in a
 * round trip; latency that grows far past the best seen lowers it by a tenth; a full round of answers adds one. */
typedef struct pace_window {
    double most, size;
    double best_seconds, usual_seconds; /* latency: least seen, smoothed */
    double last_cut;
} pace_window;

void pace_window_open(pace_window *w, size_t most);
size_t pace_window_size(const pace_window *w);
void pace_window_answered(pace_window *w, double now, double seconds);
void pace_window_limited(pace_window *w, double now);

/* Exponential back-off with full jitter: uniform in [0, min(most, base * 2^tries)). */
double pace_backoff(rng *r, double base, double most, size_t tries);

/* How long a key rests after a request, in microseconds. A key with R requests a minute sends one every 60/R seconds and
 * never two at once, so that no second of the clock has more than its share; PACE_MARGIN covers what the network adds
 * between us and where it is measured. tokens: the estimate of this request; rpm, tpm 0: no limit. */
#define PACE_MARGIN 1.05
int64_t pace_interval_us(double rpm, double tpm, double tokens);

#endif
