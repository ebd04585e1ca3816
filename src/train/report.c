#include "train/report.h"

#include "base/html.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { ROC_POINTS = 200, COVERAGE_POINTS = 50, MISTAKES = 40, SLICES_SHOWN = 25 };

static finch_status text_of(str *out, const char *text, finch_error *err) { return html_text(out, text, strlen(text), err); }

static finch_status cell(str *out, double value, const evaluation_interval *interval, finch_error *err)
{
    if (isnan(value)) return str_add_text(out, "<td class=\"soft\">none</td>", err);
    FINCH_TRY(str_add_format(out, err, "<td>%.4f", value));
    if (interval != NULL && !isnan(interval->low))
        FINCH_TRY(str_add_format(out, err, " <span class=\"soft\">%.3f to %.3f</span>", interval->low, interval->high));
    return str_add_text(out, "</td>", err);
}

static finch_status metrics_table(const report *r, str *out, finch_error *err)
{
    FINCH_TRY(str_add_text(out, "<h2>Metrics</h2><div class=\"scroll\"><table><tr><th></th>", err));
    for (size_t m = 0; m < r->n_models; m++) {
        FINCH_TRY(str_add_text(out, "<th>", err));
        FINCH_TRY(text_of(out, r->models[m].name, err));
        FINCH_TRY(str_add_text(out, "</th>", err));
    }
    for (size_t id = 0; id < METRICS_COUNT; id++) {
        FINCH_TRY(str_add_format(out, err, "</tr>\n<tr><th>%s</th>", metrics_name((metrics_id)id)));
        for (size_t m = 0; m < r->n_models; m++) {
            const evaluation_interval *intervals = r->models[m].intervals;
            FINCH_TRY(cell(out, r->models[m].figures->value[id], intervals == NULL ? NULL : &intervals[id], err));
        }
    }
    FINCH_TRY(str_add_text(out, "</tr></table></div>\n", err));
    if (r->n_resamples > 0)
        FINCH_TRY(str_add_format(out, err,
                                 "<p class=\"soft\">Ranges: 95 %% bootstrap intervals, %zu resamples of the rows.</p>\n",
                                 r->n_resamples));
    for (size_t m = 1; m < r->n_models; m++) {
        const mcnemar *v = &r->models[m].versus;
        FINCH_TRY(str_add_text(out, "<p>", err));
        FINCH_TRY(text_of(out, r->models[0].name, err));
        FINCH_TRY(str_add_format(out, err, " alone is right on %zu rows, ", v->only_first));
        FINCH_TRY(text_of(out, r->models[m].name, err));
        FINCH_TRY(str_add_format(out, err, " alone on %zu: McNemar's exact p = %.3g.</p>\n", v->only_second, v->p_value));
    }
    return FINCH_OK;
}

static finch_status seen_note(const report *r, const report_model *m, str *out, finch_error *err)
{
    if (!m->seen.known)
        return str_add_text(out,
                            "<p class=\"warn\">This model carries no fingerprints of its training texts: whether it has "
                            "seen these rows is not known.</p>\n",
                            err);
    return str_add_format(
        out, err, "<p%s>Of the %zu rows the model was trained on %zu, and on near copies of %zu more.</p>\n",
        m->seen.n_seen + m->seen.n_near > 0 ? " class=\"warn\"" : "", r->models[0].rows.n, m->seen.n_seen, m->seen.n_near);
}

static finch_status per_class_bars(const report_model *m, str *out, finch_error *err)
{
    FINCH_TRY(str_add_text(out, "<h3>F1 by class</h3>\n", err));
    for (size_t c = 0; c < m->rows.n_classes; c++) {
        const metrics_class *k = &m->figures->per_class[c];
        char value[128];
        snprintf(value, sizeof value, "%.3f (precision %.3f, recall %.3f, %llu rows)", k->f1, k->precision, k->recall,
                 (unsigned long long)k->support);
        FINCH_TRY(html_bar(out, m->rows.labels[c], k->f1, value, err));
    }
    return FINCH_OK;
}

static finch_status reliability_chart(const report_model *m, str *out, finch_error *err)
{
    double x[METRICS_BINS], y[METRICS_BINS];
    size_t n = 0;
    for (size_t b = 0; b < METRICS_BINS; b++) {
        if (m->figures->bins[b].n == 0) continue;
        x[n] = m->figures->bins[b].confidence;
        y[n++] = m->figures->bins[b].accuracy;
    }
    html_series series = {.name = "answers", .x = x, .y = y, .n = n, .marks = true};
    html_chart chart = {.title = "Reliability",
                        .x_label = "confidence",
                        .y_label = "accuracy",
                        .series = &series,
                        .n_series = 1,
                        .diagonal = true};
    return html_line_chart(out, &chart, err);
}

static finch_status roc_chart(const report_model *m, str *out, finch_error *err)
{
    double *points = NULL;
    html_series series[METRICS_CLASSES_MAX];
    size_t n_series = 0;
    FINCH_TRY(MEM_NEW(&points, m->rows.n_classes * 2 * ROC_POINTS, err));
    finch_status st = FINCH_OK;
    for (size_t c = 0; st == FINCH_OK && c < m->rows.n_classes; c++) {
        double *x = points + c * 2 * ROC_POINTS, *y = x + ROC_POINTS;
        size_t n;
        st = evaluation_roc(&m->rows, c, ROC_POINTS, x, y, &n, err);
        if (st == FINCH_OK && n > 0) series[n_series++] = (html_series){.name = m->rows.labels[c], .x = x, .y = y, .n = n};
    }
    html_chart chart = {.title = "ROC, each class against the rest",
                        .x_label = "false positive rate",
                        .y_label = "true positive rate",
                        .series = series,
                        .n_series = n_series,
                        .diagonal = true};
    if (st == FINCH_OK) st = html_line_chart(out, &chart, err);
    mem_free(points);
    return st;
}

static finch_status coverage_chart(const report_model *m, str *out, finch_error *err)
{
    double coverage[COVERAGE_POINTS], accuracy[COVERAGE_POINTS];
    FINCH_TRY(evaluation_coverage(&m->rows, COVERAGE_POINTS, coverage, accuracy, err));
    html_series series = {.name = "answers", .x = coverage, .y = accuracy, .n = COVERAGE_POINTS};
    html_chart chart = {.title = "Accuracy by coverage",
                        .x_label = "share of rows answered, most confident first",
                        .y_label = "accuracy",
                        .series = &series,
                        .n_series = 1};
    return html_line_chart(out, &chart, err);
}

static finch_status model_section(const report *r, const report_model *m, str *out, finch_error *err)
{
    FINCH_TRY(str_add_text(out, "<h2>", err));
    FINCH_TRY(text_of(out, m->name, err));
    FINCH_TRY(str_add_text(out, "</h2>\n", err));
    FINCH_TRY(seen_note(r, m, out, err));
    FINCH_TRY(str_add_text(out, "<h3>Confusion</h3>\n", err));
    FINCH_TRY(html_heat_map(out, m->rows.labels, m->figures->confusion, m->rows.n_classes, err));
    FINCH_TRY(per_class_bars(m, out, err));
    FINCH_TRY(str_add_format(out, err, "<p class=\"soft\">Probabilities at temperature %.3f.</p><div class=\"charts\">\n",
                             m->temperature));
    FINCH_TRY(reliability_chart(m, out, err));
    FINCH_TRY(roc_chart(m, out, err));
    FINCH_TRY(coverage_chart(m, out, err));
    return str_add_text(out, "</div>\n", err);
}

static finch_status slices_table(const report_slices *s, str *out, finch_error *err)
{
    size_t shown = s->n < SLICES_SHOWN ? s->n : SLICES_SHOWN;
    FINCH_TRY(
        str_add_format(out, err,
                       "<h3>By %s</h3><div class=\"scroll\"><table><tr><th>%s</th><th>rows</th><th>accuracy</th><th>macro "
                       "F1 of its classes</th></tr>\n",
                       s->title, s->title));
    for (size_t i = 0; i < shown; i++) {
        const evaluation_slice *slice = &s->slices[i];
        FINCH_TRY(str_add_text(out, "<tr><td>", err));
        FINCH_TRY(html_text(out, slice->key.at, slice->key.size_bytes, err));
        FINCH_TRY(str_add_format(out, err, "</td><td>%zu</td>", slice->n));
        FINCH_TRY(cell(out, slice->accuracy, &slice->accuracy_interval, err));
        FINCH_TRY(str_add_format(out, err, "<td>%.4f</td></tr>\n", slice->macro_f1));
    }
    FINCH_TRY(str_add_text(out, "</table></div>\n", err));
    if (shown < s->n)
        FINCH_TRY(str_add_format(out, err, "<p class=\"soft\">%zu smaller ones are in the JSON only.</p>\n", s->n - shown));
    return FINCH_OK;
}

static finch_status mistakes_table(const report *r, const report_model *m, str *out, finch_error *err)
{
    size_t worst[MISTAKES], n;
    FINCH_TRY(evaluation_mistakes(&m->rows, MISTAKES, worst, &n, err));
    FINCH_TRY(str_add_text(out, "<h2>Worst mistakes of ", err));
    FINCH_TRY(text_of(out, m->name, err));
    FINCH_TRY(str_add_text(out,
                           "</h2><div "
                           "class=\"scroll\"><table><tr><th>text</th><th>true</th><th>predicted</th><th>P(true)</"
                           "th><th>P(predicted)</th></tr>\n",
                           err));
    for (size_t i = 0; i < n; i++) {
        size_t row = worst[i];
        const double *p = m->rows.probabilities + row * m->rows.n_classes;
        size_t truth = (size_t)m->rows.truth[row], predicted = (size_t)m->rows.predicted[row];
        FINCH_TRY(str_add_text(out, "<tr><td class=\"text\">", err));
        FINCH_TRY(html_text(out, r->texts[row].at, r->texts[row].size_bytes, err));
        FINCH_TRY(str_add_text(out, "</td><td>", err));
        FINCH_TRY(text_of(out, m->rows.labels[truth], err));
        FINCH_TRY(str_add_text(out, "</td><td>", err));
        FINCH_TRY(text_of(out, m->rows.labels[predicted], err));
        FINCH_TRY(str_add_format(out, err, "</td><td>%.3f</td><td>%.3f</td></tr>\n", p[truth], p[predicted]));
    }
    return str_add_text(out, "</table></div>\n", err);
}

finch_status report_html(const report *r, str *out, finch_error *err)
{
    FINCH_TRY(html_begin(out, "finch evaluation", err));
    FINCH_TRY(str_add_text(out, "<h1>Evaluation on ", err));
    FINCH_TRY(text_of(out, r->data_name, err));
    FINCH_TRY(str_add_format(out, err, "</h1><p class=\"soft\">%zu rows, %s, finch %s</p>\n", r->models[0].rows.n, r->date,
                             finch_version()));
    FINCH_TRY(metrics_table(r, out, err));
    for (size_t m = 0; m < r->n_models; m++) FINCH_TRY(model_section(r, &r->models[m], out, err));
    if (r->n_slices > 0) {
        FINCH_TRY(str_add_text(out, "<h2>Slices of ", err));
        FINCH_TRY(text_of(out, r->models[0].name, err));
        FINCH_TRY(str_add_text(out, "</h2>\n", err));
    }
    for (size_t s = 0; s < r->n_slices; s++) FINCH_TRY(slices_table(&r->slices[s], out, err));
    for (size_t m = 0; m < r->n_models; m++) FINCH_TRY(mistakes_table(r, &r->models[m], out, err));
    return html_end(out, err);
}
