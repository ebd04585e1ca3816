/* The store's tables as people read them: names for classes, states and models, times and dollars. What finch sql shows.
 * Left out: API keys and their names at the provider, secrets, bodies of answers, and who holds what. */
#ifndef FINCH_STORE_TABLES_H
#define FINCH_STORE_TABLES_H

#include "store/store.h"

typedef enum store_column_type {
    STORE_COLUMN_TEXT,
    STORE_COLUMN_INTEGER,
    STORE_COLUMN_REAL,
    STORE_COLUMN_TIME /* integer, Unix milliseconds */
} store_column_type;

typedef struct store_column {
    const char *name;
    store_column_type type;
} store_column;

enum { STORE_TABLE_COLUMNS_MOST = 20 };

typedef struct store_table {
    const char *name, *about;
    store_column columns[STORE_TABLE_COLUMNS_MOST];
    size_t n_columns;
    const char *key;    /* the parts of what pages are ordered by: t a text, n a number */
    sql_statement page; /* the columns, then the key; the rows behind the key ($1, $2, $3), at most $4 */
} store_table;

/* Static; in the order in which they are told. */
const store_table *store_tables(size_t *n);

/* Gives each all rows, page by page, in the order of the key: memory does not grow with the table, and a row that is written
 * meanwhile may be among them or not. A statement of the caller's own must not run on s meanwhile. */
finch_status store_table_read(store *s, const store_table *table, sql_row_fn each, void *context, finch_error *err);

#endif
