/* Tests register themselves: TEST(name) { ... CHECK(...) ... }. One process a file, cmocka runs and reports.
 * After each test the harness compares the library's live allocations and the process's open descriptors with the
 * start of the test: a leak is a failure. */
#ifndef FINCH_TESTS_HARNESS_H
#define FINCH_TESTS_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/fault.h"
#include "base/mem.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

void harness_register(const char *name, void (*run)(void));

#define TEST(name)                                                                                           \
    static void test_##name(void);                                                                           \
    __attribute__((constructor)) static void register_##name(void) { harness_register(#name, test_##name); } \
    static void test_##name(void)

#define CHECK(condition) _assert_true((condition) ? 1u : 0u, #condition, __FILE__, __LINE__)
#define CHECK_EQUAL(expected, actual) assert_int_equal((expected), (actual))
#define CHECK_TEXT(expected, actual) assert_string_equal((expected), (actual))
#define CHECK_NEAR(expected, actual, tolerance) \
    harness_near((double)(expected), (double)(actual), (double)(tolerance), __FILE__, __LINE__)
/* The status, and on a surprise the message that came with it. */
#define CHECK_STATUS(expected, call, err) harness_status((expected), (call), (err), __FILE__, __LINE__)
#define CHECK_OK(call, err) CHECK_STATUS(FINCH_OK, (call), (err))

void harness_near(double expected, double actual, double tolerance, const char *file, int line);
void harness_status(finch_status expected, finch_status actual, const finch_error *err, const char *file, int line);

/* A fresh empty folder for this test, removed at its end; valid until then. */
const char *harness_folder(void);
/* A file of that folder with the content; its path, valid until the fourth call from here. */
const char *harness_file(const char *name, const char *content, size_t size);

#endif
