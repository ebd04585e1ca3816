#include "data/split_table.h"

#include "data/split_intern.h"
#include "text/near.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMN_LABEL, COLUMN_TEXT, COLUMN_CLUSTER, COLUMN_GROUP, COLUMN_TIME, COLUMN_COUNT };
enum { REPORT_ROWS = 1 << 16 };

/* What one reading works on. */
typedef struct reading {
    split_table *table;
    const data_relation *relation;
    near_index *texts; /* NULL: they are not looked at */
    split_intern labels, clusters, groups;
    uint32_t *first_cluster, *first_group; /* [n_rows] the first row of each number */
    finch_text *batch;                     /* texts of the chunk at hand */
    size_t n_batch, batch_capacity;
} reading;

void split_table_close(split_table *t)
{
    data_names_free(&t->classes);
    mem_free(t->class_of);
    mem_free(t->unit_of);
    mem_free(t->time);
    *t = (split_table){0};
}

split_rows split_table_rows(const split_table *t)
{
    return (split_rows){t->n_rows, t->class_of, (uint32_t)t->classes.n, t->unit_of, t->time};
}

/* ---- columns ---- */

static const char *column_if_there(const data_relation *relation, const char *name)
{
    const data_names *columns = data_relation_columns(relation);
    return name != NULL && data_names_find(columns, name) < columns->n ? name : NULL;
}

static finch_status find_text(const data_relation *relation, const data_split_options *o, split_table *t, finch_error *err)
{
    bool wanted = o->clusters != DATA_SPLIT_CLUSTERS_NONE;
    if (o->text_needed && wanted) FINCH_TRY(data_relation_need(relation, o->text_column, "--text-column", err));
    t->columns.text = column_if_there(relation, o->text_column);
    bool needed = t->clusters == DATA_SPLIT_CLUSTERS_TEXTS || t->clusters == DATA_SPLIT_CLUSTERS_BOTH;
    if (!needed) return FINCH_OK;
    if (t->columns.text != NULL) return data_relation_need_text(relation, t->columns.text, "--text-column", err);
    FINCH_TRY(data_relation_need(relation, o->text_column, "--text-column", err));
    return finch_fail(err, FINCH_E_DATA, "there is no column of texts; name it with --text-column");
}

static finch_status find_clusters(const data_relation *relation, const data_split_options *o, split_table *t,
                                  finch_error *err)
{
    bool wanted = o->clusters == DATA_SPLIT_CLUSTERS_COLUMN || o->clusters == DATA_SPLIT_CLUSTERS_BOTH;
    if (wanted || (o->cluster_needed && o->clusters == DATA_SPLIT_CLUSTERS_AUTO))
        FINCH_TRY(data_relation_need(relation, o->cluster_column, "--cluster-column", err));
    t->clusters = o->clusters;
    if (o->clusters == DATA_SPLIT_CLUSTERS_AUTO)
        t->clusters = column_if_there(relation, o->cluster_column) != NULL ? DATA_SPLIT_CLUSTERS_COLUMN
                                                                           : DATA_SPLIT_CLUSTERS_TEXTS;
    if (t->clusters == DATA_SPLIT_CLUSTERS_COLUMN || t->clusters == DATA_SPLIT_CLUSTERS_BOTH)
        t->columns.cluster = o->cluster_column;
    return FINCH_OK;
}

static finch_status find_columns(const data_relation *relation, const data_split_options *o, split_table *t,
                                 finch_error *err)
{
    FINCH_TRY(find_clusters(relation, o, t, err));
    FINCH_TRY(find_text(relation, o, t, err));
    if (o->label_needed || o->by == DATA_SPLIT_LABEL)
        FINCH_TRY(data_relation_need(relation, o->label_column, "--label-column", err));
    if (o->by != DATA_SPLIT_RANDOM) t->columns.label = column_if_there(relation, o->label_column);
    t->by = o->by;
    if (o->by == DATA_SPLIT_AUTO) t->by = t->columns.label != NULL ? DATA_SPLIT_LABEL : DATA_SPLIT_RANDOM;
    if (t->columns.label != NULL) FINCH_TRY(data_relation_need(relation, t->columns.label, "--label-column", err));
    if (o->group_column != NULL) {
        FINCH_TRY(data_relation_need(relation, o->group_column, "--group-column", err));
        t->columns.group = o->group_column;
    }
    if (t->by != DATA_SPLIT_TIME) return FINCH_OK;
    FINCH_TRY(data_relation_need(relation, o->time_column, "--time-column", err));
    t->columns.time = o->time_column;
    return FINCH_OK;
}

/* ---- times as numbers ---- */

/* Texts are numbers where all of them are whole numbers, else times; null where one is neither. */
static finch_status add_text_time(data_database *db, const data_relation *relation, split_table *t, str *sql,
                                  finch_error *err)
{
    str quoted = {0}, ask = {0};
    uint64_t n_other = 0;
    finch_status st = data_sql_name(&quoted, t->columns.time, err);
    if (st == FINCH_OK)
        st = str_add_format(&ask, err, "SELECT count(*) FROM (%s) WHERE TRY_CAST(%s AS BIGINT) IS NULL",
                            data_relation_sql(relation), quoted.at);
    if (st == FINCH_OK) st = data_query_count(db, ask.at, &n_other, err);
    t->time_is_number = n_other == 0;
    if (st == FINCH_OK && t->time_is_number) st = str_add_format(sql, err, "CAST(%s AS BIGINT)", quoted.at);
    else if (st == FINCH_OK) /* the second form is that of Twitter's own created_at */
        st = str_add_format(sql, err,
                            "epoch_us(coalesce(TRY_CAST(%s AS TIMESTAMP), try_strptime(%s, '%%a %%b %%d %%H:%%M:%%S +0000 "
                            "%%Y')))",
                            quoted.at, quoted.at);
    str_free(&quoted);
    str_free(&ask);
    return st;
}

static bool starts_with(const char *text, const char *start) { return strncmp(text, start, strlen(start)) == 0; }

/* The time column as a BIGINT that grows with the time. */
static finch_status add_time(data_database *db, const data_relation *relation, split_table *t, str *sql, finch_error *err)
{
    static const char *const whole[] = {"BIGINT",   "INTEGER",   "SMALLINT", "TINYINT",
                                        "UINTEGER", "USMALLINT", "UTINYINT", "UBIGINT"};
    const char *column = t->columns.time, *form = NULL;
    const char *type = data_relation_types(relation)->at[data_names_find(data_relation_columns(relation), column)];
    for (size_t i = 0; i < sizeof whole / sizeof whole[0]; i++)
        if (strcmp(type, whole[i]) == 0) form = "TRY_CAST(";
    t->time_is_number = form != NULL;
    if (strcmp(type, "DOUBLE") == 0 || strcmp(type, "FLOAT") == 0 || starts_with(type, "DECIMAL"))
        form = "TRY_CAST(1000000 * ";
    if (strcmp(type, "DATE") == 0 || starts_with(type, "TIMESTAMP")) form = "epoch_us(";
    if (strcmp(type, "VARCHAR") == 0) return add_text_time(db, relation, t, sql, err);
    if (form == NULL)
        return finch_fail(err, FINCH_E_DATA, "the column \"%s\" holds %.60s, not times; name another with --time-column",
                          column, type);
    bool direct = starts_with(type, "TIMESTAMP WITH");
    FINCH_TRY(str_add_text(sql, form, err));
    if (form[0] == 'e' && !direct) FINCH_TRY(str_add_text(sql, "CAST(", err));
    FINCH_TRY(data_sql_name(sql, column, err));
    if (form[0] == 'e') return str_add_text(sql, direct ? ")" : " AS TIMESTAMP))", err);
    return str_add_text(sql, " AS BIGINT)", err);
}

static finch_status add_text(const char *column, str *sql, finch_error *err)
{
    FINCH_TRY(str_add_text(sql, "CAST(", err));
    if (column != NULL) FINCH_TRY(data_sql_name(sql, column, err));
    else FINCH_TRY(str_add_text(sql, "NULL", err));
    return str_add_text(sql, " AS VARCHAR), ", err);
}

static finch_status build_query(data_database *db, const data_relation *relation, split_table *t, bool texts, str *sql,
                                finch_error *err)
{
    FINCH_TRY(str_add_text(sql, "SELECT ", err));
    FINCH_TRY(add_text(t->columns.label, sql, err));
    FINCH_TRY(add_text(texts ? t->columns.text : NULL, sql, err));
    FINCH_TRY(add_text(t->columns.cluster, sql, err));
    FINCH_TRY(add_text(t->columns.group, sql, err));
    if (t->columns.time != NULL) FINCH_TRY(add_time(db, relation, t, sql, err));
    else FINCH_TRY(str_add_text(sql, "CAST(0 AS BIGINT)", err));
    return str_add_format(sql, err, " FROM (%s)", data_relation_sql(relation));
}

/* ---- rows ---- */

/* unit_of is a forest while rows are read: each row's parent is an earlier one or itself, a root is its unit's first row. */
static uint32_t root_of(uint32_t *parent, uint32_t row)
{
    while (parent[row] != row) {
        parent[row] = parent[parent[row]];
        row = parent[row];
    }
    return row;
}

static void unite(uint32_t *parent, uint32_t a, uint32_t b)
{
    a = root_of(parent, a);
    b = root_of(parent, b);
    if (a < b) parent[b] = a;
    else parent[a] = b;
}

/* Rows with the same value belong together; null stands alone. */
static finch_status take_key(split_intern *values, uint32_t *first, const data_cursor *cursor, idx_t column, uint32_t row,
                             uint32_t *parent, finch_error *err)
{
    finch_text text;
    uint32_t number;
    bool is_new;
    if (!data_cursor_text(cursor, column, &text)) return FINCH_OK;
    FINCH_TRY(split_intern_add(values, text, &number, &is_new, err));
    if (is_new) first[number] = row;
    else unite(parent, first[number], row);
    return FINCH_OK;
}

/* A null label is a class of its own, called "". */
static finch_status take_label(reading *r, const data_cursor *cursor, uint32_t row, finch_error *err)
{
    split_table *t = r->table;
    finch_text text;
    uint32_t number;
    bool is_new;
    data_cursor_text(cursor, COLUMN_LABEL, &text);
    FINCH_TRY(split_intern_add(&r->labels, text, &number, &is_new, err));
    if (number >= SPLIT_CLASSES_MAX)
        return finch_fail(err, FINCH_E_DATA,
                          "the column \"%s\" has more than %d different values, so it is no class; name the labels' column "
                          "with --label-column, or use --by random",
                          t->columns.label, SPLIT_CLASSES_MAX);
    if (is_new) FINCH_TRY(data_names_add(&t->classes, text.at, text.size_bytes, err));
    t->class_of[row] = (uint16_t)number;
    return FINCH_OK;
}

/* Texts live as long as their chunk, so they are handed on at its end. */
static finch_status take_text(reading *r, const data_cursor *cursor, finch_error *err)
{
    finch_text text;
    if (r->n_batch == r->batch_capacity) {
        size_t wanted = r->batch_capacity == 0 ? 2048 : r->batch_capacity * 2;
        FINCH_TRY(mem_grow((void **)&r->batch, r->n_batch * sizeof *r->batch, wanted, sizeof *r->batch, err));
        r->batch_capacity = wanted;
    }
    if (!data_cursor_text(cursor, COLUMN_TEXT, &text)) text = (finch_text){NULL, 0};
    r->batch[r->n_batch++] = text;
    if (cursor->row + 1 < cursor->n_rows) return FINCH_OK;
    FINCH_TRY(near_add(r->texts, r->batch, r->n_batch, err));
    r->n_batch = 0;
    return FINCH_OK;
}

static finch_status fail_time(const reading *r, uint32_t row, finch_error *err)
{
    uint64_t number;
    const char *path = data_relation_place(r->relation, row, &number);
    return finch_fail_row(err, FINCH_E_DATA, number,
                          "%s row %" PRIu64 ": the column \"%s\" has no time that can be read (2020-04-09 23:59:51, a date, "
                          "or a number such as Unix seconds, the same in all rows); mend it or name another --time-column",
                          path, number, r->table->columns.time);
}

static finch_status take_row(reading *r, const data_cursor *cursor, uint32_t row, finch_error *err)
{
    split_table *t = r->table;
    t->unit_of[row] = row;
    FINCH_TRY(take_label(r, cursor, row, err));
    FINCH_TRY(take_key(&r->clusters, r->first_cluster, cursor, COLUMN_CLUSTER, row, t->unit_of, err));
    FINCH_TRY(take_key(&r->groups, r->first_group, cursor, COLUMN_GROUP, row, t->unit_of, err));
    if (r->texts != NULL) FINCH_TRY(take_text(r, cursor, err));
    if (t->time != NULL && !data_cursor_integer(cursor, COLUMN_TIME, &t->time[row])) return fail_time(r, row, err);
    return FINCH_OK;
}

static finch_status take_rows(reading *r, data_cursor *cursor, const progress *watch, finch_error *err)
{
    split_table *t = r->table;
    uint32_t row = 0;
    while (data_cursor_step(cursor)) {
        if (row == t->n_rows) return finch_fail(err, FINCH_E_FAILED, "the table grew while it was read; try again");
        FINCH_TRY(take_row(r, cursor, row++, err));
        if (row % REPORT_ROWS == 0 && !progress_report(watch, row, t->n_rows, NULL))
            return finch_fail(err, FINCH_E_CANCELLED, "interrupted");
    }
    FINCH_TRY(data_stream_check(cursor->result, err));
    if (row < t->n_rows) return finch_fail(err, FINCH_E_FAILED, "the table shrank while it was read; try again");
    return FINCH_OK;
}

/* ---- all of it ---- */

static finch_status join_near(reading *r, const progress *watch, finch_error *err)
{
    split_table *t = r->table;
    uint32_t *cluster;
    FINCH_TRY(mem_alloc(t->n_rows, sizeof *cluster, (void **)&cluster, err));
    finch_status st = near_clusters(r->texts, watch, cluster, NULL, err);
    for (uint32_t row = 0; st == FINCH_OK && row < t->n_rows; row++) unite(t->unit_of, row, cluster[row]);
    mem_free(cluster);
    return st;
}

/* Roots become numbers of first rows, and are counted. r->first_group is free by now. */
static void settle_units(reading *r)
{
    split_table *t = r->table;
    uint32_t *size = r->first_group;
    memset(size, 0, t->n_rows * sizeof *size);
    for (uint32_t row = 0; row < t->n_rows; row++) {
        t->unit_of[row] = root_of(t->unit_of, row);
        t->n_units += size[t->unit_of[row]]++ == 0;
    }
    for (uint32_t row = 0; row < t->n_rows; row++) t->n_shared += size[t->unit_of[row]] > 1;
}

static int compare_names(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Classes in byte order, so that their numbers do not depend on the order of the rows. */
static finch_status sort_classes(split_table *t, finch_error *err)
{
    char **before;
    uint16_t place[SPLIT_CLASSES_MAX];
    size_t n = t->classes.n;
    FINCH_TRY(MEM_NEW(&before, n, err));
    memcpy(before, t->classes.at, n * sizeof *before);
    qsort(t->classes.at, n, sizeof *t->classes.at, compare_names);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            if (before[i] == t->classes.at[j]) place[i] = (uint16_t)j;
    for (uint32_t row = 0; row < t->n_rows; row++) t->class_of[row] = place[t->class_of[row]];
    mem_free(before);
    return FINCH_OK;
}

static finch_status open_reading(reading *r, bool texts, finch_error *err)
{
    split_table *t = r->table;
    r->labels = split_intern_open();
    r->clusters = split_intern_open();
    r->groups = split_intern_open();
    if (texts) FINCH_TRY(near_open(NEAR_THRESHOLD, &r->texts, err));
    FINCH_TRY(MEM_NEW(&r->first_cluster, t->n_rows, err));
    FINCH_TRY(MEM_NEW(&r->first_group, t->n_rows, err));
    FINCH_TRY(MEM_NEW(&t->class_of, t->n_rows, err));
    FINCH_TRY(MEM_NEW(&t->unit_of, t->n_rows, err));
    return t->columns.time != NULL ? MEM_NEW(&t->time, t->n_rows, err) : FINCH_OK;
}

static void close_reading(reading *r)
{
    near_close(r->texts);
    split_intern_free(&r->labels);
    split_intern_free(&r->clusters);
    split_intern_free(&r->groups);
    mem_free(r->first_cluster);
    mem_free(r->first_group);
    mem_free(r->batch);
}

finch_status split_table_read(data_database *db, const data_relation *relation, const data_split_options *options,
                              split_table *out, finch_error *err)
{
    reading r = {.table = out, .relation = relation};
    str sql = {0};
    duckdb_result result;
    finch_status st;
    *out = (split_table){0};
    if (data_relation_rows(relation) > SPLIT_ROWS_MAX)
        return finch_fail(err, FINCH_E_UNSUPPORTED, "%" PRIu64 " rows are more than a split takes (%" PRIu32 ")",
                          data_relation_rows(relation), SPLIT_ROWS_MAX);
    out->n_rows = (uint32_t)data_relation_rows(relation);
    if (out->n_rows == 0) return finch_fail(err, FINCH_E_DATA, "there is no row to split");
    FINCH_GO(done, st, find_columns(relation, options, out, err));
    bool texts = out->clusters == DATA_SPLIT_CLUSTERS_TEXTS || out->clusters == DATA_SPLIT_CLUSTERS_BOTH;
    FINCH_GO(done, st, open_reading(&r, texts, err));
    FINCH_GO(done, st, build_query(db, relation, out, texts, &sql, err));
    FINCH_GO(done, st, data_query_stream(db, sql.at, &result, err));
    data_cursor cursor = {.result = &result};
    st = take_rows(&r, &cursor, options->watch, err);
    data_cursor_close(&cursor);
    duckdb_destroy_result(&result);
    if (st == FINCH_OK && texts) st = join_near(&r, options->watch, err);
    if (st == FINCH_OK) settle_units(&r);
    if (st == FINCH_OK) st = sort_classes(out, err);
done:
    close_reading(&r);
    str_free(&sql);
    if (st != FINCH_OK) split_table_close(out);
    return st;
}
