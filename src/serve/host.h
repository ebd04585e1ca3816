/* Which names a request may call the server by (its Host header). A page of a stranger can have its own name resolved to 127.0.0.1
 * and is then of the server's origin to the browser (DNS rebinding): only the Host it sends gives it away. */
#ifndef FINCH_SERVE_HOST_H
#define FINCH_SERVE_HOST_H

#include <stdbool.h>
#include <stddef.h>

/* A loopback address, or "localhost". */
bool host_is_loopback(const char *host);

/* field: the header, with or without a port; NULL: none came (HTTP/1.0, no browser), which is good.
 * listening: the address that is listened on. allowed [n]: further names without a port; "*": any.
 * Without a list any name is good where others reach the server anyhow, and only loopback's where they do not. */
bool host_allowed(const char *field, const char *listening, const char *const *allowed, size_t n);

#endif
