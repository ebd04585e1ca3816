/* The input is the size of a split's part as it is written. What is taken is a count or a share and never both, a share written
 * out again is the same share, and its rows grow with the table and are never more than it has. */
#include "base/mem.h"
#include "data/split_sizes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void need(bool holds)
{
    if (!holds) abort();
}

static void check_share(split_size size)
{
    char text[32];
    split_size again;
    static const uint32_t rows[] = {1, 2, 99, 1000, 1700000, SPLIT_ROWS_MAX};
    need(size.share_numerator > 0 && size.share_numerator < SPLIT_SHARE_ONE);
    snprintf(text, sizeof text, "0.%09u", size.share_numerator);
    need(split_size_parse(text, "valid-size", &again, NULL) == FINCH_OK);
    need(again.share_numerator == size.share_numerator && again.count == 0);
    uint32_t before = 1;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint32_t n = split_size_rows(size, rows[i]);
        need(n >= before && n <= rows[i]);
        before = n;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text;
    split_size found;
    finch_error err = {0};
    if (mem_text((const char *)data, size, &text, NULL) != FINCH_OK) return 0;
    finch_status st = split_size_parse(text, "valid-size", &found, &err);
    need(st == FINCH_OK || (st == FINCH_E_USAGE && err.message[0] != '\0'));
    if (st != FINCH_OK) need(found.count == 0 && found.share_numerator == 0);
    else if (found.count > 0) need(found.share_numerator == 0 && split_size_rows(found, 10) == found.count);
    else check_share(found);
    mem_free(text);
    return 0;
}
