/* The input is a fingerprint file. What opens has the records that its size says, finds a text it holds, and is freed. */
#include "base/mem.h"
#include "train/fingerprint.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void need(bool holds)
{
    if (!holds) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { HEADER_BYTES = 16, RECORD_BYTES = 56 };
    static const finch_text texts[] = {{"", 0}, {"buy $AAPL now", 13}, {"\xFF http://x", 10}};
    int64_t live = mem_count().live;
    fingerprints *f;
    finch_error err = {0};
    finch_status st = fingerprints_parse(data, size, "fuzz", &f, &err);
    need((st == FINCH_OK) == (f != NULL));
    if (f != NULL) {
        fingerprint_match match;
        need(size == HEADER_BYTES + RECORD_BYTES * fingerprints_count(f));
        for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
            need(fingerprints_match(f, texts[i], &match, NULL) == FINCH_OK && match <= FINGERPRINT_SEEN);
    } else {
        need(st == FINCH_E_DATA && err.message[0] != '\0');
    }
    fingerprints_close(f);
    need(mem_count().live == live);
    return 0;
}
