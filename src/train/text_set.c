#include "train/text_set.h"

#include <stdlib.h>
#include <string.h>

static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c; }

static bool begins_with(finch_text text, size_t at, const char *prefix)
{
    for (; *prefix != '\0'; prefix++, at++)
        if (at >= text.size_bytes || lower(text.at[at]) != *prefix) return false;
    return true;
}

/* Appends the normal form; it is never longer than the text, so room is reserved once. */
static finch_status add_normal(str *out, finch_text text, finch_error *err)
{
    size_t start = out->size;
    FINCH_TRY(str_reserve(out, text.size_bytes + 1, err));
    bool gap = false;
    for (size_t i = 0; i < text.size_bytes; i++) {
        if (begins_with(text, i, "http://") || begins_with(text, i, "https://"))
            while (i < text.size_bytes && !is_space(text.at[i])) i++;
        if (i >= text.size_bytes || is_space(text.at[i])) {
            gap = true;
            continue;
        }
        if (gap && out->size > start) out->at[out->size++] = ' ';
        gap = false;
        out->at[out->size++] = lower(text.at[i]);
    }
    out->at[out->size] = '\0';
    return FINCH_OK;
}

void text_set_free(text_set *s)
{
    str_free(&s->bytes);
    mem_free(s->at);
    mem_free(s->ends);
    *s = (text_set){0};
}

finch_status text_set_add(text_set *s, finch_text text, finch_error *err)
{
    if (s->n == s->capacity) {
        size_t capacity = s->capacity == 0 ? 256 : 2 * s->capacity;
        FINCH_TRY(mem_grow((void **)&s->ends, s->n * sizeof *s->ends, capacity, sizeof *s->ends, err));
        s->capacity = capacity;
    }
    FINCH_TRY(add_normal(&s->bytes, text, err));
    s->ends[s->n++] = s->bytes.size;
    return FINCH_OK;
}

static int by_bytes(const void *a, const void *b)
{
    const finch_text *x = a, *y = b;
    size_t size = x->size_bytes < y->size_bytes ? x->size_bytes : y->size_bytes;
    int order = size > 0 ? memcmp(x->at, y->at, size) : 0;
    return order != 0 ? order : (x->size_bytes > y->size_bytes) - (x->size_bytes < y->size_bytes);
}

finch_status text_set_seal(text_set *s, finch_error *err)
{
    FINCH_TRY(MEM_NEW(&s->at, s->n, err));
    for (size_t i = 0, begin = 0; i < s->n; begin = s->ends[i++])
        s->at[i] = (finch_text){s->bytes.at + begin, s->ends[i] - begin};
    if (s->n > 0) qsort(s->at, s->n, sizeof *s->at, by_bytes);
    return FINCH_OK;
}

finch_status text_set_has(const text_set *s, finch_text text, str *scratch, bool *out, finch_error *err)
{
    *out = false;
    if (s->n == 0) return FINCH_OK;
    str_clear(scratch);
    FINCH_TRY(add_normal(scratch, text, err));
    /* Texts of nothing but links have no normal form to be known by. */
    if (scratch->size == 0) return FINCH_OK;
    finch_text wanted = {scratch->at, scratch->size};
    *out = bsearch(&wanted, s->at, s->n, sizeof *s->at, by_bytes) != NULL;
    return FINCH_OK;
}
