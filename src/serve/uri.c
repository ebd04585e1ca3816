#include "serve/uri.h"

#include "text/utf8.h"

#include <string.h>

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* Decodes into out, which has room for size bytes; false where a '%' is not followed by two hex digits. */
static bool percent_decode(const char *at, size_t size, bool plus_is_space, char *out, size_t *n)
{
    *n = 0;
    for (size_t i = 0; i < size; i++) {
        char c = at[i];
        if (c == '%') {
            int high = size - i > 2 ? hex_digit(at[i + 1]) : -1, low = size - i > 2 ? hex_digit(at[i + 2]) : -1;
            if (high < 0 || low < 0) return false;
            c = (char)(high * 16 + low);
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        out[(*n)++] = c;
    }
    return true;
}

static bool has_control(const char *at, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)at[i] < 0x20 || at[i] == 0x7F) return true;
    return false;
}

/* what is the part's name in the message. */
static finch_status decode_part(const char *at, size_t size, bool query, arena *memory, const char **out, finch_error *err)
{
    const char *what = query ? "the query" : "the path";
    char *text;
    size_t n;
    FINCH_TRY(ARENA_NEW(memory, &text, size + 1, err));
    if (!percent_decode(at, size, query, text, &n))
        return finch_fail(err, FINCH_E_USAGE, "%s has a %% that two hexadecimal digits do not follow", what);
    if (utf8_valid_size((const unsigned char *)text, n) != n)
        return finch_fail(err, FINCH_E_USAGE, "%s is not UTF-8 once it is decoded", what);
    if (memchr(text, '\0', n) != NULL || (!query && has_control(text, n)))
        return finch_fail(err, FINCH_E_USAGE, "%s holds a control character", what);
    text[n] = '\0';
    *out = text;
    return FINCH_OK;
}

static finch_status add_segment(const char *at, size_t size, arena *memory, uri *out, finch_error *err)
{
    const char *segment;
    if (out->n_segments == URI_SEGMENTS_MAX)
        return finch_fail(err, FINCH_E_USAGE, "the path has more than %d segments", URI_SEGMENTS_MAX);
    FINCH_TRY(decode_part(at, size, false, memory, &segment, err));
    if (strcmp(segment, ".") == 0 || strcmp(segment, "..") == 0)
        return finch_fail(err, FINCH_E_USAGE, "the path has the segment \"%s\"; write it resolved", segment);
    out->segments[out->n_segments++] = segment;
    return FINCH_OK;
}

static finch_status parse_path(const char *at, size_t size, arena *memory, uri *out, finch_error *err)
{
    if (size == 0 || at[0] != '/') return finch_fail(err, FINCH_E_USAGE, "the path does not begin with a slash");
    for (size_t begin = 1; begin < size || (begin == size && size > 1);) {
        const char *slash = begin < size ? memchr(at + begin, '/', size - begin) : NULL;
        size_t end = slash != NULL ? (size_t)(slash - at) : size;
        if (end == begin && end < size) return finch_fail(err, FINCH_E_USAGE, "the path has two slashes in a row");
        FINCH_TRY(add_segment(at + begin, end - begin, memory, out, err));
        if (end == size) break;
        begin = end + 1;
    }
    return FINCH_OK;
}

static finch_status add_parameter(const char *at, size_t size, arena *memory, uri *out, finch_error *err)
{
    const char *equals = memchr(at, '=', size);
    size_t n_name = equals != NULL ? (size_t)(equals - at) : size;
    if (out->n_parameters == URI_PARAMETERS_MAX)
        return finch_fail(err, FINCH_E_USAGE, "the query has more than %d parameters", URI_PARAMETERS_MAX);
    uri_parameter *p = &out->parameters[out->n_parameters];
    FINCH_TRY(decode_part(at, n_name, true, memory, &p->name, err));
    FINCH_TRY(decode_part(equals != NULL ? equals + 1 : at + size, equals != NULL ? size - n_name - 1 : 0, true, memory,
                          &p->value, err));
    out->n_parameters++;
    return FINCH_OK;
}

finch_status uri_parse(const char *target, size_t size, arena *memory, uri *out, finch_error *err)
{
    *out = (uri){0};
    if (size > URI_BYTES_MAX)
        return finch_fail(err, FINCH_E_USAGE, "the target has %zu bytes; at most %d are read", size, URI_BYTES_MAX);
    const char *question = memchr(target, '?', size);
    size_t n_path = question != NULL ? (size_t)(question - target) : size;
    FINCH_TRY(parse_path(target, n_path, memory, out, err));
    for (size_t at = n_path + 1; at < size;) {
        const char *next = memchr(target + at, '&', size - at);
        size_t n = next != NULL ? (size_t)(next - target) - at : size - at;
        if (n > 0) FINCH_TRY(add_parameter(target + at, n, memory, out, err));
        at += n + 1;
    }
    return FINCH_OK;
}

const char *uri_get(const uri *u, const char *name)
{
    for (size_t i = u->n_parameters; i > 0; i--)
        if (strcmp(u->parameters[i - 1].name, name) == 0) return u->parameters[i - 1].value;
    return NULL;
}
