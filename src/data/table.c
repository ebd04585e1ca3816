#include "data/table.h"

#include "data/relation.h"

#include <inttypes.h>
#include <string.h>

enum { BLOCK_BYTES = 1 << 20 };

typedef struct text_block {
    struct text_block *next;
    size_t used, size;
    char at[];
} text_block;

/* A value's place; at is NULL for null. */
typedef struct value {
    const char *at;
    size_t size_bytes;
} value;

struct data_columns {
    size_t n_columns, n_rows, capacity; /* rows */
    bool *has;                          /* [n_columns] */
    value *values;                      /* [capacity, n_columns] */
    text_block *blocks;
    data_rejects rejects;
    data_names files;
    uint64_t *ends; /* [files.n] rows up to the file's last */
    str note;       /* of the rejected rows */
};

static finch_status keep_text(data_columns *c, finch_text text, value *out, finch_error *err)
{
    text_block *b = c->blocks;
    if (b == NULL || b->size - b->used <= text.size_bytes) {
        size_t size = text.size_bytes + 1 > BLOCK_BYTES ? text.size_bytes + 1 : BLOCK_BYTES;
        FINCH_TRY(mem_alloc(1, sizeof *b + size, (void **)&b, err));
        b->next = c->blocks;
        b->used = 0;
        b->size = size;
        c->blocks = b;
    }
    char *at = b->at + b->used;
    if (text.size_bytes > 0) memcpy(at, text.at, text.size_bytes);
    at[text.size_bytes] = '\0';
    b->used += text.size_bytes + 1;
    *out = (value){at, text.size_bytes};
    return FINCH_OK;
}

static finch_status add_row(data_columns *c, const data_cursor *cursor, finch_error *err)
{
    if (c->n_rows == c->capacity) {
        size_t wanted = c->capacity == 0 ? 1024 : c->capacity * 2, row_bytes = c->n_columns * sizeof *c->values;
        FINCH_TRY(mem_grow((void **)&c->values, c->n_rows * row_bytes, wanted, row_bytes, err));
        c->capacity = wanted;
    }
    for (size_t i = 0; i < c->n_columns; i++) {
        finch_text text;
        value *v = &c->values[c->n_rows * c->n_columns + i];
        *v = (value){NULL, 0};
        if (data_cursor_text(cursor, i, &text)) FINCH_TRY(keep_text(c, text, v, err));
    }
    c->n_rows++;
    return FINCH_OK;
}

static finch_status add_select(str *sql, const data_relation *r, const char *const *columns, const data_columns *c,
                               finch_error *err)
{
    FINCH_TRY(str_add_text(sql, "SELECT ", err));
    for (size_t i = 0; i < c->n_columns; i++) {
        FINCH_TRY(str_add_text(sql, i > 0 ? ", CAST(" : "CAST(", err));
        if (c->has[i]) FINCH_TRY(data_sql_name(sql, columns[i], err));
        else FINCH_TRY(str_add_text(sql, "NULL", err));
        FINCH_TRY(str_add_text(sql, " AS VARCHAR)", err));
    }
    return str_add_format(sql, err, " FROM (%s)", data_relation_sql(r));
}

static finch_status read_rows(data_database *db, const data_relation *r, const char *const *columns, data_columns *c,
                              finch_error *err)
{
    str sql = {0};
    duckdb_result result;
    finch_status st = add_select(&sql, r, columns, c, err);
    if (st == FINCH_OK) st = data_query(db, sql.at, &result, err);
    str_free(&sql);
    if (st != FINCH_OK) return st;
    data_cursor cursor = {.result = &result};
    while (st == FINCH_OK && data_cursor_step(&cursor)) st = add_row(c, &cursor, err);
    data_cursor_close(&cursor);
    duckdb_destroy_result(&result);
    return st == FINCH_OK ? data_relation_check_rows(r, c->n_rows, err) : st;
}

static finch_status choose_columns(const data_relation *r, const char *const *columns, const bool *required, data_columns *c,
                                   finch_error *err)
{
    const data_names *there = data_relation_columns(r);
    for (size_t i = 0; i < c->n_columns; i++) {
        bool wanted = required == NULL || required[i];
        if (wanted && i == 0) FINCH_TRY(data_relation_need_text(r, columns[i], NULL, err));
        else if (wanted) FINCH_TRY(data_relation_need(r, columns[i], NULL, err));
        c->has[i] = data_names_find(there, columns[i]) < there->n;
    }
    return FINCH_OK;
}

static finch_status note_files(const data_relation *r, data_columns *c, finch_error *err)
{
    uint64_t n_rows, end = 0;
    FINCH_TRY(MEM_NEW(&c->ends, data_relation_files(r), err));
    for (size_t i = 0; i < data_relation_files(r); i++) {
        const char *path = data_relation_file(r, i, &n_rows);
        FINCH_TRY(data_names_add(&c->files, path, strlen(path), err));
        c->ends[i] = end += n_rows;
    }
    return FINCH_OK;
}

/* The paths of rejects are the relation's, which ends before the columns do; both lists are in the files' order. */
static void keep_rejects(data_relation *r, data_columns *c)
{
    c->rejects = data_relation_take_rejects(r);
    for (size_t i = 0, file = 0; i < c->rejects.n_held; i++) {
        while (file + 1 < c->files.n && strcmp(c->files.at[file], c->rejects.at[i].path) != 0) file++;
        c->rejects.at[i].path = c->files.at[file];
    }
}

static finch_status note_rejects(data_columns *c, finch_error *err)
{
    enum { NOTED_MAX = 5 };
    const data_rejects *rejects = &c->rejects;
    for (size_t i = 0; i < rejects->n && i < NOTED_MAX; i++) {
        const data_reject *r = &rejects->at[i];
        FINCH_TRY(str_add_format(&c->note, err, "%s%s line %llu (%s)", i > 0 ? ", " : "", r->path,
                                 (unsigned long long)r->line, r->reason));
    }
    if (rejects->n > NOTED_MAX) FINCH_TRY(str_add_format(&c->note, err, " and %" PRIu64 " more", rejects->n - NOTED_MAX));
    return FINCH_OK;
}

finch_status data_columns_read(const data_source *src, const char *const *columns, const bool *required, size_t n_columns,
                               data_columns **out, finch_error *err)
{
    data_database db = {0};
    data_relation *r = NULL;
    data_columns *c = NULL;
    finch_status st;
    *out = NULL;
    FINCH_GO(done, st, MEM_NEW(&c, 1, err));
    c->n_columns = n_columns;
    FINCH_GO(done, st, MEM_NEW(&c->has, n_columns, err));
    FINCH_GO(done, st, data_database_open(&db, err));
    FINCH_GO(done, st, data_relation_open(&db, src, &(data_relation_options){.text_column = columns[0]}, &r, err));
    FINCH_GO(done, st, choose_columns(r, columns, required, c, err));
    FINCH_GO(done, st, read_rows(&db, r, columns, c, err));
    FINCH_GO(done, st, note_files(r, c, err));
    keep_rejects(r, c);
    FINCH_GO(done, st, note_rejects(c, err));
done:
    data_relation_close(r);
    data_database_close(&db);
    if (st == FINCH_OK) *out = c;
    else data_columns_free(c);
    return st;
}

void data_columns_free(data_columns *c)
{
    if (c == NULL) return;
    for (text_block *b = c->blocks, *next; b != NULL; b = next) {
        next = b->next;
        mem_free(b);
    }
    mem_free(c->values);
    mem_free(c->has);
    mem_free(c->ends);
    str_free(&c->note);
    data_rejects_free(&c->rejects);
    data_names_free(&c->files);
    mem_free(c);
}

size_t data_columns_rows(const data_columns *c) { return c->n_rows; }
bool data_columns_has(const data_columns *c, size_t column) { return c->has[column]; }

finch_text data_columns_text(const data_columns *c, size_t column, size_t row)
{
    const value *v = &c->values[row * c->n_columns + column];
    return v->at != NULL ? (finch_text){v->at, v->size_bytes} : (finch_text){"", 0};
}

bool data_columns_null(const data_columns *c, size_t column, size_t row)
{
    return c->values[row * c->n_columns + column].at == NULL;
}

/* The file that holds the row; a table with rows has one. */
static size_t file_of(const data_columns *c, size_t row)
{
    size_t i = 0;
    while (i + 1 < c->files.n && row >= c->ends[i]) i++;
    return i;
}

const char *data_columns_file(const data_columns *c, size_t row) { return c->files.at[file_of(c, row)]; }

uint64_t data_columns_row_number(const data_columns *c, size_t row)
{
    size_t i = file_of(c, row);
    return (uint64_t)row + 1 - (i > 0 ? c->ends[i - 1] : 0);
}
uint64_t data_columns_rejected(const data_columns *c) { return c->rejects.n; }
const data_rejects *data_columns_rejects(const data_columns *c) { return &c->rejects; }
const char *data_columns_reject_note(const data_columns *c) { return c->note.at != NULL ? c->note.at : ""; }
