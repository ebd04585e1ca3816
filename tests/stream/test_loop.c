/* The stages of a stream around a broker that lives in this file and fails on demand. */
#include "harness.h"

#include "stream/stream.h"

#include <pthread.h>
#include <stdlib.h>

enum { MESSAGES = 200, BATCH = 16 };

/* What the broker has. lock guards it: the stages have a connection each. */
static struct {
    pthread_mutex_t lock;
    size_t n_messages, n_read, n_published, n_acknowledged;
    size_t in_flight, in_flight_most;
    unsigned published[MESSAGES], acknowledged[MESSAGES];
    size_t dead, opened, left;
    bool ack_before_publish;
    int publish_fails, ack_fails, read_fails, open_fails; /* so many times, with FINCH_E_REMOTE */
    finch_status refuses;                                  /* of publish, for good */
    char id[STREAM_ID_BYTES];                              /* of message 0's output */
    const char *payload;
    size_t output_max;
} broker;

static bool spend(int *times)
{
    bool fails = *times > 0;
    *times -= fails;
    return fails;
}

static finch_status lost(finch_error *err) { return finch_fail(err, FINCH_E_REMOTE, "lost"); }

static finch_status fake_open(const stream_place *place, const stream_url *url, void **connection, finch_error *err)
{
    (void)place;
    (void)url;
    pthread_mutex_lock(&broker.lock);
    bool fails = spend(&broker.open_fails);
    broker.opened += !fails;
    pthread_mutex_unlock(&broker.lock);
    *connection = fails ? NULL : &broker;
    return fails ? lost(err) : FINCH_OK;
}

static size_t index_of(const stream_message *m) { return (size_t)strtoul(m->id, NULL, 10); }

static finch_status fake_read(void *connection, size_t most, unsigned wait_ms, stream_batch *batch, finch_error *err)
{
    finch_status st = FINCH_OK;
    (void)connection;
    (void)wait_ms;
    pthread_mutex_lock(&broker.lock);
    if (spend(&broker.read_fails)) st = lost(err);
    for (size_t i = 0; st == FINCH_OK && i < most && broker.n_read < broker.n_messages; i++) {
        stream_message *m;
        st = stream_batch_add(batch, broker.payload, strlen(broker.payload), &m, err);
        if (st != FINCH_OK) break;
        snprintf(m->id, sizeof m->id, "%zu", broker.n_read++);
        broker.in_flight++;
    }
    if (broker.in_flight > broker.in_flight_most) broker.in_flight_most = broker.in_flight;
    pthread_mutex_unlock(&broker.lock);
    return st;
}

static finch_status fake_publish(void *connection, const stream_batch *batch, const stream_output *outputs, finch_error *err)
{
    (void)connection;
    pthread_mutex_lock(&broker.lock);
    finch_status st = spend(&broker.publish_fails) ? lost(err)
                      : broker.refuses != FINCH_OK ? finch_fail(err, broker.refuses, "refused")
                                                   : FINCH_OK;
    for (size_t i = 0; st == FINCH_OK && i < batch->n; i++) {
        size_t index = index_of(&batch->messages[i]);
        broker.published[index]++;
        broker.n_published++;
        broker.dead += outputs[i].reason != NULL;
        if (index == 0) memcpy(broker.id, outputs[i].id, sizeof broker.id);
    }
    pthread_mutex_unlock(&broker.lock);
    return st;
}

static finch_status fake_acknowledge(void *connection, const stream_batch *batch, finch_error *err)
{
    (void)connection;
    pthread_mutex_lock(&broker.lock);
    finch_status st = spend(&broker.ack_fails) ? lost(err) : FINCH_OK;
    for (size_t i = 0; st == FINCH_OK && i < batch->n; i++) {
        size_t index = index_of(&batch->messages[i]);
        broker.ack_before_publish |= broker.published[index] == 0;
        broker.acknowledged[index]++;
        broker.n_acknowledged++;
        broker.in_flight--;
    }
    pthread_mutex_unlock(&broker.lock);
    return st;
}

static size_t fake_output_max(const void *connection)
{
    (void)connection;
    return broker.output_max;
}

static finch_status fake_lag(void *connection, stream_lag *out, finch_error *err)
{
    (void)connection;
    (void)err;
    pthread_mutex_lock(&broker.lock);
    *out = (stream_lag){(int64_t)(broker.n_messages - broker.n_read), (int64_t)broker.in_flight};
    pthread_mutex_unlock(&broker.lock);
    return FINCH_OK;
}

static void fake_release(stream_batch *batch)
{
    batch->n = 0;
    str_clear(&batch->bytes);
}

static void fake_close(void *connection, bool leave)
{
    pthread_mutex_lock(&broker.lock);
    broker.left += connection != NULL && leave;
    pthread_mutex_unlock(&broker.lock);
}

static const stream_broker fake = {.scheme = "fake",
                                   .what = "a fake",
                                   .open = fake_open,
                                   .read = fake_read,
                                   .output_max = fake_output_max,
                                   .publish = fake_publish,
                                   .acknowledge = fake_acknowledge,
                                   .lag = fake_lag,
                                   .release = fake_release,
                                   .close = fake_close};

/* ---- a stream of it ---- */

static unsigned n_asked; /* of ask_to_stop */

static bool ask_to_stop(void *context, uint64_t done, uint64_t total, const char *note)
{
    (void)context;
    (void)done;
    (void)total;
    (void)note;
    return n_asked++ < 3;
}

static void reset(const char *payload)
{
    memset(&broker, 0, sizeof broker);
    pthread_mutex_init(&broker.lock, NULL);
    broker.n_messages = MESSAGES;
    broker.payload = payload;
    broker.output_max = SIZE_MAX;
    n_asked = 0;
}

static finch_status run(const progress *watch, stream_figures *figures, finch_error *err)
{
    enum { n_threads = 1 }; /* the stages have two more */
    model *engine = NULL;
    data_scoring scoring = {0};
    stream_options o = {.broker = &fake,
                        .place = {.url = "fake://here", .place = "fake", .input = "in", .output = "out", .dead = "dead"},
                        .text = {"body", NULL},
                        .prefix = "",
                        .model_version = "v1",
                        .batch = BATCH,
                        .in_flight = 3 * BATCH,
                        .max_deliveries = 5,
                        .max_message_bytes = 1000,
                        .until_empty = watch == NULL,
                        .drain_seconds = 1,
                        .watch = watch};
    memset(figures, 0, sizeof *figures);
    CHECK_OK(model_open(FIXTURES "/models/tiny-bert", MODEL_AUTO, &engine, err), err);
    CHECK_OK(data_scoring_open(engine, n_threads, 32, BATCH, &scoring, err), err);
    finch_status st = stream_run(&scoring, &o, figures, err);
    data_scoring_close(&scoring);
    model_close(engine);
    return st;
}

static void check_all_once(void)
{
    for (size_t i = 0; i < MESSAGES; i++) CHECK_EQUAL(1, broker.acknowledged[i]);
    CHECK(!broker.ack_before_publish);
    CHECK_EQUAL(0, broker.in_flight);
    CHECK_EQUAL(1, broker.left);
}

TEST(each_message_is_published_and_then_acknowledged)
{
    stream_figures figures;
    finch_error err;
    reset("{\"body\":\"up\"}");
    CHECK_OK(run(NULL, &figures, &err), &err);
    check_all_once();
    CHECK_EQUAL(MESSAGES, broker.n_published);
    CHECK_EQUAL(MESSAGES, figures.scored);
    CHECK_EQUAL(0, figures.in_flight);
    CHECK_EQUAL(2, broker.opened);
    CHECK(broker.in_flight_most > BATCH && broker.in_flight_most <= 3 * BATCH);
    CHECK_TEXT("0@v1", broker.id);
}

TEST(what_can_not_be_scored_is_a_dead_letter_and_acknowledged)
{
    stream_figures figures;
    finch_error err;
    reset("{\"text\":\"up\"}");
    CHECK_OK(run(NULL, &figures, &err), &err);
    check_all_once();
    CHECK_EQUAL(MESSAGES, broker.dead);
    CHECK_EQUAL(MESSAGES, figures.dead);
    CHECK_EQUAL(0, figures.scored);
}

TEST(an_answer_that_the_broker_does_not_take_is_a_dead_letter)
{
    stream_figures figures;
    finch_error err;
    reset("{\"body\":\"up\"}");
    broker.output_max = 20;
    CHECK_OK(run(NULL, &figures, &err), &err);
    check_all_once();
    CHECK_EQUAL(MESSAGES, broker.dead);
}

TEST(a_lost_broker_is_opened_again_and_nothing_is_lost)
{
    for (int which = 0; which < 4; which++) {
        stream_figures figures;
        finch_error err;
        reset("{\"body\":\"up\"}");
        broker.read_fails = which == 0;
        broker.publish_fails = which == 1;
        broker.ack_fails = which >= 2;
        CHECK_OK(run(NULL, &figures, &err), &err);
        check_all_once();
        CHECK_EQUAL(MESSAGES + (which >= 2 ? BATCH : 0),
                    broker.n_published); /* confirmed, but acknowledged only the next time */
        CHECK_EQUAL(1, figures.lost_connections);
        CHECK_EQUAL(3, broker.opened);
    }
}

TEST(a_broker_that_is_away_at_the_beginning_is_an_error)
{
    stream_figures figures;
    finch_error err;
    reset("{\"body\":\"up\"}");
    broker.open_fails = 1;
    CHECK_STATUS(FINCH_E_REMOTE, run(NULL, &figures, &err), &err);
    CHECK_EQUAL(0, broker.n_read);
}

TEST(what_the_broker_refuses_for_good_ends_the_stream)
{
    stream_figures figures;
    finch_error err;
    reset("{\"body\":\"up\"}");
    broker.refuses = FINCH_E_FAILED;
    CHECK_STATUS(FINCH_E_FAILED, run(NULL, &figures, &err), &err);
    CHECK(strstr(err.message, "will come again") != NULL);
    CHECK_EQUAL(0, broker.n_acknowledged);
    CHECK_EQUAL(0, broker.left);
}

/* A run that is told to stop after a few ticks. */
static finch_status run_and_stop(int publish_fails, finch_error *err)
{
    stream_figures figures;
    progress watch = {ask_to_stop, NULL};
    reset("{\"body\":\"up\"}");
    broker.publish_fails = publish_fails;
    return run(&watch, &figures, err);
}

TEST(a_stop_finishes_what_is_in_flight)
{
    finch_error err;
    CHECK_OK(run_and_stop(0, &err), &err);
    CHECK_EQUAL(broker.n_read, broker.n_acknowledged);
    CHECK_EQUAL(0, broker.in_flight);
    CHECK_EQUAL(1, broker.left);
}

TEST(a_drain_with_the_broker_away_gives_up_in_time)
{
    finch_error err;
    CHECK_STATUS(FINCH_E_REMOTE, run_and_stop(1000000, &err), &err);
    CHECK_EQUAL(0, broker.n_acknowledged);
    CHECK(strstr(err.message, "will come again") != NULL);
}

TEST(latencies_fall_into_their_buckets)
{
    static stream_figures figures;
    for (int64_t ms = 1; ms <= 1000; ms++) stream_figures_latency(&figures, ms);
    CHECK_NEAR(500, stream_figures_quantile(&figures, 0.5), 50);
    CHECK_NEAR(990, stream_figures_quantile(&figures, 0.99), 90);
    stream_figures_latency(&figures, -5); /* clocks differ */
    stream_figures_latency(&figures, INT64_MAX);
    str page = {0};
    CHECK_OK(stream_figures_write(&figures, &page, NULL), NULL);
    CHECK(strstr(page.at, "finch_stream_latency_seconds_bucket{le=\"0.001\"} 2\n") != NULL);
    CHECK(strstr(page.at, "finch_stream_latency_seconds_count 1002\n") != NULL);
    str_free(&page);
}

TEST(a_url_is_read_and_its_password_not_shown)
{
    stream_url u;
    finch_error err;
    CHECK_OK(stream_url_read("redis://me:p%40ss@[::1]:77/3", 6379, &u, &err), &err);
    CHECK_TEXT("p@ss", u.password);
    CHECK_TEXT("me", u.user);
    CHECK_TEXT("/3", u.path);
    CHECK_EQUAL(77, u.port);
    CHECK(strstr(u.place.at, "p@ss") == NULL && strstr(u.place.at, "p%40ss") == NULL);
    stream_url_free(&u);
    CHECK_STATUS(FINCH_E_USAGE, stream_url_read("redis://", 6379, &u, &err), &err);
    CHECK_STATUS(FINCH_E_USAGE, stream_url_read("redis://h:99999", 6379, &u, &err), &err);
}
