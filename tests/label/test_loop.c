/* The whole of label_run in this process, against the stand-in provider: its threads (pthread_create in src/label: the loop, the
 * one who has the store, the one who reads the table, the one who writes the output) work on one job. Under the thread
 * sanitizer this is what tells whether they share anything without saying so. */
#include "harness.h"

#include "base/json.h"
#include "label/feed.h"
#include "label/label.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROWS = 5000, REPEATED = 100 };

static finch_error err;
static pid_t standin;
static char url[64], input[512], output[512], state[512], ledger[512];

static void begin_standin(const char *config)
{
    int ends[2];
    char line[256] = "";
    const char *python = getenv("FINCH_PYTHON");
    CHECK(pipe(ends) == 0);
    standin = fork();
    if (standin == 0) {
        dup2(ends[1], STDOUT_FILENO);
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves none behind */
        close(ends[0]);
        close(ends[1]);
        execlp(python != NULL ? python : "python3", "python", SOURCE_DIR "/tests/provider/standin.py", "--config", config,
               "--ledger", ledger, (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    FILE *said = fdopen(ends[0], "r");
    CHECK(said != NULL && fgets(line, sizeof line, said) != NULL);
    fclose(said);
    const char *port = strstr(line, "\"port\": ");
    CHECK(port != NULL);
    snprintf(url, sizeof url, "http://127.0.0.1:%ld/v1", strtol(port + 8, NULL, 10));
}

static void end_standin(void)
{
    kill(standin, SIGKILL);
    waitpid(standin, NULL, 0);
}

/* The last REPEATED texts are the first ones again. */
static void begin(const char *config)
{
    const char *folder = harness_folder();
    snprintf(input, sizeof input, "%s/tweets.csv", folder);
    snprintf(output, sizeof output, "%s/labels.jsonl", folder);
    snprintf(state, sizeof state, "%s/state.sqlite", folder);
    snprintf(ledger, sizeof ledger, "%s/ledger.jsonl", folder);
    FILE *file = fopen(input, "w");
    CHECK(file != NULL);
    fputs("tweet_id,text\n", file);
    for (int i = 0; i < ROWS; i++) fprintf(file, "%d,$AAPL tweet %d\n", i, i % (ROWS - REPEATED));
    CHECK(fclose(file) == 0);
    setenv("OPENAI_API_KEY", "sk-standin", 1);
    begin_standin(config);
}

static label_options options_of(void)
{
    static const char *inputs[1];
    inputs[0] = input;
    return (label_options){
        .source = {.inputs = inputs, .n_inputs = 1, .max_line_bytes = 1 << 20},
        .text_column = "text",
        .output = output,
        .prefix = "",
        .state = state,
        .provider_url = url,
        .model = "standin/five",
        .votes = 1,
        /* Far above what a busy machine makes of the stand-in's latency: an answer that nobody waits for is paid for and lost. */
        .connect_seconds = 120,
        .first_byte_seconds = 120,
        .total_seconds = 120,
        .engine = {.batch = 20,
                   .in_flight = 16,
                   .attempts = 5,
                   .temperature = 0,
                   .format = FORMAT_SCHEMA,
                   .max_cost = -1,
                   .price_in = -1,
                   .price_out = -1,
                   .backoff_seconds = 0.05,
                   .give_up_seconds = 240,
                   .lease_seconds = 60,
                   .stop_kappa = -2},
    };
}

/* Each of the table's texts was answered once, whatever happened. */
static void check_ledger(void)
{
    unsigned char answered[ROWS] = {0};
    char *line = NULL;
    size_t size = 0, n = 0;
    FILE *file = fopen(ledger, "r");
    CHECK(file != NULL);
    for (ssize_t got; (got = getline(&line, &size, file)) > 0;) {
        json_t *entry = NULL, *text;
        size_t i;
        CHECK_OK(json_parse(line, (size_t)got, "the ledger", &entry, &err), &err);
        json_array_foreach(json_object_get(entry, "answered"), i, text)
        {
            long at = strtol(json_string_value(text) + strlen("$AAPL tweet "), NULL, 10);
            CHECK(at >= 0 && at < ROWS - REPEATED && answered[at] == 0);
            answered[at] = 1;
            n++;
        }
        json_decref(entry);
    }
    free(line);
    fclose(file);
    CHECK_EQUAL(ROWS - REPEATED, n);
}

static void check_done(const label_report *r)
{
    CHECK_EQUAL(ENGINE_DONE, r->engine.end);
    CHECK(r->written);
    CHECK_EQUAL(ROWS, r->job.n_rows);
    CHECK_EQUAL(ROWS - REPEATED, r->job.n_items);
    CHECK_EQUAL(ROWS - REPEATED, r->counts.labelled);
    CHECK_EQUAL(ROWS, r->out.n_rows);
    CHECK_EQUAL(ROWS, r->out.n_labelled);
    CHECK_EQUAL(ROWS - REPEATED, r->engine.progress.items);
}

/* A late answer holds the last rows of the output back, and nothing else. */
TEST(a_table_is_read_asked_and_written_at_once)
{
    label_report report;
    begin("{\"latency_ms\": 20, \"jitter_ms\": 15, \"rules\": [{\"fault\": \"slow\", \"seconds\": 1.5, \"text\": \"tweet "
          "4890\"}, "
          "{\"fault\": \"status\", \"status\": 503, \"share\": 0.05}, {\"fault\": \"missing\", \"share\": 0.05}]}");
    label_options o = options_of();
    CHECK_OK(label_run(&o, NULL, NULL, &report, &err), &err);
    check_done(&report);
    CHECK_EQUAL(ROWS, report.in.n_rows);
    label_report_free(&report);
    check_ledger();
    end_standin();
}

static bool until_some(void *context, const engine_progress *p) { return p->labelled < *(const int64_t *)context; }

TEST(an_interrupt_ends_all_threads_and_the_next_run_goes_on)
{
    label_report report;
    int64_t enough = 400;
    begin("{\"latency_ms\": 60}");
    label_options o = options_of();
    o.engine.watch = until_some;
    o.engine.watch_context = &enough;
    CHECK_STATUS(FINCH_E_CANCELLED, label_run(&o, NULL, NULL, &report, &err), &err);
    CHECK(report.counts.labelled >= enough && report.counts.labelled < ROWS - REPEATED);
    CHECK(!report.written && access(output, F_OK) != 0);
    label_report_free(&report);
    o.engine.watch = NULL;
    CHECK_OK(label_run(&o, NULL, NULL, &report, &err), &err);
    check_done(&report);
    label_report_free(&report);
    check_ledger();
    end_standin();
}

TEST(a_bound_of_requests_leaves_a_job_with_all_its_texts)
{
    label_report report;
    begin("{\"latency_ms\": 5}");
    label_options o = options_of();
    o.engine.max_requests = 3;
    CHECK_STATUS(FINCH_E_FAILED, label_run(&o, NULL, NULL, &report, &err), &err);
    CHECK_TEXT("stopped at --max-requests 3", err.message);
    CHECK_EQUAL(ROWS, report.job.n_rows);
    CHECK_EQUAL(ROWS - REPEATED, report.job.n_items);
    CHECK_EQUAL(60, report.counts.labelled);
    CHECK_EQUAL(ROWS - REPEATED - 60, report.counts.waiting);
    label_report_free(&report);
    end_standin();
}

/* ---- the feed alone ---- */

TEST(a_feed_gives_every_text_once_in_order_and_its_end)
{
    const char *inputs[1];
    feed *f = NULL;
    ingest_result result;
    bool over = false;
    int64_t n = 0;
    begin("{}");
    inputs[0] = input;
    feed_options o = {.source = {.inputs = inputs, .n_inputs = 1, .max_line_bytes = 1 << 20}, .text_column = "text"};
    CHECK_OK(feed_open(&o, &f, &err), &err);
    CHECK_OK(feed_begin(f, NULL, &err), &err);
    usleep(300000); /* there are three chunks, and two places */
    while (!over) {
        CHECK_OK(feed_begin(f, NULL, &err), &err);
        const feed_chunk *chunk = feed_next(f, &over);
        if (chunk == NULL) continue;
        CHECK(!over);
        for (size_t i = 0; i < chunk->n; i++, n++) CHECK_EQUAL(n, chunk->texts[i].seq);
        CHECK_EQUAL(ROWS, feed_expect(f).rows);
        feed_pass(f);
    }
    CHECK_EQUAL(ROWS, n);
    CHECK_OK(feed_end(f, &result, &err), &err);
    CHECK_EQUAL(ROWS, result.n_rows);
    feed_close(f);
    end_standin();
}

TEST(a_feed_that_is_closed_early_or_fails_ends_its_thread)
{
    const char *inputs[1];
    feed *f = NULL;
    begin("{}");
    inputs[0] = input;
    feed_options o = {.source = {.inputs = inputs, .n_inputs = 1, .max_line_bytes = 1 << 20}, .text_column = "text"};
    CHECK_OK(feed_open(&o, &f, &err), &err);
    CHECK_OK(feed_begin(f, NULL, &err), &err);
    feed_close(f); /* two chunks are full, the thread waits for a place */
    CHECK_OK(feed_open(&o, &f, &err), &err);
    feed_close(f); /* it may not even have begun */
    o.text_column = "nowhere";
    CHECK_OK(feed_open(&o, &f, &err), &err);
    CHECK_STATUS(FINCH_E_DATA, feed_begin(f, NULL, &err), &err);
    CHECK(strstr(err.message, "nowhere") != NULL);
    feed_close(f);
    end_standin();
}
