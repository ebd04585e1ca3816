#include "data/hub_header.h"

#include <string.h>

static bytes skip_blanks(bytes value)
{
    while (value.size > 0 && (value.at[0] == ' ' || value.at[0] == '\t')) value.at++, value.size--;
    while (value.size > 0 && (value.at[value.size - 1] == ' ' || value.at[value.size - 1] == '\t')) value.size--;
    return value;
}

static bool begins(bytes value, const char *word)
{
    size_t n = strlen(word);
    if (value.size < n) return false;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = value.at[i];
        if (c >= 'A' && c <= 'Z') c = (unsigned char)(c + 32);
        if (c != (unsigned char)word[i]) return false;
    }
    return true;
}

static bytes behind(bytes value, size_t n) { return (bytes){value.at + n, value.size - n}; }

/* Takes decimal digits from the front; false where there are none or the number does not fit. */
static bool take_number(bytes *value, uint64_t *out)
{
    size_t n = 0;
    uint64_t number = 0;
    for (; n < value->size && value->at[n] >= '0' && value->at[n] <= '9'; n++) {
        uint64_t digit = (uint64_t)(value->at[n] - '0');
        if (number > (UINT64_MAX - digit) / 10) return false;
        number = number * 10 + digit;
    }
    if (n == 0) return false;
    *value = behind(*value, n);
    *out = number;
    return true;
}

static bool take_byte(bytes *value, unsigned char c)
{
    if (value->size == 0 || value->at[0] != c) return false;
    *value = behind(*value, 1);
    return true;
}

bool hub_header_etag(bytes value, bytes *out)
{
    value = skip_blanks(value);
    if (value.size >= 2 && value.at[0] == 'W' && value.at[1] == '/') value = behind(value, 2);
    while (value.size > 0 && value.at[0] == '"') value = behind(value, 1);
    while (value.size > 0 && value.at[value.size - 1] == '"') value.size--;
    *out = value;
    return value.size > 0;
}

/* Whether the parameters of a link hold rel=next, also among several names: rel="prev next". */
static bool is_next(bytes parameters)
{
    for (size_t i = 0; i < parameters.size; i++) {
        bytes rest = skip_blanks(behind(parameters, i));
        if ((i > 0 && parameters.at[i - 1] != ';' && parameters.at[i - 1] != ' ') || !begins(rest, "rel=")) continue;
        rest = behind(rest, 4);
        bool quoted = take_byte(&rest, '"');
        size_t n = 0;
        while (n < rest.size && rest.at[n] != (quoted ? '"' : ';')) n++;
        for (bytes names = {rest.at, n}; (names = skip_blanks(names)).size > 0;) {
            size_t word = 0;
            while (word < names.size && names.at[word] != ' ') word++;
            if (word == 4 && begins(names, "next")) return true;
            names = behind(names, word);
        }
    }
    return false;
}

bool hub_header_next_link(bytes value, bytes *out)
{
    while (value.size > 0) {
        const unsigned char *open = memchr(value.at, '<', value.size);
        if (open == NULL) return false;
        value = behind(value, (size_t)(open - value.at) + 1);
        const unsigned char *close = memchr(value.at, '>', value.size);
        if (close == NULL) return false;
        bytes address = {value.at, (size_t)(close - value.at)};
        value = behind(value, address.size + 1);
        size_t n = 0;
        for (bool quoted = false; n < value.size && (quoted || value.at[n] != ','); n++)
            if (value.at[n] == '"') quoted = !quoted;
        if (is_next((bytes){value.at, n})) {
            *out = address;
            return address.size > 0;
        }
        value = behind(value, n);
    }
    return false;
}

bool hub_header_content_range(bytes value, uint64_t *first, uint64_t *last, uint64_t *whole)
{
    value = skip_blanks(value);
    if (!begins(value, "bytes ")) return false;
    value = skip_blanks(behind(value, 6));
    uint64_t from, to, size = UINT64_MAX;
    if (!take_number(&value, &from) || !take_byte(&value, '-') || !take_number(&value, &to) || !take_byte(&value, '/'))
        return false;
    if (!take_byte(&value, '*') && !take_number(&value, &size)) return false;
    if (value.size != 0 || to < from || to >= size) return false;
    *first = from;
    *last = to;
    *whole = size;
    return true;
}

bool hub_header_retry_after(bytes value, uint64_t *seconds)
{
    value = skip_blanks(value);
    return take_number(&value, seconds) && value.size == 0;
}

/* The number of a parameter: ;name=number. */
static bool parameter(bytes value, unsigned char name, uint64_t *out)
{
    for (size_t i = 0; i < value.size; i++) {
        if (value.at[i] != ';') continue;
        bytes rest = skip_blanks(behind(value, i + 1));
        if (!take_byte(&rest, name)) continue;
        rest = skip_blanks(rest);
        if (!take_byte(&rest, '=')) continue;
        rest = skip_blanks(rest);
        if (take_number(&rest, out)) return true;
    }
    return false;
}

bool hub_header_rate_limit(bytes value, uint64_t *seconds)
{
    uint64_t left, reset;
    if (!parameter(value, 'r', &left) || left != 0 || !parameter(value, 't', &reset)) return false;
    *seconds = reset;
    return true;
}

bool hub_header_is_hex(bytes value, size_t n)
{
    if (value.size != n) return false;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = value.at[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) return false;
    }
    return true;
}
