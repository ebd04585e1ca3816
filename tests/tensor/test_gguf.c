/* Against files that the gguf package wrote and what it reads from their blocks, and against damaged ones. */
#include "harness.h"

#include "base/file.h"
#include "tensor/gguf.h"
#include "tensor/weights.h"

#define EVERY FIXTURES "/gguf/every_type.gguf"

static gguf *open_every(void)
{
    gguf *g;
    finch_error err;
    CHECK_OK(gguf_open(EVERY, &g, &err), &err);
    return g;
}

TEST(every_block_type_has_the_references_bits)
{
    static const gguf_type types[] = {
#define TYPE(name, id, items, size_bytes) GGUF_##name,
        GGUF_TYPE_LIST(TYPE)
#undef TYPE
    };
    enum { COLUMNS = 512, ITEMS = 3 * COLUMNS };
    static float items[ITEMS];
    gguf *g = open_every();
    weights *expected;
    finch_error err;
    CHECK_OK(weights_open(FIXTURES "/gguf/every_type.safetensors", &expected, &err), &err);
    CHECK_EQUAL(sizeof types / sizeof types[0] + 1, gguf_count(g));
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        char name[32];
        size_t size = (size_t)snprintf(name, sizeof name, "%s.weight", gguf_type_name(types[i]));
        for (size_t k = 0; k < size; k++) name[k] = (char)(name[k] >= 'A' && name[k] <= 'Z' ? name[k] + 32 : name[k]);
        const gguf_tensor *t = gguf_find(g, name);
        const tensor *want = weights_find(expected, name);
        CHECK(t != NULL && want != NULL && t->type == types[i] && t->n_dims == 2 && t->dims[0] == 3 &&
              t->dims[1] == COLUMNS);
        CHECK_OK(gguf_to_f32(t, 0, ITEMS, items, &err), &err);
        if (memcmp(items, want->data, sizeof items) != 0) fail_msg("%s differs from the reference", name);
        CHECK_OK(gguf_to_f32(t, COLUMNS, COLUMNS, items, &err), &err);
        CHECK(memcmp(items, (const float *)want->data + COLUMNS, COLUMNS * sizeof(float)) == 0);
    }
    weights_close(expected);
    gguf_close(g);
}

TEST(items_are_taken_in_whole_blocks_inside_the_tensor)
{
    static float items[512];
    gguf *g = open_every();
    finch_error err;
    const gguf_tensor *t = gguf_find(g, "q6_k.weight"), *vector = gguf_find(g, "vector");
    CHECK_STATUS(FINCH_E_USAGE, gguf_to_f32(t, 128, 256, items, &err), &err);
    CHECK(strstr(err.message, "Q6_K") != NULL);
    CHECK_STATUS(FINCH_E_USAGE, gguf_to_f32(t, 0, 255, items, &err), &err);
    CHECK_STATUS(FINCH_E_USAGE, gguf_to_f32(t, 1536, 256, items, &err), &err);
    CHECK_STATUS(FINCH_E_USAGE, gguf_to_f32(t, 256, SIZE_MAX / 256 * 256, items, &err), &err);
    CHECK_OK(gguf_to_f32(vector, 2, 5, items, &err), &err);
    CHECK(vector->n_dims == 1 && items[0] == 2.0f && items[4] == 6.0f);
    gguf_close(g);
}

TEST(numbers_of_every_width_are_read)
{
    static const struct {
        const char *key;
        double value;
    } rows[] = {{"finch.uint8", 200},
                {"finch.int8", -100},
                {"finch.uint16", 60000},
                {"finch.int16", -30000},
                {"finch.uint32", 4000000000.0},
                {"finch.int32", -2000000000.0},
                {"finch.uint64", 1099511627777.0},
                {"finch.int64", -1099511627776.0},
                {"finch.float32", 0.5},
                {"finch.float64", 1e-300}};
    gguf *g = open_every();
    finch_error err;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        double value;
        size_t size;
        bool whole = rows[i].value >= 1;
        CHECK_OK(gguf_get_number(g, rows[i].key, &value, &err), &err);
        CHECK(value == rows[i].value);
        CHECK_STATUS(whole ? FINCH_OK : FINCH_E_DATA, gguf_get_size(g, rows[i].key, &size, &err), &err);
        CHECK(!whole || (double)size == rows[i].value);
    }
    gguf_close(g);
}

TEST(texts_truths_and_lists_are_read)
{
    gguf *g = open_every();
    finch_error err;
    finch_text text;
    bool truth;
    gguf_array list;
    double number;
    size_t n = 0;
    CHECK_OK(gguf_get_text(g, "finch.text", &text, &err), &err);
    CHECK(text.size_bytes == 10 && memcmp(text.at, "caf\xc3\xa9 \xf0\x9f\x92\xb9", 10) == 0);
    CHECK_OK(gguf_get_bool(g, "finch.yes", &truth, &err), &err);
    CHECK(truth);
    CHECK_OK(gguf_get_bool(g, "finch.no", &truth, &err), &err);
    CHECK(!truth);
    CHECK_OK(gguf_get_texts(g, "finch.texts", &list, &err), &err);
    static const size_t sizes[] = {1, 0, 3, 300};
    CHECK_EQUAL(4, list.n_left);
    while (gguf_next_text(&list, &text)) CHECK_EQUAL(sizes[n++], text.size_bytes);
    CHECK_EQUAL(4, n);
    static const double numbers[] = {1.5, -2.25, 3.0};
    CHECK_OK(gguf_get_numbers(g, "finch.numbers", &list, &err), &err);
    for (n = 0; gguf_next_number(&list, &number); n++) CHECK(number == numbers[n]);
    CHECK_EQUAL(3, n);
    CHECK_OK(gguf_get_numbers(g, "finch.wholes", &list, &err), &err);
    CHECK(gguf_next_number(&list, &number) && number == 3.0);
    gguf_close(g);
}

TEST(a_key_of_another_kind_is_named)
{
    gguf *g = open_every();
    finch_error err;
    finch_text text;
    double number;
    bool truth;
    gguf_array list;
    CHECK_STATUS(FINCH_E_DATA, gguf_get_number(g, "finch.text", &number, &err), &err);
    CHECK(strstr(err.message, "finch.text is not a number") != NULL);
    CHECK_STATUS(FINCH_E_DATA, gguf_get_text(g, "finch.uint8", &text, &err), &err);
    CHECK_STATUS(FINCH_E_DATA, gguf_get_bool(g, "finch.uint8", &truth, &err), &err);
    CHECK_STATUS(FINCH_E_DATA, gguf_get_texts(g, "finch.numbers", &list, &err), &err);
    CHECK_STATUS(FINCH_E_DATA, gguf_get_numbers(g, "finch.texts", &list, &err), &err);
    CHECK_STATUS(FINCH_E_DATA, gguf_get_number(g, "finch.nothing", &number, &err), &err);
    CHECK(strstr(err.message, "has no key finch.nothing") != NULL && !gguf_has(g, "finch.nothing"));
    gguf_close(g);
}

TEST(a_foreign_type_is_refused_by_name)
{
    gguf *g;
    finch_error err;
    CHECK_STATUS(FINCH_E_UNSUPPORTED, gguf_open(FIXTURES "/gguf/foreign.gguf", &g, &err), &err);
    CHECK(g == NULL && strstr(err.message, "odd.weight has the type IQ4_NL (20)") != NULL);
}

/* ---- files made by hand: a head, some keys, some tensors ---- */

typedef struct made {
    unsigned char at[512];
    size_t size;
} made;

static void put(made *m, const void *data, size_t size)
{
    CHECK(m->size + size <= sizeof m->at);
    if (size > 0) memcpy(m->at + m->size, data, size);
    m->size += size;
}

static void put_u32(made *m, uint32_t value) { put(m, &value, sizeof value); }
static void put_u64(made *m, uint64_t value) { put(m, &value, sizeof value); }

static void put_text(made *m, const char *text)
{
    put_u64(m, strlen(text));
    put(m, text, strlen(text));
}

static made head(uint32_t version, uint64_t n_tensors, uint64_t n_keys)
{
    made m = {.size = 0};
    put(&m, "GGUF", 4);
    put_u32(&m, version);
    put_u64(&m, n_tensors);
    put_u64(&m, n_keys);
    return m;
}

static void put_tensor(made *m, const char *name, uint64_t dim, uint32_t type, uint64_t offset)
{
    put_text(m, name);
    put_u32(m, 1);
    put_u64(m, dim);
    put_u32(m, type);
    put_u64(m, offset);
}

static void put_data(made *m, size_t size)
{
    static const unsigned char zeros[256];
    put(m, zeros, (32 - m->size % 32) % 32);
    put(m, zeros, size);
}

static void check_read(const made *m, finch_status status, const char *says)
{
    gguf *g;
    finch_error err = {0};
    CHECK_STATUS(status, gguf_read((bytes){m->at, m->size}, "made", &g, &err), &err);
    CHECK((g != NULL) == (status == FINCH_OK));
    if (strstr(err.message, says) == NULL) fail_msg("\"%s\" does not say \"%s\"", err.message, says);
    gguf_close(g);
}

TEST(lying_tensors_are_refused)
{
    static const struct {
        uint64_t dim;
        uint32_t type;
        uint64_t offset;
        finch_status status;
        const char *says;
    } rows[] = {
        {16, GGUF_F32, 0, FINCH_OK, ""},
        {17, GGUF_F32, 0, FINCH_E_DATA, "past the end"},
        {16, GGUF_F32, 32, FINCH_E_DATA, "past the end"},
        {8, GGUF_F32, 32, FINCH_OK, ""},
        {8, GGUF_F32, 16, FINCH_E_DATA, "alignment"},
        {8, GGUF_F32, UINT64_MAX - 31, FINCH_E_DATA, "past the end"},
        {UINT64_MAX, GGUF_F32, 0, FINCH_E_DATA, "no memory"},
        {16, GGUF_Q8_0, 0, FINCH_E_DATA, "whole number of blocks"},
        {32, GGUF_Q8_0, 0, FINCH_OK, ""},
        {16, 10, 0, FINCH_E_UNSUPPORTED, "Q2_K (10)"},
        {16, 4, 0, FINCH_E_UNSUPPORTED, "unknown (4)"},
        {16, UINT32_MAX, 0, FINCH_E_UNSUPPORTED, "unknown"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        made m = head(3, 1, 0);
        put_tensor(&m, "a", rows[i].dim, rows[i].type, rows[i].offset);
        put_data(&m, 64);
        check_read(&m, rows[i].status, rows[i].says);
    }
}

TEST(tensors_that_overlap_or_come_twice_are_refused)
{
    static const struct {
        const char *second;
        uint64_t offset;
        finch_status status;
        const char *says;
    } rows[] = {{"b", 32, FINCH_OK, ""},
                {"b", 0, FINCH_E_DATA, "overlaps"},
                {"a", 32, FINCH_E_DATA, "comes twice"},
                {"", 32, FINCH_E_DATA, "empty"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        made m = head(2, 2, 0);
        put_tensor(&m, "a", 8, GGUF_F32, 0);
        put_tensor(&m, rows[i].second, 8, GGUF_F32, rows[i].offset);
        put_data(&m, 64);
        check_read(&m, rows[i].status, rows[i].says);
    }
}

TEST(heads_and_keys_that_lie_are_refused)
{
    made m = head(1, 0, 0);
    check_read(&m, FINCH_E_UNSUPPORTED, "version 1");
    m = head(3u << 24, 0, 0);
    check_read(&m, FINCH_E_UNSUPPORTED, "big-endian");
    m = head(3, 0, 0);
    check_read(&m, FINCH_OK, "");
    m.at[0] = 'g';
    check_read(&m, FINCH_E_DATA, "no GGUF file");
    m = head(3, UINT64_MAX, 0);
    check_read(&m, FINCH_E_DATA, "tensors, more than it can hold");
    m = head(3, 0, UINT64_MAX);
    check_read(&m, FINCH_E_DATA, "keys, more than it can hold");
    m = head(3, 0, 1);
    put_u64(&m, UINT64_MAX);
    put_u64(&m, 0);
    check_read(&m, FINCH_E_DATA, "ends inside the name of a key");
    for (uint32_t kind = 8; kind < 15; kind++) {
        m = head(3, 0, 1);
        put_text(&m, "k");
        put_u32(&m, 9); /* a list */
        put_u32(&m, kind);
        put_u64(&m, UINT64_MAX / 4);
        check_read(&m, kind == 9 ? FINCH_E_UNSUPPORTED : FINCH_E_DATA,
                   kind == 9   ? "list of lists"
                   : kind > 12 ? "value type"
                               : "ends inside");
    }
    for (int twice = 0; twice < 2; twice++) {
        m = head(3, 0, 2);
        for (int i = 0; i < 2; i++) {
            put_text(&m, twice == 1 || i == 0 ? "k" : "l");
            put_u32(&m, 4);
            put_u32(&m, 7);
        }
        check_read(&m, twice == 1 ? FINCH_E_DATA : FINCH_OK, twice == 1 ? "key k twice" : "");
    }
    static const uint32_t alignments[] = {0, 3, 64, 2u << 20};
    for (size_t i = 0; i < 4; i++) {
        m = head(3, 0, 1);
        put_text(&m, "general.alignment");
        put_u32(&m, 4);
        put_u32(&m, alignments[i]);
        check_read(&m, i == 2 ? FINCH_OK : FINCH_E_DATA, i == 2 ? "" : "general.alignment");
    }
}

/* Every prefix of the file and every flipped bit before its data. */
TEST(a_damaged_file_never_leads_outside_it)
{
    static unsigned char copy[1 << 15];
    file_map map;
    finch_error err;
    size_t refused = 0;
    CHECK_OK(file_map_open(EVERY, &map, &err), &err);
    const bytes whole = map.content;
    CHECK(whole.size <= sizeof copy);
    memcpy(copy, whole.at, whole.size);
    gguf *g = open_every();
    size_t data_at = whole.size;
    for (size_t i = 0; i < gguf_count(g); i++) {
        size_t at = whole.size - (gguf_at(g, i)->size_bytes + 32); /* no tensor begins later than its size allows */
        if (at < data_at) data_at = at;
    }
    gguf_close(g);
    for (size_t i = 0; i < 8 * data_at + whole.size; i++) {
        bool flip = i < 8 * data_at;
        const bytes file = {copy, flip ? whole.size : i - 8 * data_at};
        if (flip) copy[i / 8] ^= (unsigned char)(1u << i % 8);
        finch_status st = gguf_read(file, "damaged", &g, &err);
        CHECK(st == FINCH_OK || st == FINCH_E_DATA || st == FINCH_E_UNSUPPORTED);
        if (!flip) CHECK(st != FINCH_OK || whole.size - file.size < 32); /* the writer pads behind the last tensor */
        refused += st != FINCH_OK;
        for (size_t k = 0; st == FINCH_OK && k < gguf_count(g); k++) {
            const gguf_tensor *t = gguf_at(g, k);
            CHECK(t->data >= file.at && t->size_bytes <= file.size - (size_t)(t->data - file.at));
        }
        gguf_close(g);
        if (flip) copy[i / 8] ^= (unsigned char)(1u << i % 8);
    }
    CHECK(refused > whole.size);
    file_map_close(&map);
}

TEST(running_out_of_memory_or_files_is_a_status)
{
    static const fault_kind kinds[] = {FAULT_ALLOC, FAULT_OPEN};
    for (size_t i = 0; i < 2; i++) {
        bool struck = true;
        int nth = 1;
        for (; struck; nth++) {
            gguf *g;
            finch_error err;
            fault_arm(kinds[i], nth);
            finch_status st = gguf_open(EVERY, &g, &err);
            struck = fault_disarm();
            CHECK_EQUAL(struck ? (i == 0 ? FINCH_E_MEMORY : FINCH_E_IO) : FINCH_OK, st);
            CHECK((g == NULL) == struck);
            gguf_close(g);
        }
        CHECK(nth > 2);
    }
}
