/* The input is a safetensors file. Beside the reader's own promise: the ranges of what it takes fill the data exactly. */
#include "fuzz_tensors.h"

#include "tensor/safetensors.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tensor_list list;
    tensor_list_init(&list);
    if (safetensors_read((bytes){data, size}, "fuzz", &list, NULL) == FINCH_OK) {
        size_t used = 0;
        uint64_t header;
        memcpy(&header, data, sizeof header);
        for (size_t i = 0; i < list.n; i++) used += list.at[i].size_bytes;
        if (used != size - sizeof header - header) abort();
        fuzz_touch_list(&list);
    }
    tensor_list_free(&list);
    return 0;
}
