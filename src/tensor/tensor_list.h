/* Tensors being collected by a file reader: the list owns their names, the views point into the reader's mapping.
 * For the readers of this room only. */
#ifndef FINCH_TENSOR_TENSOR_LIST_H
#define FINCH_TENSOR_TENSOR_LIST_H

#include "base/arena.h"
#include "tensor/tensor.h"

enum { TENSOR_LIST_MAX = 1 << 20, TENSOR_NAME_BYTES_MAX = 4096 };

typedef struct tensor_list {
    arena names;
    tensor *at;
    size_t n;
    size_t capacity;
} tensor_list;

void tensor_list_init(tensor_list *list);
void tensor_list_free(tensor_list *list);

/* Appends *t under a copy of the name. file is for messages.
 * Errors: FINCH_E_DATA (an empty, overlong or NUL-holding name, too many tensors), FINCH_E_MEMORY. */
finch_status tensor_list_add(tensor_list *list, const char *file, const char *name, size_t name_bytes, const tensor *t,
                             finch_error *err);

/* Sorts by the bytes of the names. Errors: FINCH_E_DATA where two tensors have one name. */
finch_status tensor_list_sort(tensor_list *list, const char *file, finch_error *err);
/* NULL where absent. The list is sorted. */
const tensor *tensor_list_find(const tensor_list *list, const char *name);

#endif
