/* The input is a checkpoint: its state is read, with what the training loop takes from it, and its arrays are put back
 * into arrays of a fixed shape, all or none. */
#include "base/mem.h"
#include "fuzz_file.h"
#include "train/checkpoint.h"
#include "train/kept.h"
#include "train/stopping.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void need(bool holds)
{
    if (!holds) abort();
}

static void read_state(void)
{
    json_t *state;
    stopping_state stopping;
    kept list = {.capacity = KEPT_MAX};
    finch_error err = {0};
    finch_status st = checkpoint_read_state(fuzz_path, &state, &err);
    need((st == FINCH_OK) == (state != NULL));
    if (st != FINCH_OK) {
        need(err.status == st && err.message[0] != '\0');
        return;
    }
    need(json_is_object(state));
    (void)stopping_state_from_json(json_object_get(state, "stopping"), "fuzz", &stopping, NULL);
    if (kept_from_json(json_object_get(state, "kept"), "fuzz", &list, NULL) == FINCH_OK) need(list.n <= list.capacity);
    json_decref(state);
}

static void restore(void)
{
    float a[4] = {1, 2, 3, 4};
    uint64_t b[2] = {5, 6};
    const checkpoint_array arrays[] = {{"a", TENSOR_F32, 4, a}, {"b", TENSOR_I64, 2, b}};
    finch_status st = checkpoint_restore(fuzz_path, arrays, 2, NULL);
    if (st != FINCH_OK) need(a[0] == 1 && a[3] == 4 && b[0] == 5 && b[1] == 6);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int64_t live = mem_count().live;
    fuzz_write_file("fuzz.safetensors", data, size);
    read_state();
    restore();
    need(mem_count().live == live);
    return 0;
}
