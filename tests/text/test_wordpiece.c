/* Ids and spans against frozen answers of Hugging Face tokenizers (tests/fixtures/text/freeze.py), and what must hold
 * for any text. */
#include "harness.h"

#include "base/file.h"
#include "base/json.h"
#include "base/rng.h"
#include "text/normalize.h"
#include "text/text.h"

#include <stdlib.h>

enum { CASE_TOKENS = 24, TEXT_BYTES = 1 << 20 };

static char *fixture(const char *name, size_t *size)
{
    finch_error err;
    char path[512];
    char *content = NULL;
    snprintf(path, sizeof path, "%s/text/%s", FIXTURES, name);
    CHECK_OK(file_read(path, 1u << 24, &content, size, &err), &err);
    return content;
}

static text_tokenizer *open_json(const char *name)
{
    finch_error err;
    text_tokenizer *t = NULL;
    size_t size;
    char *content = fixture(name, &size);
    CHECK_OK(text_tokenizer_from_json(content, size, name, &t, &err), &err);
    mem_free(content);
    return t;
}

static text_tokenizer *open_vocab(bool lower_case)
{
    finch_error err;
    text_tokenizer *t = NULL;
    size_t size;
    char *content = fixture("vocab.txt", &size);
    CHECK_OK(text_tokenizer_from_vocab(content, size, lower_case, &t, &err), &err);
    mem_free(content);
    return t;
}

static size_t from_hex(const char *hex, char *out)
{
    size_t n = strlen(hex) / 2;
    for (size_t i = 0; i < n; i++) {
        char pair[3] = {hex[2 * i], hex[2 * i + 1], '\0'};
        out[i] = (char)strtoul(pair, NULL, 16);
    }
    return n;
}

/* The text in a block of exactly its size, so that the address sanitizer sees a read past it. */
static finch_text exact(const char *text, size_t size)
{
    void *block;
    CHECK_OK(mem_alloc(size, 1, &block, NULL), NULL);
    if (size > 0) memcpy(block, text, size);
    return (finch_text){block, size};
}

static void check_case(const text_tokenizer *t, finch_text text, const json_t *expected, text_scratch *scratch)
{
    finch_error err;
    int32_t ids[CASE_TOKENS], plain_ids[CASE_TOKENS];
    text_span spans[CASE_TOKENS];
    size_t n, n_plain;
    bool truncated, plain_truncated;
    const json_t *wanted_ids = json_object_get(expected, "ids"), *wanted_spans = json_object_get(expected, "spans");
    CHECK_OK(text_encode(t, text, CASE_TOKENS, ids, &n, &truncated, spans, scratch, &err), &err);
    CHECK_OK(text_encode(t, text, CASE_TOKENS, plain_ids, &n_plain, &plain_truncated, NULL, scratch, &err), &err);
    CHECK_EQUAL(json_array_size(wanted_ids), n);
    CHECK_EQUAL(n, n_plain);
    CHECK_EQUAL(json_is_true(json_object_get(expected, "truncated")), truncated);
    CHECK_EQUAL(truncated, plain_truncated);
    for (size_t i = 0; i < n; i++) {
        const json_t *span = json_array_get(wanted_spans, i);
        CHECK_EQUAL(json_integer_value(json_array_get(wanted_ids, i)), ids[i]);
        CHECK_EQUAL(ids[i], plain_ids[i]);
        CHECK_EQUAL(json_integer_value(json_array_get(span, 0)), spans[i].begin);
        CHECK_EQUAL(json_integer_value(json_array_get(span, 1)), spans[i].end);
    }
}

static void check_cases(const text_tokenizer *t, const char *key)
{
    finch_error err;
    size_t size, n_cases = 0;
    char *content = fixture("cases.jsonl", &size), *raw = malloc(size);
    text_scratch *scratch;
    CHECK(raw != NULL);
    CHECK_OK(text_scratch_create(&scratch, &err), &err);
    for (char *line = content, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        json_t *row;
        CHECK_OK(json_parse(line, (size_t)(end - line), "cases.jsonl", &row, &err), &err);
        finch_text text = exact(raw, from_hex(json_string_value(json_object_get(row, "hex")), raw));
        check_case(t, text, json_object_get(row, key), scratch);
        mem_free((void *)(uintptr_t)text.at);
        json_decref(row);
        n_cases++;
    }
    CHECK(n_cases > 1000);
    text_scratch_destroy(scratch);
    free(raw);
    mem_free(content);
}

static void check_json(const char *file, const char *key)
{
    text_tokenizer *t = open_json(file);
    check_cases(t, key);
    text_tokenizer_close(t);
}

TEST(bert_equals_the_reference)
{
    check_json("bert.json", "bert");
}
TEST(cased_bert_equals_the_reference)
{
    check_json("cased.json", "cased");
}
TEST(mpnet_equals_the_reference)
{
    check_json("mpnet.json", "mpnet");
}
TEST(added_tokens_equal_the_reference)
{
    check_json("added.json", "added");
}

TEST(a_vocabulary_alone_equals_the_reference)
{
    text_tokenizer *uncased = open_vocab(true), *cased = open_vocab(false);
    check_cases(uncased, "bert");
    check_cases(cased, "cased");
    text_tokenizer_close(uncased);
    text_tokenizer_close(cased);
}

TEST(special_tokens_and_pieces_are_told)
{
    text_tokenizer *bert = open_json("bert.json"), *mpnet = open_json("mpnet.json");
    text_special s = text_tokenizer_special(bert);
    size_t size;
    CHECK_EQUAL(TEXT_BERT, text_tokenizer_style(bert));
    CHECK(s.pad == 0 && s.unk == 1 && s.cls == 2 && s.sep == 3 && s.mask == 4);
    s = text_tokenizer_special(mpnet);
    CHECK_EQUAL(TEXT_MPNET, text_tokenizer_style(mpnet));
    CHECK(s.cls == 0 && s.pad == 1 && s.sep == 2 && s.unk == 4 && s.mask == 5);
    const char *piece = text_tokenizer_piece(bert, 2, &size);
    CHECK(size == 5 && memcmp(piece, "[CLS]", 5) == 0);
    CHECK(text_tokenizer_piece(bert, -1, &size) == NULL && size == 0);
    CHECK(text_tokenizer_piece(bert, (int32_t)text_tokenizer_vocab_size(bert), &size) == NULL);
    text_tokenizer_close(bert);
    text_tokenizer_close(mpnet);
}

/* ---- any text -------------------------------------------------------------------------------------------------- */

static size_t random_text(rng *r, char *out, size_t max)
{
    static const char *const parts[] = {"a",
                                        "market ",
                                        "BULL",
                                        " ",
                                        "$",
                                        "#",
                                        "é",
                                        "e\xCC\x81",
                                        "漢",
                                        "😀",
                                        "\xFF",
                                        "[MASK]",
                                        "\xE2\x80\x99",
                                        "İ",
                                        "\xE3\x80\xAE",
                                        "\xF0\x9D\x85\xA5",
                                        "x9",
                                        "\t",
                                        "한"};
    size_t size = 0;
    for (uint64_t n = rng_below(r, 40); n > 0; n--) {
        const char *part = parts[rng_below(r, sizeof parts / sizeof parts[0])];
        if (size + strlen(part) > max) break;
        memcpy(out + size, part, strlen(part));
        size += strlen(part);
    }
    return size;
}

TEST(a_shorter_maximum_gives_a_prefix)
{
    finch_error err;
    text_tokenizer *t = open_json("bert.json");
    text_scratch *scratch;
    rng r = {1, 2, 0};
    CHECK_OK(text_scratch_create(&scratch, &err), &err);
    for (int round = 0; round < 2000; round++) {
        char text[256];
        int32_t all[512], some[512];
        size_t size = random_text(&r, text, sizeof text), n, n_some, max = 2 + (size_t)rng_below(&r, 20);
        bool truncated;
        CHECK_OK(text_encode(t, (finch_text){text, size}, 512, all, &n, &truncated, NULL, scratch, &err), &err);
        CHECK(!truncated);
        CHECK_OK(text_encode(t, (finch_text){text, size}, max, some, &n_some, &truncated, NULL, scratch, &err), &err);
        CHECK_EQUAL(n < max ? n : max, n_some);
        CHECK_EQUAL(n > max, truncated);
        CHECK(memcmp(all, some, (n_some - 1) * sizeof *all) == 0);
        CHECK_EQUAL(all[n - 1], some[n_some - 1]);
    }
    text_scratch_destroy(scratch);
    text_tokenizer_close(t);
}

TEST(spans_lie_in_the_text_and_never_go_back)
{
    finch_error err;
    text_tokenizer *t = open_json("mpnet.json");
    text_scratch *scratch;
    rng r = {3, 4, 0};
    CHECK_OK(text_scratch_create(&scratch, &err), &err);
    for (int round = 0; round < 2000; round++) {
        char text[256];
        int32_t ids[512];
        text_span spans[512];
        size_t size = random_text(&r, text, sizeof text), n;
        CHECK_OK(text_encode(t, (finch_text){text, size}, 512, ids, &n, NULL, spans, scratch, &err), &err);
        for (size_t i = 1; i + 1 < n; i++) {
            CHECK(spans[i].begin < spans[i].end && spans[i].end <= size);
            CHECK(i == 1 || spans[i].begin >= spans[i - 1].begin);
        }
    }
    text_scratch_destroy(scratch);
    text_tokenizer_close(t);
}

TEST(runs_of_ascii_read_as_their_characters_do)
{
    finch_error err;
    text_tokenizer *t = open_json("bert.json");
    text_buffer whole = {0}, one = {0};
    rng r = {5, 6, 0};
    for (int round = 0; round < 3000; round++) {
        char text[64], joined[64];
        size_t size = (size_t)rng_below(&r, sizeof text), n = 0;
        for (size_t i = 0; i < size; i++)
            text[i] = (char)(rng_below(&r, 8) == 0 ? rng_below(&r, 128) : 0x20 + rng_below(&r, 0x5F));
        finch_text copy = exact(text, size);
        CHECK_OK(text_normalize(t, copy, 0, false, &whole, &err), &err);
        for (size_t i = 0; i < size; i++) {
            CHECK_OK(text_normalize(t, (finch_text){text + i, 1}, 0, true, &one, &err), &err);
            memcpy(joined + n, one.at, one.size);
            n += one.size;
        }
        CHECK_EQUAL(n, whole.size);
        CHECK(memcmp(joined, whole.at, n) == 0);
        mem_free((void *)(uintptr_t)copy.at);
    }
    text_buffer_free(&whole);
    text_buffer_free(&one);
    text_tokenizer_close(t);
}

TEST(a_megabyte_of_anything_takes_linear_time)
{
    static const char *const units[] = {
        "a",  "!",  " ", "\xFF",   "",       "é",       "\xCC\x81", "\xE3\x80\xAE", "\xE3\x80\xAE\xF0\x9D\x85\xA5",
        "漢", "😀", "[", "[MASK]", "<mask>", " <mask>", "a "};
    finch_error err;
    text_tokenizer *t = open_json("mpnet.json");
    text_scratch *scratch;
    char *text = malloc(TEXT_BYTES);
    CHECK(text != NULL);
    CHECK_OK(text_scratch_create(&scratch, &err), &err);
    for (size_t u = 0; u < sizeof units / sizeof units[0]; u++) {
        int32_t ids[128];
        text_span spans[128];
        size_t n, length = strlen(units[u]);
        for (size_t i = 0; i < TEXT_BYTES; i++) text[i] = length == 0 ? '\0' : units[u][i % length];
        CHECK_OK(text_encode(t, (finch_text){text, TEXT_BYTES}, 128, ids, &n, NULL, spans, scratch, &err), &err);
        CHECK(n >= 2 && n <= 128);
    }
    text_scratch_destroy(scratch);
    free(text);
    text_tokenizer_close(t);
}

TEST(encoding_allocates_nothing_in_steady_state)
{
    finch_error err;
    text_tokenizer *t = open_json("bert.json");
    text_scratch *scratch;
    uint64_t before = 0;
    CHECK_OK(text_scratch_create(&scratch, &err), &err);
    for (int round = 0; round < 2; round++) {
        rng r = {7, 8, 0};
        before = mem_count().allocations;
        for (int i = 0; i < 500; i++) {
            char text[256];
            int32_t ids[64];
            text_span spans[64];
            size_t n, size = random_text(&r, text, sizeof text);
            CHECK_OK(text_encode(t, (finch_text){text, size}, 64, ids, &n, NULL, i % 2 == 0 ? NULL : spans, scratch, &err),
                     &err);
        }
    }
    CHECK_EQUAL(before, mem_count().allocations);
    text_scratch_destroy(scratch);
    text_tokenizer_close(t);
}

TEST(too_small_a_maximum_is_refused)
{
    finch_error err;
    text_tokenizer *t = open_json("bert.json");
    text_scratch *scratch;
    int32_t ids[2];
    size_t n = 7;
    bool truncated;
    CHECK_OK(text_scratch_create(&scratch, &err), &err);
    CHECK_STATUS(FINCH_E_USAGE, text_encode(t, (finch_text){"a", 1}, 1, ids, &n, NULL, NULL, scratch, &err), &err);
    CHECK_EQUAL(0, n);
    CHECK_OK(text_encode(t, (finch_text){"a", 1}, 2, ids, &n, &truncated, NULL, scratch, &err), &err);
    CHECK(n == 2 && truncated && ids[0] == 2 && ids[1] == 3);
    CHECK_OK(text_encode(t, (finch_text){NULL, 0}, 2, ids, &n, &truncated, NULL, scratch, &err), &err);
    CHECK(n == 2 && !truncated);
    text_scratch_destroy(scratch);
    text_tokenizer_close(t);
}

TEST(every_failing_allocation_while_encoding_is_reported)
{
    static const char text[] = "\xFF marks: e\xCC\x81 \xE3\x80\xAE\xF0\x9D\x85\xA5 [MASK] end";
    finch_error err;
    text_tokenizer *t = open_json("bert.json");
    int failures = 0;
    for (int nth = 1; fault_arm(FAULT_ALLOC, nth); nth++) {
        text_scratch *scratch = NULL;
        int32_t ids[32];
        text_span spans[32];
        size_t n = 0;
        finch_status st = text_scratch_create(&scratch, &err);
        if (st == FINCH_OK)
            st = text_encode(t, (finch_text){text, sizeof text - 1}, 32, ids, &n, NULL, spans, scratch, &err);
        text_scratch_destroy(scratch);
        if (!fault_disarm()) {
            CHECK_OK(st, &err);
            break;
        }
        CHECK_STATUS(FINCH_E_MEMORY, st, &err);
        CHECK_EQUAL(0, n);
        failures++;
    }
    CHECK(failures >= 6);
    text_tokenizer_close(t);
}
