#include "harness.h"

#include "base/clock.h"
#include "base/file.h"

#include <dirent.h>
#include <stdlib.h>
#include <unistd.h>

enum { TESTS_MAX = 512 };

static struct CMUnitTest tests[TESTS_MAX];
static void (*bodies[TESTS_MAX])(void);
static size_t n_tests;
static char folder[64];

void harness_near(double expected, double actual, double tolerance, const char *file, int line)
{
    if (fabs(expected - actual) <= tolerance) return; /* NaN fails */
    print_error("%.17g is not within %g of %.17g\n", actual, tolerance, expected);
    _fail(file, line);
}

void harness_status(finch_status expected, finch_status actual, const finch_error *err, const char *file, int line)
{
    if (expected == actual) return;
    print_error("expected %s, got %s: %s\n", finch_status_name(expected), finch_status_name(actual),
                actual == FINCH_OK || err == NULL ? "" : err->message);
    _fail(file, line);
}

const char *harness_folder(void)
{
    if (folder[0] == '\0') {
        strcpy(folder, "finch-test-XXXXXX");
        if (mkdtemp(folder) == NULL) fail_msg("a temporary folder could not be made");
    }
    return folder;
}

const char *harness_file(const char *name, const char *content, size_t size)
{
    static char paths[4][200];
    static int next;
    char *path = paths[next++ % 4];
    finch_error err = {0};
    snprintf(path, sizeof paths[0], "%s/%s", harness_folder(), name);
    CHECK_OK(file_write(path, content, size, &err), &err);
    return path;
}

static size_t open_descriptors(void)
{
    size_t n = 0;
    DIR *dir = opendir("/proc/self/fd");
    if (dir == NULL) return 0;
    while (readdir(dir) != NULL) n++;
    closedir(dir);
    return n;
}

/* Threads that end meanwhile may have a file open for a moment: the first of a process reads libgcc_s. */
static bool descriptors_left(size_t n)
{
    for (int i = 0; i < 200; i++) {
        if (open_descriptors() <= n) return false;
        clock_sleep(0.005);
    }
    return true;
}

static void run_body(void **state)
{
    void (*body)(void) = bodies[(size_t)(uintptr_t)*state];
    int64_t live = mem_count().live;
    size_t descriptors = open_descriptors();
    body();
    fault_disarm();
    if (mem_count().live != live) fail_msg("%lld blocks of memory were not freed", (long long)(mem_count().live - live));
    if (descriptors_left(descriptors)) fail_msg("a file was left open");
}

/* Also after a failed test, so that the next one does not meet its files. */
static int clean_up(void **state)
{
    (void)state;
    fault_disarm();
    if (folder[0] != '\0') (void)file_remove_tree(folder, NULL);
    folder[0] = '\0';
    return 0;
}

void harness_register(const char *name, void (*run)(void))
{
    if (n_tests == TESTS_MAX) abort();
    bodies[n_tests] = run;
    tests[n_tests] = (struct CMUnitTest){
        .name = name, .test_func = run_body, .teardown_func = clean_up, .initial_state = (void *)(uintptr_t)n_tests};
    n_tests++;
}

int main(void)
{
    if (n_tests == 0) return 1;
    return _cmocka_run_group_tests("finch", tests, n_tests, NULL, NULL) == 0 ? 0 : 1;
}
