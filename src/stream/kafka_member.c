/* A process's place in a Kafka consumer group. The connection that reads and the one that acknowledges share it, because only the
 * consumer that a partition is assigned to can commit its offsets.
 *
 * Invariants
 *  1. The committed offset of a partition is that of its first message which is not acknowledged. Messages of one partition are
 *     acknowledged in the order in which they were read, as the ring of batches keeps it.
 *  2. The offset is committed with the number of times that the message at it has been read so far ("finch:2"): Kafka keeps no such
 *     count. It is committed before a message that somebody may have read before is given out.
 *  3. A partition that is revoked is given back when all that was read of it is acknowledged, at the latest after REVOKE_SECONDS. One
 *     that was lost (the session was over) is given back at once; what was read of it comes again to its new owner.
 *  4. Of a partition whose first message was read twice or more in vain, messages are read one at a time, so that the one which ends
 *     the program each time is known.
 *
 * Rebalancing: the library calls on_rebalance while it is polled and waits for assign or unassign; what it said is kept in
 * rebalance and done by the reads that follow, so that the batch which is being filled can go its way first.
 *
 *   on_rebalance(assign) -> begin_claims -> claim; on_rebalance(revoke) -> end_claims (waits for acknowledgements) -> gone
 *
 * Left out: offsets in transactions (an output that is written twice has one id), and control records of producers in transactions,
 * which count as lag until a message comes after them. */
#include "stream/kafka.h"

#include "base/clock.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TRIES_BEFORE_CARE = 2, COUNT_BYTES = 32 };

#define REVOKE_SECONDS 20.0
#define COMMIT_PAUSE_SECONDS 0.05
#define REVOKE_PAUSE_SECONDS 0.002
#define IDLE_SECONDS 1.0 /* without a read: the ring of batches is full */

/* A partition for as long as it is assigned to this member. */
typedef struct claim {
    struct claim *next; /* of the member's */
    int32_t partition;
    bool gone; /* it is another member's: nothing of it can be committed */
    bool counted; /* its first message has been given out */
    bool resting; /* paused until what was read of it is acknowledged */
    size_t n_in_flight; /* messages that were given out and not released */
    int64_t begin; /* the committed offset that it began at; negative: there was none */
    uint64_t n_before; /* times that the message there had been read */
    size_t n_careful; /* messages that are still read one at a time */
    int64_t read, done; /* offsets behind the last message that was given out, and acknowledged */
} claim;

struct kafka_member {
    kafka_trouble trouble; /* first: it is the consumer's opaque */
    kafka_member *next; /* of the open ones */
    const stream_place *place;
    rd_kafka_t *consumer;
    size_t n_users;
    claim *claims;
    /* Of the thread that reads: */
    rd_kafka_topic_partition_list_t *rebalance; /* NULL: none is under way */
    bool rebalance_assigns, subscribed, closing, paused;
    double revoke_until, last_read; /* clock_seconds */
    rd_kafka_message_t *held; /* was polled and could not be given out yet */
    int n_partitions; /* of the topic */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards open_ones, n_users and all claims */
static kafka_member *open_ones;

/* ---- claims; with the lock held ---- */

/* One that is gone lives until its last message is released. */
static void free_when_unused(claim *c)
{
    if (c->gone && c->n_in_flight == 0) mem_free(c);
}

static claim *find_claim(const kafka_member *m, int32_t partition)
{
    claim *c = m->claims;
    while (c != NULL && c->partition != partition) c = c->next;
    return c;
}

static void end_claim(kafka_member *m, int32_t partition)
{
    claim **at = &m->claims;
    while (*at != NULL && (*at)->partition != partition) at = &(*at)->next;
    claim *c = *at;
    if (c == NULL) return;
    *at = c->next;
    c->gone = true;
    free_when_unused(c);
}

static bool any_in_flight(const kafka_member *m, const rd_kafka_topic_partition_list_t *list)
{
    for (int i = 0; i < list->cnt; i++) {
        const claim *c = find_claim(m, list->elems[i].partition);
        if (c != NULL && c->n_in_flight > 0) return true;
    }
    return false;
}

/* ---- committing ---- */

static rd_kafka_topic_partition_list_t *new_list(int n) { return rdk.topic_partition_list_new(n > 0 ? n : 1); }

/* A list frees its metadata, so the library must have made it itself: the copy of a list has such. */
static void set_count(rd_kafka_topic_partition_t *p, uint64_t n_read)
{
    char text[COUNT_BYTES];
    rd_kafka_topic_partition_list_t *ours = new_list(1);
    rd_kafka_topic_partition_t *written = rdk.topic_partition_list_add(ours, p->topic, p->partition);
    snprintf(text, sizeof text, "finch:%" PRIu64, n_read);
    written->metadata = text;
    written->metadata_size = strlen(text);
    rd_kafka_topic_partition_list_t *theirs = rdk.topic_partition_list_copy(ours);
    written->metadata = NULL;
    p->metadata = theirs->elems[0].metadata;
    p->metadata_size = theirs->elems[0].metadata_size;
    theirs->elems[0].metadata = NULL;
    rdk.topic_partition_list_destroy(ours);
    rdk.topic_partition_list_destroy(theirs);
}

static void add_offset(rd_kafka_topic_partition_list_t *list, const kafka_member *m, int32_t partition, int64_t offset,
                       uint64_t n_read)
{
    rd_kafka_topic_partition_t *p = rdk.topic_partition_list_add(list, m->place->input, partition);
    p->offset = offset;
    if (n_read > 0) set_count(p, n_read);
}

static uint64_t count_of(const rd_kafka_topic_partition_t *p)
{
    char text[COUNT_BYTES] = "", *end;
    if (p->metadata == NULL || p->metadata_size >= sizeof text) return 0;
    memcpy(text, p->metadata, p->metadata_size);
    if (strncmp(text, "finch:", 6) != 0) return 0;
    uint64_t n = strtoull(text + 6, &end, 10);
    return *end == '\0' ? n : 0;
}

/* Others have the partitions by now, and will read again what was not committed. */
static bool is_taken_over(rd_kafka_resp_err_t error)
{
    return error == RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID || error == RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION ||
           error == RD_KAFKA_RESP_ERR__ASSIGNMENT_LOST || error == RD_KAFKA_RESP_ERR__NO_OFFSET;
}

static bool is_passing(rd_kafka_resp_err_t error)
{
    switch (error) {
    case RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS:
    case RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS:
    case RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_COORDINATOR:
    case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
    case RD_KAFKA_RESP_ERR__WAIT_COORD:
    case RD_KAFKA_RESP_ERR__TRANSPORT: return true;
    default: return false;
    }
}

static rd_kafka_resp_err_t error_of(rd_kafka_event_t *event)
{
    const rd_kafka_topic_partition_list_t *list = rdk.event_topic_partition_list(event);
    rd_kafka_resp_err_t error = rdk.event_error(event);
    for (int i = 0; error == RD_KAFKA_RESP_ERR_NO_ERROR && list != NULL && i < list->cnt; i++) error = list->elems[i].err;
    return error;
}

static rd_kafka_resp_err_t commit_once(const kafka_member *m, const rd_kafka_topic_partition_list_t *offsets, int wait_ms)
{
    rd_kafka_queue_t *answers = rdk.queue_new(m->consumer);
    rd_kafka_resp_err_t error = rdk.commit_queue(m->consumer, offsets, answers, NULL, NULL);
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) {
        rd_kafka_event_t *event = rdk.queue_poll(answers, wait_ms);
        error = event != NULL ? error_of(event) : RD_KAFKA_RESP_ERR__TIMED_OUT;
        rdk.event_destroy(event);
    }
    rdk.queue_destroy(answers);
    return error;
}

/* Of the last try. */
static finch_status settle(const kafka_member *m, rd_kafka_resp_err_t error, finch_error *err)
{
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR || is_taken_over(error)) return FINCH_OK;
    return kafka_failed(m->place, error, "committing offsets", err);
}

static finch_status commit(const kafka_member *m, const rd_kafka_topic_partition_list_t *offsets, finch_error *err)
{
    double until = clock_seconds() + KAFKA_ANSWER_MS / 1000.0;
    rd_kafka_resp_err_t error = commit_once(m, offsets, KAFKA_ANSWER_MS);
    while (is_passing(error) && clock_seconds() < until) {
        clock_sleep(COMMIT_PAUSE_SECONDS);
        error = commit_once(m, offsets, KAFKA_ANSWER_MS);
    }
    return settle(m, error, err);
}

/* ---- offsets of the topic ---- */

/* Of the partitions that the list has: where they end (RD_KAFKA_OFFSET_END) or begin (RD_KAFKA_OFFSET_BEGINNING), into copy. */
static finch_status ask_for_edges(const kafka_member *m, const rd_kafka_topic_partition_list_t *list, int64_t edge,
                                  rd_kafka_topic_partition_list_t **copy, finch_error *err)
{
    *copy = rdk.topic_partition_list_copy(list);
    for (int i = 0; i < list->cnt; i++) (*copy)->elems[i].offset = edge;
    rd_kafka_resp_err_t error = rdk.offsets_for_times(m->consumer, *copy, KAFKA_ANSWER_MS);
    for (int i = 0; error == RD_KAFKA_RESP_ERR_NO_ERROR && i < list->cnt; i++) error = (*copy)->elems[i].err;
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) return FINCH_OK;
    rdk.topic_partition_list_destroy(*copy);
    *copy = NULL;
    return kafka_failed(m->place, error, "asking for the topic's offsets", err);
}

static finch_status ask_for_committed(const kafka_member *m, rd_kafka_topic_partition_list_t *list, finch_error *err)
{
    rd_kafka_resp_err_t error = rdk.committed(m->consumer, list, KAFKA_ANSWER_MS);
    for (int i = 0; error == RD_KAFKA_RESP_ERR_NO_ERROR && i < list->cnt; i++) error = list->elems[i].err;
    return error == RD_KAFKA_RESP_ERR_NO_ERROR ? FINCH_OK
                                               : kafka_failed(m->place, error, "asking for the group's offsets", err);
}

static finch_status count_partitions(kafka_member *m, finch_error *err)
{
    const struct rd_kafka_metadata *found = NULL;
    rd_kafka_topic_t *topic = rdk.topic_new(m->consumer, m->place->input, NULL);
    if (topic == NULL) return kafka_failed(m->place, RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION, "looking for the input", err);
    rd_kafka_resp_err_t error = rdk.metadata(m->consumer, 0, topic, &found, KAFKA_ANSWER_MS);
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) {
        if (found->topic_cnt == 1) m->n_partitions = found->topics[0].partition_cnt;
        rdk.metadata_destroy(found);
    }
    rdk.topic_destroy(topic);
    return error == RD_KAFKA_RESP_ERR_NO_ERROR ? FINCH_OK : kafka_failed(m->place, error, "looking for the input", err);
}

/* ---- rebalancing ---- */

static bool is_cooperative(const kafka_member *m) { return strcmp(rdk.rebalance_protocol(m->consumer), "COOPERATIVE") == 0; }

static void drop_held(kafka_member *m)
{
    if (m->held != NULL) rdk.message_destroy(m->held);
    m->held = NULL;
}

static void end_rebalance(kafka_member *m)
{
    rdk.topic_partition_list_destroy(m->rebalance);
    m->rebalance = NULL;
}

/* A message of a partition that goes, or begins again at its committed offset, is read again. */
static void drop_held_of(kafka_member *m, const rd_kafka_topic_partition_list_t *list)
{
    for (int i = 0; m->held != NULL && i < list->cnt; i++)
        if (m->held->partition == list->elems[i].partition) drop_held(m);
}

/* What the library itself refuses here is a place that is gone, of which it tells by another rebalance. */
static void unassign(kafka_member *m, const rd_kafka_topic_partition_list_t *list)
{
    if (is_cooperative(m)) rdk.error_destroy(rdk.incremental_unassign(m->consumer, list));
    else rdk.assign(m->consumer, NULL);
    pthread_mutex_lock(&lock);
    for (int i = 0; i < list->cnt; i++) end_claim(m, list->elems[i].partition);
    pthread_mutex_unlock(&lock);
    drop_held_of(m, list);
}

static void on_rebalance(rd_kafka_t *consumer, rd_kafka_resp_err_t what, rd_kafka_topic_partition_list_t *list, void *opaque)
{
    kafka_member *m = opaque;
    if (what != RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS && what != RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS)
        rdk.assign(consumer, NULL);
    else if (m->closing) unassign(m, list);
    else {
        if (m->rebalance != NULL) end_rebalance(m);
        m->rebalance = rdk.topic_partition_list_copy(list);
        m->rebalance_assigns = what == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        m->revoke_until = clock_seconds() + REVOKE_SECONDS;
    }
}

/* Where the group has no place of its own yet: with what comes from now on, it is given one, or the next member would begin later. */
static finch_status place_at_end(kafka_member *m, rd_kafka_topic_partition_list_t *list, finch_error *err)
{
    rd_kafka_topic_partition_list_t *ends, *places = new_list(list->cnt);
    finch_status st = ask_for_edges(m, list, RD_KAFKA_OFFSET_END, &ends, err);
    for (int i = 0; st == FINCH_OK && i < list->cnt; i++)
        if (list->elems[i].offset < 0) {
            list->elems[i].offset = ends->elems[i].offset;
            add_offset(places, m, list->elems[i].partition, ends->elems[i].offset, 0);
        }
    if (st == FINCH_OK && places->cnt > 0) st = commit(m, places, err);
    if (ends != NULL) rdk.topic_partition_list_destroy(ends);
    rdk.topic_partition_list_destroy(places);
    return st;
}

static finch_status add_claim(kafka_member *m, const rd_kafka_topic_partition_t *p, finch_error *err)
{
    claim *c;
    FINCH_TRY(MEM_NEW(&c, 1, err));
    *c = (claim){
        .partition = p->partition, .begin = p->offset, .n_before = count_of(p), .read = p->offset, .done = p->offset};
    if (c->n_before >= TRIES_BEFORE_CARE) c->n_careful = m->place->in_flight_max;
    pthread_mutex_lock(&lock);
    end_claim(m, p->partition);
    c->next = m->claims;
    m->claims = c;
    pthread_mutex_unlock(&lock);
    return FINCH_OK;
}

static finch_status begin_claims(kafka_member *m, finch_error *err)
{
    rd_kafka_topic_partition_list_t *list = m->rebalance;
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_NO_ERROR;
    if (list->cnt > 0) FINCH_TRY(ask_for_committed(m, list, err));
    if (list->cnt > 0 && m->place->from_new) FINCH_TRY(place_at_end(m, list, err));
    for (int i = 0; i < list->cnt; i++) FINCH_TRY(add_claim(m, &list->elems[i], err));
    drop_held_of(m, list);
    if (is_cooperative(m)) {
        rd_kafka_error_t *error = rdk.incremental_assign(m->consumer, list);
        if (error != NULL) code = rdk.error_code(error);
        rdk.error_destroy(error);
    } else code = rdk.assign(m->consumer, list);
    end_rebalance(m);
    FINCH_TRY(count_partitions(m, err));
    return code == RD_KAFKA_RESP_ERR_NO_ERROR || code == RD_KAFKA_RESP_ERR__STATE
               ? FINCH_OK
               : kafka_failed(m->place, code, "taking partitions", err);
}

static bool waits_for_acknowledgements(const kafka_member *m)
{
    if (rdk.assignment_lost(m->consumer) != 0 || clock_seconds() > m->revoke_until) return false;
    pthread_mutex_lock(&lock);
    bool waits = any_in_flight(m, m->rebalance);
    pthread_mutex_unlock(&lock);
    return waits;
}

/* Waits for what is in flight at most wait_ms; what is not done then is tried again by the next read. */
static void end_claims(kafka_member *m, unsigned wait_ms)
{
    double until = clock_seconds() + wait_ms / 1000.0;
    bool waits = waits_for_acknowledgements(m);
    while (waits && clock_seconds() < until) {
        clock_sleep(REVOKE_PAUSE_SECONDS);
        waits = waits_for_acknowledgements(m);
    }
    if (waits) return;
    unassign(m, m->rebalance);
    end_rebalance(m);
}

static finch_status serve_rebalance(kafka_member *m, unsigned wait_ms, finch_error *err)
{
    if (m->rebalance == NULL) return FINCH_OK;
    if (m->rebalance_assigns) return begin_claims(m, err);
    end_claims(m, wait_ms);
    return FINCH_OK;
}

/* ---- pausing ---- */

static void pause_claims(kafka_member *m, bool (*which)(const claim *c), bool pauses)
{
    rd_kafka_topic_partition_list_t *list = new_list(0);
    pthread_mutex_lock(&lock);
    for (claim *c = m->claims; c != NULL; c = c->next)
        if (which(c)) {
            rdk.topic_partition_list_add(list, m->place->input, c->partition);
            c->resting = c->resting && pauses;
        }
    pthread_mutex_unlock(&lock);
    if (list->cnt > 0 && pauses) rdk.pause_partitions(m->consumer, list);
    else if (list->cnt > 0) rdk.resume_partitions(m->consumer, list);
    rdk.topic_partition_list_destroy(list);
}

static bool rests(const claim *c) { return c->resting; }
static bool does_not_rest(const claim *c) { return !c->resting; }
static bool has_rested(const claim *c) { return c->resting && c->n_in_flight == 0; }

/* ---- reading ---- */

/* The first message of a claim: how often it was read is written down before it is given out. */
static finch_status count_first(const kafka_member *m, claim *c, int64_t offset, finch_error *err)
{
    if (offset != c->begin) c->n_before = 0; /* the one that was read before is there no more */
    rd_kafka_topic_partition_list_t *list = new_list(1);
    add_offset(list, m, c->partition, offset, c->n_before + 1);
    finch_status st = commit(m, list, err);
    rdk.topic_partition_list_destroy(list);
    c->counted = st == FINCH_OK;
    return st;
}

static finch_status give_out(kafka_member *m, claim *c, const rd_kafka_message_t *message, stream_batch *batch,
                             finch_error *err)
{
    stream_message *out;
    rd_kafka_timestamp_type_t type;
    bool first = !c->counted;
    if (first) FINCH_TRY(count_first(m, c, message->offset, err));
    FINCH_TRY(stream_batch_add(batch, message->payload != NULL ? message->payload : "", message->len, &out, err));
    snprintf(out->id, sizeof out->id, "%s/%" PRId32 "/%" PRId64, m->place->input, c->partition, message->offset);
    int64_t time_ms = rdk.message_timestamp(message, &type);
    out->time_ms = type != RD_KAFKA_TIMESTAMP_NOT_AVAILABLE && time_ms > 0 ? time_ms : 0;
    if (first) out->n_deliveries = c->n_before + 1;
    out->handle = c;
    pthread_mutex_lock(&lock);
    c->n_in_flight++;
    c->read = message->offset + 1;
    if (c->n_careful > 0) {
        c->n_careful--;
        c->resting = true;
    }
    pthread_mutex_unlock(&lock);
    if (c->resting) pause_claims(m, rests, true);
    return FINCH_OK;
}

static bool is_news(rd_kafka_resp_err_t error)
{
    return error == RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED || is_taken_over(error) || is_passing(error);
}

/* The next message into held. Errors of the consumer come as messages; those that it mends itself are passed over. */
static finch_status poll_message(kafka_member *m, unsigned wait_ms, finch_error *err)
{
    if (m->held == NULL) m->held = rdk.consumer_poll(m->consumer, (int)wait_ms);
    if (m->held == NULL || m->held->err == RD_KAFKA_RESP_ERR_NO_ERROR) return kafka_trouble_take(&m->trouble, m->place, err);
    rd_kafka_resp_err_t error = m->held->err;
    drop_held(m);
    FINCH_TRY(kafka_trouble_take(&m->trouble, m->place, err));
    return is_news(error) ? FINCH_OK : kafka_failed(m->place, error, "reading", err);
}

static finch_status read_one(kafka_member *m, unsigned wait_ms, stream_batch *batch, bool *more, finch_error *err)
{
    *more = false;
    FINCH_TRY(poll_message(m, wait_ms, err));
    if (m->held == NULL || m->rebalance != NULL) return FINCH_OK;
    pthread_mutex_lock(&lock);
    claim *c = find_claim(m, m->held->partition);
    pthread_mutex_unlock(&lock);
    if (c != NULL) FINCH_TRY(give_out(m, c, m->held, batch, err));
    drop_held(m);
    *more = true;
    return FINCH_OK;
}

static finch_status subscribe(kafka_member *m, finch_error *err)
{
    rd_kafka_topic_partition_list_t *topics = new_list(1);
    rdk.topic_partition_list_add(topics, m->place->input, RD_KAFKA_PARTITION_UA);
    rd_kafka_resp_err_t error = rdk.subscribe(m->consumer, topics);
    rdk.topic_partition_list_destroy(topics);
    m->subscribed = error == RD_KAFKA_RESP_ERR_NO_ERROR;
    return m->subscribed ? FINCH_OK : kafka_failed(m->place, error, "joining the group", err);
}

finch_status kafka_member_read(kafka_member *m, size_t most, unsigned wait_ms, stream_batch *batch, finch_error *err)
{
    size_t before = batch->n;
    bool more = true;
    if (!m->subscribed) FINCH_TRY(subscribe(m, err));
    if (m->paused) pause_claims(m, does_not_rest, false);
    m->paused = false;
    pause_claims(m, has_rested, false);
    FINCH_TRY(serve_rebalance(m, before == 0 ? wait_ms : 0, err));
    while (more && batch->n - before < most)
        FINCH_TRY(read_one(m, batch->n == before && before == 0 ? wait_ms : 0, batch, &more, err));
    m->last_read = clock_seconds();
    return FINCH_OK;
}

/* While the ring is full nothing is read, but the group must hear of this member. */
static finch_status stay(kafka_member *m, finch_error *err)
{
    if (!m->subscribed || clock_seconds() - m->last_read < IDLE_SECONDS) return FINCH_OK;
    pause_claims(m, does_not_rest, true);
    m->paused = true;
    FINCH_TRY(serve_rebalance(m, 0, err));
    return poll_message(m, 0, err);
}

/* ---- acknowledging ---- */

static int64_t offset_of(const stream_message *m) { return (int64_t)strtoll(strrchr(m->id, '/') + 1, NULL, 10); }

/* Each claim is in the batch as often as it has messages there; the last says how far it is done. */
static void list_done(const kafka_member *m, const stream_batch *batch, rd_kafka_topic_partition_list_t *list)
{
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < batch->n; i++) ((claim *)batch->messages[i].handle)->done = offset_of(&batch->messages[i]) + 1;
    for (const claim *c = m->claims; c != NULL; c = c->next)
        for (size_t i = 0; i < batch->n; i++)
            if (batch->messages[i].handle == c) {
                add_offset(list, m, c->partition, c->done, c->read > c->done ? 1 : 0);
                break;
            }
    pthread_mutex_unlock(&lock);
}

static rd_kafka_resp_err_t commit_done(const kafka_member *m, const stream_batch *batch)
{
    rd_kafka_topic_partition_list_t *list = new_list(0);
    list_done(m, batch, list);
    rd_kafka_resp_err_t error = list->cnt > 0 ? commit_once(m, list, KAFKA_ANSWER_MS) : RD_KAFKA_RESP_ERR_NO_ERROR;
    rdk.topic_partition_list_destroy(list);
    return error;
}

/* While the group changes, the broker may be a generation ahead of this member, which then has its partitions still. Those that it
 * has lost will be read again by others. */
finch_status kafka_member_acknowledge(kafka_member *m, const stream_batch *batch, finch_error *err)
{
    double until = clock_seconds() + KAFKA_ANSWER_MS / 1000.0;
    rd_kafka_resp_err_t error = commit_done(m, batch);
    while ((is_passing(error) || is_taken_over(error)) && clock_seconds() < until) {
        if (rdk.assignment_lost(m->consumer) != 0) return FINCH_OK;
        clock_sleep(COMMIT_PAUSE_SECONDS);
        error = commit_done(m, batch);
    }
    return settle(m, error, err);
}

void kafka_member_release(stream_batch *batch)
{
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < batch->n; i++) {
        claim *c = batch->messages[i].handle;
        c->n_in_flight--;
        free_when_unused(c);
    }
    pthread_mutex_unlock(&lock);
    batch->n = 0;
    str_clear(&batch->bytes);
}

/* ---- lag ---- */

static int64_t in_flight_of(const kafka_member *m)
{
    int64_t n = 0;
    pthread_mutex_lock(&lock);
    for (const claim *c = m->claims; c != NULL; c = c->next) n += (int64_t)c->n_in_flight;
    pthread_mutex_unlock(&lock);
    return n;
}

/* From the committed offset, or the oldest message where that is later, to the end. */
static int64_t count_waiting(const rd_kafka_topic_partition_list_t *committed, const rd_kafka_topic_partition_list_t *begins,
                             const rd_kafka_topic_partition_list_t *ends)
{
    int64_t n = 0;
    for (int i = 0; i < committed->cnt; i++) {
        int64_t at = committed->elems[i].offset, begin = begins->elems[i].offset, end = ends->elems[i].offset;
        if (at < begin) at = begin;
        if (end > at) n += end - at;
    }
    return n;
}

/* Kafka knows what was acknowledged, not what was read: what other members hold counts as not read yet. */
finch_status kafka_member_lag(kafka_member *m, stream_lag *out, finch_error *err)
{
    *out = (stream_lag){.waiting = -1, .pending = in_flight_of(m)};
    FINCH_TRY(stay(m, err));
    if (m->n_partitions == 0) FINCH_TRY(count_partitions(m, err));
    rd_kafka_topic_partition_list_t *list = new_list(m->n_partitions), *begins = NULL, *ends = NULL;
    for (int i = 0; i < m->n_partitions; i++) rdk.topic_partition_list_add(list, m->place->input, i);
    finch_status st = ask_for_committed(m, list, err);
    if (st == FINCH_OK) st = ask_for_edges(m, list, RD_KAFKA_OFFSET_BEGINNING, &begins, err);
    if (st == FINCH_OK) st = ask_for_edges(m, list, RD_KAFKA_OFFSET_END, &ends, err);
    if (st == FINCH_OK) {
        int64_t n = count_waiting(list, begins, ends);
        out->pending = n < in_flight_of(m) ? n : in_flight_of(m);
        out->waiting = n - out->pending;
    }
    rdk.topic_partition_list_destroy(list);
    if (begins != NULL) rdk.topic_partition_list_destroy(begins);
    if (ends != NULL) rdk.topic_partition_list_destroy(ends);
    return st;
}

/* ---- beginning and end ---- */

static finch_status make_member(const stream_place *place, const rd_kafka_conf_t *settings, kafka_member **out,
                                finch_error *err)
{
    char why[KAFKA_REASON_BYTES];
    kafka_member *m;
    *out = NULL;
    FINCH_TRY(MEM_NEW(&m, 1, err));
    *m = (kafka_member){.place = place, .n_users = 1, .last_read = clock_seconds()};
    rd_kafka_conf_t *own = rdk.conf_dup(settings);
    rdk.conf_set_opaque(own, m);
    rdk.conf_set_rebalance_cb(own, on_rebalance);
    m->consumer = rdk.new(RD_KAFKA_CONSUMER, own, why, sizeof why);
    if (m->consumer == NULL) {
        rdk.conf_destroy(own);
        mem_free(m);
        return finch_fail(err, FINCH_E_USAGE, "the Kafka consumer can not be made of these settings: %s", why);
    }
    rdk.poll_set_consumer(m->consumer);
    *out = m;
    return FINCH_OK;
}

finch_status kafka_member_join(const stream_place *place, const rd_kafka_conf_t *settings, kafka_member **out,
                               finch_error *err)
{
    finch_status st = FINCH_OK;
    pthread_mutex_lock(&lock);
    kafka_member *m = open_ones;
    while (m != NULL && m->place != place) m = m->next;
    if (m != NULL) m->n_users++;
    else {
        st = make_member(place, settings, &m, err);
        if (st == FINCH_OK) {
            m->next = open_ones;
            open_ones = m;
        }
    }
    pthread_mutex_unlock(&lock);
    *out = m;
    return st;
}

static bool leave_list(kafka_member *m)
{
    pthread_mutex_lock(&lock);
    bool last = --m->n_users == 0;
    if (last) {
        kafka_member **at = &open_ones;
        while (*at != m) at = &(*at)->next;
        *at = m->next;
    }
    pthread_mutex_unlock(&lock);
    return last;
}

static void free_member(kafka_member *m)
{
    pthread_mutex_lock(&lock);
    while (m->claims != NULL) end_claim(m, m->claims->partition);
    pthread_mutex_unlock(&lock);
    mem_free(m);
}

void kafka_member_leave(kafka_member *m, bool for_good)
{
    if (m == NULL || !leave_list(m)) return;
    m->closing = true;
    if (m->rebalance != NULL) unassign(m, m->rebalance);
    if (m->rebalance != NULL) end_rebalance(m);
    drop_held(m);
    if (for_good && m->subscribed) rdk.consumer_close(m->consumer);
    rdk.destroy_flags(m->consumer, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    free_member(m);
}
