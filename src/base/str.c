#include "base/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { STR_FIRST_BYTES = 64 };

void str_free(str *s)
{
    mem_free(s->at);
    *s = (str){0};
}

void str_clear(str *s)
{
    s->size = 0;
    if (s->at != NULL) s->at[0] = '\0';
}

finch_status str_reserve(str *s, size_t extra, finch_error *err)
{
    size_t need;
    if (!size_add(s->size, extra, &need) || !size_add(need, 1, &need))
        return finch_fail(err, FINCH_E_MEMORY, "a text of %zu more bytes is too long", extra);
    if (need <= s->capacity) return FINCH_OK;
    size_t capacity = s->capacity < STR_FIRST_BYTES ? STR_FIRST_BYTES : s->capacity;
    while (capacity < need && capacity <= SIZE_MAX / 2) capacity *= 2;
    if (capacity < need) capacity = need;
    void *block = s->at;
    FINCH_TRY(mem_grow(&block, s->at == NULL ? 0 : s->size + 1, capacity, 1, err));
    s->at = block;
    s->capacity = capacity;
    s->at[s->size] = '\0';
    return FINCH_OK;
}

finch_status str_add(str *s, const char *text, size_t size, finch_error *err)
{
    FINCH_TRY(str_reserve(s, size, err));
    if (size > 0) memcpy(s->at + s->size, text, size);
    s->size += size;
    s->at[s->size] = '\0';
    return FINCH_OK;
}

finch_status str_add_text(str *s, const char *text, finch_error *err) { return str_add(s, text, strlen(text), err); }

finch_status str_add_format(str *s, finch_error *err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int need = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (need < 0) return finch_fail(err, FINCH_E_FAILED, "the format \"%s\" can not be written", format);
    FINCH_TRY(str_reserve(s, (size_t)need, err));
    va_start(args, format);
    vsnprintf(s->at + s->size, (size_t)need + 1, format, args);
    va_end(args);
    s->size += (size_t)need;
    return FINCH_OK;
}

char *str_steal(str *s)
{
    char *text = s->at;
    *s = (str){0};
    return text;
}
