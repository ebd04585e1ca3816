/* One file of a table as DuckDB is to read it. Internal to data/relation.c, data/text_column.c and data/reader.c. */
#ifndef FINCH_DATA_READER_H
#define FINCH_DATA_READER_H

#include "data/csv_dialect.h"
#include "data/database.h"
#include "data/files.h"
#include "data/narrow.h"
#include "data/scan.h"

typedef struct data_reader {
    data_file file;
    data_spool unpacked;   /* of an archive */
    data_spool good;       /* a copy of the good rows, where there are others or CSV's encoding asks for it */
    data_dialect dialect;  /* CSV */
    bool array;            /* JSON: one array, not lines */
    char *structure;       /* JSON: its rows' structure for from_json */
    data_names columns;
    narrow_set *narrow;    /* [columns] CSV: the types of its values (data/csv_regular.h); NULL where they are not known */
    data_names types;      /* Parquet and JSON */
    data_scan scan;        /* its n_rows for every format */
} data_reader;

/* Inspects the file and fills *out; broken rows go to rejects. max_line_bytes: as data_source has it; text_key: as data_file. */
finch_status data_reader_open(data_database *db, const char *path, size_t max_line_bytes, const char *text_key,
                              const progress *watch, data_rejects *rejects, data_reader *out, finch_error *err);
void data_reader_close(data_reader *r);
/* The names of a file's columns and nothing else: no row is counted, and of JSON the first object's keys are given. */
finch_status data_reader_names(const char *path, data_names *out, finch_error *err);

/* Whether one call of DuckDB's reader serves both. */
bool data_reader_same(const data_reader *a, const data_reader *b);

/* "read_csv([...], ...)" or what the format needs, for n readers that are the same; gives the columns by name, text for
 * CSV. */
finch_status data_reader_sql(const data_reader *readers, size_t n, str *sql, finch_error *err);

/* Of a Parquet file, with the column file_row_number from 0 on added. */
finch_status data_reader_numbered_sql(const data_reader *reader, str *sql, finch_error *err);

/* Fills structure, columns and types of a JSON reader from all its rows; objects is SQL that gives them as column json. */
finch_status data_reader_json_structure(data_database *db, data_reader *r, const char *objects, finch_error *err);

#endif
