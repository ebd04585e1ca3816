#include "harness.h"

#include "data/summary.h"

#include <stdlib.h>

static finch_error err;

static finch_text text(const char *at) { return (finch_text){at, strlen(at)}; }

static void add(data_summary *s, const char *body, const char *tickers, const char *time, size_t label, double score)
{
    finch_text t = tickers != NULL ? text(tickers) : (finch_text){NULL, 0},
               w = time != NULL ? text(time) : (finch_text){NULL, 0};
    data_summary_row row = {text(body), tickers != NULL ? &t : NULL, time != NULL ? &w : NULL, label, score};
    CHECK_OK(data_summary_add(s, &row, &err), &err);
}

TEST(a_tickers_mean_and_interval_are_those_of_its_rows)
{
    data_summary s = {0};
    const data_summary_ticker *ranked[4];
    static const double scores[] = {0.5, 0.25, 0.75, 0.5};
    for (size_t i = 0; i < 4; i++) add(&s, "x", "AAPL|goog,AAPL", NULL, 3, scores[i]);
    CHECK_EQUAL(2, data_summary_rank(&s, true, 4, 4, ranked));
    CHECK_TEXT("AAPL", ranked[0]->name);
    CHECK_TEXT("GOOG", ranked[1]->name);
    CHECK_EQUAL(4, ranked[0]->n); /* named twice in a row, counted once */
    CHECK_NEAR(0.5, ranked[0]->mean, 1e-15);
    /* sd = sqrt((0 + 1/16 + 1/16 + 0) / 3), over sqrt(4), times the quantile */
    CHECK_NEAR(1.959963984540054 * sqrt(0.125 / 3) / 2, data_summary_half_width(ranked[0]), 1e-12);
    CHECK_EQUAL(0, data_summary_rank(&s, false, 4, 4, ranked));
    CHECK_EQUAL(0, data_summary_rank(&s, true, 5, 4, ranked));
    CHECK_EQUAL(4, s.n_by_label[3]);
    data_summary_free(&s);
}

TEST(few_tweets_do_not_win_by_luck)
{
    data_summary s = {0};
    const data_summary_ticker *ranked[2];
    for (int i = 0; i < 100; i++) add(&s, "x", i < 2 ? "LUCK|SURE" : "SURE", NULL, 3, i % 2 == 0 ? 0.4 : 0.6);
    add(&s, "x", "LUCK", NULL, 4, 1.0);
    CHECK_EQUAL(2, data_summary_rank(&s, true, 2, 2, ranked));
    CHECK(ranked[1]->mean > ranked[0]->mean);
    CHECK_TEXT("SURE", ranked[0]->name);
    data_summary_free(&s);
}

TEST(cashtags_are_found_and_prices_are_not)
{
    data_summary s = {0};
    add(&s, "$AAPL $aapl,$brk.b. a$X $100 $5B $TOOLONGX $F! $$Z ($GE) $C$D", NULL, NULL, 2, 0.1);
    const data_summary_ticker *ranked[10];
    size_t n = data_summary_rank(&s, true, 1, 10, ranked);
    CHECK_EQUAL(5, n);
    static const char *const want[] = {"AAPL", "BRK.B", "C", "F", "GE"};
    for (size_t i = 0; i < n; i++) CHECK_TEXT(want[i], ranked[i]->name);
    data_summary_free(&s);
}

TEST(many_tickers_stay_apart)
{
    data_summary s = {0};
    char name[32];
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 5000; i++) {
            snprintf(name, sizeof name, "T%d", i);
            add(&s, "x", name, NULL, 2, i % 100 / 100.0);
        }
    CHECK_EQUAL(5000, s.n_tickers);
    for (size_t i = 0; i < s.capacity; i++) {
        const data_summary_ticker *t = &s.tickers[i];
        if (t->name[0] != '\0') CHECK(t->n == 2 && fabs(t->mean - (int)strtol(t->name + 1, NULL, 10) % 100 / 100.0) < 1e-12);
    }
    data_summary_free(&s);
}

TEST(the_clearest_texts_are_kept_once_each)
{
    data_summary s = {0};
    add(&s, "Record profit!", NULL, NULL, 4, 0.7);
    add(&s, "RT @someone: record profit http://t.co/x", NULL, NULL, 4, 0.8); /* the same words, clearer */
    add(&s, "record PROFIT", NULL, NULL, 4, 0.6);
    add(&s, "up", NULL, NULL, 3, 0.5);
    add(&s, "down", NULL, NULL, 1, -0.5);
    add(&s, "flat", NULL, NULL, 2, 0.0);
    CHECK_EQUAL(2, s.n_best);
    CHECK_NEAR(0.8, s.best[0].score, 0);
    CHECK_TEXT("up", s.best[1].text);
    add(&s, "a", NULL, NULL, 3, 0.55);
    add(&s, "b", NULL, NULL, 3, 0.9);
    CHECK_EQUAL(3, s.n_best);
    CHECK_TEXT("b", s.best[0].text);
    CHECK_TEXT("a", s.best[2].text);
    CHECK_EQUAL(1, s.n_worst);
    CHECK_TEXT("down", s.worst[0].text);
    data_summary_free(&s);
}

TEST(a_long_text_is_cut_between_characters)
{
    data_summary s = {0};
    char body[1000] = "";
    for (int i = 0; i < 300; i++) strcat(body, "\xE2\x82\xAC");
    add(&s, body, NULL, NULL, 4, 1.0);
    CHECK_EQUAL(399, strlen(s.best[0].text)); /* 133 characters of 3 bytes */
    data_summary_free(&s);
}

TEST(times_of_every_writing_are_read)
{
    static const struct {
        const char *text;
        int64_t seconds;
    } good[] = {{"1388548743", 1388548743},
                {"1388548743123", 1388548743},
                {"1388548743.5", 1388548743},
                {"2014-01-01", 1388534400},
                {"2014-01-01 03:59:03", 1388548743},
                {"2014-01-01T03:59:03Z", 1388548743},
                {"2016-02-29 00:00", 1456704000},
                {"1969-12-31", -86400},
                {"2020-04-15 01:03:46+00:00", 1586912626}};
    static const char *const bad[] = {"", "x", "2014", "2014-13-01", "2014-1-1", "12:00", "99999999999999999999"};
    int64_t t;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        CHECK(data_time_parse(text(good[i].text), &t));
        CHECK_EQUAL(good[i].seconds, t);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) CHECK(!data_time_parse(text(bad[i]), &t));
}
