/* Against checkpoints torch.save wrote, against ones it would run, and against damaged ones. */
#include "harness.h"

#include "base/file.h"
#include "tensor/pickle.h"
#include "tensor/torch_zip.h"
#include "tensor/weights.h"

#define FOLDER FIXTURES "/tensor/"

static const char *const names[] = {"bert.embeddings.word_embeddings.weight", "bert.encoder.layer.0.output.dense.weight",
                                    "bert.encoder.layer.0.output.dense.bias", "tied.first", "tied.second"};

TEST(every_form_torch_saves_is_read)
{
    static const char *const files[] = {FOLDER "state.bin", FOLDER "protocol5.bin", FOLDER "legacy.bin", FOLDER "nested.bin",
                                        FOLDER "zip64.bin"};
    static const tensor_dtype dtypes[] = {TENSOR_F32, TENSOR_F16, TENSOR_BF16, TENSOR_F32, TENSOR_F32};
    static const size_t dims[][2] = {{5, 4}, {4, 3}, {4, 1}, {4, 1}, {2, 3}};
    for (size_t f = 0; f < sizeof files / sizeof files[0]; f++) {
        weights *w;
        finch_error err;
        CHECK_OK(weights_open(files[f], &w, &err), &err);
        CHECK_EQUAL(6, weights_count(w));
        for (size_t k = 0; k < sizeof names / sizeof names[0]; k++) {
            const tensor *t = weights_find(w, names[k]);
            float items[20];
            CHECK(t != NULL && t->dtype == dtypes[k] && t->dims[0] == dims[k][0] && t->n_items == dims[k][0] * dims[k][1]);
            CHECK_OK(tensor_to_f32(t, items, &err), &err);
            size_t first = k == 4 ? 4 : 0; /* the second part of one storage */
            for (size_t i = 0; i < t->n_items; i++) CHECK(items[i] == (float)(first + i) * 0.5f - 3.0f);
        }
        const tensor *ids = weights_find(w, "position_ids");
        const int64_t wanted[5] = {0, 1, 2, 3, 4};
        CHECK(ids != NULL && ids->dtype == TENSOR_I64 && ids->size_bytes == sizeof wanted &&
              memcmp(ids->data, wanted, sizeof wanted) == 0);
        weights_close(w);
    }
}

TEST(a_parameter_is_its_tensor)
{
    weights *w;
    finch_error err;
    CHECK_OK(weights_open(FOLDER "parameter.bin", &w, &err), &err);
    const tensor *t = weights_find(w, "a");
    CHECK(t != NULL && t->n_items == 3);
    weights_close(w);
}

TEST(what_is_no_plain_state_dict_is_refused_by_name)
{
    static const struct {
        const char *file;
        finch_status status;
        const char *says;
    } bad[] = {
        {"bad_system.bin", FINCH_E_UNSUPPORTED, "posix.system"},
        {"bad_system.bin", FINCH_E_UNSUPPORTED, "byte 57"},
        {"bad_eval.bin", FINCH_E_UNSUPPORTED, "__builtin__.eval"},
        {"bad_set.bin", FINCH_E_UNSUPPORTED, "__builtin__.set"},
        {"bad_complex.bin", FINCH_E_UNSUPPORTED, "torch.ComplexFloatStorage"},
        {"bad_strides.bin", FINCH_E_UNSUPPORTED, "turned"},
        {"bad_entry.bin", FINCH_E_UNSUPPORTED, "the entry step"},
        {"bad_root.bin", FINCH_E_DATA, "holds a tensor"},
        {"bad_deflated.bin", FINCH_E_UNSUPPORTED, "data.pkl is compressed"},
        {"bad_order.bin", FINCH_E_UNSUPPORTED, "big-endian"},
        {"bad_storage.bin", FINCH_E_DATA, "storage 0 is missing"},
        {"bad_short.bin", FINCH_E_DATA, "76 bytes"},
        {"bad_long.bin", FINCH_E_DATA, "84 bytes"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        weights *w;
        finch_error err;
        str path = {0};
        CHECK_OK(file_join(FIXTURES "/tensor", bad[i].file, &path, &err), &err);
        CHECK_STATUS(bad[i].status, weights_open(path.at, &w, &err), &err);
        if (w != NULL || strstr(err.message, bad[i].says) == NULL) fail_msg("%s: %s", bad[i].file, err.message);
        str_free(&path);
    }
    CHECK(!file_exists("finch-was-here")); /* what bad_system.bin would have made */
}

static void check_inside(const tensor_list *list, bytes file)
{
    for (size_t i = 0; i < list->n; i++) {
        const unsigned char *at = list->at[i].data;
        CHECK(at >= file.at && list->at[i].size_bytes <= file.size - (size_t)(at - file.at));
    }
}

/* Every prefix and every flipped bit of a good file. */
static void damage(const char *path)
{
    static unsigned char copy[8192];
    file_map map;
    finch_error err;
    size_t refused = 0;
    CHECK_OK(file_map_open(path, &map, &err), &err);
    const bytes whole = map.content;
    CHECK(whole.size <= sizeof copy);
    memcpy(copy, whole.at, whole.size);
    for (size_t i = 0; i < 8 * whole.size + whole.size; i++) {
        tensor_list list;
        bool flip = i < 8 * whole.size;
        const bytes file = {copy, flip ? whole.size : i - 8 * whole.size};
        tensor_list_init(&list);
        if (flip) copy[i / 8] ^= (unsigned char)(1u << i % 8);
        finch_status st = torch_zip_read(file, "damaged", &list, &err);
        if (st == FINCH_OK) check_inside(&list, file);
        else refused++;
        CHECK(st == FINCH_OK || st == FINCH_E_DATA || st == FINCH_E_UNSUPPORTED);
        if (!flip) CHECK(st != FINCH_OK);
        if (flip) copy[i / 8] ^= (unsigned char)(1u << i % 8);
        tensor_list_free(&list);
    }
    CHECK(refused > whole.size);
    file_map_close(&map);
}

TEST(a_damaged_zip_never_leads_outside_it)
{
    damage(FOLDER "state.bin");
}

TEST(a_damaged_zip64_never_leads_outside_it)
{
    damage(FOLDER "zip64.bin");
}

TEST(a_damaged_older_file_never_leads_outside_it)
{
    damage(FOLDER "legacy.bin");
}

TEST(a_stored_entry_has_one_size)
{
    enum { PACKED_AT = 20 }; /* of a directory record */
    static unsigned char copy[8192];
    file_map map;
    finch_error err;
    tensor_list list;
    CHECK_OK(file_map_open(FOLDER "state.bin", &map, &err), &err);
    const bytes file = {copy, map.content.size};
    CHECK(file.size <= sizeof copy);
    memcpy(copy, map.content.at, file.size);
    file_map_close(&map);
    unsigned char *record = copy;
    while (memcmp(record, "PK\1\2", 4) != 0) record++;
    for (int change = -1; change <= 1; change++) {
        tensor_list_init(&list);
        record[PACKED_AT] = (unsigned char)(record[PACKED_AT] + change);
        CHECK_STATUS(change == 0 ? FINCH_OK : FINCH_E_DATA, torch_zip_read(file, "sizes", &list, &err), &err);
        record[PACKED_AT] = (unsigned char)(record[PACKED_AT] - change);
        tensor_list_free(&list);
    }
}

TEST(running_out_of_memory_or_files_is_a_status)
{
    static const char *const files[] = {FOLDER "state.bin", FOLDER "legacy.bin"};
    static const fault_kind kinds[] = {FAULT_ALLOC, FAULT_OPEN};
    for (size_t i = 0; i < 4; i++) {
        bool struck = true;
        int nth = 1;
        for (; struck; nth++) {
            weights *w;
            finch_error err;
            fault_arm(kinds[i / 2], nth);
            finch_status st = weights_open(files[i % 2], &w, &err);
            struck = fault_disarm();
            CHECK_EQUAL(struck ? (i / 2 == 0 ? FINCH_E_MEMORY : FINCH_E_IO) : FINCH_OK, st);
            CHECK((w == NULL) == struck);
            weights_close(w);
        }
        CHECK(nth > 2);
    }
}

/* ---- the machine, byte by byte ---- */

TEST(a_pickle_that_breaks_the_rules_is_refused)
{
#define P(bytes_, status_, says_) {bytes_, sizeof bytes_ - 1, status_, says_}
    static const struct {
        const char *at;
        size_t size;
        finch_status status;
        const char *says;
    } rows[] = {
        P("\x80\x02}.", FINCH_OK, ""),
        P("\x80\x02}q\x05h\x05X\x01\0\0\0aK\x01s.", FINCH_OK, ""), /* memo by a number of its own */
        P("(K\x01K\x02t.", FINCH_OK, ""),
        P("\x8a\x09\1\1\1\1\1\1\1\1\1.", FINCH_E_DATA, "64 bits"),
        P("", FINCH_E_DATA, "without STOP"),
        P("}", FINCH_E_DATA, "without STOP"),
        P(".", FINCH_E_DATA, "too few"),
        P("(.", FINCH_E_DATA, "too few"),
        P("t.", FINCH_E_DATA, "no mark"),
        P("}u.", FINCH_E_DATA, "no mark"),
        P("(K\1\x86.", FINCH_E_DATA, "too few"), /* a tuple may not take the mark */
        P("(q\0.", FINCH_E_DATA, "too few"),     /* nor may the memo */
        P("K\1(K\1u.", FINCH_E_DATA, "no dict"),
        P("}(K\1u.", FINCH_E_DATA, "no dict"), /* a key without value */
        P("}K\1a.", FINCH_E_DATA, "no dict or list"),
        P("h\0.", FINCH_E_DATA, "never set"),
        P("K\1q\3h\2.", FINCH_E_DATA, "never set"),
        P("K\1r\xff\xff\xff\xff.", FINCH_E_DATA, "memo index"),
        P("j\xff\xff\xff\xff.", FINCH_E_DATA, "never set"),
        P("X\xff\xff\xff\xff"
          "abc.",
          FINCH_E_DATA, "ends inside"),
        P("\x8d\xff\xff\xff\xff\xff\xff\xff\xff"
          "abc.",
          FINCH_E_DATA, "ends inside"),
        P("\x95\xff\xff\xff\xff\xff\xff\xff\xff.", FINCH_E_DATA, "ends inside"),
        P("J\1\0", FINCH_E_DATA, "ends inside"),
        P("ccollections\nOrderedDict", FINCH_E_DATA, "ends inside"),
        P("\x80\x06}.", FINCH_E_UNSUPPORTED, "protocol 6"),
        P("\xff.", FINCH_E_DATA, "no pickle opcode"),
        P("}2.", FINCH_E_UNSUPPORTED, "DUP"),
        P("}0.", FINCH_E_UNSUPPORTED, "POP"),
        P("(ios\nsystem\n.", FINCH_E_UNSUPPORTED, "INST"),
        P("cos\nsystem\n.", FINCH_E_UNSUPPORTED, "os.system"),
        P("\x8c\x02os\x8c\x06system\x93.", FINCH_E_UNSUPPORTED, "os.system"),
        P("\x8c\x02osK\1\x93.", FINCH_E_DATA, "no text"),
        P("ccollections\nOrderedDict\n)\x81.", FINCH_E_UNSUPPORTED, "NEWOBJ"),
        P("ccollections\nOrderedDict\n]\x85R.", FINCH_E_DATA, "from arguments"),
        P("})R.", FINCH_E_DATA, "call"),
        P("ctorch\nFloatStorage\n)R.", FINCH_E_DATA, "torch.FloatStorage"),
        P("ctorch._utils\n_rebuild_tensor_v2\n)R.", FINCH_E_DATA, "described wrongly"),
        P("ctorch._utils\n_rebuild_parameter\n)R.", FINCH_E_DATA, "_rebuild_parameter"),
        P("K\1Q.", FINCH_E_DATA, "persistent id"),
        P("}K\1b.", FINCH_E_DATA, "no dict"),
        P("}q\0h\0h\0s.", FINCH_OK, ""), /* a dict that holds itself */
    };
#undef P
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        arena memory;
        pickle_result result;
        finch_error err = {0};
        arena_init(&memory);
        finch_status st = pickle_load((bytes){(const unsigned char *)rows[i].at, rows[i].size}, "made", 0, &memory, &result,
                                      &err);
        if (st != rows[i].status || (st != FINCH_OK && strstr(err.message, rows[i].says) == NULL))
            fail_msg("pickle %zu gave %s: %s", i, finch_status_name(st), err.message);
        if (st == FINCH_OK) CHECK_EQUAL(rows[i].size, result.used_bytes);
        arena_free(&memory);
    }
}

TEST(numbers_have_pythons_values)
{
    static const struct {
        const char *at;
        size_t size;
        int64_t whole;
    } rows[] = {{"K\xff.", 3, 255},
                {"M\xff\xff.", 4, 65535},
                {"J\xff\xff\xff\xff.", 6, -1},
                {"J\0\0\0\x80.", 6, INT32_MIN},
                {"\x8a\0.", 3, 0},
                {"\x8a\1\xff.", 4, -1},
                {"\x8a\2\xff\0.", 5, 255},
                {"\x8a\x8\0\0\0\0\0\0\0\x80.", 11, INT64_MIN}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        arena memory;
        pickle_result result;
        finch_error err;
        arena_init(&memory);
        CHECK_OK(pickle_load((bytes){(const unsigned char *)rows[i].at, rows[i].size}, "made", 0, &memory, &result, &err),
                 &err);
        CHECK(result.root.kind == PICKLE_INT && result.root.as.whole == rows[i].whole);
        arena_free(&memory);
    }
}

TEST(containers_are_bounded)
{
    unsigned char *stream;
    finch_error err;
    arena memory;
    pickle_result result;
    const size_t n = PICKLE_NODES_MAX + 2;
    CHECK_OK(mem_alloc(n, 1, (void **)&stream, &err), &err);
    memset(stream, '}', n);
    arena_init(&memory);
    CHECK_STATUS(FINCH_E_DATA, pickle_load((bytes){stream, n}, "made", 0, &memory, &result, &err), &err);
    CHECK(strstr(err.message, "more containers") != NULL);
    arena_free(&memory);
    mem_free(stream);
}
