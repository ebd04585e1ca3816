/* NATS JetStream (https://docs.nats.io/nats-concepts/jetstream), server 2.9 and later, through cnats: a durable pull consumer that
 * the members of the group share.
 *
 * Outputs carry Nats-Msg-Id: within its duplicate window the output's stream drops one that it has. The members hold no place in
 * the consumer, so there is nothing to leave; what one held when it died comes again after ack_wait_seconds, and the server counts
 * the deliveries. A dead letter has the bytes as they came, and the headers Finch-Reason and Finch-Deliveries.
 *
 * Acknowledgements go out on the connection that published: a message keeps only the subject that they go to. */
#include "stream/broker.h"
#include "stream/library.h"

#include "base/json.h"

#include <inttypes.h>
#include <nats/nats.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PORT = 4222,
    ANSWER_MS = 10000,
    LOOK_MS = 5,
    DUPLICATES_SECONDS = 120,
    HEADERS_BYTES = 2048,
    REASON_BYTES = 256,
    NUMBER_BYTES = 24
};

#define NANOSECONDS 1000000000.0

/* ---- the library ---- */

#define FUNCTION_LIST(X)                   \
    X(nats_GetLastError)                   \
    X(natsOptions_Create)                  \
    X(natsOptions_Destroy)                 \
    X(natsOptions_SetURL)                  \
    X(natsOptions_SetUserInfo)             \
    X(natsOptions_SetTimeout)              \
    X(natsOptions_SetAllowReconnect)       \
    X(natsOptions_SetName)                 \
    X(natsConnection_Connect)              \
    X(natsConnection_Destroy)              \
    X(natsConnection_FlushTimeout)         \
    X(natsConnection_GetMaxPayload)        \
    X(natsConnection_JetStream)            \
    X(natsConnection_PublishString)        \
    X(natsConnection_PublishRequestString) \
    X(natsConnection_RequestString)        \
    X(natsConnection_SubscribeSync)        \
    X(natsInbox_Create)                    \
    X(natsInbox_Destroy)                   \
    X(natsMsg_Create)                      \
    X(natsMsg_Destroy)                     \
    X(natsMsg_GetData)                     \
    X(natsMsg_GetDataLength)               \
    X(natsMsg_GetReply)                    \
    X(natsMsgHeader_Set)                   \
    X(natsSubscription_Destroy)            \
    X(natsSubscription_NextMsg)            \
    X(natsStatus_GetText)                  \
    X(jsConsumerConfig_Init)               \
    X(jsConsumerInfo_Destroy)              \
    X(jsCtx_Destroy)                       \
    X(jsOptions_Init)                      \
    X(jsPubOptions_Init)                   \
    X(jsStreamConfig_Init)                 \
    X(js_AddConsumer)                      \
    X(js_AddStream)                        \
    X(js_GetConsumerInfo)                  \
    X(js_PublishAsyncComplete)             \
    X(js_PublishMsgAsync)                  \
    X(js_UpdateConsumer)

static struct {
    FUNCTION_LIST(STREAM_POINTER)
} lib; /* set once, by the opening of the library */
static const stream_symbol symbols[] = {FUNCTION_LIST(STREAM_SYMBOL)};
static stream_library library = STREAM_LIBRARY(FINCH_NATS, symbols);

/* ---- a connection ---- */

typedef struct nats {
    struct nats *next; /* of the open ones */
    const stream_place *place;
    natsConnection *link;
    jsCtx *js;
    natsSubscription *messages; /* of the inbox; made by the first read */
    natsInbox *inbox;
    char stream[STREAM_NAME_BYTES]; /* that has the input */
    size_t n_refused; /* outputs of this round that were not confirmed */
    char refusal[REASON_BYTES]; /* why the first was not; both are set by cnats' threads, under the lock */
} nats;

/* What cnats says goes with a lost server; what it can not connect to for its password does not pass. */
static finch_status failed(const nats *n, natsStatus status, const char *doing, finch_error *err)
{
    natsStatus last = NATS_OK;
    const char *more = lib.nats_GetLastError(&last);
    bool lasting = status == NATS_CONNECTION_AUTH_FAILED || status == NATS_NOT_PERMITTED || status == NATS_MAX_PAYLOAD;
    bool said = last == status && more != NULL && more[0] != '\0';
    if (status == NATS_NO_SERVER)
        return finch_fail(err, FINCH_E_REMOTE, "%s can not be reached (%s)", n->place->place, doing);
    if (status == NATS_NO_RESPONDERS)
        return finch_fail(err, FINCH_E_REMOTE, "%s has no JetStream, or not yet (%s); start it with nats-server -js",
                          n->place->place, doing);
    return finch_fail(err, lasting ? FINCH_E_FAILED : FINCH_E_REMOTE, "%s: %s failed: %.300s", n->place->place, doing,
                      said ? more : lib.natsStatus_GetText(status));
}

static finch_status done(const nats *n, natsStatus status, const char *doing, finch_error *err)
{
    return status == NATS_OK ? FINCH_OK : failed(n, status, doing, err);
}

/* ---- streams ---- */

static finch_status ask_for_stream(const nats *n, const char *subject, json_t **out, finch_error *err)
{
    char question[STREAM_NAME_BYTES + 32];
    natsMsg *answer = NULL;
    snprintf(question, sizeof question, "{\"subject\":\"%.*s\"}", STREAM_NAME_BYTES - 1, subject);
    FINCH_TRY(done(n, lib.natsConnection_RequestString(&answer, n->link, "$JS.API.STREAM.NAMES", question, ANSWER_MS),
                   "the question for the stream", err));
    finch_status st = json_parse(lib.natsMsg_GetData(answer), (size_t)lib.natsMsg_GetDataLength(answer), n->place->place,
                                 out, err);
    lib.natsMsg_Destroy(answer);
    return st;
}

/* The stream that takes subject; empty: none does. */
static finch_status find_stream(const nats *n, const char *subject, char out[STREAM_NAME_BYTES], finch_error *err)
{
    json_t *answer = NULL;
    FINCH_TRY(ask_for_stream(n, subject, &answer, err));
    const char *name = json_string_value(json_array_get(json_object_get(answer, "streams"), 0));
    const char *refusal = json_string_value(json_object_get(json_object_get(answer, "error"), "description"));
    finch_status st = FINCH_OK;
    out[0] = '\0';
    if (refusal != NULL) st = finch_fail(err, FINCH_E_FAILED, "%s: %.300s", n->place->place, refusal);
    else if (name != NULL) snprintf(out, STREAM_NAME_BYTES, "%s", name);
    json_decref(answer);
    return st;
}

static finch_status make_stream(const nats *n, const char *subject, char out[STREAM_NAME_BYTES], finch_error *err)
{
    jsStreamConfig config;
    const char *subjects[] = {subject};
    double window = n->place->ack_wait_seconds * 4;
    snprintf(out, STREAM_NAME_BYTES, "%s", subject);
    for (char *c = out; *c != '\0'; c++)
        if (strchr(".*>/\\", *c) != NULL) *c = '_';
    lib.jsStreamConfig_Init(&config);
    config.Name = out;
    config.Subjects = subjects;
    config.SubjectsLen = 1;
    config.Storage = js_FileStorage;
    config.Duplicates = (int64_t)((window > DUPLICATES_SECONDS ? window : DUPLICATES_SECONDS) * NANOSECONDS);
    return done(n, lib.js_AddStream(NULL, n->js, &config, NULL, NULL), "making a stream", err);
}

static finch_status need_stream(const nats *n, const char *subject, char out[STREAM_NAME_BYTES], finch_error *err)
{
    FINCH_TRY(find_stream(n, subject, out, err));
    if (out[0] != '\0') return FINCH_OK;
    if (n->place->create) return make_stream(n, subject, out, err);
    return finch_fail(err, FINCH_E_NOT_FOUND,
                      "%s has no stream for the subject %s; make one (nats stream add --subjects %s), or say --create",
                      n->place->place, subject, subject);
}

/* ---- the group ---- */

static finch_status make_consumer(const nats *n, finch_error *err)
{
    jsConsumerConfig config;
    lib.jsConsumerConfig_Init(&config);
    config.Durable = n->place->group;
    config.FilterSubject = n->place->input;
    config.AckPolicy = js_AckExplicit;
    config.DeliverPolicy = n->place->from_new ? js_DeliverNew : js_DeliverAll;
    config.AckWait = (int64_t)(n->place->ack_wait_seconds * NANOSECONDS);
    config.MaxAckPending = -1; /* counts all members together; each bounds itself */
    config.MaxDeliver = -1;
    return done(n, lib.js_AddConsumer(NULL, n->js, n->stream, &config, NULL, NULL), "making the consumer", err);
}

/* One that is there keeps its place and gets this run's ack wait. */
static finch_status need_consumer(const nats *n, finch_error *err)
{
    jsConsumerInfo *info = NULL;
    int64_t wait = (int64_t)(n->place->ack_wait_seconds * NANOSECONDS);
    natsStatus status = lib.js_GetConsumerInfo(&info, n->js, n->stream, n->place->group, NULL, NULL);
    if (status == NATS_NOT_FOUND) return make_consumer(n, err);
    FINCH_TRY(done(n, status, "looking for the consumer", err));
    finch_status st = FINCH_OK;
    if (info->Config->AckPolicy != js_AckExplicit || info->Config->DeliverSubject != NULL)
        st = finch_fail(err, FINCH_E_USAGE,
                        "the consumer %s of %s is no pull consumer with explicit acknowledgement; choose another --group",
                        n->place->group, n->stream);
    else if (info->Config->AckWait != wait) {
        info->Config->AckWait = wait;
        st = done(n, lib.js_UpdateConsumer(NULL, n->js, n->stream, info->Config, NULL, NULL),
                  "changing the consumer's ack wait", err);
    }
    lib.jsConsumerInfo_Destroy(info);
    return st;
}

/* Messages that are asked for come to an inbox. cnats' own fetching writes past its list where more come than it asked for
 * last (3.4.1), as when an earlier request is answered late, so the requests are made here. */
static finch_status subscribe(nats *n, finch_error *err)
{
    natsStatus status = lib.natsInbox_Create(&n->inbox);
    if (status == NATS_OK) status = lib.natsConnection_SubscribeSync(&n->messages, n->link, n->inbox);
    return done(n, status, "opening an inbox", err);
}

/* ---- beginning and end ---- */

/* cnats may still be calling back when a connection is closed: what it means is looked for among those that are open. */
static pthread_mutex_t open_lock = PTHREAD_MUTEX_INITIALIZER; /* guards open_ones and their refusals */
static nats *open_ones;

static void list_open(nats *n)
{
    pthread_mutex_lock(&open_lock);
    n->next = open_ones;
    open_ones = n;
    pthread_mutex_unlock(&open_lock);
}

static void unlist_open(const nats *n)
{
    pthread_mutex_lock(&open_lock);
    nats **at = &open_ones;
    while (*at != NULL && *at != n) at = &(*at)->next;
    if (*at != NULL) *at = n->next;
    pthread_mutex_unlock(&open_lock);
}

static void on_refusal(jsCtx *js, jsPubAckErr *refusal, void *context)
{
    (void)js;
    pthread_mutex_lock(&open_lock);
    nats *n = open_ones;
    while (n != NULL && n != context) n = n->next;
    if (n != NULL && n->n_refused++ == 0)
        snprintf(n->refusal, sizeof n->refusal, "%s",
                 refusal->ErrText != NULL ? refusal->ErrText : lib.natsStatus_GetText(refusal->Err));
    pthread_mutex_unlock(&open_lock);
}

static natsStatus set_options(const nats *n, const stream_url *u, natsOptions *options)
{
    natsStatus status = lib.natsOptions_SetURL(options, n->place->place);
    if (status == NATS_OK && u->user != NULL)
        status = lib.natsOptions_SetUserInfo(options, u->user, u->password != NULL ? u->password : "");
    if (status == NATS_OK) status = lib.natsOptions_SetTimeout(options, ANSWER_MS / 2);
    if (status == NATS_OK)
        status = lib.natsOptions_SetAllowReconnect(options, false); /* the loop opens again, and counts it */
    return status == NATS_OK ? lib.natsOptions_SetName(options, n->place->consumer) : status;
}

static finch_status connect_to(nats *n, const stream_url *u, finch_error *err)
{
    natsOptions *options = NULL;
    jsOptions js;
    natsStatus status = lib.natsOptions_Create(&options);
    if (status == NATS_OK) status = set_options(n, u, options);
    if (status == NATS_OK) status = lib.natsConnection_Connect(&n->link, options);
    lib.natsOptions_Destroy(options);
    FINCH_TRY(done(n, status, "connecting", err));
    lib.jsOptions_Init(&js);
    js.Wait = ANSWER_MS;
    js.PublishAsync.ErrHandler = on_refusal;
    js.PublishAsync.ErrHandlerClosure = n;
    return done(n, lib.natsConnection_JetStream(&n->js, n->link, &js), "opening JetStream", err);
}

static finch_status prepare(nats *n, finch_error *err)
{
    char name[STREAM_NAME_BYTES];
    if (strpbrk(n->place->group, ".*>/\\") != NULL)
        return finch_fail(err, FINCH_E_USAGE, "--group %s: a NATS consumer's name has none of . * > / \\", n->place->group);
    if (strpbrk(n->place->input, "\"\\") != NULL || strpbrk(n->place->output, "*>\"\\") != NULL ||
        strpbrk(n->place->dead, "*>\"\\") != NULL)
        return finch_fail(err, FINCH_E_USAGE, "--output and --dead-letters must be subjects without wildcards and quotes");
    FINCH_TRY(need_stream(n, n->place->output, name, err));
    FINCH_TRY(need_stream(n, n->place->dead, name, err));
    FINCH_TRY(need_stream(n, n->place->input, n->stream, err));
    return need_consumer(n, err);
}

static void nats_close(void *connection, bool leave)
{
    nats *n = connection;
    (void)leave;
    if (n == NULL) return;
    unlist_open(n);
    lib.natsSubscription_Destroy(n->messages);
    lib.natsInbox_Destroy(n->inbox);
    lib.jsCtx_Destroy(n->js);
    lib.natsConnection_Destroy(n->link);
    mem_free(n);
}

static finch_status nats_open(const stream_place *place, const stream_url *url, void **connection, finch_error *err)
{
    nats *n;
    FINCH_TRY(MEM_NEW(&n, 1, err));
    *connection = n;
    n->place = place;
    list_open(n);
    FINCH_TRY(connect_to(n, url, err));
    return prepare(n, err);
}

/* ---- reading ---- */

/* What the subject that a message is acknowledged at says of it:
 * $JS.ACK.[domain.account.]stream.consumer.deliveries.sequence.consumer's.nanoseconds.pending[.token] (NATS ADR-15). */
typedef struct receipt {
    uint64_t n_deliveries, sequence;
    int64_t nanoseconds;
} receipt;

/* False: the message is none, but says that there is no other. */
static bool read_receipt(const char *subject, receipt *out)
{
    enum { PARTS_MAX = 12, PARTS_SHORT = 9, PARTS_LONG = 11 };
    const char *parts[PARTS_MAX];
    size_t n = 0;
    if (subject == NULL || strncmp(subject, "$JS.ACK.", 8) != 0) return false;
    for (const char *at = subject; at != NULL && n < PARTS_MAX; at = strchr(at, '.')) {
        if (n > 0) at++;
        parts[n++] = at;
    }
    if (n != PARTS_SHORT && n < PARTS_LONG) return false;
    const char *const *counts = parts + (n == PARTS_SHORT ? 4 : 6);
    *out = (receipt){strtoull(counts[0], NULL, 10), strtoull(counts[1], NULL, 10), (int64_t)strtoull(counts[3], NULL, 10)};
    return out->n_deliveries > 0 && out->sequence > 0;
}

static finch_status add_message(const nats *n, natsMsg *message, const receipt *about, stream_batch *batch, finch_error *err)
{
    stream_message *m;
    const char *reply = lib.natsMsg_GetReply(message);
    char *subject = NULL;
    FINCH_TRY(mem_text(reply, strlen(reply), &subject, err));
    finch_status st = stream_batch_add(batch, lib.natsMsg_GetData(message), (size_t)lib.natsMsg_GetDataLength(message), &m,
                                       err);
    if (st != FINCH_OK) {
        mem_free(subject);
        return st;
    }
    m->handle = subject;
    m->n_deliveries = about->n_deliveries;
    m->time_ms = about->nanoseconds / 1000000;
    snprintf(m->id, sizeof m->id, "%s/%" PRIu64, n->stream, about->sequence);
    return FINCH_OK;
}

/* The next message of the inbox. *more false: there is none yet, or the server said that it has none. */
static finch_status take_one(const nats *n, unsigned wait_ms, stream_batch *batch, bool *more, finch_error *err)
{
    natsMsg *message = NULL;
    receipt about;
    natsStatus status = lib.natsSubscription_NextMsg(&message, n->messages, wait_ms);
    *more = false;
    if (status == NATS_TIMEOUT) return FINCH_OK;
    FINCH_TRY(done(n, status, "reading", err));
    *more = read_receipt(lib.natsMsg_GetReply(message), &about);
    finch_status st = *more ? add_message(n, message, &about, batch, err) : FINCH_OK;
    lib.natsMsg_Destroy(message);
    return st;
}

/* A request that does not wait and expires late gets what is there at once, else the first message that comes. */
static finch_status ask_for_messages(const nats *n, size_t most, unsigned wait_ms, finch_error *err)
{
    char subject[2 * STREAM_NAME_BYTES + 64], request[128];
    snprintf(subject, sizeof subject, "$JS.API.CONSUMER.MSG.NEXT.%s.%s", n->stream, n->place->group);
    snprintf(request, sizeof request, "{\"batch\":%zu,\"expires\":%u000000,\"no_wait\":true}", most, wait_ms);
    return done(n, lib.natsConnection_PublishRequestString(n->link, subject, (const char *)n->inbox, request),
                "asking for messages", err);
}

/* What came late to an earlier request is taken first, so that never much more is under way than there is room for. */
static finch_status nats_read(void *connection, size_t most, unsigned wait_ms, stream_batch *batch, finch_error *err)
{
    nats *n = connection;
    size_t before = batch->n;
    unsigned wait = wait_ms > LOOK_MS ? wait_ms : LOOK_MS;
    bool more = true;
    if (n->messages == NULL) FINCH_TRY(subscribe(n, err));
    while (more && batch->n - before < most) FINCH_TRY(take_one(n, 1, batch, &more, err));
    if (batch->n > before) return FINCH_OK;
    FINCH_TRY(ask_for_messages(n, most, wait, err));
    FINCH_TRY(take_one(n, wait + LOOK_MS, batch, &more, err));
    while (more && batch->n - before < most) FINCH_TRY(take_one(n, LOOK_MS, batch, &more, err));
    return FINCH_OK;
}

/* ---- publishing ---- */

static size_t nats_output_max(const void *connection)
{
    const nats *n = connection;
    int64_t most = lib.natsConnection_GetMaxPayload(n->link);
    return most > HEADERS_BYTES ? (size_t)most - HEADERS_BYTES : 0;
}

/* A header's value has no line ends. */
static natsStatus set_reason(natsMsg *message, const char *reason)
{
    char line[REASON_BYTES];
    snprintf(line, sizeof line, "%s", reason);
    for (char *c = line; *c != '\0'; c++)
        if ((unsigned char)*c < ' ') *c = ' ';
    return lib.natsMsgHeader_Set(message, "Finch-Reason", line);
}

/* A dead letter that is too long with its headers is cut. */
static natsStatus make_message(const nats *n, const stream_message *m, const stream_output *o, natsMsg **out)
{
    char deliveries[NUMBER_BYTES];
    size_t size = size_least(o->data.size_bytes, nats_output_max(n));
    natsStatus status = lib.natsMsg_Create(out, o->reason != NULL ? n->place->dead : n->place->output, NULL, o->data.at,
                                           (int)size);
    if (status != NATS_OK || o->reason == NULL) return status;
    snprintf(deliveries, sizeof deliveries, "%" PRIu64, m->n_deliveries);
    status = set_reason(*out, o->reason);
    return status == NATS_OK ? lib.natsMsgHeader_Set(*out, "Finch-Deliveries", deliveries) : status;
}

static natsStatus publish_one(const nats *n, const stream_message *m, const stream_output *o)
{
    natsMsg *message = NULL;
    jsPubOptions options;
    lib.jsPubOptions_Init(&options);
    options.MsgId = o->id;
    options.MaxWait = ANSWER_MS;
    natsStatus status = make_message(n, m, o, &message);
    if (status == NATS_OK) status = lib.js_PublishMsgAsync(n->js, &message, &options);
    lib.natsMsg_Destroy(message); /* NULL where it was taken over */
    return status;
}

static finch_status nats_publish(void *connection, const stream_batch *batch, const stream_output *outputs, finch_error *err)
{
    nats *n = connection;
    jsPubOptions options;
    natsStatus status = NATS_OK;
    pthread_mutex_lock(&open_lock);
    n->n_refused = 0;
    pthread_mutex_unlock(&open_lock);
    for (size_t i = 0; status == NATS_OK && i < batch->n; i++) status = publish_one(n, &batch->messages[i], &outputs[i]);
    FINCH_TRY(done(n, status, "publishing", err));
    lib.jsPubOptions_Init(&options);
    options.MaxWait = ANSWER_MS;
    FINCH_TRY(done(n, lib.js_PublishAsyncComplete(n->js, &options), "waiting for what was published to be confirmed", err));
    pthread_mutex_lock(&open_lock);
    finch_status st = n->n_refused == 0 ? FINCH_OK
                                        : finch_fail(err, FINCH_E_REMOTE, "%s did not take %zu of %zu messages: %s",
                                                     n->place->place, n->n_refused, batch->n, n->refusal);
    pthread_mutex_unlock(&open_lock);
    return st;
}

static finch_status nats_acknowledge(void *connection, const stream_batch *batch, finch_error *err)
{
    nats *n = connection;
    natsStatus status = NATS_OK;
    for (size_t i = 0; status == NATS_OK && i < batch->n; i++)
        status = lib.natsConnection_PublishString(n->link, batch->messages[i].handle, "+ACK");
    if (status == NATS_OK) status = lib.natsConnection_FlushTimeout(n->link, ANSWER_MS);
    return done(n, status, "acknowledging", err);
}

static finch_status nats_lag(void *connection, stream_lag *out, finch_error *err)
{
    nats *n = connection;
    jsConsumerInfo *info = NULL;
    *out = (stream_lag){.waiting = -1};
    FINCH_TRY(done(n, lib.js_GetConsumerInfo(&info, n->js, n->stream, n->place->group, NULL, NULL), "the lag", err));
    *out = (stream_lag){(int64_t)info->NumPending, info->NumAckPending};
    lib.jsConsumerInfo_Destroy(info);
    return FINCH_OK;
}

static void nats_release(stream_batch *batch)
{
    for (size_t i = 0; i < batch->n; i++) mem_free(batch->messages[i].handle);
    batch->n = 0;
    str_clear(&batch->bytes);
}

const stream_broker stream_nats = {
    .scheme = "nats",
    .what = "NATS JetStream",
    .library = &library,
    .port = PORT,
    .open = nats_open,
    .read = nats_read,
    .output_max = nats_output_max,
    .publish = nats_publish,
    .acknowledge = nats_acknowledge,
    .lag = nats_lag,
    .release = nats_release,
    .close = nats_close,
};
