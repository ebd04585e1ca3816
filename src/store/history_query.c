/* Questions about spans of time, answered from the coarsest sums that fit: days, hours, and rows by the minute at the ends. */
#include "store/history_sums.h"

#include "store/values.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    NO_MODEL = -1,
    PARTS_MOST = 8
}; /* hours, days, hours of what was pruned; minutes, hours, days, hours, minutes behind it */

/* [from, to) read at a grain; HISTORY_MINUTE_MS: single rows, added up by the minute. */
typedef struct part {
    int64_t grain, from_ms, to_ms;
} part;

typedef struct plan {
    part parts[PARTS_MOST];
    size_t n;
} plan;

static int64_t up_to(int64_t value, int64_t grain) { return (value + grain - 1) / grain * grain; }
static int64_t down_to(int64_t value, int64_t grain) { return value / grain * grain; }

static void plan_add(plan *p, int64_t grain, int64_t from, int64_t to)
{
    if (from < to) p->parts[p->n++] = (part){grain, from, to};
}

/* The middle at this grain, both ends at the finer ones. */
static void plan_span(plan *p, int64_t grain, int64_t from, int64_t to)
{
    int64_t finer = grain == HISTORY_DAY_MS ? HISTORY_HOUR_MS : HISTORY_MINUTE_MS;
    int64_t begin = up_to(from, grain), end = down_to(to, grain);
    if (grain == HISTORY_MINUTE_MS) plan_add(p, grain, from, to);
    else if (begin >= end) plan_span(p, finer, from, to);
    else {
        plan_span(p, finer, from, begin);
        plan_add(p, grain, begin, end);
        plan_span(p, finer, end, to);
    }
}

/* coarsest: the grain that every bucket's beginning is a multiple of. Before pruned there are no rows, only sums. */
static plan plan_make(int64_t from, int64_t to, int64_t coarsest, int64_t pruned)
{
    plan p = {.n = 0};
    if (from < pruned) {
        int64_t end = to < pruned ? up_to(to, HISTORY_HOUR_MS) : pruned;
        plan_span(&p, coarsest > HISTORY_HOUR_MS ? coarsest : HISTORY_HOUR_MS, up_to(from, HISTORY_HOUR_MS), end);
        from = pruned;
    }
    if (from < to) plan_span(&p, coarsest, from, to);
    return p;
}

static int64_t grain_of(const history_bucket *bucket)
{
    if (bucket->width_ms % HISTORY_DAY_MS == 0) return HISTORY_DAY_MS;
    return bucket->width_ms % HISTORY_HOUR_MS == 0 ? HISTORY_HOUR_MS : HISTORY_MINUTE_MS;
}

static finch_status read_pruned(store *s, int64_t *out, finch_error *err)
{
    static const sql_statement look = {"SELECT value FROM store_counter WHERE name = 'pruned'", NULL};
    *out = 0;
    return store_run(s, &look, NULL, 0, sql_take_integer, out, NULL, err);
}

/* ---- reading a part ---- */

#define ONLY "AND (($4 < 0 AND kind < 4) OR model = $4)"
#define SUM(x) "CAST(sum(" x ") AS BIGINT)"
#define CLASS(x, label) SUM("CASE WHEN label = " label " THEN " x " ELSE 0 END")
#define CLASSES(x) CLASS(x, "0") ", " CLASS(x, "1") ", " CLASS(x, "2") ", " CLASS(x, "3") ", " CLASS(x, "4")
/* history_sums_of in SQL: the columns of HISTORY_SUM_COLUMNS_PLAIN and _BY_REACH. */
#define ROW_SUMS_PLAIN "count(*), " SUM("score") ", " SUM("(score * score + 5000) / 10000") ", " CLASSES("1")
#define ROW_SUMS_BY_REACH                                                   \
    "count(*), " SUM("w") ", " SUM("w * w") ", " SUM("w * score") ", " SUM( \
        "(w * (score * score) + 500000) / 1000000") ", " CLASSES("w")
#define FROM_ROWS " FROM prediction_ticker WHERE ticker = $1 AND time >= $2 AND time < $3 " ONLY " GROUP BY 1, 2 ORDER BY 1"

/* Only the sums that a question needs: half of them, which is most of the time that a question about thousands of hours takes. */
#define HISTORY_SUM(columns)                                                                                   \
    "SELECT bucket, kind, " columns " FROM history_sum WHERE grain = $5 AND ticker = $1 AND bucket >= $2 AND " \
    "bucket < $3 " ONLY " ORDER BY bucket"

static finch_status read_part(store *s, const part *from, const char *ticker, int64_t model, bool by_reach, sql_row_fn each,
                              void *context, finch_error *err)
{
    static const sql_statement sums[] = {{HISTORY_SUM(HISTORY_SUM_COLUMNS_PLAIN), NULL},
                                         {HISTORY_SUM(HISTORY_SUM_COLUMNS_BY_REACH), NULL}};
    static const sql_statement rows[] = {{"SELECT time / 60000 * 60000, kind, " ROW_SUMS_PLAIN FROM_ROWS, NULL},
                                         {"SELECT time / 60000 * 60000, kind, " ROW_SUMS_BY_REACH FROM_ROWS, NULL}};
    bool single = from->grain == HISTORY_MINUTE_MS;
    sql_value values[] = {sql_text(ticker), sql_integer(from->from_ms), sql_integer(from->to_ms), sql_integer(model),
                          sql_integer(from->grain)};
    return store_run(s, single ? &rows[by_reach] : &sums[by_reach], values, single ? 4 : 5, each, context, NULL, err);
}

/* ---- points ---- */

/* One bucket as it fills. */
typedef struct filling {
    history_sums counted;
    int64_t n_seen, n_spam, n_near;
} filling;

typedef struct asking {
    const history_query *query;
    bool whole; /* the span is one point */
    history_point_fn visit;
    void *context;
    bool open;
    int64_t start_ms, end_ms;
    filling now;
    int64_t from_ms; /* of the part: a minute that it cuts belongs to its beginning */
} asking;

static bool counts_in(const history_query *query, int64_t kind)
{
    if ((kind & HISTORY_SPAM) != 0) return query->with_spam;
    return (kind & HISTORY_NEAR_DUPLICATE) == 0 || query->with_near_duplicates;
}

static void fill(filling *f, const history_query *query, int64_t kind, const history_sums *sums)
{
    f->n_seen += sums->n;
    if ((kind & HISTORY_SPAM) != 0) f->n_spam += sums->n;
    else if ((kind & HISTORY_NEAR_DUPLICATE) != 0) f->n_near += sums->n;
    if (counts_in(query, kind)) history_sums_add(&f->counted, sums);
}

static history_point point_of(const filling *f, bool by_reach, int64_t start, int64_t end)
{
    history_point point = {
        .start_ms = start, .end_ms = end, .n_seen = f->n_seen, .n_spam = f->n_spam, .n_near_duplicates = f->n_near};
    history_point_set(&point, &f->counted, by_reach);
    return point;
}

static finch_status close_bucket(asking *a, finch_error *err)
{
    if (!a->open || a->now.n_seen == 0) return FINCH_OK;
    history_point point = point_of(&a->now, a->query->by_reach, a->start_ms, a->end_ms);
    a->open = false;
    return a->visit(a->context, &point, err);
}

static finch_status take_sums(void *context, const sql_row *row, finch_error *err)
{
    asking *a = context;
    history_sums sums;
    int64_t time = sql_row_integer(row, 0);
    if (time < a->from_ms) time = a->from_ms;
    history_sums_read(&sums, row, 2, a->query->by_reach);
    if (!a->open || time >= a->end_ms) {
        FINCH_TRY(close_bucket(a, err));
        a->open = true;
        a->now = (filling){.n_seen = 0};
        a->start_ms = a->whole ? a->query->from_ms : history_bucket_start(&a->query->bucket, time);
        a->end_ms = a->whole ? a->query->to_ms : history_bucket_next(&a->query->bucket, a->start_ms);
    }
    fill(&a->now, a->query, sql_row_integer(row, 1), &sums);
    return FINCH_OK;
}

static finch_status check_span(const history_query *query, finch_error *err)
{
    if (query->from_ms < 0 || query->from_ms >= query->to_ms || query->to_ms > INT64_C(253402300800000))
        return finch_fail(err, FINCH_E_USAGE, "a span begins before it ends, and lies in the years 1970 to 9999");
    return FINCH_OK;
}

static finch_status model_number(store *s, const history_query *query, int64_t *out, finch_error *err)
{
    *out = NO_MODEL;
    return query->model != NULL ? history_model_find(s, query->model, out, err) : FINCH_OK;
}

static finch_status ask(store *s, asking *a, finch_error *err)
{
    const char *ticker = a->query->ticker != NULL ? a->query->ticker : HISTORY_ALL;
    int64_t model, pruned;
    FINCH_TRY(model_number(s, a->query, &model, err));
    FINCH_TRY(read_pruned(s, &pruned, err));
    plan p = plan_make(a->query->from_ms, a->query->to_ms, a->whole ? HISTORY_DAY_MS : grain_of(&a->query->bucket), pruned);
    for (size_t i = 0; i < p.n; i++) {
        a->from_ms = p.parts[i].from_ms;
        FINCH_TRY(read_part(s, &p.parts[i], ticker, model, a->query->by_reach, take_sums, a, err));
    }
    return close_bucket(a, err);
}

finch_status history_sentiment(store *s, const history_query *query, history_point_fn visit, void *context, finch_error *err)
{
    asking a = {.query = query, .visit = visit, .context = context};
    int64_t least = query->bucket.width_ms > 0 ? query->bucket.width_ms : 28 * (int64_t)HISTORY_DAY_MS;
    FINCH_TRY(check_span(query, err));
    if ((query->to_ms - query->from_ms) / least > HISTORY_POINTS_MOST)
        return finch_fail(err, FINCH_E_USAGE, "the span has over %d buckets; ask for wider ones or for less time",
                          (int)HISTORY_POINTS_MOST);
    return ask(s, &a, err);
}

static finch_status keep_point(void *context, const history_point *point, finch_error *err)
{
    (void)err;
    *(history_point *)context = *point;
    return FINCH_OK;
}

finch_status history_total(store *s, const history_query *query, history_point *out, finch_error *err)
{
    asking a = {.query = query, .whole = true, .visit = keep_point, .context = out};
    filling nothing = {.n_seen = 0};
    FINCH_TRY(check_span(query, err));
    *out = point_of(&nothing, query->by_reach, query->from_ms, query->to_ms);
    return ask(s, &a, err);
}

/* ---- leaders ---- */

typedef struct leader {
    char ticker[HISTORY_TICKER_BYTES];
    history_point point;
} leader;

typedef struct leading {
    const history_query *query;
    int64_t least_n;
    leader *leaders;
    size_t n, n_room;
    char ticker[HISTORY_TICKER_BYTES]; /* "": none yet */
    filling now;
} leading;

static finch_status close_ticker(leading *l, finch_error *err)
{
    if (l->ticker[0] == '\0' || l->now.counted.n < l->least_n || l->now.counted.n == 0) return FINCH_OK;
    FINCH_TRY(MEM_ROOM(&l->leaders, l->n, 1, &l->n_room, err));
    leader *one = &l->leaders[l->n++];
    memcpy(one->ticker, l->ticker, sizeof one->ticker);
    one->point = point_of(&l->now, l->query->by_reach, l->query->from_ms, l->query->to_ms);
    return FINCH_OK;
}

static finch_status take_ticker(void *context, const sql_row *row, finch_error *err)
{
    leading *l = context;
    finch_text ticker = sql_row_text(row, 0);
    history_sums sums;
    if (ticker.size_bytes >= HISTORY_TICKER_BYTES) return FINCH_OK; /* history_append lets none in */
    if (strlen(l->ticker) != ticker.size_bytes || memcmp(l->ticker, ticker.at, ticker.size_bytes) != 0) {
        FINCH_TRY(close_ticker(l, err));
        memcpy(l->ticker, ticker.at, ticker.size_bytes);
        l->ticker[ticker.size_bytes] = '\0';
        l->now = (filling){.n_seen = 0};
    }
    history_sums_read(&sums, row, 2, l->query->by_reach);
    fill(&l->now, l->query, sql_row_integer(row, 1), &sums);
    return FINCH_OK;
}

/* Highest mean first; equal means by number, then by name, so that the order is always the same. */
static int by_mean(const void *a, const void *b)
{
    const leader *x = a, *y = b;
    if (x->point.mean != y->point.mean) return x->point.mean > y->point.mean ? -1 : 1;
    if (x->point.n != y->point.n) return x->point.n > y->point.n ? -1 : 1;
    return strcmp(x->ticker, y->ticker);
}

static finch_status read_leaders(store *s, leading *l, finch_error *err)
{
#define RANGE(grain, from, to) "SELECT * FROM history_sum WHERE grain = " grain " AND bucket >= " from " AND bucket < " to
#define LEADERS(columns)                                                                              \
    "SELECT ticker, kind, " columns " FROM (" RANGE("3600000", "$1", "$2") " UNION ALL " RANGE(       \
        "86400000", "$2", "$3") " UNION ALL " RANGE("3600000", "$5", "$6") ") AS parts WHERE ticker " \
                                                                           "<> '*' " ONLY             \
                                                                           " GROUP BY ticker, kind ORDER BY ticker"
    static const sql_statement looks[] = {
        {LEADERS(SUM("n") ", " SUM("s") ", " SUM("sq") ", " SUM("c0") ", " SUM("c1") ", " SUM("c2") ", " SUM("c3") ", " SUM(
             "c4")),
         NULL},
        {LEADERS(SUM("n") ", " SUM("w") ", " SUM("w2") ", " SUM("ws") ", " SUM("wsq") ", " SUM("v0") ", " SUM("v1") ", " SUM(
             "v2") ", " SUM("v3") ", " SUM("v4")),
         NULL}};
    int64_t from = down_to(l->query->from_ms, HISTORY_HOUR_MS), to = up_to(l->query->to_ms, HISTORY_HOUR_MS), model;
    int64_t begin = up_to(from, HISTORY_DAY_MS), end = down_to(to, HISTORY_DAY_MS);
    FINCH_TRY(model_number(s, l->query, &model, err));
    if (begin >= end) begin = end = to; /* no whole day in it: hours only */
    sql_value values[] = {sql_integer(from),  sql_integer(begin), sql_integer(end),
                          sql_integer(model), sql_integer(end),   sql_integer(to)};
    FINCH_TRY(store_run(s, &looks[l->query->by_reach], values, 6, take_ticker, l, NULL, err));
    return close_ticker(l, err);
}

finch_status history_leaders(store *s, const history_query *query, bool bullish, int64_t least_n, size_t n_wanted,
                             history_leader_fn visit, void *context, finch_error *err)
{
    leading l = {.query = query, .least_n = least_n};
    FINCH_TRY(check_span(query, err));
    finch_status st = read_leaders(s, &l, err);
    if (st == FINCH_OK && l.n > 0) qsort(l.leaders, l.n, sizeof *l.leaders, by_mean);
    for (size_t i = 0; st == FINCH_OK && i < l.n && i < n_wanted; i++) {
        const leader *one = &l.leaders[bullish ? i : l.n - 1 - i];
        st = visit(context, one->ticker, &one->point, err);
    }
    mem_free(l.leaders);
    return st;
}
