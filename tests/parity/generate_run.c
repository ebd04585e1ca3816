/* Generation for the tests that hold it against Python:
 *     parity_generate_run answer MODEL COMPUTE N_TOKENS TEMPERATURE SEED <ids >ids   a line of ids for each line of ids, all together
 *     parity_generate_run filter TEMPERATURE TOP_K TOP_P <logits >ids                f32 as it lies in memory; the ids that are left
 *     parity_generate_run form TOKENIZER SEED N_TOKENS <schemas >texts               each line a schema; each answer {"whole","text"}, or {"error"}:
 *         the pieces that the form allows get random logits, those that end something better ones */
#include "base/json.h"
#include "model/generate.h"
#include "model/tokenizer_file.h"
#include "text/pieces.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_MAX_BYTES = 1 << 16, ANSWERS_MAX = 64, IDS_MAX = 1 << 15, CLOSERS_EVERY = 3 };

static char line[LINE_MAX_BYTES];

/* ---- answers ---------------------------------------------------------------------------------------------------- */

typedef struct answers {
    gemma *g;
    text_tokenizer *t;
    generator *x;
    generation *all[ANSWERS_MAX];
    size_t n;
} answers;

static finch_status add_answer(answers *a, char **argv, finch_error *err)
{
    static int32_t ids[IDS_MAX];
    generate_request q = {.prompt = ids,
                          .max_tokens = strtoul(argv[4], NULL, 10),
                          .how = {.temperature = strtod(argv[5], NULL), .top_p = 1.0},
                          .seed = strtoul(argv[6], NULL, 10),
                          .wants_tokens = true,
                          .n_top = 2};
    char *end;
    for (char *at = line; q.n_prompt < IDS_MAX; at = end) {
        long id = strtol(at, &end, 10);
        if (end == at) break;
        ids[q.n_prompt++] = (int32_t)id;
    }
    return generator_add(a->x, &q, &a->all[a->n++], err);
}

/* id, its log-probability, and how far the second one is behind it. */
static void print_answer(const generation *g)
{
    generate_result r = generation_result(g);
    for (size_t i = 0; i < r.n_listed; i++)
        printf("%ld %.9g ", (long)r.tokens[i].chosen.id, (double)(r.tokens[i].top[0].logprob - r.tokens[i].top[1].logprob));
    printf("\n");
}

static finch_status answer(answers *a, char **argv, finch_error *err)
{
    model_compute compute;
    if (!model_compute_find(argv[3], &compute)) return finch_fail(err, FINCH_E_USAGE, "no such type: %s", argv[3]);
    FINCH_TRY(gemma_open(argv[2], compute, &a->g, err));
    FINCH_TRY(model_tokenizer_open(argv[2], &a->t, err));
    FINCH_TRY(generator_create(a->g, a->t, ANSWERS_MAX, 0, &a->x, err));
    while (a->n < ANSWERS_MAX && fgets(line, sizeof line, stdin) != NULL) FINCH_TRY(add_answer(a, argv, err));
    while (generator_running(a->x) > 0) FINCH_TRY(generator_step(a->x, err));
    for (size_t i = 0; i < a->n; i++) print_answer(a->all[i]);
    return FINCH_OK;
}

static finch_status run_answers(char **argv, finch_error *err)
{
    answers a = {0};
    finch_status st = answer(&a, argv, err);
    generator_destroy(a.x);
    text_tokenizer_close(a.t);
    gemma_close(a.g);
    return st;
}

/* ---- filters ---------------------------------------------------------------------------------------------------- */

static finch_status run_filter(char **argv, finch_error *err)
{
    sampling how = {strtod(argv[2], NULL), strtoul(argv[3], NULL, 10), strtod(argv[4], NULL)};
    candidate *all;
    size_t n = 0;
    FINCH_TRY(sampling_check(&how, err));
    FINCH_TRY(mem_alloc(1 << 20, sizeof *all, (void **)&all, err));
    for (float logit; n < 1 << 20 && fread(&logit, sizeof logit, 1, stdin) == 1; n++)
        all[n] = (candidate){logit, (int32_t)n};
    n = sampling_filter(&how, all, n);
    for (size_t i = 0; i < n; i++) printf("%ld ", (long)all[i].id);
    printf("\n");
    mem_free(all);
    return FINCH_OK;
}

/* ---- forms ------------------------------------------------------------------------------------------------------ */

static bool has_bit(const piece_set *set, size_t id) { return (set->bits[id / 64] >> id % 64 & 1) != 0; }

static bool closes(const text_tokenizer *t, size_t id)
{
    size_t size;
    const char *piece = text_tokenizer_piece(t, (int32_t)id, &size);
    return size > 0 && memchr("\"]},:", piece[size - 1], 5) != NULL;
}

/* The likeliest of random logits. */
static int32_t draw(const text_tokenizer *t, const piece_set *set, rng *r)
{
    bool wants_end = rng_below(r, CLOSERS_EVERY) == 0;
    double best = -1.0;
    int32_t found = -1;
    for (size_t id = 0; id < text_tokenizer_vocab_size(t); id++) {
        if (!has_bit(set, id)) continue;
        double logit = rng_unit(r) + (wants_end && closes(t, id) ? 1.0 : 0.0);
        if (logit <= best) continue;
        best = logit;
        found = (int32_t)id;
    }
    return found;
}

static finch_status write_text(const text_tokenizer *t, const piece_table *pieces, const json_form *form, size_t n_tokens,
                               rng *r, str *text, bool *whole, finch_error *err)
{
    static form_state state;
    piece_sets *sets;
    text_decoder decoder;
    FINCH_TRY(piece_sets_create(pieces, form, &sets, err));
    finch_status st = text_decoder_begin(&decoder, t, true, err);
    form_begin(form, &state);
    *whole = false;
    for (size_t i = 0; st == FINCH_OK && i < n_tokens && !*whole; i++) {
        const piece_set *set;
        st = piece_sets_find(sets, &state, &set, err);
        *whole = st == FINCH_OK && form_may_end(form, &state) && (set->n == 0 || rng_below(r, CLOSERS_EVERY) == 0);
        if (*whole) break;
        int32_t id = st == FINCH_OK ? draw(t, set, r) : -1;
        if (st == FINCH_OK && id < 0) st = finch_fail(err, FINCH_E_FAILED, "no piece may come, and the text may not end");
        if (st != FINCH_OK) break;
        piece_sets_take(sets, &state, id);
        st = text_decoder_add(&decoder, id, text, err);
        *whole = form_must_end(&state);
    }
    if (st == FINCH_OK) st = text_decoder_end(&decoder, text, err);
    text_decoder_free(&decoder);
    piece_sets_destroy(sets);
    return st;
}

static finch_status answer_form(const text_tokenizer *t, const piece_table *pieces, size_t n_tokens, rng *r,
                                finch_error *err)
{
    json_t *schema;
    json_form *form;
    str text = {0};
    bool whole;
    FINCH_TRY(json_parse(line, strlen(line), "schema", &schema, err));
    finch_status st = json_form_create(schema, "schema", &form, err);
    json_decref(schema);
    if (st != FINCH_OK) return st;
    st = write_text(t, pieces, form, n_tokens, r, &text, &whole, err);
    json_form_destroy(form);
    json_t *out = st == FINCH_OK ? json_pack("{s:b, s:s%}", "whole", (int)whole, "text", text.at, text.size) : NULL;
    if (st == FINCH_OK && out == NULL) st = finch_fail(err, FINCH_E_FAILED, "the answer is no UTF-8");
    if (out != NULL) json_dumpf(out, stdout, JSON_COMPACT);
    if (out != NULL) printf("\n");
    json_decref(out);
    str_free(&text);
    return st;
}

static finch_status run_form(char **argv, finch_error *err)
{
    text_tokenizer *t = NULL;
    piece_table *pieces = NULL;
    rng r = {.seed = strtoul(argv[3], NULL, 10)};
    size_t n_tokens = strtoul(argv[4], NULL, 10);
    finch_status st = model_tokenizer_open(argv[2], &t, err);
    if (st == FINCH_OK) st = piece_table_create(t, &pieces, err);
    while (st == FINCH_OK && fgets(line, sizeof line, stdin) != NULL) {
        finch_error why = {0};
        finch_status one = answer_form(t, pieces, n_tokens, &r, &why);
        json_t *out = one != FINCH_OK ? json_pack("{s:s, s:i}", "error", why.message, "status", (int)one) : NULL;
        if (out != NULL) json_dumpf(out, stdout, JSON_COMPACT);
        if (out != NULL) printf("\n");
        json_decref(out);
    }
    piece_table_destroy(pieces);
    text_tokenizer_close(t);
    return st;
}

int main(int argc, char **argv)
{
    finch_error err = {0};
    finch_status st = FINCH_E_USAGE;
    if (argc == 7 && strcmp(argv[1], "answer") == 0) st = run_answers(argv, &err);
    else if (argc == 5 && strcmp(argv[1], "filter") == 0) st = run_filter(argv, &err);
    else if (argc == 5 && strcmp(argv[1], "form") == 0) st = run_form(argv, &err);
    if (st != FINCH_OK) fprintf(stderr, "%s\n", err.message);
    return finch_status_exit_code(st);
}
