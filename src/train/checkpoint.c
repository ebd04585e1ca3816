#include "train/checkpoint.h"

#include "base/mem.h"
#include "tensor/weights.h"

#include <stdlib.h>
#include <string.h>

static const char state_name[] = "finch.state";

enum { STATE_BYTES_MAX = 64 << 20 };

finch_status checkpoint_write(const char *path, const checkpoint_array *arrays, size_t n_arrays, const json_t *state,
                              finch_error *err)
{
    safetensors_entry *entries = NULL;
    char *text = json_dumps(state, JSON_COMPACT | JSON_REAL_PRECISION(17));
    if (text == NULL) return finch_fail(err, FINCH_E_MEMORY, "%s: out of memory for the state of the training run", path);
    finch_status st = MEM_NEW(&entries, n_arrays + 1, err);
    if (st == FINCH_OK) {
        for (size_t i = 0; i < n_arrays; i++)
            entries[i] = (safetensors_entry){.name = arrays[i].name,
                                             .dtype = arrays[i].dtype,
                                             .n_dims = 1,
                                             .dims = {arrays[i].n_items},
                                             .data = arrays[i].data};
        entries[n_arrays] = (safetensors_entry){
            .name = state_name, .dtype = TENSOR_U8, .n_dims = 1, .dims = {strlen(text)}, .data = text};
        st = safetensors_write(path, entries, n_arrays + 1, err);
    }
    mem_free(entries);
    free(text);
    return st;
}

static finch_status parse_state(const weights *file, const char *path, json_t **state, finch_error *err)
{
    const tensor *t = weights_find(file, state_name);
    if (t == NULL || t->dtype != TENSOR_U8 || t->size_bytes > STATE_BYTES_MAX)
        return finch_fail(err, FINCH_E_DATA, "%s is no checkpoint of finch: it has no \"%s\"; start again without --resume",
                          path, state_name);
    FINCH_TRY(json_parse(t->data, t->size_bytes, path, state, err));
    if (json_is_object(*state)) return FINCH_OK;
    json_decref(*state);
    *state = NULL;
    return finch_fail(err, FINCH_E_DATA, "%s: \"%s\" is not a JSON object; start again without --resume", path, state_name);
}

finch_status checkpoint_read_state(const char *path, json_t **state, finch_error *err)
{
    weights *file;
    *state = NULL;
    FINCH_TRY(weights_open(path, &file, err));
    finch_status st = parse_state(file, path, state, err);
    weights_close(file);
    return st;
}

static finch_status check_array(const weights *file, const char *path, const checkpoint_array *wanted, finch_error *err)
{
    const tensor *t = weights_find(file, wanted->name);
    if (t == NULL)
        return finch_fail(err, FINCH_E_DATA, "%s: the array %s is missing; the checkpoint is of another model", path,
                          wanted->name);
    if (t->dtype == wanted->dtype && t->n_items == wanted->n_items) return FINCH_OK;
    return finch_fail(err, FINCH_E_DATA,
                      "%s: the array %s has %zu items of %s where %zu of %s are needed; the checkpoint is of another model",
                      path, wanted->name, t->n_items, tensor_dtype_name(t->dtype), wanted->n_items,
                      tensor_dtype_name(wanted->dtype));
}

finch_status checkpoint_restore(const char *path, const checkpoint_array *arrays, size_t n_arrays, finch_error *err)
{
    weights *file;
    finch_status st = FINCH_OK;
    FINCH_TRY(weights_open(path, &file, err));
    for (size_t i = 0; i < n_arrays && st == FINCH_OK; i++) st = check_array(file, path, &arrays[i], err);
    for (size_t i = 0; i < n_arrays && st == FINCH_OK; i++) {
        const tensor *t = weights_find(file, arrays[i].name);
        if (t->size_bytes > 0) memcpy(arrays[i].data, t->data, t->size_bytes);
    }
    weights_close(file);
    return st;
}
