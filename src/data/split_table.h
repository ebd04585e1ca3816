/* The rows of a table as a split sees them: classes, units and times. Internal to data/split*.c. */
#ifndef FINCH_DATA_SPLIT_TABLE_H
#define FINCH_DATA_SPLIT_TABLE_H

#include "data/relation.h"
#include "data/split.h"
#include "data/split_plan.h"

/* Which columns are used; NULL: none. */
typedef struct split_columns {
    const char *label, *text, *cluster, *group, *time;
} split_columns;

typedef struct split_table {
    split_columns columns;
    data_split_by by;             /* never AUTO */
    data_split_clusters clusters; /* never AUTO */
    data_names classes;           /* in byte order */
    uint32_t n_rows;
    uint16_t *class_of;           /* [n_rows] */
    uint32_t *unit_of;            /* [n_rows] */
    int64_t *time;                /* [n_rows] by time, else NULL */
    bool time_is_number;          /* time is the column's own number, else microseconds since 1970 */
    uint32_t n_units, n_shared;   /* n_shared: rows in units of several */
} split_table;

/* Finds the columns, then reads them once. close takes a zeroed or half-open struct. Errors: FINCH_E_USAGE, FINCH_E_DATA: a
 * column that is missing, is no class, holds no times; no row; those of queries. */
finch_status split_table_read(data_database *db, const data_relation *relation, const data_split_options *options,
                              split_table *out, finch_error *err);
void split_table_close(split_table *t);

split_rows split_table_rows(const split_table *t);

#endif
