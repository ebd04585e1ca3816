#include "stream/figures.h"

#include <inttypes.h>
#include <math.h>

static uint64_t get(const atomic_uint_fast64_t *counter) { return atomic_load_explicit(counter, memory_order_relaxed); }

/* ---- latency ---- */

static double bound_ms(size_t bucket) { return exp2((double)bucket / STREAM_LATENCY_STEPS); }

void stream_figures_latency(stream_figures *f, int64_t ms)
{
    size_t bucket = ms > 1 ? (size_t)ceil(log2((double)ms) * STREAM_LATENCY_STEPS) : 0;
    stream_count(&f->latency[bucket < STREAM_LATENCY_BUCKETS ? bucket : STREAM_LATENCY_BUCKETS], 1);
    stream_count(&f->latency_ms, ms > 0 ? (uint64_t)ms : 0);
}

double stream_figures_quantile(const stream_figures *f, double share)
{
    uint64_t n = 0, below = 0;
    for (size_t i = 0; i <= STREAM_LATENCY_BUCKETS; i++) n += get(&f->latency[i]);
    if (n == 0) return 0;
    for (size_t i = 0; i < STREAM_LATENCY_BUCKETS; i++) {
        below += get(&f->latency[i]);
        if ((double)below >= share * (double)n) return bound_ms(i);
    }
    return bound_ms(STREAM_LATENCY_BUCKETS);
}

/* ---- Prometheus ---- */

static finch_status add(str *out, const char *name, const char *type, const char *help, double value, finch_error *err)
{
    return str_add_format(out, err, "# HELP finch_stream_%s %s\n# TYPE finch_stream_%s %s\nfinch_stream_%s %.17g\n", name,
                          help, name, type, name, value);
}

static finch_status add_latency(const stream_figures *f, str *out, finch_error *err)
{
    uint64_t below = 0;
    FINCH_TRY(
        str_add_text(out,
                     "# HELP finch_stream_latency_seconds From the broker's time of a message to its confirmed output.\n"
                     "# TYPE finch_stream_latency_seconds histogram\n",
                     err));
    for (size_t i = 0; i < STREAM_LATENCY_BUCKETS; i++) {
        below += get(&f->latency[i]);
        if (i % STREAM_LATENCY_STEPS == 0)
            FINCH_TRY(str_add_format(out, err, "finch_stream_latency_seconds_bucket{le=\"%g\"} %" PRIu64 "\n",
                                     bound_ms(i) / 1000, below));
    }
    below += get(&f->latency[STREAM_LATENCY_BUCKETS]);
    return str_add_format(out, err,
                          "finch_stream_latency_seconds_bucket{le=\"+Inf\"} %" PRIu64
                          "\nfinch_stream_latency_seconds_sum %.17g\n"
                          "finch_stream_latency_seconds_count %" PRIu64 "\n",
                          below, (double)get(&f->latency_ms) / 1000, below);
}

finch_status stream_figures_write(const stream_figures *f, str *out, finch_error *err)
{
    int64_t waiting = (int64_t)atomic_load_explicit(&f->waiting, memory_order_relaxed);
    const struct {
        const char *name, *type, *help;
        double value;
    } rows[] = {
        {"read_total", "counter", "Messages read.", (double)get(&f->read)},
        {"redelivered_total", "counter", "Messages read that had been delivered before.", (double)get(&f->redelivered)},
        {"scored_total", "counter", "Messages scored and published.", (double)get(&f->scored)},
        {"without_text_total", "counter", "Messages published without a score, their text being null or empty.",
         (double)get(&f->without_text)},
        {"truncated_total", "counter", "Messages whose text was cut to the tokens that are read.",
         (double)get(&f->truncated)},
        {"dead_letters_total", "counter", "Messages published to the dead letters.", (double)get(&f->dead)},
        {"batches_total", "counter", "Batches scored.", (double)get(&f->batches)},
        {"tokens_total", "counter", "Tokens scored.", (double)get(&f->tokens)},
        {"lost_connections_total", "counter", "Connections to the broker that were lost.",
         (double)get(&f->lost_connections)},
        {"connected", "gauge", "1 while the broker answers.",
         (double)atomic_load_explicit(&f->connected, memory_order_relaxed)},
        {"in_flight", "gauge", "Messages read and not acknowledged by this consumer.",
         (double)atomic_load_explicit(&f->in_flight, memory_order_relaxed)},
        {"pending", "gauge", "Messages read and not acknowledged by the group.",
         (double)atomic_load_explicit(&f->pending, memory_order_relaxed)},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        FINCH_TRY(add(out, rows[i].name, rows[i].type, rows[i].help, rows[i].value, err));
    if (waiting >= 0) FINCH_TRY(add(out, "lag", "gauge", "Messages that the group has not read yet.", (double)waiting, err));
    return add_latency(f, out, err);
}
