/* The figures over HTTP, for Prometheus and for a probe. */
#include "stream/figures.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <string.h>

enum { CONNECTIONS_MAX = 16, SECONDS_MAX = 10 };

struct stream_page {
    const stream_figures *figures;
    struct MHD_Daemon *daemon;
};

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned status, const char *type, const str *text)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(text->size, text->size > 0 ? text->at : (void *)"",
                                                                    MHD_RESPMEM_MUST_COPY);
    if (response == NULL) return MHD_NO;
    MHD_add_response_header(response, "Content-Type", type);
    enum MHD_Result queued = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return queued;
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url, const char *method,
                                  const char *version, const char *upload, size_t *upload_size, void **request)
{
    const stream_page *p = context;
    str text = {0};
    enum MHD_Result result;
    (void)version;
    (void)upload;
    (void)request;
    *upload_size = 0;
    if (strcmp(method, "GET") != 0) result = answer(connection, 405, "text/plain", &text);
    else if (strcmp(url, "/metrics") == 0 && stream_figures_write(p->figures, &text, NULL) == FINCH_OK)
        result = answer(connection, 200, "text/plain; version=0.0.4", &text);
    else if (strcmp(url, "/health") == 0)
        result = answer(connection, atomic_load_explicit(&p->figures->connected, memory_order_relaxed) ? 200 : 503,
                        "text/plain", &text);
    else result = answer(connection, 404, "text/plain", &text);
    str_free(&text);
    return result;
}

finch_status stream_page_open(const stream_figures *f, const char *host, unsigned port, stream_page **out, finch_error *err)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    stream_page *p;
    *out = NULL;
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1)
        return finch_fail(err, FINCH_E_USAGE, "%.100s is no IPv4 address to listen on; write it like 127.0.0.1", host);
    FINCH_TRY(MEM_NEW(&p, 1, err));
    p->figures = f;
    p->daemon = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD, 0, NULL, NULL, on_request, p, MHD_OPTION_SOCK_ADDR,
                                 (struct sockaddr *)&address, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
                                 MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)SECONDS_MAX, MHD_OPTION_END);
    if (p->daemon == NULL) {
        mem_free(p);
        return finch_fail(err, FINCH_E_IO, "%.100s:%u can not be listened on; is another program using it?", host, port);
    }
    *out = p;
    return FINCH_OK;
}

unsigned stream_page_port(const stream_page *p)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(p->daemon, MHD_DAEMON_INFO_BIND_PORT);
    return info != NULL ? info->port : 0;
}

void stream_page_close(stream_page *p)
{
    if (p == NULL) return;
    MHD_stop_daemon(p->daemon);
    mem_free(p);
}
