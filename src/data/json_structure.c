/* The columns of JSON rows: the keys of all of them, each with the type that all its values have. */
#include "data/reader.h"

#include "base/json.h"

#include <stdlib.h>
#include <string.h>

/* The structure of all rows, as json_group_structure has it. That makes one text of all rows and fails on some 100 MB; so what is put
 * together is the first row of each structure, of which a file has few, in their order. */
static finch_status ask_structure(data_database *db, const char *path, const char *objects, json_t **out, finch_error *err)
{
    str sql = {0};
    duckdb_result result;
    *out = NULL;
    finch_status st = str_add_format(
        &sql, err,
        "SELECT CAST(json_structure(CAST('[' || string_agg(CAST(first_json AS VARCHAR), ',' ORDER BY first_row) || ']' AS "
        "JSON))->0 AS VARCHAR) FROM (SELECT arg_min(json, number) AS "
        "first_json, min(number) AS first_row FROM (SELECT json, row_number() OVER () AS number FROM %s) GROUP BY "
        "CAST(json_structure(json) AS VARCHAR))",
        objects);
    if (st == FINCH_OK) st = data_query(db, sql.at, &result, err);
    str_free(&sql);
    if (st != FINCH_OK) return st;
    data_cursor cursor = {.result = &result};
    finch_text text = {"", 0};
    if (data_cursor_step(&cursor)) data_cursor_text(&cursor, 0, &text);
    if (text.size_bytes > 0 && text.at[0] == '{') st = json_parse(text.at, text.size_bytes, path, out, err);
    else st = finch_fail(err, FINCH_E_DATA, "%s: its rows are objects without keys, so it has no columns", path);
    data_cursor_close(&cursor);
    duckdb_destroy_result(&result);
    return st;
}

/* Whether the key's whole numbers, which DuckDB takes for unsigned, fit signed ones, which everything else reads. */
static finch_status fits_signed(data_database *db, const char *objects, const char *key, bool *out, finch_error *err)
{
    str sql = {0}, quoted = {0};
    uint64_t n_past = 0;
    finch_status st = data_sql_text(&quoted, key, strlen(key), err);
    if (st == FINCH_OK)
        st = str_add_format(
            &sql, err,
            "SELECT count(*) FROM %s WHERE CAST(json_extract_string(json, [%s])[1] AS UBIGINT) > 9223372036854775807",
            objects, quoted.at);
    if (st == FINCH_OK) st = data_query_count(db, sql.at, &n_past, err);
    str_free(&sql);
    str_free(&quoted);
    *out = n_past == 0;
    return st;
}

/* Inside lists and objects: a place where only null was seen can hold any text. */
static void name_nulls(json_t *value)
{
    const char *key;
    size_t i;
    json_t *item;
    void *next;
    if (json_is_array(value)) json_array_foreach(value, i, item)
        {
            if (json_is_string(item) && strcmp(json_string_value(item), "NULL") == 0)
                json_array_set_new(value, i, json_string("VARCHAR"));
            else name_nulls(item);
        }
    if (json_is_object(value)) json_object_foreach_safe(value, next, key, item)
        {
            if (json_is_string(item) && strcmp(json_string_value(item), "NULL") == 0)
                json_object_set_new(value, key, json_string("VARCHAR"));
            else name_nulls(item);
        }
}

static finch_status choose_types(data_database *db, data_reader *r, json_t *structure, const char *objects, finch_error *err)
{
    const char *key;
    json_t *type;
    void *next;
    name_nulls(structure);
    json_object_foreach_safe(structure, next, key, type)
    {
        bool fits = false;
        if (data_names_find_any_case(&r->columns, key) < r->columns.n)
            return finch_fail(err, FINCH_E_DATA, "%s has the keys \"%s\" and another that differs in case only; rename one",
                              r->file.path, key);
        if (json_is_string(type) && strcmp(json_string_value(type), "UBIGINT") == 0)
            FINCH_TRY(fits_signed(db, objects, key, &fits, err));
        if (fits) json_object_set_new(structure, key, json_string("BIGINT"));
        const char *name = fits ? "BIGINT" : json_is_string(type) ? json_string_value(type) : "STRUCT";
        FINCH_TRY(data_names_add(&r->columns, key, strlen(key), err));
        FINCH_TRY(data_names_add(&r->types, name, strlen(name), err));
    }
    return FINCH_OK;
}

finch_status data_reader_json_structure(data_database *db, data_reader *r, const char *objects, finch_error *err)
{
    json_t *structure;
    FINCH_TRY(ask_structure(db, r->file.path, objects, &structure, err));
    finch_status st = choose_types(db, r, structure, objects, err);
    if (st == FINCH_OK) {
        char *text = json_dumps(structure, JSON_COMPACT | JSON_ENCODE_ANY);
        st = text == NULL ? finch_fail(err, FINCH_E_MEMORY, "%s: out of memory for its keys", r->file.path)
                          : mem_text(text, strlen(text), &r->structure, err);
        free(text);
    }
    json_decref(structure);
    return st;
}
