/* The input's first two bytes turn stages off, the next is the author's size, then come author and text, of any bytes: what one row of
 * finch prepare becomes. What must hold: the clean text is valid UTF-8; a row is dropped for no reason whose stage is off, and has no text
 * only where it is told so; tickers are symbols between bars; the same row gives the same keys, and its own clean text, given
 * again, one that is no longer than promised. */
#include "base/mem.h"
#include "data/prepare_row.h"
#include "text/utf8.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEAD_BYTES = 3 };

static void need(bool holds)
{
    if (!holds) abort();
}

static bool is_valid(finch_text t) { return utf8_valid_size((const unsigned char *)t.at, t.size_bytes) == t.size_bytes; }

static void check_tickers(finch_text tickers)
{
    need(tickers.size_bytes > 0 && tickers.at[0] != '|' && tickers.at[tickers.size_bytes - 1] != '|');
    for (size_t i = 0; i < tickers.size_bytes; i++) {
        char c = tickers.at[i];
        need((c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || (c == '|' && tickers.at[i - 1] != '|'));
    }
}

static void check_answer(const prepare_options *o, const prepare_answer *a, finch_text raw)
{
    need(a->reason < PREPARE_DUPLICATE);
    need(a->reason == PREPARE_KEPT || !o->off[prepare_reason_stage(a->reason)]);
    need((a->text.at == NULL) == (a->key.low == 0 && a->key.high == 0));
    need(a->text.at != NULL || a->reason == PREPARE_NO_TEXT || o->off[PREPARE_SHORT]);
    need((a->language != NULL) == (a->text.at != NULL && !o->off[PREPARE_LANGUAGE]));
    need(a->flood == 0 || (a->text.at != NULL && !o->off[PREPARE_FLOODS]));
    if (a->text.at != NULL)
        need(a->text.size_bytes > 0 && is_valid(a->text) && a->text.size_bytes <= TEXT_CLEAN_GROWTH * raw.size_bytes);
    if (a->tickers.at != NULL) check_tickers(a->tickers);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < HEAD_BYTES) return 0;
    prepare_options o = {.least_words = data[0] >> 6, .remove_placeholders = (data[1] & 4) != 0};
    for (unsigned stage = 0; stage < PREPARE_STAGES; stage++) o.off[stage] = (data[0] | (unsigned)data[1] << 8) >> stage & 1;
    size_t author_bytes = data[2] < size - HEAD_BYTES ? data[2] : size - HEAD_BYTES;
    finch_text author = {(const char *)data + HEAD_BYTES, author_bytes};
    finch_text raw = {author.at + author_bytes, size - HEAD_BYTES - author_bytes};
    prepare_row f;
    prepare_worker *w = NULL;
    prepare_answer first, again;
    need(prepare_row_open(&o, &f, NULL) == FINCH_OK && prepare_row_borrow(&f, &w, NULL) == FINCH_OK);
    need(prepare_row_answer(&f, w, raw, author, &first, NULL) == FINCH_OK);
    check_answer(&o, &first, raw);
    need(prepare_row_answer(&f, w, raw, author, &again, NULL) == FINCH_OK);
    need(memcmp(&first.key, &again.key, sizeof first.key) == 0 && first.flood == again.flood &&
         first.reason == again.reason);
    if (again.text.at != NULL) {
        char *copy = malloc(again.text.size_bytes);
        need(copy != NULL);
        finch_text clean = {memcpy(copy, again.text.at, again.text.size_bytes), again.text.size_bytes};
        need(prepare_row_answer(&f, w, clean, author, &again, NULL) == FINCH_OK);
        check_answer(&o, &again, clean);
        free(copy);
    }
    prepare_row_return(&f, w);
    prepare_row_close(&f);
    return 0;
}
