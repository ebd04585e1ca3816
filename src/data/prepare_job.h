/* Everything that lasts for one run of data_prepare. Internal to data/prepare*.c. */
#ifndef FINCH_DATA_PREPARE_JOB_H
#define FINCH_DATA_PREPARE_JOB_H

#include "data/output.h"
#include "data/prepare.h"
#include "data/prepare_row.h"
#include "data/prepare_verdict.h"
#include "data/relation.h"
#include "data/spool.h"

typedef struct prepare_job {
    const prepare_options *options;
    prepare_result *result;
    data_database db;
    data_spool standard_input; /* where an input is - */
    const char **inputs;       /* with its path in place of it; NULL where none is */
    data_relation *input;
    data_output kept, dropped;
    prepare_row row;
    prepare_verdicts verdicts;
    data_spool rows;           /* the temporary file: columns c0 ... of the input, then those of prepare_row.h */
    str source;                /* SQL that reads it, with the row's number from 0 as n */
    size_t text, author, time; /* columns of the input; its number of columns where there is none */
} prepare_job;

/* Columns of the temporary file as the input's, under their names: `c0 AS "tweet_id", ...`. */
finch_status prepare_add_columns(const prepare_job *j, str *sql, finch_error *err);

/* report.json and report.html of a finished job, into the paths of its options. */
finch_status prepare_report_write(prepare_job *j, finch_error *err);

/* The functions that give a row's verdict in SQL, each of n: finch_reason (UTINYINT), finch_kept, finch_cluster (BIGINT). */
finch_status prepare_verdicts_register(data_database *db, const prepare_verdicts *v, finch_error *err);

#endif
