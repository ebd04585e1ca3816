#include "label/review.h"

#include <math.h>
#include <string.h>

enum { ROOM_FIRST = 64 };

/* ---- opening ---- */

static finch_status check_reviewer(const char *name, finch_error *err)
{
    size_t size = name != NULL ? strlen(name) : 0;
    bool good = size > 0 && size <= REVIEW_NAME_BYTES;
    for (size_t i = 0; good && i < size; i++) good = (unsigned char)name[i] >= 0x20 && name[i] != 0x7f;
    if (!good)
        return finch_fail(err, FINCH_E_USAGE,
                          "a reviewer's name has 1 to %d bytes without control characters; give one with --reviewer",
                          (int)REVIEW_NAME_BYTES);
    return FINCH_OK;
}

static finch_status take_job(void *context, const sql_row *row, finch_error *err)
{
    review *r = context;
    finch_text name = sql_row_text(row, 1);
    r->job = sql_row_integer(row, 0);
    str_clear(&r->job_name);
    return str_add(&r->job_name, name.at, name.size_bytes, err);
}

static finch_status find_job(review *r, const char *name, finch_error *err)
{
    static const sql_statement named = {"SELECT id, name FROM label_job WHERE name = $1", NULL};
    static const sql_statement newest = {"SELECT id, name FROM label_job ORDER BY created DESC, id DESC LIMIT 1", NULL};
    sql_value value = sql_text(name);
    finch_status st = name != NULL ? store_run(r->store, &named, &value, 1, take_job, r, NULL, err)
                                   : store_run(r->store, &newest, NULL, 0, take_job, r, NULL, err);
    if (st != FINCH_OK || r->job_name.at != NULL) return st;
    if (name == NULL)
        return finch_fail(err, FINCH_E_NOT_FOUND, "%s holds no labelling job; run: finch label --input FILE --output FILE",
                          store_place(r->store));
    return finch_fail(err, FINCH_E_NOT_FOUND, "%s holds no job %s; finch label status lists them", store_place(r->store),
                      name);
}

static finch_status keep_text(review *r, finch_text text, const char **out, finch_error *err)
{
    char *copy = NULL;
    FINCH_TRY(arena_alloc(&r->arena, text.size_bytes + 1, 1, (void **)&copy, err));
    memcpy(copy, text.at, text.size_bytes);
    copy[text.size_bytes] = '\0';
    *out = copy;
    return FINCH_OK;
}

static int label_of(const sql_row *row, size_t column)
{
    int64_t label = sql_row_null(row, column) ? REVIEW_NONE : sql_row_integer(row, column);
    return label >= 0 && label < REVIEW_CLASSES ? (int)label : REVIEW_NONE;
}

static double real_of(const sql_row *row, size_t column)
{
    return sql_row_null(row, column) ? (double)NAN : sql_row_real(row, column);
}

/* Room for one more of *n items of *block. */
static finch_status make_room(void **block, size_t n, size_t *n_room, size_t item_bytes, finch_error *err)
{
    if (n < *n_room) return FINCH_OK;
    size_t wanted = *n_room == 0 ? ROOM_FIRST : *n_room * 2;
    FINCH_TRY(mem_grow(block, *n_room * item_bytes, wanted, item_bytes, err));
    *n_room = wanted;
    return FINCH_OK;
}

static finch_status take_item(void *context, const sql_row *row, finch_error *err)
{
    review *r = context;
    FINCH_TRY(make_room((void **)&r->items, r->n_items, &r->n_room, sizeof *r->items, err));
    review_item *item = &r->items[r->n_items];
    *item = (review_item){.seq = sql_row_integer(row, 0),
                          .label = label_of(row, 3),
                          .mine = label_of(row, 6),
                          .confidence = real_of(row, 4),
                          .doubt = sql_row_real(row, 7)};
    FINCH_TRY(keep_text(r, sql_row_text(row, 1), &item->hash, err));
    FINCH_TRY(keep_text(r, sql_row_text(row, 2), &item->text, err));
    if (!sql_row_null(row, 5)) FINCH_TRY(keep_text(r, sql_row_text(row, 5), &item->reason, err));
    r->n_items++;
    return FINCH_OK;
}

/* $1 job, $2 reviewer, $3 1 for what the reviewer has labelled too, $4 limit. Answers are looked up by (asker, hash), the
 * beginning of their primary key. */
#define QUEUE                                                                                                          \
    "SELECT q.seq, q.hash, q.text, q.label, q.confidence, q.reason, q.mine, CAST(CASE WHEN q.label IS NULL THEN 1.0 "  \
    "WHEN q.apart > q.unsure THEN q.apart ELSE q.unsure END AS DOUBLE PRECISION) AS doubt FROM ("                      \
    "SELECT p.*, CASE WHEN p.n_answers > 0 THEN 1.0 * p.n_apart / p.n_answers ELSE 0.0 END AS apart, "                 \
    "CASE WHEN p.confidence IS NOT NULL THEN 1.0 - p.confidence WHEN p.n_answers > 1 THEN 0.0 ELSE 0.5 END AS unsure " \
    "FROM (SELECT i.seq, i.hash, i.text, i.label, i.confidence, i.reason, r.label AS mine, "                           \
    "(SELECT count(*) FROM label_asker k JOIN label_answer a ON a.asker = k.id AND a.hash = i.hash "                   \
    "WHERE a.label IS NOT NULL) AS n_answers, "                                                                        \
    "(SELECT count(*) FROM label_asker k JOIN label_answer a ON a.asker = k.id AND a.hash = i.hash "                   \
    "WHERE a.label <> i.label) AS n_apart "                                                                            \
    "FROM label_item i LEFT JOIN label_review r ON r.hash = i.hash AND r.reviewer = $2 "                               \
    "WHERE i.job = $1 AND i.state = 2 AND (r.label IS NULL OR $3 = 1)) p) q ORDER BY "

static finch_status read_queue(review *r, const review_options *o, finch_error *err)
{
    static const sql_statement orders[] = {
        [REVIEW_BY_DOUBT] = {QUEUE "doubt DESC, q.seq LIMIT $4", NULL},
        [REVIEW_AT_RANDOM] = {QUEUE "q.hash LIMIT $4", NULL},
        [REVIEW_AS_READ] = {QUEUE "q.seq LIMIT $4", NULL},
    };
    size_t limit = o->limit < INT64_MAX ? o->limit : INT64_MAX;
    sql_value values[] = {sql_integer(r->job), sql_text(r->reviewer.at), sql_integer(o->again), sql_integer((int64_t)limit)};
    return store_run(r->store, &orders[o->order], values, 4, take_item, r, NULL, err);
}

static finch_status take_counts(void *context, const sql_row *row, finch_error *err)
{
    review *r = context;
    (void)err;
    r->n_waiting = (uint64_t)sql_row_integer(row, 0);
    r->n_done = (uint64_t)sql_row_integer(row, 1);
    return FINCH_OK;
}

static finch_status count(review *r, finch_error *err)
{
    static const sql_statement counts = {
        "SELECT count(*) - count(r.label), count(r.label) FROM label_item i LEFT JOIN label_review r ON r.hash = i.hash AND "
        "r.reviewer = $2 WHERE i.job = $1 AND i.state = 2",
        NULL};
    sql_value values[] = {sql_integer(r->job), sql_text(r->reviewer.at)};
    return store_run(r->store, &counts, values, 2, take_counts, r, NULL, err);
}

finch_status review_open(store *s, const review_options *options, review *out, finch_error *err)
{
    *out = (review){.store = s};
    arena_init(&out->arena);
    FINCH_TRY(check_reviewer(options->reviewer, err));
    FINCH_TRY(str_add_text(&out->reviewer, options->reviewer, err));
    FINCH_TRY(find_job(out, options->job, err));
    FINCH_TRY(count(out, err));
    return read_queue(out, options, err);
}

void review_close(review *r)
{
    str_free(&r->job_name);
    str_free(&r->reviewer);
    arena_free(&r->arena);
    mem_free(r->items);
    *r = (review){0};
}

/* ---- one tweet ---- */

typedef struct mark {
    const review *review;
    const char *hash;
    int label;
} mark;

/* The same when run twice. */
static finch_status write_mark(store *s, void *context, finch_error *err)
{
    static const sql_statement set = {
        "INSERT INTO label_review (hash, reviewer, label, created) VALUES ($1, $2, $3, $4) "
        "ON CONFLICT (hash, reviewer) DO UPDATE SET label = excluded.label, created = excluded.created",
        NULL};
    static const sql_statement clear = {"DELETE FROM label_review WHERE hash = $1 AND reviewer = $2", NULL};
    const mark *m = context;
    sql_value values[] = {sql_text(m->hash), sql_text(m->review->reviewer.at), sql_integer(m->label),
                          sql_integer(store_now_ms(s))};
    if (m->label == REVIEW_NONE) return store_run(s, &clear, values, 2, NULL, NULL, NULL, err);
    return store_run(s, &set, values, 4, NULL, NULL, NULL, err);
}

finch_status review_mark(review *r, size_t at, int label, finch_error *err)
{
    mark m = {r, r->items[at].hash, label};
    FINCH_TRY(store_transaction(r->store, write_mark, &m, err));
    r->items[at].mine = label;
    return FINCH_OK;
}

typedef struct opinions {
    review_opinion_fn each;
    void *context;
    str source;
} opinions;

static finch_status take_opinion(void *context, const sql_row *row, finch_error *err)
{
    opinions *o = context;
    finch_text model = sql_row_text(row, 0), prompt = sql_row_text(row, 1);
    str_clear(&o->source);
    FINCH_TRY(str_add(&o->source, model.at, model.size_bytes, err));
    FINCH_TRY(str_add_text(&o->source, " ", err));
    FINCH_TRY(str_add(&o->source, prompt.at, prompt.size_bytes, err));
    review_opinion opinion = {o->source.at, label_of(row, 2), real_of(row, 3)};
    return o->each(o->context, &opinion, err);
}

finch_status review_opinions(review *r, size_t at, review_opinion_fn each, void *context, finch_error *err)
{
    static const sql_statement answers = {"SELECT k.model, k.prompt, a.label, a.confidence FROM label_asker k JOIN "
                                          "label_answer a ON a.asker = k.id AND a.hash = $1 "
                                          "WHERE a.label IS NOT NULL ORDER BY k.id, a.vote",
                                          NULL};
    opinions o = {each, context, {0}};
    sql_value hash = sql_text(r->items[at].hash);
    finch_status st = store_run(r->store, &answers, &hash, 1, take_opinion, &o, NULL, err);
    str_free(&o.source);
    return st;
}

/* ---- agreement ---- */

static finch_status keep_name(review_agreement *a, finch_text name, const char **out, finch_error *err)
{
    char *copy = NULL;
    FINCH_TRY(arena_alloc(&a->arena, name.size_bytes + 1, 1, (void **)&copy, err));
    memcpy(copy, name.at, name.size_bytes);
    copy[name.size_bytes] = '\0';
    *out = copy;
    return FINCH_OK;
}

static bool same(const char *kept, finch_text name)
{
    return strlen(kept) == name.size_bytes && memcmp(kept, name.at, name.size_bytes) == 0;
}

/* Rows come in the order of the pairs. */
static finch_status take_pair(void *context, const sql_row *row, finch_error *err)
{
    review_agreement *out = context;
    finch_text a = sql_row_text(row, 0), b = sql_row_text(row, 1);
    int of_a = label_of(row, 2), of_b = label_of(row, 3);
    if (of_a == REVIEW_NONE || of_b == REVIEW_NONE)
        return finch_fail(err, FINCH_E_DATA,
                          "the store holds a label outside 0 to 4; it was written by something else than finch");
    review_pair *last = out->n_pairs > 0 ? &out->pairs[out->n_pairs - 1] : NULL;
    if (last == NULL || !same(last->a, a) || !same(last->b, b)) {
        FINCH_TRY(make_room((void **)&out->pairs, out->n_pairs, &out->n_room, sizeof *out->pairs, err));
        last = &out->pairs[out->n_pairs];
        *last = (review_pair){0}; /* NOLINT: make_room made it */
        FINCH_TRY(keep_name(out, a, &last->a, err));
        FINCH_TRY(keep_name(out, b, &last->b, err));
        out->n_pairs++;
    }
    last->table[of_a][of_b] += (uint64_t)sql_row_integer(row, 4);
    return FINCH_OK;
}

/* Cohen, "A coefficient of agreement for nominal scales" (1960): kappa = (po - pe) / (1 - pe), its large-sample standard
 * error sqrt(po (1 - po) / (n (1 - pe)^2)). */
static void work_out(review_pair *p)
{
    double rows[REVIEW_CLASSES] = {0}, columns[REVIEW_CLASSES] = {0}, equal = 0, chance = 0;
    for (size_t a = 0; a < REVIEW_CLASSES; a++)
        for (size_t b = 0; b < REVIEW_CLASSES; b++) {
            p->n += p->table[a][b];
            rows[a] += (double)p->table[a][b];
            columns[b] += (double)p->table[a][b];
            if (a == b) equal += (double)p->table[a][b];
        }
    double n = (double)p->n;
    for (size_t c = 0; c < REVIEW_CLASSES; c++) chance += rows[c] / n * (columns[c] / n);
    p->agree = equal / n;
    double left = 1 - chance;
    bool known = left > 1e-12;
    double error = known ? 1.959963984540054 * sqrt(p->agree * (1 - p->agree) / n) / left : (double)NAN;
    p->kappa = known ? (p->agree - chance) / left : (double)NAN;
    p->kappa_low = p->kappa - error;
    p->kappa_high = known ? fmin(1, p->kappa + error) : (double)NAN;
}

finch_status review_agree(review *r, review_agreement *out, finch_error *err)
{
    /* seen: the tweets of the job that somebody looked at. The order of raters is people, models, the job, gold. */
    static const sql_statement pairs = {
        "WITH seen AS (SELECT i.hash, i.label, i.gold FROM label_item i WHERE i.job = $1 AND (i.gold IS NOT NULL OR i.hash "
        "IN "
        "(SELECT hash FROM label_review))), "
        "rating AS (SELECT 1 AS kind, 'person ' || r.reviewer AS name, r.hash, r.label FROM label_review r JOIN seen s ON "
        "s.hash = r.hash "
        "UNION ALL SELECT 2, 'model ' || k.model || ' ' || k.prompt, a.hash, a.label FROM seen s CROSS JOIN label_asker k "
        "JOIN label_answer a ON a.asker = k.id AND a.hash = s.hash AND a.vote = 0 WHERE a.label IS NOT NULL "
        "UNION ALL SELECT 3, 'the job', hash, label FROM seen WHERE label IS NOT NULL "
        "UNION ALL SELECT 4, 'gold', hash, gold FROM seen WHERE gold IS NOT NULL) "
        "SELECT x.name, y.name, x.label, y.label, count(*) FROM rating x JOIN rating y ON x.hash = y.hash "
        "AND (x.kind < y.kind OR (x.kind = y.kind AND x.name < y.name)) "
        "GROUP BY x.kind, x.name, y.kind, y.name, x.label, y.label ORDER BY x.kind, x.name, y.kind, y.name, x.label, "
        "y.label",
        NULL};
    *out = (review_agreement){0};
    arena_init(&out->arena);
    sql_value job = sql_integer(r->job);
    FINCH_TRY(store_run(r->store, &pairs, &job, 1, take_pair, out, NULL, err));
    for (size_t i = 0; i < out->n_pairs; i++) work_out(&out->pairs[i]);
    return FINCH_OK;
}

void review_agreement_close(review_agreement *a)
{
    arena_free(&a->arena);
    mem_free(a->pairs);
    *a = (review_agreement){0};
}
