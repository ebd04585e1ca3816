/* The labels in a model's text.
 *
 * The contract is {"labels":[{"n":1,"label":"POSITIVE"}, ...]}. Models that know no schema wrap it in a fence or in prose, or
 * give the bare array, or lines "1: POSITIVE"; all these are read, but never more than one answer in a text.
 *
 * Which rows hold
 *  1. A number that was not asked makes the whole answer void: the model counts differently, any row may be another's.
 *  2. So do rows missing at the end alone: a model that passed over a text and counted on looks like that.
 *  3. A number given twice (also with equal labels), an unknown class and a row missing in the middle void that row only. */
#include "label/answer_text.h"

#include "base/json.h"
#include "label/values.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { CANDIDATES_MAX = 32, NESTING_MAX = 64 };

static void say(answer *out, const char *what, const char *text, size_t size)
{
    char line[120];
    values_line(text, size, line, sizeof line);
    snprintf(out->reason, sizeof out->reason, "%s%s", what, line);
}

/* ---- rows ---- */

static bool number_of(const json_t *value, size_t *out)
{
    if (json_is_integer(value) && json_integer_value(value) >= 0) {
        *out = (size_t)json_integer_value(value);
        return true;
    }
    if (!json_is_string(value) || json_string_length(value) == 0 || json_string_length(value) > 6) return false;
    *out = 0;
    for (const char *at = json_string_value(value); *at != '\0'; at++) {
        if (!isdigit((unsigned char)*at)) return false;
        *out = *out * 10 + (size_t)(*at - '0');
    }
    return true;
}

/* One row as the model wrote it; false where its number was not asked. */
static bool take_row(answer_row *rows, size_t n_rows, size_t number, const char *label, size_t size)
{
    if (number < 1 || number > n_rows) return false;
    answer_row *row = &rows[number - 1];
    if (row->state != ROW_MISSING) {
        row->state = ROW_TWICE;
        return true;
    }
    row->label = values_class(label, size);
    row->state = row->label >= 0 ? ROW_OK : ROW_UNKNOWN;
    if (row->state == ROW_UNKNOWN) values_line(label, size, row->said, sizeof row->said);
    return true;
}

static answer_kind check_count(const answer_row *rows, size_t n_rows, answer *out)
{
    size_t last = n_rows;
    while (last > 0 && rows[last - 1].state == ROW_MISSING) last--;
    if (last == n_rows) return ANSWER_ROWS;
    snprintf(out->reason, sizeof out->reason, "the answer ends at number %zu of %zu", last, n_rows);
    return ANSWER_MISCOUNTED;
}

static answer_kind read_list(const json_t *list, answer_row *rows, size_t n_rows, answer *out)
{
    const json_t *entry;
    size_t i;
    json_array_foreach(list, i, entry)
    {
        const json_t *label = json_object_get(entry, "label");
        size_t number = 0;
        bool text = json_is_string(label);
        if (!number_of(json_object_get(entry, "n"), &number) ||
            !take_row(rows, n_rows, number, text ? json_string_value(label) : "", text ? json_string_length(label) : 0)) {
            snprintf(out->reason, sizeof out->reason, "the answer has a row whose number was not asked (row %zu)", i + 1);
            return ANSWER_MISCOUNTED;
        }
    }
    return check_count(rows, n_rows, out);
}

/* ---- where the answer stands in the text ---- */

/* The list of a value that is an answer; NULL for any other. */
static const json_t *list_of(const json_t *value)
{
    const json_t *list = json_is_object(value) ? json_object_get(value, "labels") : value;
    if (!json_is_array(list) || json_array_size(list) == 0) return NULL;
    return json_is_object(json_array_get(list, 0)) && json_object_get(json_array_get(list, 0), "n") != NULL ? list : NULL;
}

/* The end of the JSON value that begins at text[begin] with '{' or '[': behind its closing bracket, or 0. */
static size_t value_end(const char *text, size_t size, size_t begin)
{
    char open[NESTING_MAX];
    size_t depth = 0;
    bool quoted = false;
    for (size_t i = begin; i < size; i++) {
        char c = text[i];
        if (quoted) {
            if (c == '\\') i++;
            else if (c == '"') quoted = false;
        } else if (c == '"') quoted = true;
        else if (c == '{' || c == '[') {
            if (depth == NESTING_MAX) return 0;
            open[depth++] = c == '{' ? '}' : ']';
        } else if (c == '}' || c == ']') {
            if (depth == 0 || open[--depth] != c) return 0;
            if (depth == 0) return i + 1;
        }
    }
    return 0;
}

/* The one answer among the JSON values in the text. *n counts how many there are (2: too many). */
static json_t *find_value(const char *text, size_t size, size_t *n)
{
    json_t *found = NULL;
    *n = 0;
    for (size_t at = 0, tried = 0; at < size && tried < CANDIDATES_MAX && *n < 2; at++) {
        if (text[at] != '{' && text[at] != '[') continue;
        size_t end = value_end(text, size, at);
        json_t *value = NULL;
        tried++;
        if (end == 0 || json_parse(text + at, end - at, "the answer", &value, NULL) != FINCH_OK) continue;
        if (list_of(value) != NULL) {
            ++*n;
            json_decref(found);
            found = value;
            at = end - 1;
        } else json_decref(value);
    }
    return found;
}

/* ---- lines ---- */

/* "12: POSITIVE", "12. POSITIVE", "12) **Positive**", "12 - POSITIVE" */
static bool read_line(const char *at, const char *end, size_t *number, const char **label, size_t *size)
{
    size_t digits = 0;
    while (at < end && (*at == ' ' || *at == '\t' || *at == '-' || *at == '*' || *at == '#')) at++;
    *number = 0;
    while (at < end && isdigit((unsigned char)*at) && digits < 6) *number = *number * 10 + (size_t)(*at++ - '0'), digits++;
    if (digits == 0 || at == end || (*at != ':' && *at != '.' && *at != ')' && *at != ' ')) return false;
    while (at < end && strchr(":.) -*`\"", *at) != NULL) at++;
    while (end > at && strchr(" \t\r.*`\",;", end[-1]) != NULL) end--;
    *label = at;
    *size = (size_t)(end - at);
    return values_class(at, *size) >= 0;
}

static answer_kind read_lines(const char *text, size_t size, answer_row *rows, size_t n_rows, answer *out)
{
    size_t found = 0;
    for (size_t begin = 0; begin < size;) {
        const char *end = memchr(text + begin, '\n', size - begin), *label;
        size_t n = end != NULL ? (size_t)(end - (text + begin)) : size - begin, number, label_size;
        if (read_line(text + begin, text + begin + n, &number, &label, &label_size)) {
            found++;
            if (!take_row(rows, n_rows, number, label, label_size)) {
                snprintf(out->reason, sizeof out->reason, "the answer has the number %zu, which was not asked", number);
                return ANSWER_MISCOUNTED;
            }
        }
        begin += n + 1;
    }
    if (found > 0) return check_count(rows, n_rows, out);
    say(out, "the model's answer holds no labels: ", text, size);
    return ANSWER_INVALID;
}

/* What a reasoning model thought comes before its answer. */
static size_t skip_thoughts(const char *text, size_t size)
{
    static const char end[] = "</think>";
    size_t n = sizeof end - 1;
    for (size_t i = size; i >= n; i--)
        if (memcmp(text + i - n, end, n) == 0) return i;
    return 0;
}

answer_kind answer_read_text(const char *text, size_t size, answer_row *rows, size_t n_rows, answer *out)
{
    json_t *root = NULL;
    size_t n = 1, skipped = skip_thoughts(text, size);
    answer_kind kind;
    text += skipped;
    size -= skipped;
    out->by_schema_text = false;
    if (json_parse(text, size, "the answer", &root, NULL) == FINCH_OK)
        out->by_schema_text = json_is_object(root) && list_of(root) != NULL;
    else root = find_value(text, size, &n);
    if (n > 1) {
        say(out, "the model's text holds more than one answer: ", text, size);
        kind = ANSWER_INVALID;
    } else if (root != NULL && list_of(root) != NULL) kind = read_list(list_of(root), rows, n_rows, out);
    else kind = read_lines(text, size, rows, n_rows, out);
    json_decref(root);
    return kind;
}

/* ---- confidence ---- */

/* The next string value of a key "label" from *at on: its letters [*begin, *end). */
static bool next_label(const char *text, size_t size, size_t *at, size_t *begin, size_t *end)
{
    static const char key[] = "\"label\"";
    size_t n = sizeof key - 1;
    for (size_t i = *at; i + n < size; i++) {
        if (memcmp(text + i, key, n) != 0) continue;
        size_t k = i + n;
        while (k < size && (text[k] == ' ' || text[k] == ':' || text[k] == '\n')) k++;
        if (k >= size || text[k] != '"') return false;
        const char *close = memchr(text + k + 1, '"', size - k - 1);
        if (close == NULL) return false;
        *begin = k + 1;
        *end = (size_t)(close - text);
        *at = *end + 1;
        return true;
    }
    return false;
}

/* The number that stands before the label in the same row: rows may come in any order. */
static size_t number_before(const char *text, size_t label_at)
{
    size_t i = label_at, number = 0, scale = 1;
    while (i > 0 && text[i] != '{') i--;
    const char *key = NULL;
    for (size_t k = i; k + 3 < label_at && key == NULL; k++)
        if (memcmp(text + k, "\"n\"", 3) == 0) key = text + k + 3;
    if (key == NULL) return 0;
    while (key < text + label_at && !isdigit((unsigned char)*key)) key++;
    for (; key < text + label_at && isdigit((unsigned char)*key) && scale < 1000000; key++, scale *= 10)
        number = number * 10 + (size_t)(*key - '0');
    return number;
}

static bool tokens_fit(const json_t *tokens, const char *text, size_t size)
{
    size_t at = 0, i;
    const json_t *entry;
    if (!json_is_array(tokens)) return false;
    json_array_foreach(tokens, i, entry)
    {
        const json_t *token = json_object_get(entry, "token");
        size_t n = json_is_string(token) ? json_string_length(token) : 0;
        if (!json_is_string(token) || !json_is_number(json_object_get(entry, "logprob")) || n > size - at ||
            memcmp(text + at, json_string_value(token), n) != 0)
            return false;
        at += n;
    }
    return at == size;
}

static double probability(const json_t *tokens, size_t begin, size_t end)
{
    double sum = 0;
    size_t at = 0, i;
    const json_t *entry;
    json_array_foreach(tokens, i, entry)
    {
        size_t n = json_string_length(json_object_get(entry, "token"));
        if (at < end && at + n > begin) sum += json_number_value(json_object_get(entry, "logprob"));
        at += n;
    }
    return sum <= 0 ? exp(sum) : -1;
}

void answer_add_confidence(const json_t *tokens, const char *text, size_t size, answer_row *rows, size_t n_rows)
{
    size_t at = 0, begin, end;
    if (!tokens_fit(tokens, text, size)) return;
    while (next_label(text, size, &at, &begin, &end)) {
        size_t number = number_before(text, begin);
        if (number >= 1 && number <= n_rows && rows[number - 1].state == ROW_OK)
            rows[number - 1].confidence = probability(tokens, begin, end);
    }
}
