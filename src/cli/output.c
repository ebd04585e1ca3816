/* What the program says: people's text on stderr, machines' on stdout. */
#include "cli/output.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static const char *running = "";

void output_begin(const char *command) { running = command; }

void output_error(const char *message)
{
    fprintf(stderr, running[0] == '\0' ? "finch%s: %s\n" : "finch %s: %s\n", running, message);
}

void cli_say(const cli_args *args, const char *format, ...)
{
    va_list list;
    if (cli_flag(args, "quiet")) return;
    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
}

void cli_warn(const cli_args *args, const char *format, ...)
{
    va_list list;
    if (cli_flag(args, "quiet")) return;
    fprintf(stderr, "finch %s: warning: ", running);
    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
    fputc('\n', stderr);
}

bool cli_wants_json(const cli_args *args) { return cli_flag(args, "json"); }

finch_status cli_print(const char *text, size_t size, finch_error *err)
{
    char reason[128] = "";
    errno = 0;
    if (fwrite(text, 1, size, stdout) == size && fflush(stdout) == 0) return FINCH_OK;
    int code = errno;
    if (code == EPIPE) return finch_fail(err, FINCH_E_IO, "the reader of the output closed its pipe before the end");
    if (strerror_r(code, reason, sizeof reason) != 0) reason[0] = '\0';
    return finch_fail(err, FINCH_E_IO, "writing to the standard output failed: %s", reason);
}

finch_status cli_print_json(json_t *value, finch_error *err)
{
    enum { REAL_DIGITS = 17 };
    if (value == NULL) return finch_fail(err, FINCH_E_MEMORY, "out of memory for the JSON output");
    char *text = json_dumps(value, JSON_INDENT(2) | JSON_REAL_PRECISION(REAL_DIGITS) | JSON_ENCODE_ANY);
    json_decref(value);
    if (text == NULL) return finch_fail(err, FINCH_E_MEMORY, "out of memory for the JSON output");
    finch_status st = cli_print(text, strlen(text), err);
    if (st == FINCH_OK) st = cli_print("\n", 1, err);
    free(text);
    return st;
}

/* VmHWM and not getrusage: that one remembers the process which started this one, from before the exec. */
static uint64_t status_peak_bytes(void)
{
    FILE *file = fopen("/proc/self/status", "re");
    if (file == NULL) return 0;
    char line[256];
    unsigned long long kib = 0;
    while (kib == 0 && fgets(line, (int)sizeof line, file) != NULL)
        if (strncmp(line, "VmHWM:", 6) == 0) kib = strtoull(line + 6, NULL, 10);
    fclose(file);
    return (uint64_t)kib * 1024;
}

uint64_t cli_peak_rss_bytes(void)
{
    uint64_t peak = status_peak_bytes();
    if (peak != 0) return peak;
    struct rusage usage; /* where there is no /proc */
    if (getrusage(RUSAGE_SELF, &usage) != 0 || usage.ru_maxrss < 0) return 0;
    return (uint64_t)usage.ru_maxrss * 1024; /* Linux counts it in KiB */
}

finch_status cli_rejects_path(const cli_args *args, const char *output, str *out, finch_error *err)
{
    const char *given = cli_text(args, "rejects"), *slash = output != NULL ? strrchr(output, '/') : NULL;
    if (given != NULL) return str_add_text(out, given, err);
    return slash != NULL ? str_add_format(out, err, "%.*srejects.csv", (int)(slash + 1 - output), output)
                         : str_add_text(out, "rejects.csv", err);
}

finch_status cli_check_stdout(const cli_args *args, const char *output, finch_error *err)
{
    if (!cli_wants_json(args) || output == NULL || strcmp(output, "-") != 0) return FINCH_OK;
    return finch_fail(err, FINCH_E_USAGE, "--json and --output - both want stdout; write the table to a file");
}
