#include "train/kept.h"

#include "base/file.h"
#include "tensor/stored.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool kept_is_better(const kept *k, double a, double b)
{
    if (isnan(a)) return false;
    if (isnan(b)) return true;
    return k->higher_is_better ? a > b : a < b;
}

bool kept_insert(kept *k, uint64_t step, double value, kept_entry *dropped)
{
    size_t at = 0;
    *dropped = (kept_entry){0};
    while (at < k->n && !kept_is_better(k, value, k->entry[at].value)) at++;
    if (at == k->capacity) return false;
    if (k->n == k->capacity) *dropped = k->entry[--k->n];
    memmove(&k->entry[at + 1], &k->entry[at], (k->n - at) * sizeof k->entry[0]);
    k->entry[at] = (kept_entry){step, value};
    k->n++;
    return true;
}

static finch_status path_of(const char *folder, uint64_t step, str *out, finch_error *err)
{
    str_clear(out);
    return str_add_format(out, err, "%s/weights-%llu.safetensors", folder, (unsigned long long)step);
}

finch_status kept_write(const char *folder, uint64_t step, trainable *t, finch_error *err)
{
    trainable_parameter *parameters;
    size_t n = trainable_parameters(t, &parameters);
    safetensors_entry *entries = NULL;
    str path = {0};
    finch_status st = MEM_NEW(&entries, n, err);
    for (size_t i = 0; st == FINCH_OK && i < n; i++)
        entries[i] = (safetensors_entry){.name = parameters[i].name,
                                         .dtype = TENSOR_F32,
                                         .n_dims = 2,
                                         .dims = {parameters[i].rows, parameters[i].cols},
                                         .data = parameters[i].value};
    if (st == FINCH_OK) st = path_of(folder, step, &path, err);
    if (st == FINCH_OK) st = safetensors_write(path.at, entries, n, err);
    str_free(&path);
    mem_free(entries);
    return st;
}

finch_status kept_remove(const char *folder, uint64_t step, finch_error *err)
{
    str path = {0};
    finch_status st = path_of(folder, step, &path, err);
    if (st == FINCH_OK && unlink(path.at) != 0 && errno != ENOENT)
        st = finch_fail(err, FINCH_E_IO, "%s could not be removed", path.at);
    str_free(&path);
    return st;
}

static int by_step(const void *a, const void *b)
{
    uint64_t x = ((const kept_entry *)a)->step, y = ((const kept_entry *)b)->step;
    return (x > y) - (x < y);
}

static finch_status open_kept(const char *folder, uint64_t step, weights **out, finch_error *err)
{
    str path = {0};
    finch_status st = path_of(folder, step, &path, err);
    if (st == FINCH_OK) st = weights_open(path.at, out, err);
    str_free(&path);
    return st;
}

/* The mean of the tensors' items [begin, end). Their pages of the files are given back: a model may be as large as the memory that is
 * left. */
static void average_part(const tensor *const *tensors, size_t n, size_t begin, size_t end, float *out)
{
    for (size_t i = begin; i < end; i++) {
        double sum = 0.0;
        for (size_t f = 0; f < n; f++) sum += (double)((const float *)tensors[f]->data)[i];
        out[i] = (float)(sum / (double)n);
    }
    for (size_t f = 0; f < n; f++) stored_forget(&(stored_matrix){.plain.weight = tensors[f]});
}

/* Puts the mean of the parameter over the files into it. */
static finch_status average(weights *const *files, size_t n, const trainable_parameter *p, finch_error *err)
{
    enum { PART = 1 << 23 };
    size_t n_items = p->rows * p->cols, dims[2] = {p->rows, p->cols};
    const tensor *tensors[KEPT_MAX];
    for (size_t f = 0; f < n; f++) {
        FINCH_TRY(weights_require(files[f], p->name, 2, dims, &tensors[f], err));
        if (tensors[f]->dtype != TENSOR_F32 || !tensor_is_aligned(tensors[f]))
            return finch_fail(err, FINCH_E_DATA, "%s: %s is not as finch writes it", weights_path(files[f]), p->name);
    }
    for (size_t at = 0; at < n_items; at += PART) average_part(tensors, n, at, size_least(at + PART, n_items), p->value);
    return FINCH_OK;
}

finch_status kept_load(const kept *k, size_t n, const char *folder, trainable *t, finch_error *err)
{
    kept_entry chosen[KEPT_MAX];
    weights *files[KEPT_MAX] = {NULL};
    trainable_parameter *parameters;
    size_t n_parameters = trainable_parameters(t, &parameters);
    finch_status st = FINCH_OK;
    if (n == 0 || n > k->n) return finch_fail(err, FINCH_E_USAGE, "%zu evaluations were kept, not %zu", k->n, n);
    memcpy(chosen, k->entry, n * sizeof chosen[0]);
    qsort(chosen, n, sizeof chosen[0], by_step);
    for (size_t f = 0; f < n; f++) FINCH_GO(done, st, open_kept(folder, chosen[f].step, &files[f], err));
    for (size_t i = 0; i < n_parameters; i++) FINCH_GO(done, st, average(files, n, &parameters[i], err));
    trainable_values_changed(t);
done:
    for (size_t f = 0; f < n; f++) weights_close(files[f]);
    return st;
}

finch_status kept_to_json(const kept *k, json_t **out, finch_error *err)
{
    int failed = 0;
    *out = json_array();
    for (size_t i = 0; i < k->n; i++)
        failed |= json_array_append_new(*out,
                                        json_pack("{s:I,s:o}", "step", (json_int_t)k->entry[i].step, "value",
                                                  isnan(k->entry[i].value) ? json_null() : json_real(k->entry[i].value)));
    if (*out != NULL && failed == 0) return FINCH_OK;
    json_decref(*out);
    *out = NULL;
    return finch_fail(err, FINCH_E_MEMORY, "out of memory for the list of kept weights");
}

finch_status kept_from_json(const json_t *array, const char *name, kept *out, finch_error *err)
{
    size_t n = json_array_size(array);
    if (!json_is_array(array) || n > out->capacity)
        return finch_fail(err, FINCH_E_DATA, "%s: the field \"kept\" must be an array of at most %zu entries", name,
                          out->capacity);
    out->n = 0;
    for (size_t i = 0; i < n; i++) {
        const json_t *entry = json_array_get(array, i);
        size_t step;
        double value = (double)NAN;
        FINCH_TRY(json_get_size(entry, name, "step", &step, err));
        if (json_has(entry, "value")) FINCH_TRY(json_get_number(entry, name, "value", &value, err));
        out->entry[out->n++] = (kept_entry){step, value};
    }
    return FINCH_OK;
}
