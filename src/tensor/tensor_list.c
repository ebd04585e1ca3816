#include "tensor/tensor_list.h"

#include <stdlib.h>
#include <string.h>

void tensor_list_init(tensor_list *list)
{
    *list = (tensor_list){0};
    arena_init(&list->names);
}

void tensor_list_free(tensor_list *list)
{
    arena_free(&list->names);
    mem_free(list->at);
    *list = (tensor_list){0};
}

static finch_status make_room(tensor_list *list, finch_error *err)
{
    if (list->n < list->capacity) return FINCH_OK;
    size_t wanted = list->capacity == 0 ? 256 : 2 * list->capacity;
    FINCH_TRY(mem_grow((void **)&list->at, list->n * sizeof *list->at, wanted, sizeof *list->at, err));
    list->capacity = wanted;
    return FINCH_OK;
}

finch_status tensor_list_add(tensor_list *list, const char *file, const char *name, size_t name_bytes, const tensor *t,
                             finch_error *err)
{
    if (name_bytes == 0 || name_bytes > TENSOR_NAME_BYTES_MAX || memchr(name, '\0', name_bytes) != NULL)
        return finch_fail(err, FINCH_E_DATA, "%s: a tensor's name is empty, longer than %d bytes or holds a NUL byte", file,
                          TENSOR_NAME_BYTES_MAX);
    if (list->n == TENSOR_LIST_MAX)
        return finch_fail(err, FINCH_E_DATA, "%s holds more than %d tensors", file, TENSOR_LIST_MAX);
    FINCH_TRY(make_room(list, err));
    char *copy;
    FINCH_TRY(arena_alloc(&list->names, name_bytes + 1, 1, (void **)&copy, err));
    memcpy(copy, name, name_bytes);
    copy[name_bytes] = '\0';
    list->at[list->n] = *t;
    list->at[list->n++].name = copy;
    return FINCH_OK;
}

static int by_name(const void *a, const void *b) { return strcmp(((const tensor *)a)->name, ((const tensor *)b)->name); }

finch_status tensor_list_sort(tensor_list *list, const char *file, finch_error *err)
{
    if (list->n < 2) return FINCH_OK;
    qsort(list->at, list->n, sizeof *list->at, by_name);
    for (size_t i = 1; i < list->n; i++) {
        if (strcmp(list->at[i - 1].name, list->at[i].name) == 0)
            return finch_fail(err, FINCH_E_DATA, "%s holds the tensor %s twice", file, list->at[i].name);
    }
    return FINCH_OK;
}

const tensor *tensor_list_find(const tensor_list *list, const char *name)
{
    if (list->n == 0) return NULL;
    const tensor key = {.name = name};
    return bsearch(&key, list->at, list->n, sizeof *list->at, by_name);
}
