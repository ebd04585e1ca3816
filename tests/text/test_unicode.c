/* Every code point against Hugging Face tokenizers: tests/fixtures/text/unicode.txt holds a CRC-32 for each 256. */
#include "harness.h"

#include "base/file.h"
#include "text/normalize.h"
#include "text/utf8.h"

#include <stdlib.h>

enum { BLOCK_CODES = 256, N_RULES = 4 };

/* The order of RULES in tests/fixtures/text/freeze.py. */
static const text_rules rules[N_RULES] = {
    {true, true, true, true}, {true, true, false, false}, {true, true, false, true}, {false, false, true, false}};

static uint32_t crc32_of(uint32_t crc, const unsigned char *at, size_t size)
{
    crc = ~crc;
    for (size_t i = 0; i < size; i++) {
        crc ^= at[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (0xEDB88320u & (0u - (crc & 1u)));
    }
    return ~crc;
}

/* A tokenizer with these rules; its vocabulary does not matter here. */
static text_tokenizer *open_rules(text_rules r)
{
    finch_error err;
    text_tokenizer *t;
    finch_text pieces[] = {{"[PAD]", 5}, {"[UNK]", 5}, {"[CLS]", 5}, {"[SEP]", 5}};
    text_plan plan = {.name = "test",
                      .rules = r,
                      .word_chars_max = 100,
                      .prefix = {"##", 2},
                      .unk = pieces[1],
                      .cls = pieces[2],
                      .sep = pieces[3],
                      .pad = pieces[0],
                      .mask = {"[MASK]", 6},
                      .pieces = pieces,
                      .n_pieces = 4};
    CHECK_OK(text_tokenizer_build(&plan, &t, &err), &err);
    return t;
}

static void read_fixture(char **content)
{
    finch_error err;
    size_t size;
    CHECK_OK(file_read(FIXTURES "/text/unicode.txt", 1u << 20, content, &size, &err), &err);
}

static uint32_t block_crc(text_tokenizer *const tokenizers[N_RULES], uint32_t first, text_buffer *b)
{
    finch_error err;
    uint32_t crc = 0;
    for (uint32_t code = first; code < first + BLOCK_CODES; code++) {
        unsigned char text[2 + UTF8_MAX_BYTES] = {'a'}, answer[2];
        if (code >= 0xD800 && code < 0xE000) continue;
        size_t size = 1 + utf8_encode(code, text + 1);
        text[size++] = 'b';
        for (size_t i = 0; i < N_RULES; i++) {
            CHECK_OK(text_normalize(tokenizers[i], (finch_text){(const char *)text, size}, 0, i % 2 != 0, b, &err), &err);
            CHECK(b->size <= 2 + TEXT_GROWTH_MAX * (size - 2));
            crc = crc32_of(crc32_of(crc, b->at, b->size), (const unsigned char *)"\n", 1);
        }
        unsigned class = text_class(tokenizers[0], code);
        CHECK_EQUAL(unicode_class(code), class);
        answer[0] = (class & CHAR_WHITE) != 0 ? 'S' : (class & CHAR_PUNCT) != 0 ? 'P' : 'W';
        answer[1] = unicode_is_word(code) ? 'w' : 'n';
        crc = crc32_of(crc, answer, sizeof answer);
    }
    return crc;
}

TEST(every_code_point_equals_the_reference)
{
    text_tokenizer *tokenizers[N_RULES];
    text_buffer b = {0};
    size_t n_blocks = 0;
    char *content = NULL;
    read_fixture(&content);
    for (size_t i = 0; i < N_RULES; i++) tokenizers[i] = open_rules(rules[i]);
    for (char *line = content, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        if (*line == '#' || *line == 'p') continue;
        char *rest;
        uint32_t first = (uint32_t)strtoul(line, &rest, 16), wanted = (uint32_t)strtoul(rest, NULL, 16);
        uint32_t crc = block_crc(tokenizers, first, &b);
        if (crc != wanted) print_error("the block at U+%04X differs\n", first);
        CHECK(crc == wanted);
        n_blocks++;
    }
    CHECK_EQUAL(UNICODE_LIMIT / BLOCK_CODES, n_blocks);
    text_buffer_free(&b);
    for (size_t i = 0; i < N_RULES; i++) text_tokenizer_close(tokenizers[i]);
    mem_free(content);
}

TEST(canonical_order_equals_the_reference)
{
    finch_error err;
    uint32_t moving[256], crc = 0;
    size_t n = 0;
    text_buffer b = {0};
    char *content = NULL, *rest = NULL;
    read_fixture(&content);
    const char *at = strstr(content, "\npairs ");
    CHECK(at != NULL);
    uint32_t wanted = (uint32_t)strtoul(at + strlen("\npairs "), &rest, 16);
    for (at = rest; n < 256; at = rest) {
        uint32_t code = (uint32_t)strtoul(at, &rest, 16);
        if (rest == at) break;
        moving[n++] = code;
    }
    CHECK(n > 30);
    text_tokenizer *t = open_rules(rules[0]);
    for (size_t left = 0; left < n; left++) {
        for (size_t right = 0; right < n; right++) {
            unsigned char text[3 * UTF8_MAX_BYTES];
            size_t size = utf8_encode(moving[left], text);
            size += utf8_encode(0x301, text + size);
            size += utf8_encode(moving[right], text + size);
            CHECK_OK(text_normalize(t, (finch_text){(const char *)text, size}, 0, false, &b, &err), &err);
            crc = crc32_of(crc, b.at, b.size);
        }
    }
    CHECK(crc == wanted);
    text_buffer_free(&b);
    text_tokenizer_close(t);
    mem_free(content);
}

TEST(utf8_round_trips_and_refuses_the_rest)
{
    for (uint32_t code = 0; code < UNICODE_LIMIT; code++) {
        unsigned char text[UTF8_MAX_BYTES];
        size_t size = utf8_encode(code, text);
        utf8_char c = utf8_decode(text, text + size);
        bool surrogate = code >= 0xD800 && code < 0xE000;
        CHECK(c.valid == !surrogate);
        CHECK(surrogate ? c.code == UTF8_REPLACEMENT && c.size == 1 : c.code == code && c.size == size);
        CHECK_EQUAL(surrogate ? 0 : size, utf8_valid_size(text, size));
        for (size_t cut = 1; cut < size && !surrogate; cut++) { /* a cut sequence is one ill-formed part */
            c = utf8_decode(text, text + cut);
            CHECK(!c.valid && c.size == cut);
        }
    }
}
