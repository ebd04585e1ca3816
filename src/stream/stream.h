/* finch stream: messages of a broker scored and published again, until it is told to stop.
 *
 *   broker -> take (thread) -> score (the caller's thread) -> put (thread) -> broker
 *
 * Invariants
 *  1. A message is acknowledged only after its output is confirmed: whatever dies in between, it comes again.
 *  2. Its output has the same id every time: the message's id, "@", the model's version.
 *  3. At most in_flight messages are read and not acknowledged; reading waits for that, not memory.
 *  4. A message that can not be scored is published to the dead letters with its reason, and is acknowledged: it holds up nobody.
 * How it works: docs/stream.md. */
#ifndef FINCH_STREAM_STREAM_H
#define FINCH_STREAM_STREAM_H

#include "data/score_object.h"
#include "stream/broker.h"
#include "stream/figures.h"

typedef struct stream_options {
    const stream_broker *broker;
    stream_place place;
    data_text_key text;      /* of a message's object */
    const char *prefix;      /* of the added keys */
    bool logits;
    const char *model_version;
    size_t batch;            /* messages scored together, at most */
    size_t in_flight;        /* at least two batches */
    double max_wait_seconds; /* a message waits no longer for others to fill its batch */
    uint64_t max_deliveries; /* a message that came more often is a dead letter */
    size_t max_message_bytes;
    bool until_empty;        /* ends when the group has nothing left to read or to acknowledge */
    double drain_seconds;    /* at the end: the longest that a broker which is away is waited for */
    const progress *watch;   /* false: read no more, finish what is in flight, leave the group */
    void (*tell)(void *context, const char *text); /* what happens on the way ("reconnected"); on the caller's thread */
    void *context;
} stream_options;

/* s has a capacity of at least o->batch. figures may be read by other threads meanwhile.
 * A broker that is lost is called again with growing pauses for as long as it takes. Errors: FINCH_E_REMOTE where it can not be
 * reached at the beginning, or not within drain_seconds at the end; what it refused for good; FINCH_E_MEMORY. */
finch_status stream_run(data_scoring *s, const stream_options *o, stream_figures *figures, finch_error *err);

#endif
