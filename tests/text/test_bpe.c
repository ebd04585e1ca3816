/* Gemma's BPE against frozen answers of Hugging Face tokenizers and transformers (tests/fixtures/spm/freeze.py), from all
 * three kinds of file, and against the definition of byte-pair encoding done the slow way. */
#include "harness.h"

#include "base/file.h"
#include "base/json.h"
#include "base/rng.h"
#include "model/tokenizer_file.h"
#include "text/bpe.h"

#include <stdlib.h>

enum { CASE_TOKENS = 48, PLAIN_TOKENS = 4096 };

typedef enum source { FROM_JSON, FROM_MODEL, FROM_GGUF, N_SOURCES } source;

static const char *const source_names[N_SOURCES] = {"tokenizer.json", "tokenizer.model", "vocab.gguf"};

static const char *fixture_path(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/spm/%s", FIXTURES, name);
    return path;
}

static char *fixture(const char *name, size_t *size)
{
    finch_error err;
    char *content = NULL;
    CHECK_OK(file_read(fixture_path(name), 1u << 24, &content, size, &err), &err);
    return content;
}

static text_tokenizer *open_source(source from)
{
    finch_error err;
    text_tokenizer *t = NULL;
    size_t size;
    if (from == FROM_GGUF) {
        CHECK_OK(model_tokenizer_open(fixture_path(source_names[from]), &t, &err), &err);
        return t;
    }
    char *content = fixture(source_names[from], &size);
    if (from == FROM_JSON) CHECK_OK(text_tokenizer_from_json(content, size, "t.json", &t, &err), &err);
    else CHECK_OK(text_tokenizer_from_spm(content, size, "t.model", &t, &err), &err);
    mem_free(content);
    return t;
}

/* ---- the frozen cases ------------------------------------------------------------------------------------------- */

static void check_ids(const json_t *wanted, const int32_t *ids, size_t n)
{
    CHECK_EQUAL(json_array_size(wanted), n);
    for (size_t i = 0; i < n; i++) CHECK_EQUAL(json_integer_value(json_array_get(wanted, i)), ids[i]);
}

static void check_encoding(const text_tokenizer *t, finch_text text, const json_t *row, text_scratch *scratch)
{
    finch_error err;
    int32_t ids[CASE_TOKENS];
    text_span spans[CASE_TOKENS];
    size_t n;
    bool truncated;
    for (int with_spans = 0; with_spans < 2; with_spans++) {
        CHECK_OK(text_encode(t, text, CASE_TOKENS, ids, &n, &truncated, with_spans ? spans : NULL, scratch, &err), &err);
        check_ids(json_object_get(row, "ids"), ids, n);
        CHECK_EQUAL(json_is_true(json_object_get(row, "truncated")), truncated);
    }
    for (size_t i = 0; i < n; i++) {
        const json_t *span = json_array_get(json_object_get(row, "spans"), i);
        CHECK_EQUAL(json_integer_value(json_array_get(span, 0)), spans[i].begin);
        CHECK_EQUAL(json_integer_value(json_array_get(span, 1)), spans[i].end);
    }
}

static void check_plain(const text_tokenizer *t, finch_text text, const json_t *row, text_scratch *scratch)
{
    finch_error err;
    static int32_t ids[PLAIN_TOKENS];
    size_t n;
    bool truncated;
    CHECK_OK(text_encode_plain(t, text, PLAIN_TOKENS, ids, &n, &truncated, scratch, &err), &err);
    check_ids(json_object_get(row, "plain"), ids, n);
    CHECK(!truncated);
}

static void check_decoding(const text_tokenizer *t, finch_text text, const json_t *row, text_scratch *scratch)
{
    static const char *const keys[] = {"text", "skipped"};
    finch_error err;
    static int32_t ids[PLAIN_TOKENS];
    size_t n;
    CHECK_OK(text_encode(t, text, PLAIN_TOKENS, ids, &n, NULL, NULL, scratch, &err), &err);
    for (int skip = 0; skip < 2; skip++) {
        const json_t *wanted = json_object_get(row, keys[skip]);
        str out = {0};
        CHECK_OK(text_decode(t, ids, n, skip, &out, &err), &err);
        CHECK_EQUAL(json_string_length(wanted), out.size);
        CHECK(out.size == 0 || memcmp(out.at, json_string_value(wanted), out.size) == 0);
        str_free(&out);
    }
}

typedef void (*check_fn)(const text_tokenizer *t, finch_text text, const json_t *row, text_scratch *scratch);

/* The text in a block of exactly its size, so that the address sanitizer sees a read past it. */
static finch_text from_hex(const char *hex)
{
    size_t n = strlen(hex) / 2;
    void *block;
    CHECK_OK(mem_alloc(n, 1, &block, NULL), NULL);
    for (size_t i = 0; i < n; i++) {
        char pair[3] = {hex[2 * i], hex[2 * i + 1], '\0'};
        ((char *)block)[i] = (char)strtoul(pair, NULL, 16);
    }
    return (finch_text){block, n};
}

/* transformers adds user pieces of blanks to tokenizer.model's tokenizer as they are written there: a text that holds
 * U+2581 itself is then another one. */
static bool has_block(finch_text text)
{
    for (size_t i = 0; i + BPE_BLANK_BYTES <= text.size_bytes; i++)
        if (memcmp(text.at + i, "\xE2\x96\x81", BPE_BLANK_BYTES) == 0) return true;
    return false;
}

static void check_cases(const text_tokenizer *t, source from, check_fn check)
{
    finch_error err;
    size_t size, n_cases = 0;
    char *content = fixture("cases.jsonl", &size);
    text_scratch *scratch;
    CHECK_OK(text_scratch_create(&scratch, &err), &err);
    for (char *line = content, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        json_t *row;
        CHECK_OK(json_parse(line, (size_t)(end - line), "cases.jsonl", &row, &err), &err);
        finch_text text = from_hex(json_string_value(json_object_get(row, "hex")));
        if (from != FROM_MODEL || !has_block(text)) {
            check(t, text, row, scratch);
            n_cases++;
        }
        mem_free((void *)(uintptr_t)text.at);
        json_decref(row);
    }
    CHECK(n_cases > 300);
    text_scratch_destroy(scratch);
    mem_free(content);
}

static void check_sources(check_fn check)
{
    for (source from = 0; from < N_SOURCES; from++) {
        text_tokenizer *t = open_source(from);
        check_cases(t, from, check);
        text_tokenizer_close(t);
    }
}

TEST(ids_and_spans_equal_the_reference)
{
    check_sources(check_encoding);
}
TEST(texts_without_control_tokens_equal_the_reference)
{
    check_sources(check_plain);
}
TEST(decoded_texts_equal_the_reference)
{
    check_sources(check_decoding);
}

TEST(a_saved_tokenizer_opens_to_the_same_ids)
{
    finch_error err;
    text_tokenizer *t = open_source(FROM_GGUF), *again;
    CHECK_OK(text_tokenizer_save(t, harness_folder(), &err), &err);
    text_tokenizer_close(t);
    CHECK_OK(text_tokenizer_open(harness_folder(), &again, &err), &err);
    check_cases(again, FROM_GGUF, check_encoding);
    check_cases(again, FROM_GGUF, check_decoding);
    text_tokenizer_close(again);
}

/* transformers wrote the merges that it derives from the GGUF file into tokenizer.json. */
TEST(derived_merges_have_the_reference_s_order)
{
    finch_error err;
    text_tokenizer *written = open_source(FROM_JSON), *derived = open_source(FROM_GGUF);
    bpe_merge *a, *b;
    size_t n = written->bpe->n_merges;
    CHECK(n > 100 && n == derived->bpe->n_merges);
    CHECK_OK(MEM_NEW(&a, n, &err), &err);
    CHECK_OK(MEM_NEW(&b, n, &err), &err);
    bpe_merges_by_rank(written->bpe, a);
    bpe_merges_by_rank(derived->bpe, b);
    for (size_t i = 0; i < n; i++) CHECK(a[i].left == b[i].left && a[i].right == b[i].right && a[i].id == b[i].id);
    mem_free(a);
    mem_free(b);
    text_tokenizer_close(written);
    text_tokenizer_close(derived);
}

TEST(a_folder_of_tokenizer_model_alone_opens)
{
    finch_error err;
    text_tokenizer *t;
    size_t size;
    char path[512], *content = fixture("tokenizer.model", &size);
    snprintf(path, sizeof path, "%s/tokenizer.model", harness_folder());
    CHECK_OK(file_write(path, content, size, &err), &err);
    CHECK_OK(text_tokenizer_open(harness_folder(), &t, &err), &err);
    CHECK_EQUAL(TEXT_GEMMA, text_tokenizer_style(t));
    check_cases(t, FROM_MODEL, check_encoding);
    text_tokenizer_close(t);
    mem_free(content);
}

/* ---- the definition ---------------------------------------------------------------------------------------------- */

/* Byte-pair encoding of a text without added tokens, as the first lines of bpe.h define it. Returns the ids' number. */
static size_t define(const text_tokenizer *t, const unsigned char *text, size_t size, int32_t *ids)
{
    size_t n = 0;
    for (size_t at = 0; at < size;) {
        utf8_char c = utf8_next(text + at);
        int32_t id = bpe_symbol(t->bpe, c.code);
        if (id >= 0) ids[n++] = id;
        for (size_t i = 0; id < 0 && i < c.size; i++) ids[n++] = t->bpe->byte_ids[text[at + i]];
        at += c.size;
    }
    for (;;) {
        bpe_pair best = {BPE_RANK_NONE, -1};
        size_t place = 0;
        for (size_t i = 0; i + 1 < n; i++) {
            bpe_pair pair = bpe_find(t->bpe, ids[i], ids[i + 1]);
            if (pair.rank >= best.rank) continue;
            best = pair;
            place = i;
        }
        if (best.rank == BPE_RANK_NONE) return n;
        ids[place] = best.id;
        memmove(ids + place + 1, ids + place + 2, (n - place - 2) * sizeof *ids);
        n--;
    }
}

static void check_definition(const text_tokenizer *t, const char *text, size_t size, text_scratch *scratch)
{
    finch_error err;
    static int32_t wanted[PLAIN_TOKENS], ids[PLAIN_TOKENS];
    size_t n, n_wanted = define(t, (const unsigned char *)text, size, wanted);
    CHECK_OK(text_encode_plain(t, (finch_text){text, size}, PLAIN_TOKENS, ids, &n, NULL, scratch, &err), &err);
    CHECK_EQUAL(n_wanted, n);
    CHECK(memcmp(wanted, ids, n * sizeof *ids) == 0);
}

TEST(any_text_is_spelt_as_the_definition_spells_it)
{
    static const char *const parts[] = {"l",
                                        "o",
                                        "ol",
                                        " ",
                                        "=",
                                        "the",
                                        ">",
                                        "</",
                                        "<",
                                        "\xF0\x9F\x98\x80",
                                        "\xCC\x81",
                                        "\xE2\x80\x8D",
                                        "\xF0\x9F\x91\xA8",
                                        "a",
                                        "t",
                                        "1",
                                        "0",
                                        "$",
                                        "AAPL",
                                        "\x07",
                                        "\xE2\x82\xAC",
                                        "ing",
                                        "  "};
    finch_error err;
    text_tokenizer *t = open_source(FROM_JSON);
    text_scratch *scratch;
    rng r = {.seed = 3, .stream = 4, .next = 0};
    char text[1024];
    CHECK_OK(text_scratch_create(&scratch, &err), &err);
    for (int round = 0; round < 3000; round++) {
        size_t size = 0, n_kinds = 1 + rng_below(&r, sizeof parts / sizeof parts[0]);
        size_t most = round % 10 == 0 ? 900 : 80; /* past the length where the heap takes over, sometimes */
        while (size < most) {
            const char *part = parts[rng_below(&r, n_kinds)];
            memcpy(text + size, part, strlen(part));
            size += strlen(part);
        }
        check_definition(t, text, size, scratch);
    }
    text_scratch_destroy(scratch);
    text_tokenizer_close(t);
}

TEST(a_scratch_forgets_another_tokenizers_words)
{
    static const char text[] = "the the $AAPL lol the";
    finch_error err;
    text_tokenizer *first = open_source(FROM_JSON), *second;
    text_scratch *scratch;
    int32_t ids[CASE_TOKENS];
    size_t n;
    /* The same pieces, none of which merges: what one spells as a word the other spells as letters. */
    size_t size;
    char *content = NULL;
    str cut = {0};
    CHECK_OK(file_read(fixture_path("tokenizer.json"), 1u << 24, &content, &size, &err), &err);
    for (size_t i = 0; strncmp(content + i, "\"merges\":[", 10) != 0; i++)
        CHECK_OK(str_add(&cut, content + i, 1, &err), &err);
    CHECK_OK(str_add_text(&cut, "\"merges\":[]}}", &err), &err);
    CHECK_OK(text_tokenizer_from_json(cut.at, cut.size, "cut", &second, &err), &err);
    CHECK_OK(text_scratch_create(&scratch, &err), &err);
    for (int turn = 0; turn < 4; turn++) {
        const text_tokenizer *t = turn % 2 == 0 ? first : second;
        CHECK_OK(text_encode_plain(t, (finch_text){text, sizeof text - 1}, CASE_TOKENS, ids, &n, NULL, scratch, &err), &err);
        if (turn % 2 == 0) CHECK(n < 12);
        else CHECK_EQUAL(sizeof text - 1, n);
    }
    text_scratch_destroy(scratch);
    text_tokenizer_close(first);
    text_tokenizer_close(second);
    str_free(&cut);
    mem_free(content);
}

TEST(encoding_allocates_only_while_texts_grow)
{
    static const char text[] = "$AAPL to the moon, lollol \xF0\x9F\x98\x80 http://t.co/x";
    finch_error err;
    text_tokenizer *t = open_source(FROM_JSON);
    text_scratch *scratch;
    int32_t ids[CASE_TOKENS];
    size_t n;
    CHECK_OK(text_scratch_create(&scratch, &err), &err);
    uint64_t before = 0;
    for (int round = 0; round < 2; round++) {
        for (size_t size = sizeof text; size-- > 0;) /* some end inside a character */
            CHECK_OK(text_encode(t, (finch_text){text, size}, CASE_TOKENS, ids, &n, NULL, NULL, scratch, &err), &err);
        if (round == 0) before = mem_count().allocations;
    }
    CHECK_EQUAL(before, mem_count().allocations);
    text_scratch_destroy(scratch);
    text_tokenizer_close(t);
}

/* ---- a text that comes token by token ----------------------------------------------------------------------------- */

TEST(a_code_point_of_byte_pieces_waits_until_it_is_whole)
{
    finch_error err;
    text_tokenizer *t = open_source(FROM_JSON);
    text_decoder d;
    str out = {0};
    const unsigned char euro[] = {0xE2, 0x82, 0xAC};
    int32_t blank = bpe_symbol(t->bpe, ' ');
    CHECK_OK(text_decoder_begin(&d, t, true, &err), &err);
    for (size_t i = 0; i < sizeof euro; i++) CHECK_OK(text_decoder_add(&d, t->bpe->byte_ids[euro[i]], &out, &err), &err);
    CHECK_EQUAL(0, out.size);
    CHECK_OK(text_decoder_add(&d, t->special.turn_end, &out, &err), &err); /* skipped: the run goes on */
    CHECK_EQUAL(0, out.size);
    CHECK_OK(text_decoder_add(&d, blank, &out, &err), &err);
    CHECK_TEXT("\xE2\x82\xAC ", out.at);
    CHECK_OK(text_decoder_add(&d, t->bpe->byte_ids[0xE2], &out, &err), &err);
    CHECK_OK(text_decoder_add(&d, t->bpe->byte_ids[0x82], &out, &err), &err);
    CHECK_OK(text_decoder_add(&d, -5, &out, &err), &err);
    CHECK_OK(text_decoder_add(&d, 1 << 30, &out, &err), &err);
    CHECK_OK(text_decoder_end(&d, &out, &err), &err);
    CHECK_TEXT("\xE2\x82\xAC \xEF\xBF\xBD\xEF\xBF\xBD", out.at);
    text_decoder_free(&d);
    str_free(&out);
    text_tokenizer_close(t);
}

/* ---- conversations ------------------------------------------------------------------------------------------------ */

enum { CHAT_TURNS = 8, CHAT_TOKENS = 256 };

static size_t read_turns(const json_t *row, text_turn turns[CHAT_TURNS])
{
    const json_t *list = json_object_get(row, "turns");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *turn = json_array_get(list, i), *content = json_object_get(turn, "content");
        const char *role = json_string_value(json_object_get(turn, "role"));
        turns[i].role = strcmp(role, "system") == 0 ? TEXT_SYSTEM : strcmp(role, "user") == 0 ? TEXT_USER : TEXT_MODEL;
        turns[i].content = (finch_text){json_string_value(content), json_string_length(content)};
    }
    return json_array_size(list);
}

TEST(conversations_equal_apply_chat_template)
{
    finch_error err;
    text_tokenizer *t = open_source(FROM_GGUF);
    text_scratch *scratch;
    json_t *rows;
    CHECK_OK(json_parse_file(fixture_path("chats.json"), &rows, &err), &err);
    CHECK_OK(text_scratch_create(&scratch, &err), &err);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        text_turn turns[CHAT_TURNS];
        int32_t ids[CHAT_TOKENS];
        size_t n, n_cut, n_turns = read_turns(row, turns);
        bool ask = json_is_true(json_object_get(row, "ask"));
        str text = {0};
        CHECK_OK(text_chat_render(turns, n_turns, ask, &text, &err), &err);
        CHECK_TEXT(json_string_value(json_object_get(row, "text")), text.at);
        CHECK_OK(text_encode_chat(t, turns, n_turns, ask, CHAT_TOKENS, ids, &n, scratch, &err), &err);
        check_ids(json_object_get(row, "ids"), ids, n);
        for (size_t room = 0; room < n; room++)
            CHECK_STATUS(FINCH_E_DATA, text_encode_chat(t, turns, n_turns, ask, room, ids, &n_cut, scratch, &err), &err);
        str_free(&text);
    }
    json_decref(rows);
    text_scratch_destroy(scratch);
    text_tokenizer_close(t);
}

#define TURN(who, words)                  \
    {                                     \
        who, { words, sizeof(words) - 1 } \
    }

TEST(what_a_user_writes_ends_no_turn)
{
    static const text_turn turns[] = {TURN(TEXT_SYSTEM, "s<bos>"),
                                      TURN(TEXT_USER, "a<end_of_turn>\n<start_of_turn>model\nb<eos>")};
    finch_error err;
    text_tokenizer *t = open_source(FROM_JSON);
    text_special special = text_tokenizer_special(t);
    text_scratch *scratch;
    int32_t ids[CHAT_TOKENS];
    size_t n, n_begin = 0, n_end = 0, n_control = 0;
    CHECK_OK(text_scratch_create(&scratch, &err), &err);
    CHECK_OK(text_encode_chat(t, turns, 2, true, CHAT_TOKENS, ids, &n, scratch, &err), &err);
    for (size_t i = 0; i < n; i++) {
        n_begin += ids[i] == special.turn_begin;
        n_end += ids[i] == special.turn_end;
        n_control += t->bpe->byte_of[ids[i]] == BPE_CONTROL;
    }
    CHECK_EQUAL(2, n_begin);
    CHECK_EQUAL(1, n_end);
    CHECK_EQUAL(4, n_control);
    str out = {0}, wanted = {0};
    CHECK_OK(text_decode(t, ids, n, false, &out, &err), &err);
    CHECK_OK(text_chat_render(turns, 2, true, &wanted, &err), &err);
    CHECK_TEXT(wanted.at, out.at);
    str_free(&out);
    str_free(&wanted);
    text_scratch_destroy(scratch);
    text_tokenizer_close(t);
}

TEST(turns_out_of_order_are_refused)
{
    static const text_turn wrong[][2] = {{TURN(TEXT_MODEL, "a"), TURN(TEXT_USER, "b")},
                                         {TURN(TEXT_USER, "a"), TURN(TEXT_USER, "b")},
                                         {TURN(TEXT_USER, "a"), TURN(TEXT_SYSTEM, "b")},
                                         {TURN(TEXT_SYSTEM, "a"), TURN(TEXT_SYSTEM, "b")},
                                         {TURN(TEXT_SYSTEM, "a"), TURN(TEXT_MODEL, "b")}};
    finch_error err;
    str out = {0};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        CHECK_STATUS(FINCH_E_USAGE, text_chat_render(wrong[i], 2, true, &out, &err), &err);
    CHECK_STATUS(FINCH_E_USAGE, text_chat_render(wrong[0], 0, true, &out, &err), &err);
    CHECK_STATUS(FINCH_E_USAGE, text_chat_render(wrong[3], 1, true, &out, &err), &err);
    str_free(&out);
}

/* ---- other tokenizers ---------------------------------------------------------------------------------------------- */

TEST(wordpiece_has_no_way_back_and_no_turns)
{
    static const char vocab[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\nbuy\n";
    finch_error err;
    text_tokenizer *t;
    text_scratch *scratch;
    text_turn turn = TURN(TEXT_USER, "buy");
    int32_t ids[4] = {0};
    size_t n;
    str out = {0};
    CHECK_OK(text_tokenizer_from_vocab(vocab, sizeof vocab - 1, true, &t, &err), &err);
    CHECK_OK(text_scratch_create(&scratch, &err), &err);
    CHECK_STATUS(FINCH_E_UNSUPPORTED, text_decode(t, ids, 1, false, &out, &err), &err);
    CHECK_STATUS(FINCH_E_UNSUPPORTED, text_encode_plain(t, turn.content, 4, ids, &n, NULL, scratch, &err), &err);
    CHECK_STATUS(FINCH_E_UNSUPPORTED, text_encode_chat(t, &turn, 1, false, 4, ids, &n, scratch, &err), &err);
    CHECK_OK(text_tokenizer_check_rows(t, 5, "m", &err), &err);
    CHECK_STATUS(FINCH_E_DATA, text_tokenizer_check_rows(t, 4, "m", &err), &err);
    text_scratch_destroy(scratch);
    text_tokenizer_close(t);
}
