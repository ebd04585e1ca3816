/* A growable text: always NUL-terminated at .at[.size] once anything was added; may hold NUL bytes inside.
 * Ownership: str_free releases; str_steal hands the bytes over (free with mem_free). */
#ifndef FINCH_BASE_STR_H
#define FINCH_BASE_STR_H

#include "base/mem.h"

typedef struct str {
    char *at;
    size_t size;
    size_t capacity;
} str;

void str_free(str *s);
void str_clear(str *s);
finch_status str_add(str *s, const char *text, size_t size, finch_error *err);
finch_status str_add_text(str *s, const char *text, finch_error *err);
finch_status str_add_format(str *s, finch_error *err, const char *format, ...) FINCH_PRINTF(3, 4);
/* Room for extra more bytes and the NUL without another allocation. */
finch_status str_reserve(str *s, size_t extra, finch_error *err);
char *str_steal(str *s);

#endif
