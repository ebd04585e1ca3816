/* What a state dict's globals mean: storages, and tensors as views of them. */
#include "tensor/pickle.h"

static const pickle_global globals[] = {
    {"collections", "OrderedDict", PICKLE_ROLE_ORDERED_DICT, TENSOR_F32},
    {"torch._utils", "_rebuild_tensor_v2", PICKLE_ROLE_TENSOR, TENSOR_F32},
    {"torch._utils", "_rebuild_parameter", PICKLE_ROLE_PARAMETER, TENSOR_F32},
    {"torch", "FloatStorage", PICKLE_ROLE_STORAGE, TENSOR_F32},
    {"torch", "HalfStorage", PICKLE_ROLE_STORAGE, TENSOR_F16},
    {"torch", "BFloat16Storage", PICKLE_ROLE_STORAGE, TENSOR_BF16},
    {"torch", "DoubleStorage", PICKLE_ROLE_STORAGE, TENSOR_F64},
    {"torch", "LongStorage", PICKLE_ROLE_STORAGE, TENSOR_I64},
    {"torch", "IntStorage", PICKLE_ROLE_STORAGE, TENSOR_I32},
    {"torch", "ShortStorage", PICKLE_ROLE_STORAGE, TENSOR_I16},
    {"torch", "CharStorage", PICKLE_ROLE_STORAGE, TENSOR_I8},
    {"torch", "ByteStorage", PICKLE_ROLE_STORAGE, TENSOR_U8},
    {"torch", "BoolStorage", PICKLE_ROLE_STORAGE, TENSOR_BOOL},
};

const pickle_global *pickle_global_find(bytes module, bytes name)
{
    for (size_t i = 0; i < sizeof globals / sizeof globals[0]; i++) {
        if (bytes_equal(module, globals[i].module) && bytes_equal(name, globals[i].name)) return &globals[i];
    }
    return NULL;
}

static bool take_size(const pickle_value *value, size_t *out)
{
    if (value->kind != PICKLE_INT || value->as.whole < 0) return false;
    *out = (size_t)value->as.whole;
    return true;
}

/* A tuple of whole numbers from 0. */
static bool take_sizes(const pickle_value *value, size_t out[TENSOR_DIMS_MAX], size_t *n)
{
    if (value->kind != PICKLE_TUPLE || value->as.items->n > TENSOR_DIMS_MAX) return false;
    *n = value->as.items->n;
    for (size_t i = 0; i < *n; i++) {
        if (!take_size(&value->as.items->at[i], &out[i])) return false;
    }
    return true;
}

/* (storage, offset, size, stride, requires_grad, hooks), and a seventh part that marks conjugated or negated numbers. */
static finch_status build_tensor(const pickle_items *args, pickle_place place, arena *memory, pickle_value *out,
                                 finch_error *err)
{
    pickle_tensor *t;
    size_t n_strides;
    const pickle_value *at = args->at;
    if (args->n == 7 && at[6].kind != PICKLE_NONE)
        return finch_fail(err, FINCH_E_UNSUPPORTED,
                          "%s, byte %zu: a tensor with extra metadata (conjugated or negated); save it plainly", place.file,
                          place.at);
    FINCH_TRY(ARENA_NEW(memory, &t, 1, err));
    *t = (pickle_tensor){0};
    if ((args->n != 6 && args->n != 7) || at[0].kind != PICKLE_STORAGE || !take_size(&at[1], &t->offset) ||
        !take_sizes(&at[2], t->dims, &t->n_dims) || !take_sizes(&at[3], t->strides, &n_strides) || n_strides != t->n_dims)
        return finch_fail(err, FINCH_E_DATA,
                          "%s, byte %zu: a tensor is described wrongly (storage, offset, up to %d sizes, as many strides)",
                          place.file, place.at, TENSOR_DIMS_MAX);
    t->storage = at[0].as.storage;
    *out = (pickle_value){.kind = PICKLE_TENSOR, .as.tensor = t};
    return FINCH_OK;
}

finch_status pickle_torch_call(const pickle_global *global, const pickle_items *args, pickle_place place, arena *memory,
                               pickle_value *out, finch_error *err)
{
    if (global->role == PICKLE_ROLE_TENSOR) return build_tensor(args, place, memory, out, err);
    /* A parameter is its tensor: (tensor, requires_grad, hooks). */
    if (global->role != PICKLE_ROLE_PARAMETER || args->n == 0 || args->at[0].kind != PICKLE_TENSOR)
        return finch_fail(err, FINCH_E_DATA, "%s, byte %zu: %s.%s is called in a way state dicts never do", place.file,
                          place.at, global->module, global->name);
    *out = args->at[0];
    return FINCH_OK;
}

/* ("storage", type, key, location, number of items), and in files older than the zip format None as a sixth part. */
finch_status pickle_torch_storage(const pickle_value *id, pickle_place place, arena *memory, pickle_value *out,
                                  finch_error *err)
{
    pickle_storage *storage;
    const pickle_items *parts = id->kind == PICKLE_TUPLE ? id->as.items : NULL;
    FINCH_TRY(ARENA_NEW(memory, &storage, 1, err));
    bool sound = parts != NULL && (parts->n == 5 || (parts->n == 6 && parts->at[5].kind == PICKLE_NONE)) &&
                 parts->at[0].kind == PICKLE_TEXT && bytes_equal(parts->at[0].as.text, "storage") &&
                 parts->at[1].kind == PICKLE_GLOBAL && parts->at[1].as.global->role == PICKLE_ROLE_STORAGE &&
                 parts->at[2].kind == PICKLE_TEXT && take_size(&parts->at[4], &storage->n_items);
    if (!sound)
        return finch_fail(err, FINCH_E_DATA, "%s, byte %zu: a persistent id that is no plain storage", place.file, place.at);
    storage->key = parts->at[2].as.text;
    storage->dtype = parts->at[1].as.global->dtype;
    *out = (pickle_value){.kind = PICKLE_STORAGE, .as.storage = storage};
    return FINCH_OK;
}
