#include "stream/broker.h"

#include "stream/library.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

finch_status stream_batch_add(stream_batch *batch, const char *data, size_t size, stream_message **out, finch_error *err)
{
    stream_message *m = &batch->messages[batch->n];
    *out = NULL;
    if (batch->n == batch->capacity)
        return finch_fail(err, FINCH_E_FAILED, "the broker gave more messages than were asked for");
    *m = (stream_message){.begin = batch->bytes.size, .size = size, .n_deliveries = 1};
    FINCH_TRY(str_add(&batch->bytes, data, size, err));
    batch->n++;
    *out = m;
    return FINCH_OK;
}

/* ---- which broker ---- */

/* Schemes and what their library is called, for those that were left out at build. */
static const struct {
    const char *scheme, *library;
} known[] = {{"redis", "libhiredis-dev"}, {"nats", "libnats-dev"}, {"kafka", "librdkafka-dev"}};

static bool has_scheme(const char *url, const char *scheme)
{
    size_t n = strlen(scheme);
    return strncasecmp(url, scheme, n) == 0 && strncmp(url + n, "://", 3) == 0;
}

finch_status stream_broker_find(const char *url, const stream_broker **out, finch_error *err)
{
    for (size_t i = 0; stream_brokers[i] != NULL; i++)
        if (has_scheme(url, stream_brokers[i]->scheme)) {
            *out = stream_brokers[i];
            return FINCH_OK;
        }
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (has_scheme(url, known[i].scheme))
            return finch_fail(err, FINCH_E_UNSUPPORTED,
                              "this finch was built without %s://; install %s and build it again (make build)",
                              known[i].scheme, known[i].library);
    return finch_fail(err, FINCH_E_USAGE,
                      "the broker's URL is none that finch knows; write it like redis://127.0.0.1:6379, "
                      "nats://127.0.0.1:4222 or kafka://127.0.0.1:9092");
}

finch_status stream_broker_open(const stream_broker *broker, const stream_place *place, void **connection, finch_error *err)
{
    stream_url url;
    *connection = NULL;
    if (broker->library != NULL) FINCH_TRY(stream_library_need(broker->library, err));
    FINCH_TRY(stream_url_read(place->url, broker->port, &url, err));
    finch_status st = broker->open(place, &url, connection, err);
    if (st != FINCH_OK) {
        broker->close(*connection, false);
        *connection = NULL;
    }
    stream_url_free(&url);
    return st;
}

/* ---- a URL's parts ---- */

static finch_status take_part(CURLU *parts, CURLUPart which, char **out, finch_error *err)
{
    char *text = NULL;
    if (curl_url_get(parts, which, &text, which == CURLUPART_PATH ? 0 : CURLU_URLDECODE) != CURLUE_OK) return FINCH_OK;
    finch_status st = mem_text(text, strlen(text), out, err);
    curl_free(text);
    return st;
}

static finch_status take_parts(CURLU *parts, const char *url, int preset_port, stream_url *out, finch_error *err)
{
    char *port = NULL;
    if (curl_url_set(parts, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK)
        return finch_fail(err, FINCH_E_USAGE,
                          "the broker's URL is malformed; write it as scheme://[user:password@]host[:port]");
    FINCH_TRY(take_part(parts, CURLUPART_HOST, &out->host, err));
    FINCH_TRY(take_part(parts, CURLUPART_USER, &out->user, err));
    FINCH_TRY(take_part(parts, CURLUPART_PASSWORD, &out->password, err));
    FINCH_TRY(take_part(parts, CURLUPART_PATH, &out->path, err));
    out->port = preset_port;
    if (curl_url_get(parts, CURLUPART_PORT, &port, 0) == CURLUE_OK) {
        out->port = (int)strtol(port, NULL, 10);
        curl_free(port);
    }
    if (out->host == NULL || out->host[0] == '\0')
        return finch_fail(err, FINCH_E_USAGE, "the broker's URL names no host; write it as scheme://host:port");
    return str_add_format(&out->place, err, "%.*s://%s:%d", (int)strcspn(url, ":"), url, out->host, out->port);
}

finch_status stream_url_read(const char *url, int preset_port, stream_url *out, finch_error *err)
{
    CURLU *parts = curl_url();
    *out = (stream_url){0};
    if (parts == NULL) return finch_fail(err, FINCH_E_MEMORY, "out of memory for a URL");
    finch_status st = take_parts(parts, url, preset_port, out, err);
    curl_url_cleanup(parts);
    if (st != FINCH_OK) stream_url_free(out);
    return st;
}

void stream_url_free(stream_url *u)
{
    mem_free(u->host);
    mem_free(u->user);
    mem_free(u->password);
    mem_free(u->path);
    str_free(&u->place);
    *u = (stream_url){0};
}
