/* Folders, shards and indices; what stands in place of a checkpoint; requirements on a tensor. */
#include "harness.h"

#include "base/file.h"
#include "tensor/tensor_list.h"
#include "tensor/weights.h"

#define SHARDED FIXTURES "/tensor/sharded"

static finch_status put(const char *name, const char *text, finch_error *err)
{
    str path = {0};
    finch_status st = file_join(harness_folder(), name, &path, err);
    if (st == FINCH_OK) st = file_write(path.at, text, strlen(text), err);
    str_free(&path);
    return st;
}

static void copy_in(const char *from, const char *name)
{
    file_map map;
    finch_error err;
    str path = {0};
    CHECK_OK(file_join(harness_folder(), name, &path, &err), &err);
    CHECK_OK(file_map_open(from, &map, &err), &err);
    CHECK_OK(file_write(path.at, map.content.at, map.content.size, &err), &err);
    file_map_close(&map);
    str_free(&path);
}

TEST(shards_are_one_checkpoint)
{
    static const char *const paths[] = {SHARDED, SHARDED "/model.safetensors.index.json"};
    for (size_t p = 0; p < 2; p++) {
        weights *w;
        finch_error err;
        CHECK_OK(weights_open(paths[p], &w, &err), &err);
        CHECK_TEXT(paths[p], weights_path(w));
        CHECK_EQUAL(5, weights_count(w));
        for (size_t i = 1; i < 5; i++) CHECK(strcmp(weights_at(w, i - 1)->name, weights_at(w, i)->name) < 0);
        CHECK(weights_find(w, "f32") != NULL && weights_find(w, "bf16") != NULL);
        CHECK(weights_find(w, "f3") == NULL && weights_find(w, "f322") == NULL && weights_find(w, "") == NULL);
        weights_close(w);
    }
}

TEST(shards_lose_nothing_when_memory_or_files_run_out)
{
    static const fault_kind kinds[] = {FAULT_ALLOC, FAULT_OPEN, FAULT_READ};
    for (size_t k = 0; k < 3; k++) {
        bool struck = true;
        int nth = 1;
        for (; struck; nth++) {
            weights *w;
            finch_error err;
            fault_arm(kinds[k], nth);
            finch_status st = weights_open(SHARDED, &w, &err);
            struck = fault_disarm();
            CHECK_EQUAL(struck ? (k == 0 ? FINCH_E_MEMORY : FINCH_E_IO) : FINCH_OK, st);
            CHECK((w == NULL) == struck);
            weights_close(w);
        }
        CHECK(nth > 2);
    }
}

TEST(an_index_that_lies_is_refused)
{
    static const struct {
        const char *text;
        finch_status status;
        const char *says;
    } rows[] = {
        {"{\"weight_map\":{\"f32\":\"a.safetensors\"}}", FINCH_OK, ""},
        {"{\"weight_map\":{\"f32\":\"../a.safetensors\"}}", FINCH_E_DATA, "same folder"},
        {"{\"weight_map\":{\"f32\":\"/etc/passwd\"}}", FINCH_E_DATA, "same folder"},
        {"{\"weight_map\":{\"f32\":\"..\"}}", FINCH_E_DATA, "same folder"},
        {"{\"weight_map\":{\"f32\":\"\"}}", FINCH_E_DATA, "same folder"},
        {"{\"weight_map\":{\"f32\":\"a.safetensors\\u0000x\"}}", FINCH_E_DATA, "same folder"},
        {"{\"weight_map\":{\"f32\":7}}", FINCH_E_DATA, "same folder"},
        {"{\"weight_map\":{\"f32\":\"b.safetensors\"}}", FINCH_E_NOT_FOUND, "b.safetensors"},
        {"{\"weight_map\":{\"no.such\":\"a.safetensors\"}}", FINCH_E_DATA, "no.such"},
        {"{\"weight_map\":{\"f32\":\"a.safetensors\",\"f32\":\"a.safetensors\"}}", FINCH_E_DATA, "duplicate"},
        {"{\"weight_map\":{}}", FINCH_E_DATA, "weight_map"},
        {"{\"weight_map\":[]}", FINCH_E_DATA, "weight_map"},
        {"{}", FINCH_E_DATA, "weight_map"},
        {"[]", FINCH_E_DATA, "weight_map"},
        {"", FINCH_E_DATA, "JSON"},
    };
    copy_in(FIXTURES "/tensor/every_type.safetensors", "a.safetensors");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        weights *w;
        finch_error err = {0};
        CHECK_OK(put("model.safetensors.index.json", rows[i].text, &err), &err);
        finch_status st = weights_open(harness_folder(), &w, &err);
        if (st != rows[i].status || (st != FINCH_OK && strstr(err.message, rows[i].says) == NULL))
            fail_msg("%s gave %s: %s", rows[i].text, finch_status_name(st), err.message);
        if (st == FINCH_OK) CHECK_EQUAL(1, weights_count(w)); /* what the index does not place is no part of it */
        weights_close(w);
    }
}

TEST(a_folder_prefers_safetensors)
{
    weights *w;
    finch_error err;
    CHECK_STATUS(FINCH_E_NOT_FOUND, weights_open(harness_folder(), &w, &err), &err);
    CHECK(strstr(err.message, "holds no weights") != NULL);
    copy_in(FIXTURES "/tensor/state.bin", "pytorch_model.bin");
    CHECK_OK(weights_open(harness_folder(), &w, &err), &err);
    CHECK(weights_find(w, "tied.first") != NULL);
    weights_close(w);
    copy_in(FIXTURES "/tensor/every_type.safetensors", "model.safetensors");
    CHECK_OK(weights_open(harness_folder(), &w, &err), &err);
    CHECK(weights_find(w, "tied.first") == NULL && weights_find(w, "f32") != NULL);
    weights_close(w);
}

TEST(what_is_no_checkpoint_is_told_apart)
{
    static const struct {
        const char *text;
        finch_status status;
        const char *says;
    } rows[] = {
        {"", FINCH_E_DATA, "empty"},
        {"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", FINCH_E_DATA, "git lfs pull"},
        {"GGUF\3\0\0\0", FINCH_E_UNSUPPORTED, "GGUF"},
        {"<!doctype html><html>", FINCH_E_DATA, "no safetensors"},
        {"PK\3\4 and no more", FINCH_E_DATA, "end record"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        weights *w;
        finch_error err = {0};
        CHECK_OK(put("model.safetensors", rows[i].text, &err), &err);
        finch_status st = weights_open(harness_folder(), &w, &err);
        if (st != rows[i].status || strstr(err.message, rows[i].says) == NULL) fail_msg("%s: %s", rows[i].text, err.message);
    }
    weights *w;
    finch_error err;
    CHECK_STATUS(FINCH_E_NOT_FOUND, weights_open("no/such/place", &w, &err), &err);
    CHECK_STATUS(FINCH_E_DATA, weights_open("/dev/null", &w, &err), &err);
}

TEST(a_requirement_names_what_was_found_and_wanted)
{
    weights *w;
    const tensor *t;
    finch_error err;
    CHECK_OK(weights_open(FIXTURES "/tensor/every_type.safetensors", &w, &err), &err);
    CHECK_OK(weights_require(w, "f32", 2, (size_t[]){3, 4}, &t, &err), &err);
    CHECK(t == weights_find(w, "f32"));
    CHECK_OK(weights_require(w, "bf16", 1, (size_t[]){7}, &t, &err), &err);
    CHECK_STATUS(FINCH_E_DATA, weights_require(w, "f32", 2, (size_t[]){4, 3}, &t, &err), &err);
    CHECK(t == NULL && strstr(err.message, "[3, 4]") != NULL && strstr(err.message, "[4, 3]") != NULL &&
          strstr(err.message, "f32") != NULL);
    CHECK_STATUS(FINCH_E_DATA, weights_require(w, "f32", 1, (size_t[]){12}, &t, &err), &err);
    CHECK_STATUS(FINCH_E_DATA, weights_require(w, "f32", 1, (size_t[]){3}, &t, &err), &err);
    CHECK_STATUS(FINCH_E_DATA, weights_require(w, "f32", 3, (size_t[]){3, 4, 0}, &t, &err), &err);
    CHECK_STATUS(FINCH_E_DATA, weights_require(w, "i8", 2, (size_t[]){2, 3}, &t, &err), &err);
    CHECK(t == NULL && strstr(err.message, "I8") != NULL);
    CHECK_STATUS(FINCH_E_DATA, weights_require(w, "absent", 0, NULL, &t, &err), &err);
    CHECK(strstr(err.message, "absent is missing") != NULL);
    weights_close(w);
}

TEST(a_name_is_taken_once)
{
    static const char *const names[] = {"b", "a", "ab", "b"};
    const tensor t = {.dtype = TENSOR_F32, .n_items = 1};
    tensor_list list;
    finch_error err;
    tensor_list_init(&list);
    for (size_t i = 0; i < 4; i++) {
        CHECK_OK(tensor_list_sort(&list, "file", &err), &err);
        CHECK_OK(tensor_list_add(&list, "file", names[i], strlen(names[i]), &t, &err), &err);
    }
    CHECK_STATUS(FINCH_E_DATA, tensor_list_sort(&list, "file", &err), &err);
    CHECK(strstr(err.message, "the tensor b twice") != NULL);
    CHECK_STATUS(FINCH_E_DATA, tensor_list_add(&list, "file", "", 0, &t, &err), &err);
    CHECK_STATUS(FINCH_E_DATA, tensor_list_add(&list, "file", "a\0b", 3, &t, &err), &err);
    tensor_list_free(&list);
}
