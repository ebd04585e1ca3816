/* The input is a tokenizer file: its first byte says whether vocab.txt (cased or not) or tokenizer.json follows. What
 * opens must be whole: special tokens and pieces inside the vocabulary, and a text that encodes; what does not must say
 * why, and leave nothing. */
#include "base/mem.h"
#include "text/text.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char sample[] = "Buy $TSLA now! [MASK] <mask> caf\xC3\xA9 \xE6\xBC\xA2 \xF0\x9F\x9A\x80 abcabcabc \xFF ##ing";

static void need(bool holds)
{
    if (!holds) abort();
}

static bool inside(const text_tokenizer *t, int32_t id) { return id >= 0 && (size_t)id < text_tokenizer_vocab_size(t); }

static void use(const text_tokenizer *t)
{
    enum { MAX_TOKENS = 64 };
    text_special special = text_tokenizer_special(t);
    text_scratch *scratch = NULL;
    int32_t ids[MAX_TOKENS];
    text_span spans[MAX_TOKENS];
    size_t n, piece_size;
    need(inside(t, special.cls) && inside(t, special.sep) && inside(t, special.pad) && inside(t, special.unk));
    need(special.mask == -1 || inside(t, special.mask));
    need(text_scratch_create(&scratch, NULL) == FINCH_OK);
    need(text_encode(t, (finch_text){sample, sizeof sample - 1}, MAX_TOKENS, ids, &n, NULL, spans, scratch, NULL) ==
         FINCH_OK);
    need(n >= TEXT_TOKENS_MIN && n <= MAX_TOKENS);
    for (size_t i = 0; i < n; i++) {
        need(inside(t, ids[i]) && text_tokenizer_piece(t, ids[i], &piece_size) != NULL && piece_size > 0);
        need(spans[i].begin <= spans[i].end && spans[i].end <= sizeof sample - 1);
    }
    text_scratch_destroy(scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    finch_error err = {0};
    text_tokenizer *t = NULL;
    int64_t live = mem_count().live;
    if (size == 0) return 0;
    const char *file = (const char *)data + 1;
    finch_status st = data[0] == '{' ? text_tokenizer_from_json((const char *)data, size, "tokenizer.json", &t, &err)
                                     : text_tokenizer_from_vocab(file, size - 1, data[0] % 2 == 0, &t, &err);
    need((st == FINCH_OK) == (t != NULL));
    if (t != NULL) use(t);
    else need(err.status == st && err.message[0] != '\0');
    text_tokenizer_close(t);
    need(mem_count().live == live);
    return 0;
}
