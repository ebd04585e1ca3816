/* HTTP through libmicrohttpd: connections and their deadlines, bodies and their limits, answers and their headers.
 *
 * Invariants
 *  1. A request is answered once; what it holds is freed when MHD says that it is over, however it ended.
 *  2. A connection is suspended before its request is handed to another thread, and resumed by request_done alone.
 *  3. A client that sends slower than the limits say is cut by the watch, whatever it sends (a timeout of silence alone would let
 *     one byte a minute hold a connection forever).
 *  4. A body is never kept beyond max_body_bytes. One that is refused is read and dropped up to HTTP_DROP_BYTES, so that its
 *     sender gets to read the answer, then the connection ends.
 * What libmicrohttpd itself refuses (no HTTP, headers past the limit) gets its own short answers. */
#ifndef FINCH_SERVE_HTTP_H
#define FINCH_SERVE_HTTP_H

#include "serve/server.h"

enum { HTTP_DROP_BYTES = 64 << 20 };

typedef struct http http;

finch_status http_create(serve *s, http **out, finch_error *err);
finch_status http_start(http *h, finch_error *err);
uint16_t http_port(const http *h);
/* No new connections; those that are open are asked to close with their next answer. */
void http_quiesce(http *h);
/* Ends all connections. No request may be waiting. NULL is legal. */
void http_destroy(http *h);

#endif
