#include "data/relation.h"

#include "data/reader.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

/* Files that one call of DuckDB's reader serves, one behind another, and which of their columns become what ("SELECT ..."). */
typedef struct group {
    size_t begin, end;
    char *select;
    narrow *types; /* of CSV that DuckDB had not to be asked about; else NULL */
} group;

struct data_relation {
    data_names paths;
    data_reader *readers; /* [paths.n], n_open of them filled */
    size_t n_open;
    data_rejects rejects;
    uint64_t n_rows;
    group *groups; /* [paths.n], n_groups of them filled */
    size_t n_groups;
    str sql;
    data_names columns, types;
};

static finch_status open_readers(data_database *db, const data_source *source, const data_relation_options *options,
                                 data_relation *r, finch_error *err)
{
    FINCH_TRY(data_paths_expand(source->inputs, source->n_inputs, &r->paths, err));
    FINCH_TRY(MEM_NEW(&r->readers, r->paths.n, err));
    while (r->n_open < r->paths.n) {
        FINCH_TRY(data_reader_open(db, r->paths.at[r->n_open], source->max_line_bytes, options->text_column, options->watch,
                                   &r->rejects, &r->readers[r->n_open], err));
        r->n_rows += r->readers[r->n_open++].scan.n_rows;
        const data_reject *first = r->rejects.at;
        if (source->strict && r->rejects.n > 0)
            return finch_fail_row(err, FINCH_E_DATA, first->line,
                                  "%s line %" PRIu64 ": %s; mend it, or leave out --strict to set such rows aside",
                                  first->path, first->line, first->reason);
    }
    if (r->n_rows == 0 && r->rejects.n > 0)
        return finch_fail_row(err, FINCH_E_DATA, r->rejects.at[0].line, "%s has no good row; line %" PRIu64 ": %s",
                              r->rejects.at[0].path, r->rejects.at[0].line, r->rejects.at[0].reason);
    return FINCH_OK;
}

/* ---- types of columns ---- */

static const char *type_of(const data_reader *reader, const char *column)
{
    size_t at = data_names_find_any_case(&reader->columns, column);
    if (at == reader->columns.n) return NULL;
    return reader->file.kind.format == DATA_CSV ? "VARCHAR" : reader->types.at[at];
}

/* Lists, structs and bytes: what goes into one column with nothing but itself. */
static bool stands_alone(const char *type)
{
    static const char *const starts[] = {"STRUCT", "MAP", "UNION", "BLOB"};
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++)
        if (strncmp(type, starts[i], strlen(starts[i])) == 0) return true;
    return strchr(type, '[') != NULL;
}

/* DuckDB would find out in the middle of the rows, and not say in which file. */
static finch_status check_types_together(const data_relation *r, finch_error *err)
{
    for (size_t i = 1; i < r->n_open; i++) {
        const data_reader *first = &r->readers[0], *other = &r->readers[i];
        for (size_t c = 0; c < first->columns.n; c++) {
            const char *name = first->columns.at[c], *a = type_of(first, name), *b = type_of(other, name);
            if (a == NULL || b == NULL || stands_alone(a) == stands_alone(b)) continue;
            return finch_fail(
                err, FINCH_E_DATA,
                "column \"%s\" is %.60s in %s and %.60s in %s: they do not go into one table; work on the files "
                "one by one",
                name, a, first->file.path, b, other->file.path);
        }
    }
    return FINCH_OK;
}

/* When every value of the column c is of the type: a condition with c as %1$s. Integers must come back as they were
 * written; reals may not have more digits than a double keeps, so that a long id stays what it is. */
static const char *const narrow_rules[NARROW_COUNT] = {
    [NARROW_INTEGER] = "CAST(TRY_CAST(%1$s AS BIGINT) AS VARCHAR) = %1$s",
    [NARROW_REAL] = "TRY_CAST(%1$s AS DOUBLE) IS NOT NULL AND length(%1$s) <= 17"
                    " AND regexp_full_match(%1$s, '-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][-+]?[0-9]+)?')",
    [NARROW_BOOLEAN] = "lower(%1$s) IN ('true', 'false')",
    [NARROW_DATE] = "TRY_CAST(%1$s AS DATE) IS NOT NULL AND regexp_full_match(%1$s, '[0-9]{4}-[0-9]{2}-[0-9]{2}')",
    [NARROW_TIME] =
        "TRY_CAST(%1$s AS TIMESTAMP) IS NOT NULL"
        " AND regexp_full_match(%1$s, '[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{1,6})?')",
};
static const char *const narrow_types[NARROW_COUNT] = {"VARCHAR", "BIGINT", "DOUBLE", "BOOLEAN", "DATE", "TIMESTAMP"};

static finch_status add_rule(str *sql, narrow type, const char *column, finch_error *err)
{
    FINCH_TRY(str_add_text(sql, " WHEN bool_and(coalesce(", err));
    for (const char *at = narrow_rules[type]; *at != '\0';) {
        size_t n = strcspn(at, "%");
        FINCH_TRY(str_add(sql, at, n, err));
        at += n;
        if (*at == '\0') break;
        FINCH_TRY(data_sql_name(sql, column, err));
        at += strlen("%1$s");
    }
    FINCH_TRY(str_add_text(sql, ", false)) FILTER (", err));
    FINCH_TRY(data_sql_name(sql, column, err));
    return str_add_format(sql, err, " IS NOT NULL) THEN %d", (int)type);
}

/* The first rule of the column's set that every value keeps; 0 where none does; -1 where all values are null. */
static finch_status add_survey(str *sql, const data_reader *r, const narrow_set *sets, const char *from, finch_error *err)
{
    FINCH_TRY(str_add_text(sql, "SELECT ", err));
    for (size_t i = 0; i < r->columns.n; i++) {
        FINCH_TRY(str_add_text(sql, i > 0 ? ", " : "", err));
        if (sets[i] == 0) {
            FINCH_TRY(str_add_text(sql, "CAST(0 AS BIGINT)", err));
            continue;
        }
        FINCH_TRY(str_add_text(sql, "CAST(CASE WHEN count(", err));
        FINCH_TRY(data_sql_name(sql, r->columns.at[i], err));
        FINCH_TRY(str_add_text(sql, ") = 0 THEN -1", err));
        for (int type = NARROW_INTEGER; type < NARROW_COUNT; type++)
            if ((sets[i] >> type & 1) != 0) FINCH_TRY(add_rule(sql, (narrow)type, r->columns.at[i], err));
        FINCH_TRY(str_add_text(sql, " ELSE 0 END AS BIGINT)", err));
    }
    return str_add_format(sql, err, " FROM %s", from);
}

static finch_status ask_survey(data_database *db, const data_reader *r, const narrow_set *sets, const char *from,
                               int64_t *types, finch_error *err)
{
    str sql = {0};
    duckdb_result result;
    finch_status st = add_survey(&sql, r, sets, from, err);
    if (st == FINCH_OK) st = data_query(db, sql.at, &result, err);
    str_free(&sql);
    if (st != FINCH_OK) return st;
    data_cursor cursor = {.result = &result};
    bool any = data_cursor_step(&cursor);
    for (size_t i = 0; i < r->columns.n; i++)
        if (!any || !data_cursor_integer(&cursor, i, &types[i]) || types[i] >= NARROW_COUNT) types[i] = NARROW_TEXT;
    data_cursor_close(&cursor);
    duckdb_destroy_result(&result);
    return FINCH_OK;
}

/* What the whole column has to be asked about, by what its first rows are. */
static narrow_set narrow_after(int64_t first)
{
    if (first < 0) return NARROW_ALL;
    if (first == NARROW_INTEGER) return 1u << NARROW_INTEGER | 1u << NARROW_REAL;
    return first == NARROW_TEXT ? 0 : 1u << first;
}

/* The type of each column of one group, into types[columns]. The first rows rule most types out, so that the pass over
 * all rows is about few. */
static finch_status survey_types(data_database *db, const data_reader *r, const char *from, const char *text_column,
                                 narrow *types, finch_error *err)
{
    int64_t *found = NULL;
    narrow_set *sets = NULL;
    str first = {0};
    finch_status st;
    FINCH_GO(done, st, MEM_NEW(&found, r->columns.n, err));
    FINCH_GO(done, st, MEM_NEW(&sets, r->columns.n, err));
    for (size_t i = 0; i < r->columns.n; i++)
        sets[i] = text_column != NULL && strcmp(r->columns.at[i], text_column) == 0 ? 0 : NARROW_ALL;
    FINCH_GO(done, st, str_add_format(&first, err, "(FROM %s LIMIT 2000)", from));
    FINCH_GO(done, st, ask_survey(db, r, sets, first.at, found, err));
    for (size_t i = 0; i < r->columns.n; i++) sets[i] &= narrow_after(found[i]);
    FINCH_GO(done, st, ask_survey(db, r, sets, from, found, err));
    for (size_t i = 0; i < r->columns.n; i++) types[i] = found[i] > 0 ? (narrow)found[i] : NARROW_TEXT;
done:
    mem_free(found);
    mem_free(sets);
    str_free(&first);
    return st;
}

/* The types of one group as its scans found them; false where one of the files has to be asked about. */
static bool known_types(const data_reader *readers, size_t n, const char *text_column, narrow *types)
{
    for (size_t i = 0; i < readers[0].columns.n; i++) {
        narrow_set set = NARROW_ALL, seen = 0;
        for (size_t k = 0; k < n; k++) {
            if (readers[k].narrow == NULL || (readers[k].narrow[i] & NARROW_UNSURE) != 0) return false;
            set &= readers[k].narrow[i];
            seen |= readers[k].narrow[i] & NARROW_SEEN;
        }
        types[i] = NARROW_TEXT;
        bool text = text_column != NULL && strcmp(readers[0].columns.at[i], text_column) == 0;
        for (int type = NARROW_INTEGER; !text && seen != 0 && type < NARROW_COUNT && types[i] == NARROW_TEXT; type++)
            if ((set >> type & 1) != 0) types[i] = (narrow)type;
    }
    return true;
}

/* ---- the query ---- */

static finch_status add_cast_columns(str *sql, const data_reader *r, const narrow *types, finch_error *err)
{
    for (size_t i = 0; i < r->columns.n; i++) {
        const char *name = r->columns.at[i];
        bool text = types[i] == NARROW_TEXT;
        FINCH_TRY(str_add_text(sql, i > 0 ? ", " : "", err));
        if (!text) FINCH_TRY(str_add_text(sql, "CAST(", err));
        FINCH_TRY(data_sql_name(sql, name, err));
        if (!text) FINCH_TRY(str_add_format(sql, err, " AS %s) AS ", narrow_types[types[i]]));
        if (!text) FINCH_TRY(data_sql_name(sql, name, err));
    }
    return FINCH_OK;
}

static finch_status add_group(data_database *db, data_relation *r, size_t begin, size_t end,
                              const data_relation_options *options, finch_error *err)
{
    const data_reader *first = &r->readers[begin];
    str from = {0}, select = {0};
    narrow *types = NULL;
    bool csv = first->file.kind.format == DATA_CSV;
    finch_status st;
    FINCH_GO(done, st, data_reader_sql(first, end - begin, &from, err));
    FINCH_GO(done, st, MEM_NEW(&types, first->columns.n, err));
    bool known = csv && options->typed && known_types(first, end - begin, options->text_column, types);
    if (csv && options->typed && !known)
        FINCH_GO(done, st, survey_types(db, first, from.at, options->text_column, types, err));
    FINCH_GO(done, st, str_add_text(&select, "SELECT ", err));
    if (csv) FINCH_GO(done, st, add_cast_columns(&select, first, types, err));
    else FINCH_GO(done, st, str_add_text(&select, "*", err));
    FINCH_GO(done, st, mem_text(select.at, select.size, &r->groups[r->n_groups].select, err));
    if (csv && (known || !options->typed)) {
        r->groups[r->n_groups].types = types;
        types = NULL;
    }
    r->groups[r->n_groups].begin = begin;
    r->groups[r->n_groups++].end = end;
    FINCH_GO(done, st,
             str_add_format(&r->sql, err, "%s%s FROM %s", r->sql.size > 0 ? " UNION ALL BY NAME " : "", select.at, from.at));
done:
    str_free(&from);
    str_free(&select);
    mem_free(types);
    return st;
}

static finch_status build_query(data_database *db, data_relation *r, const data_relation_options *options, finch_error *err)
{
    FINCH_TRY(MEM_NEW(&r->groups, r->paths.n, err));
    for (size_t begin = 0, end; begin < r->paths.n; begin = end) {
        end = begin + 1;
        while (end < r->paths.n && data_reader_same(&r->readers[begin], &r->readers[end])) end++;
        if (r->readers[begin].columns.n == 0) continue; /* JSON files without a row */
        FINCH_TRY(add_group(db, r, begin, end, options, err));
    }
    if (r->sql.size == 0) return finch_fail(err, FINCH_E_DATA, "%s has no rows", r->paths.at[0]);
    return FINCH_OK;
}

/* ---- some of the rows ---- */

/* A Parquet file's rows [begin, end): DuckDB passes over the row groups that have none of them. */
static finch_status add_parquet_rows(const data_reader *reader, uint64_t begin, uint64_t end, str *sql, finch_error *err)
{
    FINCH_TRY(str_add_text(sql, "SELECT * EXCLUDE (file_row_number) FROM ", err));
    FINCH_TRY(data_reader_numbered_sql(reader, sql, err));
    return str_add_format(sql, err, " WHERE file_row_number >= %" PRIu64 " AND file_row_number < %" PRIu64, begin, end);
}

static bool is_numbered(const data_reader *reader)
{
    return reader->file.kind.format == DATA_PARQUET &&
           data_names_find_any_case(&reader->columns, "file_row_number") == reader->columns.n;
}

/* Rows [begin, end) of the files readers[0..n) of one group, begin in the first and end in the last of them. */
static finch_status add_files(const data_reader *readers, size_t n, uint64_t begin, uint64_t end, str *sql, finch_error *err)
{
    uint64_t first = 0;
    if (!is_numbered(readers)) {
        FINCH_TRY(str_add_text(sql, "SELECT * FROM ", err));
        FINCH_TRY(data_reader_sql(readers, n, sql, err));
        return str_add_format(sql, err, " LIMIT %" PRIu64 " OFFSET %" PRIu64, end - begin, begin);
    }
    for (size_t i = 0; i < n; first += readers[i++].scan.n_rows) {
        uint64_t from = begin > first ? begin - first : 0, rows = readers[i].scan.n_rows;
        if (i > 0) FINCH_TRY(str_add_text(sql, " UNION ALL ", err));
        FINCH_TRY(add_parquet_rows(&readers[i], from, end - first < rows ? end - first : rows, sql, err));
    }
    return FINCH_OK;
}

/* Of a group without any of the rows its columns: they belong to the table. */
static finch_status add_group_rows(const data_relation *r, const group *g, uint64_t first, uint64_t begin, uint64_t end,
                                   str *sql, finch_error *err)
{
    size_t i = g->begin, n;
    while (i + 1 < g->end && begin >= first + r->readers[i].scan.n_rows) first += r->readers[i++].scan.n_rows;
    uint64_t last = first;
    for (n = 0; i + n < g->end && last < end; n++) last += r->readers[i + n].scan.n_rows;
    uint64_t from = begin > first ? begin - first : 0, to = (end < last ? end : last) - first;
    FINCH_TRY(str_add_format(sql, err, "%s FROM (", g->select));
    if (end > first && n > 0 && from < to) FINCH_TRY(add_files(r->readers + i, n, from, to, sql, err));
    else FINCH_TRY(add_files(r->readers + g->begin, 1, 0, 0, sql, err));
    return str_add_text(sql, ")", err);
}

finch_status data_relation_rows_sql(const data_relation *r, uint64_t begin, uint64_t end, str *sql, finch_error *err)
{
    uint64_t first = 0;
    for (size_t i = 0; i < r->n_groups; i++) {
        const group *g = &r->groups[i];
        if (i > 0) FINCH_TRY(str_add_text(sql, " UNION ALL BY NAME ", err));
        FINCH_TRY(add_group_rows(r, g, first, begin, end, sql, err));
        for (size_t k = g->begin; k < g->end; k++) first += r->readers[k].scan.n_rows;
    }
    return FINCH_OK;
}

/* ---- how the files differ ---- */

static finch_status add_missing(const data_relation *r, const data_reader *reader, str *out, finch_error *err)
{
    for (size_t i = 0; i < r->columns.n; i++)
        if (reader->columns.n > 0 && data_names_find_any_case(&reader->columns, r->columns.at[i]) == reader->columns.n)
            FINCH_TRY(str_add_format(out, err, "%s has no column \"%s\": null for its rows\n", reader->file.path,
                                     r->columns.at[i]));
    return FINCH_OK;
}

/* The first file whose type of the column is not that of the first file which has it. CSV columns have none yet. */
static finch_status add_type_difference(const data_relation *r, size_t column, str *out, finch_error *err)
{
    const char *name = r->columns.at[column], *path = NULL, *type = NULL;
    for (size_t i = 0; i < r->n_open; i++) {
        const data_reader *reader = &r->readers[i];
        size_t at = data_names_find_any_case(&reader->columns, name);
        if (at >= reader->types.n) continue;
        if (type != NULL && strcmp(type, reader->types.at[at]) != 0)
            return str_add_format(out, err, "column \"%s\" is %s in %s and %s in %s: written as %s\n", name, type, path,
                                  reader->types.at[at], reader->file.path, r->types.at[column]);
        if (type != NULL) continue;
        type = reader->types.at[at];
        path = reader->file.path;
    }
    return FINCH_OK;
}

finch_status data_relation_differences(const data_relation *r, str *out, finch_error *err)
{
    for (size_t i = 0; i < r->n_open; i++) FINCH_TRY(add_missing(r, &r->readers[i], out, err));
    for (size_t i = 0; r->n_open > 1 && i < r->columns.n; i++) FINCH_TRY(add_type_difference(r, i, out, err));
    return FINCH_OK;
}

static finch_status tell_differences(const data_relation *r, const data_source *source, finch_error *err)
{
    str lines = {0};
    if (source->differ == NULL) return FINCH_OK;
    finch_status st = data_relation_differences(r, &lines, err);
    if (st == FINCH_OK && lines.size > 0) source->differ(source->differ_context, lines.at);
    str_free(&lines);
    return st;
}

finch_status data_relation_open(data_database *db, const data_source *source, const data_relation_options *options,
                                data_relation **out, finch_error *err)
{
    data_relation *r = NULL;
    finch_status st = FINCH_OK;
    *out = NULL;
    FINCH_GO(done, st, MEM_NEW(&r, 1, err));
    FINCH_GO(done, st, open_readers(db, source, options, r, err));
    FINCH_GO(done, st, check_types_together(r, err));
    FINCH_GO(done, st, build_query(db, r, options, err));
    FINCH_GO(done, st, data_describe(db, r->sql.at, &r->columns, &r->types, err));
    FINCH_GO(done, st, tell_differences(r, source, err));
done:
    if (st == FINCH_OK) *out = r;
    else data_relation_close(r);
    return st;
}

void data_relation_close(data_relation *r)
{
    if (r == NULL) return;
    for (size_t i = 0; i < r->n_open; i++) data_reader_close(&r->readers[i]);
    for (size_t i = 0; i < r->n_groups; i++) {
        mem_free(r->groups[i].select);
        mem_free(r->groups[i].types);
    }
    mem_free(r->readers);
    mem_free(r->groups);
    data_names_free(&r->paths);
    data_rejects_free(&r->rejects);
    str_free(&r->sql);
    data_names_free(&r->columns);
    data_names_free(&r->types);
    mem_free(r);
}

const char *data_relation_sql(const data_relation *r) { return r->sql.at; }
const data_names *data_relation_columns(const data_relation *r) { return &r->columns; }
const data_names *data_relation_types(const data_relation *r) { return &r->types; }

bool data_relation_is_csv(const data_relation *r)
{
    for (size_t i = 0; i < r->n_open; i++)
        if (r->readers[i].file.kind.format != DATA_CSV) return false;
    return true;
}

finch_status data_relation_csv_rows(const data_relation *r, data_csv_rows **out, finch_error *err)
{
    *out = NULL;
    if (r->n_groups != 1 || r->groups[0].types == NULL) return FINCH_OK;
    for (size_t i = 0; i < r->n_open; i++)
        if (r->readers[i].narrow == NULL || strcmp(r->readers[i].file.encoding, "utf-8") != 0) return FINCH_OK;
    return data_csv_rows_open(r->readers, r->n_open, r->groups[0].types, out, err);
}

uint64_t data_relation_rows(const data_relation *r) { return r->n_rows; }
const data_rejects *data_relation_rejects(const data_relation *r) { return &r->rejects; }

data_rejects data_relation_take_rejects(data_relation *r)
{
    data_rejects taken = r->rejects;
    r->rejects = (data_rejects){0};
    return taken;
}

size_t data_relation_files(const data_relation *r) { return r->paths.n; }

const char *data_relation_file(const data_relation *r, size_t i, uint64_t *n_rows)
{
    *n_rows = r->readers[i].scan.n_rows;
    return r->paths.at[i];
}

finch_status data_relation_check_output(const data_relation *r, const char *output, finch_error *err)
{
    struct stat written, read;
    if (strcmp(output, "-") == 0 || stat(output, &written) != 0 || !S_ISREG(written.st_mode)) return FINCH_OK;
    for (size_t i = 0; i < r->paths.n; i++) {
        if (stat(r->paths.at[i], &read) == 0 && read.st_dev == written.st_dev && read.st_ino == written.st_ino)
            return finch_fail(err, FINCH_E_USAGE, "%s is read and would be written over; name another output", output);
    }
    return FINCH_OK;
}

static finch_status fail_missing(const data_reader *reader, const char *column, const char *option, finch_error *err)
{
    str there = {0};
    const char *likely = data_names_likeliest(&reader->columns, column), *path = reader->file.path;
    finch_status st = data_names_list(&reader->columns, &there, err);
    if (st == FINCH_OK && likely != NULL && option != NULL) {
        const char *quote = strpbrk(likely, " \t") != NULL ? "\"" : "";
        st = finch_fail(err, FINCH_E_DATA, "%s has no column \"%s\"; it has: %s. Perhaps: %s %s%s%s", path, column, there.at,
                        option, quote, likely, quote);
    } else if (st == FINCH_OK && likely != NULL)
        st = finch_fail(err, FINCH_E_DATA, "%s has no column \"%s\"; it has: %s. Perhaps \"%s\" is meant", path, column,
                        there.at, likely);
    else if (st == FINCH_OK)
        st = finch_fail(err, FINCH_E_DATA, "%s has no column \"%s\"; it has: %s%s%s", path, column, there.at,
                        option != NULL ? ". Name it with " : "", option != NULL ? option : "");
    str_free(&there);
    return st;
}

finch_status data_relation_need(const data_relation *r, const char *column, const char *option, finch_error *err)
{
    for (size_t i = 0; i < r->n_open; i++) {
        const data_reader *reader = &r->readers[i];
        if (reader->columns.n > 0 && data_names_find(&reader->columns, column) == reader->columns.n)
            return fail_missing(reader, column, option, err);
    }
    return FINCH_OK;
}

finch_status data_relation_need_text(const data_relation *r, const char *column, const char *option, finch_error *err)
{
    FINCH_TRY(data_relation_need(r, column, option, err));
    for (size_t i = 0; i < r->n_open; i++) {
        const char *type = type_of(&r->readers[i], column);
        if (type == NULL || strcmp(type, "VARCHAR") == 0 || strcmp(type, "JSON") == 0) continue;
        return finch_fail(err, FINCH_E_DATA, "%s: the column \"%s\" holds %.60s, not texts; name the texts' column with %s",
                          r->readers[i].file.path, column, type, option != NULL ? option : "--text-column");
    }
    return FINCH_OK;
}

const char *data_relation_place(const data_relation *r, uint64_t row, uint64_t *number)
{
    size_t i = 0;
    for (; i + 1 < r->n_open && row >= r->readers[i].scan.n_rows; i++) row -= r->readers[i].scan.n_rows;
    *number = row + 1;
    return r->paths.at[i];
}

finch_status data_relation_check_rows(const data_relation *r, uint64_t n_read, finch_error *err)
{
    if (n_read == r->n_rows) return FINCH_OK;
    return finch_fail(err, FINCH_E_FAILED,
                      "%s%s: %" PRIu64 " rows were counted and %" PRIu64
                      " were read; nothing was written. Please report this file",
                      r->paths.at[0], r->paths.n > 1 ? " and the others" : "", r->n_rows, n_read);
}
