#include "cli/pen.h"

#include "cli/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <utf8proc.h>

/* UTF-8 unless the environment names another encoding. */
static bool speaks_unicode(void)
{
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *value = getenv(names[i]);
        if (value == NULL || value[0] == '\0') continue;
        const char *dot = strchr(value, '.');
        return dot == NULL ? strcmp(value, "C") != 0 && strcmp(value, "POSIX") != 0 : strncasecmp(dot, ".utf", 4) == 0;
    }
    return true;
}

size_t pen_columns(int descriptor)
{
    struct winsize window;
    return isatty(descriptor) == 1 && ioctl(descriptor, TIOCGWINSZ, &window) == 0 ? window.ws_col : 0;
}

pen pen_open(int descriptor)
{
    size_t columns = pen_columns(descriptor);
    const char *no_colour = getenv("NO_COLOR"), *terminal = getenv("TERM");
    bool dumb = terminal == NULL || strcmp(terminal, "dumb") == 0, on_terminal = isatty(descriptor) == 1;
    pen p = {.colour = on_terminal && !dumb && (no_colour == NULL || no_colour[0] == '\0'),
             .unicode = speaks_unicode(),
             .width = PEN_WIDTH_UNKNOWN};
    if (columns > 0) p.width = columns;
    if (p.width < PEN_WIDTH_LEAST) p.width = PEN_WIDTH_LEAST;
    if (p.width > PEN_WIDTH_MOST) p.width = PEN_WIDTH_MOST;
    return p;
}

finch_status pen_colour(pen *p, const char *code, finch_error *err)
{
    if (!p->colour) return FINCH_OK;
    return code[0] == '\0' ? str_add_text(&p->out, "\033[0m", err) : str_add_format(&p->out, err, "\033[%sm", code);
}

const char *pen_grouped(uint64_t n, char out[PEN_NUMBER_BYTES])
{
    char plain[PEN_NUMBER_BYTES];
    size_t size = (size_t)snprintf(plain, sizeof plain, "%llu", (unsigned long long)n), to = 0;
    for (size_t i = 0; i < size; i++) {
        if (i > 0 && (size - i) % 3 == 0) out[to++] = ',';
        out[to++] = plain[i];
    }
    out[to] = '\0';
    return out;
}

static bool is_space(utf8proc_int32_t c, utf8proc_category_t category)
{
    return c == '\n' || c == '\t' || c == '\r' || category == UTF8PROC_CATEGORY_ZS || category == UTF8PROC_CATEGORY_ZL ||
           category == UTF8PROC_CATEGORY_ZP;
}

/* Controls, formats (direction marks among them), surrogates, unassigned. */
static bool is_hidden(utf8proc_category_t category)
{
    return category == UTF8PROC_CATEGORY_CC || category == UTF8PROC_CATEGORY_CF || category == UTF8PROC_CATEGORY_CS ||
           category == UTF8PROC_CATEGORY_CN;
}

/* What of the text is shown next. */
typedef struct glyph {
    const char *at;
    size_t size, width; /* width 0: hidden or combining */
    bool space, hidden;
} glyph;

static glyph next_glyph(const char *text, size_t size)
{
    utf8proc_int32_t c;
    utf8proc_ssize_t step = utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)size, &c);
    if (step <= 0) return (glyph){.at = text, .size = 1, .hidden = true};
    utf8proc_category_t category = utf8proc_category(c);
    bool space = is_space(c, category), hidden = !space && is_hidden(category);
    size_t width = space ? 1 : hidden ? 0 : (size_t)utf8proc_charwidth(c);
    return (glyph){.at = text, .size = (size_t)step, .width = width, .space = space, .hidden = hidden};
}

/* The columns of the whole text, counted up to a little over limit. */
static size_t measure(const char *text, size_t limit)
{
    size_t columns = 0, pending = 0, size = strlen(text);
    for (size_t at = 0; at < size && columns <= limit;) {
        glyph g = next_glyph(text + at, size - at);
        if (g.space) pending = columns > 0;
        else if (!g.hidden) {
            columns += pending + g.width;
            pending = 0;
        }
        at += g.size;
    }
    return columns;
}

static finch_status add_glyph(pen *p, const glyph *g, finch_error *err)
{
    bool ascii = (unsigned char)*g->at < 0x80;
    return p->unicode || ascii ? str_add(&p->out, g->at, g->size, err) : str_add_text(&p->out, "?", err);
}

finch_status pen_add_sane(pen *p, const char *text, size_t columns, size_t *used, finch_error *err)
{
    size_t taken = 0, pending = 0, size = strlen(text);
    bool fits = measure(text, columns) <= columns;
    size_t limit = fits || columns == 0 ? columns : columns - 1; /* room for the mark */
    for (size_t at = 0; at < size;) {
        glyph g = next_glyph(text + at, size - at);
        at += g.size;
        if (g.space) pending = taken > 0;
        if (g.space || g.hidden) continue;
        if (taken + pending + g.width > limit) break;
        if (pending > 0) FINCH_TRY(str_add_text(&p->out, " ", err));
        FINCH_TRY(add_glyph(p, &g, err));
        taken += pending + g.width;
        pending = 0;
    }
    if (!fits) FINCH_TRY(str_add_text(&p->out, p->unicode ? "…" : "~", err));
    if (used != NULL) *used = taken + !fits;
    return FINCH_OK;
}

finch_status pen_print(pen *p, finch_status st, finch_error *err)
{
    if (st == FINCH_OK && p->out.size > 0) st = cli_print(p->out.at, p->out.size, err);
    str_free(&p->out);
    return st;
}
