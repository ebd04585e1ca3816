/* The files a BPE tokenizer is made from: what is refused and how, damaged ones, and failing memory and disks. */
#include "harness.h"

#include "base/file.h"
#include "model/tokenizer_file.h"
#include "tensor/gguf_write.h"

#include <stdlib.h>

static const char *fixture_path(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/spm/%s", FIXTURES, name);
    return path;
}

static str fixture(const char *name)
{
    finch_error err;
    char *content = NULL;
    size_t size;
    CHECK_OK(file_read(fixture_path(name), 1u << 24, &content, &size, &err), &err);
    return (str){content, size, size + 1};
}

static void check_message(finch_status wanted, finch_status st, const text_tokenizer *t, const finch_error *err,
                          const char *says)
{
    CHECK_STATUS(wanted, st, err);
    CHECK(t == NULL);
    if (strstr(err->message, says) == NULL) print_error("\"%s\" is not in: %s\n", says, err->message);
    CHECK(strstr(err->message, says) != NULL);
}

/* ---- tokenizer.json ------------------------------------------------------------------------------------------------ */

typedef struct edit {
    const char *from, *to; /* the first place of it */
    finch_status status;
    const char *says;
} edit;

static const edit json_edits[] = {
    {"\"normalizer\":{", "\"normalizer\":null,\"was\":{", FINCH_E_UNSUPPORTED, "its normalizer is of another kind"},
    {"\"content\":\"▁\"},\"pre", "\"content\":\"_\"},\"pre", FINCH_E_UNSUPPORTED, "its normalizer is of another kind"},
    {"\"type\":\"Split\"", "\"type\":\"ByteLevel\"", FINCH_E_UNSUPPORTED, "its pre_tokenizer is of another kind"},
    {"\"TemplateProcessing\"", "\"ByteLevel\"", FINCH_E_UNSUPPORTED, "its post_processor is of another kind"},
    {"\"single\":[{\"SpecialToken\"", "\"single\":[{\"Special\"", FINCH_E_UNSUPPORTED,
     "its post_processor is of another kind"},
    {"\"ids\":[2]", "\"ids\":[3]", FINCH_E_DATA, "first token is \"<bos>\" with the id 3"},
    {"\"byte_fallback\":true", "\"byte_fallback\":false", FINCH_E_UNSUPPORTED, "byte_fallback is off"},
    {"\"ignore_merges\":false", "\"ignore_merges\":true", FINCH_E_UNSUPPORTED, "ignore_merges is on"},
    {"\"dropout\":null", "\"dropout\":0.1", FINCH_E_UNSUPPORTED, "has a dropout"},
    {"\"unk_token\":\"<unk>\"", "\"unk_token\":null", FINCH_E_DATA, "\"unk_token\""},
    {"\"unk_token\":\"<unk>\"", "\"unk_token\":\"<what>\"", FINCH_E_DATA, "no \"<what>\", which is its unknown token"},
    {"\"<0x7F>\":", "\"<0x7G>\":", FINCH_E_UNSUPPORTED, "no piece <0x7F>"},
    {"\"merges\":[[", "\"merges\":[7,[", FINCH_E_DATA, "rank 0 is no pair"},
    {"\"merges\":[[", "\"merges\":[[\"a\"],[", FINCH_E_DATA, "rank 0 is no pair"},
    {"\"merges\":[[", "\"merges\":[\" a\",[", FINCH_E_DATA, "rank 0 is no pair"},
    {"\"merges\":[[", "\"merges\":[[\"a\",\"zqz\"],[", FINCH_E_DATA, "rank 0 needs the piece \"zqz\""},
    {"\"merges\":[[", "\"merges\":[[\"the\",\"the\"],[", FINCH_E_DATA, "rank 0 needs the piece"},
    {"\"merges\":[[", "\"merges\":[[\"=\",\"=\"],[", FINCH_E_DATA, "is there twice"},
    {"\"merges\":", "\"merges\":7,\"was\":", FINCH_E_DATA, "\"model.merges\" must be a list"},
    {"\"<table>\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false",
     "\"<table>\",\"single_word\":false,\"lstrip\":7", FINCH_E_DATA, "lstrip"},
    {"\"added_tokens\":[", "\"added_tokens\":[{\"id\":639,\"content\":\"a b\",\"normalized\":true},", FINCH_E_UNSUPPORTED,
     "holds a blank"},
    {"\"added_tokens\":[", "\"added_tokens\":[{\"id\":5,\"content\":\"<unused1>\"},", FINCH_E_DATA,
     "the id 5, where the vocabulary has another piece"},
};

/* The fixture with one place changed. */
static str edited(const edit *e)
{
    finch_error err;
    str whole = fixture("tokenizer.json"), out = {0};
    const char *at = strstr(whole.at, e->from);
    if (at == NULL) print_error("%s is not in the fixture\n", e->from);
    CHECK(at != NULL);
    CHECK_OK(str_add(&out, whole.at, (size_t)(at - whole.at), &err), &err);
    CHECK_OK(str_add_text(&out, e->to, &err), &err);
    CHECK_OK(str_add_text(&out, at + strlen(e->from), &err), &err);
    str_free(&whole);
    return out;
}

TEST(a_tokenizer_json_that_would_give_other_ids_is_refused)
{
    for (size_t i = 0; i < sizeof json_edits / sizeof json_edits[0]; i++) {
        finch_error err = {0};
        text_tokenizer *t;
        str json = edited(&json_edits[i]);
        finch_status st = text_tokenizer_from_json(json.at, json.size, "m/tokenizer.json", &t, &err);
        check_message(json_edits[i].status, st, t, &err, json_edits[i].says);
        str_free(&json);
    }
}

static void check_ids(const text_tokenizer *t, const char *text, const int32_t *wanted, size_t n_wanted)
{
    finch_error err;
    text_scratch *scratch;
    int32_t ids[32];
    size_t n;
    CHECK_OK(text_scratch_create(&scratch, &err), &err);
    CHECK_OK(text_encode(t, (finch_text){text, strlen(text)}, 32, ids, &n, NULL, NULL, scratch, &err), &err);
    CHECK_EQUAL(n_wanted, n);
    for (size_t i = 0; i < n; i++) CHECK_EQUAL(wanted[i], ids[i]);
    text_scratch_destroy(scratch);
}

static text_tokenizer *open_edited(edit e)
{
    finch_error err;
    text_tokenizer *t;
    str json = edited(&e);
    CHECK_OK(text_tokenizer_from_json(json.at, json.size, "t", &t, &err), &err);
    str_free(&json);
    return t;
}

TEST(merges_in_the_older_spelling_are_read)
{
    text_tokenizer *t = open_edited((edit){"[\"▁\",\"▁\"]", "\"▁ ▁\"", FINCH_OK, ""});
    check_ids(t, "  ", (const int32_t[]){2, 12}, 2);
    text_tokenizer_close(t);
}

TEST(a_template_with_an_end_puts_it_behind_and_keeps_it)
{
    finch_error err;
    text_tokenizer *again,
        *t = open_edited((edit){
            "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],\"pair\"",
            "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},{\"SpecialToken\":{\"id\":\"<bos>\",\"type_id\":0}}],\"pair\"",
            FINCH_OK, ""});
    check_ids(t, "  ", (const int32_t[]){2, 12, 2}, 3);
    CHECK_OK(text_tokenizer_save(t, harness_folder(), &err), &err);
    text_tokenizer_close(t);
    CHECK_OK(text_tokenizer_open(harness_folder(), &again, &err), &err);
    check_ids(again, "  ", (const int32_t[]){2, 12, 2}, 3);
    text_tokenizer_close(again);
}

TEST(normalized_added_tokens_are_found_after_the_others)
{
    text_tokenizer *t = open_edited(
        (edit){"\"<table>\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false",
               "\"<table>\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":true", FINCH_OK, ""});
    check_ids(t, "  <table>\n", (const int32_t[]){2, 12, 15, 9}, 4);
    text_tokenizer_close(t);
}

/* ---- tokenizer.model ------------------------------------------------------------------------------------------------ */

typedef struct tail {
    const char *bytes; /* put behind the fixture: a later field of a message goes before an earlier one */
    size_t size;
    finch_status status;
    const char *says;
} tail;

#define TAIL(bytes, status, says) {bytes, sizeof(bytes) - 1, status, says}

static const tail model_tails[] = {
    TAIL("\x12\x02\x18\x01", FINCH_E_UNSUPPORTED, "is no BPE model"),
    TAIL("\x1A\x02\x18\x01", FINCH_E_UNSUPPORTED, "add_dummy_prefix"),
    TAIL("\x1A\x02\x20\x01", FINCH_E_UNSUPPORTED, "remove_extra_whitespaces"),
    TAIL("\x1A\x02\x28\x00", FINCH_E_UNSUPPORTED, "escape_whitespaces"),
    TAIL("\x1A\x03\x12\x01x", FINCH_E_UNSUPPORTED, "precompiled_charsmap"),
    TAIL("\x0A\x05\x0A\x01~\x18\x09", FINCH_E_UNSUPPORTED, "has the type 9"),
    TAIL("\x0A\x05\x0A\x01~\x18\x00", FINCH_E_UNSUPPORTED, "has the type 0"),
    TAIL("\x0A\x03\x0A\x01=", FINCH_E_DATA, "\"=\" stands at id"),
    TAIL("\x0A\x03\x0A\x01\xFF", FINCH_E_DATA, "is not UTF-8"),
    TAIL("\x0A\x02\x0A\x00", FINCH_E_DATA, "is empty"),
    TAIL("\x0A\x03\x0A\x09x", FINCH_E_DATA, "a piece is malformed"),
    TAIL("\x0A\x7Fx", FINCH_E_DATA, "a field is malformed"),
    TAIL("\x0B", FINCH_E_DATA, "a field is malformed"),
    TAIL("\x08\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", FINCH_E_DATA, "a field is malformed"),
    TAIL("\x0A\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", FINCH_E_DATA, "a field is malformed"),
    TAIL("\x12\x04\xC8\x02\xFF\x7F", FINCH_E_DATA, "its <bos> token has the id 16383"),
    TAIL("\x12\x02\xC8\x02", FINCH_E_DATA, "the trainer_spec is malformed"),
    TAIL("\x1A\x01\x18", FINCH_E_DATA, "the normalizer_spec is malformed"),
};

TEST(a_tokenizer_model_that_would_give_other_ids_is_refused)
{
    for (size_t i = 0; i < sizeof model_tails / sizeof model_tails[0]; i++) {
        finch_error err = {0};
        text_tokenizer *t;
        str model = fixture("tokenizer.model");
        CHECK_OK(str_add(&model, model_tails[i].bytes, model_tails[i].size, &err), &err);
        finch_status st = text_tokenizer_from_spm(model.at, model.size, "m/tokenizer.model", &t, &err);
        check_message(model_tails[i].status, st, t, &err, model_tails[i].says);
        str_free(&model);
    }
}

TEST(fields_that_are_not_needed_are_skipped)
{
    static const char more[] = "\x19"
                               "12345678"
                               "\x7D"
                               "1234"
                               "\x1A\x02\x18\x00"
                               "\x12\x0C\xD8\x02\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01"
                               "\xF8\x3F\x07";
    finch_error err;
    text_tokenizer *t;
    str model = fixture("tokenizer.model");
    CHECK_OK(str_add(&model, more, sizeof more - 1, &err), &err);
    CHECK_OK(text_tokenizer_from_spm(model.at, model.size, "m", &t, &err), &err);
    check_ids(t, "  ", (const int32_t[]){2, 12}, 2);
    text_tokenizer_close(t);
    str_free(&model);
}

static finch_status open_exact(const char *at, size_t size, text_tokenizer **t, finch_error *err)
{
    void *copy; /* of exactly its size, so that the address sanitizer sees a read past it */
    CHECK_OK(mem_alloc(size, 1, &copy, err), err);
    memcpy(copy, at, size);
    finch_status st = text_tokenizer_from_spm(copy, size, "damaged", t, err);
    mem_free(copy);
    return st;
}

TEST(a_cut_or_damaged_tokenizer_model_never_crashes)
{
    finch_error err;
    str model = fixture("tokenizer.model");
    size_t n_refused = 0, n = 0;
    for (size_t size = 0; size < model.size; size += 23, n++) {
        text_tokenizer *t;
        finch_status st = open_exact(model.at, size, &t, &err);
        CHECK((st == FINCH_OK) == (t != NULL));
        n_refused += st != FINCH_OK;
        text_tokenizer_close(t);
    }
    CHECK_EQUAL(n, n_refused); /* the specs come last */
    for (size_t at = 0; at < model.size; at += 11) {
        text_tokenizer *t;
        model.at[at] ^= (char)(1 << at % 8);
        finch_status st = open_exact(model.at, model.size, &t, &err);
        CHECK((st == FINCH_OK) == (t != NULL));
        text_tokenizer_close(t);
        model.at[at] ^= (char)(1 << at % 8);
    }
    str_free(&model);
}

/* ---- GGUF ------------------------------------------------------------------------------------------------------------ */

typedef struct patch {
    const char *key;   /* bytes are changed behind its first place */
    ptrdiff_t offset;
    const char *bytes;
    size_t size;
    finch_status status;
    const char *says;
} patch;

#define PATCH(key, offset, bytes, status, says) {key, offset, bytes, sizeof(bytes) - 1, status, says}

/* Behind a key: u32 type, then the value; of a text u64 length and bytes, of a list u32 type, u64 length and items. */
static const patch gguf_patches[] = {
    PATCH("tokenizer.ggml.model", 12, "gpt2x", FINCH_E_UNSUPPORTED, "its tokenizer is a \"gpt2x\""),
    PATCH("tokenizer.ggml.model", -1, "m", FINCH_E_DATA, "tokenizer.ggml.model"),
    PATCH("tokenizer.ggml.tokens", -1, "x", FINCH_E_DATA, "tokenizer.ggml.tokens"),
    PATCH("tokenizer.ggml.token_type", -1, "x", FINCH_E_DATA, "tokenizer.ggml.token_type"),
    PATCH("tokenizer.ggml.token_type", 16, "\x07", FINCH_E_DATA, "of piece 0 is 7"),
    PATCH("tokenizer.ggml.token_type", 16, "\0\0\0\x80", FINCH_E_DATA, "types are from 1 to 6"),
    PATCH("tokenizer.ggml.add_space_prefix", 4, "\1", FINCH_E_UNSUPPORTED, "add_space_prefix"),
    PATCH("tokenizer.ggml.add_bos_token", 4, "\0", FINCH_E_UNSUPPORTED, "add_bos_token is off"),
    PATCH("tokenizer.ggml.bos_token_id", 4, "\xFF\xFF", FINCH_E_DATA, "its <bos> token has the id 65535"),
    PATCH("tokenizer.ggml.bos_token_id", 4, "\xFF\xFF\xFF\xFF", FINCH_E_DATA, "bos_token_id is 4294967295"),
    PATCH("tokenizer.ggml.tokens", 24, "<eos>", FINCH_E_DATA, "\"<eos>\" stands at id 0 and again at 1"),
};

static size_t place_of(const str *file, const char *key)
{
    size_t size = strlen(key);
    for (size_t at = 0; at + size < file->size; at++)
        if (memcmp(file->at + at, key, size) == 0) return at + size;
    print_error("%s is not in the fixture\n", key);
    CHECK(false);
    return 0;
}

TEST(a_gguf_vocabulary_that_would_give_other_ids_is_refused)
{
    for (size_t i = 0; i < sizeof gguf_patches / sizeof gguf_patches[0]; i++) {
        const patch *p = &gguf_patches[i];
        finch_error err = {0};
        text_tokenizer *t;
        gguf *g;
        str file = fixture("vocab.gguf");
        memcpy(file.at + (ptrdiff_t)place_of(&file, p->key) + p->offset, p->bytes, p->size);
        CHECK_OK(gguf_read((bytes){(unsigned char *)file.at, file.size}, "v.gguf", &g, &err), &err);
        finch_status st = model_tokenizer_from_gguf(g, "v.gguf", &t, &err);
        check_message(p->status, st, t, &err, p->says);
        gguf_close(g);
        str_free(&file);
    }
}

TEST(lists_of_different_lengths_are_refused)
{
    static const finch_text pieces[] = {{"<bos>", 5}, {"<eos>", 5}};
    static const int32_t kinds[] = {3, 3, 3};
    finch_error err = {0};
    char path[512];
    snprintf(path, sizeof path, "%s/v.gguf", harness_folder());
    for (size_t n = 1; n <= 3; n += 2) {
        gguf_meta meta = {0};
        text_tokenizer *t;
        CHECK_OK(gguf_meta_text(&meta, "tokenizer.ggml.model", (finch_text){"llama", 5}, &err), &err);
        CHECK_OK(gguf_meta_texts(&meta, "tokenizer.ggml.tokens", pieces, 2, &err), &err);
        CHECK_OK(gguf_meta_i32s(&meta, "tokenizer.ggml.token_type", kinds, n, &err), &err);
        CHECK_OK(gguf_stream(path, &meta, NULL, 0, NULL, NULL, &err), &err);
        finch_status st = model_tokenizer_open(path, &t, &err);
        check_message(FINCH_E_DATA, st, t, &err, "items and tokenizer.ggml.tokens 2");
        gguf_meta_free(&meta);
    }
}

TEST(a_path_that_is_not_there_is_said_so)
{
    finch_error err = {0};
    text_tokenizer *t;
    CHECK_STATUS(FINCH_E_NOT_FOUND, model_tokenizer_open("/nowhere/at/all.gguf", &t, &err), &err);
    CHECK_STATUS(FINCH_E_NOT_FOUND, model_tokenizer_open(harness_folder(), &t, &err), &err);
    CHECK(t == NULL && strstr(err.message, "tokenizer.model") != NULL);
}

/* ---- faults ---------------------------------------------------------------------------------------------------------- */

/* Opens a file and uses what it gives. */
static finch_status open_and_use(const char *name, const str *content, finch_error *err)
{
    static const text_turn turn = {TEXT_USER, {"a \xE2\x82\xAC\xFF", 6}};
    text_tokenizer *t = NULL;
    text_scratch *scratch = NULL;
    str out = {0};
    int32_t ids[64];
    text_span spans[64];
    size_t n;
    finch_status st;
    if (strcmp(name, "vocab.gguf") == 0) st = model_tokenizer_open(fixture_path(name), &t, err);
    else if (strcmp(name, "tokenizer.model") == 0) st = text_tokenizer_from_spm(content->at, content->size, "t", &t, err);
    else st = text_tokenizer_from_json(content->at, content->size, "t", &t, err);
    CHECK((st == FINCH_OK) == (t != NULL));
    if (st == FINCH_OK) st = text_scratch_create(&scratch, err);
    if (st == FINCH_OK) st = text_encode(t, turn.content, 64, ids, &n, NULL, spans, scratch, err);
    if (st == FINCH_OK) st = text_encode_chat(t, &turn, 1, true, 64, ids, &n, scratch, err);
    if (st == FINCH_OK) st = text_decode(t, ids, n, false, &out, err);
    if (st == FINCH_OK) st = text_tokenizer_save(t, harness_folder(), err);
    str_free(&out);
    text_scratch_destroy(scratch);
    text_tokenizer_close(t);
    return st;
}

static void check_faults(fault_kind kind, finch_status wanted)
{
    static const char *const names[] = {"tokenizer.json", "tokenizer.model", "vocab.gguf"};
    finch_error err = {0};
    int n_struck = 0;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        str content = fixture(names[i]);
        for (int nth = 1; fault_arm(kind, nth); nth++) {
            finch_status st = open_and_use(names[i], &content, &err);
            if (!fault_disarm()) {
                CHECK_OK(st, &err);
                break;
            }
            CHECK_STATUS(wanted, st, &err);
            n_struck++;
        }
        str_free(&content);
    }
    CHECK(n_struck > 3);
}

TEST(failing_memory_leaves_nothing_behind)
{
    check_faults(FAULT_ALLOC, FINCH_E_MEMORY);
}

TEST(failing_writes_are_told)
{
    check_faults(FAULT_WRITE, FINCH_E_IO);
    check_faults(FAULT_FSYNC, FINCH_E_IO);
    check_faults(FAULT_RENAME, FINCH_E_IO);
}
