/* Values as the documents of the store's rooms write them, and who is at work. Internal to the room and its callers' JSON. */
#ifndef FINCH_STORE_VALUES_H
#define FINCH_STORE_VALUES_H

#include "base/json.h"
#include "store/store.h"

/* "2026-11-27T05:07:14.123Z"; null where ms is 0. NULL where memory is out. */
json_t *values_time(int64_t ms);
/* "" becomes null. */
json_t *values_text(finch_text text);
/* NAN becomes null. */
json_t *values_real(double value);

/* A JSON value as compact text; free with free (jansson's own). NULL where memory is out. */
char *values_dump(const json_t *value);

bool values_is_utf8(const char *text, size_t size);
/* Appends the text as a JSON string. Errors: FINCH_E_DATA where it is no UTF-8. */
finch_status values_add_json_text(str *out, const char *text, size_t size, finch_error *err);

/* The name of the user who runs the process, or its number. out holds VALUES_USER_BYTES. */
enum { VALUES_USER_BYTES = 65 };
const char *values_user(char out[VALUES_USER_BYTES]);

/* Text for people that lists and logs show: UTF-8, 1 to most bytes, no control characters. Errors: FINCH_E_USAGE naming what. */
finch_status values_check_name(const char *what, const char *text, size_t most, finch_error *err);

/* n bytes as 2 n lower-case hex digits and a NUL. */
void values_hex(const unsigned char *at, size_t n, char *out);
/* 64 lower-case hex digits of the SHA-256. */
enum { VALUES_SHA256_BYTES = 65 };
finch_status values_sha256(const void *at, size_t size, char out[VALUES_SHA256_BYTES], finch_error *err);
/* n random bytes as 2 n hex digits and a NUL. */
finch_status values_random_hex(size_t n, char *out, finch_error *err);

#endif
