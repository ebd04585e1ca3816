/* Jobs, leases, claims, the ledger. Runs on SQLite; with FINCH_TEST_POSTGRES (a URL of a database to be emptied) on
 * PostgreSQL instead: tests/store/test_postgres.py does both. */
#include "harness.h"

#include "store/labels.h"

#include "base/json.h"

#include <stdlib.h>
#include <unistd.h>

static finch_error err;
static store *s;
static labels_job job;

static const char *postgres(void) { return getenv("FINCH_TEST_POSTGRES"); }

static const char *place(void)
{
    static char path[512];
    if (postgres() != NULL) return postgres();
    snprintf(path, sizeof path, "%s/s.sqlite", harness_folder());
    return path;
}

/* PostgreSQL's tables are dropped; SQLite's file is a new one for each test. */
static void empty_database(void)
{
    void *connection = NULL;
    if (postgres() == NULL) return;
    CHECK_OK(sql_backend_postgres.open(postgres(), &connection, &err), &err);
    CHECK_OK(sql_backend_postgres.run(connection, "DROP SCHEMA public CASCADE", NULL, 0, NULL, NULL, NULL, &err), &err);
    CHECK_OK(sql_backend_postgres.run(connection, "CREATE SCHEMA public", NULL, 0, NULL, NULL, NULL, &err), &err);
    sql_backend_postgres.close(connection);
}

static void make(store *in, const char *name, const char *model, size_t votes, const char *judge, labels_job *out)
{
    labels_job_spec spec = {name, model, judge, "prompt-1", "the prompt", "https://x/v1", "[\"a.csv\"]", "text", votes};
    CHECK_OK(labels_job_make(in, &spec, out, &err), &err);
}

static void begin(void)
{
    empty_database();
    CHECK_OK(store_open(place(), &s, &err), &err);
    make(s, "job", "model", 1, NULL, &job);
}

static void end(void)
{
    labels_job_free(&job);
    store_close(s);
}

static void text_of(labels_text *out, int64_t seq, const char *text)
{
    *out = (labels_text){.seq = seq, .text = {text, strlen(text)}, .gold = LABELS_NO_CLASS};
    CHECK_OK(store_hash(text, strlen(text), out->hash, &err), &err);
}

static void add(store *in, labels_job *to, const char *const *texts, size_t n)
{
    labels_text list[16];
    for (size_t i = 0; i < n; i++) text_of(&list[i], (int64_t)i, texts[i]);
    CHECK_OK(labels_add(in, to, list, n, &err), &err);
    uint64_t n_reused;
    CHECK_OK(labels_added(in, to, (int64_t)n, &n_reused, &err), &err);
}

static const char *const five[] = {"one 'quoted' \"text\"", "two \\ \xE2\x82\xAC", "three\nlines", "four", "five"};

/* As the engine does: in a transaction. */
typedef struct leasing {
    const labels_job *of;
    size_t n;
    int64_t ms;
    bool expired;
    labels_items items;
    labels_lease_result result;
} leasing;

static finch_status do_lease(store *in, void *context, finch_error *e)
{
    leasing *l = context;
    labels_items_free(&l->items);
    l->result = (labels_lease_result){0};
    return labels_lease(in, l->of, l->n, l->ms, l->expired, &l->items, &l->result, e);
}

static void lease(store *in, leasing *l) { CHECK_OK(store_transaction(in, do_lease, l, &err), &err); }

static void answer(store *in, const labels_job *of, labels_item *item, int label, const char *request)
{
    labels_answer a = {item, of->asker, label, 0.5, request};
    CHECK_OK(labels_answers(in, &a, 1, 0, &err), &err);
    labels_verdict v = {item->seq, LABELS_SETTLED, 0, a.label, item->grain, 0, a.confidence, NULL};
    CHECK_OK(labels_verdicts(in, of, &v, 1, &err), &err);
}

TEST(a_job_is_found_again_by_its_name)
{
    labels_job again;
    begin();
    make(s, "job", "another model", 3, NULL, &again);
    CHECK_EQUAL(job.id, again.id);
    CHECK_TEXT("model", again.model.at);
    labels_job_free(&again);
    CHECK_OK(labels_job_find(s, NULL, &again, &err), &err);
    CHECK_TEXT("job", again.name.at);
    CHECK_EQUAL(-1, again.n_rows);
    labels_job_free(&again);
    CHECK_STATUS(FINCH_E_NOT_FOUND, labels_job_find(s, "no' OR 1=1 --", &again, &err), &err);
    str prompt = {0};
    CHECK_OK(labels_prompt_text(s, "prompt-1", &prompt, &err), &err);
    CHECK_TEXT("the prompt", prompt.at);
    str_free(&prompt);
    end();
}

TEST(equal_texts_are_one_item_and_adding_can_begin_again)
{
    static const char *const texts[] = {"a", "b", "a", "c", "b"};
    labels_counts counts;
    begin();
    add(s, &job, texts, 5);
    add(s, &job, texts, 5);
    CHECK_EQUAL(3, job.n_items);
    CHECK_EQUAL(5, job.n_rows);
    CHECK_OK(labels_count(s, &job, &counts, &err), &err);
    CHECK_EQUAL(3, counts.waiting);
    end();
}

TEST(a_text_is_leased_once_in_order_and_comes_back_byte_for_byte)
{
    begin();
    add(s, &job, five, 5);
    leasing a = {.of = &job, .n = 3, .ms = 60000}, b = {.of = &job, .n = 10, .ms = 60000};
    lease(s, &a);
    lease(s, &b);
    CHECK_EQUAL(3, a.items.n);
    CHECK_EQUAL(2, b.items.n);
    for (size_t i = 0; i < 3; i++) {
        CHECK_EQUAL(i, a.items.at[i].seq);
        CHECK_TEXT(five[i], a.items.at[i].text);
    }
    CHECK_TEXT(five[3], b.items.at[0].text);
    labels_items_free(&a.items);
    labels_items_free(&b.items);
    end();
}

TEST(a_lease_that_ran_out_is_taken_by_another)
{
    store *other;
    begin();
    add(s, &job, five, 5);
    leasing a = {.of = &job, .n = 5, .ms = 1}, b = {.of = &job, .n = 5, .ms = 60000};
    lease(s, &a);
    usleep(20000);
    CHECK_OK(store_open(place(), &other, &err), &err);
    lease(other, &b);
    CHECK_EQUAL(0, b.items.n); /* not asked for */
    b.expired = true;
    lease(other, &b);
    CHECK_EQUAL(5, b.items.n);
    labels_items_free(&a.items);
    labels_items_free(&b.items);
    store_close(other);
    end();
}

TEST(renewing_keeps_a_lease_and_releasing_gives_it_back)
{
    begin();
    add(s, &job, five, 5);
    leasing a = {.of = &job, .n = 5, .ms = 300}, b = {.of = &job, .n = 5, .ms = 60000, .expired = true};
    lease(s, &a);
    CHECK_OK(labels_renew(s, &job, 60000, &err), &err);
    usleep(400000);
    lease(s, &b);
    CHECK_EQUAL(0, b.items.n);
    CHECK_OK(labels_release(s, &job, &err), &err);
    b.expired = false;
    lease(s, &b);
    CHECK_EQUAL(5, b.items.n);
    labels_items_free(&a.items);
    labels_items_free(&b.items);
    end();
}

/* Two jobs with the same texts at once: one asks, the other waits and then has the answer without a request. */
TEST(what_one_job_asks_no_other_job_asks)
{
    labels_job second;
    begin();
    make(s, "second", "model", 1, NULL, &second);
    CHECK_EQUAL(job.asker, second.asker);
    add(s, &job, five, 5);
    add(s, &second, five, 5);
    leasing a = {.of = &job, .n = 2, .ms = 60000}, b = {.of = &second, .n = 5, .ms = 60000};
    lease(s, &a);
    store *other;
    CHECK_OK(store_open(place(), &other, &err), &err);
    /* The same process is one owner; a claim by another owner is what blocks. */
    static const sql_statement steal = {"UPDATE label_answer SET owner = 'far/away/1/1'", NULL};
    CHECK_OK(store_run(s, &steal, NULL, 0, NULL, NULL, NULL, &err), &err);
    lease(other, &b);
    CHECK_EQUAL(3, b.items.n);
    CHECK_EQUAL(2, b.result.n_blocked);
    answer(s, &job, &a.items.at[0], 4, "r1");
    answer(s, &job, &a.items.at[1], 0, "r1");
    labels_items_free(&b.items);
    static const sql_statement hurry = {"UPDATE label_item SET until = 0 WHERE owner = ''", NULL};
    CHECK_OK(store_run(s, &hurry, NULL, 0, NULL, NULL, NULL, &err), &err);
    b.expired = true;
    lease(other, &b);
    CHECK_EQUAL(0, b.items.n);
    CHECK_EQUAL(2, b.result.n_reused);
    CHECK_EQUAL(1, b.result.reused_classes[4]);
    CHECK_EQUAL(1, b.result.reused_classes[0]);
    labels_items_free(&a.items);
    labels_items_free(&b.items);
    labels_job_free(&second);
    store_close(other);
    end();
}

TEST(a_later_job_has_the_answers_of_an_earlier_one)
{
    labels_job second, foreign;
    labels_counts counts;
    begin();
    add(s, &job, five, 5);
    leasing a = {.of = &job, .n = 5, .ms = 60000};
    lease(s, &a);
    for (size_t i = 0; i < 4; i++) answer(s, &job, &a.items.at[i], 3, "r1");
    make(s, "second", "model", 1, NULL, &second);
    add(s, &second, five, 5);
    CHECK_OK(labels_count(s, &second, &counts, &err), &err);
    CHECK_EQUAL(4, counts.labelled);
    CHECK_EQUAL(4, counts.classes[3]);
    make(s, "foreign", "another model", 1, NULL, &foreign);
    add(s, &foreign, five, 5);
    CHECK_OK(labels_count(s, &foreign, &counts, &err), &err);
    CHECK_EQUAL(5, counts.waiting);
    labels_items_free(&a.items);
    labels_job_free(&second);
    labels_job_free(&foreign);
    end();
}

TEST(the_first_answer_stays_the_answer)
{
    begin();
    add(s, &job, five, 5);
    leasing a = {.of = &job, .n = 1, .ms = 60000};
    lease(s, &a);
    labels_answer first = {&a.items.at[0], job.asker, 1, 0.25, "r1"}, late = {&a.items.at[0], job.asker, 4, 0.75, "r2"};
    CHECK_OK(labels_answers(s, &first, 1, 0, &err), &err);
    CHECK_OK(labels_answers(s, &late, 1, 0, &err), &err);
    CHECK_EQUAL(1, late.label);
    CHECK_NEAR(0.25, late.confidence, 0);
    int votes[3];
    CHECK_OK(labels_votes(s, job.asker, a.items.at[0].hash, votes, 3, &err), &err);
    CHECK_EQUAL(1, votes[0]);
    CHECK_EQUAL(LABELS_NO_CLASS, votes[1]);
    labels_items_free(&a.items);
    end();
}

TEST(verdicts_never_undo_what_is_settled)
{
    labels_counts counts;
    begin();
    add(s, &job, five, 5);
    leasing a = {.of = &job, .n = 2, .ms = 60000};
    lease(s, &a);
    labels_verdict list[] = {{0, LABELS_SETTLED, 0, 2, 20, 0, -1, NULL},
                             {1, LABELS_SETTLED, 0, LABELS_NO_CLASS, 1, 3, -1, "it 'refused'"}};
    CHECK_OK(labels_verdicts(s, &job, list, 2, &err), &err);
    labels_verdict again[] = {{0, LABELS_WAITING, 0, LABELS_NO_CLASS, 1, 0, -1, NULL},
                              {2, LABELS_WAITING, 0, LABELS_NO_CLASS, 1, 2, -1, NULL}};
    CHECK_OK(labels_verdicts(s, &job, again, 2, &err), &err);
    CHECK_OK(labels_count(s, &job, &counts, &err), &err);
    CHECK_EQUAL(1, counts.labelled);
    CHECK_EQUAL(1, counts.aside);
    CHECK_EQUAL(3, counts.waiting);
    labels_items_free(&a.items);
    leasing b = {.of = &job, .n = 5, .ms = 60000};
    lease(s, &b);
    CHECK_EQUAL(1, b.items.at[0].grain); /* what failed is asked alone, and remembers how often it failed */
    CHECK_EQUAL(2, b.items.at[0].tries);
    uint64_t n = 0;
    CHECK_OK(labels_retry_aside(s, &job, &n, &err), &err);
    CHECK_EQUAL(1, n);
    labels_items_free(&b.items);
    end();
}

TEST(requests_are_in_the_ledger_before_and_after)
{
    labels_counts counts;
    int64_t spent = -1;
    begin();
    add(s, &job, five, 5);
    leasing a = {.of = &job, .n = 2, .ms = 60000};
    lease(s, &a);
    const labels_item *items[] = {&a.items.at[0], &a.items.at[1]};
    labels_request request = {
        .id = "0123456789abcdef0123456789abcdef", .asker = job.asker, .key = "KEY_NAME", .items = items, .n_items = 2};
    CHECK_OK(labels_journal(s, &job, &request, &err), &err);
    CHECK_OK(labels_journal(s, &job, &request, &err), &err); /* run again after a lost commit */
    CHECK_OK(labels_count(s, &job, &counts, &err), &err);
    CHECK_EQUAL(1, counts.requests);
    labels_outcome o = {.id = request.id,
                        .status = 200,
                        .outcome = "answered",
                        .provider_id = "gen-7",
                        .input_tokens = 100,
                        .output_tokens = 20,
                        .cost_nano = 1234,
                        .body = "{}",
                        .body_bytes = 2};
    CHECK_OK(labels_end_request(s, &o, &err), &err);
    CHECK_OK(labels_end_request(s, &o, &err), &err);
    CHECK_OK(labels_spent(s, &job, &spent, &err), &err);
    CHECK_EQUAL(1234, spent);
    CHECK_OK(labels_count(s, &job, &counts, &err), &err);
    CHECK_EQUAL(100, counts.input_tokens);
    CHECK_EQUAL(0, counts.unknown_cost);
    labels_items_free(&a.items);
    end();
}

/* Places are told as a wait from now: each lies a whole interval behind the one before, however slow the machine is. */
TEST(a_keys_places_in_the_row_never_come_twice)
{
    int64_t wait = -1, earliest_last = 0, first = 0;
    begin();
    for (int i = 0; i < 20; i++) {
        int64_t before = store_now_ms(s) * 1000;
        CHECK_OK(labels_pace(s, "key", 1000000, 0, &wait, &err), &err);
        int64_t latest = (store_now_ms(s) + 1) * 1000 + wait;
        if (i == 0) first = before;
        else CHECK(latest >= earliest_last + 1000000);
        earliest_last = before + wait;
    }
    CHECK(store_now_ms(s) * 1000 + wait >= first + 19 * INT64_C(1000000));
    CHECK_OK(labels_pace(s, "another", 1000000, 0, &wait, &err), &err);
    CHECK_EQUAL(0, wait);
    CHECK_OK(labels_pace(s, "a third", 1000000, 50000, &wait, &err), &err);
    CHECK_EQUAL(50000, wait);
    end();
}

static finch_status see(void *context, const labels_known *known, finch_error *e)
{
    labels_known *out = context;
    (void)e;
    if (known->state == LABELS_SETTLED) out[known->label >= 0] = *known;
    return FINCH_OK;
}

TEST(the_output_knows_label_reason_and_origin)
{
    labels_known known[2];
    memset(known, 0, sizeof known);
    begin();
    add(s, &job, five, 5);
    leasing a = {.of = &job, .n = 2, .ms = 60000};
    lease(s, &a);
    answer(s, &job, &a.items.at[0], 4, "request-1");
    labels_verdict aside = {1, LABELS_SETTLED, 0, LABELS_NO_CLASS, 1, 3, -1, "no answer"};
    CHECK_OK(labels_verdicts(s, &job, &aside, 1, &err), &err);
    char hashes[200];
    snprintf(hashes, sizeof hashes, "[\"%s\",\"%s\",\"unknown\"]", a.items.at[0].hash, a.items.at[1].hash);
    CHECK_OK(labels_lookup(s, &job, hashes, see, known, &err), &err);
    CHECK_EQUAL(4, known[1].label);
    CHECK_NEAR(0.5, known[1].confidence, 0);
    CHECK_EQUAL(1, known[1].votes);
    CHECK(known[1].created_ms > 0);
    CHECK_EQUAL(9, known[0].reason.size_bytes);
    labels_items_free(&a.items);
    end();
}
