/* Lines in, lines out.
 * One round: wait for bytes, take what else is there without waiting, score the whole lines, write their answers. */
#include "data/score.h"

#include "data/scan.h"
#include "data/score_object.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { READ_BYTES = 1 << 16, TIME_BYTES = 32 };

/* One line of the round at hand. */
typedef struct pipe_line {
    data_score_object json; /* of a blank line all is empty */
    char time[TIME_BYTES]; /* a time that is written as a number */
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
    for (size_t i = 0; i < j->n_round; i++) data_score_object_free(&j->lines[i].json);
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

/* A field for the summary: a string, or a time as a number; anything else is taken as absent. */
static const finch_text *summary_field(pipe_line *line, const char *key, finch_text *out)
{
    const json_t *value = key != NULL ? json_object_get(line->json.object, key) : NULL;
    if (json_is_number(value)) {
        snprintf(line->time, sizeof line->time, "%.0f", json_number_value(value));
        *out = (finch_text){line->time, strlen(line->time)};
    } else if (json_is_string(value)) {
        *out = (finch_text){json_string_value(value), json_string_length(value)};
    } else {
        return NULL;
    }
    return out;
}

static void take_line(pipe_job *j, size_t begin, size_t end)
{
    size_t i = j->n_round++;
    pipe_line *line = &j->lines[i];
    data_text_key key = {j->options->text_column, j->options->text_otherwise};
    *line = (pipe_line){0};
    j->inputs[i] = (data_scoring_input){0};
    j->n_lines++;
    while (begin < end && is_blank(j->in.at[begin])) begin++;
    if (begin == end) return;
    if (end - begin > j->max_line_bytes)
        data_score_object_refuse(&line->json, "the line has more than %zu bytes; a longer one is read with --max-line-bytes",
                                 j->max_line_bytes);
    else if (data_score_object_read(j->in.at + begin, end - begin, &key, &j->added, &line->json)) {
        j->inputs[i].text = line->json.text;
        j->inputs[i].tickers = summary_field(line, j->options->ticker_column, &j->tickers[i]);
        j->inputs[i].time = summary_field(line, j->options->time_column, &j->times[i]);
    }
    j->n_broken += line->json.object == NULL;
}

/* ---- answering ---- */

static finch_status add_error(pipe_job *j, const pipe_line *line, uint64_t number, finch_error *err)
{
    FINCH_TRY(str_add_text(&j->out, "{\"error\":", err));
    FINCH_TRY(data_add_json_text(&j->out, line->json.reason, strlen(line->json.reason), err));
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
        n_no_rows += line->json.object == NULL;
        if (line->json.object != NULL)
            FINCH_TRY(data_score_object_write(&line->json, j->scoring, &j->added, &j->outputs[i], &j->out, err));
        else if (line->json.reason[0] != '\0') FINCH_TRY(add_error(j, line, first + i, err));
        if (line->json.reason[0] != '\0' && j->options->source.strict)
            return finch_fail_row(err, FINCH_E_DATA, first + i, "line %" PRIu64 ": %s", first + i, line->json.reason);
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
