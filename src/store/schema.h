/* The tables and their versions. Internal to the room. */
#ifndef FINCH_STORE_SCHEMA_H
#define FINCH_STORE_SCHEMA_H

#include "store/sql.h"

/* The statements that lead from one version to the next. */
typedef struct schema_version {
    const sql_statement *statements;
    size_t n_statements;
} schema_version;

extern const schema_version schema_version_serve;  /* schema_serve.c */
extern const schema_version schema_version_shared; /* schema_shared.c */

/* Makes or updates the tables; runs inside a transaction. Errors: FINCH_E_UNSUPPORTED where the store is of a newer finch. */
finch_status schema_bring_up(sql_db *db, finch_error *err);

#endif
