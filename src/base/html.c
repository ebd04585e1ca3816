#include "base/html.h"

#include <string.h>

static const char page_head[] =
    "<meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
    "<style>\n"
    ":root{color-scheme:light "
    "dark;--ink:#1b1f24;--soft:#57606a;--line:#d0d7de;--paper:#fff;--bar:#0969da;--heat:9,105,218}\n"
    "@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9198a1;--line:#3d444d;--paper:#0d1117;--bar:#4493f8;--"
    "heat:68,147,248}}\n"
    "body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif}\n"
    "main{max-width:70rem;margin:auto;padding:1.5rem}h1{font-size:1.6rem}h2{font-size:1.15rem;margin-top:2.2rem}\n"
    "table{border-collapse:collapse;font-variant-numeric:tabular-nums}th,td{padding:.3rem .7rem;border-bottom:1px solid "
    "var(--line);text-align:right}\n"
    "th:first-child,td:first-child{text-align:left}td.text{text-align:left;overflow-wrap:anywhere}.soft{color:var(--soft)}\n"
    ".scroll{overflow-x:auto}.row{display:flex;gap:.6rem;align-items:center}.row "
    "span:first-child{width:11rem}.track{flex:1;max-width:26rem;background:var(--line);height:.8rem;border-radius:.4rem}\n"
    ".fill{background:var(--bar);height:.8rem;border-radius:.4rem}svg{max-width:30rem;width:100%;height:auto}svg "
    "text{fill:var(--soft);font-size:11px}\n"
    ".charts{display:flex;flex-wrap:wrap;gap:1.5rem}.charts figure{margin:0;flex:1 1 24rem}figcaption{font-weight:600}\n"
    ".s0{stroke:#0072b2}.s1{stroke:#e69f00}.s2{stroke:#7f7f7f}.s3{stroke:#009e73}.s4{stroke:#cc79a7}.d0{fill:#0072b2}.d1{"
    "fill:#e69f00}.d2{fill:#7f7f7f}.d3{fill:#009e73}.d4{fill:#cc79a7}\n"
    ".warn{border-left:4px solid #d29922;padding:.2rem 1rem}\n"
    "</style></head><body><main>\n";

enum { SERIES_COLOURS = 5, CHART_SIZE = 320, CHART_LEFT = 44, CHART_BOTTOM = 40, CHART_TOP = 8 };

finch_status html_begin(str *out, const char *title, finch_error *err)
{
    FINCH_TRY(str_add_text(out, "<!doctype html><html lang=\"en\"><head><title>", err));
    FINCH_TRY(html_text(out, title, strlen(title), err));
    FINCH_TRY(str_add_text(out, "</title>\n", err));
    return str_add_text(out, page_head, err);
}

finch_status html_end(str *out, finch_error *err) { return str_add_text(out, "</main></body></html>\n", err); }

/* Bytes of the well-formed sequence at text[0], 0 where there is none. Source: Unicode 15, table 3-7. */
static size_t sequence_size(const unsigned char *at, size_t size)
{
    static const struct {
        unsigned char first_low, first_high, second_low, second_high, size;
    } forms[] = {
        {0xC2, 0xDF, 0x80, 0xBF, 2}, {0xE0, 0xE0, 0xA0, 0xBF, 3}, {0xE1, 0xEC, 0x80, 0xBF, 3}, {0xED, 0xED, 0x80, 0x9F, 3},
        {0xEE, 0xEF, 0x80, 0xBF, 3}, {0xF0, 0xF0, 0x90, 0xBF, 4}, {0xF1, 0xF3, 0x80, 0xBF, 4}, {0xF4, 0xF4, 0x80, 0x8F, 4},
    };
    if (at[0] < 0x80) return 1;
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        if (at[0] < forms[i].first_low || at[0] > forms[i].first_high) continue;
        if (size < forms[i].size || at[1] < forms[i].second_low || at[1] > forms[i].second_high) return 0;
        for (size_t k = 2; k < forms[i].size; k++) {
            if ((at[k] & 0xC0u) != 0x80) return 0;
        }
        return forms[i].size;
    }
    return 0;
}

static const char *escape_of(unsigned char c)
{
    switch (c) {
    case '<': return "&lt;";
    case '>': return "&gt;";
    case '&': return "&amp;";
    case '"': return "&quot;";
    case '\n':
    case '\r':
    case '\t': return " ";
    default: return c < 0x20 || c == 0x7F ? "\xEF\xBF\xBD" : NULL;
    }
}

finch_status html_text(str *out, const char *text, size_t size, finch_error *err)
{
    for (size_t at = 0; at < size;) {
        const unsigned char *here = (const unsigned char *)text + at;
        size_t n = sequence_size(here, size - at);
        const char *escape = n == 0 ? "\xEF\xBF\xBD" : n == 1 ? escape_of(*here) : NULL;
        FINCH_TRY(escape != NULL ? str_add_text(out, escape, err) : str_add(out, text + at, n, err));
        at += n == 0 ? 1 : n;
    }
    return FINCH_OK;
}

static double clamp_unit(double value) { return value > 0 ? (value < 1 ? value : 1) : 0; /* NaN gives 0 */ }

finch_status html_bar(str *out, const char *label, double share, const char *value, finch_error *err)
{
    FINCH_TRY(str_add_text(out, "<div class=\"row\"><span>", err));
    FINCH_TRY(html_text(out, label, strlen(label), err));
    FINCH_TRY(str_add_format(out, err,
                             "</span><div class=\"track\"><div class=\"fill\" style=\"width:%.1f%%\"></div></div><span>",
                             100 * clamp_unit(share)));
    FINCH_TRY(html_text(out, value, strlen(value), err));
    return str_add_text(out, "</span></div>\n", err);
}

static double chart_x(double x) { return CHART_LEFT + clamp_unit(x) * CHART_SIZE; }
static double chart_y(double y) { return CHART_TOP + (1 - clamp_unit(y)) * CHART_SIZE; }

static finch_status chart_axes(str *out, const html_chart *chart, finch_error *err)
{
    for (int tick = 0; tick <= 5; tick++) {
        double at = tick / 5.0;
        FINCH_TRY(str_add_format(
            out, err,
            "<path d=\"M%d %.1fh%d\" stroke=\"var(--line)\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.1f</text>"
            "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.1f</text>",
            CHART_LEFT, chart_y(at), CHART_SIZE, CHART_LEFT - 6, chart_y(at) + 4, at, chart_x(at),
            CHART_TOP + CHART_SIZE + 16, at));
    }
    if (chart->diagonal)
        FINCH_TRY(str_add_format(out, err,
                                 "<path d=\"M%.1f %.1fL%.1f %.1f\" stroke=\"var(--soft)\" stroke-dasharray=\"4 4\"/>",
                                 chart_x(0), chart_y(0), chart_x(1), chart_y(1)));
    return str_add_format(out, err,
                          "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">%s</text><text transform=\"rotate(-90)\" x=\"%d\" "
                          "y=\"11\" text-anchor=\"middle\">%s</text>",
                          CHART_LEFT + CHART_SIZE / 2, CHART_TOP + CHART_SIZE + 34, chart->x_label,
                          -(CHART_TOP + CHART_SIZE / 2), chart->y_label);
}

static finch_status chart_series(str *out, const html_series *series, size_t index, finch_error *err)
{
    size_t colour = index % SERIES_COLOURS;
    FINCH_TRY(str_add_format(out, err, "<polyline class=\"s%zu\" fill=\"none\" stroke-width=\"2\" points=\"", colour));
    for (size_t i = 0; i < series->n; i++)
        FINCH_TRY(str_add_format(out, err, "%.1f,%.1f ", chart_x(series->x[i]), chart_y(series->y[i])));
    FINCH_TRY(str_add_text(out, "\"/>", err));
    for (size_t i = 0; series->marks && i < series->n; i++)
        FINCH_TRY(str_add_format(out, err, "<circle class=\"d%zu\" cx=\"%.1f\" cy=\"%.1f\" r=\"3\"/>", colour,
                                 chart_x(series->x[i]), chart_y(series->y[i])));
    FINCH_TRY(str_add_format(out, err, "<circle class=\"d%zu\" cx=\"%d\" cy=\"%zu\" r=\"4\"/><text x=\"%d\" y=\"%zu\">",
                             colour, CHART_LEFT + CHART_SIZE + 12, 16 + 16 * index, CHART_LEFT + CHART_SIZE + 20,
                             20 + 16 * index));
    FINCH_TRY(html_text(out, series->name, strlen(series->name), err));
    return str_add_text(out, "</text>", err);
}

finch_status html_line_chart(str *out, const html_chart *chart, finch_error *err)
{
    FINCH_TRY(str_add_format(
        out, err, "<figure><figcaption>%s</figcaption><svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s\">",
        chart->title, CHART_LEFT + CHART_SIZE + 150, CHART_TOP + CHART_SIZE + CHART_BOTTOM, chart->title));
    FINCH_TRY(chart_axes(out, chart, err));
    for (size_t i = 0; i < chart->n_series; i++) FINCH_TRY(chart_series(out, &chart->series[i], i, err));
    return str_add_text(out, "</svg></figure>\n", err);
}

finch_status html_heat_map(str *out, const char *const *labels, const uint64_t *counts, size_t n, finch_error *err)
{
    FINCH_TRY(str_add_text(out, "<div class=\"scroll\"><table><tr><th>true \\ predicted</th>", err));
    for (size_t i = 0; i < n; i++) {
        FINCH_TRY(str_add_text(out, "<th>", err));
        FINCH_TRY(html_text(out, labels[i], strlen(labels[i]), err));
        FINCH_TRY(str_add_text(out, "</th>", err));
    }
    for (size_t i = 0; i < n; i++) {
        uint64_t total = 0;
        for (size_t j = 0; j < n; j++) total += counts[i * n + j];
        FINCH_TRY(str_add_text(out, "</tr>\n<tr><th>", err));
        FINCH_TRY(html_text(out, labels[i], strlen(labels[i]), err));
        FINCH_TRY(str_add_text(out, "</th>", err));
        for (size_t j = 0; j < n; j++) {
            double share = total == 0 ? 0 : (double)counts[i * n + j] / (double)total;
            FINCH_TRY(str_add_format(
                out, err, "<td style=\"background:rgba(var(--heat),%.2f)\" title=\"%.1f %% of the row\">%llu</td>",
                0.75 * share, 100 * share, (unsigned long long)counts[i * n + j]));
        }
    }
    return str_add_text(out, "</tr></table></div>\n", err);
}
