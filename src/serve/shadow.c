#include "serve/shadow.h"

#include <math.h>
#include <pthread.h>
#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#endif

enum { SHADOW_CLASSES = 5 };

/* Of one pair of versions; another pair of the same name begins anew. */
typedef struct comparison {
    char name[MODEL_NAME_BYTES];
    char served[sizeof((model_slot *)0)->title], candidate[sizeof((model_slot *)0)->title];
    uint64_t n, n_scored; /* n_scored: both have the five classes */
    uint64_t n_agree;
    double difference, absolute; /* sums of candidate - served, and of its size */
    uint64_t matrix[SHADOW_CLASSES][SHADOW_CLASSES]; /* [served][candidate] */
} comparison;

/* lock guards all below it. */
struct shadow_book {
    pthread_mutex_t lock;
    comparison all[MODELS_MAX];
    size_t n;
};

finch_status shadow_book_create(shadow_book **out, finch_error *err)
{
    FINCH_TRY(MEM_NEW(out, 1, err));
    pthread_mutex_init(&(*out)->lock, NULL);
    return FINCH_OK;
}

void shadow_book_destroy(shadow_book *b)
{
    if (b == NULL) return;
    pthread_mutex_destroy(&b->lock);
    mem_free(b);
}

finch_status shadow_score(const model_slot *candidate, finch_text text, arena *memory, text_scratch *scratch,
                          float *candidate_out, finch_error *err)
{
    int32_t *ids;
    size_t n;
    uint32_t offsets[2] = {0};
    FINCH_TRY(ARENA_NEW(memory, &ids, candidate->max_tokens, err));
    FINCH_TRY(
        text_encode(model_tokenizer(candidate->engine), text, candidate->max_tokens, ids, &n, NULL, NULL, scratch, err));
    offsets[1] = (uint32_t)n;
    model_batch batch = {ids, offsets, 1, n};
#ifdef _OPENMP
    omp_set_num_threads(1);
#endif
    FINCH_TRY(model_logits(candidate->engine, &batch, candidate_out, memory, err));
    model_probabilities(candidate->engine, candidate_out, 1, candidate_out);
    return FINCH_OK;
}

static comparison *find(shadow_book *b, const char *name)
{
    for (size_t i = 0; i < b->n; i++)
        if (strcmp(b->all[i].name, name) == 0) return &b->all[i];
    return NULL;
}

static void note(comparison *c, const model_slot *served, const float *p, const model_slot *candidate, const float *q)
{
    size_t a = model_best_label(p, served->n_labels), b = model_best_label(q, candidate->n_labels);
    const char *said = model_get_config(served->engine)->labels[a], *would = model_get_config(candidate->engine)->labels[b];
    int from = model_class_id(served->engine, a), to = model_class_id(candidate->engine, b);
    c->n++;
    c->n_agree += (from >= 0 && from == to) || strcmp(said, would) == 0 ? 1 : 0;
    if (from < 0 || to < 0) return;
    double moved = model_sentiment(candidate->engine, q) - model_sentiment(served->engine, p);
    c->n_scored++;
    c->difference += moved;
    c->absolute += fabs(moved);
    c->matrix[from][to]++;
}

void shadow_note(shadow_book *b, const model_slot *served, const float *probabilities, const model_slot *candidate,
                 const float *candidate_probabilities)
{
    pthread_mutex_lock(&b->lock);
    comparison *c = find(b, served->name);
    if (c == NULL && b->n < MODELS_MAX) c = &b->all[b->n++];
    if (c != NULL) {
        if (strcmp(c->served, served->title) != 0 || strcmp(c->candidate, candidate->title) != 0) {
            memset(c, 0, sizeof *c);
            memcpy(c->name, served->name, sizeof c->name);
            memcpy(c->served, served->title, sizeof c->served);
            memcpy(c->candidate, candidate->title, sizeof c->candidate);
        }
        note(c, served, probabilities, candidate, candidate_probabilities);
    }
    pthread_mutex_unlock(&b->lock);
}

/* ---- telling --------------------------------------------------------------------------------------------------------- */

static finch_status write_family(shadow_book *b, str *out, const char *name, const char *help,
                                 double (*value)(const comparison *c), finch_error *err)
{
    FINCH_TRY(str_add_format(out, err, "# HELP finch_shadow_%s %s\n# TYPE finch_shadow_%s counter\n", name, help, name));
    for (size_t i = 0; i < b->n; i++)
        FINCH_TRY(str_add_format(out, err, "finch_shadow_%s{model=\"%s\",shadow=\"%s\"} %.17g\n", name, b->all[i].served,
                                 b->all[i].candidate, value(&b->all[i])));
    return FINCH_OK;
}

static double texts_of(const comparison *c) { return (double)c->n; }
static double agreed_of(const comparison *c) { return (double)c->n_agree; }
static double absolute_of(const comparison *c) { return c->absolute; }

static finch_status write_all(shadow_book *b, str *out, finch_error *err)
{
    FINCH_TRY(write_family(b, out, "texts_total", "Texts that a shadow scored too.", texts_of, err));
    FINCH_TRY(write_family(b, out, "agreed_total", "Those it gave the same label.", agreed_of, err));
    return write_family(b, out, "score_difference_sum", "The sum of how far its scores were from those given.", absolute_of,
                        err);
}

finch_status shadow_metrics(shadow_book *b, str *out, finch_error *err)
{
    pthread_mutex_lock(&b->lock);
    finch_status st = write_all(b, out, err);
    pthread_mutex_unlock(&b->lock);
    return st;
}

static json_t *share(double of, uint64_t n) { return n > 0 ? json_real(of / (double)n) : json_null(); }

static json_t *comparison_json(const comparison *c)
{
    json_t *matrix = json_array();
    for (size_t i = 0; i < SHADOW_CLASSES; i++) {
        json_t *row = json_array();
        for (size_t k = 0; k < SHADOW_CLASSES; k++) json_array_append_new(row, json_integer((json_int_t)c->matrix[i][k]));
        json_array_append_new(matrix, row);
    }
    return json_pack("{s:s, s:s, s:I, s:o, s:o, s:o, s:o}", "model", c->served, "shadow", c->candidate, "texts",
                     (json_int_t)c->n, "agreement", share((double)c->n_agree, c->n), "mean_difference",
                     share(c->difference, c->n_scored), "mean_absolute_difference", share(c->absolute, c->n_scored),
                     "matrix", matrix);
}

json_t *shadow_json(shadow_book *b, const char *name)
{
    pthread_mutex_lock(&b->lock);
    const comparison *c = find(b, name);
    json_t *found = c != NULL ? comparison_json(c) : NULL;
    pthread_mutex_unlock(&b->lock);
    return found;
}
