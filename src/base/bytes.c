#include "base/bytes.h"

#include <string.h>

bool bytes_range(bytes whole, uint64_t begin, uint64_t end, bytes *out)
{
    if (begin > end || end > whole.size) return false; /* order first: end - begin must not wrap */
    if (whole.at == NULL) *out = (bytes){NULL, 0}; /* an empty file; NULL + 0 is undefined in C */
    else *out = (bytes){whole.at + begin, (size_t)(end - begin)};
    return true;
}

bool bytes_take(bytes *rest, uint64_t size, bytes *out)
{
    bytes whole = *rest;
    if (!bytes_range(whole, 0, size, out)) return false;
    return bytes_range(whole, size, whole.size, rest);
}

static bool take_integer(bytes *rest, size_t n_bytes, uint64_t *out)
{
    bytes taken;
    if (!bytes_take(rest, n_bytes, &taken)) return false;
    uint64_t value = 0;
    for (size_t i = 0; i < taken.size; i++) value |= (uint64_t)taken.at[i] << (8 * i);
    *out = value;
    return true;
}

bool bytes_take_u8(bytes *rest, uint8_t *out)
{
    uint64_t value;
    if (!take_integer(rest, 1, &value)) return false;
    *out = (uint8_t)value;
    return true;
}

bool bytes_take_u16(bytes *rest, uint16_t *out)
{
    uint64_t value;
    if (!take_integer(rest, 2, &value)) return false;
    *out = (uint16_t)value;
    return true;
}

bool bytes_take_u32(bytes *rest, uint32_t *out)
{
    uint64_t value;
    if (!take_integer(rest, 4, &value)) return false;
    *out = (uint32_t)value;
    return true;
}

bool bytes_take_u64(bytes *rest, uint64_t *out) { return take_integer(rest, 8, out); }

bool bytes_equal(bytes a, const char *text)
{
    size_t size = strlen(text);
    return a.size == size && (size == 0 || memcmp(a.at, text, size) == 0);
}

int bytes_compare(bytes a, bytes b)
{
    size_t both = a.size < b.size ? a.size : b.size;
    int order = both == 0 ? 0 : memcmp(a.at, b.at, both);
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}
