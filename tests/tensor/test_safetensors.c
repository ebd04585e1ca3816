/* Against files of the reference implementation, and against files that lie. */
#include "harness.h"

#include "base/file.h"
#include "tensor/safetensors.h"

#include <dirent.h>

static const char fixture[] = FIXTURES "/tensor/every_type.safetensors";

/* The file of a header text (padded by nothing) and n zero bytes of data, handed to the reader. */
static finch_status read_made(const char *header, size_t data_bytes, tensor_list *out, finch_error *err)
{
    uint64_t size = strlen(header);
    size_t whole = sizeof size + (size_t)size + data_bytes;
    unsigned char *file;
    FINCH_TRY(mem_alloc_zero(whole, 1, (void **)&file, err));
    memcpy(file, &size, sizeof size);
    memcpy(file + sizeof size, header, (size_t)size);
    finch_status st = safetensors_read((bytes){file, whole}, "made", out, err);
    mem_free(file);
    return st;
}

static void check_ramp(const weights *w, const char *name, tensor_dtype dtype, size_t n)
{
    finch_error err;
    float items[16];
    const tensor *t = weights_find(w, name);
    CHECK(t != NULL && t->dtype == dtype && t->n_items == n && n <= 16);
    CHECK_OK(tensor_to_f32(t, items, &err), &err);
    for (size_t i = 0; i < n; i++) CHECK(items[i] == (float)i * 0.5f - 3.0f);
}

TEST(every_type_of_the_reference_is_read)
{
    static const struct {
        const char *name;
        tensor_dtype dtype;
        size_t size;
        int first;
    } whole[] = {{"i8", TENSOR_I8, 1, -3},
                 {"u8", TENSOR_U8, 1, 0},
                 {"i16", TENSOR_I16, 2, -3},
                 {"i32", TENSOR_I32, 4, -3},
                 {"i64", TENSOR_I64, 8, -3}};
    weights *w;
    finch_error err;
    CHECK_OK(weights_open(fixture, &w, &err), &err);
    CHECK_EQUAL(13, weights_count(w));
    check_ramp(w, "f32", TENSOR_F32, 12);
    check_ramp(w, "f16", TENSOR_F16, 10);
    check_ramp(w, "bf16", TENSOR_BF16, 7);
    check_ramp(w, "f64", TENSOR_F64, 8);
    check_ramp(w, "quo\"ted\\na\tme \xc3\xa9\xe4\xb8\xad", TENSOR_F32, 2);
    for (size_t k = 0; k < sizeof whole / sizeof whole[0]; k++) {
        const tensor *t = weights_find(w, whole[k].name);
        CHECK(t != NULL && t->dtype == whole[k].dtype && t->n_dims == 2 && t->dims[0] == 2 && t->dims[1] == 3);
        for (size_t i = 0; i < 6; i++) {
            int64_t item = 0;
            memcpy(&item, (const unsigned char *)t->data + i * whole[k].size, whole[k].size);
            int64_t wanted = whole[k].first + (int64_t)i;
            CHECK(memcmp(&item, &wanted, whole[k].size) == 0);
        }
    }
    const tensor *truth = weights_find(w, "bool");
    CHECK(truth != NULL && truth->dtype == TENSOR_BOOL && memcmp(truth->data, "\0\1\0\1\0\1", 6) == 0);
    const tensor *scalar = weights_find(w, "scalar"), *empty = weights_find(w, "empty");
    CHECK(scalar != NULL && scalar->n_dims == 0 && scalar->n_items == 1);
    CHECK(empty != NULL && empty->n_items == 0 && empty->n_dims == 2 && empty->dims[1] == 4);
    weights_close(w);
}

/* Opens the reference's file and writes its tensors again, in another order. */
static void write_again(const weights *w, const char *path, finch_status wanted)
{
    safetensors_entry entries[16];
    finch_error err;
    size_t n = weights_count(w);
    for (size_t i = 0; i < n; i++) {
        const tensor *t = weights_at(w, (i * 5 + 3) % n);
        entries[i] = (safetensors_entry){.name = t->name, .dtype = t->dtype, .n_dims = t->n_dims, .data = t->data};
        memcpy(entries[i].dims, t->dims, sizeof t->dims);
    }
    CHECK_STATUS(wanted, safetensors_write(path, entries, n, &err), &err);
}

TEST(what_is_written_has_the_bytes_of_the_reference)
{
    weights *w;
    finch_error err;
    file_map mine, theirs;
    str path = {0};
    CHECK_OK(file_join(harness_folder(), "again.safetensors", &path, &err), &err);
    CHECK_OK(weights_open(fixture, &w, &err), &err);
    write_again(w, path.at, FINCH_OK);
    CHECK_OK(file_map_open(fixture, &theirs, &err), &err);
    CHECK_OK(file_map_open(path.at, &mine, &err), &err);
    CHECK_EQUAL(theirs.content.size, mine.content.size);
    CHECK(memcmp(theirs.content.at, mine.content.at, mine.content.size) == 0);
    file_map_close(&mine);
    file_map_close(&theirs);
    weights_close(w);
    str_free(&path);
}

static size_t files_in(const char *folder)
{
    size_t n = 0;
    DIR *dir = opendir(folder);
    CHECK(dir != NULL);
    while (readdir(dir) != NULL) n++;
    closedir(dir);
    return n - 2; /* . and .. */
}

/* A failure before the rename leaves no file, one behind it (flushing the folder) a whole one; never anything beside. */
static void check_nothing_or_whole(const char *path)
{
    weights *w;
    finch_error err;
    CHECK_EQUAL(file_exists(path) ? 1 : 0, files_in(harness_folder()));
    if (!file_exists(path)) return;
    CHECK_OK(weights_open(path, &w, &err), &err);
    CHECK_EQUAL(1, weights_count(w));
    weights_close(w);
}

TEST(a_write_that_fails_leaves_nothing_or_the_whole_file)
{
    static const fault_kind kinds[] = {FAULT_ALLOC, FAULT_OPEN, FAULT_WRITE, FAULT_FSYNC, FAULT_RENAME};
    static const finch_status wanted[] = {FINCH_E_MEMORY, FINCH_E_IO, FINCH_E_IO, FINCH_E_IO, FINCH_E_IO};
    weights *w;
    finch_error err;
    str path = {0};
    CHECK_OK(file_join(harness_folder(), "whole.safetensors", &path, &err), &err);
    CHECK_OK(weights_open(fixture, &w, &err), &err);
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        bool struck = true;
        int nth = 1;
        for (; struck; nth++) {
            fault_arm(kinds[k], nth);
            const tensor *t = weights_find(w, "f32");
            const safetensors_entry entry = {
                .name = t->name, .dtype = t->dtype, .n_dims = 2, .dims = {3, 4}, .data = t->data};
            finch_status st = safetensors_write(path.at, &entry, 1, &err);
            struck = fault_disarm();
            CHECK_EQUAL(struck ? wanted[k] : FINCH_OK, st);
            if (nth == 1 && struck) CHECK(!file_exists(path.at));
            check_nothing_or_whole(path.at);
            CHECK_OK(file_remove_tree(path.at, &err), &err);
        }
        CHECK(nth > 2); /* the fault struck at least once */
    }
    weights_close(w);
    str_free(&path);
}

TEST(the_data_begins_aligned_whatever_the_names)
{
    const double item = 1;
    const char names[] = "abcdefghi";
    str path = {0};
    finch_error err;
    CHECK_OK(file_join(harness_folder(), "x.safetensors", &path, &err), &err);
    for (size_t size = 1; size < sizeof names; size++) {
        const safetensors_entry entry = {.name = names + sizeof names - 1 - size, .dtype = TENSOR_F64, .data = &item};
        weights *w;
        CHECK_OK(safetensors_write(path.at, &entry, 1, &err), &err);
        CHECK_OK(weights_open(path.at, &w, &err), &err);
        CHECK(tensor_is_aligned(weights_at(w, 0)));
        weights_close(w);
    }
    str_free(&path);
}

TEST(a_writer_refuses_what_no_reader_takes)
{
    const float item = 1;
    safetensors_entry entries[2] = {{.name = "a", .dtype = TENSOR_F32, .data = &item},
                                    {.name = "a", .dtype = TENSOR_F32, .data = &item}};
    finch_error err;
    CHECK_STATUS(FINCH_E_USAGE, safetensors_write("never", entries, 2, &err), &err);
    CHECK(strstr(err.message, "twice") != NULL);
    entries[0].name = "";
    CHECK_STATUS(FINCH_E_USAGE, safetensors_write("never", entries, 1, &err), &err);
    entries[0].name = "__metadata__";
    CHECK_STATUS(FINCH_E_USAGE, safetensors_write("never", entries, 1, &err), &err);
    entries[0] = (safetensors_entry){.name = "a", .dtype = TENSOR_F32, .n_dims = 2, .dims = {SIZE_MAX, 2}, .data = &item};
    CHECK_STATUS(FINCH_E_USAGE, safetensors_write("never", entries, 1, &err), &err);
    entries[0] = (safetensors_entry){.name = "a", .dtype = TENSOR_F32, .n_dims = TENSOR_DIMS_MAX + 1, .data = &item};
    CHECK_STATUS(FINCH_E_USAGE, safetensors_write("never", entries, 1, &err), &err);
    CHECK(!file_exists("never"));
}

/* What a reader may never do: hand out a tensor that is not inside its file. */
static void check_inside(const tensor_list *list, bytes file)
{
    for (size_t i = 0; i < list->n; i++) {
        const unsigned char *at = list->at[i].data;
        CHECK(at >= file.at && list->at[i].size_bytes <= file.size - (size_t)(at - file.at));
    }
}

TEST(a_file_cut_anywhere_is_refused)
{
    file_map map;
    finch_error err;
    CHECK_OK(file_map_open(fixture, &map, &err), &err);
    for (size_t size = 0; size < map.content.size; size++) {
        tensor_list list;
        tensor_list_init(&list);
        CHECK_STATUS(FINCH_E_DATA, safetensors_read((bytes){map.content.at, size}, "cut", &list, &err), &err);
        tensor_list_free(&list);
    }
    file_map_close(&map);
}

TEST(a_file_with_one_bit_changed_stays_inside_itself)
{
    file_map map;
    finch_error err;
    unsigned char copy[4096];
    size_t refused = 0, read = 0;
    CHECK_OK(file_map_open(fixture, &map, &err), &err);
    CHECK(map.content.size <= sizeof copy);
    memcpy(copy, map.content.at, map.content.size);
    for (size_t bit = 0; bit < 8 * map.content.size; bit++) {
        tensor_list list;
        tensor_list_init(&list);
        copy[bit / 8] ^= (unsigned char)(1u << bit % 8);
        const bytes file = {copy, map.content.size};
        if (safetensors_read(file, "bit", &list, &err) == FINCH_OK) {
            check_inside(&list, file);
            read++;
        } else {
            CHECK(err.status == FINCH_E_DATA || err.status == FINCH_E_UNSUPPORTED);
            refused++;
        }
        copy[bit / 8] ^= (unsigned char)(1u << bit % 8);
        tensor_list_free(&list);
    }
    CHECK(refused > 1000 && read > 1000); /* a changed item or letter of a name is no lie the format can show */
    file_map_close(&map);
}

TEST(a_header_that_lies_is_refused_with_its_reason)
{
#define A(dtype, shape, offsets) "{\"a\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}}"
#define TWO(first, second)                                           \
    "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" first \
    "},\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" second "}}"
    static const struct {
        const char *header;
        size_t data_bytes;
        finch_status status;
        const char *says;
    } lies[] = {
        {A("F32", "[2]", "[0,8]"), 8, FINCH_OK, ""},
        {A("F32", "[2]", "[0,8]") "   ", 8, FINCH_OK, ""},
        {"{}", 0, FINCH_OK, ""},
        {A("F32", "[2]", "[0,8]"), 4, FINCH_E_DATA, "bytes 0 to 8 of the data, which has 4"},
        {A("F32", "[2]", "[8,0]"), 8, FINCH_E_DATA, "bytes 8 to 0"},
        {A("F32", "[2]", "[0,4]"), 8, FINCH_E_DATA, "8 bytes, but its range has 4"},
        {A("F32", "[3]", "[0,8]"), 8, FINCH_E_DATA, "12 bytes"},
        {A("F32", "[1]", "[0,8]"), 8, FINCH_E_DATA, "4 bytes, but its range has 8"},
        {A("F32", "[2]", "[-1,8]"), 8, FINCH_E_DATA, "data_offsets"},
        {A("F32", "[2]", "[0,8.0]"), 8, FINCH_E_DATA, "data_offsets"},
        {A("F32", "[2]", "[0]"), 8, FINCH_E_DATA, "data_offsets"},
        {A("F32", "[2]", "[0,8,8]"), 8, FINCH_E_DATA, "data_offsets"},
        {A("F32", "[2]", "[9223372036854775807,9223372036854775807]"), 8, FINCH_E_DATA, "9223372036854775807"},
        {A("F32", "[2]", "[18446744073709551615,8]"), 8, FINCH_E_DATA, "JSON"},
        {A("F32", "[4611686018427387904,4]", "[0,0]"), 0, FINCH_E_DATA, "more than memory"},
        {A("F32", "[2305843009213693952,2]", "[0,0]"), 0, FINCH_E_DATA, "more than memory"}, /* items fit, bytes wrap to 0 */
        {A("F32", "[-2]", "[0,8]"), 8, FINCH_E_DATA, "shape"},
        {A("F32", "2", "[0,8]"), 8, FINCH_E_DATA, "shape"},
        {A("F32", "[1,1,1,1,1,1,1,1,2]", "[0,8]"), 8, FINCH_E_UNSUPPORTED, "9 dimensions"},
        {A("F8_E4M3", "[8]", "[0,8]"), 8, FINCH_E_UNSUPPORTED, "F8_E4M3"},
        {A("f32", "[2]", "[0,8]"), 8, FINCH_E_UNSUPPORTED, "f32"},
        {A("F32", "[2]", "[0,8]"), 9, FINCH_E_DATA, "9 bytes of data and its tensors use 8"},
        {TWO("[0,4]", "[4,8]"), 8, FINCH_OK, ""},
        {TWO("[4,8]", "[0,4]"), 8, FINCH_OK, ""},
        {TWO("[0,4]", "[0,4]"), 8, FINCH_E_DATA, "overlaps"},
        {TWO("[0,4]", "[3,7]"), 8, FINCH_E_DATA, "overlaps"},
        {TWO("[0,4]", "[5,9]"), 9, FINCH_E_DATA, "hole"},
        {TWO("[1,5]", "[5,9]"), 9, FINCH_E_DATA, "hole"},
        {"{\"a\":1}", 0, FINCH_E_DATA, "no object"},
        {"{\"a\":{}}", 0, FINCH_E_DATA, "dtype"},
        {"{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,0]}}", 0, FINCH_E_DATA, "shape"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[0]}}", 0, FINCH_E_DATA, "data_offsets"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_"
         "offsets\":[0,0]}}",
         0, FINCH_E_DATA, "duplicate"},
        {"{\"\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}", 0, FINCH_E_DATA, "empty"},
        {"{\"a\\u0000b\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}", 0, FINCH_E_DATA, "JSON"},
        {"{\"__metadata__\":{\"format\":1}}", 0, FINCH_E_DATA, "__metadata__"},
        {"{\"__metadata__\":[]}", 0, FINCH_E_DATA, "__metadata__"},
        {"{\"__metadata__\":{\"format\":\"pt\"}}", 0, FINCH_OK, ""},
        {"", 0, FINCH_E_DATA, "begin with '{'"},
        {" {}", 0, FINCH_E_DATA, "begin with '{'"},
        {"[]", 0, FINCH_E_DATA, "begin with '{'"},
        {"{} x", 0, FINCH_E_DATA, "JSON"},
        {"{\"a\":", 0, FINCH_E_DATA, "JSON"},
    };
#undef A
#undef TWO
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        tensor_list list;
        finch_error err = {0};
        tensor_list_init(&list);
        finch_status st = read_made(lies[i].header, lies[i].data_bytes, &list, &err);
        if (st != lies[i].status || (st != FINCH_OK && strstr(err.message, lies[i].says) == NULL))
            fail_msg("%s gave %s: %s", lies[i].header, finch_status_name(st), err.message);
        tensor_list_free(&list);
    }
}

TEST(a_header_size_past_any_bound_is_refused)
{
    static const uint64_t sizes[] = {SAFETENSORS_HEADER_BYTES_MAX + 1, (uint64_t)1 << 63, UINT64_MAX, UINT64_MAX - 7};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        unsigned char file[16] = {0};
        tensor_list list;
        finch_error err;
        memcpy(file, &sizes[i], 8);
        tensor_list_init(&list);
        CHECK_STATUS(FINCH_E_DATA, safetensors_read((bytes){file, sizeof file}, "made", &list, &err), &err);
        tensor_list_free(&list);
    }
}

TEST(a_deeply_nested_header_is_refused)
{
    static char header[200001];
    tensor_list list;
    finch_error err;
    header[0] = '{';
    memcpy(header + 1, "\"a\":", 4);
    memset(header + 5, '[', sizeof header - 6);
    tensor_list_init(&list);
    CHECK_STATUS(FINCH_E_DATA, read_made(header, 0, &list, &err), &err);
    tensor_list_free(&list);
}
