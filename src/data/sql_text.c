#include "data/sql_text.h"

#include <string.h>

static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           (unsigned char)c >= 0x80;
}

static bool starts_with(const char *text, size_t size, size_t at, const char *what)
{
    size_t n = strlen(what);
    return size - at >= n && memcmp(text + at, what, n) == 0;
}

/* Behind the comment that begins at `at`; `at` where none does. */
static size_t skip_comment(const char *text, size_t size, size_t at)
{
    if (starts_with(text, size, at, "--")) {
        while (at < size && text[at] != '\n') at++;
        return at;
    }
    if (!starts_with(text, size, at, "/*")) return at;
    size_t depth = 0;
    while (at < size) {
        if (starts_with(text, size, at, "/*")) {
            depth++;
            at += 2;
        } else if (starts_with(text, size, at, "*/")) {
            at += 2;
            if (--depth == 0) break;
        } else at++;
    }
    return at;
}

/* Behind the quoted text that begins at `at`: a doubled quote is no end; in e'...' a backslash takes the next byte. */
static size_t skip_quoted(const char *text, size_t size, size_t at)
{
    char quote = text[at];
    bool escapes = quote == '\'' && at > 0 && (text[at - 1] == 'e' || text[at - 1] == 'E') &&
                   (at == 1 || !is_word(text[at - 2]));
    for (at++; at < size; at++) {
        if (escapes && text[at] == '\\') at++;
        else if (text[at] == quote && at + 1 < size && text[at + 1] == quote) at++;
        else if (text[at] == quote) return at + 1;
    }
    return size;
}

/* Behind $tag$ ... $tag$; `at` where the dollar begins none (a parameter, a name's part). */
static size_t skip_dollars(const char *text, size_t size, size_t at)
{
    size_t tag = at + 1;
    if (at > 0 && is_word(text[at - 1])) return at;
    if (tag < size && text[tag] >= '0' && text[tag] <= '9') return at;
    while (tag < size && is_word(text[tag])) tag++;
    if (tag == size || text[tag] != '$') return at;
    size_t n = tag + 1 - at;
    for (size_t end = tag + 1; end + n <= size; end++)
        if (memcmp(text + end, text + at, n) == 0) return end + n;
    return size;
}

static size_t skip_blank(const char *text, size_t size, size_t at)
{
    for (;;) {
        size_t next = skip_comment(text, size, at);
        if (next == at && at < size && is_space(text[at])) next++;
        if (next == at) return at;
        at = next;
    }
}

bool sql_text_next(const char *text, size_t size, size_t *at, size_t *begin, size_t *end)
{
    size_t i = skip_blank(text, size, *at);
    while (i < size && text[i] == ';') i = skip_blank(text, size, i + 1);
    *begin = i;
    while (i < size && text[i] != ';') {
        size_t next = skip_comment(text, size, i);
        if (next == i && (text[i] == '\'' || text[i] == '"')) next = skip_quoted(text, size, i);
        if (next == i && text[i] == '$') next = skip_dollars(text, size, i);
        i = next > i ? next : i + 1;
    }
    if (i > size) i = size;
    *end = i;
    *at = i < size ? i + 1 : size;
    return *begin < *end;
}

void sql_text_place(const char *text, size_t size, size_t byte, size_t *line, size_t *column)
{
    *line = *column = 1;
    for (size_t i = 0; i < byte && i < size; i++) {
        if (text[i] == '\n') {
            ++*line;
            *column = 1;
        } else if (((unsigned char)text[i] & 0xC0) != 0x80) ++*column;
    }
}
