/* Conversion both ways on a small model made here: what comes back, what is refused, and failing disks and memory. Against
 * transformers and the gguf package: tests/parity/test_convert.py. */
#include "harness.h"

#include "base/file.h"
#include "base/rng.h"
#include "model/convert_internal.h"
#include "model/tokenizer_file.h"

#include <dirent.h>

enum { VOCAB = 300, HIDDEN = 64, LAYERS = 3, HEAD = 32, WIDE = 96, ENTRIES = 2 + 13 * LAYERS, SHORT = 24 };

static const char chat[] = "{{ messages }}";

static gemma_config small_config(void)
{
    gemma_config c = {.vocab_size = VOCAB,
                      .hidden_size = HIDDEN,
                      .n_layers = LAYERS,
                      .n_heads = 4,
                      .n_key_heads = 2,
                      .head_width = HEAD,
                      .intermediate_size = WIDE,
                      .n_positions = 512,
                      .window = 9,
                      .norm_eps = 1e-6f,
                      .query_scale = 0.1767766952966369f,
                      .local_theta = 10000,
                      .global_theta = 1e6,
                      .local_factor = 1,
                      .global_factor = 8,
                      .pad_id = 0,
                      .bos_id = 2,
                      .eos_id = 1};
    c.is_global[1] = true; /* every second layer */
    return c;
}

/* n_pieces from 266 on: four special tokens, the bytes, two turns, letters and a merge; then letters without meaning. */
static text_tokenizer *small_tokenizer(size_t n_pieces)
{
    static const char *const first[] = {"<pad>",           "<eos>",         "<bos>", "<unk>",
                                        "<start_of_turn>", "<end_of_turn>", "  ",    "\n\n"};
    static char names[512][24];
    static finch_text pieces[512];
    static uint8_t kinds[512];
    finch_error err;
    text_tokenizer *t;
    for (size_t i = 0; i < n_pieces; i++) {
        size_t byte = i - 8;
        kinds[i] = i < 6 ? TEXT_PIECE_CONTROL : i < 8 ? TEXT_PIECE_USER : byte < 256 ? TEXT_PIECE_BYTE : TEXT_PIECE_NORMAL;
        if (i < 8) pieces[i] = (finch_text){first[i], strlen(first[i])};
        else if (byte < 256) snprintf(names[i], sizeof names[i], "<0x%02X>", (unsigned)byte);
        else if (byte < 258) snprintf(names[i], sizeof names[i], byte == 256 ? "\xE2\x96\x81" : "ab");
        else if (byte < 258 + 8) snprintf(names[i], sizeof names[i], "%c", (int)('a' + byte - 258));
        else snprintf(names[i], sizeof names[i], "z%zu", byte);
        if (i >= 8) pieces[i] = (finch_text){names[i], strlen(names[i])};
    }
    text_spm spm = {"small", pieces, kinds, n_pieces, 2, 1, 3, 0, false};
    CHECK_OK(text_tokenizer_from_pieces(&spm, &t, &err), &err);
    return t;
}

/* ---- the model in a file ---------------------------------------------------------------------------------------------- */

typedef struct writer {
    gguf_entry entries[ENTRIES];
    char names[ENTRIES][64];
    size_t n;
    float items[VOCAB * HIDDEN];
} writer;

static void add(writer *w, const char *name, size_t rows, size_t columns)
{
    gguf_entry *e = &w->entries[w->n];
    snprintf(w->names[w->n], sizeof w->names[0], "%s.weight", name);
    *e = (gguf_entry){.name = w->names[w->n++],
                      .type = GGUF_F32,
                      .n_dims = rows > 0 ? 2 : 1,
                      .dims = {rows > 0 ? rows : columns, columns}};
}

/* Numbers that bf16 holds, so that a folder of that type brings them back; norms near 1. */
static finch_status fill_items(void *context, size_t index, size_t offset, const void **data, size_t *size, finch_error *err)
{
    writer *w = context;
    const gguf_entry *e = &w->entries[index];
    size_t n = e->dims[0] * (e->n_dims == 2 ? e->dims[1] : 1);
    (void)err;
    CHECK_EQUAL(0, offset);
    for (size_t i = 0; i < n; i++) {
        float value = (float)((int)(rng_at(5, index, i).word[0] % 255) - 127) / 512.0f;
        w->items[i] = e->n_dims == 1 ? 1.0f + value : value;
    }
    *data = w->items;
    *size = n * sizeof(float);
    return FINCH_OK;
}

static const char *inside(const char *name)
{
    static char paths[4][512];
    static size_t next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", harness_folder(), name);
    return path;
}

static const char *make_gguf(const char *name, size_t n_pieces)
{
    static writer w;
    finch_error err;
    gguf_meta meta = {0};
    gemma_config c = small_config();
    text_tokenizer *t = small_tokenizer(n_pieces);
    char part[48];
    w.n = 0;
    add(&w, "token_embd", VOCAB, HIDDEN);
    for (size_t layer = 0; layer < LAYERS; layer++) {
#define ADD_MATRIX(member, hub, gguf_name, outputs, inputs)      \
    snprintf(part, sizeof part, "blk.%zu.%s", layer, gguf_name); \
    add(&w, part, gemma_width_of(&c, outputs), gemma_width_of(&c, inputs));
        GEMMA_MATRIX_LIST(ADD_MATRIX)
#undef ADD_MATRIX
#define ADD_NORM(member, hub, gguf_name, width)                  \
    snprintf(part, sizeof part, "blk.%zu.%s", layer, gguf_name); \
    add(&w, part, 0, gemma_width_of(&c, width));
        GEMMA_NORM_LIST(ADD_NORM)
#undef ADD_NORM
    }
    add(&w, "output_norm", 0, HIDDEN);
    CHECK_EQUAL(ENTRIES, w.n);
    CHECK_OK(convert_fill_meta(&c, t, "small", GGUF_F32, (finch_text){chat, sizeof chat - 1}, &meta, &err), &err);
    CHECK_OK(gguf_stream(inside(name), &meta, w.entries, w.n, fill_items, &w, &err), &err);
    gguf_meta_free(&meta);
    text_tokenizer_close(t);
    return inside(name);
}

/* ---- the same again --------------------------------------------------------------------------------------------------- */

static void check_same_tensors(const char *one, const char *other)
{
    finch_error err;
    gguf *a, *b;
    CHECK_OK(gguf_open(one, &a, &err), &err);
    CHECK_OK(gguf_open(other, &b, &err), &err);
    CHECK_EQUAL(ENTRIES, gguf_count(a));
    CHECK_EQUAL(gguf_count(a), gguf_count(b));
    for (size_t i = 0; i < gguf_count(a); i++) {
        const gguf_tensor *x = gguf_at(a, i), *y = gguf_at(b, i);
        CHECK_TEXT(x->name, y->name);
        CHECK(x->type == y->type && x->n_dims == y->n_dims && x->size_bytes == y->size_bytes);
        CHECK(memcmp(x->data, y->data, x->size_bytes) == 0);
    }
    gguf_close(a);
    gguf_close(b);
}

static void check_same_vocabulary(const char *one, const char *other)
{
    static const char text[] = "ab  a\n\n b<end_of_turn>\xE2\x82\xAC";
    finch_error err;
    const char *paths[] = {one, other};
    int32_t ids[2][32];
    size_t n[2];
    for (size_t i = 0; i < 2; i++) {
        text_tokenizer *t;
        text_scratch *scratch;
        CHECK_OK(model_tokenizer_open(paths[i], &t, &err), &err);
        CHECK_OK(text_scratch_create(&scratch, &err), &err);
        CHECK_OK(text_encode(t, (finch_text){text, sizeof text - 1}, 32, ids[i], &n[i], NULL, NULL, scratch, &err), &err);
        text_scratch_destroy(scratch);
        text_tokenizer_close(t);
    }
    CHECK_EQUAL(n[0], n[1]);
    CHECK(n[0] > 10 && memcmp(ids[0], ids[1], n[0] * sizeof ids[0][0]) == 0);
}

static void check_round_trip(gguf_type type, size_t shard_bytes, bool shards)
{
    finch_error err;
    convert_report report;
    convert_options options = {.type = type, .shard_bytes = shard_bytes};
    const char *first = make_gguf("first.gguf", 280);
    CHECK_OK(convert_to_folder(first, inside("folder"), &options, &report, &err), &err);
    CHECK(report.n_tensors == ENTRIES && report.n_left_out == 0 && (report.n_files > 3) == shards);
    CHECK(report.working_bytes < 10u << 20);
    options.type = GGUF_F32;
    CHECK_OK(convert_to_gguf(inside("folder"), inside("second.gguf"), &options, &report, &err), &err);
    check_same_tensors(inside("first.gguf"), inside("second.gguf"));
    check_same_vocabulary(inside("first.gguf"), inside("folder"));
    check_same_vocabulary(inside("first.gguf"), inside("second.gguf"));
}

TEST(a_round_trip_in_f32_brings_every_bit_back)
{
    check_round_trip(GGUF_F32, 5000000000, false);
}
TEST(a_round_trip_through_bf16_shards_brings_back_what_bf16_holds)
{
    check_round_trip(GGUF_BF16, 20000, true);
}

/* llama.cpp merges the pair with the highest score: ordinary pieces' fall with the id. */
static void check_scores(const gguf *g)
{
    finch_error err;
    gguf_array scores, kinds;
    double score = 0, kind = 0, before = 0;
    size_t n_ordinary = 0;
    CHECK_OK(gguf_get_numbers(g, "tokenizer.ggml.scores", &scores, &err), &err);
    CHECK_OK(gguf_get_numbers(g, "tokenizer.ggml.token_type", &kinds, &err), &err);
    while (gguf_next_number(&scores, &score) && gguf_next_number(&kinds, &kind)) {
        if (kind != TEXT_PIECE_NORMAL) continue;
        CHECK(score < before);
        before = score;
        n_ordinary++;
    }
    CHECK(n_ordinary > 10);
}

TEST(the_configuration_and_the_template_come_back)
{
    finch_error err;
    convert_report report;
    const convert_options options = {.type = GGUF_F32, .shard_bytes = 5000000000};
    gemma *g;
    char *content;
    size_t size;
    CHECK_OK(convert_to_folder(make_gguf("first.gguf", 280), inside("folder"), &options, &report, &err), &err);
    CHECK_OK(file_read(inside("folder/chat_template.jinja"), 1 << 20, &content, &size, &err), &err);
    CHECK_TEXT(chat, content);
    mem_free(content);
    CHECK_OK(convert_to_gguf(inside("folder"), inside("second.gguf"), &options, &report, &err), &err);
    CHECK_OK(gemma_open(inside("second.gguf"), MODEL_F32, &g, &err), &err);
    gemma_config wanted = small_config();
    const gemma_config *found = gemma_get_config(g);
    CHECK(found->vocab_size == wanted.vocab_size && found->n_layers == wanted.n_layers && found->window == wanted.window);
    CHECK(found->norm_eps == wanted.norm_eps && found->query_scale == wanted.query_scale);
    CHECK(found->global_theta == wanted.global_theta && found->local_theta == wanted.local_theta &&
          found->global_factor == 8);
    CHECK(memcmp(found->is_global, wanted.is_global, sizeof wanted.is_global) == 0);
    CHECK(found->pad_id == 0 && found->bos_id == 2 && found->eos_id == 1 && found->n_positions == 512);
    finch_text template;
    CHECK_OK(gguf_get_text(g->blocks, "tokenizer.chat_template", &template, &err), &err);
    check_scores(g->blocks);
    CHECK(template.size_bytes == sizeof chat - 1 && memcmp(template.at, chat, sizeof chat - 1) == 0);
    gemma_close(g);
}

TEST(int8_folders_become_floats_again)
{
    finch_error err;
    convert_report report;
    const convert_options options = {.type = GGUF_F32, .shard_bytes = 20000};
    gguf *before, *after;
    CHECK_OK(convert_to_folder(make_gguf("first.gguf", 280), inside("folder"), &options, &report, &err), &err);
    CHECK_OK(compressed_quantize_folder(inside("folder"), inside("int8"), 20000, NULL, NULL, &err), &err);
    CHECK_OK(convert_to_gguf(inside("int8"), inside("second.gguf"), &options, &report, &err), &err);
    CHECK_EQUAL(0, report.n_left_out);
    CHECK_OK(gguf_open(inside("first.gguf"), &before, &err), &err);
    CHECK_OK(gguf_open(inside("second.gguf"), &after, &err), &err);
    const gguf_tensor *x = gguf_find(before, "blk.1.ffn_up.weight"), *y = gguf_find(after, "blk.1.ffn_up.weight");
    for (size_t i = 0; i < x->n_items; i++) {
        float a, b;
        CHECK_OK(gguf_to_f32(x, i, 1, &a, &err), &err);
        CHECK_OK(gguf_to_f32(y, i, 1, &b, &err), &err);
        CHECK_NEAR(a, b, 127.0 / 512 / 254 + 1e-6); /* half a step of the largest row */
    }
    gguf_close(before);
    gguf_close(after);
}

/* ---- refused ---------------------------------------------------------------------------------------------------------- */

static void check_gguf_refused(const char *from, gguf_type type, finch_status status, const char *says)
{
    finch_error err = {0};
    convert_report report;
    const convert_options options = {.type = type, .shard_bytes = 1 << 20};
    CHECK_STATUS(status, convert_to_gguf(from, inside("out.gguf"), &options, &report, &err), &err);
    if (strstr(err.message, says) == NULL) print_error("\"%s\" is not in: %s\n", says, err.message);
    CHECK(strstr(err.message, says) != NULL && !file_exists(inside("out.gguf")));
}

static void replace_in(const char *path, const char *from, const char *to)
{
    finch_error err;
    char *content;
    size_t size;
    str out = {0};
    CHECK_OK(file_read(path, 1u << 24, &content, &size, &err), &err);
    const char *at = strstr(content, from);
    CHECK(at != NULL);
    CHECK_OK(str_add(&out, content, (size_t)(at - content), &err), &err);
    CHECK_OK(str_add_text(&out, to, &err), &err);
    CHECK_OK(str_add_text(&out, at + strlen(from), &err), &err);
    CHECK_OK(file_write(path, out.at, out.size, &err), &err);
    str_free(&out);
    mem_free(content);
}

/* A name as long as "gemma3" in the value of general.architecture; keys keep theirs. */
static void rename_architecture(const char *path, const char *name)
{
    static const char key[] = "general.architecture";
    finch_error err;
    char *content = NULL;
    size_t size = 0, type_and_length = 4 + 8;
    CHECK_OK(file_read(path, 1 << 24, &content, &size, &err), &err);
    size_t at = 0, end = size - strlen(key) - type_and_length - 6;
    while (at < end && memcmp(content + at, key, strlen(key)) != 0) at++;
    char *value = content + at + strlen(key) + type_and_length;
    CHECK(at < end && memcmp(value, "gemma3", 6) == 0);
    memcpy(value, name, 6);
    CHECK_OK(file_write(path, content, size, &err), &err);
    mem_free(content);
}

TEST(what_a_gguf_file_has_no_place_for_is_refused)
{
    finch_error err;
    convert_report report;
    const convert_options options = {.type = GGUF_F32, .shard_bytes = 1 << 20};
    CHECK_OK(convert_to_folder(make_gguf("first.gguf", 280), inside("folder"), &options, &report, &err), &err);
    const char *config = "folder/config.json";
    check_gguf_refused(FIXTURES "/models/tiny-gemma", GGUF_F32, FINCH_E_UNSUPPORTED, "classification head");
    replace_in(inside(config), "\"query_pre_attn_scalar\": 32", "\"query_pre_attn_scalar\": 16");
    check_gguf_refused(inside("folder"), GGUF_F32, FINCH_E_UNSUPPORTED, "query_pre_attn_scalar");
    replace_in(inside(config), "\"query_pre_attn_scalar\": 16", "\"query_pre_attn_scalar\": 32");
    replace_in(inside(config), "\"sliding_attention\",\n    \"full_attention\",\n    \"sliding",
               "\"full_attention\",\n    \"full_attention\",\n    \"sliding");
    check_gguf_refused(inside("folder"), GGUF_F32, FINCH_E_UNSUPPORTED, "regular intervals");
    CHECK_OK(file_remove_tree(inside("folder/tokenizer.json"), &err), &err);
    check_gguf_refused(inside("folder"), GGUF_F32, FINCH_E_NOT_FOUND, "tokenizer.json");
    check_gguf_refused(inside("nowhere"), GGUF_F32, FINCH_E_NOT_FOUND, "nowhere");
}

TEST(what_a_folder_can_not_be_made_of_is_refused)
{
    finch_error err = {0};
    convert_report report;
    convert_options options = {.type = GGUF_Q8_0, .shard_bytes = 1 << 20};
    const char *first = make_gguf("first.gguf", 280);
    CHECK_STATUS(FINCH_E_USAGE, convert_to_folder(first, inside("folder"), &options, &report, &err), &err);
    options.type = GGUF_F32;
    CHECK_STATUS(FINCH_E_USAGE, convert_to_folder(first, harness_folder(), &options, &report, &err), &err);
    CHECK(strstr(err.message, "exists already") != NULL && !file_exists(inside("folder")));
}

/* The name of the architecture is a GGUF file's first word about what is in it. */
TEST(a_gguf_file_of_another_architecture_is_refused_by_name)
{
    finch_error err = {0};
    gemma *g = NULL;
    convert_report report;
    const convert_options options = {.type = GGUF_F32, .shard_bytes = 1 << 20};
    const char *first = make_gguf("first.gguf", 280);
    CHECK_OK(gemma_open(first, MODEL_F32, &g, &err), &err);
    gemma_close(g);
    rename_architecture(first, "llama4");
    CHECK_STATUS(FINCH_E_UNSUPPORTED, gemma_open(first, MODEL_F32, &g, &err), &err);
    CHECK(g == NULL && strstr(err.message, "first.gguf: general.architecture is llama4; finch runs gemma3") != NULL);
    CHECK_STATUS(FINCH_E_UNSUPPORTED, convert_to_folder(first, inside("folder"), &options, &report, &err), &err);
    CHECK(strstr(err.message, "llama4") != NULL && !file_exists(inside("folder")));
}

TEST(a_vocabulary_that_does_not_match_the_embedding_is_refused)
{
    finch_error err = {0};
    convert_report report;
    const convert_options options = {.type = GGUF_F32, .shard_bytes = 1 << 20};
    text_tokenizer *t = small_tokenizer(VOCAB + 1);
    CHECK_OK(convert_to_folder(make_gguf("first.gguf", 280), inside("folder"), &options, &report, &err), &err);
    CHECK_OK(text_tokenizer_save(t, inside("folder"), &err), &err);
    check_gguf_refused(inside("folder"), GGUF_F32, FINCH_E_DATA, "the tokenizer has 301 pieces and the embedding 300 rows");
    text_tokenizer_close(t);
}

/* ---- faults and interruptions -------------------------------------------------------------------------------------------- */

static size_t entries_of(const char *folder)
{
    DIR *dir = opendir(folder);
    size_t n = 0;
    CHECK(dir != NULL);
    while (readdir(dir) != NULL) n++;
    closedir(dir);
    return n - 2;
}

static finch_status both_ways(finch_error *err)
{
    convert_report report;
    const convert_options options = {.type = GGUF_F16, .shard_bytes = 20000};
    finch_status st = convert_to_folder(inside("first.gguf"), inside("folder"), &options, &report, err);
    return st == FINCH_OK ? convert_to_gguf(inside("folder"), inside("second.gguf"), &options, &report, err) : st;
}

TEST(a_failing_disk_or_memory_leaves_nothing_half)
{
    static const fault_kind kinds[] = {FAULT_ALLOC, FAULT_OPEN, FAULT_READ, FAULT_WRITE, FAULT_FSYNC, FAULT_RENAME};
    finch_error err;
    make_gguf("first.gguf", 280);
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        bool struck = true;
        for (int nth = 1; struck; nth += nth < SHORT ? 1 : 7) {
            fault_arm(kinds[k], nth);
            finch_status st = both_ways(&err);
            struck = fault_disarm();
            CHECK_STATUS(struck ? (kinds[k] == FAULT_ALLOC ? FINCH_E_MEMORY : FINCH_E_IO) : FINCH_OK, st, &err);
            CHECK(entries_of(harness_folder()) <= 3);
            if (file_exists(inside("second.gguf"))) CHECK(file_exists(inside("folder")));
            CHECK_OK(file_remove_tree(inside("folder"), &err), &err);
            CHECK_OK(file_remove_tree(inside("second.gguf"), &err), &err);
        }
    }
}

static bool stop_at(void *context, uint64_t done, uint64_t total, const char *note)
{
    size_t *calls_left = context;
    CHECK(done <= total && note != NULL);
    return (*calls_left)-- > 0;
}

TEST(an_interrupted_conversion_leaves_nothing)
{
    finch_error err;
    convert_report report;
    make_gguf("first.gguf", 280);
    for (size_t calls = 0; calls < ENTRIES; calls += 9) {
        size_t left = calls;
        const progress p = {stop_at, &left};
        const convert_options options = {.type = GGUF_F32, .shard_bytes = 20000, .listener = &p};
        CHECK_STATUS(FINCH_E_CANCELLED, convert_to_folder(inside("first.gguf"), inside("folder"), &options, &report, &err),
                     &err);
        CHECK_EQUAL(1, entries_of(harness_folder()));
    }
}

/* ---- odd sizes ---------------------------------------------------------------------------------------------------------- */

static finch_status fill_three(void *context, size_t index, size_t offset, const void **data, size_t *size, finch_error *err)
{
    static const float items[3] = {1.0f, 2.0f, 3.0f};
    (void)context;
    (void)index;
    (void)err;
    *data = items + offset / sizeof *items;
    *size = sizeof *items; /* piece by piece */
    return FINCH_OK;
}

TEST(tensors_of_odd_sizes_begin_aligned)
{
    const gguf_entry entries[] = {{"a", GGUF_F32, 1, {3}}, {"b", GGUF_F32, 1, {3}}, {"c", GGUF_F32, 2, {1, 3}}};
    finch_error err;
    gguf_meta meta = {0};
    gguf *g;
    CHECK_OK(gguf_stream(inside("odd.gguf"), &meta, entries, 3, fill_three, NULL, &err), &err);
    CHECK_OK(gguf_open(inside("odd.gguf"), &g, &err), &err);
    for (size_t i = 0; i < 3; i++) {
        float items[3];
        CHECK_OK(gguf_to_f32(gguf_at(g, i), 0, 3, items, &err), &err);
        CHECK(items[0] == 1.0f && items[1] == 2.0f && items[2] == 3.0f);
    }
    gguf_close(g);
}

/* ---- items ----------------------------------------------------------------------------------------------------------------- */

TEST(rows_that_are_no_whole_blocks_and_items_that_do_not_fit_are_refused)
{
    finch_error err;
    size_t size;
    unsigned char out[64];
    const float large[2] = {1.0f, 70000.0f}, most[1] = {65504.0f};
    CHECK_STATUS(FINCH_E_USAGE, gguf_row_bytes(GGUF_Q8_0, 33, &size, &err), &err);
    CHECK_STATUS(FINCH_E_USAGE, gguf_row_bytes(GGUF_Q4_K, 256, &size, &err), &err);
    CHECK_OK(gguf_row_bytes(GGUF_Q8_0, 64, &size, &err), &err);
    CHECK_EQUAL(68, size);
    CHECK_STATUS(FINCH_E_DATA, gguf_from_f32(GGUF_F16, large, 2, out, &err), &err);
    CHECK_OK(gguf_from_f32(GGUF_F16, most, 1, out, &err), &err);
    CHECK_OK(gguf_from_f32(GGUF_BF16, large, 2, out, &err), &err);
}

TEST(q8_0_items_come_back_within_half_a_step)
{
    finch_error err;
    float in[64], back[64];
    unsigned char out[68];
    for (size_t i = 0; i < 64; i++) in[i] = i < 32 ? (float)i - 15.0f : 0.0f;
    CHECK_OK(gguf_from_f32(GGUF_Q8_0, in, 64, out, &err), &err);
    const gguf_tensor t = {"q", GGUF_Q8_0, 1, {64}, 64, out, sizeof out};
    CHECK_OK(gguf_to_f32(&t, 0, 64, back, &err), &err);
    for (size_t i = 0; i < 64; i++) CHECK_NEAR(in[i], back[i], 16.0 / 254 + 0.01);
    for (size_t i = 32; i < 64; i++) CHECK(back[i] == 0.0f);
    in[0] = 127.0f; /* the scale is 1: ties go away from zero */
    in[1] = 2.5f;
    in[2] = -4.5f;
    CHECK_OK(gguf_from_f32(GGUF_Q8_0, in, 32, out, &err), &err);
    CHECK(out[2 + 1] == 3 && (int8_t)out[2 + 2] == -5);
}
