#include "model/adapter.h"

#include "base/file.h"
#include "base/json.h"
#include "model/lora.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- the folder ------------------------------------------------------------------------------------------------ */

/* No memory is asked for, so that "no" always means that it is not there. */
bool adapter_has(const char *folder, const char *name)
{
    char path[PATH_MAX];
    int size = snprintf(path, sizeof path, "%s/%s", folder, name);
    return size > 0 && (size_t)size < sizeof path && file_exists(path);
}

bool adapter_is(const char *path) { return file_is_directory(path) && adapter_has(path, ADAPTER_CONFIG); }

static finch_status read_config(const char *folder, str *path, json_t **out, finch_error *err)
{
    FINCH_TRY(file_join(folder, ADAPTER_CONFIG, path, err));
    return json_parse_file(path->at, out, err);
}

finch_status adapter_base(const char *folder, str *out, finch_error *err)
{
    str path = {0};
    json_t *root = NULL;
    const char *base;
    finch_status st = read_config(folder, &path, &root, err);
    if (st == FINCH_OK) st = json_get_text(root, path.at, "base_model_name_or_path", &base, err);
    if (st == FINCH_OK && !file_exists(base))
        st = finch_fail(err, FINCH_E_NOT_FOUND,
                        "%s: the base %s is not there; set \"base_model_name_or_path\" to where the model is", path.at,
                        base);
    if (st == FINCH_OK && adapter_is(base))
        st = finch_fail(err, FINCH_E_UNSUPPORTED, "%s: its base %s is a folder of adapters itself", folder, base);
    if (st == FINCH_OK) st = str_add_text(out, base, err);
    json_decref(root);
    str_free(&path);
    return st;
}

finch_status adapter_place_of(const char *path, const char *file, str *out, finch_error *err)
{
    str_clear(out);
    return adapter_is(path) && !adapter_has(path, file) ? adapter_base(path, out, err) : str_add_text(out, path, err);
}

/* ---- its configuration ----------------------------------------------------------------------------------------- */

static bool is_set(const json_t *root, const char *key)
{
    const json_t *value = json_object_get(root, key);
    return json_is_true(value) || json_object_size(value) + json_array_size(value) > 0;
}

static finch_status check_kind(const json_t *root, const char *path, finch_error *err)
{
    static const char *const foreign[] = {"rank_pattern",   "alpha_pattern",           "layer_replication", "use_dora",
                                          "fan_in_fan_out", "trainable_token_indices", "target_parameters"};
    const char *type, *bias = "none";
    FINCH_TRY(json_get_text(root, path, "peft_type", &type, err));
    if (json_has(root, "bias")) FINCH_TRY(json_get_text(root, path, "bias", &bias, err));
    if (strcmp(type, "LORA") != 0 || strcmp(bias, "none") != 0)
        return finch_fail(err, FINCH_E_UNSUPPORTED,
                          "%s: \"peft_type\" is \"%.40s\" and \"bias\" \"%.40s\"; finch has LORA and none", path, type,
                          bias);
    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++)
        if (is_set(root, foreign[i]))
            return finch_fail(err, FINCH_E_UNSUPPORTED, "%s: \"%s\" is set, which finch does not have", path, foreign[i]);
    return FINCH_OK;
}

static finch_status take_config(adapter *a, const json_t *root, finch_error *err)
{
    double alpha;
    FINCH_TRY(check_kind(root, a->path, err));
    FINCH_TRY(json_get_size(root, a->path, "r", &a->rank, err));
    FINCH_TRY(json_get_number(root, a->path, "lora_alpha", &alpha, err));
    if (a->rank < 1 || a->rank > LORA_RANK_MAX)
        return finch_fail(err, FINCH_E_DATA, "%s: \"r\" is %zu; it must be from 1 to %d", a->path, a->rank, LORA_RANK_MAX);
    if (!isfinite(alpha)) return finch_fail(err, FINCH_E_DATA, "%s: \"lora_alpha\" is no finite number", a->path);
    a->scale = alpha / (is_set(root, "use_rslora") ? sqrt((double)a->rank) : (double)a->rank);
    return FINCH_OK;
}

finch_status adapter_open(const char *folder, adapter *out, finch_error *err)
{
    str path = {0};
    json_t *root = NULL;
    finch_status st;
    *out = (adapter){0};
    FINCH_GO(done, st, read_config(folder, &path, &root, err));
    FINCH_GO(done, st, mem_text(path.at, path.size, &out->path, err));
    FINCH_GO(done, st, take_config(out, root, err));
    str_clear(&path);
    FINCH_GO(done, st, file_join(folder, ADAPTER_WEIGHTS, &path, err));
    st = weights_open(path.at, &out->file, err);
done:
    json_decref(root);
    str_free(&path);
    if (st != FINCH_OK) adapter_close(out);
    return st;
}

void adapter_close(adapter *a)
{
    weights_close(a->file);
    mem_free(a->path);
    *a = (adapter){0};
}

/* ---- its tensors ----------------------------------------------------------------------------------------------- */

static finch_status half_name(str *name, const char *module, const char *half, finch_error *err)
{
    str_clear(name);
    return str_add_format(name, err, ADAPTER_PREFIX "%s.%s.weight", module, half);
}

static finch_status find_pair(adapter *a, const char *module, size_t rows, size_t columns, str *name, adapter_pair *out,
                              finch_error *err)
{
    const size_t low[2] = {a->rank, columns}, high[2] = {rows, a->rank};
    FINCH_TRY(half_name(name, module, "lora_A", err));
    FINCH_TRY(weights_require(a->file, name->at, 2, low, &out->a, err));
    FINCH_TRY(half_name(name, module, "lora_B", err));
    FINCH_TRY(weights_require(a->file, name->at, 2, high, &out->b, err));
    a->n_used += 2;
    return FINCH_OK;
}

finch_status adapter_find(adapter *a, const char *const *modules, size_t n_modules, size_t rows, size_t columns,
                          adapter_pair *out, finch_error *err)
{
    str name = {0};
    finch_status st = FINCH_OK;
    *out = (adapter_pair){0};
    for (size_t i = 0; st == FINCH_OK && out->b == NULL && i < n_modules; i++) {
        st = half_name(&name, modules[i], "lora_A", err);
        bool there = st == FINCH_OK && weights_find(a->file, name.at) != NULL;
        if (there) st = find_pair(a, modules[i], rows, columns, &name, out, err);
    }
    str_free(&name);
    return st;
}

/* t [rows, columns], times factor, packed into *to. */
static finch_status pack_half(const adapter *a, const tensor *t, double factor, arena *memory, linear *to, finch_error *err)
{
    size_t rows = t->dims[0], columns = t->dims[1];
    float *values;
    FINCH_TRY(linear_init_in(memory, to, LINEAR_F32, rows, columns, err));
    FINCH_TRY(MEM_NEW(&values, rows * columns, err));
    finch_status st = tensor_to_f32(t, values, err);
    if (st == FINCH_OK) st = linear_pack(to, 0, rows, values, NULL, (float)factor, err);
    mem_free(values);
    return st == FINCH_OK ? st : finch_fail_prefix(err, "%s: %s", a->path, t->name);
}

finch_status adapter_pack(adapter *a, const char *const *modules, size_t n_modules, size_t rows, size_t columns,
                          double factor, arena *memory, adapter_packed *out, finch_error *err)
{
    adapter_pair pair;
    FINCH_TRY(adapter_find(a, modules, n_modules, rows, columns, &pair, err));
    if (pair.a == NULL) return FINCH_OK;
    FINCH_TRY(pack_half(a, pair.a, 1.0, memory, &out->low, err));
    return pack_half(a, pair.b, a->scale * factor, memory, &out->high, err);
}

const tensor *adapter_whole(adapter *a, const char *name)
{
    str whole = {0};
    const tensor *found = NULL;
    if (str_add_format(&whole, NULL, ADAPTER_PREFIX "%s", name) == FINCH_OK) found = weights_find(a->file, whole.at);
    str_free(&whole);
    if (found != NULL) a->n_used++;
    return found;
}

finch_status adapter_all_used(const adapter *a, finch_error *err)
{
    size_t n = weights_count(a->file);
    if (a->n_used == n) return FINCH_OK;
    return finch_fail(err, FINCH_E_DATA, "%s: %zu of the adapter's %zu tensors belong to no layer of the base", a->path,
                      n - size_least(n, a->n_used), n);
}
