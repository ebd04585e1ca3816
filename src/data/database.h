/* DuckDB behind one door: opening, queries with errors in finch's form. */
#ifndef FINCH_DATA_DATABASE_H
#define FINCH_DATA_DATABASE_H

#include <duckdb.h>

/* "v1.4.4", static. */
const char *data_library_version(void);

#endif
