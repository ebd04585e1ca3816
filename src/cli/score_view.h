/* What finch score tells people at its end. */
#ifndef FINCH_CLI_SCORE_VIEW_H
#define FINCH_CLI_SCORE_VIEW_H

#include "cli/cli.h"
#include "data/scoring.h"

/* output      "-" or a path
 * compute     "int8"
 * rejects     where broken rows are listed; NULL where they were answered in a pipe */
typedef struct score_view {
    const char *output;
    const char *model;
    const char *compute;
    const char *rejects;
    uint64_t n_rejected;
    size_t max_tokens;
    double seconds;
} score_view;

/* On stderr; nothing under --quiet. Colour on a terminal only, none where NO_COLOR is set. */
finch_status score_view_show(const cli_args *args, const data_scoring *s, const score_view *view, finch_error *err);

#endif
