/* The status table expanded, and error messages written into the caller's fixed-size record. */
#include "base/status.h"

#include <stdio.h>
#include <string.h>

/* These are the functions behind the analyser's macros. */
#undef finch_fail
#undef finch_fail_row
#undef finch_fail_prefix

typedef struct status_row {
    const char *name;
    const char *text;
    int exit_code;
    int http;
    bool retry;
} status_row;

static const status_row status_table[] = {
#define STATUS_ROW(name, exit_code, http, retry, text) {#name, text, exit_code, http, retry},
    FINCH_STATUS_LIST(STATUS_ROW)
#undef STATUS_ROW
};

static const status_row *status_find(finch_status status)
{
    size_t at = (size_t)status;
    return at < sizeof status_table / sizeof status_table[0] ? &status_table[at] : &status_table[FINCH_E_FAILED];
}

const char *finch_version(void) { return FINCH_VERSION; }
const char *finch_status_name(finch_status status) { return status_find(status)->name; }
const char *finch_status_text(finch_status status) { return status_find(status)->text; }
int finch_status_exit_code(finch_status status) { return status_find(status)->exit_code; }
int finch_status_http(finch_status status) { return status_find(status)->http; }
bool finch_status_retry(finch_status status) { return status_find(status)->retry; }

/* A cut in the middle of a UTF-8 sequence would make the whole message invalid text. */
static void message_trim(char *message, size_t size)
{
    size_t end = strlen(message);
    if (end + 1 < size) return;
    while (end > 0 && ((unsigned char)message[end - 1] & 0xC0u) == 0x80u) end--;
    if (end > 0 && ((unsigned char)message[end - 1] & 0xC0u) == 0xC0u) end--;
    message[end] = '\0';
}

static finch_status fail_args(finch_error *err, finch_status status, uint64_t row, const char *format, va_list args)
{
    if (err == NULL) return status;
    /* err's own message may be among the arguments: a failure is told again in other words. */
    char message[sizeof err->message];
    if (vsnprintf(message, sizeof message, format, args) < 0) message[0] = '\0';
    message_trim(message, sizeof message);
    err->status = status;
    err->row = row;
    memcpy(err->message, message, sizeof message);
    return status;
}

finch_status finch_fail(finch_error *err, finch_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    finch_status st = fail_args(err, status, 0, format, args);
    va_end(args);
    return st;
}

finch_status finch_fail_row(finch_error *err, finch_status status, uint64_t row, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    finch_status st = fail_args(err, status, row, format, args);
    va_end(args);
    return st;
}

finch_status finch_fail_prefix(finch_error *err, const char *format, ...)
{
    if (err == NULL) return FINCH_E_FAILED;
    char rest[sizeof err->message];
    memcpy(rest, err->message, sizeof rest);
    va_list args;
    va_start(args, format);
    int used = vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    size_t at = used < 0 ? 0 : (size_t)used;
    if (at < sizeof err->message - 3) {
        size_t room = sizeof err->message - at - 3, size = strnlen(rest, room);
        memcpy(err->message + at, ": ", 2);
        memcpy(err->message + at + 2, rest, size);
        err->message[at + 2 + size] = '\0';
    }
    message_trim(err->message, sizeof err->message);
    return err->status;
}
