/* The input is an Arrow column: a kind, a number of rows, bits of validity, then views, or a dictionary's indices. Of these types
 * the interface says how large each buffer is, so every text must lie in one: its bytes are read. */
#include "finch.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ROWS_MAX = 64, VIEW_BYTES = 16, DATA_BYTES = 96, HEAD_BYTES = 10 };

static void schema_released(struct ArrowSchema *s) { s->release = NULL; }
static void array_released(struct ArrowArray *a) { a->release = NULL; }

/* A copy of its own, so that a read past it is seen. */
static void *copy_of(const uint8_t *at, size_t size)
{
    void *copy = malloc(size > 0 ? size : 1);
    if (copy == NULL) abort();
    if (size > 0) memcpy(copy, at, size);
    return copy;
}

static void touch(const finch_text *texts, size_t n)
{
    volatile unsigned char sum = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t at = 0; at < texts[i].size_bytes; at++) sum = (unsigned char)(sum + (unsigned char)texts[i].at[at]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const formats[] = {"vu", "c", "C", "s", "S", "i", "I", "l", "L"};
    static const size_t widths[] = {VIEW_BYTES, 1, 1, 2, 2, 4, 4, 8, 8};
    static const char words[] = "buyhold";
    static const int32_t word_offsets[] = {0, 3, 7};
    finch_text texts[ROWS_MAX];
    if (size < HEAD_BYTES) return 0;
    size_t kind = data[0] % (sizeof formats / sizeof formats[0]), rows = (size - HEAD_BYTES) / widths[kind];
    if (rows > ROWS_MAX) rows = ROWS_MAX;
    int64_t sizes[1] = {DATA_BYTES}, offset = rows > 0 ? data[1] % (int64_t)rows : 0;
    void *validity = copy_of(data + 2, ROWS_MAX / 8), *items = copy_of(data + HEAD_BYTES, rows * widths[kind]);
    char *bytes = calloc(1, DATA_BYTES);
    if (bytes == NULL) abort();
    const void *word_buffers[] = {NULL, word_offsets, words}, *buffers[] = {validity, items, bytes, sizes};
    struct ArrowSchema word_schema = {.format = "u", .release = schema_released};
    struct ArrowArray word_array = {.length = 2, .n_buffers = 3, .buffers = word_buffers, .release = array_released};
    struct ArrowSchema schema = {
        .format = formats[kind], .release = schema_released, .dictionary = kind > 0 ? &word_schema : NULL};
    struct ArrowArray array = {.length = (int64_t)rows - offset,
                               .offset = offset,
                               .null_count = -1,
                               .n_buffers = kind > 0 ? 2 : 4,
                               .buffers = buffers,
                               .dictionary = kind > 0 ? &word_array : NULL,
                               .release = array_released};
    if (finch_texts_from_arrow(&schema, &array, texts, NULL) == FINCH_OK) touch(texts, (size_t)array.length);
    free(validity);
    free(items);
    free(bytes);
    return 0;
}
