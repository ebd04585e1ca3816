#include "data/block.h"

#include <string.h>

enum { BUFFERS_MOST = 3, BITS = 8 };

/* Of a row's value; of BOOLEAN, which has a bit, as if it had a byte. */
static size_t value_bytes(data_column_kind kind)
{
    switch (kind) {
    case DATA_COLUMN_BOOLEAN:
    case DATA_COLUMN_BYTE: return 1;
    case DATA_COLUMN_DATE: return sizeof(int32_t);
    default: return sizeof(int64_t);
    }
}

static finch_status open_column(data_column *c, data_column_kind kind, size_t n_rows, finch_error *err)
{
    size_t n_bytes = (n_rows + BITS - 1) / BITS;
    c->kind = kind;
    FINCH_TRY(mem_alloc(n_bytes, 1, (void **)&c->valid, err));
    memset(c->valid, 0xFF, n_bytes);
    if (kind == DATA_COLUMN_BOOLEAN) return mem_alloc_zero(n_bytes, 1, &c->values, err);
    FINCH_TRY(mem_alloc(n_rows + 1, value_bytes(kind), &c->values, err));
    if (kind == DATA_COLUMN_TEXT) *(int64_t *)c->values = 0;
    return FINCH_OK;
}

finch_status data_block_open(const data_column_kind *kinds, size_t n_columns, size_t n_rows, data_block **out,
                             finch_error *err)
{
    data_block *b = NULL;
    finch_status st;
    *out = NULL;
    FINCH_GO(done, st, MEM_NEW(&b, 1, err));
    FINCH_GO(done, st, MEM_NEW(&b->columns, n_columns, err));
    b->n_columns = n_columns;
    FINCH_GO(done, st, MEM_NEW(&b->children, n_columns, err));
    FINCH_GO(done, st, MEM_NEW(&b->pointers, n_columns, err));
    FINCH_GO(done, st, MEM_NEW(&b->buffers, BUFFERS_MOST * n_columns + 1, err));
    for (size_t i = 0; st == FINCH_OK && i < n_columns; i++) st = open_column(&b->columns[i], kinds[i], n_rows, err);
done:
    if (st == FINCH_OK) *out = b;
    else data_block_close(b);
    return st;
}

void data_block_close(data_block *b)
{
    if (b == NULL) return;
    for (size_t i = 0; i < b->n_columns; i++) {
        mem_free(b->columns[i].valid);
        mem_free(b->columns[i].values);
        str_free(&b->columns[i].text);
    }
    mem_free(b->columns);
    mem_free(b->children);
    mem_free(b->pointers);
    mem_free(b->buffers);
    mem_free(b);
}

void data_column_add_null(data_column *c)
{
    c->valid[c->n / BITS] &= (uint8_t) ~(1u << c->n % BITS);
    c->n_nulls++;
    c->n++;
    if (c->kind == DATA_COLUMN_TEXT) ((int64_t *)c->values)[c->n] = (int64_t)c->text.size;
    else if (c->kind != DATA_COLUMN_BOOLEAN)
        memset((char *)c->values + (c->n - 1) * value_bytes(c->kind), 0, value_bytes(c->kind));
}

finch_status data_column_add_text(data_column *c, finch_text text, finch_error *err)
{
    if (text.at == NULL) {
        data_column_add_null(c);
        return FINCH_OK;
    }
    FINCH_TRY(str_add(&c->text, text.at, text.size_bytes, err));
    ((int64_t *)c->values)[++c->n] = (int64_t)c->text.size;
    return FINCH_OK;
}

finch_text data_column_text(const data_column *c, size_t row)
{
    const int64_t *begin = c->values;
    if ((c->valid[row / BITS] >> row % BITS & 1) == 0) return (finch_text){NULL, 0};
    return (finch_text){c->text.at + begin[row], (size_t)(begin[row + 1] - begin[row])};
}

static void release_child(struct ArrowArray *child) { child->release = NULL; }

static void release_block(struct ArrowArray *array)
{
    array->release = NULL;
    data_block_close(array->private_data);
}

void data_block_hand_over(data_block *b, struct ArrowArray *out)
{
    const void **none = &b->buffers[BUFFERS_MOST * b->n_columns];
    int64_t n_rows = b->n_columns > 0 ? (int64_t)b->columns[0].n : 0;
    for (size_t i = 0; i < b->n_columns; i++) {
        const data_column *c = &b->columns[i];
        const void **buffers = &b->buffers[BUFFERS_MOST * i];
        buffers[0] = c->n_nulls > 0 ? c->valid : NULL;
        buffers[1] = c->values;
        buffers[2] = c->text.at != NULL ? c->text.at : "";
        b->pointers[i] = &b->children[i];
        b->children[i] = (struct ArrowArray){.length = n_rows,
                                             .null_count = (int64_t)c->n_nulls,
                                             .n_buffers = c->kind == DATA_COLUMN_TEXT ? BUFFERS_MOST : BUFFERS_MOST - 1,
                                             .buffers = buffers,
                                             .release = release_child};
    }
    *out = (struct ArrowArray){.length = n_rows,
                               .n_buffers = 1,
                               .n_children = (int64_t)b->n_columns,
                               .buffers = none,
                               .children = b->pointers,
                               .release = release_block,
                               .private_data = b};
}
