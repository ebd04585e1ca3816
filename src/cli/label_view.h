/* What finch label shows: the estimate, the progress, the report, the list of jobs. */
#ifndef FINCH_CLI_LABEL_VIEW_H
#define FINCH_CLI_LABEL_VIEW_H

#include "cli/cli.h"
#include "label/label.h"

typedef struct label_view {
    const cli_args *args;
    const label_options *options;
    cli_bar tables, asking;
    progress watch_tables, watch_asking;
    uint64_t queued_rss_bytes; /* with all texts in the store, before the first is asked */
    str note;
} label_view;

/* Sets what the options report to: the bars. */
void label_view_open(label_view *view, const cli_args *args, label_options *options);
void label_view_close(label_view *view);

/* For label_run. */
void label_view_begin(void *context, const label_report *report);

/* For people, and the document of --json. failure (may be NULL) is why the run ended early. */
finch_status label_view_report(label_view *view, const label_report *report, const finch_error *failure, finch_error *err);

/* The jobs of finch label status --json, as an array. */
finch_status label_view_jobs(store *s, json_t **out, finch_error *err);
/* finch label status. job NULL: all jobs. */
finch_status label_view_status(const cli_args *args, store *s, const char *job, finch_error *err);

#endif
