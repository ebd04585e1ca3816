/* What a stream counts, for Prometheus and for the report. All updates are relaxed atomics. */
#ifndef FINCH_STREAM_FIGURES_H
#define FINCH_STREAM_FIGURES_H

#include "base/str.h"

#include <stdatomic.h>

/* Latencies fall into buckets whose bounds are 2^(i/8) milliseconds: 1 ms to more than 4 minutes, each at most 9 % wide. */
enum { STREAM_LATENCY_STEPS = 8, STREAM_LATENCY_BUCKETS = 18 * STREAM_LATENCY_STEPS + 1 };

typedef struct stream_figures {
    atomic_uint_fast64_t read, scored, without_text, truncated, dead; /* messages; all but read once they are published */
    atomic_uint_fast64_t redelivered;                                 /* of read: those that had come before */
    atomic_uint_fast64_t batches, tokens, lost_connections;
    atomic_int_fast64_t waiting, pending;                             /* stream_lag */
    atomic_int_fast64_t in_flight;
    atomic_int_fast64_t connected;                                    /* 0 or 1 */
    atomic_uint_fast64_t latency[STREAM_LATENCY_BUCKETS + 1];         /* from the broker's clock to the confirmed output */
    atomic_uint_fast64_t latency_ms;                                  /* their sum */
} stream_figures;

static inline void stream_count(atomic_uint_fast64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

void stream_figures_latency(stream_figures *f, int64_t ms);
/* The upper bound of the bucket with this share of the latencies below it, in ms; 0 where there is none. */
double stream_figures_quantile(const stream_figures *f, double share);

/* Prometheus' text format. Appended to out. */
finch_status stream_figures_write(const stream_figures *f, str *out, finch_error *err);

/* GET /metrics and GET /health (503 while the broker is away) on host:port, on threads of libmicrohttpd's own; port 0: any.
 * Errors: FINCH_E_IO where it can not be listened on. */
typedef struct stream_page stream_page;
finch_status stream_page_open(const stream_figures *f, const char *host, unsigned port, stream_page **out, finch_error *err);
unsigned stream_page_port(const stream_page *p);
void stream_page_close(stream_page *p); /* NULL is legal */

#endif
