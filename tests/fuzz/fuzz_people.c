/* The input is what a store says people gave. What is taken has as many people as names, and a label is what more than half of
 * them gave; what is written is JSON again with as many. */
#include "label/people.h"

#include "base/json.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    finch_text reviews = {(const char *)data, size};
    people_say say;
    str named = {0};
    json_t *again = NULL;
    finch_status st = people_read(reviews, &say, NULL);
    if (people_write(reviews, &named, NULL) != st) abort();
    if (st == FINCH_OK) {
        if (say.agreeing > say.n || (say.label >= 0) != (2 * say.agreeing > say.n)) abort();
        if (say.n == 0 && named.size != 0) abort();
        if (say.n > 0 &&
            (json_parse(named.at, named.size, "named", &again, NULL) != FINCH_OK || json_object_size(again) != say.n))
            abort();
    }
    json_decref(again);
    str_free(&named);
    return 0;
}
