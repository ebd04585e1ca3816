/* Looking at a job: counts, costs, and what is known of each text for the output. */
#include "store/labels.h"

#include <string.h>

static finch_status read_state(void *context, const sql_row *row, finch_error *err)
{
    labels_counts *c = context;
    int64_t state = sql_row_integer(row, 0), n = sql_row_integer(row, 2), label = sql_row_integer(row, 1);
    (void)err;
    if (state == LABELS_WAITING) c->waiting += n;
    else if (state == LABELS_LEASED) c->leased += n;
    else if (sql_row_null(row, 1)) c->aside += n;
    else if (label >= 0 && label < LABELS_CLASSES) {
        c->labelled += n;
        c->classes[label] += n;
    }
    return FINCH_OK;
}

static finch_status read_spending(void *context, const sql_row *row, finch_error *err)
{
    labels_counts *c = context;
    int64_t *fields[] = {&c->requests,      &c->failed_requests, &c->rate_limited, &c->input_tokens,
                         &c->output_tokens, &c->cost_nano,       &c->unknown_cost, &c->worst_item_nano};
    (void)err;
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) *fields[i] = sql_row_integer(row, i);
    return FINCH_OK;
}

finch_status labels_count(store *s, const labels_job *job, labels_counts *out, finch_error *err)
{
    static const sql_statement states = {
        "SELECT state, label, count(*) FROM label_item WHERE job = $1 GROUP BY state, label", NULL};
    static const sql_statement spending = {
        "SELECT count(*), count(CASE WHEN outcome <> 'answered' THEN 1 END), count(CASE WHEN status = 429 THEN 1 END), "
        "CAST(coalesce(sum(input_tokens), 0) AS BIGINT), CAST(coalesce(sum(output_tokens), 0) AS BIGINT), "
        "CAST(coalesce(sum(cost), 0) AS BIGINT), count(CASE WHEN cost IS NULL AND status = 200 THEN 1 END), "
        "CAST(coalesce(max((cost + n_items - 1) / n_items), 0) AS BIGINT) "
        "FROM label_request WHERE job = $1 AND (outcome IS NULL OR outcome <> 'unsent')",
        NULL};
    sql_value value = sql_integer(job->id);
    *out = (labels_counts){0};
    FINCH_TRY(store_run(s, &states, &value, 1, read_state, out, NULL, err));
    return store_run(s, &spending, &value, 1, read_spending, out, NULL, err);
}

finch_status labels_any_left(store *s, const labels_job *job, bool *any, finch_error *err)
{
    static const sql_statement left = {
        "SELECT count(*) FROM (SELECT 1 FROM label_item WHERE job = $1 AND state IN (0, 1) LIMIT 1) AS one", NULL};
    int64_t n = 0;
    sql_value value = sql_integer(job->id);
    FINCH_TRY(store_run(s, &left, &value, 1, labels_take_integer, &n, NULL, err));
    *any = n > 0;
    return FINCH_OK;
}

static finch_status read_left(void *context, const sql_row *row, finch_error *err)
{
    labels_left *left = context;
    (void)err;
    *left = (labels_left){sql_row_integer(row, 0), sql_row_integer(row, 1)};
    return FINCH_OK;
}

finch_status labels_look_left(store *s, const labels_job *job, labels_left *out, finch_error *err)
{
    static const sql_statement left = {
        "SELECT count(*), coalesce(sum(length(CAST(text AS BLOB))), 0) FROM label_item WHERE job = $1 AND state < 2",
        "SELECT count(*), CAST(coalesce(sum(octet_length(text)), 0) AS BIGINT) FROM label_item WHERE job = $1 AND state < "
        "2"};
    sql_value value = sql_integer(job->id);
    *out = (labels_left){0, 0};
    return store_run(s, &left, &value, 1, read_left, out, NULL, err);
}

finch_status labels_spent(store *s, const labels_job *job, int64_t *cost_nano, finch_error *err)
{
    static const sql_statement spent = {"SELECT CAST(coalesce(sum(cost), 0) AS BIGINT) FROM label_request WHERE job = $1",
                                        NULL};
    sql_value value = sql_integer(job->id);
    *cost_nano = 0;
    return store_run(s, &spent, &value, 1, labels_take_integer, cost_nano, NULL, err);
}

/* ---- for the output ---- */

typedef struct looking {
    labels_known_fn visit;
    void *context;
} looking;

static finch_status read_known(void *context, const sql_row *row, finch_error *err)
{
    looking *l = context;
    labels_known known = {
        .hash = sql_row_text(row, 0),
        .state = (int)sql_row_integer(row, 1),
        .label = sql_row_null(row, 2) ? LABELS_NO_CLASS : (int)sql_row_integer(row, 2),
        .confidence = sql_row_null(row, 3) ? -1 : sql_row_real(row, 3),
        .reason = sql_row_text(row, 4),
        .request = sql_row_text(row, 5),
        .created_ms = sql_row_integer(row, 6),
        .model = sql_row_text(row, 7),
        .prompt = sql_row_text(row, 8),
        .votes = (size_t)sql_row_integer(row, 9),
        .agreeing = (size_t)sql_row_integer(row, 10),
        .judged = sql_row_integer(row, 11) != 0,
        .reviews = sql_row_text(row, 12),
    };
    return l->visit(l->context, &known, err);
}

finch_status labels_lookup(store *s, const labels_job *job, const char *hashes, labels_known_fn visit, void *context,
                           finch_error *err)
{
    /* The provenance is that of the vote that says what the item says: the judge's, else the first that agrees. */
#define LOOKUP_BEGIN(reviews)                                                                                              \
    "SELECT i.hash, i.state, i.label, i.confidence, i.reason, a.request, a.created, k.model, k.prompt, "                   \
    "(SELECT count(*) FROM label_answer v WHERE v.asker = $2 AND v.hash = i.hash AND v.vote < $4 AND v.label IS NOT "      \
    "NULL), "                                                                                                              \
    "(SELECT count(*) FROM label_answer v WHERE v.asker = $2 AND v.hash = i.hash AND v.vote < $4 AND v.label = i.label), " \
    "CASE WHEN i.stage >= $4 AND $3 <> 0 THEN 1 ELSE 0 END, " reviews                                                      \
    " FROM label_item i LEFT JOIN label_answer a ON a.hash = i.hash AND a.label = i.label "                                \
    "AND a.asker = CASE WHEN i.stage >= $4 AND $3 <> 0 THEN $3 ELSE $2 END AND a.vote = "                                  \
    "(SELECT min(v.vote) FROM label_answer v WHERE v.asker = a.asker AND v.hash = i.hash AND v.label = i.label) "          \
    "LEFT JOIN label_asker k ON k.id = a.asker WHERE i.job = $1 AND i.hash "
    static const sql_statement lookup = {
        LOOKUP_BEGIN("(SELECT json_group_object(reviewer, label) FROM (SELECT reviewer, label FROM label_review r WHERE "
                     "r.hash = i.hash ORDER BY reviewer) HAVING count(*) > 0)") "IN (SELECT value FROM json_each($5))",
        LOOKUP_BEGIN("(SELECT CAST(json_object_agg(reviewer, label ORDER BY reviewer) AS TEXT) FROM label_review r WHERE "
                     "r.hash = i.hash)") "= ANY(ARRAY(SELECT json_array_elements_text($5::json)))"};
    looking l = {visit, context};
    sql_value values[] = {sql_integer(job->id), sql_integer(job->asker), sql_integer(job->judge),
                          sql_integer((int64_t)job->votes), sql_text(hashes)};
    return store_run(s, &lookup, values, 5, read_known, &l, NULL, err);
}

/* ---- gold and reasons ---- */

typedef struct gold_look {
    labels_gold_fn visit;
    void *context;
} gold_look;

static finch_status read_gold(void *context, const sql_row *row, finch_error *err)
{
    gold_look *g = context;
    return g->visit(g->context, (int)sql_row_integer(row, 0), (int)sql_row_integer(row, 1), err);
}

finch_status labels_gold(store *s, const labels_job *job, labels_gold_fn visit, void *context, finch_error *err)
{
    static const sql_statement gold = {"SELECT gold, label FROM label_item WHERE job = $1 AND seq < 0 AND state = 2 AND "
                                       "gold IS NOT NULL AND label IS NOT NULL",
                                       NULL};
    gold_look g = {visit, context};
    sql_value value = sql_integer(job->id);
    return store_run(s, &gold, &value, 1, read_gold, &g, NULL, err);
}

typedef struct reason_look {
    labels_reason_fn visit;
    void *context;
} reason_look;

static finch_status read_reason(void *context, const sql_row *row, finch_error *err)
{
    reason_look *r = context;
    return r->visit(r->context, sql_row_text(row, 0), sql_row_integer(row, 1), err);
}

finch_status labels_reasons(store *s, const labels_job *job, labels_reason_fn visit, void *context, finch_error *err)
{
    static const sql_statement reasons = {
        "SELECT reason, count(*) FROM label_item WHERE job = $1 AND state = 2 AND label IS NULL "
        "GROUP BY reason ORDER BY count(*) DESC, reason LIMIT 20",
        NULL};
    reason_look r = {visit, context};
    sql_value value = sql_integer(job->id);
    return store_run(s, &reasons, &value, 1, read_reason, &r, NULL, err);
}
