#include "serve/metrics.h"

#include "base/clock.h"
#include "base/process.h"
#include "serve/batcher.h"
#include "serve/cache.h"
#include "serve/models.h"
#include "serve/observer.h"
#include "serve/route.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Bounds in seconds for latencies and in units for sizes. */
static const double second_bounds[METRICS_BUCKETS] = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
                                                      0.05,   0.1,     0.25,   0.5,   1,      2.5,   5,    10};
static const double size_bounds[METRICS_BUCKETS] = {1,   2,   4,    8,    16,   32,   64,    128,
                                                    256, 512, 1024, 2048, 4096, 8192, 16384, 32768};

finch_status metrics_create(metrics **out, finch_error *err) { return MEM_NEW(out, 1, err); }

void metrics_destroy(metrics *m) { mem_free(m); }

static size_t bucket_of(const double *bounds, double value)
{
    size_t i = 0;
    while (i < METRICS_BUCKETS && value > bounds[i]) i++;
    return i;
}

void metrics_seconds(metrics_histogram *h, double seconds)
{
    metrics_add(&h->buckets[bucket_of(second_bounds, seconds)], 1);
    metrics_add(&h->sum, (uint64_t)(seconds * 1e9));
}

void metrics_size(metrics_histogram *h, size_t size)
{
    metrics_add(&h->buckets[bucket_of(size_bounds, (double)size)], 1);
    metrics_add(&h->sum, size);
}

void metrics_request(metrics *m, size_t index, unsigned status, double seconds)
{
    size_t at = index < METRICS_ROUTES_MAX ? index : METRICS_ROUTES_MAX;
    metrics_add(&m->requests[at][status / 100 < METRICS_CLASSES ? status / 100 : 5], 1);
    metrics_seconds(&m->latency[at], seconds);
}

/* ---- the page ---- */

static uint64_t value_of(const atomic_uint_fast64_t *counter) { return atomic_load_explicit(counter, memory_order_relaxed); }

static finch_status write_head(str *out, const char *name, const char *type, const char *help, finch_error *err)
{
    return str_add_format(out, err, "# HELP finch_%s %s\n# TYPE finch_%s %s\n", name, help, name, type);
}

static finch_status write_single(str *out, const char *name, const char *type, const char *help, double value,
                                 finch_error *err)
{
    FINCH_TRY(write_head(out, name, type, help, err));
    return str_add_format(out, err, "finch_%s %.17g\n", name, value);
}

/* labels: "route=\"x\"," or "". */
static finch_status write_buckets(str *out, const char *name, const char *labels, const metrics_histogram *h, bool seconds,
                                  finch_error *err)
{
    const double *bounds = seconds ? second_bounds : size_bounds;
    uint64_t sum = 0;
    for (size_t i = 0; i < METRICS_BUCKETS; i++) {
        sum += value_of(&h->buckets[i]);
        FINCH_TRY(str_add_format(out, err, "finch_%s_bucket{%sle=\"%g\"} %llu\n", name, labels, bounds[i],
                                 (unsigned long long)sum));
    }
    sum += value_of(&h->buckets[METRICS_BUCKETS]);
    double total = (double)value_of(&h->sum) / (seconds ? 1e9 : 1);
    FINCH_TRY(str_add_format(out, err, "finch_%s_bucket{%sle=\"+Inf\"} %llu\n", name, labels, (unsigned long long)sum));
    size_t n = strlen(labels);
    char own[128] = "";
    if (n > 0) snprintf(own, sizeof own, "{%.*s}", (int)(n - 1), labels);
    return str_add_format(out, err, "finch_%s_sum%s %.17g\nfinch_%s_count%s %llu\n", name, own, total, name, own,
                          (unsigned long long)sum);
}

static finch_status write_histogram(str *out, const char *name, const char *help, const metrics_histogram *h, bool seconds,
                                    finch_error *err)
{
    FINCH_TRY(write_head(out, name, "histogram", help, err));
    return write_buckets(out, name, "", h, seconds, err);
}

static const char *route_label(size_t at) { return at < route_count() ? routes[at].id : "none"; }

static finch_status write_requests(const metrics *m, str *out, finch_error *err)
{
    FINCH_TRY(write_head(out, "http_requests_total", "counter", "Answers by route and class of status.", err));
    for (size_t i = 0; i <= METRICS_ROUTES_MAX; i++)
        for (size_t c = 0; c < METRICS_CLASSES; c++) {
            uint64_t n = value_of(&m->requests[i][c]);
            if (n > 0)
                FINCH_TRY(str_add_format(out, err, "finch_http_requests_total{route=\"%s\",status=\"%zuxx\"} %llu\n",
                                         route_label(i), c, (unsigned long long)n));
        }
    FINCH_TRY(write_head(out, "http_request_seconds", "histogram", "From the request line to the answer.", err));
    for (size_t i = 0; i <= METRICS_ROUTES_MAX; i++) {
        char labels[80];
        bool any = false;
        for (size_t b = 0; b <= METRICS_BUCKETS; b++) any = any || value_of(&m->latency[i].buckets[b]) > 0;
        snprintf(labels, sizeof labels, "route=\"%s\",", route_label(i));
        if (any) FINCH_TRY(write_buckets(out, "http_request_seconds", labels, &m->latency[i], true, err));
    }
    return FINCH_OK;
}

static double percentile(const uint64_t *buckets, uint64_t n, double share)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < METRICS_BUCKETS; i++) {
        sum += buckets[i];
        if ((double)sum >= share * (double)n) return second_bounds[i];
    }
    return second_bounds[METRICS_BUCKETS - 1];
}

metrics_latency metrics_latencies(const metrics *m)
{
    uint64_t buckets[METRICS_BUCKETS + 1] = {0};
    metrics_latency l = {0};
    for (size_t i = 0; i <= METRICS_ROUTES_MAX; i++) {
        for (size_t b = 0; b <= METRICS_BUCKETS; b++) buckets[b] += value_of(&m->latency[i].buckets[b]);
        l.n_errors += value_of(&m->requests[i][5]);
    }
    for (size_t b = 0; b <= METRICS_BUCKETS; b++) l.n += buckets[b];
    if (l.n == 0) return l;
    l.p50 = percentile(buckets, l.n, 0.5);
    l.p95 = percentile(buckets, l.n, 0.95);
    l.p99 = percentile(buckets, l.n, 0.99);
    return l;
}

static finch_status write_models(const serve *s, str *out, finch_error *err)
{
    FINCH_TRY(write_head(out, "model_info", "gauge", "1 for each model that is served.", err));
    for (size_t i = 0;; i++) {
        model_slot *slot = models_at(s->models, i);
        if (slot == NULL) return FINCH_OK;
        finch_status st = str_add_format(out, err, "finch_model_info{model=\"%s\",version=\"%s\",compute=\"%s\"} 1\n",
                                         slot->name, slot->version, model_compute_name(model_get_compute(slot->engine)));
        model_release(slot);
        FINCH_TRY(st);
    }
}

#define COUNTER(name, field, help) FINCH_TRY(write_single(out, name, "counter", help, (double)value_of(&m->field), err))
#define GAUGE(name, value, help) FINCH_TRY(write_single(out, name, "gauge", help, (double)(value), err))

finch_status metrics_write(const struct serve *s, str *out, finch_error *err)
{
    const metrics *m = s->metrics;
    FINCH_TRY(write_requests(m, out, err));
    COUNTER("texts_total", texts, "Texts scored.");
    COUNTER("texts_shared_total", shared, "Texts that all compute threads worked on together.");
    COUNTER("tokens_total", tokens, "Tokens computed.");
    COUNTER("texts_truncated_total", truncated, "Texts cut at the limit of tokens.");
    COUNTER("cache_hits_total", cache_hits, "Texts answered from the cache of results.");
    COUNTER("cache_misses_total", cache_misses, "Texts the cache did not hold.");
    COUNTER("texts_dropped_total", dropped, "Texts whose deadline passed before they were computed.");
    COUNTER("texts_rejected_total", rejected, "Texts refused because the queue was full.");
    COUNTER("model_loads_total", reloads, "Models loaded since the start.");
    COUNTER("http_slow_connections_cut_total", cut_slow, "Connections cut because a request came too slowly.");
    COUNTER("http_received_bytes_total", bytes_in, "Bytes of bodies received.");
    COUNTER("http_sent_bytes_total", bytes_out, "Bytes of bodies sent.");
    COUNTER("history_written_total", history_written, "Predictions written into the history.");
    COUNTER("history_lost_total", history_lost, "Predictions that could not be kept for the history.");
    COUNTER("store_listens_total", store_listens, "How often listening to the store's notices began.");
    COUNTER("store_notices_total", store_notices, "Notices of the store that were heard, those that came together as one.");
    COUNTER("batch_jobs_done_total", jobs_done, "Batch jobs finished here.");
    COUNTER("batch_jobs_failed_total", jobs_failed, "Batch jobs that failed here.");
    COUNTER("alerts_fired_total", alerts_fired, "Alert rules that fired here.");
    COUNTER("alert_deliveries_tried_total", alerts_tried, "Deliveries of alerts that were tried here.");
    COUNTER("alert_deliveries_sent_total", alerts_sent, "Deliveries of alerts that were answered 2xx.");
    COUNTER("observed_texts_total", observed, "Texts whose drift was counted.");
    COUNTER("observer_dropped_total", observer_dropped,
            "Texts that were not looked at for drift and shadows: too many came.");
    GAUGE("alert_deliveries_waiting", atomic_load(&m->alerts_waiting), "Deliveries that wait for their time.");
    GAUGE("alert_deliveries_failed", atomic_load(&m->alerts_failed), "Deliveries that were given up.");
    GAUGE("alert_deliveries_in_doubt", atomic_load(&m->alerts_in_doubt), "Deliveries that may have arrived.");
    FINCH_TRY(write_histogram(out, "batch_texts", "Texts in a packed batch.", &m->batch_texts, false, err));
    FINCH_TRY(write_histogram(out, "batch_tokens", "Tokens in a packed batch.", &m->batch_tokens, false, err));
    FINCH_TRY(write_histogram(out, "queue_seconds", "How long a text waited for a compute thread.", &m->wait, true, err));
    FINCH_TRY(write_histogram(out, "compute_seconds", "How long a batch was computed.", &m->compute, true, err));
    GAUGE("queue_texts", batcher_waiting(s->batcher), "Texts that wait.");
    GAUGE("http_in_flight", atomic_load(&m->in_flight), "Requests in work.");
    GAUGE("http_connections", atomic_load(&m->connections), "Open connections.");
    GAUGE("stream_listeners", atomic_load(&m->listeners), "Clients of the event stream.");
    GAUGE("store_reachable", serve_store_reachable((serve *)(uintptr_t)s) ? 1 : 0,
          "Whether the store could be written a moment ago.");
    GAUGE("store_told", atomic_load(&s->told) ? 1 : 0, "Whether the store tells what moves; 0: it is asked.");
    GAUGE("cache_entries", s->cache != NULL ? cache_used(s->cache) : 0, "Results the cache holds.");
    GAUGE("ready", atomic_load(&s->ready) && !atomic_load(&s->draining) ? 1 : 0, "Whether /ready says yes.");
    GAUGE("process_resident_memory_bytes", (double)process_resident_bytes(), "Memory of the process.");
    GAUGE("process_start_time_seconds", s->began_unix, "Unix time of the start.");
    FINCH_TRY(write_head(out, "build_info", "gauge", "1 for the version that runs.", err));
    FINCH_TRY(str_add_format(out, err, "finch_build_info{version=\"%s\"} 1\n", finch_version()));
    FINCH_TRY(write_models(s, out, err));
    return observer_metrics(s->observer, out, err);
}
