/* The input is a text, read by an uncased BERT, a cased one and an MPNet tokenizer with added tokens of every kind. What
 * must hold for any text: ids inside the vocabulary, spans inside the text, the same ids with and without spans, a
 * prefix of them under a smaller maximum. The first byte chooses that maximum. */
#include "base/mem.h"
#include "text/text.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_TOKENS = 600, N_TOKENIZERS = 3 };

static const char vocab[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\nab\nabc\n##a\n##b\n##bc\n##c\nc\nthe\nbuy\n##ing\n!"
                            "\n$\n.\n,\n[\n]\n<\n>\n\xE6\xBC\xA2\n"
                            "\xC3\xA9\n##\xC3\xA9\ne\n##e\n\xF0\x9F\x98\x80\n##\xF0\x9F\x98\x80\n0\n##0\ns\n##s\n";

#define TOKEN(id, content, flags) "{\"id\":" id ",\"content\":\"" content "\"" flags "}"
#define FLAG(name) ",\"" name "\":true"

static const char mpnet[] =
    "{\"added_tokens\":[" TOKEN("0", "<s>", "") "," TOKEN("5", "<mask>", FLAG("lstrip")) "," TOKEN("6", "<u>", FLAG("normalized")) "," TOKEN(
        "9", "$T",
        FLAG("single_word")) "," TOKEN("10", "\xC3\x9Cn",
                                       FLAG("normalized") FLAG(
                                           "single_word")) "," TOKEN("11", "<b>",
                                                                     FLAG("lstrip") FLAG(
                                                                         "rstrip")) "," TOKEN("12", "<bb>",
                                                                                              "") "],"
                                                                                                  "\"normalizer\":{\"type\":"
                                                                                                  "\"BertNormalizer\","
                                                                                                  "\"clean_text\":false,"
                                                                                                  "\"handle_chinese_chars\":"
                                                                                                  "true,\"strip_accents\":"
                                                                                                  "true,\"lowercase\":true},"
                                                                                                  "\"pre_tokenizer\":{"
                                                                                                  "\"type\":"
                                                                                                  "\"BertPreTokenizer\"},"
                                                                                                  "\"post_processor\":{"
                                                                                                  "\"type\":"
                                                                                                  "\"RobertaProcessing\","
                                                                                                  "\"sep\":[\"</"
                                                                                                  "s>\",2],\"cls\":[\"<s>\","
                                                                                                  "0],\"trim_offsets\":true,"
                                                                                                  "\"add_prefix_space\":"
                                                                                                  "false},"
                                                                                                  "\"model\":{\"type\":"
                                                                                                  "\"WordPiece\",\"unk_"
                                                                                                  "token\":\"[UNK]\","
                                                                                                  "\"continuing_subword_"
                                                                                                  "prefix\":\"\",\"max_"
                                                                                                  "input_chars_per_word\":7,"
                                                                                                  "\"vocab\":{\"<s>\":0,\"<"
                                                                                                  "pad>\":1,\"</"
                                                                                                  "s>\":2,\"[UNK]\":3,\"a\":"
                                                                                                  "4,\"<mask>\":5,\"<u>\":6,"
                                                                                                  "\"aab\":7,\"n\":8}}}";

static text_tokenizer *tokenizers[N_TOKENIZERS];
static text_scratch *scratch;

static void need(bool holds)
{
    if (!holds) abort();
}

static void open_all(void)
{
    need(text_scratch_create(&scratch, NULL) == FINCH_OK);
    need(text_tokenizer_from_vocab(vocab, sizeof vocab - 1, true, &tokenizers[0], NULL) == FINCH_OK);
    need(text_tokenizer_from_vocab(vocab, sizeof vocab - 1, false, &tokenizers[1], NULL) == FINCH_OK);
    need(text_tokenizer_from_json(mpnet, sizeof mpnet - 1, "mpnet", &tokenizers[2], NULL) == FINCH_OK);
}

static void check(const text_tokenizer *t, finch_text text, size_t some)
{
    static int32_t ids[MAX_TOKENS], plain[MAX_TOKENS], fewer[MAX_TOKENS];
    static text_span spans[MAX_TOKENS];
    size_t n, n_plain, n_fewer;
    bool truncated, fewer_truncated;
    need(text_encode(t, text, MAX_TOKENS, ids, &n, &truncated, spans, scratch, NULL) == FINCH_OK);
    need(text_encode(t, text, MAX_TOKENS, plain, &n_plain, NULL, NULL, scratch, NULL) == FINCH_OK);
    need(text_encode(t, text, some, fewer, &n_fewer, &fewer_truncated, NULL, scratch, NULL) == FINCH_OK);
    need(n >= TEXT_TOKENS_MIN && n <= MAX_TOKENS && n == n_plain && memcmp(ids, plain, n * sizeof *ids) == 0);
    for (size_t i = 0; i < n; i++) {
        need(ids[i] >= 0 && (size_t)ids[i] < text_tokenizer_vocab_size(t));
        need(spans[i].begin <= spans[i].end && spans[i].end <= text.size_bytes);
    }
    need(n_fewer == (n < some ? n : some) && fewer_truncated == (n > some || truncated));
    need(memcmp(ids, fewer, (n_fewer - 1) * sizeof *ids) == 0 && fewer[n_fewer - 1] == text_tokenizer_special(t).sep);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (scratch == NULL) open_all();
    if (size == 0) return 0;
    finch_text text = {(const char *)data + 1, size - 1};
    for (size_t i = 0; i < N_TOKENIZERS; i++) check(tokenizers[i], text, TEXT_TOKENS_MIN + data[0] % 64);
    return 0;
}
