/* The files a tokenizer is made from: what is refused and how, what is saved, and failing memory and disks. */
#include "harness.h"

#include "base/file.h"
#include "text/text.h"

#include <sys/stat.h>

static const char good_vocab[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nbuy\nsell\n##ing\n!\n";

#define JSON_HEAD "{\"added_tokens\":["
#define JSON_ADDED "{\"id\":4,\"content\":\"[MASK]\",\"normalized\":false,\"special\":true}"
#define JSON_NORMALIZER                                                                                                  \
    "],\"normalizer\":{\"type\":\"BertNormalizer\",\"clean_text\":true,\"handle_chinese_chars\":true,\"strip_accents\":" \
    "null,\"lowercase\":true}"
#define JSON_PRE ",\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"}"
#define JSON_POST ",\"post_processor\":{\"type\":\"BertProcessing\",\"sep\":[\"[SEP]\",3],\"cls\":[\"[CLS]\",2]}"
#define JSON_MODEL                                                                                                       \
    ",\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\",\"continuing_subword_prefix\":\"##\",\"max_input_chars_" \
    "per_word\":100,\"vocab\":{"
#define JSON_VOCAB "\"[PAD]\":0,\"[UNK]\":1,\"[CLS]\":2,\"[SEP]\":3,\"[MASK]\":4,\"buy\":5,\"##ing\":6"
#define JSON_TAIL "}}}"
#define JSON_MIDDLE JSON_NORMALIZER JSON_PRE JSON_POST JSON_MODEL

static const char good_json[] = JSON_HEAD JSON_ADDED JSON_MIDDLE JSON_VOCAB JSON_TAIL;

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

/* ---- refused --------------------------------------------------------------------------------------------------- */

typedef struct bad_file {
    const char *content;
    size_t size;
    finch_status status;
    uint64_t row;
    const char *says; /* part of the message */
} bad_file;

#define BAD(text, status, row, says) {text, sizeof(text) - 1, status, row, says}

static const bad_file bad_vocabs[] = {
    BAD("", FINCH_E_DATA, 0, "1 to"),
    BAD("[PAD]\n[UNK]\n[CLS]\n[SEP]\nbuy\nsell\nbuy\n", FINCH_E_DATA, 7, "\"buy\" stands at line 5 and again at 7"),
    BAD("[PAD]\n[UNK]\n[CLS]\n[SEP]\n\nbuy\n", FINCH_E_DATA, 5, "line 5 is empty"),
    BAD("[PAD]\n[UNK]\n[CLS]\n[SEP]\nb\xFFuy\n", FINCH_E_DATA, 5, "line 5 is not UTF-8"),
    BAD("[PAD]\n[UNK]\n[CLS]\nbuy\n", FINCH_E_DATA, 0, "no \"[SEP]\""),
    BAD("[PAD]\n[UNK]\n[SEP]\nbuy\n", FINCH_E_DATA, 0, "no \"[CLS]\""),
    BAD("[PAD]\n[CLS]\n[SEP]\nbuy\n", FINCH_E_DATA, 0, "no \"[UNK]\""),
    BAD("[UNK]\n[CLS]\n[SEP]\nbuy\n", FINCH_E_DATA, 0, "no \"[PAD]\""),
};

static const bad_file bad_jsons[] = {
    BAD("", FINCH_E_DATA, 1, "not valid JSON"),
    BAD("{\"added_tokens\":[", FINCH_E_DATA, 1, "not valid JSON"),
    BAD("[]", FINCH_E_UNSUPPORTED, 0, "no normalizer"),
    BAD("{\"normalizer\":{\"type\":\"NFC\"}}", FINCH_E_UNSUPPORTED, 0, "normalizer is of the type NFC"),
    BAD("{\"normalizer\":7}", FINCH_E_DATA, 0, "must be an object"),
    BAD(JSON_HEAD JSON_NORMALIZER "}", FINCH_E_UNSUPPORTED, 0, "no pre_tokenizer"),
    BAD(JSON_HEAD JSON_NORMALIZER ",\"pre_tokenizer\":{\"type\":\"ByteLevel\"}}", FINCH_E_UNSUPPORTED, 0,
        "pre_tokenizer is of the type ByteLevel"),
    BAD(JSON_HEAD JSON_NORMALIZER JSON_PRE JSON_POST ",\"model\":{\"type\":\"Unigram\"}}", FINCH_E_UNSUPPORTED, 0,
        "model is of the type Unigram"),
    BAD(JSON_HEAD JSON_NORMALIZER JSON_PRE JSON_POST ",\"model\":{\"type\":\"BPE\"}}", FINCH_E_UNSUPPORTED, 0,
        "its normalizer is of another kind"),
    BAD(JSON_HEAD JSON_NORMALIZER JSON_PRE JSON_MODEL JSON_VOCAB JSON_TAIL, FINCH_E_UNSUPPORTED, 0, "no post_processor"),
    BAD(JSON_HEAD JSON_NORMALIZER JSON_PRE ",\"post_processor\":{\"type\":\"ByteLevel\"}" JSON_MODEL JSON_VOCAB JSON_TAIL,
        FINCH_E_UNSUPPORTED, 0, "post_processor is of the type ByteLevel"),
    BAD(JSON_HEAD JSON_NORMALIZER JSON_PRE
        ",\"post_processor\":{\"type\":\"BertProcessing\",\"sep\":[\"[SEP]\",2],\"cls\":[\"[CLS]\",2]}" JSON_MODEL JSON_VOCAB
            JSON_TAIL,
        FINCH_E_DATA, 0, "sep is \"[SEP]\" with the id 2"),
    BAD(JSON_HEAD JSON_NORMALIZER JSON_PRE
        ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"Sequence\":{\"id\":\"A\"}}]}" JSON_MODEL
            JSON_VOCAB JSON_TAIL,
        FINCH_E_UNSUPPORTED, 0, "template"),
    BAD(JSON_HEAD JSON_MIDDLE "\"[PAD]\":0,\"[PAD]\":1" JSON_TAIL, FINCH_E_DATA, 1, "duplicate"),
    BAD(JSON_HEAD JSON_MIDDLE JSON_VOCAB ",\"sell\":5" JSON_TAIL, FINCH_E_DATA, 0,
        "\"buy\" and \"sell\" both have the id 5"),
    BAD(JSON_HEAD JSON_MIDDLE JSON_VOCAB ",\"sell\":8" JSON_TAIL, FINCH_E_DATA, 0, "id 7 is missing"),
    BAD(JSON_HEAD JSON_MIDDLE JSON_VOCAB ",\"sell\":-1" JSON_TAIL, FINCH_E_DATA, 0, "\"sell\" needs an id from 0"),
    BAD(JSON_HEAD JSON_MIDDLE JSON_VOCAB ",\"sell\":99999999999" JSON_TAIL, FINCH_E_DATA, 0, "\"sell\" needs an id from 0"),
    BAD(JSON_HEAD JSON_MIDDLE JSON_VOCAB ",\"sell\":\"7\"" JSON_TAIL, FINCH_E_DATA, 0, "\"sell\" needs an id from 0"),
    BAD(JSON_HEAD JSON_MIDDLE JSON_TAIL, FINCH_E_DATA, 0, "1 to"),
    BAD(JSON_HEAD "{\"id\":5,\"content\":\"[X]\"}" JSON_MIDDLE JSON_VOCAB JSON_TAIL, FINCH_E_DATA, 0,
        "\"[X]\" has the id 5"),
    BAD(JSON_HEAD "{\"id\":7,\"content\":\"buy\"}" JSON_MIDDLE JSON_VOCAB JSON_TAIL, FINCH_E_DATA, 0,
        "stands at id 5 and again at 7"),
    BAD(JSON_HEAD "{\"id\":9,\"content\":\"[X]\"}" JSON_MIDDLE JSON_VOCAB JSON_TAIL, FINCH_E_DATA, 0, "id 7 is missing"),
    BAD(JSON_HEAD "{\"id\":7,\"content\":\"\"}" JSON_MIDDLE JSON_VOCAB JSON_TAIL, FINCH_E_DATA, 0, "\"content\""),
    BAD(JSON_HEAD "{\"id\":7}" JSON_MIDDLE JSON_VOCAB JSON_TAIL, FINCH_E_DATA, 0, "\"content\""),
    BAD(JSON_HEAD "{\"id\":7,\"content\":\"\\u0301\",\"normalized\":true}" JSON_MIDDLE JSON_VOCAB JSON_TAIL, FINCH_E_DATA, 0,
        "normalisation leaves nothing"),
    BAD(JSON_HEAD JSON_ADDED "," JSON_ADDED JSON_MIDDLE JSON_VOCAB JSON_TAIL, FINCH_E_DATA, 0, "is there twice"),
};

static void check_refused(const bad_file *bad, finch_status st, const text_tokenizer *t, const finch_error *err)
{
    CHECK_STATUS(bad->status, st, err);
    CHECK(t == NULL);
    if (strstr(err->message, bad->says) == NULL) print_error("\"%s\" is not in: %s\n", bad->says, err->message);
    CHECK(strstr(err->message, bad->says) != NULL);
    CHECK_EQUAL(bad->row, err->row);
}

TEST(a_bad_vocabulary_is_refused_with_its_place)
{
    for (size_t i = 0; i < sizeof bad_vocabs / sizeof bad_vocabs[0]; i++) {
        finch_error err = {0};
        text_tokenizer *t;
        finch_status st = text_tokenizer_from_vocab(bad_vocabs[i].content, bad_vocabs[i].size, true, &t, &err);
        check_refused(&bad_vocabs[i], st, t, &err);
    }
}

TEST(a_bad_tokenizer_json_is_refused_with_its_place)
{
    for (size_t i = 0; i < sizeof bad_jsons / sizeof bad_jsons[0]; i++) {
        finch_error err = {0};
        text_tokenizer *t;
        finch_status st = text_tokenizer_from_json(bad_jsons[i].content, bad_jsons[i].size, "m/tokenizer.json", &t, &err);
        check_refused(&bad_jsons[i], st, t, &err);
        CHECK(strncmp(err.message, "m/tokenizer.json", strlen("m/tokenizer.json")) == 0);
    }
}

TEST(a_piece_longer_than_any_is_refused)
{
    finch_error err;
    text_tokenizer *t;
    str vocab = {0};
    CHECK_OK(str_add_text(&vocab, good_vocab, &err), &err);
    for (int i = 0; i <= TEXT_PIECE_MAX_BYTES; i++) CHECK_OK(str_add_text(&vocab, "x", &err), &err);
    CHECK_STATUS(FINCH_E_DATA, text_tokenizer_from_vocab(vocab.at, vocab.size, true, &t, &err), &err);
    CHECK(err.row == 10 && strstr(err.message, "longer") != NULL);
    CHECK_OK(text_tokenizer_from_vocab(vocab.at, vocab.size - 1, true, &t, &err), &err);
    text_tokenizer_close(t);
    str_free(&vocab);
}

/* Every file cut off anywhere is either refused or, for lines, a shorter vocabulary. */
TEST(a_cut_file_never_crashes)
{
    for (size_t size = 0; size < sizeof good_json - 1; size++) {
        finch_error err;
        text_tokenizer *t;
        void *copy;
        CHECK_OK(mem_alloc(size, 1, &copy, &err), &err);
        memcpy(copy, good_json, size);
        CHECK_STATUS(FINCH_E_DATA, text_tokenizer_from_json(copy, size, "cut", &t, &err), &err);
        CHECK(t == NULL);
        mem_free(copy);
    }
    for (size_t size = 0; size < sizeof good_vocab; size++) {
        finch_error err;
        text_tokenizer *t;
        finch_status st = text_tokenizer_from_vocab(good_vocab, size, true, &t, &err);
        CHECK((st == FINCH_OK) == (t != NULL));
        text_tokenizer_close(t);
    }
}

/* ---- folders --------------------------------------------------------------------------------------------------- */

static const char *write_file(const char *folder, const char *name, const char *content, str *path)
{
    finch_error err;
    CHECK_OK(file_make_directories(folder, &err), &err);
    CHECK_OK(file_join(folder, name, path, &err), &err);
    CHECK_OK(file_write(path->at, content, strlen(content), &err), &err);
    return path->at;
}

static void check_same_file(const char *folder, const char *name, const char *content)
{
    finch_error err;
    str path = {0};
    char *found;
    size_t size;
    CHECK_OK(file_join(folder, name, &path, &err), &err);
    CHECK_OK(file_read(path.at, 1u << 20, &found, &size, &err), &err);
    CHECK(size == strlen(content) && memcmp(found, content, size) == 0);
    mem_free(found);
    str_free(&path);
}

static void sub_folder(const char *name, str *out)
{
    finch_error err;
    CHECK_OK(file_join(harness_folder(), name, out, &err), &err);
}

TEST(a_folder_saves_what_it_was_opened_from)
{
    static const char config[] = "{ \"do_lower_case\": false,\n \"unknown\": [1, 2] }";
    finch_error err;
    str from = {0}, to = {0}, path = {0};
    text_tokenizer *t;
    sub_folder("from", &from);
    sub_folder("to/deep", &to);
    write_file(from.at, "vocab.txt", good_vocab, &path);
    write_file(from.at, "tokenizer_config.json", config, &path);
    CHECK_OK(text_tokenizer_open(from.at, &t, &err), &err);
    CHECK_OK(text_tokenizer_save(t, to.at, &err), &err);
    text_tokenizer_close(t);
    check_same_file(to.at, "vocab.txt", good_vocab);
    check_same_file(to.at, "tokenizer_config.json", config);
    CHECK_OK(text_tokenizer_open(to.at, &t, &err), &err);
    check_ids(t, "Buying! buying", (int32_t[]){2, 1, 8, 5, 7, 3}, 6);
    text_tokenizer_close(t);
    str_free(&from);
    str_free(&to);
    str_free(&path);
}

TEST(what_came_from_memory_opens_again)
{
    finch_error err;
    str to = {0};
    text_tokenizer *t;
    sub_folder("saved", &to);
    CHECK_OK(text_tokenizer_from_vocab(good_vocab, sizeof good_vocab - 1, false, &t, &err), &err);
    CHECK_OK(text_tokenizer_save(t, to.at, &err), &err);
    text_tokenizer_close(t);
    CHECK_OK(text_tokenizer_open(to.at, &t, &err), &err);
    check_ids(t, "BUY buy [MASK]", (int32_t[]){2, 1, 5, 4, 3}, 5);
    text_tokenizer_close(t);
    CHECK_OK(text_tokenizer_from_json(good_json, sizeof good_json - 1, "memory", &t, &err), &err);
    CHECK_OK(text_tokenizer_save(t, to.at, &err), &err);
    text_tokenizer_close(t);
    check_same_file(to.at, "tokenizer.json", good_json);
    CHECK_OK(text_tokenizer_open(to.at, &t, &err), &err); /* tokenizer.json goes before vocab.txt */
    check_ids(t, "BUYing!", (int32_t[]){2, 5, 6, 1, 3}, 5);
    text_tokenizer_close(t);
    str_free(&to);
}

TEST(tokenizer_config_names_tokens_and_kinds)
{
    static const char vocab[] = "<p>\n<u>\n<c>\n<e>\nbuy\n";
    finch_error err;
    str from = {0}, path = {0};
    text_tokenizer *t;
    sub_folder("named", &from);
    write_file(from.at, "vocab.txt", vocab, &path);
    CHECK_STATUS(FINCH_E_DATA, text_tokenizer_open(from.at, &t, &err), &err);
    write_file(from.at, "tokenizer_config.json",
               "{\"pad_token\":\"<p>\",\"unk_token\":{\"content\":\"<u>\"},\"cls_token\":\"<c>\",\"sep_token\":\"<e>\","
               "\"mask_token\":null,"
               "\"added_tokens_decoder\":{\"5\":{\"content\":\"$TSLA\",\"normalized\":false}}}",
               &path);
    CHECK_OK(text_tokenizer_open(from.at, &t, &err), &err);
    check_ids(t, "buy$TSLA<c>?", (int32_t[]){2, 4, 5, 2, 1, 3}, 6);
    CHECK_EQUAL(-1, text_tokenizer_special(t).mask);
    CHECK_EQUAL(6, text_tokenizer_vocab_size(t));
    text_tokenizer_close(t);
    write_file(from.at, "tokenizer_config.json", "{\"tokenizer_class\":\"GemmaTokenizer\"}", &path);
    CHECK_STATUS(FINCH_E_UNSUPPORTED, text_tokenizer_open(from.at, &t, &err), &err);
    CHECK(strstr(err.message, "GemmaTokenizer") != NULL);
    write_file(from.at, "tokenizer_config.json", "{\"added_tokens_decoder\":{\"5x\":{\"content\":\"a\"}}}", &path);
    CHECK_STATUS(FINCH_E_DATA, text_tokenizer_open(from.at, &t, &err), &err);
    CHECK(strstr(err.message, "\"5x\"") != NULL);
    write_file(from.at, "tokenizer_config.json", "{\"do_lower_case\":\"yes\"}", &path);
    CHECK_STATUS(FINCH_E_DATA, text_tokenizer_open(from.at, &t, &err), &err);
    CHECK(strstr(err.message, "do_lower_case") != NULL);
    str_free(&from);
    str_free(&path);
}

TEST(a_folder_without_a_tokenizer_says_so)
{
    finch_error err;
    text_tokenizer *t;
    CHECK_STATUS(FINCH_E_NOT_FOUND, text_tokenizer_open(harness_folder(), &t, &err), &err);
    CHECK(t == NULL && strstr(err.message, "has no tokenizer.json, tokenizer.model or vocab.txt") != NULL);
    CHECK_STATUS(FINCH_E_NOT_FOUND, text_tokenizer_open("no/such/folder", &t, &err), &err);
    CHECK(strstr(err.message, "no folder") != NULL);
}

/* ---- faults ---------------------------------------------------------------------------------------------------- */

static void walk_faults(fault_kind kind, finch_status expected, const char *folder, const char *to, int at_least)
{
    int failures = 0;
    for (int nth = 1; fault_arm(kind, nth); nth++) {
        finch_error err;
        text_tokenizer *t;
        finch_status st = text_tokenizer_open(folder, &t, &err);
        CHECK((st == FINCH_OK) == (t != NULL));
        if (st == FINCH_OK) st = text_tokenizer_save(t, to, &err);
        text_tokenizer_close(t);
        if (!fault_disarm()) {
            CHECK_OK(st, &err);
            break;
        }
        CHECK_STATUS(expected, st, &err);
        failures++;
    }
    CHECK(failures >= at_least);
}

TEST(every_fault_while_opening_and_saving_is_reported)
{
    str from = {0}, to = {0}, path = {0};
    sub_folder("faulty", &from);
    sub_folder("saved", &to);
    write_file(from.at, "vocab.txt", good_vocab, &path);
    write_file(from.at, "tokenizer_config.json",
               "{\"added_tokens_decoder\":{\"9\":{\"content\":\"MOON\",\"normalized\":true}}}", &path);
    walk_faults(FAULT_ALLOC, FINCH_E_MEMORY, from.at, to.at, 30);
    walk_faults(FAULT_OPEN, FINCH_E_IO, from.at, to.at, 2);
    walk_faults(FAULT_READ, FINCH_E_IO, from.at, to.at, 2);
    walk_faults(FAULT_WRITE, FINCH_E_IO, from.at, to.at, 2);
    walk_faults(FAULT_RENAME, FINCH_E_IO, from.at, to.at, 2);
    write_file(from.at, "tokenizer.json", good_json, &path);
    walk_faults(FAULT_ALLOC, FINCH_E_MEMORY, from.at, to.at, 30);
    str_free(&from);
    str_free(&to);
    str_free(&path);
}
