/* Arrow columns as texts: every layout, where the texts lie, and columns that are broken. */
#include "harness.h"

#include <string.h>

static void released(struct ArrowSchema *s) { s->release = NULL; }
static void array_released(struct ArrowArray *a) { a->release = NULL; }

typedef struct column {
    struct ArrowSchema schema;
    struct ArrowArray array;
    const void *buffers[5];
} column;

static void column_make(column *c, const char *format, int64_t length, int64_t n_buffers)
{
    *c = (column){.schema = {.format = format, .release = released},
                  .array = {.length = length, .null_count = -1, .n_buffers = n_buffers, .release = array_released}};
    c->array.buffers = c->buffers;
}

static void check_text(const char *expected, finch_text found)
{
    CHECK_EQUAL(strlen(expected), found.size_bytes);
    CHECK(found.at != NULL && memcmp(expected, found.at, found.size_bytes) == 0);
}

TEST(texts_lie_where_the_column_has_them)
{
    static const char data[] = "buyholdsell";
    static const int32_t offsets[] = {0, 3, 3, 7, 11};
    static const int64_t large[] = {0, 3, 3, 7, 11};
    static const unsigned char validity[] = {0x0b}; /* the third is null */
    finch_error err = {0};
    finch_text texts[4];
    column c;
    column_make(&c, "u", 4, 3);
    c.buffers[0] = validity, c.buffers[1] = offsets, c.buffers[2] = data;
    CHECK_OK(finch_texts_from_arrow(&c.schema, &c.array, texts, &err), &err);
    check_text("buy", texts[0]);
    CHECK(texts[0].at == data);
    check_text("", texts[1]);
    CHECK(texts[2].at == NULL && texts[2].size_bytes == 0);
    CHECK(texts[3].at == data + 7);
    check_text("sell", texts[3]);
    /* A slice: the validity's bits and the offsets count from the buffers' beginning. */
    c.array.offset = 2, c.array.length = 2;
    CHECK_OK(finch_texts_from_arrow(&c.schema, &c.array, texts, &err), &err);
    CHECK(texts[0].at == NULL);
    check_text("sell", texts[1]);
    column_make(&c, "U", 4, 3);
    c.buffers[1] = large, c.buffers[2] = data;
    CHECK_OK(finch_texts_from_arrow(&c.schema, &c.array, texts, &err), &err);
    check_text("hold", texts[2]);
    /* null_count 0: the bits are not looked at. */
    c.buffers[0] = validity, c.array.null_count = 0;
    CHECK_OK(finch_texts_from_arrow(&c.schema, &c.array, texts, &err), &err);
    check_text("hold", texts[2]);
    column_make(&c, "u", 0, 3);
    CHECK_OK(finch_texts_from_arrow(&c.schema, &c.array, NULL, &err), &err);
}

typedef struct view {
    int32_t size;
    char prefix[4];
    int32_t buffer, offset;
} view;

static view inline_view(const char *text)
{
    view v = {.size = (int32_t)strlen(text)};
    memcpy((char *)&v + sizeof v.size, text, strlen(text));
    return v;
}

TEST(views_are_short_texts_or_point_into_buffers)
{
    static const char data[] = "....a text of more than twelve bytes";
    view views[3] = {inline_view("twelve bytes"), {.size = 32, .buffer = 0, .offset = 4}, inline_view("")};
    int64_t sizes[1] = {sizeof data - 1};
    finch_error err = {0};
    finch_text texts[3];
    column c;
    column_make(&c, "vu", 3, 4);
    c.buffers[1] = views, c.buffers[2] = data, c.buffers[3] = sizes;
    CHECK_OK(finch_texts_from_arrow(&c.schema, &c.array, texts, &err), &err);
    check_text("twelve bytes", texts[0]);
    check_text("a text of more than twelve bytes", texts[1]);
    CHECK(texts[1].at == data + 4);
    check_text("", texts[2]);
    static const struct {
        view v;
    } broken[] = {
        {{.size = 33, .buffer = 0, .offset = 4}},
        {{.size = 32, .buffer = 1, .offset = 4}},
        {{.size = 32, .buffer = -1, .offset = 4}},
        {{.size = 32, .buffer = 0, .offset = -1}},
        {{.size = -1}},
        {{.size = 32, .buffer = 0, .offset = INT32_MAX}},
    };
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        views[1] = broken[i].v;
        CHECK_STATUS(FINCH_E_DATA, finch_texts_from_arrow(&c.schema, &c.array, texts, &err), &err);
        CHECK_EQUAL(2, err.row);
    }
}

TEST(dictionaries_are_looked_up)
{
    static const char data[] = "buysell";
    static const int32_t offsets[] = {0, 3, 7};
    static const uint8_t indices[] = {1, 0, 255, 1}, validity[] = {0x0b};
    static const int16_t wide[] = {1, -1};
    finch_error err = {0};
    finch_text texts[4];
    column words, c;
    column_make(&words, "u", 2, 3);
    words.buffers[1] = offsets, words.buffers[2] = data;
    column_make(&c, "C", 4, 2);
    c.schema.dictionary = &words.schema, c.array.dictionary = &words.array;
    c.buffers[0] = validity, c.buffers[1] = indices;
    CHECK_OK(finch_texts_from_arrow(&c.schema, &c.array, texts, &err), &err);
    check_text("sell", texts[0]);
    check_text("buy", texts[1]);
    CHECK(texts[2].at == NULL);
    /* Without the null, 255 is an index that the dictionary has not. */
    c.buffers[0] = NULL;
    CHECK_STATUS(FINCH_E_DATA, finch_texts_from_arrow(&c.schema, &c.array, texts, &err), &err);
    CHECK_EQUAL(3, err.row);
    c.schema.format = "s", c.array.length = 2, c.buffers[1] = wide;
    CHECK_STATUS(FINCH_E_DATA, finch_texts_from_arrow(&c.schema, &c.array, texts, &err), &err);
    CHECK_EQUAL(2, err.row);
    c.array.dictionary = NULL;
    CHECK_STATUS(FINCH_E_UNSUPPORTED, finch_texts_from_arrow(&c.schema, &c.array, texts, &err), &err);
    c.array.dictionary = &words.array, c.schema.format = "g";
    CHECK_STATUS(FINCH_E_UNSUPPORTED, finch_texts_from_arrow(&c.schema, &c.array, texts, &err), &err);
}

TEST(unsigned_indices_reach_the_upper_half)
{
    enum { WORDS = 200 };
    static int32_t offsets[WORDS + 1];
    static const uint8_t indices[] = {199, 0};
    finch_error err = {0};
    finch_text texts[2];
    column words, c;
    offsets[WORDS] = 4; /* all words are empty but the last */
    column_make(&words, "u", WORDS, 3);
    words.buffers[1] = offsets, words.buffers[2] = "last";
    column_make(&c, "C", 2, 2);
    c.schema.dictionary = &words.schema, c.array.dictionary = &words.array;
    c.buffers[1] = indices;
    CHECK_OK(finch_texts_from_arrow(&c.schema, &c.array, texts, &err), &err);
    check_text("last", texts[0]);
    check_text("", texts[1]);
}

TEST(broken_and_foreign_columns_are_refused)
{
    static const char data[] = "buyhold";
    static const int32_t backwards[] = {0, 5, 3}, negative[] = {-1, 3, 7}, offsets[] = {0, 3, 7};
    finch_error err = {0};
    finch_text texts[2];
    column c;
    column_make(&c, "u", 2, 3);
    c.buffers[1] = backwards, c.buffers[2] = data;
    CHECK_STATUS(FINCH_E_DATA, finch_texts_from_arrow(&c.schema, &c.array, texts, &err), &err);
    CHECK_EQUAL(2, err.row);
    c.buffers[1] = negative;
    CHECK_STATUS(FINCH_E_DATA, finch_texts_from_arrow(&c.schema, &c.array, texts, &err), &err);
    CHECK_EQUAL(1, err.row);
    c.buffers[1] = offsets, c.buffers[2] = NULL;
    CHECK_STATUS(FINCH_E_DATA, finch_texts_from_arrow(&c.schema, &c.array, texts, &err), &err);
    c.buffers[1] = NULL;
    CHECK_STATUS(FINCH_E_DATA, finch_texts_from_arrow(&c.schema, &c.array, texts, &err), &err);
    c.buffers[1] = offsets, c.buffers[2] = data, c.array.length = -1;
    CHECK_STATUS(FINCH_E_DATA, finch_texts_from_arrow(&c.schema, &c.array, texts, &err), &err);
    c.array.length = INT64_MAX, c.array.offset = INT64_MAX;
    CHECK_STATUS(FINCH_E_DATA, finch_texts_from_arrow(&c.schema, &c.array, texts, &err), &err);
    c.array.length = 2, c.array.offset = 0, c.array.n_buffers = 2;
    CHECK_STATUS(FINCH_E_DATA, finch_texts_from_arrow(&c.schema, &c.array, texts, &err), &err);
    c.array.n_buffers = 3;
    CHECK_STATUS(FINCH_E_USAGE, finch_texts_from_arrow(&c.schema, &c.array, NULL, &err), &err);
    CHECK_STATUS(FINCH_E_USAGE, finch_texts_from_arrow(NULL, &c.array, texts, &err), &err);
    c.schema.format = "z";
    CHECK_STATUS(FINCH_E_UNSUPPORTED, finch_texts_from_arrow(&c.schema, &c.array, texts, &err), &err);
    c.schema.format = "u", c.array.release = NULL;
    CHECK_STATUS(FINCH_E_USAGE, finch_texts_from_arrow(&c.schema, &c.array, texts, &err), &err);
}
