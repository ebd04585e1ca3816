/* A message broker as finch stream sees it: one plain struct of functions a broker, and batches of messages between.
 *
 * What every back end promises
 *  1. At least once: a message that was read and not acknowledged comes again, to this consumer or another of its group, once it
 *     has been out for ack_wait_seconds.
 *  2. publish returns FINCH_OK only when the broker has confirmed every output. Called again with the same outputs it may write
 *     some twice where the broker does not know them by their ids any more; the ids tell a reader.
 *  3. FINCH_E_REMOTE means that the connection is to be thrown away and opened again; anything else that it is of no use to try
 *     again.
 *
 * Threads: a connection has one thread; the loop opens one to read and one to publish and acknowledge. A batch that was read on one
 * is acknowledged on the other. */
#ifndef FINCH_STREAM_BROKER_H
#define FINCH_STREAM_BROKER_H

#include "base/str.h"

enum { STREAM_ID_BYTES = 512, STREAM_NAME_BYTES = 201 };

/* Where messages come from and go to. All texts are borrowed for as long as a connection is open. */
typedef struct stream_place {
    const char *url;      /* scheme://[user:password@]host[:port][/database]; never shown: place names it */
    const char *place;    /* the same without user and password, for messages */
    const char *input;    /* stream (Redis), subject (NATS), topic (Kafka) */
    const char *output;
    const char *dead;     /* takes what can not be scored */
    const char *group;    /* consumer group or durable consumer */
    const char *consumer; /* this member's name in the group */
    const char *config;   /* a file of the client library's own settings; NULL: none */
    bool from_new; /* a group that this run makes begins with what comes from now on; else with the oldest message */
    bool create; /* makes streams that are missing, where the broker does not do so by itself */
    double ack_wait_seconds;
    size_t in_flight_max; /* messages out to one consumer */
} stream_place;

/* A message that came. Its bytes are in the batch's. */
typedef struct stream_message {
    char id[STREAM_ID_BYTES]; /* unique among all that ever came */
    size_t begin, size; /* of its bytes */
    uint64_t n_deliveries; /* this one included */
    int64_t time_ms; /* when the broker took it, Unix; 0: unknown */
    void *handle; /* the back end's, to acknowledge it by; released by it */
} stream_message;

typedef struct stream_batch {
    stream_message *messages; /* [capacity] */
    size_t n, capacity;
    str bytes;
} stream_batch;

static inline const char *stream_message_at(const stream_batch *b, size_t i) { return b->bytes.at + b->messages[i].begin; }

/* What becomes of a message. */
typedef struct stream_output {
    char id[STREAM_ID_BYTES]; /* the same for the same message and model */
    finch_text data;
    const char *reason; /* NULL: a scored message; else a dead letter, and why */
} stream_output;

typedef struct stream_lag {
    int64_t waiting; /* messages that no consumer of the group has read yet; -1: the broker does not say */
    int64_t pending; /* read by some consumer of the group and not acknowledged yet */
} stream_lag;

/* What a URL says. */
typedef struct stream_url {
    char *host, *user, *password, *path; /* NULL: not written; freed by stream_url_free */
    int port;
    str place; /* scheme://host:port/path */
} stream_url;

typedef struct stream_broker {
    const char *scheme; /* "redis" */
    const char *what; /* "Redis Streams" */
    struct stream_library *library; /* is open when open is called; NULL: none is needed */
    int port; /* where the URL names none */
    bool takes_config; /* of a place */
    /* For stream_broker_open: connects, and makes the group where it is missing. What it leaves in *connection, NULL at first, is closed
     * where it fails. */
    finch_status (*open)(const stream_place *place, const stream_url *url, void **connection, finch_error *err);
    /* Appends at most `most` messages to the batch: returns as soon as there is one, or after wait_ms. Messages of consumers that
     * do not answer any more come with them. */
    finch_status (*read)(void *connection, size_t most, unsigned wait_ms, stream_batch *batch, finch_error *err);
    /* The most bytes that an output's data may have. */
    size_t (*output_max)(const void *connection);
    /* outputs [batch->n]: of each message of the batch. */
    finch_status (*publish)(void *connection, const stream_batch *batch, const stream_output *outputs, finch_error *err);
    /* Of a batch whose outputs are published. */
    finch_status (*acknowledge)(void *connection, const stream_batch *batch, finch_error *err);
    finch_status (*lag)(void *connection, stream_lag *out, finch_error *err);
    /* Forgets the handles of a batch's messages, acknowledged or not, and empties it. */
    void (*release)(stream_batch *batch);
    /* leave: this consumer goes for good and holds nothing; otherwise its place in the group stays. NULL is legal. */
    void (*close)(void *connection, bool leave);
} stream_broker;

/* Appends a message with these bytes to the batch, which has room; what else it holds is the caller's to set. */
finch_status stream_batch_add(stream_batch *batch, const char *data, size_t size, stream_message **out, finch_error *err);

/* Those that this program was built with; ended by NULL. */
extern const stream_broker *const stream_brokers[];

/* By the scheme of a URL. Errors: FINCH_E_USAGE with what there is; FINCH_E_UNSUPPORTED for one that was left out at build. */
finch_status stream_broker_find(const char *url, const stream_broker **out, finch_error *err);

/* Opens the broker's library and a connection. *connection is NULL on failure. */
finch_status stream_broker_open(const stream_broker *broker, const stream_place *place, void **connection, finch_error *err);

/* Errors: FINCH_E_USAGE. */
finch_status stream_url_read(const char *url, int preset_port, stream_url *out, finch_error *err);
void stream_url_free(stream_url *u);

#endif
