/* finch bench train: fine-tuning steps as finch train makes them, tokenisation inside the clock, batch by batch. */
#include "base/clock.h"
#include "base/rng.h"
#include "cli/bench.h"
#include "data/table.h"
#include "model/trainable.h"
#include "train/adamw.h"

#include <string.h>

enum { WARM_UP_STEPS = 10, TRAIN_TOKENS = 64, CLASSES = 5, LABEL_BYTES = 64 };

static const char *const class_names[CLASSES] = {"STRONGLY_NEGATIVE", "NEGATIVE", "NEUTRAL", "POSITIVE",
                                                 "STRONGLY_POSITIVE"};

typedef struct train_work {
    data_columns *table;
    uint32_t *masks;   /* [rows] the row's class as a set of one */
    size_t *order;     /* [rows] */
    size_t n_rows, next;
    rng shuffle;
    trainable *model;
    adamw *optimiser;
    text_scratch *scratch;
    size_t batch, max_tokens;
    int32_t *ids;      /* [batch, max_tokens] */
    uint32_t *offsets; /* [batch + 1] */
    uint32_t *targets; /* [batch] */
    uint64_t step, n_tokens;
    double loss_sum;
} train_work;

/* ---- data ---- */

static finch_status label_mask(finch_text label, uint64_t row, uint32_t *out, finch_error *err)
{
    char name[LABEL_BYTES];
    size_t size = label.size_bytes < sizeof name ? label.size_bytes : sizeof name - 1;
    memcpy(name, label.at, size);
    name[size] = '\0';
    int id = model_label_class(name);
    if (id < 0)
        return finch_fail_row(err, FINCH_E_DATA, row, "row %llu has the label \"%s\", which is none of the five classes",
                              (unsigned long long)row, name);
    *out = 1u << id;
    return FINCH_OK;
}

static finch_status read_rows(train_work *w, const cli_args *args, finch_error *err)
{
    size_t n_inputs;
    data_source source = {.inputs = cli_list(args, "input", &n_inputs), .strict = true};
    source.n_inputs = n_inputs;
    const char *columns[] = {cli_text(args, "text-column"), cli_text(args, "label-column")};
    if (n_inputs == 0) return finch_fail(err, FINCH_E_USAGE, "--input F... is missing: the labelled texts to measure with");
    FINCH_TRY(data_columns_read(&source, columns, NULL, 2, &w->table, err));
    w->n_rows = data_columns_rows(w->table);
    if (w->n_rows < w->batch)
        return finch_fail(err, FINCH_E_DATA, "%s has %zu rows, fewer than a batch of %zu", source.inputs[0], w->n_rows,
                          w->batch);
    FINCH_TRY(mem_alloc(w->n_rows, sizeof *w->masks, (void **)&w->masks, err));
    FINCH_TRY(mem_alloc(w->n_rows, sizeof *w->order, (void **)&w->order, err));
    for (size_t i = 0; i < w->n_rows; i++) {
        FINCH_TRY(label_mask(data_columns_text(w->table, 1, i), data_columns_row_number(w->table, i), &w->masks[i], err));
        w->order[i] = i;
    }
    w->next = w->n_rows; /* the first step shuffles */
    return FINCH_OK;
}

/* ---- steps ---- */

static finch_status fill_batch(train_work *w, model_batch *out, finch_error *err)
{
    size_t n_tokens = 0;
    if (w->next + w->batch > w->n_rows) {
        rng_shuffle(&w->shuffle, w->order, w->n_rows);
        w->next = 0;
    }
    w->offsets[0] = 0;
    for (size_t i = 0; i < w->batch; i++) {
        size_t row = w->order[w->next++], n;
        FINCH_TRY(text_encode(trainable_tokenizer(w->model), data_columns_text(w->table, 0, row), w->max_tokens,
                              w->ids + n_tokens, &n, NULL, NULL, w->scratch, err));
        n_tokens += n;
        w->offsets[i + 1] = (uint32_t)n_tokens;
        w->targets[i] = w->masks[row];
    }
    *out = (model_batch){.ids = w->ids, .offsets = w->offsets, .n_texts = w->batch, .n_tokens = n_tokens};
    return FINCH_OK;
}

static finch_status one_step(train_work *w, double learning_rate, finch_error *err)
{
    model_batch batch;
    double loss;
    trainable_targets targets = {.mask = w->targets};
    FINCH_TRY(fill_batch(w, &batch, err));
    FINCH_TRY(trainable_step(w->model, &batch, &targets, 1.0 / (double)w->batch, w->step++, &loss, err));
    FINCH_TRY(adamw_step(w->optimiser, learning_rate, NULL, err));
    w->n_tokens += batch.n_tokens;
    w->loss_sum += loss;
    return FINCH_OK;
}

static finch_status steps(train_work *w, size_t n, progress *watch, finch_error *err)
{
    static const double peak_rate = 2e-5;
    for (size_t i = 0; i < n; i++) {
        FINCH_TRY(one_step(w, peak_rate * (double)(n - i) / (double)n, err));
        if (!progress_report(watch, i + 1, n, NULL)) return cli_cancelled_fail(err);
    }
    return FINCH_OK;
}

/* ---- the whole ---- */

static finch_status open_all(train_work *w, const cli_args *args, const char *folder, finch_error *err)
{
    trainable_options options = TRAINABLE_OPTIONS_DEFAULT;
    adamw_options optimiser = ADAMW_OPTIONS_DEFAULT;
    size_t n_ids;
    model_compute compute = bench_compute(args);
    if (compute == MODEL_INT8)
        return finch_fail(err, FINCH_E_USAGE, "--compute int8 trains nothing; use f32, bf16x3 or bf16");
    options.bf16 = compute == MODEL_BF16;
    options.bf16x3 = compute == MODEL_BF16X3;
    options.n_labels = CLASSES;
    options.labels = class_names;
    options.seed = 1;
    w->shuffle.seed = 1;
    w->batch = cli_size(args, "batch");
    FINCH_TRY(read_rows(w, args, err));
    FINCH_TRY(trainable_open(folder, &options, &w->model, err));
    size_t most = model_config_max_tokens(trainable_config(w->model));
    size_t asked = bench_max_tokens(args, TRAIN_TOKENS);
    w->max_tokens = asked < most ? asked : most;
    FINCH_TRY(adamw_create(w->model, &optimiser, &w->optimiser, err));
    FINCH_TRY(text_scratch_create(&w->scratch, err));
    if (!size_mul(w->batch, w->max_tokens, &n_ids))
        return finch_fail(err, FINCH_E_USAGE, "a batch of %zu texts is too large", w->batch);
    FINCH_TRY(mem_alloc(n_ids, sizeof *w->ids, (void **)&w->ids, err));
    FINCH_TRY(mem_alloc(w->batch + 1, sizeof *w->offsets, (void **)&w->offsets, err));
    return mem_alloc(w->batch, sizeof *w->targets, (void **)&w->targets, err);
}

static void close_all(train_work *w)
{
    text_scratch_destroy(w->scratch);
    adamw_destroy(w->optimiser);
    trainable_close(w->model);
    data_columns_free(w->table);
    mem_free(w->masks);
    mem_free(w->order);
    mem_free(w->ids);
    mem_free(w->offsets);
    mem_free(w->targets);
}

static finch_status measure(train_work *w, const cli_args *args, const char *folder, json_t **out, finch_error *err)
{
    size_t n = cli_size(args, "steps");
    cli_bar bar;
    cli_bar_begin(&bar, args, "training", "steps");
    progress watch = cli_bar_progress(&bar);
    finch_status st = steps(w, WARM_UP_STEPS, &watch, err);
    w->n_tokens = 0;
    w->loss_sum = 0;
    double begin = clock_seconds();
    if (st == FINCH_OK) st = steps(w, n, &watch, err);
    double seconds = clock_seconds() - begin;
    cli_bar_end(&bar);
    FINCH_TRY(st);
    double examples = (double)(n * w->batch);
    *out = json_pack("{s:s, s:f, s:f, s:f, s:I, s:I, s:I, s:f, s:I, s:s, s:I, s:s}", "what", "train", "examples_per_second",
                     examples / seconds, "tokens_per_second", (double)w->n_tokens / seconds, "seconds", seconds, "steps",
                     (json_int_t)n, "batch", (json_int_t)w->batch, "max_tokens", (json_int_t)w->max_tokens, "loss",
                     w->loss_sum / examples, "peak_rss_bytes", (json_int_t)cli_peak_rss_bytes(), "compute",
                     bench_compute(args) == MODEL_AUTO ? "f32" : model_compute_name(bench_compute(args)), "threads",
                     (json_int_t)cli_threads(args), "model", folder);
    return FINCH_OK;
}

finch_status bench_train(const cli_args *args, json_t **out, finch_error *err)
{
    str folder = {0};
    train_work w = {0};
    finch_status st = cli_model_folder(cli_text(args, "model"), &folder, err);
    if (st == FINCH_OK) st = open_all(&w, args, folder.at, err);
    if (st == FINCH_OK) st = measure(&w, args, folder.at, out, err);
    close_all(&w);
    str_free(&folder);
    return st;
}
