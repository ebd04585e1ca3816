/* Lines in, lines out. An answer is the line's own bytes with the added keys before its closing brace, so that nothing of it is
 * rewritten: numbers keep their digits, keys their order.
 *
 * One round: wait for bytes, take what else is there without waiting, score the whole lines, write their answers. */
#include "data/score.h"

#include "data/scan.h"
#include "data/utf8.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { READ_BYTES = 1 << 16, REASON_BYTES = 200, TIME_BYTES = 32 };

/* One line of the round at hand. */
typedef struct pipe_line {
    size_t begin, size; /* in the buffer, without its newline and the blanks before it */
    json_t *object; /* NULL: blank or broken */
    char time[TIME_BYTES]; /* a time that is written as a number */
    char reason[REASON_BYTES]; /* empty: not broken */
} pipe_line;

typedef struct pipe_job {
    data_scoring *scoring;
    const data_score_options *options;
    int input, output;
    data_names added;
    str in; /* bytes that were read and not answered yet */
    str out; /* answers of the round */
    size_t max_line_bytes;
    bool skipping; /* inside a line that was too long and is answered already */
    bool ended;
    uint64_t n_lines, n_broken;
    size_t n_round; /* lines */
    pipe_line *lines; /* [DATA_SCORE_CAPACITY] */
    data_scoring_input *inputs;
    data_scoring_output *outputs;
    finch_text *tickers, *times;
} pipe_job;

static finch_status open_job(pipe_job *j, finch_error *err)
{
    FINCH_TRY(data_scoring_columns(j->scoring, j->options->prefix, j->options->logits, &j->added, err));
    FINCH_TRY(MEM_NEW(&j->lines, DATA_SCORE_CAPACITY, err));
    FINCH_TRY(MEM_NEW(&j->inputs, DATA_SCORE_CAPACITY, err));
    FINCH_TRY(MEM_NEW(&j->outputs, DATA_SCORE_CAPACITY, err));
    FINCH_TRY(MEM_NEW(&j->tickers, DATA_SCORE_CAPACITY, err));
    return MEM_NEW(&j->times, DATA_SCORE_CAPACITY, err);
}

static void end_round(pipe_job *j)
{
    for (size_t i = 0; i < j->n_round; i++) json_decref(j->lines[i].object);
    j->n_round = 0;
    str_clear(&j->out);
}

static void close_job(pipe_job *j)
{
    end_round(j);
    data_names_free(&j->added);
    str_free(&j->in);
    str_free(&j->out);
    mem_free(j->lines);
    mem_free(j->inputs);
    mem_free(j->outputs);
    mem_free(j->tickers);
    mem_free(j->times);
}

/* ---- reading ---- */

static finch_status read_some(pipe_job *j, finch_error *err)
{
    FINCH_TRY(str_reserve(&j->in, READ_BYTES, err));
    for (;;) {
        if (!progress_report(j->options->watch, j->scoring->counts.rows, 0, NULL))
            return finch_fail(err, FINCH_E_CANCELLED, "interrupted");
        ssize_t got = read(j->input, j->in.at + j->in.size, READ_BYTES);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return finch_fail(err, FINCH_E_IO, "reading the input failed after line %" PRIu64, j->n_lines);
        j->in.size += (size_t)got;
        j->in.at[j->in.size] = '\0';
        j->ended = got == 0;
        return FINCH_OK;
    }
}

static bool more_waits(const pipe_job *j)
{
    struct pollfd p = {.fd = j->input, .events = POLLIN};
    return !j->ended && poll(&p, 1, 0) == 1 && (p.revents & (POLLIN | POLLHUP)) != 0;
}

/* Bytes enough for a full round are not waited for: what is there is answered. */
static finch_status read_round(pipe_job *j, finch_error *err)
{
    enum { ROUND_BYTES = 1 << 20 };
    FINCH_TRY(read_some(j, err));
    while (j->in.size < ROUND_BYTES && more_waits(j)) FINCH_TRY(read_some(j, err));
    return FINCH_OK;
}

/* ---- understanding a line ---- */

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

static finch_text text_of(const json_t *value) { return (finch_text){json_string_value(value), json_string_length(value)}; }

/* A field for the summary: a string, or a time as a number; anything else is taken as absent. */
static const finch_text *summary_field(pipe_line *line, const char *key, finch_text *out)
{
    const json_t *value = key != NULL ? json_object_get(line->object, key) : NULL;
    if (json_is_number(value)) {
        snprintf(line->time, sizeof line->time, "%.0f", json_number_value(value));
        *out = (finch_text){line->time, strlen(line->time)};
    } else if (json_is_string(value)) {
        *out = text_of(value);
    } else {
        return NULL;
    }
    return out;
}

static bool reason(pipe_line *line, const char *format, ...) FINCH_PRINTF(2, 3);
static bool reason(pipe_line *line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(line->reason, sizeof line->reason, format, args);
    va_end(args);
    line->reason[data_utf8_cut(line->reason, strlen(line->reason))] = '\0';
    return false;
}

static const json_t *text_value(const pipe_job *j, const json_t *object)
{
    const json_t *text = json_object_get(object, j->options->text_column);
    return text != NULL || j->options->text_otherwise == NULL ? text : json_object_get(object, j->options->text_otherwise);
}

/* Whether the line can be scored; else why not. */
static bool understand(const pipe_job *j, pipe_line *line, const char *at)
{
    json_error_t where;
    const char *key = j->options->text_column;
    if (!data_utf8_valid(at, line->size)) return reason(line, "the line is not UTF-8");
    line->object = json_loadb(at, line->size, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &where);
    if (line->object == NULL) return reason(line, "no valid JSON object: %.100s (column %d)", where.text, where.column);
    if (!json_is_object(line->object)) return reason(line, "the line is no JSON object {...}");
    const json_t *text = text_value(j, line->object);
    if (text == NULL) return reason(line, "there is no key \"%.60s\"; name the texts' key with --text-column", key);
    if (!json_is_string(text) && !json_is_null(text)) return reason(line, "the value of \"%.60s\" is no text", key);
    for (size_t i = 0; i < j->added.n; i++)
        if (json_object_get(line->object, j->added.at[i]) != NULL)
            return reason(line, "there is a key \"%.60s\" already; choose other names with --prefix finch_", j->added.at[i]);
    return true;
}

static void take_line(pipe_job *j, size_t begin, size_t end)
{
    size_t i = j->n_round++;
    pipe_line *line = &j->lines[i];
    while (begin < end && is_blank(j->in.at[begin])) begin++;
    while (end > begin && is_blank(j->in.at[end - 1])) end--;
    *line = (pipe_line){.begin = begin, .size = end - begin};
    j->inputs[i] = (data_scoring_input){0};
    j->n_lines++;
    if (line->size == 0) return;
    if (line->size > j->max_line_bytes)
        reason(line, "the line has more than %zu bytes; a longer one is read with --max-line-bytes", j->max_line_bytes);
    else if (understand(j, line, j->in.at + begin)) {
        const json_t *text = text_value(j, line->object);
        if (json_is_string(text)) j->inputs[i].text = text_of(text);
        j->inputs[i].tickers = summary_field(line, j->options->ticker_column, &j->tickers[i]);
        j->inputs[i].time = summary_field(line, j->options->time_column, &j->times[i]);
    }
    if (line->reason[0] == '\0') return;
    json_decref(line->object);
    line->object = NULL;
    j->n_broken++;
}

/* ---- answering ---- */

/* The fewest digits that give the same float back. */
static finch_status add_float(str *out, float value, finch_error *err)
{
    enum { DIGITS_LEAST = 6, DIGITS_ENOUGH = 9 };
    char text[32];
    for (int digits = DIGITS_LEAST; digits <= DIGITS_ENOUGH; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)value);
        if (strtof(text, NULL) == value) break; /* NOLINT: equal bits are meant */
    }
    return str_add_text(out, text, err);
}

static finch_status add_json_text(str *out, const char *text, size_t size, finch_error *err)
{
    json_t *value = json_stringn(text, size);
    char *written = value != NULL ? json_dumps(value, JSON_ENCODE_ANY) : NULL;
    finch_status st = written != NULL ? str_add_text(out, written, err)
                                      : finch_fail(err, FINCH_E_MEMORY, "out of memory for an answer");
    free(written);
    json_decref(value);
    return st;
}

static finch_status add_value(const pipe_job *j, size_t column, const data_scoring_output *row, str *out, finch_error *err)
{
    size_t n_labels = j->scoring->n_labels;
    const char *label = model_get_config(j->scoring->engine)->labels[row->label];
    if (!row->scored || (column == 1 && !j->scoring->has_sentiment)) return str_add_text(out, "null", err);
    if (column == 0) return add_json_text(out, label, strlen(label), err);
    if (column == 1) return add_float(out, (float)row->score, err);
    if (column + 1 == j->added.n) return str_add_text(out, row->truncated ? "true" : "false", err);
    if (column < 2 + n_labels) return add_float(out, row->probabilities[column - 2], err);
    return add_float(out, row->logits[column - 2 - n_labels], err);
}

static finch_status add_answer(pipe_job *j, size_t i, finch_error *err)
{
    const pipe_line *line = &j->lines[i];
    FINCH_TRY(str_add(&j->out, j->in.at + line->begin, line->size - 1, err)); /* all but the brace */
    for (size_t c = 0; c < j->added.n; c++) {
        FINCH_TRY(str_add_text(&j->out, ",", err));
        FINCH_TRY(add_json_text(&j->out, j->added.at[c], strlen(j->added.at[c]), err));
        FINCH_TRY(str_add_text(&j->out, ":", err));
        FINCH_TRY(add_value(j, c, &j->outputs[i], &j->out, err));
    }
    return str_add_text(&j->out, "}", err);
}

static finch_status add_error(pipe_job *j, const pipe_line *line, uint64_t number, finch_error *err)
{
    FINCH_TRY(str_add_text(&j->out, "{\"error\":", err));
    FINCH_TRY(add_json_text(&j->out, line->reason, strlen(line->reason), err));
    return str_add_format(&j->out, err, ",\"line\":%" PRIu64 "}", number);
}

static finch_status write_out(const pipe_job *j, finch_error *err)
{
    for (size_t done = 0; done < j->out.size;) {
        ssize_t put = write(j->output, j->out.at + done, j->out.size - done);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0 && errno == EPIPE) return finch_fail(err, FINCH_E_IO, "the reader of the output went away");
        if (put < 0 && errno == ENOSPC) return finch_fail(err, FINCH_E_IO, "writing failed: the disk is full");
        if (put < 0) return finch_fail(err, FINCH_E_IO, "writing the output failed");
        done += (size_t)put;
    }
    return FINCH_OK;
}

static finch_status answer_round(pipe_job *j, finch_error *err)
{
    uint64_t first = j->n_lines - j->n_round + 1;
    /* Blank and broken lines go through as nulls, which cost nothing; they are no rows, so they are counted off again. */
    uint64_t n_no_rows = 0;
    FINCH_TRY(data_scoring_rows(j->scoring, j->inputs, j->n_round, j->outputs, err));
    for (size_t i = 0; i < j->n_round; i++) {
        const pipe_line *line = &j->lines[i];
        n_no_rows += line->object == NULL;
        if (line->object != NULL) FINCH_TRY(add_answer(j, i, err));
        else if (line->reason[0] != '\0') FINCH_TRY(add_error(j, line, first + i, err));
        if (line->reason[0] != '\0' && j->options->source.strict)
            return finch_fail_row(err, FINCH_E_DATA, first + i, "line %" PRIu64 ": %s", first + i, line->reason);
        FINCH_TRY(str_add_text(&j->out, "\n", err));
    }
    j->scoring->counts.rows -= n_no_rows;
    j->scoring->counts.skipped -= n_no_rows;
    return write_out(j, err);
}

/* Answers the whole lines of the buffer and keeps the rest. A line past the limit is answered once and then skipped. */
static finch_status answer_buffer(pipe_job *j, finch_error *err)
{
    size_t at = 0;
    while (at < j->in.size) {
        const char *newline = memchr(j->in.at + at, '\n', j->in.size - at);
        size_t end = newline != NULL ? (size_t)(newline - j->in.at) : j->in.size;
        bool whole = newline != NULL || j->ended, too_long = end - at > j->max_line_bytes;
        if (!whole && !too_long) break;
        if (!j->skipping) take_line(j, at, end);
        j->skipping = newline == NULL;
        at = newline != NULL ? end + 1 : end;
        if (j->n_round == DATA_SCORE_CAPACITY) {
            FINCH_TRY(answer_round(j, err));
            end_round(j);
        }
    }
    if (j->n_round > 0) FINCH_TRY(answer_round(j, err));
    end_round(j);
    if (at > 0) memmove(j->in.at, j->in.at + at, j->in.size - at);
    j->in.size -= at;
    return FINCH_OK;
}

finch_status data_score_pipe(data_scoring *s, const data_score_options *options, int input, int output, uint64_t *rejected,
                             finch_error *err)
{
    size_t asked = options->source.max_line_bytes;
    pipe_job j = {.scoring = s,
                  .options = options,
                  .input = input,
                  .output = output,
                  .max_line_bytes = asked > 0 ? asked : DATA_LINE_MAX_BYTES};
    s->watch = options->watch;
    finch_status st = open_job(&j, err);
    while (st == FINCH_OK && !j.ended) {
        st = read_round(&j, err);
        if (st == FINCH_OK) st = answer_buffer(&j, err);
    }
    *rejected = j.n_broken;
    close_job(&j);
    return st;
}
