/* What every reader of tensors promises: each one lies inside its file. Reading all its bytes lets ASan check it. */
#ifndef FINCH_TESTS_FUZZ_TENSORS_H
#define FINCH_TESTS_FUZZ_TENSORS_H

#include "tensor/tensor_list.h"

#include <stdlib.h>

static inline void fuzz_touch_tensor(const tensor *t)
{
    size_t n_items, size_bytes;
    if (!tensor_shape_size(t->dtype, t->dims, t->n_dims, &n_items, &size_bytes) || n_items != t->n_items ||
        size_bytes != t->size_bytes)
        abort();
    volatile unsigned char sum = 0;
    for (size_t i = 0; i < t->size_bytes; i++) sum = (unsigned char)(sum + ((const unsigned char *)t->data)[i]);
    float *items = malloc(n_items * sizeof *items + 1);
    if (items != NULL && (tensor_to_f32(t, items, NULL) == FINCH_OK) != (tensor_dtype_is_float(t->dtype) || n_items == 0))
        abort();
    free(items);
}

/* Storages may be shared, so the work is bounded by a number of tensors, not by the file's size. */
static inline void fuzz_touch_list(tensor_list *list)
{
    enum { TOUCHED_MAX = 64 };
    for (size_t i = 0; i < list->n && i < TOUCHED_MAX; i++) fuzz_touch_tensor(&list->at[i]);
    if (tensor_list_sort(list, "fuzz", NULL) != FINCH_OK) return;
    for (size_t i = 0; i < list->n && i < TOUCHED_MAX; i++) {
        if (tensor_list_find(list, list->at[i].name) != &list->at[i]) abort();
    }
}

#endif
