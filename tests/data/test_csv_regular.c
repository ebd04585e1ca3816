#include "data/csv_regular.h"

#include "base/file.h"
#include "base/rng.h"
#include "data/scan.h"

#include "harness.h"

#include <omp.h>

enum { COLUMNS = 3 };

static const char *write_text(const char *text, size_t size)
{
    static char path[512];
    finch_error err = {0};
    snprintf(path, sizeof path, "%s/a.csv", harness_folder());
    CHECK_OK(file_write(path, text, size, &err), &err);
    return path;
}

typedef struct outcome {
    data_scan fast, careful;
    narrow_set types[COLUMNS];
    bool regular;
    finch_status careful_status;
    size_t n_rejects;
} outcome;

static outcome scan_both(const char *text, size_t size)
{
    outcome o = {0};
    finch_error err = {0};
    data_rejects rejects = {0};
    data_dialect dialect = {.separator = ',', .escape = '"'};
    const char *path = write_text(text, size);
    data_file file = {
        .path = path, .kind = {DATA_CSV, DATA_PLAIN}, .encoding = "utf-8", .max_line_bytes = DATA_LINE_MAX_BYTES};
    for (size_t i = 0; i < COLUMNS; i++) CHECK_OK(data_names_add(&dialect.columns, &"abc"[i], 1, &err), &err);
    CHECK_OK(data_csv_scan_regular(&file, &dialect, NULL, &o.fast, o.types, &o.regular, &err), &err);
    o.careful_status = data_csv_scan(&file, &dialect, NULL, &rejects, NULL, &o.careful, &err);
    o.n_rejects = rejects.n;
    data_rejects_free(&rejects);
    data_dialect_free(&dialect);
    return o;
}

static outcome scan_text(const char *text) { return scan_both(text, strlen(text)); }

/* Where the fast scan says regular, the careful one finds the same rows and nothing to say against them. */
static void hold_against(const outcome *o, const char *text)
{
    if (!o->regular) return;
    bool same = o->careful_status == FINCH_OK && o->n_rejects == 0 && !o->careful.irregular &&
                o->fast.n_rows == o->careful.n_rows && o->fast.lines_in_quotes == o->careful.lines_in_quotes;
    if (!same) printf("differs on <<<%s>>>\n", text);
    CHECK(same);
}

TEST(regular_files_are_seen_as_such)
{
    static const struct {
        const char *text;
        uint64_t n_rows;
    } files[] = {
        {"a,b,c\n1,2,3\n", 1},
        {"a,b,c\n1,2,3", 1},
        {"a,b,c\r\n1,2,3\r\n4,5,6\r\n", 2},
        {"a,b,c\n\"1\",\"x, \"\"y\"\"\nz\",\"\"\n,,\n", 2},
        {"a,b,c\n1,\"\r\",3\n", 1},
        {"\xEF\xBB\xBF"
         "a,b,c\n1,2,3\n",
         1},
        {"a,b,c\n", 0},
        {"a,b,c\n\"\"\"\",caf\xC3\xA9,\xF0\x9F\x9A\x80\n", 1},
    };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        outcome o = scan_text(files[i].text);
        CHECK(o.regular);
        CHECK_EQUAL(files[i].n_rows, o.fast.n_rows);
        hold_against(&o, files[i].text);
    }
}

TEST(anything_else_is_left_to_the_careful_scan)
{
    static const char *const files[] = {
        "a,b,c\n1,2\n",     "a,b,c\n1,2,3,4\n", "a,b,c\n1,\"2\"x,3\n",       "a,b,c\n1,x\"2\",3\n", "a,b,c\n1,\"2,3\n",
        "a,b,c\n1,2,3\r\n", "a,b,c\r1,2,3\r",   "a,b,c\n\n1,2,3\n",          "\na,b,c\n1,2,3\n",    "a,b,c\n1,caf\xE9,3\n",
        "a,b,c\n1,2,3\n\n", "a,b,c\n1,2,\xC3",  "a,b,c\r\n1,2,3\r\n4,5,6\r", "a,b,c\n1,\"2\" ,3\n", "",
    };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        outcome o = scan_text(files[i]);
        if (o.regular) printf("taken as regular: <<<%s>>>\n", files[i]);
        CHECK(!o.regular);
    }
}

/* Every place in a block, every kind of neighbour: whatever comes out, the two scans agree. */
TEST(random_files_are_read_as_the_careful_scan_reads_them)
{
    static const char *const pieces[] = {"a",        ",",         ",",
                                         "\"",       "\"\"",      "\n",
                                         "\n",       "\r\n",      "\r",
                                         "\xC3\xA9", "\xE9",      "x,y",
                                         "\"q,\n\"", "1,2,3\n",   "1,\"2\",3\n",
                                         "4,5,6\n",  "7,8,9\r\n", "a long text of a tweet that goes past a block of bytes"};
    rng r = {27, 1, 0};
    size_t n_regular = 0;
    for (int turn = 0; turn < 4000; turn++) {
        char text[700];
        size_t size = 0, n = rng_below(&r, 24);
        size += (size_t)snprintf(text, sizeof text, "a,b,c%s", turn % 3 == 0 ? "\r\n" : "\n");
        for (size_t i = 0; i < n; i++) {
            bool tame = turn % 2 == 0; /* whole rows only, but for a wild piece now and then */
            size_t pick = tame && rng_below(&r, 40) > 0 ? (turn % 3 == 0 ? 16 : 13 + rng_below(&r, 3))
                                                        : rng_below(&r, sizeof pieces / sizeof pieces[0]);
            size += (size_t)snprintf(text + size, sizeof text - size, "%s", pieces[pick]);
            if (size >= sizeof text - 80) break;
        }
        outcome o = scan_both(text, size);
        hold_against(&o, text);
        n_regular += o.regular;
    }
    CHECK(n_regular > 500 && n_regular < 3500);
}

/* Rows of 1 to 120 bytes with line ends and quotes in them, over as many pieces as the scan takes at once and more. */
static char *write_rows(size_t size, rng *r, size_t *n_rows)
{
    static const char *const texts[] = {"\"a \"\"quoted\"\" text,\nof two lines\"",
                                        "plain",
                                        "\"\"",
                                        "",
                                        "\"\n\n\n\"",
                                        "\"and, again, a long one that is in quotes for no reason but its commas\"",
                                        "caf\xC3\xA9"};
    finch_error err = {0};
    char *text;
    CHECK_OK(mem_alloc(size + 200, 1, (void **)&text, &err), &err);
    size_t at = (size_t)snprintf(text, 200, "a,b,c\n");
    for (*n_rows = 0; at < size; ++*n_rows)
        at += (size_t)snprintf(text + at, 200, "%zu,%s,%s\n", *n_rows, texts[rng_below(r, 7)], texts[rng_below(r, 7)]);
    text[at] = '\0';
    return text;
}

TEST(a_file_of_many_pieces_is_read_as_one)
{
    enum { SIZE = 5 << 20, TURNS = 4 };
    rng r = {31, 1, 0};
    for (int turn = 0; turn < TURNS; turn++) {
        size_t n_rows;
        char *text = write_rows(SIZE, &r, &n_rows);
        omp_set_num_threads(1 + turn % 3);
        outcome o = scan_text(text);
        CHECK(o.regular);
        CHECK_EQUAL(n_rows, o.fast.n_rows);
        CHECK_EQUAL(o.careful.n_rows, o.fast.n_rows);
        CHECK_EQUAL(1u << NARROW_INTEGER | 1u << NARROW_REAL | NARROW_SEEN, o.types[0]);
        CHECK_EQUAL(NARROW_SEEN, o.types[1]);
        size_t at = rng_below(&r, strlen(text)); /* one byte that does not belong there, in any piece */
        text[at] = text[at] == '\x80' ? '"' : '\x80';
        o = scan_text(text);
        CHECK(!o.regular);
        hold_against(&o, "a file of 5 MB");
        mem_free(text);
    }
}

/* Where a quote opens and never closes, nothing behind it may be taken for rows. */
TEST(a_quote_that_stays_open_is_seen_in_any_piece)
{
    rng r = {33, 1, 0};
    size_t n_rows;
    char *text = write_rows(3 << 20, &r, &n_rows);
    static const char end[] = ",plain,plain\n"; /* behind it a row begins */
    char *late = strstr(text + (5 << 19), end);
    CHECK(late != NULL);
    late[sizeof end - 1] = '"';
    outcome o = scan_text(text);
    CHECK(!o.regular);
    mem_free(text);
}

static narrow_set type_of(const char *value)
{
    char text[200];
    snprintf(text, sizeof text, "a,b,c\n%s,x,\n", value);
    outcome o = scan_text(text);
    CHECK(o.regular);
    CHECK_EQUAL(NARROW_SEEN, o.types[1]);
    CHECK_EQUAL(NARROW_ALL, o.types[2]); /* nulls alone */
    CHECK((o.types[0] & NARROW_SEEN) != 0);
    return o.types[0] & ~(narrow_set)NARROW_SEEN;
}

TEST(values_have_the_types_that_the_rules_give_them)
{
    enum {
        INTEGER = 1 << NARROW_INTEGER,
        REAL = 1 << NARROW_REAL,
        BOOLEAN = 1 << NARROW_BOOLEAN,
        DATE = 1 << NARROW_DATE,
        TIME = 1 << NARROW_TIME
    };
    static const struct {
        const char *value;
        narrow_set types;
    } values[] = {
        {"0", INTEGER | REAL},
        {"-1", INTEGER | REAL},
        {"\"12\"", INTEGER | REAL},
        {"-0", REAL},
        {"007", 0},
        {"+1", 0},
        {" 1", 0},
        {"1 ", 0},
        {"-", 0},
        {"9223372036854775807", INTEGER},
        {"9223372036854775808", 0},
        {"-9223372036854775808", INTEGER},
        {"12345678901234567", INTEGER | REAL},
        {"123456789012345678", INTEGER},
        {"12345678901234567890", 0},
        {"1.5", REAL},
        {"1.", 0},
        {".5", 0},
        {"-1.50e-7", REAL},
        {"1e", 0},
        {"1e5", REAL},
        {"01.5", 0},
        {"1.2345678901234567", 0},
        {"true", BOOLEAN},
        {"FALSE", BOOLEAN},
        {"yes", 0},
        {"nan", 0},
        {"inf", 0},
        {"2014-01-01", DATE},
        {"2014-02-29", 0},
        {"2012-02-29", DATE},
        {"1900-02-29", 0},
        {"2014-13-01", 0},
        {"2014-1-1", 0},
        {"2014/01/01", 0},
        {"2014-01-01 10:11:12", TIME},
        {"2014-01-01T10:11:12.123456", TIME},
        {"2014-01-01 10:11:12.", 0},
        {"2014-01-01 10:11", 0},
        {"2014-01-01 10:11:12Z", 0},
        {"2014-02-30 10:11:12", 0},
        {"2014-01-01 10:11:12.1234567", 0},
    };
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        narrow_set found = type_of(values[i].value);
        if (found != values[i].types) printf("%s: %x\n", values[i].value, found);
        CHECK_EQUAL(values[i].types, found);
    }
    static const char *const unsure[] = {"1e999", "1e-400", "0000-01-01", "2014-01-01 24:00:00", "2014-01-01 10:11:60"};
    for (size_t i = 0; i < sizeof unsure / sizeof unsure[0]; i++) CHECK((type_of(unsure[i]) & NARROW_UNSURE) != 0);
}

TEST(a_column_has_the_types_of_all_its_values)
{
    outcome o = scan_text("a,b,c\n1,true,2014-01-01\n,false,\n2.5,\"true\",2014-01-02\n");
    CHECK(o.regular);
    CHECK_EQUAL(NARROW_SEEN | 1u << NARROW_REAL, o.types[0]);
    CHECK_EQUAL(NARROW_SEEN | 1u << NARROW_BOOLEAN, o.types[1]);
    CHECK_EQUAL(NARROW_SEEN | 1u << NARROW_DATE, o.types[2]);
}

TEST(records_past_the_limit_are_not_regular)
{
    char *text;
    size_t size = DATA_LINE_MAX_BYTES + 100;
    CHECK_OK(mem_alloc(size, 1, (void **)&text, NULL), NULL);
    memset(text, 'x', size);
    memcpy(text, "a,b,c\n1,2,", 10);
    text[size - 1] = '\n';
    CHECK(!scan_both(text, size).regular);
    text[10 + DATA_LINE_MAX_BYTES - 4] = '\n'; /* 4 bytes stand before: the record has the limit's size */
    memcpy(text + size - 6, "1,2,3\n", 6);
    mem_free(text);
}
