/* Counters for /metrics, Prometheus' text format. All updates are relaxed atomics: no request waits for another's figures. */
#ifndef FINCH_SERVE_METRICS_H
#define FINCH_SERVE_METRICS_H

#include "base/str.h"

#include <stdatomic.h>
#include <stdint.h>

enum { METRICS_ROUTES_MAX = 64, METRICS_CLASSES = 6, METRICS_BUCKETS = 16, METRICS_SIZES = 12 };

typedef struct metrics_histogram {
    atomic_uint_fast64_t buckets[METRICS_BUCKETS + 1]; /* the last: past all bounds */
    atomic_uint_fast64_t sum; /* nanoseconds, or units */
} metrics_histogram;

typedef struct metrics {
    atomic_uint_fast64_t requests[METRICS_ROUTES_MAX + 1]
                                 [METRICS_CLASSES]; /* by route and status / 100; the last: no route */
    metrics_histogram latency[METRICS_ROUTES_MAX + 1];
    metrics_histogram batch_texts, batch_tokens, wait, compute;
    atomic_uint_fast64_t texts, shared, tokens, truncated, cache_hits, cache_misses, dropped, rejected, reloads;
    atomic_uint_fast64_t bytes_in, bytes_out, cut_slow, tls_or_parse_failed;
    atomic_uint_fast64_t alerts_fired, alerts_tried, alerts_sent, observed, observer_dropped;
    atomic_int_fast64_t alerts_waiting, alerts_failed, alerts_in_doubt;
    atomic_uint_fast64_t history_written, history_lost, jobs_done, jobs_failed, store_listens, store_notices;
    atomic_int_fast64_t in_flight, connections, listeners;
} metrics;

finch_status metrics_create(metrics **out, finch_error *err);
void metrics_destroy(metrics *m);

void metrics_request(metrics *m, size_t index, unsigned status, double seconds);
void metrics_seconds(metrics_histogram *h, double seconds);
void metrics_size(metrics_histogram *h, size_t size);
static inline void metrics_add(atomic_uint_fast64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* Of all routes together; percentiles are the upper bounds of their buckets, in seconds. */
typedef struct metrics_latency {
    uint64_t n, n_errors; /* errors: 5xx */
    double p50, p95, p99;
} metrics_latency;
metrics_latency metrics_latencies(const metrics *m);

struct serve;
/* The whole page. */
finch_status metrics_write(const struct serve *s, str *out, finch_error *err);

#endif
