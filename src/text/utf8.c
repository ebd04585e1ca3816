#include "text/utf8.h"

#include <string.h>

/* Table 3-7 of the Unicode standard: the second byte's range depends on the first. */
static uint32_t sequence_size(unsigned char lead, unsigned char *low, unsigned char *high)
{
    *low = 0x80;
    *high = 0xBF;
    if (lead >= 0xC2 && lead <= 0xDF) return 2;
    if (lead >= 0xE0 && lead <= 0xEF) {
        if (lead == 0xE0) *low = 0xA0;
        if (lead == 0xED) *high = 0x9F; /* no surrogates */
        return 3;
    }
    if (lead >= 0xF0 && lead <= 0xF4) {
        if (lead == 0xF0) *low = 0x90;
        if (lead == 0xF4) *high = 0x8F; /* nothing past U+10FFFF */
        return 4;
    }
    return 0;
}

utf8_char utf8_decode(const unsigned char *at, const unsigned char *end)
{
    if (at[0] < 0x80) return (utf8_char){at[0], 1, true};
    unsigned char low, high;
    uint32_t size = sequence_size(at[0], &low, &high);
    if (size == 0) return (utf8_char){UTF8_REPLACEMENT, 1, false};
    for (uint32_t i = 1; i < size; i++) {
        if (at + i == end || at[i] < low || at[i] > high) return (utf8_char){UTF8_REPLACEMENT, i, false};
        low = 0x80;
        high = 0xBF;
    }
    return utf8_next(at);
}

size_t utf8_encode(uint32_t code, unsigned char *out)
{
    if (code < 0x80) {
        out[0] = (unsigned char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (unsigned char)(0xC0u | code >> 6);
        out[1] = (unsigned char)(0x80u | (code & 0x3Fu));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (unsigned char)(0xE0u | code >> 12);
        out[1] = (unsigned char)(0x80u | (code >> 6 & 0x3Fu));
        out[2] = (unsigned char)(0x80u | (code & 0x3Fu));
        return 3;
    }
    out[0] = (unsigned char)(0xF0u | code >> 18);
    out[1] = (unsigned char)(0x80u | (code >> 12 & 0x3Fu));
    out[2] = (unsigned char)(0x80u | (code >> 6 & 0x3Fu));
    out[3] = (unsigned char)(0x80u | (code & 0x3Fu));
    return 4;
}

size_t utf8_valid_size(const unsigned char *at, size_t size)
{
    const unsigned char *end = at + size;
    for (size_t i = 0; i < size;) {
        uint64_t eight;
        if (size - i >= sizeof eight) {
            memcpy(&eight, at + i, sizeof eight);
            if ((eight & 0x8080808080808080u) == 0) {
                i += sizeof eight;
                continue;
            }
        }
        utf8_char c = utf8_decode(at + i, end);
        if (!c.valid) return i;
        i += c.size;
    }
    return size;
}

size_t utf8_count(const unsigned char *at, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; i < size; i++) n += (at[i] & 0xC0u) != 0x80u;
    return n;
}
