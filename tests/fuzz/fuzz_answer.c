/* The input is a provider's response: its first byte says how many texts were asked, the rest is the body - and, once more,
 * the model's text alone. Whatever comes, no row may hold a class that is none, no row may hold twice, and what is not
 * ANSWER_ROWS must say why. */
#include "label/answer.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ROWS_MAX = 32 };

static void check(const answer_row *rows, size_t n, const answer *got)
{
    bool any = false;
    for (size_t i = 0; i < n; i++) {
        if (rows[i].state == ROW_OK && (rows[i].label < 0 || rows[i].label > 4)) abort();
        if (!(rows[i].confidence <= 1)) abort(); /* NaN too */
        if (memchr(rows[i].said, '\0', sizeof rows[i].said) == NULL) abort();
        any = any || rows[i].state != ROW_MISSING;
    }
    if (got->kind == ANSWER_ROWS && n > 0 && !any) abort();
    if (got->kind != ANSWER_ROWS && got->reason[0] == '\0') abort();
    if (got->kind == ANSWER_ERROR && (got->status < 400 || got->status > 599)) abort();
    if (got->cost_nano < -1 || got->input_tokens < -1 || got->output_tokens < -1) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    answer_row rows[ROWS_MAX];
    answer got;
    if (size == 0) return 0;
    size_t n = 1 + data[0] % ROWS_MAX;
    answer_read((const char *)data + 1, size - 1, rows, n, &got);
    check(rows, n, &got);
    for (size_t i = 0; i < n; i++) rows[i] = (answer_row){.state = ROW_MISSING, .label = -1, .confidence = -1};
    got = (answer){.reason = "?", .cost_nano = -1, .input_tokens = -1, .output_tokens = -1};
    got.kind = answer_read_text((const char *)data + 1, size - 1, rows, n, &got);
    check(rows, n, &got);
    char line[64];
    answer_error_text((const char *)data + 1, size - 1, line, sizeof line);
    if (memchr(line, '\0', sizeof line) == NULL) abort();
    return 0;
}
