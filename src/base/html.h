/* The pieces of a self-contained HTML report: escaped text, and charts as inline SVG. No script, no outside request;
 * light and dark by the reader's setting. Errors of all: FINCH_E_MEMORY. */
#ifndef FINCH_BASE_HTML_H
#define FINCH_BASE_HTML_H

#include "base/str.h"

/* Doctype, head with title and styles, and the opening of <main>. */
finch_status html_begin(str *out, const char *title, finch_error *err);
finch_status html_end(str *out, finch_error *err);

/* UTF-8 text with <>&" escaped; control characters and invalid bytes become U+FFFD. */
finch_status html_text(str *out, const char *text, size_t size, finch_error *err);

/* A horizontal bar of share in [0, 1] with its value behind it. */
finch_status html_bar(str *out, const char *label, double share, const char *value, finch_error *err);

/* A line chart over x, y in [0, 1]. */
typedef struct html_series {
    const char *name;
    const double *x; /* [n] */
    const double *y; /* [n] */
    size_t n;
    bool marks; /* dots at the points too */
} html_series;

typedef struct html_chart {
    const char *title;
    const char *x_label, *y_label;
    const html_series *series;
    size_t n_series;
    bool diagonal; /* the dashed line y = x */
} html_chart;

finch_status html_line_chart(str *out, const html_chart *chart, finch_error *err);

/* A square table of counts, each cell shaded by its share of the row. */
finch_status html_heat_map(str *out, const char *const *labels, const uint64_t *counts, size_t n, finch_error *err);

#endif
