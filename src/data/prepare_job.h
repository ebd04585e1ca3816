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
    str source; /* SQL that reads it, with the row's number from 0 as n and its verdict, cluster and first */
    uint64_t database_bytes; /* of the memory limit */
    size_t text, author, time; /* columns of the input; its number of columns where there is none */
} prepare_job;

/* A setting's words, with PRIu64 for its value. */
finch_status prepare_set(data_database *db, const char *setting, uint64_t value, finch_error *err);
/* What the progress is about from now on. */
void prepare_phase(const prepare_job *j, const char *name, const char *unit);

/* The input's columns as c0 ..., in brackets. */
finch_status prepare_input_query(const prepare_job *j, str *sql, finch_error *err);
/* What writes a query's rows into the temporary file. */
finch_status prepare_temporary_query(const prepare_job *j, const char *query, str *sql, finch_error *err);
/* Whether n rows are those that were cleaned and those that the input has. */
finch_status prepare_check_rows(const prepare_job *j, uint64_t n, finch_error *err);

/* A chunk's keys; columns are those of the text (may be another that is null where it is), reason, low, high and flood. */
enum { PREPARE_KEY_COLUMNS = 5 };
void prepare_read_keys(duckdb_data_chunk chunk, const idx_t *columns, prepare_keys *keys);

/* The table of the kept or of the dropped rows, from source, which is as prepare_job.source. watch may be NULL. */
finch_status prepare_write_table(const prepare_job *j, data_database *db, const char *source, const data_output *to,
                                 bool kept, const data_query_watch *watch, uint64_t *n, finch_error *err);
/* The result's counts, from the verdicts; and whether the tables hold as many rows as those say. */
void prepare_count(prepare_job *j);
finch_status prepare_check_tables(const prepare_job *j, finch_error *err);

/* prepare_stream.c: every row into the temporary file, of columns whose types stream. */
bool prepare_types_stream(const prepare_job *j);
finch_status prepare_stream_rows(prepare_job *j, uint64_t *n, finch_error *err);
/* Both tables while the input is read, where no stage and no report looks at all rows first. */
bool prepare_streams(const prepare_job *j);
finch_status prepare_stream(prepare_job *j, finch_error *err);

/* Columns of the temporary file as the input's, under their names: `c0 AS "tweet_id", ...`. */
finch_status prepare_add_columns(const prepare_job *j, str *sql, finch_error *err);

/* report.json and report.html of a finished job, into the paths of its options. */
finch_status prepare_report_write(prepare_job *j, finch_error *err);

/* The functions that give a row's verdict in SQL, each of n: finch_reason (UTINYINT), finch_kept, finch_cluster (BIGINT). */
finch_status prepare_verdicts_register(data_database *db, const prepare_verdicts *v, finch_error *err);

#endif
