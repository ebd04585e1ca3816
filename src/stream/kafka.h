/* What the two files of the Kafka client share: kafka.c (settings, connections, publishing) and kafka_member.c (the consumer, which
 * is this process's place in the group). */
#ifndef FINCH_STREAM_KAFKA_H
#define FINCH_STREAM_KAFKA_H

#include "stream/broker.h"

#include <librdkafka/rdkafka.h>

#define KAFKA_FUNCTION_LIST(X)      \
    X(assign)                       \
    X(assignment_lost)              \
    X(commit_queue)                 \
    X(committed)                    \
    X(conf_destroy)                 \
    X(conf_dup)                     \
    X(conf_get)                     \
    X(conf_new)                     \
    X(conf_set)                     \
    X(conf_set_dr_msg_cb)           \
    X(conf_set_error_cb)            \
    X(conf_set_log_cb)              \
    X(conf_set_opaque)              \
    X(conf_set_rebalance_cb)        \
    X(consumer_close)               \
    X(consumer_poll)                \
    X(destroy)                      \
    X(destroy_flags)                \
    X(err2str)                      \
    X(error_code)                   \
    X(error_destroy)                \
    X(event_destroy)                \
    X(event_error)                  \
    X(event_topic_partition_list)   \
    X(fatal_error)                  \
    X(flush)                        \
    X(incremental_assign)           \
    X(incremental_unassign)         \
    X(message_destroy)              \
    X(message_timestamp)            \
    X(metadata)                     \
    X(metadata_destroy)             \
    X(new)                          \
    X(offsets_for_times)            \
    X(pause_partitions)             \
    X(poll)                         \
    X(poll_set_consumer)            \
    X(produceva)                    \
    X(purge)                        \
    X(queue_destroy)                \
    X(queue_new)                    \
    X(queue_poll)                   \
    X(rebalance_protocol)           \
    X(resume_partitions)            \
    X(subscribe)                    \
    X(topic_destroy)                \
    X(topic_new)                    \
    X(topic_partition_list_add)     \
    X(topic_partition_list_copy)    \
    X(topic_partition_list_destroy) \
    X(topic_partition_list_new)

#define KAFKA_POINTER(name) __typeof__(&rd_kafka_##name) name;
struct kafka_functions {
    KAFKA_FUNCTION_LIST(KAFKA_POINTER)
};
extern struct kafka_functions rdk; /* set once, by the opening of the library */
#undef KAFKA_POINTER

enum { KAFKA_ANSWER_MS = 10000, KAFKA_REASON_BYTES = 300 };

/* What a handle's error callback heard last. It is called by whoever polls the handle, so it needs no lock; it is the first member
 * of what a handle is given as its opaque. */
typedef struct kafka_trouble {
    rd_kafka_resp_err_t error; /* one of those that end the connection; RD_KAFKA_RESP_ERR_NO_ERROR: none */
    char reason[KAFKA_REASON_BYTES]; /* what was said last, of any error */
} kafka_trouble;

/* FINCH_OK where there was none; else it is forgotten. */
finch_status kafka_trouble_take(kafka_trouble *t, const stream_place *place, finch_error *err);
/* What an error of a call means: whether it is of use to try again. */
finch_status kafka_failed(const stream_place *place, rd_kafka_resp_err_t error, const char *doing, finch_error *err);

typedef struct kafka_member kafka_member;

/* The one of this place that is open, or a new one of these settings, which stay the caller's. Each join needs its leave. */
finch_status kafka_member_join(const stream_place *place, const rd_kafka_conf_t *settings, kafka_member **out,
                               finch_error *err);
/* The last to go closes the consumer. for_good: it tells the group, and its partitions are others' at once. NULL is legal. */
void kafka_member_leave(kafka_member *m, bool for_good);

/* As stream_broker's functions of these names. */
finch_status kafka_member_read(kafka_member *m, size_t most, unsigned wait_ms, stream_batch *batch, finch_error *err);
finch_status kafka_member_acknowledge(kafka_member *m, const stream_batch *batch, finch_error *err);
finch_status kafka_member_lag(kafka_member *m, stream_lag *out, finch_error *err);
void kafka_member_release(stream_batch *batch);

#endif
