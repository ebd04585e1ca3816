/* Apache Kafka (https://kafka.apache.org/protocol) through librdkafka 2.0 and later: a consumer of a group and an idempotent
 * producer. The consumer is in kafka_member.c.
 *
 * An output's key is its id, so that one which is written twice lies in one partition twice, where a reader or a compacted topic
 * tells it. The producer is idempotent: what it sends again by itself is there once. A dead letter has the bytes as they came and
 * the headers finch-reason and finch-deliveries.
 *
 * Settings are those of librdkafka, from a file of lines name=value; a few are finch's own, because what is promised rests on
 * them. */
#include "stream/kafka.h"

#include "base/clock.h"
#include "base/file.h"
#include "stream/library.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PORT = 9092,
    PROBE_MS = 500,
    REACH_SECONDS = 10,
    SETTINGS_BYTES_MAX = 1 << 20,
    HEADERS_BYTES = 2048,
    VALUE_BYTES = 64
};

struct kafka_functions rdk;
#define KAFKA_SYMBOL(name) {"rd_kafka_" #name, &rdk.name},
static const stream_symbol symbols[] = {KAFKA_FUNCTION_LIST(KAFKA_SYMBOL)};
#undef KAFKA_SYMBOL
static stream_library library = STREAM_LIBRARY(FINCH_KAFKA, symbols);

typedef struct kafka {
    kafka_trouble trouble; /* of the producer; first: it is its opaque */
    const stream_place *place;
    kafka_member *member;
    rd_kafka_conf_t *settings;
    rd_kafka_t *producer; /* made by the first publish */
    size_t output_max;
    uintptr_t round; /* of publishing; reports of an earlier one count for nothing */
    size_t n_confirmed;
    rd_kafka_resp_err_t refusal; /* the first of the round */
} kafka;

/* ---- errors ---- */

/* Trying again mends none of these. */
static bool lasting(rd_kafka_resp_err_t error)
{
    switch (error) {
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR__FATAL:
    case RD_KAFKA_RESP_ERR__FENCED:
    case RD_KAFKA_RESP_ERR__INVALID_ARG:
    case RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID:
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL:
    case RD_KAFKA_RESP_ERR_INVALID_GROUP_ID:
    case RD_KAFKA_RESP_ERR_INVALID_RECORD:
    case RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT:
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM: return true;
    default: return false;
    }
}

/* What to do about those that people meet. */
static const char *remedy(rd_kafka_resp_err_t error)
{
    switch (error) {
    case RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT:
        return "; --ack-wait-s is the session timeout, and the broker takes none below its group.min.session.timeout.ms";
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE: return "; raise the topic's max.message.bytes or lower message.max.bytes";
    case RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL:
        return "; other members of the group have another partition.assignment.strategy";
    default: return "";
    }
}

finch_status kafka_failed(const stream_place *place, rd_kafka_resp_err_t error, const char *doing, finch_error *err)
{
    return finch_fail(err, lasting(error) ? FINCH_E_FAILED : FINCH_E_REMOTE, "%s: %s failed: %s%s", place->place, doing,
                      rdk.err2str(error), remedy(error));
}

finch_status kafka_trouble_take(kafka_trouble *t, const stream_place *place, finch_error *err)
{
    rd_kafka_resp_err_t error = t->error;
    t->error = RD_KAFKA_RESP_ERR_NO_ERROR;
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) return FINCH_OK;
    if (error == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN)
        return finch_fail(err, FINCH_E_REMOTE, "%s can not be reached (%s)", place->place, t->reason);
    return finch_fail(err, FINCH_E_FAILED, "%s: %s", place->place, t->reason);
}

/* Single brokers come and go, and the library calls them again by itself. */
static void on_error(rd_kafka_t *handle, int code, const char *reason, void *opaque)
{
    kafka_trouble *t = opaque;
    rd_kafka_resp_err_t error = (rd_kafka_resp_err_t)code;
    bool all_down = error == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN;
    if (!all_down || t->reason[0] == '\0')
        snprintf(t->reason, sizeof t->reason, "%s", reason); /* "1/1 brokers are down" tells less */
    if (error == RD_KAFKA_RESP_ERR__FATAL) rdk.fatal_error(handle, t->reason, sizeof t->reason);
    if (all_down || lasting(error)) t->error = error;
}

/* The library would write to the standard error. */
static void on_log(const rd_kafka_t *handle, int level, const char *facility, const char *text)
{
    (void)handle;
    (void)level;
    (void)facility;
    (void)text;
}

/* ---- settings ---- */

/* value: never shown, it may be a secret. */
static finch_status set(rd_kafka_conf_t *settings, const char *name, const char *value, finch_error *err)
{
    char why[KAFKA_REASON_BYTES];
    rd_kafka_conf_res_t result = rdk.conf_set(settings, name, value, why, sizeof why);
    if (result == RD_KAFKA_CONF_OK) return FINCH_OK;
    if (result == RD_KAFKA_CONF_UNKNOWN) return finch_fail(err, FINCH_E_USAGE, "%s has no setting %s", FINCH_KAFKA, name);
    return finch_fail(err, FINCH_E_USAGE, "the value of the setting %s is none that %s takes", name, FINCH_KAFKA);
}

static finch_status set_number(rd_kafka_conf_t *settings, const char *name, double value, finch_error *err)
{
    char text[VALUE_BYTES];
    snprintf(text, sizeof text, "%.0f", value);
    return set(settings, name, text, err);
}

static bool is_ours(const char *name)
{
    static const char *const ours[] = {"auto.offset.reset",  "enable.auto.commit",    "enable.auto.offset.store",
                                       "enable.idempotence", "enable.partition.eof",  "group.id",
                                       "group.instance.id",  "heartbeat.interval.ms", "max.poll.interval.ms",
                                       "session.timeout.ms", "test.mock.num.brokers", "transactional.id"};
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
        if (strcmp(name, ours[i]) == 0) return true;
    return false;
}

static char *trimmed(char *text)
{
    char *end = text + strlen(text);
    while (end > text && strchr(" \t\r", end[-1]) != NULL) *--end = '\0';
    return text + strspn(text, " \t");
}

static finch_status read_setting(rd_kafka_conf_t *settings, char *line, finch_error *err)
{
    char *name = trimmed(line), *equals = strchr(name, '=');
    if (name[0] == '\0' || name[0] == '#') return FINCH_OK;
    if (equals == NULL) return finch_fail(err, FINCH_E_USAGE, "no setting; each line is name=value");
    *equals = '\0';
    name = trimmed(name);
    if (is_ours(name)) return finch_fail(err, FINCH_E_USAGE, "%s is set by finch stream itself", name);
    return set(settings, name, trimmed(equals + 1), err);
}

static finch_status read_settings(rd_kafka_conf_t *settings, const char *path, finch_error *err)
{
    char *text = NULL;
    size_t size, row = 1;
    FINCH_TRY(file_read(path, SETTINGS_BYTES_MAX, &text, &size, err));
    finch_status st = strlen(text) == size ? FINCH_OK : finch_fail(err, FINCH_E_DATA, "%s holds a NUL byte", path);
    for (char *line = text, *next; st == FINCH_OK && line != NULL; line = next, row++) {
        next = strchr(line, '\n');
        if (next != NULL) *next++ = '\0';
        st = read_setting(settings, line, err);
        if (st != FINCH_OK) finch_fail_prefix(err, "%s:%zu", path, row);
    }
    mem_free(text);
    return st;
}

static finch_status set_address(rd_kafka_conf_t *settings, const stream_url *u, finch_error *err)
{
    str servers = {0};
    finch_status st = str_add_format(&servers, err, "%s:%d", u->host, u->port);
    if (st == FINCH_OK) st = set(settings, "bootstrap.servers", servers.at, err);
    str_free(&servers);
    if (st != FINCH_OK || u->user == NULL) return st;
    FINCH_TRY(set(settings, "security.protocol", "sasl_plaintext", err));
    FINCH_TRY(set(settings, "sasl.mechanisms", "PLAIN", err));
    FINCH_TRY(set(settings, "sasl.username", u->user, err));
    return set(settings, "sasl.password", u->password != NULL ? u->password : "", err);
}

/* The URL's first, then the file's, which may name more servers or another mechanism; then those that are finch's. */
static finch_status fill_settings(rd_kafka_conf_t *settings, const stream_place *place, const stream_url *u,
                                  finch_error *err)
{
    FINCH_TRY(set(settings, "client.id", place->consumer, err));
    FINCH_TRY(set_address(settings, u, err));
    FINCH_TRY(set(settings, "partition.assignment.strategy", "cooperative-sticky", err));
    FINCH_TRY(set(settings, "queued.max.messages.kbytes", "16384", err));
    FINCH_TRY(set_number(settings, "queued.min.messages", (double)place->in_flight_max, err));
    FINCH_TRY(set(settings, "fetch.wait.max.ms", "100", err));
    FINCH_TRY(set_number(settings, "socket.timeout.ms", KAFKA_ANSWER_MS, err));
    FINCH_TRY(set_number(settings, "message.timeout.ms", KAFKA_ANSWER_MS, err));
    FINCH_TRY(set(settings, "reconnect.backoff.max.ms", "1000", err));
    if (place->config != NULL) FINCH_TRY(read_settings(settings, place->config, err));
    FINCH_TRY(set(settings, "group.id", place->group, err));
    FINCH_TRY(set(settings, "enable.auto.commit", "false", err));
    FINCH_TRY(set(settings, "auto.offset.reset", "earliest", err));
    FINCH_TRY(set_number(settings, "session.timeout.ms", place->ack_wait_seconds * 1000, err));
    FINCH_TRY(set_number(settings, "max.poll.interval.ms",
                         place->ack_wait_seconds > 300 ? place->ack_wait_seconds * 1000 : 300000, err));
    FINCH_TRY(set_number(settings, "heartbeat.interval.ms",
                         place->ack_wait_seconds > 9 ? 3000 : place->ack_wait_seconds * 1000 / 3, err));
    rdk.conf_set_error_cb(settings, on_error);
    rdk.conf_set_log_cb(settings, on_log);
    return set(settings, "enable.idempotence", "true", err);
}

static finch_status find_output_max(kafka *k, finch_error *err)
{
    char text[VALUE_BYTES];
    size_t size = sizeof text;
    if (rdk.conf_get(k->settings, "message.max.bytes", text, &size) != RD_KAFKA_CONF_OK)
        return finch_fail(err, FINCH_E_UNSUPPORTED, "%s has no setting message.max.bytes", FINCH_KAFKA);
    size_t most = (size_t)strtoull(text, NULL, 10);
    k->output_max = most > HEADERS_BYTES ? most - HEADERS_BYTES : 0;
    return FINCH_OK;
}

/* ---- beginning and end ---- */

/* A topic that is asked for by its name is made by a broker whose settings allow that; one of a list of all is not. */
static rd_kafka_resp_err_t find_topic(rd_kafka_t *handle, const char *name)
{
    const struct rd_kafka_metadata *found = NULL;
    rd_kafka_resp_err_t error = rdk.metadata(handle, 1, NULL, &found, PROBE_MS);
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) return error;
    error = RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    for (int i = 0; i < found->topic_cnt; i++)
        if (strcmp(found->topics[i].topic, name) == 0) error = found->topics[i].err;
    rdk.metadata_destroy(found);
    return error;
}

static rd_kafka_resp_err_t make_topic(rd_kafka_t *handle, const char *name)
{
    const struct rd_kafka_metadata *found = NULL;
    rd_kafka_topic_t *topic = rdk.topic_new(handle, name, NULL);
    if (topic == NULL) return RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION;
    rd_kafka_resp_err_t error = rdk.metadata(handle, 0, topic, &found, PROBE_MS);
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) {
        error = found->topic_cnt == 1 ? found->topics[0].err : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
        rdk.metadata_destroy(found);
    }
    rdk.topic_destroy(topic);
    return error;
}

static bool is_away(rd_kafka_resp_err_t error)
{
    return error == RD_KAFKA_RESP_ERR__TRANSPORT || error == RD_KAFKA_RESP_ERR__TIMED_OUT ||
           error == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE;
}

static finch_status need_topic(kafka *k, rd_kafka_t *handle, const char *name, finch_error *err)
{
    double until = clock_seconds() + REACH_SECONDS;
    rd_kafka_resp_err_t (*ask)(rd_kafka_t *, const char *) = k->place->create ? make_topic : find_topic;
    rd_kafka_resp_err_t error = ask(handle, name);
    while (is_away(error) && clock_seconds() < until) {
        rdk.poll(handle, 0);
        FINCH_TRY(kafka_trouble_take(&k->trouble, k->place, err));
        error = ask(handle, name);
    }
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) return FINCH_OK;
    if (is_away(error))
        return finch_fail(err, FINCH_E_REMOTE, "%s can not be reached (%s)", k->place->place, rdk.err2str(error));
    if (error != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) return kafka_failed(k->place, error, "looking for a topic", err);
    return finch_fail(err, FINCH_E_NOT_FOUND,
                      "%s has no topic %s; make one (kafka-topics.sh --create --topic %s), or say --create where the "
                      "broker's auto.create.topics.enable is on",
                      k->place->place, name, name);
}

/* A handle of its own asks: its polling disturbs nobody's, and only a producer asks for topics to be made. */
static finch_status reach(kafka *k, finch_error *err)
{
    char why[KAFKA_REASON_BYTES];
    rd_kafka_conf_t *settings = rdk.conf_dup(k->settings);
    rdk.conf_set_opaque(settings, &k->trouble);
    rd_kafka_t *handle = rdk.new(k->place->create ? RD_KAFKA_PRODUCER : RD_KAFKA_CONSUMER, settings, why, sizeof why);
    if (handle == NULL) {
        rdk.conf_destroy(settings);
        return finch_fail(err, FINCH_E_USAGE, "the Kafka client can not be made of these settings: %s", why);
    }
    finch_status st = need_topic(k, handle, k->place->input, err);
    if (st == FINCH_OK) st = need_topic(k, handle, k->place->output, err);
    if (st == FINCH_OK) st = need_topic(k, handle, k->place->dead, err);
    rdk.destroy_flags(handle, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    return st;
}

static finch_status connect_to(kafka *k, const stream_url *u, finch_error *err)
{
    k->settings = rdk.conf_new();
    FINCH_TRY(fill_settings(k->settings, k->place, u, err));
    FINCH_TRY(find_output_max(k, err));
    FINCH_TRY(reach(k, err));
    return kafka_member_join(k->place, k->settings, &k->member, err);
}

/* What a producer still holds was not confirmed, and comes again. */
static void close_producer(kafka *k)
{
    if (k->producer == NULL) return;
    rdk.purge(k->producer, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    rdk.destroy(k->producer);
    k->producer = NULL;
}

static void kafka_close(void *connection, bool leave)
{
    kafka *k = connection;
    if (k == NULL) return;
    close_producer(k);
    kafka_member_leave(k->member, leave);
    if (k->settings != NULL) rdk.conf_destroy(k->settings);
    mem_free(k);
}

static finch_status kafka_open(const stream_place *place, const stream_url *url, void **connection, finch_error *err)
{
    kafka *k;
    FINCH_TRY(MEM_NEW(&k, 1, err));
    *connection = k;
    k->place = place;
    return connect_to(k, url, err);
}

/* ---- publishing ---- */

static size_t kafka_output_max(const void *connection)
{
    const kafka *k = connection;
    return k->output_max;
}

static void on_delivery(rd_kafka_t *handle, const rd_kafka_message_t *message, void *opaque)
{
    kafka *k = opaque;
    (void)handle;
    if ((uintptr_t)message->_private != k->round) return;
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) k->n_confirmed++;
    else if (k->refusal == RD_KAFKA_RESP_ERR_NO_ERROR) k->refusal = message->err;
}

static finch_status need_producer(kafka *k, finch_error *err)
{
    char why[KAFKA_REASON_BYTES];
    if (k->producer != NULL) return FINCH_OK;
    rd_kafka_conf_t *settings = rdk.conf_dup(k->settings);
    rdk.conf_set_opaque(settings, k);
    rdk.conf_set_dr_msg_cb(settings, on_delivery);
    k->producer = rdk.new(RD_KAFKA_PRODUCER, settings, why, sizeof why);
    if (k->producer != NULL) return FINCH_OK;
    rdk.conf_destroy(settings);
    return finch_fail(err, FINCH_E_USAGE, "the Kafka producer can not be made of these settings: %s", why);
}

static rd_kafka_vu_t text_header(const char *name, const char *value)
{
    return (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_HEADER, .u.header = {name, value, (ssize_t)strlen(value)}};
}

/* The bytes are copied. A dead letter that is too long with its headers is cut. */
static rd_kafka_resp_err_t publish_one(const kafka *k, const stream_message *m, const stream_output *o)
{
    char deliveries[VALUE_BYTES];
    bool dead = o->reason != NULL;
    size_t size = size_least(o->data.size_bytes, k->output_max);
    snprintf(deliveries, sizeof deliveries, "%" PRIu64, m->n_deliveries);
    const rd_kafka_vu_t parts[] = {
        {.vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = dead ? k->place->dead : k->place->output},
        {.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {(void *)(uintptr_t)o->id, strlen(o->id)}},
        {.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {(void *)(uintptr_t)o->data.at, size}},
        {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
        {.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = (void *)k->round},
        text_header("finch-reason", dead ? o->reason : ""),
        text_header("finch-deliveries", deliveries),
    };
    rd_kafka_error_t *error = rdk.produceva(k->producer, parts, sizeof parts / sizeof parts[0] - (dead ? 0 : 2));
    rd_kafka_resp_err_t code = error != NULL ? rdk.error_code(error) : RD_KAFKA_RESP_ERR_NO_ERROR;
    rdk.error_destroy(error);
    return code;
}

static rd_kafka_resp_err_t publish_all(kafka *k, const stream_batch *batch, const stream_output *outputs)
{
    k->round++;
    k->n_confirmed = 0;
    k->refusal = RD_KAFKA_RESP_ERR_NO_ERROR;
    for (size_t i = 0; i < batch->n; i++) {
        rd_kafka_resp_err_t error = publish_one(k, &batch->messages[i], &outputs[i]);
        if (error != RD_KAFKA_RESP_ERR_NO_ERROR) return error;
    }
    rd_kafka_resp_err_t error = rdk.flush(k->producer, KAFKA_ANSWER_MS + PROBE_MS);
    return k->refusal != RD_KAFKA_RESP_ERR_NO_ERROR ? k->refusal : error;
}

static finch_status kafka_publish(void *connection, const stream_batch *batch, const stream_output *outputs,
                                  finch_error *err)
{
    kafka *k = connection;
    FINCH_TRY(need_producer(k, err));
    rd_kafka_resp_err_t error = publish_all(k, batch, outputs);
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR && k->n_confirmed == batch->n) {
        k->trouble.error = RD_KAFKA_RESP_ERR_NO_ERROR; /* brokers that came back in time */
        return FINCH_OK;
    }
    close_producer(k);
    FINCH_TRY(kafka_trouble_take(&k->trouble, k->place, err));
    return kafka_failed(k->place, error != RD_KAFKA_RESP_ERR_NO_ERROR ? error : RD_KAFKA_RESP_ERR__TIMED_OUT, "publishing",
                        err);
}

/* ---- the group's part ---- */

static finch_status kafka_read(void *connection, size_t most, unsigned wait_ms, stream_batch *batch, finch_error *err)
{
    kafka *k = connection;
    return kafka_member_read(k->member, most, wait_ms, batch, err);
}

static finch_status kafka_acknowledge(void *connection, const stream_batch *batch, finch_error *err)
{
    kafka *k = connection;
    return kafka_member_acknowledge(k->member, batch, err);
}

static finch_status kafka_lag(void *connection, stream_lag *out, finch_error *err)
{
    kafka *k = connection;
    return kafka_member_lag(k->member, out, err);
}

const stream_broker stream_kafka = {
    .scheme = "kafka",
    .what = "Kafka",
    .library = &library,
    .port = PORT,
    .takes_config = true,
    .open = kafka_open,
    .read = kafka_read,
    .output_max = kafka_output_max,
    .publish = kafka_publish,
    .acknowledge = kafka_acknowledge,
    .lag = kafka_lag,
    .release = kafka_member_release,
    .close = kafka_close,
};
