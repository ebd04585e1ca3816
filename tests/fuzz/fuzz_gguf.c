/* The input is a GGUF file: whatever it says, its keys can be walked and its tensors read. */
#include "tensor/gguf.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void walk_texts(const gguf *g, const char *key)
{
    gguf_array list;
    finch_text text;
    if (gguf_get_texts(g, key, &list, NULL) != FINCH_OK) return;
    size_t n = list.n_left;
    volatile unsigned char sum = 0;
    while (gguf_next_text(&list, &text)) {
        n--;
        for (size_t i = 0; i < text.size_bytes; i++) sum = (unsigned char)(sum + (unsigned char)text.at[i]);
    }
    if (n != 0 || list.n_left != 0) abort();
}

static void walk_numbers(const gguf *g, const char *key)
{
    gguf_array list;
    double number;
    if (gguf_get_numbers(g, key, &list, NULL) != FINCH_OK) return;
    size_t n = list.n_left;
    while (gguf_next_number(&list, &number)) n--;
    if (n != 0) abort();
}

static void read_tensor(const gguf_tensor *t)
{
    enum { ITEMS_MAX = 1 << 16 };
    if (t->n_items > ITEMS_MAX) return;
    float *items = malloc(t->n_items * sizeof *items + 1);
    if (items != NULL && gguf_to_f32(t, 0, t->n_items, items, NULL) != FINCH_OK) abort();
    free(items);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const keys[] = {"finch.text", "finch.texts", "finch.numbers", "finch.wholes", "general.architecture"};
    gguf *g;
    if (gguf_read((bytes){data, size}, "fuzz", &g, NULL) != FINCH_OK) return 0;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        double number;
        walk_texts(g, keys[i]);
        walk_numbers(g, keys[i]);
        (void)gguf_get_number(g, keys[i], &number, NULL);
    }
    for (size_t i = 0; i < gguf_count(g); i++) {
        const gguf_tensor *t = gguf_at(g, i);
        if (gguf_find(g, t->name) != t) abort();
        read_tensor(t);
    }
    gguf_close(g);
    return 0;
}
