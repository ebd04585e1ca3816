#include "harness.h"

#include "base/file.h"
#include "train/checkpoint.h"
#include "train/hash.h"
#include "train/journal.h"

typedef struct sample {
    float weights[5];
    int64_t step;
} sample;

static size_t arrays_of(sample *s, checkpoint_array out[2])
{
    out[0] = (checkpoint_array){"encoder.weight", TENSOR_F32, 5, s->weights};
    out[1] = (checkpoint_array){"step", TENSOR_I64, 1, &s->step};
    return 2;
}

static const char *path_in_folder(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", harness_folder(), name);
    return path;
}

static finch_status try_write(const char *path, float first, const char *note, finch_error *err)
{
    sample s = {{first, -0.0f, 1e-40f, 3.0f, INFINITY}, 7};
    checkpoint_array arrays[2];
    json_t *state = json_pack("{s:s,s:f}", "note", note, "third", 1.0 / 3.0);
    finch_status st = checkpoint_write(path, arrays, arrays_of(&s, arrays), state, err);
    json_decref(state);
    return st;
}

static void write_sample(const char *path, float first, const char *note)
{
    finch_error err;
    CHECK_OK(try_write(path, first, note, &err), &err);
}

static void check_state(const char *path, const char *note)
{
    finch_error err;
    json_t *state;
    CHECK_OK(checkpoint_read_state(path, &state, &err), &err);
    CHECK_TEXT(note, json_string_value(json_object_get(state, "note")));
    CHECK(json_real_value(json_object_get(state, "third")) == 1.0 / 3.0);
    json_decref(state);
}

/* Returns the first weight. */
static float check_whole(const char *path)
{
    sample back = {{0}, 0}, wanted = {{0.0f, -0.0f, 1e-40f, 3.0f, INFINITY}, 7};
    checkpoint_array arrays[2];
    finch_error err;
    CHECK_OK(checkpoint_restore(path, arrays, arrays_of(&back, arrays), &err), &err);
    CHECK(memcmp(back.weights + 1, wanted.weights + 1, sizeof back.weights - sizeof back.weights[0]) == 0 && back.step == 7);
    return back.weights[0];
}

static void check_sample(const char *path, float first, const char *note)
{
    CHECK(check_whole(path) == first);
    check_state(path, note);
}

TEST(arrays_and_state_come_back_bit_for_bit)
{
    const char *path = path_in_folder("checkpoint.finch");
    write_sample(path, 1.5f, "first");
    check_sample(path, 1.5f, "first");
    write_sample(path, 2.5f, "second");
    check_sample(path, 2.5f, "second");
}

/* The last fsync, of the folder, comes after the rename: where it fails the new file is there, whole. */
static void writes_failing_at(const char *path, fault_kind kind)
{
    finch_error err;
    for (int nth = 1; fault_arm(kind, nth); nth++) {
        finch_status st = try_write(path, 9.5f, "new", &err);
        if (!fault_disarm()) {
            CHECK_OK(st, &err);
            CHECK(nth > 1);
            return;
        }
        CHECK(st != FINCH_OK);
        if (kind == FAULT_FSYNC && check_whole(path) == 9.5f) check_state(path, "new");
        else check_sample(path, 1.5f, "first");
    }
}

TEST(a_write_that_fails_anywhere_leaves_a_whole_checkpoint)
{
    static const fault_kind kinds[] = {FAULT_ALLOC, FAULT_OPEN, FAULT_WRITE, FAULT_FSYNC, FAULT_RENAME};
    const char *path = path_in_folder("checkpoint.finch");
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        write_sample(path, 1.5f, "first");
        writes_failing_at(path, kinds[k]);
    }
}

TEST(a_checkpoint_of_another_model_changes_nothing)
{
    const char *path = path_in_folder("checkpoint.finch");
    float other[6] = {0}, weights[5] = {4.0f};
    finch_error err;
    write_sample(path, 1.5f, "first");
    checkpoint_array larger[2] = {{"encoder.weight", TENSOR_F32, 5, weights}, {"step", TENSOR_I64, 2, other}};
    CHECK_STATUS(FINCH_E_DATA, checkpoint_restore(path, larger, 2, &err), &err);
    CHECK(weights[0] == 4.0f); /* all are checked before any is filled */
    checkpoint_array missing[1] = {{"decoder.weight", TENSOR_F32, 6, other}};
    CHECK_STATUS(FINCH_E_DATA, checkpoint_restore(path, missing, 1, &err), &err);
    CHECK(strstr(err.message, "decoder.weight") != NULL);
    checkpoint_array typed[1] = {{"encoder.weight", TENSOR_I32, 5, other}};
    CHECK_STATUS(FINCH_E_DATA, checkpoint_restore(path, typed, 1, &err), &err);
}

TEST(what_is_no_checkpoint_is_refused)
{
    const char *path = path_in_folder("checkpoint.finch");
    finch_error err;
    json_t *state;
    CHECK_STATUS(FINCH_E_NOT_FOUND, checkpoint_read_state(path, &state, &err), &err);
    CHECK_OK(file_write(path, "not a checkpoint", 16, &err), &err);
    CHECK_STATUS(FINCH_E_DATA, checkpoint_read_state(path, &state, &err), &err);
    CHECK(state == NULL);
    write_sample(path, 1.5f, "first");
    char *bytes_read;
    size_t size;
    CHECK_OK(file_read(path, 1 << 20, &bytes_read, &size, &err), &err);
    CHECK_OK(file_write(path, bytes_read, size - 1, &err), &err);
    CHECK_STATUS(FINCH_E_DATA, checkpoint_read_state(path, &state, &err), &err);
    mem_free(bytes_read);
}

/* ---- journal ---- */

static void check_file(const char *path, const char *wanted)
{
    finch_error err;
    char *text;
    size_t size;
    CHECK_OK(file_read(path, 1 << 20, &text, &size, &err), &err);
    CHECK_TEXT(wanted, text);
    mem_free(text);
}

TEST(a_resumed_journal_is_cut_back_to_its_checkpoint)
{
    const char *path = path_in_folder("metrics.jsonl");
    finch_error err;
    journal j;
    CHECK_OK(journal_open(path, 0, &j, &err), &err);
    CHECK_OK(journal_add(&j, json_pack("{s:i}", "step", 1), &err), &err);
    uint64_t kept = j.size_bytes;
    CHECK_OK(journal_add(&j, json_pack("{s:i}", "step", 2), &err), &err);
    CHECK_OK(journal_sync(&j, &err), &err);
    journal_close(&j);
    check_file(path, "{\"step\":1}\n{\"step\":2}\n");
    CHECK_OK(journal_open(path, kept, &j, &err), &err);
    CHECK_OK(journal_add(&j, json_pack("{s:i}", "step", 3), &err), &err);
    journal_close(&j);
    check_file(path, "{\"step\":1}\n{\"step\":3}\n");
    CHECK_STATUS(FINCH_E_DATA, journal_open(path, 1000, &j, &err), &err);
    CHECK_STATUS(FINCH_E_MEMORY, (CHECK_OK(journal_open(path, 0, &j, &err), &err), journal_add(&j, NULL, &err)), &err);
    journal_close(&j);
}

TEST(a_full_disk_is_told)
{
    const char *path = path_in_folder("metrics.jsonl");
    finch_error err;
    journal j;
    CHECK_OK(journal_open(path, 0, &j, &err), &err);
    fault_arm(FAULT_WRITE, 1);
    CHECK_STATUS(FINCH_E_IO, journal_add(&j, json_pack("{s:i}", "step", 1), &err), &err);
    fault_arm(FAULT_FSYNC, 1);
    CHECK_STATUS(FINCH_E_IO, journal_sync(&j, &err), &err);
    fault_disarm();
    journal_close(&j);
    fault_arm(FAULT_OPEN, 1);
    CHECK_STATUS(FINCH_E_IO, journal_open(path, 0, &j, &err), &err);
}

TEST(the_hash_sees_every_byte_and_the_length)
{
    unsigned char data[24] = {0};
    uint64_t plain = hash_add(HASH_BEGIN, data, sizeof data);
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = 1;
        CHECK(hash_add(HASH_BEGIN, data, sizeof data) != plain);
        data[i] = 0;
    }
    CHECK(hash_add(HASH_BEGIN, data, 23) != plain);
    CHECK(hash_add(HASH_BEGIN, data, 0) != HASH_BEGIN);
}
