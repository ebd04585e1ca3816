/* The store that the tests of this room work on: SQLite in the test's folder, or with FINCH_TEST_POSTGRES (a URL of a database
 * to be emptied) PostgreSQL, as tests/store/test_postgres.py runs them. */
#ifndef FINCH_TESTS_STORE_TEST_H
#define FINCH_TESTS_STORE_TEST_H

#include "harness.h"

#include "store/store.h"

#include <stdlib.h>

static finch_error err;
static store *s;

static const char *test_postgres(void) { return getenv("FINCH_TEST_POSTGRES"); }

static char test_path[512]; /* of this test, from test_begin on only read: threads ask for it */

static const char *test_place(void)
{
    if (test_postgres() != NULL) return test_postgres();
    if (test_path[0] == '\0') snprintf(test_path, sizeof test_path, "%s/s.sqlite", harness_folder());
    return test_path;
}

/* An empty store in s. PostgreSQL's tables are emptied; SQLite's file is a new one for each test. */
static void test_begin(void)
{
    static const sql_statement empty = {
        "SELECT 1",
        "DO $$ DECLARE name text; BEGIN FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND "
        "tablename NOT IN ('finch_schema', 'store_counter', 'history_part') LOOP EXECUTE 'DELETE FROM ' || name; END LOOP; "
        "UPDATE "
        "store_counter SET value = 0; END $$"};
    CHECK_OK(store_open(test_place(), &s, &err), &err);
    CHECK_OK(store_run(s, &empty, NULL, 0, NULL, NULL, NULL, &err), &err);
}

static void test_end(void)
{
    store_close(s);
    test_path[0] = '\0';
}

/* One number of the store. sql is a constant: SQLite keeps statements by the address of their text. */
static inline int64_t test_number(const char *sql)
{
    sql_statement look = {sql, NULL};
    int64_t value = 0;
    CHECK_OK(store_run(s, &look, NULL, 0, sql_take_integer, &value, NULL, &err), &err);
    return value;
}

static inline void test_run(const char *sql)
{
    sql_statement statement = {sql, NULL};
    CHECK_OK(store_run(s, &statement, NULL, 0, NULL, NULL, NULL, &err), &err);
}

#endif
