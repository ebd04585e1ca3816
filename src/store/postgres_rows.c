#include "store/postgres_rows.h"

#include <assert.h>

static finch_status add_number(str *out, uint64_t number, size_t n_bytes, finch_error *err)
{
    char bytes[sizeof number];
    for (size_t i = 0; i < n_bytes; i++) bytes[i] = (char)(unsigned char)(number >> (8 * (n_bytes - 1 - i)));
    return str_add(out, bytes, n_bytes, err);
}

static bool is_null(const sql_value *value)
{
    return value->type == SQL_NULL || (value->type == SQL_TEXT && value->at == NULL);
}

static finch_status add_value(str *out, const sql_value *value, finch_error *err)
{
    if (is_null(value)) return add_number(out, UINT32_MAX, 4, err);
    if (value->type == SQL_INTEGER) {
        FINCH_TRY(add_number(out, 8, 4, err));
        return add_number(out, (uint64_t)value->integer, 8, err);
    }
    assert(value->type == SQL_TEXT);
    if (value->size > INT32_MAX / 2)
        return finch_fail(err, FINCH_E_DATA, "a value of over 1 GiB does not go into the store");
    FINCH_TRY(add_number(out, value->size, 4, err));
    return str_add(out, value->at, value->size, err);
}

finch_status postgres_copy_head(str *out, finch_error *err)
{
    static const char head[19] = "PGCOPY\n\377\r\n"; /* its NUL, no flags, nothing more in the head */
    return str_add(out, head, sizeof head, err);
}

finch_status postgres_copy_row(str *out, const sql_value *row, size_t n_columns, finch_error *err)
{
    FINCH_TRY(add_number(out, n_columns, 2, err));
    for (size_t i = 0; i < n_columns; i++) FINCH_TRY(add_value(out, &row[i], err));
    return FINCH_OK;
}

finch_status postgres_copy_end(str *out, finch_error *err) { return add_number(out, UINT16_MAX, 2, err); }

static bool is_text(const sql_value *values, size_t column) { return values[column].type == SQL_TEXT; }

/* Dimensions, whether there are nulls, the values' type, how many and from which number on. */
finch_status postgres_array(str *out, const sql_value *values, size_t n_rows, size_t n_columns, size_t column,
                            finch_error *err)
{
    bool nulls = false;
    for (size_t row = 0; row < n_rows; row++) nulls = nulls || is_null(&values[row * n_columns + column]);
    const uint64_t head[] = {1, nulls, is_text(values, column) ? POSTGRES_OID_TEXT : POSTGRES_OID_INT8, n_rows, 1};
    for (size_t i = 0; i < sizeof head / sizeof head[0]; i++) FINCH_TRY(add_number(out, head[i], 4, err));
    for (size_t row = 0; row < n_rows; row++) FINCH_TRY(add_value(out, &values[row * n_columns + column], err));
    return FINCH_OK;
}

unsigned postgres_array_type(const sql_value *values, size_t column)
{
    return is_text(values, column) ? POSTGRES_OID_TEXTS : POSTGRES_OID_INT8S;
}

int64_t postgres_integer(const char *at, size_t size)
{
    if (size == 0 || size > sizeof(uint64_t)) return 0;
    uint64_t bits = (signed char)at[0] < 0 ? UINT64_MAX : 0;
    for (size_t i = 0; i < size; i++) bits = bits << 8 | (unsigned char)at[i];
    return (int64_t)bits;
}
