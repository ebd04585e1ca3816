/* Progress on stderr. On a terminal one line is drawn again and again; elsewhere a line is added every few seconds. */
#include "base/clock.h"
#include "cli/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DRAW_SECONDS 0.1
#define LINE_SECONDS 5.0

enum { BAR_CELLS = 24, TIME_BYTES = 32 };

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

static void draw_cells(double share)
{
    size_t full = (size_t)(share * BAR_CELLS);
    fputc('[', stderr);
    for (size_t i = 0; i < BAR_CELLS; i++) fputc(i < full ? '#' : '.', stderr);
    fputs("] ", stderr);
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

static void draw_counts(const cli_bar *bar, uint64_t done, uint64_t total, double rate)
{
    char text[TIME_BYTES];
    bool bytes = strcmp(bar->unit, "bytes") == 0;
    if (bytes) fputs(bytes_text((double)done, text), stderr);
    else fprintf(stderr, "%llu", (unsigned long long)done);
    if (total > 0 && bytes) fprintf(stderr, " of %s", bytes_text((double)total, text));
    else if (total > 0) fprintf(stderr, " of %llu", (unsigned long long)total);
    if (!bytes) fprintf(stderr, " %s", bar->unit);
    if (rate > 0 && bytes) fprintf(stderr, ", %s/s", bytes_text(rate, text));
    else if (rate > 0) fprintf(stderr, rate < 10 ? ", %.2f/s" : ", %.0f/s", rate);
    if (rate > 0 && total > done) fprintf(stderr, ", %s left", time_text((double)(total - done) / rate, text));
}

static void draw(cli_bar *bar, uint64_t done, uint64_t total, const char *note, double now)
{
    if (bar->terminal) fputs("\r\033[K", stderr);
    fprintf(stderr, "%s ", bar->label);
    if (total > 0) {
        double share = done < total ? (double)done / (double)total : 1.0;
        if (bar->terminal) draw_cells(share);
        fprintf(stderr, "%3.0f %%, ", share * 100);
    }
    draw_counts(bar, done, total, rate_of(bar, done, now));
    if (note != NULL && note[0] != '\0') fprintf(stderr, ", %s", note);
    if (!bar->terminal) fputc('\n', stderr);
    fflush(stderr);
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
    bar->shown = false;
}
