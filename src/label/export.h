/* The output table: the input's columns, and what the store knows of each row's text. */
#ifndef FINCH_LABEL_EXPORT_H
#define FINCH_LABEL_EXPORT_H

#include "base/progress.h"
#include "data/names.h"
#include "data/table.h"
#include "store/labels.h"

#include <pthread.h>

/* What counts where people have labelled a text (finch review). */
typedef enum export_people {
    EXPORT_PEOPLE_WIN,    /* a class that more than half of them gave is the label */
    EXPORT_PEOPLE_BESIDE, /* the job's label stands; what they said is in the provenance */
} export_people;

/* The job is still asked while its output is written: a row whose text is not settled yet is waited for. */
typedef struct export_news {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool over; /* nothing will be settled any more */
} export_news;

void export_news_open(export_news *news);
void export_news_close(export_news *news);
/* Any thread's: what is not settled by now stays so. */
void export_news_end(export_news *news);

typedef struct export_options {
    data_source source;
    const char *text_column;
    const char *output;     /* its ending says the format; "-": JSONL on stdout */
    const char *prefix;     /* of the added columns */
    bool provenance;        /* also the columns behind label_reason in export.c */
    export_people people;
    const progress *watch;
    export_news *news;      /* NULL: what is not settled is "not asked yet" */
} export_options;

typedef struct export_result {
    uint64_t n_rows, n_labelled, n_unlabelled, n_by_people;
    uint64_t classes[LABELS_CLASSES];
} export_result;

/* Whether the output's path and ending will do, before the work that fills it. Errors: FINCH_E_USAGE, FINCH_E_IO. */
finch_status export_check(const char *output, finch_error *err);

/* Whether the added columns' names are free. Errors: FINCH_E_USAGE; the remedy is a prefix. */
finch_status export_check_names(const export_options *o, const data_names *columns, finch_error *err);

finch_status export_table(store *s, const labels_job *job, const export_options *options, export_result *out,
                          finch_error *err);

#endif
