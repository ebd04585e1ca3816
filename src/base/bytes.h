/* Bytes from outside: a sized view and a reader that can not run past it. Little-endian, as every format here is. */
#ifndef FINCH_BASE_BYTES_H
#define FINCH_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct bytes {
    const unsigned char *at;
    size_t size;
} bytes;

/* The part [begin, end) of whole; false, and *out untouched, where it is not inside. */
bool bytes_range(bytes whole, uint64_t begin, uint64_t end, bytes *out);

/* Takes from the front of *rest; false, and *rest untouched, where too little is left. */
bool bytes_take(bytes *rest, uint64_t size, bytes *out);
bool bytes_take_u8(bytes *rest, uint8_t *out);
bool bytes_take_u16(bytes *rest, uint16_t *out);
bool bytes_take_u32(bytes *rest, uint32_t *out);
bool bytes_take_u64(bytes *rest, uint64_t *out);

bool bytes_equal(bytes a, const char *text);
/* Below, equal to or above 0, as memcmp; a proper prefix comes first. */
int bytes_compare(bytes a, bytes b);

#endif
