/* JSON through jansson, with the checks every file of ours needs: sized input, depth and duplicate keys refused, and
 * typed fields whose absence or wrong type is an error that names the file and the key. */
#ifndef FINCH_BASE_JSON_H
#define FINCH_BASE_JSON_H

#include "base/status.h"

#include <jansson.h>

enum { JSON_FILE_LIMIT_BYTES = 256 << 20 };

/* name is for messages only (a path). The result is a new reference: json_decref. */
finch_status json_parse(const char *text, size_t size, const char *name, json_t **out, finch_error *err);
finch_status json_parse_file(const char *path, json_t **out, finch_error *err);
/* Written whole or not at all, indented by 2, keys in insertion order. */
finch_status json_write_file(const char *path, const json_t *value, finch_error *err);

/* Required fields of the object. Strings are borrowed from it and have no NUL inside. Errors: FINCH_E_DATA naming file and key. */
finch_status json_get_size(const json_t *object, const char *name, const char *key, size_t *out, finch_error *err);
finch_status json_get_number(const json_t *object, const char *name, const char *key, double *out, finch_error *err);
finch_status json_get_text(const json_t *object, const char *name, const char *key, const char **out, finch_error *err);
finch_status json_get_bool(const json_t *object, const char *name, const char *key, bool *out, finch_error *err);

/* True where the key exists and is not null. */
bool json_has(const json_t *object, const char *key);

#endif
