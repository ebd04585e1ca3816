/* The history: what a span's sums say against a plain count over what was appended, for any span and bucket. */
#include "store_test.h"

#include "store/history.h"
#include "store/history_sums.h"

#include "base/rng.h"

#include <pthread.h>

enum { N = 3000, HOUR = HISTORY_HOUR_MS };

#define BEGIN INT64_C(1709078400000) /* 2024-02-28T00:00:00Z: a leap day and a turn of the month lie ahead */

static const char names[][HISTORY_TICKER_BYTES] = {"AAPL", "TSLA", "BRK.B", "GME"};
static history_prediction made[N];
static char tickers[N][2][HISTORY_TICKER_BYTES];
static double mean_of[N]; /* the score in whole 1e-6 */

static void make_all(uint64_t seed)
{
    rng r = {seed, 0, 0};
    for (size_t i = 0; i < N; i++) {
        history_prediction *p = &made[i];
        size_t n = (size_t)rng_below(&r, 3);
        *p = (history_prediction){.time_ms = BEGIN + (int64_t)rng_below(&r, 40 * (uint64_t)HISTORY_DAY_MS),
                                  .model = rng_below(&r, 4) == 0 ? "mini@2" : "mini@1",
                                  .source = "test",
                                  .label = (int)rng_below(&r, 5),
                                  .reach = (int64_t)(rng_below(&r, 10) == 0 ? rng_below(&r, 300000) : rng_below(&r, 50)),
                                  .score = 2 * rng_unit(&r) - 1,
                                  .tickers = tickers[i],
                                  .n_tickers = n};
        for (size_t k = 0; k < n; k++) memcpy(tickers[i][k], names[(rng_below(&r, 4) + k) % 4], HISTORY_TICKER_BYTES);
        snprintf(p->hash, sizeof p->hash, "%032zu", i);
        p->probabilities[p->label] = 1;
        static const unsigned flags[] = {HISTORY_SPAM, HISTORY_NEAR_DUPLICATE, HISTORY_SPAM | HISTORY_NEAR_DUPLICATE,
                                         HISTORY_SHADOW};
        if (rng_below(&r, 4) == 0) p->flags = flags[rng_below(&r, 4)];
        mean_of[i] = round(p->score * 1e6);
    }
}

static void append_all(void)
{
    for (size_t at = 0; at < N;) { /* batches of any size */
        size_t n = 1 + at % 700;
        if (n > N - at) n = N - at;
        CHECK_OK(history_append(s, NULL, &made[at], n, NULL, &err), &err);
        at += n;
    }
}

/* ---- the plain count ---- */

static bool has_ticker(const history_prediction *p, const char *ticker)
{
    if (ticker == NULL) return true;
    for (size_t i = 0; i < p->n_tickers; i++)
        if (strcmp(p->tickers[i], ticker) == 0) return true;
    return false;
}

static history_point count_plainly(const history_query *q, int64_t from, int64_t to)
{
    history_point point = {.start_ms = from, .end_ms = to};
    history_sums sums = {0};
    if (from < q->from_ms) from = q->from_ms;
    if (to > q->to_ms) to = q->to_ms;
    for (size_t i = 0; i < N; i++) {
        const history_prediction *p = &made[i];
        bool spam = (p->flags & HISTORY_SPAM) != 0, near = !spam && (p->flags & HISTORY_NEAR_DUPLICATE) != 0;
        if (p->time_ms < from || p->time_ms >= to || !has_ticker(p, q->ticker)) continue;
        if (q->model != NULL ? strcmp(q->model, p->model) != 0 : (p->flags & HISTORY_SHADOW) != 0) continue;
        point.n_seen++;
        point.n_spam += spam;
        point.n_near_duplicates += near;
        if ((spam && !q->with_spam) || (near && !q->with_near_duplicates)) continue;
        int64_t w = p->reach + 1 < HISTORY_WEIGHT_MOST ? p->reach + 1 : HISTORY_WEIGHT_MOST, score = (int64_t)mean_of[i];
        sums.n++;
        sums.s += score;
        sums.sq += (score * score + 5000) / 10000;
        sums.w += w;
        sums.w2 += w * w;
        sums.ws += w * score;
        sums.wsq += (w * (score * score) + 500000) / 1000000;
        sums.c[p->label]++;
        sums.v[p->label] += w;
    }
    history_point_set(&point, &sums, q->by_reach);
    return point;
}

static void check_same(const history_point *a, const history_point *b)
{
    CHECK_EQUAL(a->n, b->n);
    CHECK_EQUAL(a->n_seen, b->n_seen);
    CHECK_EQUAL(a->n_spam, b->n_spam);
    CHECK_EQUAL(a->n_near_duplicates, b->n_near_duplicates);
    const double *x[] = {&a->mean, &a->low, &a->high, &a->deviation, &a->weight, &a->share[0], &a->share[4]};
    const double *y[] = {&b->mean, &b->low, &b->high, &b->deviation, &b->weight, &b->share[0], &b->share[4]};
    for (size_t i = 0; i < sizeof x / sizeof x[0]; i++) /* to the last bit */
        CHECK(*x[i] == *y[i] || (isnan(*x[i]) && isnan(*y[i])));
}

typedef struct walk {
    const history_query *query;
    int64_t n, last_end;
} walk;

static finch_status check_point(void *context, const history_point *point, finch_error *e)
{
    walk *w = context;
    (void)e;
    history_point plain = count_plainly(w->query, point->start_ms, point->end_ms);
    check_same(&plain, point);
    CHECK_EQUAL(point->start_ms, history_bucket_start(&w->query->bucket, point->start_ms));
    CHECK_EQUAL(point->end_ms, history_bucket_next(&w->query->bucket, point->start_ms));
    CHECK(point->start_ms >= w->last_end);
    w->last_end = point->end_ms;
    w->n += point->n_seen;
    return FINCH_OK;
}

static void check_query(history_query q)
{
    static const char *const buckets[] = {"1m", "5m", "15m", "hour", "4h", "1d", "1w", "month"};
    for (size_t i = 0; i < sizeof buckets / sizeof buckets[0]; i++) {
        CHECK_OK(history_bucket_parse(buckets[i], &q.bucket, &err), &err);
        if ((q.to_ms - q.from_ms) / HISTORY_MINUTE_MS > HISTORY_POINTS_MOST && i < 2) continue;
        walk w = {.query = &q};
        history_point total, plain = count_plainly(&q, q.from_ms, q.to_ms);
        CHECK_OK(history_sentiment(s, &q, check_point, &w, &err), &err);
        CHECK_EQUAL(plain.n_seen, w.n);
        CHECK_OK(history_total(s, &q, &total, &err), &err);
        check_same(&plain, &total);
    }
}

/* Equal but for the numbers' last digits. */
static void check_near(const json_t *a, const json_t *b)
{
    const char *key;
    json_t *value;
    CHECK_EQUAL(json_object_size(a), json_object_size(b));
    json_object_foreach((json_t *)(uintptr_t)a, key, value)
    {
        const json_t *other = json_object_get(b, key);
        if (json_is_object(value)) check_near(value, other);
        else if (json_is_real(value)) {
            double x = json_real_value(value), y = json_number_value(other);
            CHECK(json_is_number(other) && fabs(x - y) <= 1e-12 + 1e-15 * fabs(x));
        } else CHECK(json_equal(value, other));
    }
}

TEST(a_point_written_as_text_is_what_the_tree_says)
{
    const double values[] = {0,         -0.0, 1,      -1,  0.5,     -0.123456789012, 1e-13, 0.999999999999,
                             123456.75, 1e7,  -3e300, NAN, INFINITY};
    const int64_t times[] = {0, 1, 999, 1574899634123, -1, -1500};
    str text = {0};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        history_point point = {.start_ms = times[i % 6],
                               .end_ms = times[(i + 1) % 6],
                               .n = (int64_t)i,
                               .n_seen = (int64_t)(3 * i),
                               .n_spam = INT64_MAX,
                               .weight = isfinite(values[i]) ? values[i] : 0,
                               .mean = values[i],
                               .low = values[i] / 3,
                               .high = -values[i],
                               .deviation = values[i] * 2};
        for (size_t k = 0; k < HISTORY_CLASSES; k++) point.share[k] = values[(i + k) % 11];
        str_clear(&text);
        CHECK_OK(history_point_write(&point, &text, &err), &err);
        json_t *tree = history_point_json(&point), *read = json_loadb(text.at, text.size, 0, NULL);
        CHECK(read != NULL);
        check_near(tree, read);
        json_decref(tree);
        json_decref(read);
    }
    str_free(&text);
}

TEST(any_span_and_bucket_equals_a_plain_count)
{
    rng r = {7, 0, 0};
    test_begin();
    make_all(1);
    append_all();
    for (int i = 0; i < 24; i++) {
        int64_t width = (int64_t)rng_below(&r, i % 3 == 0 ? 3 * (uint64_t)HOUR : 42 * (uint64_t)HISTORY_DAY_MS) + 1;
        history_query q = {.ticker = i % 4 == 0 ? NULL : names[rng_below(&r, 4)],
                           .from_ms = BEGIN - HISTORY_DAY_MS + (int64_t)rng_below(&r, 41 * (uint64_t)HISTORY_DAY_MS),
                           .model = i % 5 == 1 ? "mini@2" : NULL,
                           .by_reach = i % 2 == 1,
                           .with_spam = i % 3 == 1,
                           .with_near_duplicates = i % 4 == 1};
        q.to_ms = q.from_ms + width;
        check_query(q);
    }
    check_query((history_query){.from_ms = BEGIN, .to_ms = BEGIN + 40 * (int64_t)HISTORY_DAY_MS});
    check_query((history_query){.from_ms = BEGIN + HOUR, .to_ms = BEGIN + HOUR + 1});
    test_end();
}

/* ---- figures ---- */

/* From scipy.stats.t.ppf(0.975, df). */
TEST(students_t_is_scipys)
{
    static const double known[][2] = {{1, 12.706204736174694},   {1.5, 6.016663104427929},  {2, 4.302652729749462},
                                      {3, 3.1824463052837078},   {7.25, 2.348194849105371}, {10, 2.228138851986274},
                                      {29.5, 2.043724966772122}, {59, 2.000995378088267},   {60, 2.0002978220142604},
                                      {61, 1.999623584994939},   {100, 1.9839715185235518}, {1000, 1.9623390808264083},
                                      {1e6, 1.959966356814107}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        CHECK_NEAR(known[i][1], history_t975(known[i][0]), 2e-9 * known[i][1]);
}

TEST(a_points_interval_is_the_textbooks)
{
    static const double scores[] = {0.5, -0.25, 0.125, 1, 0.75};
    history_prediction p[5];
    history_query q = {.ticker = "AAPL", .from_ms = 0, .to_ms = 1000};
    history_point point;
    test_begin();
    for (size_t i = 0; i < 5; i++)
        p[i] = (history_prediction){.time_ms = (int64_t)i,
                                    .model = "m@1",
                                    .text = {"t", 1},
                                    .tickers = names,
                                    .n_tickers = 1,
                                    .score = scores[i],
                                    .label = 3,
                                    .probabilities = {0, 0, 0, 1, 0},
                                    .reach = 4};
    CHECK_OK(history_append(s, NULL, p, 5, NULL, &err), &err);
    CHECK_OK(history_total(s, &q, &point, &err), &err);
    CHECK_NEAR(0.425, point.mean, 1e-12);
    CHECK_NEAR(0.49686517286, point.deviation, 1e-8); /* statistics.stdev */
    CHECK_NEAR(0.425 - 2.776445105197793 * 0.49686517286 / sqrt(5), point.low, 1e-8);
    CHECK_NEAR(0.425 + 2.776445105197793 * 0.49686517286 / sqrt(5), point.high, 1e-8);
    q.by_reach = true; /* equal weights change nothing but their sum */
    history_point weighted;
    CHECK_OK(history_total(s, &q, &weighted, &err), &err);
    CHECK_NEAR(point.low, weighted.low, 1e-5);
    CHECK_NEAR(25, weighted.weight, 0);
    q.to_ms = 1; /* one text: no interval */
    CHECK_OK(history_total(s, &q, &point, &err), &err);
    CHECK(point.n == 1 && isnan(point.low) && isnan(point.deviation));
    q.from_ms = 500; /* none */
    q.to_ms = 600;
    CHECK_OK(history_total(s, &q, &point, &err), &err);
    CHECK(point.n == 0 && isnan(point.mean) && isnan(point.share[0]));
    json_t *json = history_point_json(&point);
    CHECK(json_is_null(json_object_get(json, "mean")));
    json_decref(json);
    test_end();
}

TEST(months_and_weeks_begin_where_the_calendar_says)
{
    history_bucket month, week;
    CHECK_OK(history_bucket_parse("1mo", &month, &err), &err);
    CHECK_OK(history_bucket_parse("week", &week, &err), &err);
    CHECK_STATUS(FINCH_E_USAGE, history_bucket_parse("2h", &week, &err), &err);
    int64_t start = history_bucket_start(&month, INT64_C(1709251199999)); /* 2024-02-29T23:59:59.999Z */
    CHECK_EQUAL(INT64_C(1706745600000), start);                           /* 2024-02-01 */
    CHECK_EQUAL(INT64_C(1709251200000), history_bucket_next(&month, start));
    CHECK_EQUAL(INT64_C(1709251200000), history_bucket_start(&month, INT64_C(1709251200000)));
    CHECK_EQUAL(0, history_bucket_start(&month, 5));
    CHECK_EQUAL(INT64_C(1708905600000), history_bucket_start(&week, INT64_C(1709251199999))); /* Monday 2024-02-26 */
    int64_t at = 0; /* month by month through four hundred years */
    for (int i = 0; i < 4800; i++) {
        int64_t next = history_bucket_next(&month, at);
        CHECK(next - at >= 28 * (int64_t)HISTORY_DAY_MS && next - at <= 31 * (int64_t)HISTORY_DAY_MS);
        CHECK_EQUAL(at, history_bucket_start(&month, next - 1));
        CHECK_EQUAL(next, history_bucket_start(&month, next));
        at = next;
    }
    CHECK_EQUAL(146097 * (int64_t)HISTORY_DAY_MS, at);
}

/* ---- leaders, rows, tickers ---- */

typedef struct leaders {
    char at[8][HISTORY_TICKER_BYTES];
    double mean[8];
    size_t n;
} leaders;

static finch_status take_leader(void *context, const char *ticker, const history_point *point, finch_error *e)
{
    leaders *l = context;
    (void)e;
    memcpy(l->at[l->n], ticker, strlen(ticker) + 1);
    l->mean[l->n++] = point->mean;
    return FINCH_OK;
}

TEST(leaders_are_those_of_a_plain_count)
{
    test_begin();
    make_all(2);
    append_all();
    for (int i = 0; i < 6; i++) {
        leaders up = {.n = 0}, down = {.n = 0};
        history_query q = {.from_ms = BEGIN + (i < 3 ? 5 : 37) * (int64_t)HOUR,
                           .to_ms = BEGIN + (i < 3 ? 11 : 811) * (int64_t)HOUR,
                           .by_reach = i % 2 == 1};
        CHECK_OK(history_leaders(s, &q, true, 1, 8, take_leader, &up, &err), &err);
        CHECK_OK(history_leaders(s, &q, false, 1, 2, take_leader, &down, &err), &err);
        for (size_t k = 0; k < up.n; k++) {
            q.ticker = up.at[k];
            history_point plain = count_plainly(&q, q.from_ms, q.to_ms);
            CHECK(plain.mean == up.mean[k]);
            CHECK(k == 0 || up.mean[k - 1] >= up.mean[k]);
        }
        CHECK(up.n == 4 || i < 3);
        CHECK_TEXT(up.at[up.n - 1], down.at[0]);
    }
    leaders none = {.n = 0};
    history_query q = {.from_ms = BEGIN, .to_ms = BEGIN + 40 * (int64_t)HISTORY_DAY_MS};
    CHECK_OK(history_leaders(s, &q, true, 1000000, 8, take_leader, &none, &err), &err);
    CHECK_EQUAL(0, none.n);
    test_end();
}

typedef struct pages {
    int64_t last_time, last_id, n;
    const history_query *query;
} pages;

static finch_status take_row(void *context, const history_row *row, finch_error *e)
{
    pages *p = context;
    (void)e;
    CHECK(row->time_ms < p->last_time || (row->time_ms == p->last_time && row->id < p->last_id));
    CHECK((row->flags & HISTORY_SPAM) == 0 || p->query->with_spam);
    CHECK(row->time_ms >= p->query->from_ms && row->time_ms < p->query->to_ms);
    p->last_time = row->time_ms;
    p->last_id = row->id;
    p->n++;
    return FINCH_OK;
}

TEST(the_rows_behind_a_point_come_page_by_page)
{
    test_begin();
    make_all(3);
    append_all();
    history_query q = {.ticker = "GME", .from_ms = BEGIN + HOUR, .to_ms = BEGIN + 9 * (int64_t)HISTORY_DAY_MS};
    for (int i = 0; i < 4; i++) {
        q.with_spam = i % 2 == 1;
        q.with_near_duplicates = i > 1;
        pages p = {.last_time = INT64_MAX, .query = &q};
        history_point plain = count_plainly(&q, q.from_ms, q.to_ms);
        for (int64_t before = 0, n = -1; p.n != n; before = p.last_id) {
            n = p.n;
            CHECK_OK(history_rows(s, &q, before, 7, take_row, &p, &err), &err);
        }
        CHECK_EQUAL(plain.n, p.n);
    }
    json_t *list;
    CHECK_OK(history_tickers(s, "B", 10, &list, &err), &err);
    CHECK_EQUAL(1, json_array_size(list));
    CHECK_TEXT("BRK.B", json_string_value(json_object_get(json_array_get(list, 0), "ticker")));
    json_decref(list);
    CHECK_OK(history_info(s, &list, &err), &err);
    CHECK_EQUAL(N, json_integer_value(json_object_get(list, "rows")));
    CHECK_EQUAL(2, json_array_size(json_object_get(list, "models")));
    CHECK_EQUAL(4, json_integer_value(json_object_get(list, "tickers")));
    json_decref(list);
    test_end();
}

/* ---- what goes in ---- */

static finch_status see_text(void *context, const history_row *row, finch_error *e)
{
    (void)e;
    json_t *json = history_row_json(row);
    CHECK(json != NULL);
    snprintf(context, 256, "%.*s|%.*s|%s|%lld", (int)row->text.size_bytes, row->text.at, (int)row->tickers.size_bytes,
             row->tickers.at, row->has_text ? "kept" : "not kept",
             (long long)json_array_size(json_object_get(json, "tickers")));
    json_decref(json);
    return FINCH_OK;
}

TEST(texts_come_back_byte_for_byte_and_only_where_asked)
{
    static const char twice[][HISTORY_TICKER_BYTES] = {"AAPL", "AAPL", "TSLA"};
    char seen[256];
    int64_t id;
    test_begin();
    history_prediction p = {.time_ms = 5,
                            .model = "m@1",
                            .label = 0,
                            .probabilities = {1},
                            .score = -1,
                            .tickers = twice,
                            .n_tickers = 3,
                            .text = {"it's \"up\" \\ \xF0\x9F\x9A\x80\n\0!", 19}};
    CHECK_OK(history_append(s, NULL, &p, 1, &id, &err), &err);
    CHECK_OK(history_rows_after(s, id - 1, 1, see_text, seen, &err), &err);
    CHECK_TEXT("it's \"up\" \\ \xF0\x9F\x9A\x80\n\xEF\xBF\xBD!|AAPL AAPL TSLA|kept|3", seen);
    CHECK_EQUAL(3, test_number("SELECT count(*) FROM prediction_ticker"));
    p.text = (finch_text){NULL, 0};
    CHECK_STATUS(FINCH_E_DATA, history_append(s, NULL, &p, 1, &id, &err), &err); /* neither text nor hash */
    snprintf(p.hash, sizeof p.hash, "0123456789abcdef0123456789abcdef");
    CHECK_OK(history_append(s, NULL, &p, 1, &id, &err), &err);
    CHECK_OK(history_rows_after(s, id - 1, 1, see_text, seen, &err), &err);
    CHECK_TEXT("|AAPL AAPL TSLA|not kept|3", seen);
    test_end();
}

static finch_status see_figures(void *context, const history_row *row, finch_error *e)
{
    (void)e;
    snprintf(context, 256, "%lld %.*s %d %.6f %.6f %.6f %lld %u [%.*s] %s", (long long)row->time_ms,
             (int)row->model.size_bytes, row->model.at, row->label, row->probabilities[0], row->probabilities[4], row->score,
             (long long)row->reach, row->flags, (int)row->source.size_bytes, row->source.at,
             row->has_text ? "kept" : "not kept");
    return FINCH_OK;
}

/* Texts that mean something in the text form of PostgreSQL's COPY, and the largest and smallest of every number. */
TEST(figures_and_texts_at_their_edges_come_back)
{
    static const char longest[][HISTORY_TICKER_BYTES] = {"ABCDEFGHIJKLMNO"};
    char seen[256];
    int64_t id;
    history_prediction p = {.time_ms = INT64_C(253402300799999),
                            .model = "m\t1@1",
                            .source = "\\N",
                            .label = 4,
                            .probabilities = {1e-6, 0, 0, 0, 0.999999},
                            .score = -0.000001,
                            .tickers = longest,
                            .n_tickers = 1,
                            .text = {"\\.\n\\N\t\"{}\"", 10},
                            .reach = INT64_MAX,
                            .flags = 7};
    test_begin();
    CHECK_OK(history_append(s, NULL, &p, 1, &id, &err), &err);
    CHECK_OK(history_rows_after(s, id - 1, 1, see_figures, seen, &err), &err);
    CHECK_TEXT("253402300799999 m\t1@1 4 0.000001 0.999999 -0.000001 9223372036854775807 7 [\\N] kept", seen);
    CHECK_OK(history_rows_after(s, id - 1, 1, see_text, seen, &err), &err);
    CHECK_TEXT("\\.\n\\N\t\"{}\"|ABCDEFGHIJKLMNO|kept|1", seen);
    p.text = (finch_text){"", 0};
    CHECK_OK(history_append(s, NULL, &p, 1, &id, &err), &err);
    CHECK_OK(history_rows_after(s, id - 1, 1, see_text, seen, &err), &err);
    CHECK_TEXT("|ABCDEFGHIJKLMNO|kept|1", seen);
    test_end();
}

/* Results come in binary, where a NUMERIC's bytes would make some other number. */
TEST(a_result_that_can_not_be_read_is_an_error)
{
    static const sql_statement look = {"SELECT 1 AS n", "SELECT CAST(7 AS NUMERIC) AS n"};
    static const sql_statement kinds = {
        "SELECT -3000000000, -5",
        "SELECT CAST(-3000000000 AS BIGINT) WHERE CAST(-5 AS SMALLINT) < 0 AND CAST(-0.5 AS FLOAT8) < 0"};
    int64_t value = 0;
    test_begin();
    finch_status st = store_run(s, &look, NULL, 0, sql_take_integer, &value, NULL, &err);
    CHECK_EQUAL(test_postgres() != NULL ? FINCH_E_FAILED : FINCH_OK, st);
    if (test_postgres() != NULL) CHECK(strstr(err.message, "column 1 (n)") != NULL);
    CHECK_OK(store_run(s, &kinds, NULL, 0, sql_take_integer, &value, NULL, &err), &err);
    CHECK_EQUAL(INT64_C(-3000000000), value);
    test_end();
}

/* More than is sent to PostgreSQL in one piece, and with many sums. */
TEST(a_large_batch_is_one_batch)
{
    enum { MANY = 12000 };
    history_prediction *all;
    int64_t first;
    test_begin();
    make_all(8);
    CHECK_OK(MEM_NEW(&all, MANY, &err), &err);
    for (size_t i = 0; i < MANY; i++) {
        all[i] = made[i % N];
        all[i].time_ms += (int64_t)(i / N) * 50 * HISTORY_DAY_MS; /* beyond the others' 40 days */
    }
    CHECK_OK(history_append(s, "large", all, MANY, &first, &err), &err);
    CHECK_EQUAL(MANY, test_number("SELECT count(*) FROM prediction"));
    CHECK_EQUAL(first + MANY - 1, test_number("SELECT max(id) FROM prediction"));
    CHECK_EQUAL(MANY, test_number("SELECT count(*) FROM prediction_ticker WHERE ticker = '*'"));
    CHECK_EQUAL(MANY, test_number("SELECT CAST(sum(n) AS BIGINT) FROM history_sum WHERE ticker = '*' AND grain = 3600000"));
    CHECK_EQUAL(0,
                test_number("SELECT count(*) FROM prediction p JOIN prediction_ticker t ON t.id = p.id AND t.ticker = '*' "
                            "WHERE t.time <> p.time OR t.score <> p.score OR t.label <> p.label OR t.model <> p.model"));
    for (int64_t turn = 0; turn < MANY / N; turn++) {
        int64_t shift = turn * 50 * HISTORY_DAY_MS;
        history_query whole = {.from_ms = BEGIN, .to_ms = BEGIN + 40 * (int64_t)HISTORY_DAY_MS}, moved = whole;
        history_point total, plain = count_plainly(&whole, whole.from_ms, whole.to_ms);
        moved.from_ms += shift;
        moved.to_ms += shift;
        CHECK_OK(history_total(s, &moved, &total, &err), &err);
        check_same(&plain, &total);
    }
    mem_free(all);
    test_end();
}

TEST(what_is_no_prediction_is_refused_whole)
{
    static const char bad[][HISTORY_TICKER_BYTES] = {"aapl"};
    history_prediction good = {.time_ms = 5, .model = "m@1", .label = 0, .probabilities = {1}, .text = {"x", 1}}, list[2];
    test_begin();
    for (int i = 0; i < 8; i++) {
        list[0] = list[1] = good;
        if (i == 0) list[1].score = NAN;
        if (i == 1) list[1].score = 1.01;
        if (i == 2) list[1].probabilities[2] = -0.1;
        if (i == 3) list[1].label = 5;
        if (i == 4) list[1].time_ms = -1;
        if (i == 5) list[1].reach = -1;
        if (i == 6) list[1].text = (finch_text){"\xFF", 1};
        if (i == 7) list[1].tickers = bad, list[1].n_tickers = 1;
        CHECK_STATUS(FINCH_E_DATA, history_append(s, NULL, list, 2, NULL, &err), &err);
        CHECK_EQUAL(2, err.row);
    }
    CHECK_EQUAL(0, test_number("SELECT count(*) FROM prediction"));
    CHECK_EQUAL(0, test_number("SELECT count(*) FROM history_sum"));
    history_query q = {.from_ms = 5, .to_ms = 5};
    history_point point;
    CHECK_STATUS(FINCH_E_USAGE, history_total(s, &q, &point, &err), &err);
    q = (history_query){.from_ms = 0, .to_ms = INT64_C(60000) * 30000, .bucket = {HISTORY_MINUTE_MS, 0}};
    CHECK_STATUS(FINCH_E_USAGE, history_sentiment(s, &q, check_point, NULL, &err), &err);
    test_end();
}

TEST(a_batch_counts_once_however_often_it_comes)
{
    int64_t first;
    bool is_new;
    test_begin();
    make_all(4);
    CHECK_OK(history_append(s, "upload 7", made, 50, &first, &err), &err);
    CHECK_EQUAL(1, first);
    CHECK_OK(history_append(s, "upload 7", made, 50, &first, &err), &err);
    CHECK_EQUAL(0, first);
    CHECK_EQUAL(50, test_number("SELECT count(*) FROM prediction"));
    CHECK_OK(history_import(s, "old", made + 50, 50, &is_new, &err), &err);
    CHECK(is_new);
    CHECK_OK(history_import(s, "old", made + 50, 50, &is_new, &err), &err);
    CHECK(!is_new);
    CHECK_OK(history_import(s, "older", made + 100, 25, &is_new, &err), &err);
    CHECK_EQUAL(-75, test_number("SELECT min(id) FROM prediction"));
    CHECK_EQUAL(125, test_number("SELECT count(*) FROM prediction"));
    CHECK_EQUAL(125, test_number("SELECT n FROM history_ticker WHERE ticker = '*'"));
    test_end();
}

/* ---- what leaves ---- */

TEST(pruned_rows_leave_their_sums)
{
    uint64_t n;
    int64_t before = BEGIN + 20 * (int64_t)HISTORY_DAY_MS + 5 * (int64_t)HOUR;
    history_point total;
    test_begin();
    make_all(5);
    append_all();
    int64_t n_before = test_number("SELECT count(*) FROM prediction");
    CHECK_OK(history_prune(s, before + 12345, false, &n, &err), &err); /* rounded down to the hour */
    CHECK_EQUAL(n_before - (int64_t)n, test_number("SELECT count(*) FROM prediction"));
    static const sql_statement left = {"SELECT count(*) FROM prediction_ticker WHERE time < $1", NULL};
    int64_t marks = -1;
    sql_value value = sql_integer(before);
    CHECK_OK(store_run(s, &left, &value, 1, sql_take_integer, &marks, NULL, &err), &err);
    CHECK_EQUAL(0, marks);
    /* Whole hours are as they were; so is all behind the mark. */
    for (int i = 0; i < 6; i++) {
        history_query q = {.ticker = i % 2 == 0 ? NULL : "GME",
                           .from_ms = BEGIN + (i * 77) * (int64_t)HOUR,
                           .to_ms = before + (i * 13) * (int64_t)HOUR + (i > 0 ? 777 : 0),
                           .bucket = {HOUR, 0}};
        walk w = {.query = &q};
        history_point plain = count_plainly(&q, q.from_ms, q.to_ms);
        CHECK_OK(history_total(s, &q, &total, &err), &err);
        check_same(&plain, &total);
        CHECK_OK(history_sentiment(s, &q, check_point, &w, &err), &err);
    }
    CHECK_OK(history_prune(s, before, true, &n, &err), &err);
    history_query q = {.from_ms = BEGIN, .to_ms = BEGIN + 20 * (int64_t)HISTORY_DAY_MS};
    CHECK_OK(history_total(s, &q, &total, &err), &err);
    CHECK_EQUAL(0, total.n_seen);
    test_end();
}

/* Rows of 1990, of the last 200 days and of the year 3000: months of their own, and what gets none. */
static size_t append_ages(int64_t now)
{
    enum { ROWS = 210 };
    make_all(6);
    for (size_t i = 0; i < ROWS; i++) made[i].time_ms = now - (int64_t)i * HISTORY_DAY_MS;
    made[201].time_ms = INT64_C(636249600000);
    made[202].time_ms = INT64_C(32503680000000);
    CHECK_OK(history_append(s, NULL, made, ROWS, NULL, &err), &err);
    return ROWS;
}

static int64_t rows_before(int64_t time_ms)
{
    static const sql_statement look = {"SELECT count(*) FROM prediction WHERE time < $1", NULL};
    int64_t n = -1;
    sql_value value = sql_integer(time_ms);
    CHECK_OK(store_run(s, &look, &value, 1, sql_take_integer, &n, NULL, &err), &err);
    return n;
}

TEST(rows_older_than_is_kept_go_and_leave_their_sums)
{
    test_begin();
    static const history_bucket month = {.width_ms = 0};
    int64_t now = store_now_ms(s), keep = 60 * (int64_t)HISTORY_DAY_MS, edge = now - keep;
    size_t n_rows = append_ages(now);
    history_query q = {.from_ms = 0, .to_ms = now + HISTORY_DAY_MS};
    history_point before, after;
    uint64_t n, gone = 0;
    bool more;
    CHECK_OK(history_total(s, &q, &before, &err), &err);
    CHECK_OK(history_tend(s, &err), &err); /* takes no rows */
    CHECK_EQUAL((int64_t)n_rows, test_number("SELECT count(*) FROM prediction"));
    CHECK_OK(history_expire(s, now + HISTORY_DAY_MS, &n, &more, &err), &err); /* since before 1970: none is older */
    CHECK_EQUAL(0, n);
    CHECK(!more);
    edge = store_is_shared(s) ? history_bucket_start(&month, edge) : edge - edge % HOUR;
    int64_t old = rows_before(edge);
    CHECK(old > 100);
    do {
        CHECK_OK(history_expire(s, keep, &n, &more, &err), &err);
        gone += n;
    } while (more);
    CHECK_EQUAL(old, (int64_t)gone);
    CHECK_EQUAL(0, rows_before(edge));
    CHECK_EQUAL((int64_t)n_rows - old, test_number("SELECT count(*) FROM prediction"));
    CHECK_EQUAL(1, test_number("SELECT count(*) FROM prediction WHERE time > 32000000000000"));
    CHECK_OK(history_total(s, &q, &after, &err), &err);
    check_same(&before, &after);
    test_end();
}

TEST(names_of_batches_go_after_a_month_and_not_with_each_step_of_rows)
{
    uint64_t n;
    bool more;
    test_begin();
    make_all(6);
    CHECK_OK(history_append(s, "old", made, 3, NULL, &err), &err);
    CHECK_OK(history_append(s, "young", made, 3, NULL, &err), &err);
    test_run("UPDATE store_batch SET time = time - 2678400000 WHERE name = 'old'");
    test_run("UPDATE store_batch SET time = time - 2505600000 WHERE name = 'young'");
    CHECK_OK(history_expire(s, HISTORY_DAY_MS, &n, &more, &err), &err);
    CHECK_EQUAL(2, test_number("SELECT count(*) FROM store_batch"));
    CHECK_OK(history_tend(s, &err), &err);
    CHECK_EQUAL(0, test_number("SELECT count(*) FROM store_batch WHERE name = 'old'"));
    CHECK_EQUAL(1, test_number("SELECT count(*) FROM store_batch WHERE name = 'young'"));
    test_end();
}

TEST(postgresql_keeps_rows_in_parts_by_month)
{
    test_begin();
    if (store_is_shared(s)) {
        int64_t now = store_now_ms(s);
        append_ages(now);
        CHECK_EQUAL(2, test_number("SELECT count(*) FROM prediction_rest")); /* 1990 and 3000 */
        CHECK_EQUAL(0,
                    test_number("SELECT count(*) FROM prediction p LEFT JOIN history_part h ON p.time >= h.first AND p.time "
                                "< h.until WHERE h.name IS NULL AND p.time BETWEEN 1136073600000 AND 32000000000000"));
        /* A part that is gone is made again where rows for it come; until then they lie in the rest. */
        test_run("SELECT finch_part_drop(finch_month(1136073600000, 1200))");
        CHECK_EQUAL(0, test_number("SELECT count(*) FROM history_part"));
        test_run(
            "INSERT INTO prediction SELECT 900000 + n, CAST(extract(epoch FROM now()) * 1000 AS BIGINT), 'h', NULL, '', 2, "
            "0, 0, 1000000, 0, 0, 0, 1, '', 0, 0 FROM generate_series(1, 5) n");
        CHECK_EQUAL(7, test_number("SELECT count(*) FROM prediction_rest"));
        CHECK_OK(history_tend(s, &err), &err); /* this month and the next */
        CHECK_EQUAL(2, test_number("SELECT count(*) FROM history_part"));
        CHECK_EQUAL(2, test_number("SELECT count(*) FROM prediction_rest"));
        CHECK_EQUAL(7, test_number("SELECT count(*) FROM prediction"));
    }
    test_end();
}

TEST(a_forgotten_text_leaves_rows_and_sums)
{
    uint64_t n;
    history_point a, b;
    history_query q = {.from_ms = BEGIN, .to_ms = BEGIN + 40 * (int64_t)HISTORY_DAY_MS, .with_spam = true};
    test_begin();
    make_all(6);
    CHECK_OK(history_append(s, NULL, made, 100, NULL, &err), &err);
    CHECK_OK(history_total(s, &q, &a, &err), &err);
    history_prediction again[3];
    for (size_t i = 0; i < 3; i++) {
        again[i] = made[200 + i];
        memcpy(again[i].hash, made[300].hash, STORE_HASH_BYTES);
    }
    CHECK_OK(history_append(s, NULL, again, 3, NULL, &err), &err);
    CHECK_OK(history_forget(s, made[300].hash, &n, &err), &err);
    CHECK_EQUAL(3, n);
    CHECK_OK(history_total(s, &q, &b, &err), &err);
    check_same(&a, &b);
    CHECK_EQUAL(100, test_number("SELECT count(*) FROM prediction"));
    CHECK_EQUAL(100, test_number("SELECT n FROM history_ticker WHERE ticker = '*'"));
    test_end();
}

TEST(texts_can_be_wiped_and_numbers_stay)
{
    uint64_t n;
    history_prediction p = {.time_ms = 5, .model = "m@1", .label = 0, .probabilities = {1}, .text = {"private", 7}};
    test_begin();
    CHECK_OK(history_append(s, NULL, &p, 1, NULL, &err), &err);
    p.time_ms = 50;
    CHECK_OK(history_append(s, NULL, &p, 1, NULL, &err), &err);
    CHECK_OK(history_forget_texts(s, 10, &n, &err), &err);
    CHECK_EQUAL(1, n);
    CHECK_EQUAL(1, test_number("SELECT count(*) FROM prediction WHERE text IS NULL"));
    CHECK_EQUAL(2, test_number("SELECT count(*) FROM prediction"));
    test_end();
}

/* ---- threads: sums stay exact while four append at once ---- */

enum { WRITERS = 4 };

static void *append_part(void *context)
{
    size_t from = (size_t)(uintptr_t)context;
    store *mine;
    finch_error e;
    void *failed = NULL;
    if (store_open(test_place(), &mine, &e) != FINCH_OK) return "open";
    for (size_t at = from; failed == NULL && at < from + N / WRITERS; at += 30)
        if (history_append(mine, NULL, &made[at], 30, NULL, &e) != FINCH_OK) failed = "append";
    store_close(mine);
    return failed;
}

TEST(sums_are_exact_when_many_append_at_once)
{
    pthread_t threads[WRITERS];
    test_begin();
    make_all(8);
    for (size_t i = 0; i < WRITERS; i++)
        CHECK_EQUAL(0, pthread_create(&threads[i], NULL, append_part, (void *)(uintptr_t)(i * (N / WRITERS))));
    for (size_t i = 0; i < WRITERS; i++) {
        void *failed = NULL;
        pthread_join(threads[i], &failed);
        CHECK(failed == NULL);
    }
    history_query q = {.from_ms = BEGIN, .to_ms = BEGIN + 40 * (int64_t)HISTORY_DAY_MS, .by_reach = true};
    check_query(q);
    test_end();
}

/* ---- the disk is full: what was acknowledged is there, what was not is not, and it goes on when there is room ---- */

TEST(a_full_disk_loses_nothing_that_was_acknowledged)
{
    size_t at = 0;
    finch_status st = FINCH_OK;
    if (test_postgres() != NULL) return; /* SQLite's own bound stands for the disk's */
    test_begin();
    make_all(9);
    test_run("PRAGMA max_page_count = 150");
    while (st == FINCH_OK && at < N) {
        st = history_append(s, NULL, &made[at], 50, NULL, &err);
        if (st == FINCH_OK) at += 50;
    }
    CHECK_EQUAL(FINCH_E_IO, st);
    CHECK(at > 0 && at < N);
    CHECK_EQUAL(at, test_number("SELECT count(*) FROM prediction"));
    CHECK_EQUAL(at, test_number("SELECT CAST(sum(n) AS BIGINT) FROM history_sum WHERE ticker = '*' AND grain = 86400000"));
    test_run("PRAGMA max_page_count = 1000000");
    for (; at < N; at += 50) CHECK_OK(history_append(s, NULL, &made[at], 50, NULL, &err), &err);
    check_query((history_query){.from_ms = BEGIN, .to_ms = BEGIN + 40 * (int64_t)HISTORY_DAY_MS});
    test_end();
}
