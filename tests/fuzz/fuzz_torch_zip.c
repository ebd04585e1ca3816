/* The input is a PyTorch checkpoint in either format; what begins like neither is run as a bare pickle. */
#include "fuzz_tensors.h"

#include "tensor/pickle.h"
#include "tensor/torch_zip.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void run_pickle(bytes stream)
{
    arena memory;
    pickle_result result;
    arena_init(&memory);
    if (pickle_load(stream, "fuzz", 0, &memory, &result, NULL) == FINCH_OK &&
        (result.used_bytes == 0 || result.used_bytes > stream.size || result.root.kind <= PICKLE_MARK))
        abort();
    arena_free(&memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const bytes file = {data, size};
    tensor_list list;
    if (!torch_zip_is(file)) {
        run_pickle(file);
        return 0;
    }
    tensor_list_init(&list);
    if (torch_zip_read(file, "fuzz", &list, NULL) == FINCH_OK) fuzz_touch_list(&list);
    tensor_list_free(&list);
    return 0;
}
