#include "label/texts.h"

#include <string.h>

finch_status texts_prepare(finch_text in, str *scratch, finch_text *out, char hash[STORE_HASH_BYTES], text_kind *kind,
                           finch_error *err)
{
    bool blank = true;
    *out = in;
    hash[0] = '\0';
    for (size_t i = 0; blank && i < in.size_bytes; i++) blank = (unsigned char)in.at[i] <= ' ';
    *kind = blank ? TEXT_EMPTY : in.size_bytes > TEXTS_MAX_BYTES ? TEXT_TOO_LONG : TEXT_ASKED;
    if (*kind != TEXT_ASKED) return FINCH_OK;
    if (memchr(in.at, '\0', in.size_bytes) != NULL) {
        str_clear(scratch);
        FINCH_TRY(str_add(scratch, in.at, in.size_bytes, err));
        for (size_t i = 0; i < scratch->size; i++)
            if (scratch->at[i] == '\0') scratch->at[i] = ' ';
        out->at = scratch->at;
    }
    return store_hash(out->at, out->size_bytes, hash, err);
}

const char *texts_reason(text_kind kind)
{
    return kind == TEXT_EMPTY ? "there is no text" : kind == TEXT_TOO_LONG ? "the text is longer than 64 KiB" : "";
}

finch_status texts_register(data_database *db, const char *name, duckdb_logical_type result, duckdb_scalar_function_t run,
                            void *context, finch_error *err)
{
    duckdb_scalar_function function = duckdb_create_scalar_function();
    duckdb_logical_type text = duckdb_create_logical_type(DUCKDB_TYPE_VARCHAR);
    duckdb_scalar_function_set_name(function, name);
    duckdb_scalar_function_add_parameter(function, text);
    duckdb_scalar_function_set_return_type(function, result);
    duckdb_scalar_function_set_special_handling(function);
    duckdb_scalar_function_set_volatile(function);
    duckdb_scalar_function_set_extra_info(function, context, NULL);
    duckdb_scalar_function_set_function(function, run);
    duckdb_state state = duckdb_register_scalar_function(db->connection, function);
    duckdb_destroy_logical_type(&text);
    duckdb_destroy_scalar_function(&function);
    if (state != DuckDBSuccess)
        return finch_fail(err, FINCH_E_FAILED, "DuckDB %s refuses the function %s", data_library_version(), name);
    return FINCH_OK;
}
