/* finch split's work: a table in, its rows in parts for training, validation and test out; near-duplicates stay together.
 *
 * How it works and why: docs/split.md. The planning in numbers: data/split_plan.h. */
#ifndef FINCH_DATA_SPLIT_H
#define FINCH_DATA_SPLIT_H

#include "base/progress.h"
#include "data/names.h"
#include "data/split_sizes.h"
#include "data/table.h"

typedef enum data_split_by { DATA_SPLIT_AUTO, DATA_SPLIT_LABEL, DATA_SPLIT_TIME, DATA_SPLIT_RANDOM } data_split_by;

/* What keeps rows together: AUTO is COLUMN where the inputs have the column, and BOTH where the check finds that it misses
 * some; else TEXTS. */
typedef enum data_split_clusters {
    DATA_SPLIT_CLUSTERS_AUTO,
    DATA_SPLIT_CLUSTERS_COLUMN,
    DATA_SPLIT_CLUSTERS_TEXTS,
    DATA_SPLIT_CLUSTERS_BOTH,
    DATA_SPLIT_CLUSTERS_NONE
} data_split_clusters;

/* Names of columns that are NULL are not looked for; *_needed: missing, it is an error.
 * train        the rest of the rows; NULL with n_folds.
 * valid, test  NULL: no such part.
 * n_folds      0, or from 2: folds goes to a table with the added column fold (its ending says the format) or, where it has
 *              no table's ending, to a new folder fold-0 .. with train and valid in each, named with fold_ending.
 * dropped      by time: where late copies go; NULL: they stay with the earliest row of their cluster. */
typedef struct data_split_options {
    data_source source;
    const char *train, *valid, *test;
    split_size valid_size, test_size;
    size_t n_folds;
    const char *folds;
    const char *fold_ending; /* "parquet", "csv", "jsonl" */
    const char *dropped;
    const char *rejects;
    data_split_by by;
    data_split_clusters clusters;
    const char *label_column, *time_column, *text_column, *cluster_column, *group_column;
    bool label_needed, text_needed, cluster_needed;
    uint64_t seed;
    const progress *watch;
} data_split_options;

/* One part of the rows: train, valid, test, or a fold. */
typedef struct data_split_part {
    const char *name;   /* "train", "valid", "test", "fold"; static */
    const char *output; /* borrowed from the options */
    uint32_t asked, rows;
    uint32_t *asked_of_class, *rows_of_class; /* [n_classes]; asked_of_class is NULL by time */
    char *from, *to;    /* by time: the least and greatest time, as written in the table; else NULL */
} data_split_part;

typedef struct data_split_report {
    data_split_by by;             /* never AUTO */
    data_split_clusters clusters; /* never AUTO */
    const char *label_column, *text_column; /* those that were used; NULL: none */
    data_names classes;           /* "" stands for rows without a label */
    data_split_part *parts;
    size_t n_parts;
    uint32_t n_rows, n_units, n_shared; /* rows; units; rows in units of several */
    uint32_t n_late, n_dropped;   /* by time: late copies, and those that went to the dropped table */
    uint64_t n_rejected;
    uint64_t n_leaks;             /* clusters found in the written parts that are in two of them: always 0 on success */
    bool checked;                 /* whether the texts could be checked for it */
} data_split_report;

/* Writes all parts beside their names, reads them again to look for near-duplicates across them, and only then renames
 * them, train last. *out is to be freed also after a failure.
 * Errors: FINCH_E_USAGE: outputs that are equal or are inputs, sizes above the rows; FINCH_E_DATA: a column that is
 * missing, times that can not be read, near-duplicates across parts; those of data_relation_open; FINCH_E_IO,
 * FINCH_E_MEMORY, FINCH_E_CANCELLED. */
finch_status data_split(const data_split_options *options, data_split_report *out, finch_error *err);
void data_split_report_free(data_split_report *report);

#endif
