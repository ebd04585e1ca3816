/* UTF-8 as RFC 3629 has it: no surrogates, nothing overlong, nothing past U+10FFFF. */
#ifndef FINCH_DATA_UTF8_H
#define FINCH_DATA_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes of the character at text, 0 where it is ill-formed or cut. size > 0. */
static inline size_t data_utf8_length(const char *text, size_t size)
{
    unsigned char c = (unsigned char)text[0];
    if (c < 0x80) return 1;
    size_t n = c >= 0xC2 && c <= 0xDF ? 2 : (c & 0xF0) == 0xE0 ? 3 : c >= 0xF0 && c <= 0xF4 ? 4 : 0;
    if (n == 0 || n > size) return 0;
    for (size_t i = 1; i < n; i++)
        if (((unsigned char)text[i] & 0xC0) != 0x80) return 0;
    unsigned char second = (unsigned char)text[1];
    if ((c == 0xE0 && second < 0xA0) || (c == 0xED && second > 0x9F)) return 0;
    if ((c == 0xF0 && second < 0x90) || (c == 0xF4 && second > 0x8F)) return 0;
    return n;
}

static inline bool data_utf8_valid(const char *text, size_t size)
{
    for (size_t at = 0; at < size;) {
        size_t step = data_utf8_length(text + at, size - at);
        if (step == 0) return false;
        at += step;
    }
    return true;
}

/* At most limit, and not inside a character (of a text longer than limit). */
static inline size_t data_utf8_cut(const char *text, size_t limit)
{
    size_t end = limit;
    while (end > 0 && limit - end < 4 && ((unsigned char)text[end] & 0xC0) == 0x80) end--;
    return end;
}

#endif
