/* The input is a JSON schema, a zero byte, and bytes that try to be an answer. A schema that is taken can be written along: every state has
 * a byte that may come, or may end; what is written by always taking the least possible byte that closes something ends; and what the
 * automaton lets end is JSON. */
#include "base/json.h"
#include "text/json_form.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ANSWER_MAX = 4096, SCHEMA_MAX = 1 << 14 };

static form_state states[2];
static char text[ANSWER_MAX + 1];

static void check_whole(const json_form *f, const form_state *s, size_t n)
{
    if (!form_may_end(f, s)) return;
    /* Not finch's own reader: a free object may repeat a name. */
    json_t *value = json_loadb(text, n, JSON_DECODE_ANY, NULL);
    if (value == NULL) abort();
    json_decref(value);
}

/* Quotes and closing brackets first, so that it ends; every state must allow something. */
static void finish(const json_form *f, size_t n, size_t at)
{
    static const char first[] = "\"]},:";
    for (; n < ANSWER_MAX && !form_must_end(&states[at]); n++) {
        bool taken = false;
        for (size_t i = 0; !taken && i < sizeof first - 1; i++)
            if (form_step(f, &states[at], (unsigned char)first[i], &states[1 - at])) {
                text[n] = first[i];
                taken = true;
            }
        if (!taken && form_may_end(f, &states[at])) break;
        for (unsigned byte = 0x21; !taken && byte < 256; byte++)
            if (form_step(f, &states[at], (unsigned char)byte, &states[1 - at])) {
                text[n] = (char)byte;
                taken = true;
            }
        if (!taken) abort();
        at = 1 - at;
    }
    check_whole(f, &states[at], n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *zero = memchr(data, 0, size);
    size_t n_schema = zero != NULL ? (size_t)(zero - data) : size, n = 0, at = 0;
    json_t *schema = NULL;
    json_form *f = NULL;
    if (n_schema > SCHEMA_MAX || json_parse((const char *)data, n_schema, "fuzz", &schema, NULL) != FINCH_OK) return 0;
    finch_status st = json_form_create(schema, "fuzz", &f, NULL);
    json_decref(schema);
    if ((st == FINCH_OK) != (f != NULL)) abort();
    if (st != FINCH_OK) return 0;
    form_begin(f, &states[0]);
    for (size_t i = n_schema + 1; i < size && n < ANSWER_MAX / 2; i++) {
        if (!form_step(f, &states[at], data[i], &states[1 - at])) continue;
        text[n++] = (char)data[i];
        at = 1 - at;
        check_whole(f, &states[at], n);
    }
    finish(f, n, at);
    json_form_destroy(f);
    return 0;
}
