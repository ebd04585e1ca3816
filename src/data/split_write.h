/* The parts of a split as files that appear together. Internal to data/split*.c.
 *
 * All are written beside their names first and read again (split_check). Then they take their names: the old train file
 * goes first, the new one comes last, so where train is there, all that belongs to it is. A folder of folds is one rename. */
#ifndef FINCH_DATA_SPLIT_WRITE_H
#define FINCH_DATA_SPLIT_WRITE_H

#include "data/output.h"
#include "data/relation.h"
#include "data/split.h"

/* What goes into one file: the rows of parts first..last but `without`. */
typedef struct split_file {
    data_output output;
    str path;             /* owned: files of a folder of folds */
    size_t first, last;   /* parts */
    size_t without;       /* SIZE_MAX: none */
    bool with_fold;       /* the part's number becomes the column fold, 0 for part `first` */
    bool is_train;        /* takes its name last */
    bool is_checked;      /* its rows are part of the check: together such files have every row once */
    uint64_t n_rows;
    size_t max_line_bytes; /* of what is written: every quote may have been doubled */
} split_file;

typedef struct split_files {
    split_file *at;
    size_t n;
    str folder;        /* of folds, "" where there is none */
    str folder_beside; /* its name until it is whole */
} split_files;

/* Looks at all paths and makes the files beside. n_parts are those of the plan, the folds last. close takes a zeroed struct and
 * removes what was not committed. Errors: FINCH_E_USAGE for endings, equal outputs, outputs that are inputs. */
finch_status split_files_open(const data_split_options *options, const data_names *inputs, size_t n_parts, split_files *out,
                              finch_error *err);
void split_files_close(split_files *files);

/* Whether every file is CSV, whose values can stay as they are written. */
bool split_files_all_csv(const split_files *files);

/* part_of [n_rows] is borrowed until the database is closed. */
finch_status split_files_write(data_database *db, const data_relation *relation, const uint16_t *part_of, uint32_t n_rows,
                               split_files *files, const progress *watch, finch_error *err);

/* Clusters of near-duplicates that have rows in two parts, of the texts as they now stand in the files. */
finch_status split_files_check(data_database *db, const split_files *files, const data_names *columns, const char *text,
                               const uint16_t *part_of, uint32_t n_rows, const progress *watch, uint64_t *n_leaks,
                               finch_error *err);

finch_status split_files_commit(split_files *files, finch_error *err);

#endif
