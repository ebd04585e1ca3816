#include "data/text_column.h"

#include "base/json.h"
#include "data/csv_dialect.h"
#include "data/database.h"
#include "data/files.h"
#include "data/stream.h"

#include <string.h>
#include <sys/stat.h>

enum { HEAD_BYTES = 1 << 16 };

static finch_status csv_names(const str *head, data_names *out)
{
    data_dialect dialect;
    FINCH_TRY(data_dialect_detect(head->at, head->size, '\0', &dialect, NULL));
    *out = dialect.columns;
    return FINCH_OK;
}

/* The keys of the first object, of lines or of an array. */
static finch_status json_names(const str *head, data_names *out)
{
    size_t skip = strspn(head->at, " \t\r\n[");
    json_t *object = json_loadb(head->at + skip, head->size - skip, JSON_DISABLE_EOF_CHECK | JSON_ALLOW_NUL, NULL);
    const char *key;
    json_t *value;
    finch_status st = json_is_object(object) ? FINCH_OK : FINCH_E_DATA;
    json_object_foreach(object, key, value) if (st == FINCH_OK) st = data_names_add(out, key, strlen(key), NULL);
    json_decref(object);
    return st;
}

static finch_status text_names(const data_file *file, data_names *out)
{
    data_stream *stream;
    str head = {0};
    FINCH_TRY(data_stream_open(file, &stream, NULL));
    finch_status st = data_stream_head(stream, HEAD_BYTES, &head, NULL);
    data_stream_close(stream);
    if (st == FINCH_OK && head.size == 0) st = FINCH_E_DATA;
    if (st == FINCH_OK) st = file->kind.format == DATA_CSV ? csv_names(&head, out) : json_names(&head, out);
    str_free(&head);
    return st;
}

static finch_status parquet_names(const char *path, data_names *out)
{
    data_database db = {0};
    data_names types = {0};
    str sql = {0};
    finch_status st = data_database_open(&db, NULL);
    if (st == FINCH_OK) st = str_add_text(&sql, "SELECT * FROM read_parquet(", NULL);
    if (st == FINCH_OK) st = data_sql_text(&sql, path, strlen(path), NULL);
    if (st == FINCH_OK) st = str_add_text(&sql, ", hive_partitioning=false)", NULL);
    if (st == FINCH_OK) st = data_describe(&db, sql.at, out, &types, NULL);
    data_database_close(&db);
    data_names_free(&types);
    str_free(&sql);
    return st;
}

static finch_status names_of(const char *path, data_names *out)
{
    struct stat info;
    data_file file;
    if (stat(path, &info) != 0 || !S_ISREG(info.st_mode)) return FINCH_E_NOT_FOUND;
    FINCH_TRY(data_file_inspect(path, &file, NULL));
    return file.kind.format == DATA_PARQUET ? parquet_names(path, out) : text_names(&file, out);
}

const char *data_text_column(const char *const *inputs, size_t n_inputs, const char *usual)
{
    static const char *const known[] = {"body", "text"};
    data_names paths = {0}, names = {0};
    const char *found = usual;
    if (data_paths_expand(inputs, n_inputs, &paths, NULL) == FINCH_OK && paths.n > 0 &&
        names_of(paths.at[0], &names) == FINCH_OK && data_names_find(&names, usual) == names.n)
        for (size_t i = 0; i < sizeof known / sizeof known[0] && found == usual; i++)
            if (data_names_find(&names, known[i]) < names.n) found = known[i];
    data_names_free(&paths);
    data_names_free(&names);
    return found;
}
