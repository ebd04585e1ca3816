/* The texts of an Arrow column without a copy: the C data interface's utf8 ("u"), large_utf8 ("U"), string_view ("vu") and
 * dictionaries of those. Source: arrow.apache.org/docs/format/CDataInterface.html and Columnar.html.
 *
 *  1. Nothing but the buffers that the type has is read, and of them only rows [offset, offset + length).
 *  2. A row's bytes lie between two offsets in order, or in a view's buffer whose size the array gives.
 *  3. Of utf8 and large_utf8 the interface has no size of the bytes: the last offset is the producer's word. */
#include "base/mem.h"
#include "base/status.h"

#include <inttypes.h>
#include <string.h>

enum { VIEW_BYTES = 16, VIEW_INLINE_MAX = 12, VIEW_BUFFER_AT = 8, VIEW_OFFSET_AT = 12, UTF8_BUFFERS = 3 };

typedef enum column_kind { COLUMN_UTF8, COLUMN_LARGE_UTF8, COLUMN_VIEW, COLUMN_DICTIONARY } column_kind;

typedef struct column {
    column_kind kind;
    size_t offset, length;
    const unsigned char *validity;  /* bits; NULL: no row is null */
    const unsigned char *items;     /* offsets, views or indices */
    const char *data;               /* utf8 and large_utf8; NULL where every text is empty */
    const void *const *view_data;   /* [n_view_data] */
    const unsigned char *view_sizes; /* int64 each */
    size_t n_view_data;
    size_t index_bytes; /* of a dictionary's indices */
    bool index_signed;
    const struct column *words; /* of a dictionary */
} column;

static int64_t read_signed(const unsigned char *at, size_t n_bytes)
{
    switch (n_bytes) {
    case 1: return (int8_t)at[0];
    case 2: {
        int16_t v;
        memcpy(&v, at, sizeof v);
        return v;
    }
    case 4: {
        int32_t v;
        memcpy(&v, at, sizeof v);
        return v;
    }
    default: {
        int64_t v;
        memcpy(&v, at, sizeof v);
        return v;
    }
    }
}

/* A 64-bit index past INT64_MAX comes out negative, and is refused as such. */
static int64_t read_index(const column *c, size_t row)
{
    int64_t v = read_signed(c->items + row * c->index_bytes, c->index_bytes);
    if (c->index_signed || c->index_bytes == sizeof v) return v;
    return v & (((int64_t)1 << (8 * c->index_bytes)) - 1);
}

static bool is_null(const column *c, size_t row)
{
    return c->validity != NULL && (c->validity[row / 8] >> (row % 8) & 1) == 0;
}

/* ---- opening ---- */

static finch_status open_common(column *c, const struct ArrowArray *array, int64_t n_buffers_min, finch_error *err)
{
    size_t end;
    if (array->length < 0 || array->offset < 0 || !size_add((size_t)array->length, (size_t)array->offset, &end) ||
        end > (size_t)INT64_MAX / VIEW_BYTES)
        return finch_fail(err, FINCH_E_DATA, "the Arrow column has length %" PRId64 " and offset %" PRId64, array->length,
                          array->offset);
    if (array->n_buffers < n_buffers_min || array->buffers == NULL)
        return finch_fail(err, FINCH_E_DATA, "the Arrow column has %" PRId64 " buffers; its type has at least %" PRId64,
                          array->n_buffers, n_buffers_min);
    c->offset = (size_t)array->offset;
    c->length = (size_t)array->length;
    c->validity = array->null_count == 0 ? NULL : array->buffers[0];
    c->items = array->buffers[1];
    if (c->length > 0 && c->items == NULL)
        return finch_fail(err, FINCH_E_DATA, "the Arrow column has %zu rows and no buffer that says where they are",
                          c->length);
    return FINCH_OK;
}

static finch_status open_text(column *c, const char *format, const struct ArrowArray *array, finch_error *err)
{
    if (strcmp(format, "u") == 0 || strcmp(format, "U") == 0) {
        c->kind = format[0] == 'u' ? COLUMN_UTF8 : COLUMN_LARGE_UTF8;
        FINCH_TRY(open_common(c, array, UTF8_BUFFERS, err));
        c->data = array->buffers[2];
        return FINCH_OK;
    }
    if (strcmp(format, "vu") == 0) {
        c->kind = COLUMN_VIEW;
        FINCH_TRY(open_common(c, array, UTF8_BUFFERS, err));
        c->n_view_data = (size_t)array->n_buffers - UTF8_BUFFERS;
        c->view_data = (const void *const *)array->buffers + 2;
        c->view_sizes = array->buffers[array->n_buffers - 1];
        if (c->n_view_data > 0 && c->view_sizes == NULL)
            return finch_fail(err, FINCH_E_DATA, "the Arrow column has views and no sizes of their buffers");
        return FINCH_OK;
    }
    return finch_fail(
        err, FINCH_E_UNSUPPORTED,
        "the Arrow column's format is \"%.40s\"; a column of strings is needed (utf8, large_utf8 or string_view): "
        "choose or cast it",
        format);
}

/* The indices' formats: "c" int8, "C" uint8, "s", "S", "i", "I", "l", "L". */
static bool index_type(const char *format, column *c)
{
    static const char names[] = "csil", unsigned_names[] = "CSIL";
    if (format[0] == '\0' || format[1] != '\0') return false;
    const char *at = strchr(names, format[0]), *other = strchr(unsigned_names, format[0]);
    if (at == NULL && other == NULL) return false;
    c->index_signed = at != NULL;
    c->index_bytes = (size_t)1 << (at != NULL ? at - names : other - unsigned_names);
    return true;
}

static finch_status open_dictionary(column *c, column *words, const struct ArrowSchema *schema,
                                    const struct ArrowArray *array, finch_error *err)
{
    c->kind = COLUMN_DICTIONARY;
    c->words = words;
    if (array->dictionary == NULL || schema->dictionary->format == NULL || schema->dictionary->dictionary != NULL ||
        !index_type(schema->format, c))
        return finch_fail(err, FINCH_E_UNSUPPORTED, "the Arrow column is a dictionary, but not of strings: cast it to utf8");
    FINCH_TRY(open_common(c, array, 2, err));
    return open_text(words, schema->dictionary->format, array->dictionary, err);
}

/* ---- rows ---- */

/* A text of no bytes has a place, which a null has not. */
static finch_text text_at(const char *at, size_t size) { return (finch_text){size > 0 ? at : "", size}; }

static finch_status broken_row(size_t row, finch_error *err)
{
    return finch_fail_row(err, FINCH_E_DATA, row + 1,
                          "row %zu of the Arrow column lies outside its buffers; whatever made the column is at fault",
                          row + 1);
}

static finch_status text_by_offsets(const column *c, size_t at, size_t row, finch_text *out, finch_error *err)
{
    size_t n_bytes = c->kind == COLUMN_UTF8 ? sizeof(int32_t) : sizeof(int64_t);
    int64_t begin = read_signed(c->items + at * n_bytes, n_bytes), end = read_signed(c->items + (at + 1) * n_bytes, n_bytes);
    if (begin < 0 || end < begin || (end > begin && c->data == NULL)) return broken_row(row, err);
    *out = text_at(c->data == NULL ? NULL : c->data + begin, (size_t)(end - begin));
    return FINCH_OK;
}

static finch_status text_by_view(const column *c, size_t at, size_t row, finch_text *out, finch_error *err)
{
    const unsigned char *view = c->items + at * VIEW_BYTES;
    int64_t size = read_signed(view, sizeof(int32_t));
    if (size < 0) return broken_row(row, err);
    if (size <= VIEW_INLINE_MAX) {
        *out = text_at((const char *)view + sizeof(int32_t), (size_t)size);
        return FINCH_OK;
    }
    int64_t buffer = read_signed(view + VIEW_BUFFER_AT, sizeof(int32_t));
    int64_t begin = read_signed(view + VIEW_OFFSET_AT, sizeof(int32_t));
    if (buffer < 0 || (size_t)buffer >= c->n_view_data || begin < 0) return broken_row(row, err);
    int64_t room = read_signed(c->view_sizes + (size_t)buffer * sizeof room, sizeof room);
    if (begin > room || size > room - begin || c->view_data[buffer] == NULL) return broken_row(row, err);
    *out = text_at((const char *)c->view_data[buffer] + begin, (size_t)size);
    return FINCH_OK;
}

/* at counts from the buffers' beginning; row is for messages. */
static finch_status text_of(const column *c, size_t at, size_t row, finch_text *out, finch_error *err)
{
    *out = (finch_text){NULL, 0};
    if (is_null(c, at)) return FINCH_OK;
    return c->kind == COLUMN_VIEW ? text_by_view(c, at, row, out, err) : text_by_offsets(c, at, row, out, err);
}

static finch_status word_of(const column *c, size_t at, size_t row, finch_text *out, finch_error *err)
{
    *out = (finch_text){NULL, 0};
    if (is_null(c, at)) return FINCH_OK;
    int64_t index = read_index(c, at);
    if (index < 0 || (size_t)index >= c->words->length) return broken_row(row, err);
    return text_of(c->words, c->words->offset + (size_t)index, row, out, err);
}

finch_status finch_texts_from_arrow(const struct ArrowSchema *schema, const struct ArrowArray *array, finch_text *texts,
                                    finch_error *err)
{
    column c = {0}, words = {0};
    if (schema == NULL || array == NULL || schema->format == NULL || schema->release == NULL || array->release == NULL)
        return finch_fail(err, FINCH_E_USAGE, "finch_texts_from_arrow needs a schema and an array that are not released");
    if (schema->dictionary != NULL) FINCH_TRY(open_dictionary(&c, &words, schema, array, err));
    else FINCH_TRY(open_text(&c, schema->format, array, err));
    if (c.length > 0 && texts == NULL)
        return finch_fail(err, FINCH_E_USAGE, "finch_texts_from_arrow needs room for %zu texts", c.length);
    for (size_t i = 0; i < c.length; i++)
        FINCH_TRY(c.kind == COLUMN_DICTIONARY ? word_of(&c, c.offset + i, i, &texts[i], err)
                                              : text_of(&c, c.offset + i, i, &texts[i], err));
    return FINCH_OK;
}
