/* The tables and their versions. Internal to the room. */
#ifndef FINCH_STORE_SCHEMA_H
#define FINCH_STORE_SCHEMA_H

#include "store/sql.h"

/* Makes or updates the tables; runs inside a transaction. Errors: FINCH_E_UNSUPPORTED where the store is of a newer finch. */
finch_status schema_bring_up(sql_db *db, finch_error *err);

#endif
