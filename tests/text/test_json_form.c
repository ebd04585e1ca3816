/* The automaton of a JSON schema byte by byte, and the sets of pieces: what may come, what may not, and that a set is exactly the pieces
 * that the automaton takes. Random schemas against jsonschema: tests/parity/test_generate.py. */
#include "harness.h"

#include "base/rng.h"
#include "text/pieces.h"

#include <stdlib.h>

static json_form *form_of(const char *schema)
{
    finch_error err = {0};
    json_t *root = NULL;
    json_form *f = NULL;
    if (schema != NULL) CHECK_OK(json_parse(schema, strlen(schema), "schema", &root, &err), &err);
    CHECK_OK(json_form_create(root, "schema", &f, &err), &err);
    json_decref(root);
    return f;
}

/* Bytes of the text that may come one after the other; *end: whether it may then end. */
static size_t taken(const json_form *f, const char *text, bool *end)
{
    static form_state at[2];
    size_t n = 0;
    form_begin(f, &at[0]);
    while (text[n] != '\0' && form_step(f, &at[n % 2], (unsigned char)text[n], &at[(n + 1) % 2])) n++;
    *end = form_may_end(f, &at[n % 2]);
    return n;
}

static bool fits(const char *schema, const char *text)
{
    json_form *f = form_of(schema);
    bool end;
    size_t n = taken(f, text, &end);
    json_form_destroy(f);
    return end && n == strlen(text);
}

TEST(objects_have_their_properties_in_order)
{
    static const char schema[] = "{\"type\":\"object\",\"required\":[\"b\"],\"properties\":{\"a\":{\"type\":\"null\"},"
                                 "\"b\":{\"type\":\"integer\"},\"bc\":{\"type\":\"boolean\"}}}";
    CHECK(fits(schema, "{\"b\":1}"));
    CHECK(fits(schema, "{\"a\":null,\"b\":10}"));
    CHECK(fits(schema, "{ \"b\" :1}") == false); /* a blank before the colon is not written */
    CHECK(fits(schema, "{\n\"b\": -0,\n\"bc\": true }"));
    CHECK(!fits(schema, "{}"));
    CHECK(!fits(schema, "{\"a\":null}"));
    CHECK(!fits(schema, "{\"a\":null,\"bc\":true}"));
    CHECK(!fits(schema, "{\"b\":1,\"a\":null}"));
    CHECK(!fits(schema, "{\"b\":1,}"));
    CHECK(!fits(schema, "{\"b\":01}"));
    CHECK(!fits(schema, "{\"b\":1.5}"));
    CHECK(!fits(schema, "{\"b\":1,\"d\":2}"));
    CHECK(!fits(schema, " {\"b\":1}"));
    CHECK(!fits(schema, "{\"b\":1} "));
}

TEST(lists_count_their_items)
{
    static const char schema[] = "{\"type\":\"array\",\"minItems\":1,\"maxItems\":2,\"items\":{\"enum\":[1,12,\"x\"]}}";
    CHECK(!fits(schema, "[]"));
    CHECK(fits(schema, "[1]"));
    CHECK(fits(schema, "[12, 1]"));
    CHECK(!fits(schema, "[1,1,1]"));
    CHECK(!fits(schema, "[2]"));
    CHECK(!fits(schema, "[1 2]"));
    CHECK(!fits(schema, "[1,]"));
}

TEST(texts_count_code_points_and_stay_utf8)
{
    static const char schema[] = "{\"type\":\"string\",\"minLength\":2,\"maxLength\":3}";
    CHECK(!fits(schema, "\"a\""));
    CHECK(fits(schema, "\"ab\""));
    CHECK(fits(schema, "\"\xF0\x9F\x98\x80\xC3\xA9z\""));
    CHECK(fits(schema, "\"\\n\\u00e9\""));
    CHECK(!fits(schema, "\"abcd\""));
    CHECK(!fits(schema, "\"a\n\""));
    CHECK(!fits(schema, "\"a\\x\""));
    CHECK(!fits(schema, "\"\xC0\x80z\"")); /* overlong */
    CHECK(!fits(schema, "\"\xED\xA0\x80z\"")); /* a surrogate */
    CHECK(!fits(schema, "\"\xF4\x90\x80\x80z\""));
    CHECK(!fits(schema, "\"\\ud800z\""));
    CHECK(!fits(schema, "\"\\u0000z\""));
}

TEST(numbers_end_where_they_may)
{
    CHECK(fits("{\"type\":\"number\"}", "-12.5e+3"));
    CHECK(!fits("{\"type\":\"number\"}", "1."));
    CHECK(!fits("{\"type\":\"number\"}", "1e"));
    CHECK(!fits("{\"type\":\"number\"}", "1e123"));
    CHECK(!fits("{\"type\":\"number\"}", "1234567890123456"));
    CHECK(fits("{\"type\":\"integer\",\"minimum\":-2,\"maximum\":11}", "11"));
    CHECK(!fits("{\"type\":\"integer\",\"minimum\":-2,\"maximum\":11}", "12"));
    CHECK(!fits("{\"type\":\"integer\",\"minimum\":-2,\"maximum\":11}", "-3"));
}

TEST(alternatives_stay_open_until_they_are_decided)
{
    static const char schema[] =
        "{\"anyOf\":[{\"type\":\"array\",\"items\":{\"type\":\"integer\"}},{\"type\":\"array\",\"items\":"
        "{\"type\":\"string\"}},{\"const\":[1,\"x\"]}]}";
    CHECK(fits(schema, "[1,2]"));
    CHECK(fits(schema, "[\"a\"]"));
    CHECK(fits(schema, "[1,\"x\"]"));
    CHECK(!fits(schema, "[\"a\",2]"));
    CHECK(!fits(schema, "[1,\"y\"]"));
}

TEST(without_a_schema_any_object_will_do)
{
    CHECK(fits(NULL, "{\"k\":[1,{\"x\":null},\"\"],\"\":true}"));
    CHECK(!fits(NULL, "[]"));
    CHECK(!fits(NULL, "{\"k\":1,}"));
}

TEST(blanks_come_to_an_end)
{
    char text[FORM_BLANKS_MAX + 4] = "[";
    memset(text + 1, ' ', FORM_BLANKS_MAX);
    text[FORM_BLANKS_MAX + 1] = ']';
    CHECK(fits("{\"type\":\"array\"}", text));
    memset(text + 1, ' ', FORM_BLANKS_MAX + 1);
    text[FORM_BLANKS_MAX + 2] = ']';
    CHECK(!fits("{\"type\":\"array\"}", text));
}

TEST(nesting_comes_to_an_end_and_can_be_left)
{
    json_form *f = form_of("{}");
    static form_state at[2];
    size_t n = 0;
    form_begin(f, &at[0]);
    while (form_step(f, &at[n % 2], '[', &at[(n + 1) % 2])) n++;
    CHECK(n > 10 && n < FORM_DEPTH_MAX);
    CHECK(form_step(f, &at[n % 2], '1', &at[(n + 1) % 2]));
    for (size_t i = 0; i < n; i++) {
        n++;
        CHECK(form_step(f, &at[n % 2], ']', &at[(n + 1) % 2]));
        if (form_may_end(f, &at[(n + 1) % 2])) break;
    }
    CHECK(form_must_end(&at[(n + 1) % 2]));
    json_form_destroy(f);
}

TEST(a_schema_that_runs_out_of_memory_leaves_nothing)
{
    static const char schema[] =
        "{\"type\":\"object\",\"properties\":{\"a\":{\"enum\":[1,\"x\"]},\"b\":{\"type\":\"array\",\"items\":{}}}}";
    finch_error err = {0};
    json_t *root;
    json_form *f;
    CHECK_OK(json_parse(schema, sizeof schema - 1, "schema", &root, &err), &err);
    for (int nth = 1; fault_arm(FAULT_ALLOC, nth); nth++) {
        finch_status st = json_form_create(root, "schema", &f, &err);
        if (!fault_disarm()) {
            CHECK(nth > 5 && st == FINCH_OK);
            json_form_destroy(f);
            break;
        }
        CHECK_EQUAL(FINCH_E_MEMORY, st);
        CHECK(f == NULL);
    }
    json_decref(root);
}

/* ---- sets of pieces --------------------------------------------------------------------------------------------- */

static text_tokenizer *tokenizer(void)
{
    finch_error err = {0};
    text_tokenizer *t;
    CHECK_OK(text_tokenizer_open(FIXTURES "/spm", &t, &err), &err);
    return t;
}

/* The piece's bytes as they stand in a text. */
static size_t spelt(const text_tokenizer *t, int32_t id, str *out)
{
    finch_error err = {0};
    size_t size;
    const char *piece = text_tokenizer_piece(t, id, &size);
    str_clear(out);
    if (text_tokenizer_kind(t, id) == TEXT_PIECE_CONTROL) return 0;
    if (text_tokenizer_kind(t, id) == TEXT_PIECE_BYTE) {
        char byte = (char)strtoul((char[]){piece[3], piece[4], '\0'}, NULL, 16);
        CHECK_OK(str_add(out, &byte, 1, &err), &err);
        return 1;
    }
    CHECK_OK(text_decode(t, &id, 1, false, out, &err), &err);
    CHECK(size > 0);
    return out->size;
}

static bool takes_all(const json_form *f, const form_state *from, const str *bytes)
{
    static form_state at[2];
    form_copy(from, &at[0]);
    for (size_t i = 0; i < bytes->size; i++)
        if (!form_step(f, &at[i % 2], (unsigned char)bytes->at[i], &at[(i + 1) % 2])) return false;
    return true;
}

/* A random walk over a schema; in each state the set is held against all pieces, one by one. */
static void check_walk(const text_tokenizer *t, const piece_table *p, const char *schema, uint64_t seed)
{
    static form_state state;
    finch_error err = {0};
    json_form *f = form_of(schema);
    piece_sets *sets;
    str bytes = {0};
    rng r = {.seed = seed};
    CHECK_OK(piece_sets_create(p, f, &sets, &err), &err);
    form_begin(f, &state);
    for (size_t step = 0; step < 40; step++) {
        const piece_set *set;
        size_t n = 0, pick;
        int32_t chosen = -1;
        CHECK_OK(piece_sets_find(sets, &state, &set, &err), &err);
        if (set->n == 0) break;
        pick = (size_t)rng_below(&r, set->n);
        for (size_t id = 0; id < piece_table_size(p); id++) {
            bool in_set = (set->bits[id / 64] >> id % 64 & 1) != 0;
            bool expected = spelt(t, (int32_t)id, &bytes) > 0 && takes_all(f, &state, &bytes);
            CHECK_EQUAL(expected, in_set);
            if (in_set && set->ids != NULL) CHECK_EQUAL(id, set->ids[n]);
            if (in_set && n++ == pick) chosen = (int32_t)id;
        }
        CHECK_EQUAL(set->n, n);
        piece_sets_take(sets, &state, chosen);
    }
    str_free(&bytes);
    piece_sets_destroy(sets);
    json_form_destroy(f);
}

TEST(a_set_is_the_pieces_that_the_automaton_takes)
{
    static const char *const schemas[] = {
        NULL, "{\"type\":\"string\",\"maxLength\":12}",
        "{\"type\":\"array\",\"items\":{\"type\":\"string\",\"minLength\":3,\"maxLength\":6}}",
        "{\"anyOf\":[{\"type\":\"string\"},{\"enum\":[\"the\",\"stock\"]},{\"type\":\"object\"}]}"};
    finch_error err = {0};
    text_tokenizer *t = tokenizer();
    piece_table *p;
    CHECK_OK(piece_table_create(t, &p, &err), &err);
    for (size_t i = 0; i < sizeof schemas / sizeof schemas[0]; i++)
        for (uint64_t seed = 0; seed < 3; seed++) check_walk(t, p, schemas[i], seed);
    piece_table_destroy(p);
    text_tokenizer_close(t);
}

TEST(only_gemmas_pieces_spell_texts)
{
    finch_error err = {0};
    text_tokenizer *t;
    piece_table *p;
    CHECK_OK(text_tokenizer_open(FIXTURES "/models/tiny-bert", &t, &err), &err);
    CHECK_STATUS(FINCH_E_UNSUPPORTED, piece_table_create(t, &p, &err), &err);
    text_tokenizer_close(t);
}
