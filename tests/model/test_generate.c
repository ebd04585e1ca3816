/* Answers of a tiny random Gemma (tests/parity/gemma_models.py freeze-tiny) whose 300 words are control tokens, the 256 bytes and some
 * letters: what stays the same whatever is under way beside, stop words, budgets, forms, caches. Beside transformers:
 * tests/parity/test_generate.py. */
#include "harness.h"

#include "base/json.h"
#include "model/generate.h"
#include "text/utf8.h"

#include <stdlib.h>

enum { WORDS = 300, FIRST_BYTE = 6, FIRST_LETTER = FIRST_BYTE + 256, PROMPT = 40, TEXT_MAX = 4096 };

static const char *const control[FIRST_BYTE] = {"<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"};
static const char *const letters[WORDS - FIRST_LETTER] = {"\xE2\x96\x81",
                                                          "a",
                                                          "b",
                                                          "c",
                                                          "d",
                                                          "e",
                                                          "f",
                                                          "g",
                                                          "h",
                                                          "i",
                                                          "j",
                                                          "k",
                                                          "l",
                                                          "m",
                                                          "n",
                                                          "o",
                                                          "p",
                                                          "q",
                                                          "r",
                                                          "s",
                                                          "t",
                                                          "u",
                                                          "v",
                                                          "w",
                                                          "x",
                                                          "y",
                                                          "z",
                                                          "the",
                                                          "\xE2\x96\x81the",
                                                          "\"",
                                                          "{",
                                                          "}",
                                                          "[",
                                                          "]",
                                                          ":",
                                                          ",",
                                                          "1",
                                                          "\xC3\xA9"};

typedef struct bench {
    gemma *g;
    text_tokenizer *t;
    generator *x;
    int32_t prompt[PROMPT];
} bench;

/* With one piece of that kind more than the model has words, where kind is not 0. */
static text_tokenizer *make_tokenizer(uint8_t kind)
{
    static char names[256][8];
    finch_text pieces[WORDS + 1] = {[WORDS] = {"<image>", 7}};
    uint8_t kinds[WORDS + 1] = {[WORDS] = kind};
    finch_error err = {0};
    text_tokenizer *t;
    for (size_t i = 0; i < WORDS; i++) {
        const char *piece = i < FIRST_BYTE     ? control[i]
                            : i < FIRST_LETTER ? names[i - FIRST_BYTE]
                                               : letters[i - FIRST_LETTER];
        if (i >= FIRST_BYTE && i < FIRST_LETTER)
            snprintf(names[i - FIRST_BYTE], sizeof names[0], "<0x%02X>", (unsigned)(i - FIRST_BYTE));
        pieces[i] = (finch_text){piece, strlen(piece)};
        kinds[i] = i == 3             ? TEXT_PIECE_UNKNOWN
                   : i < FIRST_BYTE   ? TEXT_PIECE_CONTROL
                   : i < FIRST_LETTER ? TEXT_PIECE_BYTE
                                      : TEXT_PIECE_NORMAL;
    }
    text_spm spm = {.name = "test",
                    .pieces = pieces,
                    .kinds = kinds,
                    .n = kind != 0 ? WORDS + 1 : WORDS,
                    .bos = 2,
                    .eos = 1,
                    .unk = 3,
                    .pad = 0};
    CHECK_OK(text_tokenizer_from_pieces(&spm, &t, &err), &err);
    return t;
}

static bench bench_open(size_t n_most)
{
    bench b;
    finch_error err = {0};
    rng r = {.seed = 5};
    CHECK_OK(gemma_open(FIXTURES "/models/tiny-gemma", MODEL_F32, &b.g, &err), &err);
    b.t = make_tokenizer(0);
    CHECK_OK(generator_create(b.g, b.t, n_most, 1, &b.x, &err), &err);
    for (size_t i = 0; i < PROMPT; i++)
        b.prompt[i] = (int32_t)(i == 0 ? 2 : FIRST_LETTER + rng_below(&r, WORDS - FIRST_LETTER));
    return b;
}

static void bench_close(bench *b)
{
    generator_destroy(b->x);
    text_tokenizer_close(b->t);
    gemma_close(b->g);
}

/* What the callback got; every piece must be whole UTF-8. */
typedef struct heard {
    char text[TEXT_MAX];
    size_t size, n_pieces;
    size_t enough; /* bytes after which it has had enough; 0: never */
} heard;

static bool hear(void *context, const char *text, size_t size)
{
    heard *h = context;
    CHECK(size > 0 && h->size + size <= TEXT_MAX);
    CHECK_EQUAL(size, utf8_valid_size((const unsigned char *)text, size));
    memcpy(h->text + h->size, text, size);
    h->size += size;
    h->n_pieces++;
    return h->enough == 0 || h->size < h->enough;
}

static generate_request request_of(const bench *b, size_t n_prompt, uint64_t seed)
{
    return (generate_request){
        .prompt = b->prompt, .n_prompt = n_prompt, .how = {1.0, 0, 1.0}, .seed = seed, .max_tokens = 60};
}

static void finish_all(bench *b)
{
    finch_error err = {0};
    for (size_t i = 0; generator_running(b->x) > 0; i++) {
        CHECK(i < 1000);
        CHECK_OK(generator_step(b->x, &err), &err);
    }
}

/* One answer alone; its text is copied. */
static generate_result answer(bench *b, const generate_request *q, char *text)
{
    finch_error err = {0};
    generation *g;
    CHECK_OK(generator_add(b->x, q, &g, &err), &err);
    finish_all(b);
    generate_result r = generation_result(g);
    CHECK(r.text.size_bytes < TEXT_MAX);
    if (r.text.size_bytes > 0) memcpy(text, r.text.at, r.text.size_bytes);
    text[r.text.size_bytes] = '\0';
    generator_remove(b->x, g);
    return r;
}

/* ---- what does not matter ---------------------------------------------------------------------------------------- */

TEST(the_same_seed_gives_the_same_text_whatever_is_beside_it)
{
    enum { N = 5 };
    bench b = bench_open(N);
    char alone[N][TEXT_MAX], again[TEXT_MAX];
    generation *all[N];
    finch_error err = {0};
    for (size_t i = 0; i < N; i++) {
        generate_request q = request_of(&b, 3 + 9 * i, i);
        generate_result r = answer(&b, &q, alone[i]);
        CHECK(r.n_tokens > 0 && r.n_tokens <= q.max_tokens);
        (void)answer(&b, &q, again);
        CHECK_TEXT(alone[i], again);
    }
    CHECK(strcmp(alone[0], alone[1]) != 0);
    for (size_t i = 0; i < N; i++) { /* one after the other joins */
        generate_request q = request_of(&b, 3 + 9 * i, i);
        CHECK_OK(generator_add(b.x, &q, &all[i], &err), &err);
        CHECK_OK(generator_step(b.x, &err), &err);
        CHECK_OK(generator_step(b.x, &err), &err);
    }
    finish_all(&b);
    for (size_t i = 0; i < N; i++) {
        generate_result r = generation_result(all[i]);
        CHECK_EQUAL(strlen(alone[i]), r.text.size_bytes);
        CHECK(memcmp(alone[i], r.text.at, r.text.size_bytes) == 0);
    }
    bench_close(&b);
}

TEST(a_cache_that_is_gone_on_from_changes_nothing)
{
    bench b = bench_open(2);
    char first[TEXT_MAX], second[TEXT_MAX], third[TEXT_MAX];
    generate_request q = request_of(&b, PROMPT, 7), other = request_of(&b, PROMPT - 5, 7);
    CHECK_EQUAL(0, answer(&b, &q, first).n_reused);
    CHECK_EQUAL(PROMPT - 1, answer(&b, &q, second).n_reused);
    CHECK_TEXT(first, second);
    CHECK_EQUAL(PROMPT - 6, answer(&b, &other, second).n_reused);
    bench fresh = bench_open(1);
    CHECK_EQUAL(0, answer(&fresh, &other, third).n_reused);
    CHECK_TEXT(third, second);
    b.prompt[1] = FIRST_LETTER + (b.prompt[1] - FIRST_LETTER + 1) % (WORDS - FIRST_LETTER);
    CHECK_EQUAL(0, answer(&b, &q, third).n_reused);
    CHECK(strcmp(first, third) != 0);
    bench_close(&fresh);
    bench_close(&b);
}

TEST(a_running_answers_cache_is_copied)
{
    bench b = bench_open(2);
    char alone[TEXT_MAX];
    generation *g[2];
    finch_error err = {0};
    generate_request q = request_of(&b, PROMPT, 3);
    (void)answer(&b, &q, alone);
    CHECK_OK(generator_add(b.x, &q, &g[0], &err), &err);
    for (size_t i = 0; i < 5; i++) CHECK_OK(generator_step(b.x, &err), &err);
    CHECK_OK(generator_add(b.x, &q, &g[1], &err), &err);
    CHECK_EQUAL(PROMPT - 1, generation_result(g[1]).n_reused);
    finish_all(&b);
    for (size_t i = 0; i < 2; i++) CHECK(memcmp(alone, generation_result(g[i]).text.at, strlen(alone)) == 0);
    bench_close(&b);
}

/* ---- ends -------------------------------------------------------------------------------------------------------- */

TEST(stop_words_are_found_across_tokens_and_never_handed_out)
{
    bench b = bench_open(1);
    size_t n_found = 0;
    for (uint64_t seed = 0; seed < 20; seed++) {
        char whole[TEXT_MAX], cut[TEXT_MAX];
        generate_request q = request_of(&b, 8, seed);
        generate_result r = answer(&b, &q, whole);
        size_t size = r.text.size_bytes, at = size / 3;
        while (at < size && ((unsigned char)whole[at] & 0xC0u) == 0x80u) at++;
        size_t end = at + 9 < size ? at + 9 : size;
        while (end < size && ((unsigned char)whole[end] & 0xC0u) == 0x80u) end++;
        if (strlen(whole) != size || end - at < 2) continue;
        char stop[32];
        memcpy(stop, whole + at, end - at);
        stop[end - at] = '\0';
        const finch_text stops[] = {{"never said by it", 16}, {stop, end - at}};
        heard h = {.size = 0};
        q.stops = stops;
        q.n_stops = 2;
        q.take = hear;
        q.context = &h;
        CHECK_EQUAL(GENERATE_STOP, answer(&b, &q, cut).end);
        size_t first = (size_t)(strstr(whole, stop) - whole);
        CHECK_EQUAL(first, strlen(cut));
        CHECK(memcmp(whole, cut, first) == 0);
        CHECK_EQUAL(first, h.size);
        CHECK(memcmp(h.text, cut, first) == 0);
        n_found++;
    }
    CHECK(n_found > 10);
    bench_close(&b);
}

TEST(what_is_handed_out_is_the_text)
{
    bench b = bench_open(1);
    size_t n_pieces = 0;
    for (uint64_t seed = 0; seed < 10; seed++) {
        char text[TEXT_MAX];
        heard h = {.size = 0};
        generate_request q = request_of(&b, 5, seed);
        q.take = hear;
        q.context = &h;
        generate_result r = answer(&b, &q, text);
        CHECK_EQUAL(r.text.size_bytes, h.size);
        CHECK(memcmp(text, h.text, h.size) == 0);
        n_pieces += h.n_pieces;
    }
    CHECK(n_pieces > 20);
    bench_close(&b);
}

TEST(a_budget_and_a_reader_end_an_answer)
{
    bench b = bench_open(1);
    char text[TEXT_MAX];
    generate_request q = request_of(&b, 5, 1);
    q.max_tokens = 4;
    generate_result r = answer(&b, &q, text);
    CHECK_EQUAL(GENERATE_LENGTH, r.end);
    CHECK_EQUAL(4, r.n_tokens);
    q.max_tokens = 1 << 20; /* the model's positions are fewer */
    q.n_prompt = 1;
    heard h = {.enough = 3};
    q.take = hear;
    q.context = &h;
    CHECK_EQUAL(GENERATE_CANCELLED, answer(&b, &q, text).end);
    CHECK(h.size >= 3 && h.size < 60);
    bench_close(&b);
}

TEST(the_models_positions_are_the_most)
{
    bench b = bench_open(1);
    char text[TEXT_MAX];
    size_t n_positions = gemma_get_config(b.g)->n_positions;
    generate_request q = request_of(&b, PROMPT, 1);
    q.max_tokens = SIZE_MAX;
    q.how.temperature = 0.0;
    generate_result r = answer(&b, &q, text);
    CHECK(r.end == GENERATE_STOP || r.n_prompt + r.n_tokens == n_positions);
    bench_close(&b);
}

/* ---- choices ----------------------------------------------------------------------------------------------------- */

TEST(log_probabilities_are_of_the_choice_that_was_had)
{
    bench b = bench_open(1);
    finch_error err = {0};
    generation *g;
    generate_request q = request_of(&b, 12, 4);
    q.wants_tokens = true;
    q.n_top = 5;
    CHECK_OK(generator_add(b.x, &q, &g, &err), &err);
    finish_all(&b);
    generate_result r = generation_result(g);
    CHECK_EQUAL(r.n_tokens, r.n_listed);
    for (size_t i = 0; i < r.n_listed; i++) {
        double sum = 0.0;
        CHECK_EQUAL(5, r.tokens[i].n_top);
        for (size_t k = 0; k < 5; k++) {
            CHECK(k == 0 || r.tokens[i].top[k].logprob <= r.tokens[i].top[k - 1].logprob);
            sum += exp((double)r.tokens[i].top[k].logprob);
        }
        CHECK(sum <= 1.0 + 1e-5);
        CHECK(r.tokens[i].chosen.logprob <= r.tokens[i].top[0].logprob);
    }
    bench_close(&b);
}

TEST(sampling_keeps_to_its_filters)
{
    candidate c[] = {{1.0f, 0}, {3.0f, 1}, {2.0f, 2}, {3.0f, 3}, {-5.0f, 4}};
    rng r = {.seed = 1};
    CHECK_EQUAL(1, c[sampling_choose(&(sampling){0.0, 0, 1.0}, c, 5, &r)].id);
    for (size_t i = 0; i < 200; i++) CHECK(c[sampling_choose(&(sampling){1.0, 2, 1.0}, c, 5, &r)].logit == 3.0f);
    for (size_t i = 0; i < 200; i++) CHECK(c[sampling_choose(&(sampling){1.0, 0, 0.3}, c, 5, &r)].logit == 3.0f);
    size_t seen[5] = {0};
    for (size_t i = 0; i < 4000; i++) seen[c[sampling_choose(&(sampling){1.0, 0, 1.0}, c, 5, &r)].id]++;
    CHECK_NEAR(0.399, (double)seen[1] / 4000, 0.03); /* e^3 of e + e^3 + e^2 + e^3 + e^-5 */
    CHECK_NEAR(0.147, (double)seen[2] / 4000, 0.03);
    for (size_t i = 0; i < 100; i++) CHECK(c[sampling_choose(&(sampling){1e-6, 0, 1.0}, c, 5, &r)].logit == 3.0f);
}

static json_form *form_of(const char *schema)
{
    finch_error err = {0};
    json_t *root;
    json_form *f;
    CHECK_OK(json_parse(schema, strlen(schema), "schema", &root, &err), &err);
    CHECK_OK(json_form_create(root, "schema", &f, &err), &err);
    json_decref(root);
    return f;
}

TEST(answers_keep_to_their_form)
{
    json_form *f = form_of(
        "{\"type\":\"array\",\"minItems\":1,\"maxItems\":3,\"items\":{\"type\":\"object\",\"required\":[\"n\",\"t\"],"
        "\"properties\":{\"n\":{\"enum\":[1,2,30]},\"t\":{\"type\":\"string\",\"maxLength\":5}}}}");
    bench b = bench_open(1);
    for (uint64_t seed = 0; seed < 12; seed++) {
        char text[TEXT_MAX];
        finch_error err = {0};
        json_t *value;
        generate_request q = request_of(&b, 9, seed);
        q.form = f;
        q.max_tokens = 400;
        q.how.temperature = (double)(seed % 3);
        generate_result r = answer(&b, &q, text);
        CHECK_EQUAL(GENERATE_STOP, r.end);
        CHECK_OK(json_parse(text, strlen(text), "answer", &value, &err), &err);
        CHECK(json_array_size(value) >= 1 && json_array_size(value) <= 3);
        CHECK(json_integer_value(json_object_get(json_array_get(value, 0), "n")) > 0);
        json_decref(value);
    }
    bench_close(&b);
    json_form_destroy(f);
}

/* ---- memory and errors ------------------------------------------------------------------------------------------- */

TEST(the_loop_allocates_nothing)
{
    json_form *f = form_of("{\"type\":\"array\",\"minItems\":200,\"items\":{\"type\":\"string\",\"minLength\":2}}");
    bench b = bench_open(3);
    generation *g;
    finch_error err = {0};
    for (size_t i = 0; i < 3; i++) {
        generate_request q = request_of(&b, 20, i);
        q.max_tokens = 200;
        q.form = i == 0 ? f : NULL;
        CHECK_OK(generator_add(b.x, &q, &g, &err), &err);
    }
    uint64_t at_first = mem_count().allocations;
    for (size_t i = 0; i < 60; i++) CHECK_OK(generator_step(b.x, &err), &err);
    uint64_t before = mem_count().allocations;
    CHECK(before > at_first); /* the counter does count */
    for (size_t i = 0; i < 30; i++) CHECK_OK(generator_step(b.x, &err), &err);
    CHECK(generator_running(b.x) > 0);
    CHECK(mem_count().allocations - before <= 4);
    bench_close(&b);
    json_form_destroy(f);
}

TEST(requests_that_are_none_are_refused)
{
    bench b = bench_open(1);
    finch_error err = {0};
    generation *g, *busy;
    const finch_text empty = {"", 0}, broken = {"\xFF", 1};
    int32_t wrong = WORDS;
#define REFUSED(status, ...)                                          \
    do {                                                              \
        generate_request q = request_of(&b, 5, 0);                    \
        __VA_ARGS__;                                                  \
        CHECK_STATUS(status, generator_add(b.x, &q, &g, &err), &err); \
        CHECK(g == NULL);                                             \
    } while (0)
    REFUSED(FINCH_E_USAGE, q.n_prompt = 0);
    REFUSED(FINCH_E_USAGE, q.max_tokens = 0);
    REFUSED(FINCH_E_USAGE, q.how.temperature = -1.0);
    REFUSED(FINCH_E_USAGE, q.how.temperature = NAN);
    REFUSED(FINCH_E_USAGE, q.how.top_p = 0.0);
    REFUSED(FINCH_E_USAGE, q.n_top = GENERATE_TOP_MAX + 1);
    REFUSED(FINCH_E_USAGE, q.stops = &empty, q.n_stops = 1);
    REFUSED(FINCH_E_USAGE, q.stops = &broken, q.n_stops = 1);
    REFUSED(FINCH_E_USAGE, q.n_stops = GENERATE_STOPS_MAX + 1);
    REFUSED(FINCH_E_USAGE, q.prompt = &wrong, q.n_prompt = 1);
    REFUSED(FINCH_E_DATA, q.n_prompt = gemma_get_config(b.g)->n_positions);
    generate_request first = request_of(&b, 5, 0);
    CHECK_OK(generator_add(b.x, &first, &busy, &err), &err);
    REFUSED(FINCH_E_BUSY, q.seed = 1);
#undef REFUSED
    generation_cancel(busy);
    CHECK_EQUAL(0, generator_running(b.x));
    CHECK_OK(generator_step(b.x, &err), &err);
    bench_close(&b);
}

TEST(control_tokens_may_be_more_than_the_models_words)
{
    finch_error err = {0};
    bench b = bench_open(1);
    text_tokenizer *more = make_tokenizer(TEXT_PIECE_CONTROL), *wrong = make_tokenizer(TEXT_PIECE_NORMAL);
    generator *x;
    CHECK_OK(generator_create(b.g, more, 1, 1, &x, &err), &err);
    generator_destroy(x);
    CHECK_STATUS(FINCH_E_DATA, generator_create(b.g, wrong, 1, 1, &x, &err), &err);
    CHECK(x == NULL);
    text_tokenizer_close(more);
    text_tokenizer_close(wrong);
    bench_close(&b);
}

TEST(memory_that_ends_while_an_answer_begins_leaves_nothing)
{
    json_form *f = form_of("{\"type\":\"string\"}");
    bench b = bench_open(2);
    finch_error err = {0};
    generation *g;
    for (int nth = 1; fault_arm(FAULT_ALLOC, nth); nth++) {
        generate_request q = request_of(&b, 5, 0);
        q.form = f;
        q.wants_tokens = true;
        finch_status st = generator_add(b.x, &q, &g, &err);
        if (!fault_disarm()) {
            CHECK(st == FINCH_OK && nth > 5);
            break;
        }
        CHECK_EQUAL(FINCH_E_MEMORY, st);
        CHECK(g == NULL);
    }
    bench_close(&b);
    json_form_destroy(f);
}
