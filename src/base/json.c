#include "base/json.h"

#include "base/file.h"

#include <stdlib.h>
#include <string.h>

finch_status json_parse(const char *text, size_t size, const char *name, json_t **out, finch_error *err)
{
    json_error_t at;
    *out = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &at);
    if (*out != NULL) return FINCH_OK;
    if (json_error_code(&at) == json_error_out_of_memory)
        return finch_fail(err, FINCH_E_MEMORY, "%s: out of memory while reading JSON", name);
    return finch_fail_row(err, FINCH_E_DATA, at.line > 0 ? (uint64_t)at.line : 0,
                          "%s is not valid JSON at line %d, column %d: %s", name, at.line, at.column, at.text);
}

finch_status json_parse_file(const char *path, json_t **out, finch_error *err)
{
    char *text;
    size_t size;
    *out = NULL;
    FINCH_TRY(file_read(path, JSON_FILE_LIMIT_BYTES, &text, &size, err));
    finch_status st = json_parse(text, size, path, out, err);
    mem_free(text);
    return st;
}

finch_status json_write_file(const char *path, const json_t *value, finch_error *err)
{
    char *text = json_dumps(value, JSON_INDENT(2) | JSON_REAL_PRECISION(17));
    if (text == NULL) return finch_fail(err, FINCH_E_MEMORY, "%s: the JSON text could not be made", path);
    file_writer writer;
    finch_status st = file_writer_open(path, &writer, err);
    if (st == FINCH_OK) {
        st = file_writer_write(&writer, text, strlen(text), err);
        if (st == FINCH_OK) st = file_writer_write(&writer, "\n", 1, err);
        if (st == FINCH_OK) st = file_writer_commit(&writer, err);
        else file_writer_abort(&writer);
    }
    free(text);
    return st;
}

static finch_status get_field(const json_t *object, const char *name, const char *key, const json_t **out, finch_error *err)
{
    *out = json_object_get(object, key);
    if (*out == NULL) return finch_fail(err, FINCH_E_DATA, "%s: the field \"%s\" is missing", name, key);
    return FINCH_OK;
}

finch_status json_get_size(const json_t *object, const char *name, const char *key, size_t *out, finch_error *err)
{
    const json_t *field;
    FINCH_TRY(get_field(object, name, key, &field, err));
    if (!json_is_integer(field) || json_integer_value(field) < 0)
        return finch_fail(err, FINCH_E_DATA, "%s: the field \"%s\" must be a whole number from 0", name, key);
    *out = (size_t)json_integer_value(field);
    return FINCH_OK;
}

finch_status json_get_number(const json_t *object, const char *name, const char *key, double *out, finch_error *err)
{
    const json_t *field;
    FINCH_TRY(get_field(object, name, key, &field, err));
    if (!json_is_number(field)) return finch_fail(err, FINCH_E_DATA, "%s: the field \"%s\" must be a number", name, key);
    *out = json_number_value(field);
    return FINCH_OK;
}

finch_status json_get_text(const json_t *object, const char *name, const char *key, const char **out, finch_error *err)
{
    const json_t *field;
    FINCH_TRY(get_field(object, name, key, &field, err));
    if (!json_is_string(field)) return finch_fail(err, FINCH_E_DATA, "%s: the field \"%s\" must be a text", name, key);
    if (strlen(json_string_value(field)) != json_string_length(field))
        return finch_fail(err, FINCH_E_DATA, "%s: the field \"%s\" must not hold a NUL (\\u0000)", name, key);
    *out = json_string_value(field);
    return FINCH_OK;
}

finch_status json_get_bool(const json_t *object, const char *name, const char *key, bool *out, finch_error *err)
{
    const json_t *field;
    FINCH_TRY(get_field(object, name, key, &field, err));
    if (!json_is_boolean(field))
        return finch_fail(err, FINCH_E_DATA, "%s: the field \"%s\" must be true or false", name, key);
    *out = json_is_true(field);
    return FINCH_OK;
}

bool json_has(const json_t *object, const char *key)
{
    const json_t *field = json_object_get(object, key);
    return field != NULL && !json_is_null(field);
}
