/* DuckDB's reader is the reference: what it makes of a file is what must come out, value for value. */
#include "data/csv_rows.h"

#include "base/rng.h"
#include "data/relation.h"

#include "harness.h"

static finch_error err;

typedef struct opened {
    data_database db;
    data_relation *relation;
    data_csv_rows *rows; /* NULL: not to be read so */
    data_column_kind kinds[16];
} opened;

static void open_files(const char *const *paths, size_t n, const char *text_column, opened *o)
{
    data_source source = {.inputs = paths, .n_inputs = n};
    *o = (opened){0};
    CHECK_OK(data_database_open(&o->db, &err), &err);
    CHECK_OK(data_relation_open(&o->db, &source, &(data_relation_options){true, text_column, NULL}, &o->relation, &err),
             &err);
    CHECK_OK(data_relation_csv_rows(o->relation, &o->rows, &err), &err);
    for (size_t i = 0; o->rows != NULL && i < data_relation_columns(o->relation)->n; i++)
        o->kinds[i] = data_csv_rows_kind(o->rows, i);
}

static void close_files(opened *o)
{
    data_csv_rows_close(o->rows);
    data_relation_close(o->relation);
    data_database_close(&o->db);
}

/* The next rows as a block; NULL at the end. */
static data_block *next_block(const opened *o, str *records)
{
    size_t n = 0;
    data_block *block;
    CHECK_OK(data_csv_rows_next(o->rows, records, &n, &err), &err);
    if (n == 0) return NULL;
    CHECK(n <= DATA_CSV_PIECE_ROWS);
    CHECK_OK(data_block_open(o->kinds, data_relation_columns(o->relation)->n, DATA_CSV_PIECE_ROWS, &block, &err), &err);
    CHECK_OK(data_csv_rows_parse(o->rows, records, block, &err), &err);
    CHECK_EQUAL(n, block->columns[0].n);
    return block;
}

static bool is_valid(const data_column *c, size_t row) { return c->valid[row / 8] >> row % 8 & 1; }

static bool same_value(const data_column *c, size_t row, duckdb_vector vector, idx_t at)
{
    static const size_t sizes[] = {
        [DATA_COLUMN_INTEGER] = 8, [DATA_COLUMN_REAL] = 8, [DATA_COLUMN_DATE] = 4, [DATA_COLUMN_TIME] = 8};
    uint64_t *valid = duckdb_vector_get_validity(vector);
    const char *data = duckdb_vector_get_data(vector);
    bool there = valid == NULL || duckdb_validity_row_is_valid(valid, at);
    if (!there || !is_valid(c, row)) return there == is_valid(c, row);
    if (c->kind == DATA_COLUMN_BOOLEAN) return (((const uint8_t *)c->values)[row / 8] >> row % 8 & 1) == (data[at] != 0);
    if (c->kind != DATA_COLUMN_TEXT)
        return memcmp((const char *)c->values + row * sizes[c->kind], data + at * sizes[c->kind], sizes[c->kind]) == 0;
    finch_text a = data_column_text(c, row), b = data_vector_text((const duckdb_string_t *)(const void *)data, at);
    return a.size_bytes == b.size_bytes && memcmp(a.at, b.at, a.size_bytes) == 0;
}

/* Returns the number of rows. */
static size_t hold_against_duckdb(const char *const *paths, size_t n_paths, const char *text_column)
{
    opened o;
    duckdb_result result;
    str records = {0};
    size_t n_rows = 0;
    open_files(paths, n_paths, text_column, &o);
    CHECK(o.rows != NULL);
    CHECK_OK(data_query(&o.db, data_relation_sql(o.relation), &result, &err), &err);
    data_cursor cursor = {.result = &result};
    for (data_block *block; (block = next_block(&o, &records)) != NULL; data_block_close(block)) {
        for (size_t row = 0; row < block->columns[0].n; row++, n_rows++) {
            CHECK(data_cursor_step(&cursor));
            for (size_t c = 0; c < block->n_columns; c++) {
                bool same = same_value(&block->columns[c], row, duckdb_data_chunk_get_vector(cursor.chunk, c), cursor.row);
                if (!same) printf("row %zu, column %zu\n", n_rows, c);
                CHECK(same);
            }
        }
    }
    CHECK(!data_cursor_step(&cursor));
    CHECK_EQUAL(data_relation_rows(o.relation), n_rows);
    data_cursor_close(&cursor);
    duckdb_destroy_result(&result);
    str_free(&records);
    close_files(&o);
    return n_rows;
}

static size_t hold_text(const char *text, size_t size)
{
    const char *path = harness_file("a.csv", text, size);
    return hold_against_duckdb(&path, 1, NULL);
}

#define HOLD(text) hold_text(text, sizeof text - 1)

TEST(every_type_and_null_is_what_duckdb_makes_of_it)
{
    CHECK_EQUAL(3, HOLD("i,r,b,d,t,s\n"
                        "-9223372036854775808,-1.50e-7,true,2012-02-29,1969-12-31 23:59:59.000001,a\n"
                        "9223372036854775807,0.1,FALSE,0001-01-01,2014-01-01T10:11:12.5,\"b \"\"c\"\"\"\n"
                        "0,-0,True,1600-03-01,9999-12-31 00:00:00,\"\"\"\"\n"));
    CHECK_EQUAL(3,
                HOLD("i,r,b,d,t,s\n,,,,,\n\"1\",\"2.5\",\"true\",\"2014-01-01\",\"2014-01-01 00:00:00\",\"\"\n,,,,,\"\"\n"));
    CHECK_EQUAL(2, HOLD("a,b\r\n1,\"x\r\ny\"\r\n2, z \r\n"));
    CHECK_EQUAL(2, HOLD("\xEF\xBB\xBF\"a\",b\n1,x\n2,y"));
    CHECK_EQUAL(2, HOLD("a;b\n1;\"x;y\"\n2;z,\n"));
    CHECK_EQUAL(1, HOLD("a,b\n007,caf\xC3\xA9 \xF0\x9F\x9A\x80\n"));
    CHECK_EQUAL(2, HOLD("a,b\nx\0y,1\n\"\0\",2\n")); /* NUL bytes are text */
}

TEST(days_and_times_of_all_years)
{
    str text = {0};
    rng r = {5, 1, 0};
    CHECK_OK(str_add_text(&text, "d,t\n", &err), &err);
    for (int i = 0; i < 3000; i++) {
        unsigned year = 1 + (unsigned)rng_below(&r, 9999), month = 1 + (unsigned)rng_below(&r, 12);
        unsigned day = 1 + (unsigned)rng_below(&r, 28), second = (unsigned)rng_below(&r, 86400);
        CHECK_OK(str_add_format(&text, &err, "%04u-%02u-%02u,%04u-%02u-%02u %02u:%02u:%02u.%0*u\n", year, month, day, year,
                                month, day, second / 3600, second / 60 % 60, second % 60, 1 + i % 6, i % 10),
                 &err);
    }
    CHECK_EQUAL(3000, hold_text(text.at, text.size));
    str_free(&text);
}

TEST(whole_numbers_of_any_size_and_what_is_none)
{
    int64_t n;
    CHECK(narrow_integer("-9223372036854775808", 20, &n) && n == INT64_MIN);
    CHECK(narrow_integer("9223372036854775807", 19, &n) && n == INT64_MAX);
    CHECK(narrow_integer("0", 1, &n) && n == 0);
    CHECK(narrow_integer("-10", 3, &n) && n == -10);
    static const char *const none[] = {"",
                                       "-",
                                       "-0",
                                       "00",
                                       "-01",
                                       "1-",
                                       "+1",
                                       " 1",
                                       "1 ",
                                       "1:",
                                       "1/",
                                       "9223372036854775808",
                                       "-9223372036854775809",
                                       "12345678901234567890"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) CHECK(!narrow_integer(none[i], strlen(none[i]), &n));
}

/* Of several files, over several pieces, with quotes, separators and line ends at any place of a block. */
TEST(random_files_are_read_as_duckdb_reads_them)
{
    static const char *const texts[] = {"\"a \"\"quoted\"\" text,\nof two lines\"",
                                        "plain",
                                        "\"\"",
                                        "",
                                        "\"\n\n\n\"",
                                        "\"\"\"\"",
                                        "\"and, again, a long one that is in quotes for no reason but its commas\"",
                                        "caf\xC3\xA9"};
    static const size_t sizes[] = {1, 2047, 2048, 2049, 4096, 9000};
    rng r = {41, 1, 0};
    for (size_t turn = 0; turn < sizeof sizes / sizeof sizes[0]; turn++) {
        const char *paths[2];
        for (size_t file = 0; file < 2; file++) {
            str text = {0};
            const char *end = turn % 2 == 0 ? "\n" : "\r\n";
            CHECK_OK(str_add_format(&text, &err, "a,b,c,d%s", end), &err);
            for (size_t row = 0; row < sizes[turn]; row++)
                CHECK_OK(str_add_format(&text, &err, "%zu,%s,%s,%g%s", row, texts[rng_below(&r, 8)], texts[rng_below(&r, 8)],
                                        (double)rng_below(&r, 1000) / 8, file == 1 && row + 1 == sizes[turn] ? "" : end),
                         &err);
            paths[file] = harness_file(file == 0 ? "a.csv" : "b.csv", text.at, text.size);
            str_free(&text);
        }
        CHECK_EQUAL(2 * sizes[turn], hold_against_duckdb(paths, 2, "b"));
    }
}

/* A piece of wide rows is cut by its bytes: 2,048 rows of a megabyte would be two gigabytes. */
TEST(pieces_of_wide_rows_are_small)
{
    enum { ROWS = 20, ROW_BYTES = 300000 };
    str text = {0}, records = {0};
    opened o;
    size_t n = 1, n_rows = 0;
    CHECK_OK(str_add_text(&text, "a,b\n", &err), &err);
    for (int i = 0; i < ROWS; i++) CHECK_OK(str_add_format(&text, &err, "%d,%0*d\n", i, ROW_BYTES, i), &err);
    const char *path = harness_file("a.csv", text.at, text.size);
    CHECK_EQUAL(ROWS, hold_against_duckdb(&path, 1, "b"));
    open_files(&path, 1, "b", &o);
    for (; n > 0; n_rows += n) {
        CHECK_OK(data_csv_rows_next(o.rows, &records, &n, &err), &err);
        CHECK(n <= 4);
    }
    CHECK_EQUAL(ROWS, n_rows);
    close_files(&o);
    str_free(&records);
    str_free(&text);
}

TEST(what_duckdb_has_to_read_is_left_to_it)
{
    static const struct {
        const char *a, *b;
    } files[] = {
        {"a,b\n1,2\n", "a,c\n1,2\n"},               /* other columns */
        {"a,b\n1,2\n", "a;b\n1;2\n"},               /* another separator */
        {"a,b\n1,2\n", "a,b\n1,2\n1\n"},            /* a broken row */
        {"a,b\n1,2\n", "a,b\n1,caf\xE9\n"},         /* latin-1 */
        {"a,b\n1,2\n", "a,b\n1,0000-01-01\n"},      /* a value that narrow_of is not sure of */
    };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        opened o;
        const char *paths[] = {harness_file("a.csv", files[i].a, strlen(files[i].a)),
                               harness_file("b.csv", files[i].b, strlen(files[i].b))};
        open_files(paths, 2, NULL, &o);
        CHECK(o.rows == NULL);
        close_files(&o);
    }
}

/* The file is another one by the time its rows are read: an error, whatever stands there now. */
TEST(a_file_that_changed_behind_the_scan_is_told)
{
    static const char *const after[] = {"i,s\n1,a\n2\n", "i,s\n1,a\n2,b,c\n", "i,s\nx,a\n2,b\n", "i,s\n1,a\n2,\"b\n",
                                        "i,s\n1,a\n2,\"\"\"\n"};
    for (size_t i = 0; i < sizeof after / sizeof after[0]; i++) {
        opened o;
        str records = {0};
        size_t n = 0;
        data_block *block;
        const char *path = harness_file("a.csv", "i,s\n1,a\n2,b\n", 12);
        open_files(&path, 1, NULL, &o);
        CHECK(o.rows != NULL);
        (void)harness_file("a.csv", after[i], strlen(after[i]));
        finch_status st = data_csv_rows_next(o.rows, &records, &n, &err);
        CHECK_OK(data_block_open(o.kinds, 2, DATA_CSV_PIECE_ROWS, &block, &err), &err);
        if (st == FINCH_OK) st = data_csv_rows_parse(o.rows, &records, block, &err);
        CHECK_EQUAL(FINCH_E_DATA, st);
        CHECK(strstr(err.message, "changed while it was read") != NULL);
        data_block_close(block);
        str_free(&records);
        close_files(&o);
    }
}

/* More rows than a block has room for are not written past its end. */
TEST(a_piece_with_too_many_rows_is_refused)
{
    str records = {0};
    opened o;
    data_block *block;
    const char *path = harness_file("a.csv", "i,s\n1,a\n", 8);
    open_files(&path, 1, NULL, &o);
    for (int i = 0; i <= DATA_CSV_PIECE_ROWS; i++) CHECK_OK(str_add_text(&records, "1,a\n", &err), &err);
    CHECK_OK(data_block_open(o.kinds, 2, DATA_CSV_PIECE_ROWS, &block, &err), &err);
    CHECK_STATUS(FINCH_E_DATA, data_csv_rows_parse(o.rows, &records, block, &err), &err);
    data_block_close(block);
    str_free(&records);
    close_files(&o);
}
