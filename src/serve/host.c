#include "serve/host.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>

enum { HOST_BYTES = 256 };

bool host_is_loopback(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (strcasecmp(host, "localhost") == 0) return true;
    if (inet_pton(AF_INET, host, &v4) == 1) return ntohl(v4.s_addr) >> 24 == IN_LOOPBACKNET;
    return inet_pton(AF_INET6, host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

/* "[::1]:8000" -> "::1", "localhost:8000" -> "localhost"; the dot at a name's end is no part of it. */
static bool name_of(const char *field, char out[HOST_BYTES])
{
    bool v6 = field[0] == '[';
    size_t n = v6 ? strcspn(++field, "]") : strcspn(field, ":");
    if (n == 0 || n >= HOST_BYTES || (v6 && field[n] != ']')) return false;
    const char *rest = field + n + (v6 ? 1 : 0);
    if (rest[0] != '\0' && (rest[0] != ':' || strspn(rest + 1, "0123456789") != strlen(rest + 1))) return false;
    memcpy(out, field, n);
    out[n] = '\0';
    if (!v6 && n > 1 && out[n - 1] == '.') out[n - 1] = '\0';
    return true;
}

bool host_allowed(const char *field, const char *listening, const char *const *allowed, size_t n)
{
    char name[HOST_BYTES];
    bool here = host_is_loopback(listening);
    if (field == NULL || (n == 0 && !here)) return true;
    if (n == 1 && strcmp(allowed[0], "*") == 0) return true;
    if (!name_of(field, name)) return false;
    for (size_t i = 0; i < n; i++)
        if (strcasecmp(allowed[i], name) == 0) return true;
    return (here && host_is_loopback(name)) || strcasecmp(name, listening) == 0;
}
