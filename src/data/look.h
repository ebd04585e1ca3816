/* A look at tables: their first rows, their columns, what the columns hold; and tables from one format to another. */
#ifndef FINCH_DATA_LOOK_H
#define FINCH_DATA_LOOK_H

#include "base/progress.h"
#include "data/names.h"
#include "data/table.h"

typedef struct data_look data_look;

/* Opens and counts the inputs (data/relation.h); CSV columns get types where typed. *out is NULL on failure. */
finch_status data_look_open(const data_source *source, bool typed, const progress *watch, data_look **out, finch_error *err);
void data_look_close(data_look *look);

const data_names *data_look_columns(const data_look *look);
const data_names *data_look_types(const data_look *look);
uint64_t data_look_rows(const data_look *look);
/* Lists them: data/rejects.h. */
finch_status data_look_list_rejects(const data_look *look, const char *path, finch_error *err);
uint64_t data_look_rejected(const data_look *look);

/* Values as text, row by row; NULL: null. Free with data_grid_free, which takes a zeroed struct. */
typedef struct data_grid {
    size_t n_rows, n_columns;
    char **values; /* [n_rows, n_columns] */
} data_grid;

void data_grid_free(data_grid *grid);

/* The first rows. */
finch_status data_look_head(data_look *look, size_t n_rows, data_grid *out, finch_error *err);
/* The same as a JSON array of objects, with their types, appended to out. */
finch_status data_look_head_json(data_look *look, size_t n_rows, str *out, finch_error *err);

/* One row a column of the table; the grid's columns: */
enum data_stat { DATA_STAT_NULLS, DATA_STAT_DISTINCT, DATA_STAT_LEAST, DATA_STAT_MOST, DATA_STAT_MEAN, DATA_STAT_COUNT };
enum { DATA_STATS_EXACT_ROWS = 100000 };
/* nulls: their number; distinct: how many, of more than DATA_STATS_EXACT_ROWS rows about (HyperLogLog); least and most: of texts the first and last in byte order;
 * mean: of numbers their mean, of texts the mean of their lengths in characters, else null. */
finch_status data_look_stats(data_look *look, data_grid *out, finch_error *err);
bool data_look_stats_exact(const data_look *look);

/* Rows are put in order by a column from here on: by its numbers where all its values are whole numbers, else as its type
 * orders them. Equal values keep the order of the files; *n_equal: rows whose value came before. Errors: FINCH_E_DATA where
 * a file lacks the column or a value is null. */
finch_status data_look_order(data_look *look, const char *column, uint64_t *n_equal, finch_error *err);

/* All rows to a file whose ending says the format (data/output.h), whole or not at all; broken rows are listed in rejects. */
finch_status data_look_convert(data_look *look, const char *output, const char *rejects, uint64_t *n_written,
                               finch_error *err);

#endif
