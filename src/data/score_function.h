/* The engine as a vectorised scalar function in DuckDB. Internal to data/score_file.c. */
#ifndef FINCH_DATA_SCORE_FUNCTION_H
#define FINCH_DATA_SCORE_FUNCTION_H

#include "data/database.h"
#include "data/scoring.h"

#define SCORE_FUNCTION "finch_score_row"

/* What the function works on; lives as long as the connection it is registered with. */
typedef struct score_function {
    data_scoring *scoring;
    bool logits;
    const data_names *columns;    /* of the struct it returns: data_scoring_columns without a prefix */
    data_scoring_input *inputs;   /* [DATA_SCORE_CAPACITY] */
    data_scoring_output *outputs; /* [DATA_SCORE_CAPACITY] */
    finch_text *tickers, *times;  /* [DATA_SCORE_CAPACITY] */
    finch_error error;            /* why the query failed, where the engine was the reason */
} score_function;

/* finch_score_row(text VARCHAR, tickers VARCHAR, time VARCHAR) -> STRUCT of the columns, their values null where the text
 * is null or empty. Tickers and time are for the summary (data/summary.h). */
finch_status score_function_register(data_database *db, score_function *f, finch_error *err);

#endif
