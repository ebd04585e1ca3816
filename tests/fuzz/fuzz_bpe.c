/* The input is a BPE vocabulary: a GGUF file, a tokenizer.json, else a SentencePiece model. What opens spells any text with its own
 * ids, which can be decoded; what does not must say why, and leave nothing. */
#include "base/mem.h"
#include "model/tokenizer_file.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char sample[] = "Buy $TSLA now!  caf\xC3\xA9 \xE6\xBC\xA2 \xF0\x9F\x9A\x80 abcabcabc\n\n\t the thethe "
                             "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

static void need(bool holds)
{
    if (!holds) abort();
}

static void use(const text_tokenizer *t)
{
    enum { MAX_TOKENS = 512 };
    static const text_turn turn = {TEXT_USER, {sample, sizeof sample - 1}};
    text_scratch *scratch = NULL;
    int32_t ids[MAX_TOKENS];
    text_span spans[MAX_TOKENS];
    size_t n, n_vocab = text_tokenizer_vocab_size(t);
    str back = {0};
    need(text_scratch_create(&scratch, NULL) == FINCH_OK);
    need(text_encode(t, turn.content, MAX_TOKENS, ids, &n, NULL, spans, scratch, NULL) == FINCH_OK);
    for (size_t i = 0; i < n; i++) {
        need(ids[i] >= 0 && (size_t)ids[i] < n_vocab);
        need(spans[i].begin <= spans[i].end && spans[i].end <= turn.content.size_bytes);
    }
    need(text_encode_plain(t, turn.content, MAX_TOKENS, ids, &n, NULL, scratch, NULL) == FINCH_OK);
    need(n > 0 && text_decode(t, ids, n, false, &back, NULL) == FINCH_OK);
    (void)text_encode_chat(t, &turn, 1, true, MAX_TOKENS, ids, &n, scratch, NULL);
    str_free(&back);
    text_scratch_destroy(scratch);
}

static finch_status open_gguf(const uint8_t *data, size_t size, text_tokenizer **t, finch_error *err)
{
    gguf *g;
    finch_status st = gguf_read((bytes){data, size}, "fuzz.gguf", &g, err);
    if (st != FINCH_OK) return st;
    st = model_tokenizer_from_gguf(g, "fuzz.gguf", t, err);
    gguf_close(g);
    return st;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    finch_error err = {0};
    text_tokenizer *t = NULL;
    int64_t live = mem_count().live;
    finch_status st;
    if (size >= 4 && memcmp(data, "GGUF", 4) == 0) st = open_gguf(data, size, &t, &err);
    else if (size > 0 && data[0] == '{') st = text_tokenizer_from_json((const char *)data, size, "tokenizer.json", &t, &err);
    else st = text_tokenizer_from_spm(data, size, "tokenizer.model", &t, &err);
    need((st == FINCH_OK) == (t != NULL));
    if (t == NULL) need(err.status == st && err.message[0] != '\0');
    else if (text_tokenizer_style(t) == TEXT_GEMMA) use(t);
    text_tokenizer_close(t);
    need(mem_count().live == live);
    return 0;
}
