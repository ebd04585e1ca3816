/* finch bench: the project's own measurements, for bench/ to set beside peers. */
#include "cli/bench.h"

#include "base/clock.h"
#include "model/tokenizer_file.h"

#include <stdlib.h>
#include <string.h>

enum { RUNS_MAX = 1000, SINGLE_TEXTS = 400, TOKENS_MAX = 1 << 16, SCORE_TOKENS = 128 };

/* ---- shared ---- */

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_median(double *items, size_t n)
{
    qsort(items, n, sizeof *items, compare_doubles);
    return n % 2 == 1 ? items[n / 2] : (items[n / 2 - 1] + items[n / 2]) / 2;
}

size_t bench_max_tokens(const cli_args *args, size_t preset)
{
    return cli_given(args, "max-tokens") ? cli_size(args, "max-tokens") : preset;
}

model_compute bench_compute(const cli_args *args)
{
    model_compute compute = MODEL_AUTO;
    (void)model_compute_find(cli_text(args, "compute"), &compute); /* the table's words are the engine's */
    return compute;
}

static finch_status read_texts(const cli_args *args, size_t limit, text_list *out, finch_error *err)
{
    size_t n_inputs;
    const char *const *inputs = cli_list(args, "input", &n_inputs);
    if (n_inputs == 0) return finch_fail(err, FINCH_E_USAGE, "--input F... is missing: the texts to measure with");
    return text_list_read(inputs, n_inputs, cli_text(args, "text-column"), limit, out, err);
}

/* One pass over the same work. */
typedef finch_status (*pass_fn)(void *work, finch_error *err);

/* The median seconds of --runs passes behind a warm-up one. */
static finch_status time_passes(const cli_args *args, pass_fn pass, void *work, double *median, finch_error *err)
{
    double seconds[RUNS_MAX];
    size_t runs = cli_size(args, "runs");
    FINCH_TRY(pass(work, err));
    for (size_t i = 0; i < runs; i++) {
        if (cli_cancelled()) return cli_cancelled_fail(err);
        double begin = clock_seconds();
        FINCH_TRY(pass(work, err));
        seconds[i] = clock_seconds() - begin;
    }
    *median = bench_median(seconds, runs);
    return FINCH_OK;
}

/* ---- score ---- */

typedef struct score_work {
    text_list texts;
    model *model;
    model_scorer *scorer;
    size_t max_tokens;
    float *logits;
    model_text_info *info;
} score_work;

static finch_status score_pass(void *context, finch_error *err)
{
    score_work *w = context;
    return model_score_texts(w->scorer, w->texts.at, w->texts.n, w->max_tokens, w->logits, w->info, err);
}

static finch_status score_open(score_work *w, const cli_args *args, const char *folder, finch_error *err)
{
    w->max_tokens = bench_max_tokens(args, SCORE_TOKENS);
    FINCH_TRY(read_texts(args, cli_size(args, "rows"), &w->texts, err));
    FINCH_TRY(model_open(folder, bench_compute(args), &w->model, err));
    FINCH_TRY(model_scorer_create(w->model, cli_threads(args), &w->scorer, err));
    size_t n_logits;
    if (!size_mul(w->texts.n, model_get_config(w->model)->n_labels, &n_logits))
        return finch_fail(err, FINCH_E_MEMORY, "%zu rows are too many", w->texts.n);
    FINCH_TRY(mem_alloc(n_logits, sizeof *w->logits, (void **)&w->logits, err));
    return mem_alloc(w->texts.n, sizeof *w->info, (void **)&w->info, err);
}

static void score_close(score_work *w)
{
    model_scorer_destroy(w->scorer);
    model_close(w->model);
    text_list_free(&w->texts);
    mem_free(w->logits);
    mem_free(w->info);
}

/* The median milliseconds of one text alone, over the first ones; each was scored before by the passes. */
static finch_status score_single(score_work *w, double *p50_ms, finch_error *err)
{
    double seconds[SINGLE_TEXTS] = {0};
    size_t n = w->texts.n < SINGLE_TEXTS ? w->texts.n : SINGLE_TEXTS;
    for (int round = 0; round < 2; round++) { /* the first one warms up */
        for (size_t i = 0; i < n; i++) {
            double begin = clock_seconds();
            FINCH_TRY(model_score_texts(w->scorer, &w->texts.at[i], 1, w->max_tokens, w->logits, w->info, err));
            seconds[i] = clock_seconds() - begin;
        }
    }
    *p50_ms = bench_median(seconds, n) * 1e3;
    return FINCH_OK;
}

static finch_status score_measure(score_work *w, const cli_args *args, const char *folder, json_t **out, finch_error *err)
{
    double seconds = 0, p50_ms = 0;
    uint64_t tokens = 0;
    FINCH_TRY(time_passes(args, score_pass, w, &seconds, err));
    for (size_t i = 0; i < w->texts.n; i++) tokens += w->info[i].n_tokens;
    uint64_t peak = cli_peak_rss_bytes();
    FINCH_TRY(score_single(w, &p50_ms, err));
    *out = json_pack("{s:s, s:f, s:f, s:f, s:I, s:I, s:I, s:f, s:s, s:I, s:I, s:I, s:s}", "what", "score",
                     "texts_per_second", (double)w->texts.n / seconds, "tokens_per_second", (double)tokens / seconds,
                     "seconds", seconds, "rows", (json_int_t)w->texts.n, "tokens", (json_int_t)tokens, "peak_rss_bytes",
                     (json_int_t)peak, "p50_ms_one", p50_ms, "compute", model_compute_name(model_get_compute(w->model)),
                     "threads", (json_int_t)cli_threads(args), "runs", (json_int_t)cli_size(args, "runs"), "max_tokens",
                     (json_int_t)w->max_tokens, "model", folder);
    return FINCH_OK;
}

finch_status bench_score(const cli_args *args, json_t **out, finch_error *err)
{
    str folder = {0};
    score_work w = {0};
    finch_status st = cli_model_folder(cli_text(args, "model"), &folder, err);
    if (st == FINCH_OK) st = score_open(&w, args, folder.at, err);
    if (st == FINCH_OK) st = score_measure(&w, args, folder.at, out, err);
    score_close(&w);
    str_free(&folder);
    return st;
}

/* ---- tokenize ---- */

typedef struct tokenize_work {
    text_list texts;
    text_tokenizer *tokenizer;
    text_scratch *scratch;
    int32_t *ids;
    size_t max_tokens;
    uint64_t n_tokens; /* of the last pass */
} tokenize_work;

static finch_status tokenize_pass(void *context, finch_error *err)
{
    tokenize_work *w = context;
    w->n_tokens = 0;
    text_scratch_destroy(w->scratch); /* a pass remembers nothing of the one before */
    w->scratch = NULL;
    FINCH_TRY(text_scratch_create(&w->scratch, err));
    for (size_t i = 0; i < w->texts.n; i++) {
        size_t n;
        FINCH_TRY(text_encode(w->tokenizer, w->texts.at[i], w->max_tokens, w->ids, &n, NULL, NULL, w->scratch, err));
        w->n_tokens += n;
    }
    return FINCH_OK;
}

static finch_status tokenize_measure(tokenize_work *w, const cli_args *args, const char *folder, json_t **out,
                                     finch_error *err)
{
    double seconds = 0;
    w->max_tokens = bench_max_tokens(args, SCORE_TOKENS);
    /* All rows unless told otherwise: a tokenizer needs many texts to be measured. */
    FINCH_TRY(read_texts(args, cli_given(args, "rows") ? cli_size(args, "rows") : 0, &w->texts, err));
    FINCH_TRY(model_tokenizer_open(folder, &w->tokenizer, err));
    FINCH_TRY(mem_alloc(w->max_tokens, sizeof *w->ids, (void **)&w->ids, err));
    FINCH_TRY(time_passes(args, tokenize_pass, w, &seconds, err));
    *out = json_pack("{s:s, s:f, s:f, s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:s}", "what", "tokenize", "texts_per_second",
                     (double)w->texts.n / seconds, "tokens_per_second", (double)w->n_tokens / seconds, "seconds", seconds,
                     "rows", (json_int_t)w->texts.n, "tokens", (json_int_t)w->n_tokens, "peak_rss_bytes",
                     (json_int_t)cli_peak_rss_bytes(), "threads", (json_int_t)1, "runs", (json_int_t)cli_size(args, "runs"),
                     "max_tokens", (json_int_t)w->max_tokens, "model", folder);
    return FINCH_OK;
}

finch_status bench_tokenize(const cli_args *args, json_t **out, finch_error *err)
{
    str folder = {0};
    tokenize_work w = {0};
    finch_status st = cli_model_folder(cli_text(args, "model"), &folder, err);
    if (st == FINCH_OK) st = tokenize_measure(&w, args, folder.at, out, err);
    text_scratch_destroy(w.scratch);
    text_tokenizer_close(w.tokenizer);
    text_list_free(&w.texts);
    mem_free(w.ids);
    str_free(&folder);
    return st;
}

/* ---- the command ---- */

typedef struct bench_work {
    const char *name;
    finch_status (*run)(const cli_args *args, json_t **out, finch_error *err);
} bench_work;

static const bench_work works[] = {{"score", bench_score},
                                   {"train", bench_train},
                                   {"tokenize", bench_tokenize},
                                   {"gemm", bench_gemm},
                                   {"prompt", bench_prompt}};

/* For people: the top level's figures, a line each. */
static void say_document(const cli_args *args, const json_t *document)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)document, key, value)
    {
        if (json_is_string(value)) cli_say(args, "  %-20s %s\n", key, json_string_value(value));
        else if (json_is_integer(value)) cli_say(args, "  %-20s %lld\n", key, (long long)json_integer_value(value));
        else if (json_is_real(value)) cli_say(args, "  %-20s %.6g\n", key, json_real_value(value));
    }
}

static void say_products(const cli_args *args, const json_t *document)
{
    size_t i;
    json_t *p;
    json_array_foreach(json_object_get(document, "products"), i, p)
    {
        cli_say(args, "  %-5s %5lld x %5lld x %5lld %10.1f G op/s %5.1f %% of the peak\n",
                json_string_value(json_object_get(p, "compute")), (long long)json_integer_value(json_object_get(p, "m")),
                (long long)json_integer_value(json_object_get(p, "n")),
                (long long)json_integer_value(json_object_get(p, "k")), json_real_value(json_object_get(p, "gops")),
                100 * json_real_value(json_object_get(p, "share_of_peak")));
    }
}

static finch_status run(const cli_args *args, finch_error *err)
{
    size_t n;
    const char *what = cli_operands(args, &n)[0];
    json_t *document = NULL;
    for (size_t i = 0; i < sizeof works / sizeof works[0]; i++)
        if (strcmp(works[i].name, what) == 0) FINCH_TRY(works[i].run(args, &document, err));
    if (document == NULL) return finch_fail(err, FINCH_E_MEMORY, "out of memory for the figures of the bench");
    say_document(args, document);
    say_products(args, document);
    if (cli_wants_json(args)) return cli_print_json(document, err);
    json_decref(document);
    return FINCH_OK;
}

static const cli_option options[] = {
    CLI_OPTION_MODEL,
    {"input", "F...", CLI_LIST, NULL, "tables with texts: for score, tokenize and train", false, 0, 0},
    {"text-column", "NAME", CLI_TEXT, "body", CLI_TEXT_COLUMN, false, 0, 0},
    {"label-column", "NAME", CLI_TEXT, "label", "train: the column with the label", false, 0, 0},
    {"rows", "N", CLI_SIZE, "4000", "rows from the top of the input (tokenize: all unless written; train: all)", false, 1,
     1e9},
    {"compute", "auto|f32|bf16x3|bf16|int8", CLI_CHOICE, "auto", "type of the products (train: f32, bf16x3 or bf16)", false,
     0, 0},
    {"max-tokens", "N", CLI_SIZE, NULL, "cut longer texts (default: 128; train: 64); prompt: its length (default: 512)",
     false, 2, TOKENS_MAX},
    {"runs", "N", CLI_SIZE, "5", "passes after the warm-up one; the median counts", false, 1, RUNS_MAX},
    {"batch", "N", CLI_SIZE, "16", "train: examples a step", false, 1, 4096},
    {"steps", "N", CLI_SIZE, "40", "train: steps to measure, behind 10 to warm up; prompt: tokens one by one", false, 1,
     1e6},
    {0},
};

const cli_command cli_command_bench = {
    .name = "bench",
    .group = CLI_GROUP_LOOK,
    .summary = "how fast this machine scores, trains, tokenises, multiplies, reads prompts",
    .about =
        "Measures inside the process, after a warm-up pass over the same work, with the texts in memory and "
        "tokenisation inside the "
        "clock. score: bulk texts/s and the median of one text alone. train: examples/s of fine-tuning with AdamW. "
        "tokenize: "
        "WordPiece on one thread. gemm: products at the models' shapes beside the peak of this CPU, measured in the "
        "same run. prompt: a Gemma reads --max-tokens random tokens, then goes on for --steps one by one, with the whole "
        "vocabulary's logits behind the prompt and each step.\n"
        "Times alone say little on a shared machine: bench/ sets them beside other programs, in turns.",
    .example = "finch bench score --input tweets.parquet --rows 4000 --json\n"
               "finch bench train --model build/models/minilm --input data/fintweets5/train.csv --text-column text\n"
               "finch bench gemm\n"
               "finch bench prompt --model gemma-3-270m-q8_0.gguf --max-tokens 512",
    .operands = "WHAT",
    .operands_min = 1,
    .operands_max = 1,
    .operand_words = "score|train|tokenize|gemm|prompt",
    .options = options,
    .texts_of = "input",
    .many_barriers = true,
    .run = run,
};
