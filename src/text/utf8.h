/* UTF-8, one code point at a time. Decoding follows Python's bytes.decode("utf-8", "replace") (Unicode 15, section 3.9,
 * "substitution of maximal subparts"): what is ill-formed reads as U+FFFD and takes 1 to 3 bytes. */
#ifndef FINCH_TEXT_UTF8_H
#define FINCH_TEXT_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { UTF8_REPLACEMENT = 0xFFFD, UTF8_MAX_BYTES = 4 };

/* The code point at at[0], at < end; *size is how many bytes it takes. */
typedef struct utf8_char {
    uint32_t code;
    uint32_t size;
    bool valid;
} utf8_char;

utf8_char utf8_decode(const unsigned char *at, const unsigned char *end);

/* Writes code (a scalar value) to out, which has room for UTF8_MAX_BYTES; returns its bytes. */
size_t utf8_encode(uint32_t code, unsigned char *out);

/* The first ill-formed byte's place, or size where there is none. */
size_t utf8_valid_size(const unsigned char *at, size_t size);

/* Code points in valid UTF-8. */
size_t utf8_count(const unsigned char *at, size_t size);

/* One code point of valid UTF-8, for loops that have no time for checks. */
static inline utf8_char utf8_next(const unsigned char *at)
{
    if (at[0] < 0x80) return (utf8_char){at[0], 1, true};
    if (at[0] < 0xE0) return (utf8_char){(at[0] & 0x1Fu) << 6 | (at[1] & 0x3Fu), 2, true};
    if (at[0] < 0xF0) return (utf8_char){(at[0] & 0x0Fu) << 12 | (at[1] & 0x3Fu) << 6 | (at[2] & 0x3Fu), 3, true};
    return (utf8_char){(at[0] & 0x07u) << 18 | (at[1] & 0x3Fu) << 12 | (at[2] & 0x3Fu) << 6 | (at[3] & 0x3Fu), 4, true};
}

#endif
