/* The store's tables in finch sql: those that the SQL names as store.NAME are copied into the query's database first. */
#ifndef FINCH_CLI_SQL_STORE_H
#define FINCH_CLI_SQL_STORE_H

#include "cli/cli.h"
#include "data/sql.h"

/* Whether the text names a table of the store. */
bool sql_store_needed(finch_text text);

/* After wrong SQL: which tables there are, where the text names another one. */
void sql_store_hint(const cli_args *args, finch_text text);

/* state: the store's place, NULL for the preset. Errors: FINCH_E_NOT_FOUND where state names a file that is not there;
 * FINCH_E_CANCELLED; those of the store. */
finch_status sql_store_copy(data_sql *s, finch_text text, const char *state, const progress *watch, finch_error *err);

#endif
