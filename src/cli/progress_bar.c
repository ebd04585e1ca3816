/* Progress on stderr. On a terminal one line is drawn again and again, or two where the note does not go beside the numbers: a
 * line that is longer than the terminal is wide would wrap, and could not be drawn over. Elsewhere a line is added every few
 * seconds. */
#include "base/clock.h"
#include "cli/cli.h"
#include "cli/pen.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DRAW_SECONDS 0.1
#define LINE_SECONDS 5.0

enum { BAR_CELLS = 24, BAR_CELLS_LEAST = 8, BAR_FRAME = 3, TIME_BYTES = 32, COLUMNS_UNKNOWN = 80 };

void cli_bar_begin(cli_bar *bar, const cli_args *args, const char *label, const char *unit)
{
    const char *terminal = getenv("TERM");
    bool dumb = terminal != NULL && strcmp(terminal, "dumb") == 0;
    *bar = (cli_bar){
        .label = label,
        .unit = unit,
        .quiet = cli_flag(args, "quiet"),
        .terminal = isatty(STDERR_FILENO) == 1 && !dumb,
        .last = clock_seconds(),
    };
}

static const char *time_text(double seconds, char out[TIME_BYTES])
{
    unsigned long long whole = seconds > 0 && seconds < 1e15 ? (unsigned long long)(seconds + 0.5) : 0;
    if (whole >= 3600) snprintf(out, TIME_BYTES, "%llu:%02llu:%02llu", whole / 3600, whole / 60 % 60, whole % 60);
    else snprintf(out, TIME_BYTES, "%llu:%02llu", whole / 60, whole % 60);
    return out;
}

static finch_status add_cells(str *line, size_t n, double share, finch_error *err)
{
    char cells[BAR_CELLS + 1] = "";
    for (size_t i = 0; i < n; i++) cells[i] = i < (size_t)(share * (double)n) ? '#' : '.';
    return str_add_format(line, err, "[%s] ", cells);
}

/* Counted from the first report: work that was done before (a resumed run) says nothing about the rate. */
static double rate_of(const cli_bar *bar, uint64_t done, double now)
{
    double seconds = now - bar->first_seconds;
    return seconds > 0 && done > bar->first_done ? (double)(done - bar->first_done) / seconds : 0;
}

/* 440473133 bytes as "440.5 MB". */
static const char *bytes_text(double n, char out[TIME_BYTES])
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    size_t i = 0;
    for (; n >= 999.95 && i + 1 < sizeof units / sizeof units[0]; i++) n /= 1000;
    snprintf(out, TIME_BYTES, i == 0 ? "%.0f %s" : "%.1f %s", n, units[i]);
    return out;
}

static finch_status add_counts(const cli_bar *bar, str *line, uint64_t done, uint64_t total, double rate, finch_error *err)
{
    char text[TIME_BYTES], whole[TIME_BYTES];
    bool bytes = strcmp(bar->unit, "bytes") == 0;
    if (bytes) FINCH_TRY(str_add_text(line, bytes_text((double)done, text), err));
    else FINCH_TRY(str_add_format(line, err, "%llu", (unsigned long long)done));
    if (total > 0 && bytes) FINCH_TRY(str_add_format(line, err, " of %s", bytes_text((double)total, whole)));
    else if (total > 0) FINCH_TRY(str_add_format(line, err, " of %llu", (unsigned long long)total));
    if (!bytes) FINCH_TRY(str_add_format(line, err, " %s", bar->unit));
    if (rate > 0 && bytes) FINCH_TRY(str_add_format(line, err, ", %s/s", bytes_text(rate, text)));
    else if (rate > 0) FINCH_TRY(str_add_format(line, err, rate < 10 ? ", %.2f/s" : ", %.0f/s", rate));
    if (rate <= 0 || total <= done) return FINCH_OK;
    return str_add_format(line, err, ", %s left", time_text((double)(total - done) / rate, text));
}

static finch_status add_numbers(const cli_bar *bar, str *line, size_t n_cells, uint64_t done, uint64_t total, double now,
                                finch_error *err)
{
    str_clear(line);
    FINCH_TRY(str_add_format(line, err, "%s ", bar->label));
    if (total > 0) {
        double share = done < total ? (double)done / (double)total : 1.0;
        if (n_cells > 0) FINCH_TRY(add_cells(line, n_cells, share, err));
        FINCH_TRY(str_add_format(line, err, "%3.0f %%, ", share * 100));
    }
    return add_counts(bar, line, done, total, rate_of(bar, done, now), err);
}

/* The last column stays free: some terminals wrap there already. The cells have the room that the numbers leave. */
static finch_status draw_rows(cli_bar *bar, uint64_t done, uint64_t total, const char *note, double now, str *numbers,
                              pen *beside, finch_error *err)
{
    size_t columns = pen_columns(STDERR_FILENO), used = 0, room = (columns > 0 ? columns : COLUMNS_UNKNOWN) - 1;
    FINCH_TRY(add_numbers(bar, numbers, 0, done, total, now, err));
    size_t spare = room > numbers->size + BAR_FRAME ? room - numbers->size - BAR_FRAME : 0;
    if (spare >= BAR_CELLS_LEAST) FINCH_TRY(add_numbers(bar, numbers, size_least(spare, BAR_CELLS), done, total, now, err));
    FINCH_TRY(pen_add_sane(beside, note, room, &used, err));
    bool apart = used > 0 && numbers->size + 2 + used > room;
    const char *between = used == 0 ? "" : apart ? "\n" : ", ";
    fprintf(stderr, "\r%s\033[J%.*s%s%s", bar->two_rows ? "\033[A" : "", (int)size_least(numbers->size, room), numbers->at,
            between, used > 0 ? beside->out.at : "");
    bar->two_rows = apart;
    return FINCH_OK;
}

static void draw(cli_bar *bar, uint64_t done, uint64_t total, const char *note, double now)
{
    str numbers = {0};
    pen beside = pen_open(STDERR_FILENO);
    if (note == NULL) note = "";
    /* Without memory nothing is shown: the work goes on. */
    if (bar->terminal) (void)draw_rows(bar, done, total, note, now, &numbers, &beside, NULL);
    else if (add_numbers(bar, &numbers, 0, done, total, now, NULL) == FINCH_OK)
        fprintf(stderr, "%s%s%s\n", numbers.at, note[0] != '\0' ? ", " : "", note);
    fflush(stderr);
    str_free(&numbers);
    str_free(&beside.out);
    bar->shown = true;
}

static bool bar_report(void *context, uint64_t done, uint64_t total, const char *note)
{
    cli_bar *bar = context;
    double now = clock_seconds();
    if (!bar->started) {
        bar->started = true;
        bar->first_done = done;
        bar->first_seconds = now;
    }
    bool due = now - bar->last >= (bar->terminal ? DRAW_SECONDS : LINE_SECONDS);
    bool whole = total > 0 && done >= total;
    bool finished = bar->shown && whole && !bar->whole;
    if (!bar->quiet && (due || finished)) {
        bar->whole = whole;
        draw(bar, done, total, note, now);
        bar->last = now;
    }
    return !cli_cancelled();
}

progress cli_bar_progress(cli_bar *bar) { return (progress){bar_report, bar}; }

void cli_bar_end(cli_bar *bar)
{
    if (bar->shown && bar->terminal) fputc('\n', stderr);
    bar->shown = bar->two_rows = false;
}
