#include "store/tables.h"

#include <string.h>

enum { PAGE_ROWS = 20000, KEY_PARTS = 3 };

#define CLASS_NAME(label)                                                                                                 \
    "CASE " label " WHEN 0 THEN 'STRONGLY_NEGATIVE' WHEN 1 THEN 'NEGATIVE' WHEN 2 THEN 'NEUTRAL' WHEN 3 THEN 'POSITIVE' " \
    "WHEN 4 THEN 'STRONGLY_POSITIVE' END"
#define SHARE(column, unit) "CAST(" column " AS DOUBLE PRECISION) / " unit
#define TIME_OR_NULL(column) "CASE WHEN " column " > 0 THEN " column " END"

#define TEXT(name) {name, STORE_COLUMN_TEXT}
#define INTEGER(name) {name, STORE_COLUMN_INTEGER}
#define REAL(name) {name, STORE_COLUMN_REAL}
#define TIME(name) {name, STORE_COLUMN_TIME}

static const store_table tables[] = {
    {"jobs",
     "labelling jobs",
     {TEXT("job"), TEXT("state"), TEXT("reason"), TIME("created"), TEXT("model"), TEXT("judge"), TEXT("prompt"),
      INTEGER("votes"), TEXT("provider"), TEXT("input"), TEXT("text_column"), INTEGER("rows"), INTEGER("texts"),
      REAL("cost_dollars")},
     14,
     "n",
     {"SELECT j.name, j.state, j.reason, j.created, a.model, b.model, a.prompt, j.votes, j.provider, j.input, "
      "j.text_column, "
      "j.n_rows, j.n_items, (SELECT CAST(coalesce(sum(r.cost), 0) AS DOUBLE PRECISION) / 1e9 FROM label_request r "
      "WHERE r.job = j.id), j.id FROM label_job j LEFT JOIN label_asker a ON a.id = j.asker LEFT JOIN label_asker b ON "
      "b.id = j.judge WHERE j.id > $1 ORDER BY j.id LIMIT $4",
      NULL}},
    {"labels",
     "the texts of labelling jobs with their labels",
     {TEXT("job"), INTEGER("seq"), TEXT("hash"), TEXT("text"), TEXT("state"), TEXT("label"), REAL("confidence"),
      TEXT("reason"), TEXT("gold")},
     9,
     "nn",
     {"SELECT j.name, i.seq, i.hash, i.text, CASE i.state WHEN 0 THEN 'waiting' WHEN 1 THEN 'asked' ELSE 'settled' "
      "END, " CLASS_NAME("i.label") ", i.confidence, i.reason, " CLASS_NAME(
          "i.gold") ", i.job, i.seq FROM label_item i JOIN "
                    "label_job j ON j.id = i.job WHERE (i.job, i.seq) > ($1, $2) ORDER BY i.job, i.seq LIMIT $4",
      NULL}},
    {"answers",
     "each model's answer to a text, vote by vote",
     {TEXT("model"), TEXT("prompt"), TEXT("hash"), INTEGER("vote"), TEXT("label"), REAL("confidence"), TEXT("request"),
      TIME("created")},
     8,
     "ntn",
     {"SELECT k.model, k.prompt, a.hash, a.vote, " CLASS_NAME(
          "a.label") ", a.confidence, a.request, a.created, "
                     "a.asker, a.hash, a.vote FROM label_answer a JOIN label_asker k ON k.id = a.asker WHERE a.label IS NOT "
                     "NULL "
                     "AND (a.asker, a.hash, a.vote) > ($1, $2, $3) ORDER BY a.asker, a.hash, a.vote LIMIT $4",
      NULL}},
    {"requests",
     "requests to providers: what became of them and what they cost",
     {TEXT("request"), TEXT("job"), TEXT("model"), INTEGER("texts"), TIME("sent"), TIME("ended"), INTEGER("status"),
      TEXT("outcome"), TEXT("provider_id"), INTEGER("input_tokens"), INTEGER("output_tokens"), REAL("cost_dollars")},
     12,
     "t",
     {"SELECT r.id, j.name, k.model, r.n_items, r.sent, r.ended, r.status, r.outcome, r.provider_id, r.input_tokens, "
      "r.output_tokens, " SHARE("r.cost",
                                "1e9") ", r.id FROM label_request r LEFT JOIN label_job j ON j.id = r.job LEFT "
                                       "JOIN label_asker k ON k.id = r.asker WHERE r.id > $1 ORDER BY r.id LIMIT $4",
      NULL}},
    {"reviews",
     "people's labels, one a person and text",
     {TEXT("hash"), TEXT("reviewer"), TEXT("label"), TIME("created")},
     4,
     "tt",
     {"SELECT hash, reviewer, " CLASS_NAME(
          "label") ", created, hash, reviewer FROM label_review WHERE (hash, reviewer) > ($1, $2) "
                   "ORDER BY hash, reviewer LIMIT $4",
      NULL}},
    {"prompts",
     "what models were told",
     {TEXT("prompt"), TEXT("content"), TIME("created")},
     3,
     "t",
     {"SELECT version, content, created, version FROM label_prompt WHERE version > $1 ORDER BY version LIMIT $4", NULL}},
    {"predictions",
     "what the server predicted",
     {INTEGER("id"), TIME("time"), TEXT("text"), TEXT("tickers"), TEXT("label"), REAL("score"),
      REAL("prob_strongly_negative"), REAL("prob_negative"), REAL("prob_neutral"), REAL("prob_positive"),
      REAL("prob_strongly_positive"), TEXT("model"), TEXT("source"), INTEGER("reach")},
     14,
     "n",
     {"SELECT p.id, p.time, p.text, p.tickers, " CLASS_NAME("p.label") ", " SHARE("p.score", "1e6") ", " SHARE(
          "p.p0",
          "1e6") ", " SHARE("p.p1",
                            "1e6") ", " SHARE("p.p2",
                                              "1e6") ", " SHARE("p.p3",
                                                                "1e6") ", " SHARE("p.p4",
                                                                                  "1e6") ", m.name, p.source, "
                                                                                         "p.reach, p.id FROM prediction p "
                                                                                         "LEFT JOIN history_model m ON m.id "
                                                                                         "= p.model WHERE p.id > $1 ORDER "
                                                                                         "BY p.id LIMIT $4",
      NULL}},
    {"batches",
     "files that the server scores",
     {TEXT("id"), TIME("created"), TEXT("kind"), TEXT("state"), TEXT("input"), INTEGER("input_bytes"), INTEGER("rows_done"),
      INTEGER("rows_total"), INTEGER("attempt"), TIME("started"), TIME("finished"), TEXT("error")},
     12,
     "t",
     {"SELECT id, created, kind, state, input_name, input_bytes, rows_done, rows_total, attempt, " TIME_OR_NULL(
          "started") ", " TIME_OR_NULL("finished") ", error, id FROM batch_job WHERE id > $1 ORDER BY id LIMIT $4",
      NULL}},
    {"models",
     "registered models and the stages they are in",
     {TEXT("name"), INTEGER("version"), TEXT("digest"), TEXT("stage"), TEXT("note"), TEXT("author"), TIME("created"),
      INTEGER("size_bytes"), TEXT("card")},
     9,
     "tnt",
     {"SELECT v.name, v.number, v.digest, s.stage, v.note, v.author, v.created, v.size, v.card, v.name, v.number, "
      "coalesce(s.stage, '') FROM model_version v LEFT JOIN model_stage s ON s.name = v.name AND s.number = v.number WHERE "
      "v.removed = 0 AND (v.name, v.number, coalesce(s.stage, '')) > ($1, $2, $3) ORDER BY v.name, v.number, "
      "coalesce(s.stage, '') LIMIT $4",
      NULL}},
};

const store_table *store_tables(size_t *n)
{
    *n = sizeof tables / sizeof tables[0];
    return tables;
}

/* ---- pages ---- */

typedef struct page_reading {
    const store_table *table;
    sql_row_fn each;
    void *context;
    size_t n_rows;       /* of the page */
    size_t n_parts;
    str text[KEY_PARTS]; /* the last row's key */
    int64_t number[KEY_PARTS];
} page_reading;

static finch_status take_row(void *context, const sql_row *row, finch_error *err)
{
    page_reading *r = context;
    r->n_rows++;
    for (size_t i = 0; i < r->n_parts; i++) {
        size_t column = r->table->n_columns + i;
        if (r->table->key[i] == 'n') {
            r->number[i] = sql_row_integer(row, column);
            continue;
        }
        finch_text text = sql_row_text(row, column);
        str_clear(&r->text[i]);
        FINCH_TRY(str_add(&r->text[i], text.at, text.size_bytes, err));
    }
    return r->each(r->context, row, err);
}

static finch_status read_page(store *s, page_reading *r, finch_error *err)
{
    sql_value values[KEY_PARTS + 1];
    for (size_t i = 0; i < KEY_PARTS; i++) {
        bool is_text = i < r->n_parts && r->table->key[i] == 't';
        values[i] = is_text ? sql_text(r->text[i].at) : sql_integer(r->number[i]);
    }
    values[KEY_PARTS] = sql_integer(PAGE_ROWS);
    r->n_rows = 0;
    return store_run(s, &r->table->page, values, KEY_PARTS + 1, take_row, r, NULL, err);
}

finch_status store_table_read(store *s, const store_table *table, sql_row_fn each, void *context, finch_error *err)
{
    page_reading r = {.table = table, .each = each, .context = context, .n_parts = strlen(table->key)};
    finch_status st = FINCH_OK;
    for (size_t i = 0; i < KEY_PARTS; i++) {
        r.number[i] = INT64_MIN;
        if (st == FINCH_OK) st = str_add_text(&r.text[i], "", err);
    }
    do
        if (st == FINCH_OK) st = read_page(s, &r, err);
    while (st == FINCH_OK && r.n_rows == PAGE_ROWS);
    for (size_t i = 0; i < KEY_PARTS; i++) str_free(&r.text[i]);
    return st;
}
