/* Batch jobs and events: claims, leases, one end, and an order that never hides an event. */
#include "store_test.h"

#include "store/events.h"
#include "store/history.h"
#include "store/jobs.h"

#include "base/rng.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void create(job *out)
{
    jobs_new spec = {"score", "/tmp/in.csv", "tweets 'x'.csv", 1234, "{\"text_column\":\"body\"}", NULL};
    CHECK_OK(jobs_create(s, &spec, out, &err), &err);
}

static bool claim(job *out, int64_t lease_ms)
{
    bool found;
    CHECK_OK(jobs_claim(s, "score", lease_ms, out, &found, &err), &err);
    return found;
}

static void check_state(const char *id, const char *state)
{
    job now;
    CHECK_OK(jobs_get(s, id, &now, &err), &err);
    CHECK_TEXT(state, now.state.at);
    job_free(&now);
}

TEST(a_job_goes_from_queued_to_done_once)
{
    job made, mine, none;
    test_begin();
    create(&made);
    CHECK_TEXT("queued", made.state.at);
    CHECK_TEXT("tweets 'x'.csv", made.input_name.at);
    CHECK(claim(&mine, 60000));
    CHECK_TEXT(made.id, mine.id);
    CHECK_EQUAL(1, mine.attempt);
    CHECK(!claim(&none, 60000));
    CHECK_OK(jobs_progress(s, &mine, 5, 10, 60000, &err), &err);
    CHECK_OK(jobs_finish(s, &mine, "/tmp/out-1.csv", 99, "{\"rows\":10}", &err), &err);
    CHECK_OK(jobs_finish(s, &mine, "/tmp/out-1.csv", 99, "{\"rows\":10}", &err), &err); /* as after a lost answer */
    CHECK_STATUS(FINCH_E_CANCELLED, jobs_finish(s, &mine, "/tmp/other.csv", 99, "{}", &err), &err);
    CHECK_STATUS(FINCH_E_CANCELLED, jobs_progress(s, &mine, 6, 10, 60000, &err), &err);
    CHECK_STATUS(FINCH_E_USAGE, jobs_cancel(s, mine.id, &err), &err);
    job done;
    CHECK_OK(jobs_get(s, made.id, &done, &err), &err);
    CHECK_TEXT("/tmp/out-1.csv", done.result_path.at);
    CHECK_EQUAL(5, done.rows_done);
    json_t *json = job_json(&done);
    CHECK_EQUAL(10,
                json_integer_value(json_object_get(json_object_get(json_object_get(json, "result"), "summary"), "rows")));
    json_decref(json);
    job_free(&done);
    job_free(&made);
    job_free(&mine);
    test_end();
}

TEST(a_lease_that_ran_out_is_another_attempt_and_the_first_can_not_finish)
{
    job made, first, second;
    test_begin();
    create(&made);
    CHECK(claim(&first, 1));
    usleep(20000);
    CHECK(claim(&second, 60000));
    CHECK_EQUAL(2, second.attempt);
    CHECK_STATUS(FINCH_E_CANCELLED, jobs_finish(s, &first, "/tmp/1", 1, "{}", &err), &err);
    CHECK_STATUS(FINCH_E_CANCELLED, jobs_fail(s, &first, "late", true, &err), &err);
    CHECK_OK(jobs_finish(s, &second, "/tmp/2", 1, "{}", &err), &err);
    check_state(made.id, "done");
    job_free(&made);
    job_free(&first);
    job_free(&second);
    test_end();
}

TEST(a_job_of_a_process_that_is_gone_is_free_at_once)
{
    job made, first, second;
    test_begin();
    create(&made);
    CHECK(claim(&first, 3600000));
    /* An owner of this machine and boot whose process number nobody has. */
    char owner[512];
    int until_start = (int)(strrchr(store_owner(s), '/') - store_owner(s));
    snprintf(owner, sizeof owner, "%.*s/1", until_start, store_owner(s));
    static const sql_statement set = {"UPDATE batch_job SET owner = $1", NULL};
    sql_value value = sql_text(owner);
    CHECK_OK(store_run(s, &set, &value, 1, NULL, NULL, NULL, &err), &err);
    CHECK(claim(&second, 60000));
    CHECK_EQUAL(2, second.attempt);
    job_free(&made);
    job_free(&first);
    job_free(&second);
    test_end();
}

TEST(failing_again_and_again_comes_to_an_end)
{
    job made, mine, none;
    test_begin();
    create(&made);
    for (int i = 1; i <= JOBS_ATTEMPTS; i++) {
        CHECK(claim(&mine, 60000));
        CHECK_EQUAL(i, mine.attempt);
        CHECK_OK(jobs_fail(s, &mine, "the disk is full", true, &err), &err);
        check_state(made.id, i < JOBS_ATTEMPTS ? "queued" : "failed");
        job_free(&mine);
    }
    CHECK(!claim(&none, 60000));
    job_free(&made);
    /* One that takes its process with it each time. */
    create(&made);
    for (int i = 1; i <= JOBS_ATTEMPTS; i++) {
        CHECK(claim(&mine, 1));
        job_free(&mine);
        usleep(3000);
    }
    CHECK(!claim(&none, 60000));
    check_state(made.id, "failed");
    job_free(&made);
    test_end();
}

TEST(a_cancelled_job_stops_its_worker_and_a_released_one_waits)
{
    job a, b, mine;
    test_begin();
    create(&a);
    CHECK(claim(&mine, 60000));
    CHECK_OK(jobs_cancel(s, a.id, &err), &err);
    CHECK_STATUS(FINCH_E_CANCELLED, jobs_progress(s, &mine, 1, 2, 60000, &err), &err);
    check_state(a.id, "cancelled");
    job_free(&mine);
    create(&b);
    CHECK(claim(&mine, 60000));
    CHECK_OK(jobs_release(s, &mine, &err), &err);
    check_state(b.id, "queued");
    jobs_counts counts;
    CHECK_OK(jobs_count(s, &counts, &err), &err);
    CHECK_EQUAL(1, counts.queued);
    CHECK_EQUAL(1, counts.cancelled);
    job_free(&mine);
    job_free(&a);
    job_free(&b);
    test_end();
}

static finch_status count_job(void *context, const job *j, finch_error *e)
{
    (void)e;
    CHECK(j->id[0] != '\0');
    ++*(int *)context;
    return FINCH_OK;
}

TEST(ended_jobs_leave_with_their_files)
{
    job j, mine;
    int n_seen = 0;
    uint64_t n;
    test_begin();
    for (int i = 0; i < 70; i++) {
        create(&j);
        CHECK(claim(&mine, 60000));
        CHECK_OK(jobs_finish(s, &mine, "/tmp/x", 1, NULL, &err), &err);
        job_free(&j);
        job_free(&mine);
    }
    create(&j);
    job_free(&j);
    CHECK_OK(jobs_prune(s, 1000, count_job, &n_seen, &n, &err), &err);
    CHECK_EQUAL(0, n);
    CHECK_OK(jobs_prune(s, store_now_ms(s) + 1000, count_job, &n_seen, &n, &err), &err);
    CHECK_EQUAL(70, n);
    CHECK_EQUAL(70, n_seen);
    n_seen = 0;
    CHECK_OK(jobs_each(s, NULL, 0, 100, count_job, &n_seen, &err), &err);
    CHECK_EQUAL(1, n_seen);
    CHECK_OK(jobs_each(s, "nobody", 0, 100, count_job, &n_seen, &err), &err);
    CHECK_EQUAL(1, n_seen);
    test_end();
}

/* ---- events ---- */

typedef struct seen {
    int64_t ids[64];
    char kinds[64][16];
    size_t n;
} seen;

static finch_status see(void *context, const event *e, finch_error *error)
{
    seen *x = context;
    (void)error;
    CHECK(x->n < 64);
    CHECK(e->data.size_bytes > 1 && e->data.at[0] == '{');
    x->ids[x->n] = e->id;
    snprintf(x->kinds[x->n++], sizeof x->kinds[0], "%s", e->kind);
    return FINCH_OK;
}

static void add_event(const char *kind)
{
    json_t *data = json_pack("{s:s}", "a", "b");
    CHECK_OK(events_add(s, kind, data, &err), &err);
    json_decref(data);
}

static void add_prediction(void)
{
    history_prediction p = {
        .time_ms = 1000, .model = "m@1", .text = {"up", 2}, .label = 3, .probabilities = {0, 0, 0, 1, 0}};
    CHECK_OK(history_append(s, NULL, &p, 1, NULL, &err), &err);
}

TEST(events_and_predictions_come_in_one_order)
{
    seen x = {.n = 0};
    int64_t last;
    test_begin();
    add_event("a");
    add_prediction();
    add_event("b");
    add_event("c");
    add_prediction();
    CHECK_OK(events_last(s, &last, &err), &err);
    CHECK_EQUAL(5, last);
    CHECK_OK(events_after(s, 0, 64, see, &x, &err), &err);
    CHECK_EQUAL(5, x.n);
    static const char *const kinds[] = {"a", "prediction", "b", "c", "prediction"};
    for (size_t i = 0; i < 5; i++) {
        CHECK_EQUAL(i + 1, x.ids[i]);
        CHECK_TEXT(kinds[i], x.kinds[i]);
    }
    for (int64_t after = 0; after < 5; after++) { /* one at a time, as a slow reader */
        x.n = 0;
        CHECK_OK(events_after(s, after, 1, see, &x, &err), &err);
        CHECK_EQUAL(1, x.n);
        CHECK_EQUAL(after + 1, x.ids[0]);
    }
    x.n = 0;
    CHECK_OK(events_after(s, 5, 64, see, &x, &err), &err);
    CHECK_EQUAL(0, x.n);
    test_end();
}

TEST(old_events_go_and_it_is_known_which)
{
    int64_t forgotten;
    test_begin();
    for (int i = 0; i < 150; i++) add_event("a");
    CHECK_EQUAL(150, test_number("SELECT count(*) FROM event"));
    test_run("UPDATE event SET time = 5 WHERE id <= 140");
    for (int i = 0; i < 50; i++) add_event("b"); /* number 200 sweeps */
    CHECK_EQUAL(60, test_number("SELECT count(*) FROM event"));
    CHECK_OK(events_forgotten(s, &forgotten, &err), &err);
    CHECK_EQUAL(140, forgotten);
    test_end();
}

/* ---- threads: a reader that follows while four write never misses one ---- */

enum { WRITERS = 4, EACH = 40 };

static void *write_events(void *context)
{
    store *mine;
    finch_error e;
    (void)context;
    if (store_open(test_place(), &mine, &e) != FINCH_OK) return "open";
    json_t *data = json_object();
    void *failed = NULL;
    for (int i = 0; failed == NULL && i < EACH; i++) {
        history_prediction p = {
            .time_ms = i, .model = "m@1", .text = {"up", 2}, .label = 3, .probabilities = {0, 0, 0, 1, 0}};
        if (i % 2 == 0 && events_add(mine, "a", data, &e) != FINCH_OK) failed = "add";
        if (i % 2 == 1 && history_append(mine, NULL, &p, 1, NULL, &e) != FINCH_OK) failed = "append";
    }
    json_decref(data);
    store_close(mine);
    return failed;
}

static finch_status follow(void *context, const event *e, finch_error *error)
{
    int64_t *last = context;
    if (e->id != *last + 1) return finch_fail(error, FINCH_E_FAILED, "%lld after %lld", (long long)e->id, (long long)*last);
    *last = e->id;
    return FINCH_OK;
}

TEST(who_follows_the_events_misses_none)
{
    pthread_t threads[WRITERS];
    int64_t last = 0;
    test_begin();
    for (int i = 0; i < WRITERS; i++) CHECK_EQUAL(0, pthread_create(&threads[i], NULL, write_events, NULL));
    for (int i = 0; i < 20000 && last < WRITERS * EACH; i++) CHECK_OK(events_after(s, last, 7, follow, &last, &err), &err);
    for (int i = 0; i < WRITERS; i++) {
        void *failed = NULL;
        pthread_join(threads[i], &failed);
        CHECK(failed == NULL);
    }
    CHECK_OK(events_after(s, last, 1000, follow, &last, &err), &err);
    CHECK_EQUAL(WRITERS * EACH, last);
    test_end();
}

/* ---- kills: workers that die at any moment; every job is finished once ---- */

enum { JOBS = 24, WORKERS = 2, KILLS = 12 };

/* A worker's life: claims, works a little, finishes. Ends when nothing is left. */
static void work_until_done(unsigned seed)
{
    store *mine;
    finch_error e;
    rng r = {seed, 0, 0};
    if (store_open(test_place(), &mine, &e) != FINCH_OK) _exit(1);
    for (int idle = 0; idle < 200;) {
        job j;
        bool found;
        char path[80];
        if (jobs_claim(mine, "score", 60000, &j, &found, &e) != FINCH_OK) _exit(2);
        if (!found) {
            idle++;
            usleep(5000);
            continue;
        }
        idle = 0;
        for (int i = 0; i < 3; i++) {
            usleep((useconds_t)rng_below(&r, 3000));
            if (jobs_progress(mine, &j, i, 3, 60000, &e) != FINCH_OK) break;
        }
        snprintf(path, sizeof path, "/results/%s-%lld", j.id, (long long)j.attempt);
        finch_status st = jobs_finish(mine, &j, path, 1, "{}", &e);
        if (st != FINCH_OK && st != FINCH_E_CANCELLED) _exit(3);
        job_free(&j);
    }
    store_close(mine);
    _exit(0);
}

static pid_t start_worker(unsigned seed)
{
    pid_t process = fork();
    CHECK(process >= 0);
    if (process == 0) work_until_done(seed);
    return process;
}

static int64_t count_left(void)
{
    return test_number("SELECT count(*) FROM batch_job WHERE state IN ('queued', 'running')");
}

TEST(workers_that_are_killed_finish_every_job_once)
{
    pid_t workers[WORKERS];
    rng r = {5, 0, 0};
    int status, n_killed = 0;
    test_begin();
    for (int i = 0; i < JOBS; i++) {
        job j;
        create(&j);
        job_free(&j);
    }
    store_close(s); /* a child must not share a connection */
    for (unsigned i = 0; i < WORKERS; i++) workers[i] = start_worker(i);
    for (; n_killed < KILLS; n_killed++) {
        size_t which = rng_below(&r, WORKERS);
        usleep((useconds_t)rng_below(&r, 60000));
        CHECK_EQUAL(0, kill(workers[which], SIGKILL));
        CHECK_EQUAL(workers[which], waitpid(workers[which], &status, 0));
        workers[which] = start_worker(100 + (unsigned)n_killed);
    }
    for (int i = 0; i < WORKERS; i++) {
        CHECK_EQUAL(workers[i], waitpid(workers[i], &status, 0));
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    CHECK_OK(store_open(test_place(), &s, &err), &err);
    CHECK_EQUAL(0, count_left());
    CHECK_EQUAL(JOBS, test_number("SELECT count(*) FROM batch_job WHERE state = 'done'"));
    CHECK_EQUAL(JOBS, test_number("SELECT count(*) FROM event WHERE kind = 'job' AND data LIKE '%\"state\":\"done\"%'"));
    CHECK_EQUAL(JOBS, test_number("SELECT count(*) FROM batch_job WHERE result_path = '/results/' || id || '-' || attempt"));
    test_end();
}
