#include "cli/sql_store.h"

#include "base/file.h"
#include "data/sql_table.h"
#include "store/tables.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#define SCHEMA "store"

/* ---- what the SQL names ---- */

static bool is_name_byte(char c) { return isalnum((unsigned char)c) || c == '_' || (unsigned char)c >= 0x80; }

static size_t skip_space(finch_text text, size_t at)
{
    while (at < text.size_bytes && isspace((unsigned char)text.at[at])) at++;
    return at;
}

/* The name after store. at or behind *at, and where it ends; false where there is none. In strings and comments it is found,
 * too: a table is copied for nothing then. */
static bool next_name(finch_text text, size_t *at, finch_text *out)
{
    for (size_t begin = *at; begin + strlen(SCHEMA) < text.size_bytes; begin++) {
        if (strncasecmp(text.at + begin, SCHEMA, strlen(SCHEMA)) != 0) continue;
        if (begin > 0 && is_name_byte(text.at[begin - 1])) continue;
        size_t dot = begin + strlen(SCHEMA);
        if (text.at[dot] == '"') dot++;
        dot = skip_space(text, dot);
        if (dot >= text.size_bytes || text.at[dot] != '.') continue;
        size_t name = skip_space(text, dot + 1);
        if (name < text.size_bytes && text.at[name] == '"') name++;
        *at = name;
        while (*at < text.size_bytes && is_name_byte(text.at[*at])) ++*at;
        *out = (finch_text){text.at + name, *at - name};
        if (out->size_bytes > 0) return true;
    }
    return false;
}

static const store_table *find_table(finch_text name)
{
    size_t n;
    const store_table *tables = store_tables(&n);
    for (size_t i = 0; i < n; i++)
        if (strlen(tables[i].name) == name.size_bytes && strncasecmp(tables[i].name, name.at, name.size_bytes) == 0)
            return &tables[i];
    return NULL;
}

/* The next table that the text names; what else stands behind store. may be a column of an alias. */
static const store_table *next_table(finch_text text, size_t *at)
{
    finch_text name;
    while (next_name(text, at, &name)) {
        const store_table *table = find_table(name);
        if (table != NULL) return table;
    }
    return NULL;
}

bool sql_store_needed(finch_text text)
{
    size_t at = 0;
    return next_table(text, &at) != NULL;
}

void sql_store_hint(const cli_args *args, finch_text text)
{
    size_t n, at = 0;
    finch_text name;
    bool unknown = false;
    const store_table *tables = store_tables(&n);
    while (next_name(text, &at, &name)) unknown |= find_table(name) == NULL;
    if (!unknown) return;
    cli_say(args, "  the store's tables are");
    for (size_t i = 0; i < n; i++) cli_say(args, "%s " SCHEMA ".%s", i > 0 ? "," : "", tables[i].name);
    cli_say(args, "\n");
}

/* ---- copying ---- */

typedef struct copying {
    const store_table *from;
    data_sql_table *to;
    const progress *watch;
    uint64_t n_rows;
} copying;

static finch_status take_row(void *context, const sql_row *row, finch_error *err)
{
    enum { REPORT_ROWS = 1024 };
    copying *c = context;
    for (size_t i = 0; i < c->from->n_columns; i++) {
        if (sql_row_null(row, i)) {
            data_sql_table_null(c->to);
            continue;
        }
        switch (c->from->columns[i].type) {
        case STORE_COLUMN_TEXT: data_sql_table_text(c->to, sql_row_text(row, i)); break;
        case STORE_COLUMN_INTEGER: data_sql_table_integer(c->to, sql_row_integer(row, i)); break;
        case STORE_COLUMN_REAL: data_sql_table_real(c->to, sql_row_real(row, i)); break;
        case STORE_COLUMN_TIME: data_sql_table_time(c->to, sql_row_integer(row, i)); break;
        }
    }
    if (++c->n_rows % REPORT_ROWS == 0 && !progress_report(c->watch, 0, 0, NULL)) return cli_cancelled_fail(err);
    return data_sql_table_end_row(c->to, err);
}

static finch_status copy_table(data_sql *s, store *from, const store_table *table, const progress *watch, finch_error *err)
{
    static const data_sql_type types_of[] = {[STORE_COLUMN_TEXT] = DATA_SQL_TEXT,
                                             [STORE_COLUMN_INTEGER] = DATA_SQL_INTEGER,
                                             [STORE_COLUMN_REAL] = DATA_SQL_REAL,
                                             [STORE_COLUMN_TIME] = DATA_SQL_TIME};
    const char *names[STORE_TABLE_COLUMNS_MOST];
    data_sql_type types[STORE_TABLE_COLUMNS_MOST];
    copying c = {.from = table, .watch = watch};
    for (size_t i = 0; i < table->n_columns; i++) {
        names[i] = table->columns[i].name;
        types[i] = types_of[table->columns[i].type];
    }
    FINCH_TRY(data_sql_table_open(s, SCHEMA, table->name, names, types, table->n_columns, &c.to, err));
    finch_status st = store_table_read(from, table, take_row, &c, err);
    finch_status closed = data_sql_table_close(c.to, st == FINCH_OK ? err : NULL);
    return st == FINCH_OK ? closed : st;
}

static finch_status copy_named(data_sql *s, store *from, finch_text text, const progress *watch, finch_error *err)
{
    size_t n, at = 0;
    const store_table *tables = store_tables(&n), *table;
    bool *copied;
    FINCH_TRY(MEM_NEW(&copied, n, err));
    finch_status st = FINCH_OK;
    while (st == FINCH_OK && (table = next_table(text, &at)) != NULL) {
        if (!copied[table - tables]) st = copy_table(s, from, table, watch, err);
        copied[table - tables] = true;
    }
    mem_free(copied);
    return st;
}

/* The store makes what is not there; a question should not. */
static finch_status check_place(const char *state, finch_error *err)
{
    if (state == NULL || strstr(state, "://") != NULL || file_exists(state)) return FINCH_OK;
    return finch_fail(err, FINCH_E_NOT_FOUND, "there is no store %s; name one with --state", state);
}

finch_status sql_store_copy(data_sql *s, finch_text text, const char *state, const progress *watch, finch_error *err)
{
    store *from = NULL;
    FINCH_TRY(check_place(state, err));
    FINCH_TRY(store_open(state, &from, err));
    finch_status st = copy_named(s, from, text, watch, err);
    store_close(from);
    return st;
}
