/* finch's functions in DuckDB's SQL. Internal to data/sql.c. */
#ifndef FINCH_DATA_SQL_FUNCTIONS_H
#define FINCH_DATA_SQL_FUNCTIONS_H

#include "data/database.h"
#include "data/sql_engine.h"

/* finch_clean(VARCHAR) VARCHAR and finch_tickers(VARCHAR) VARCHAR[]; with an engine also finch_score(VARCHAR) DOUBLE,
 * finch_label(VARCHAR) VARCHAR and finch_probs(VARCHAR) STRUCT with a FLOAT for each label of the model. Null gives null; an
 * empty text gives null where a model would be asked. engine lives as long as the connection. */
finch_status sql_functions_register(data_database *db, sql_engine *engine, finch_error *err);

#endif
