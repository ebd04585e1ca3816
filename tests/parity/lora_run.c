/* Trains adapters over token ids, for tests that hold it against PEFT:
 *     parity_lora_run MODEL STEPS RATE TARGETS CHECKPOINTED OUT [bf16|f32 [DROPOUT]] <texts >losses
 * TARGETS of "whole": no adapters, all weights of the model learn.
 * Each line of the input is a label and a text's ids; each step takes the next 8. OUT/start and OUT/end are what was saved before
 * and after. With no steps, OUT/gradients.safetensors has the gradients of the first 8 texts' mean loss. Prints each step's mean loss, then the trained model's logits of all texts. */
#include "base/file.h"
#include "tensor/safetensors.h"
#include "train/adamw.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOKENS_MAX = 1 << 16, TEXTS_MAX = 4096, BATCH = 8 };

typedef struct run {
    trainable *t;
    int32_t ids[TOKENS_MAX];
    uint32_t offsets[TEXTS_MAX + 1], masks[TEXTS_MAX];
    size_t n_texts, n_tokens;
} run;

static void read_texts(run *r)
{
    char line[1 << 16];
    while (r->n_texts < TEXTS_MAX && fgets(line, sizeof line, stdin) != NULL) {
        char *at, *end;
        r->masks[r->n_texts] = 1u << strtol(line, &at, 10);
        for (long id = strtol(at, &end, 10); end != at && r->n_tokens < TOKENS_MAX; id = strtol(at, &end, 10)) {
            r->ids[r->n_tokens++] = (int32_t)id;
            at = end;
        }
        r->offsets[++r->n_texts] = (uint32_t)r->n_tokens;
    }
}

/* Texts [first, first + n) with offsets of their own. */
static model_batch part(const run *r, size_t first, size_t n, uint32_t *offsets)
{
    for (size_t i = 0; i <= n; i++) offsets[i] = r->offsets[first + i] - r->offsets[first];
    return (model_batch){r->ids + r->offsets[first], offsets, n, offsets[n]};
}

static finch_status save(const run *r, const char *folder, const char *name, finch_error *err)
{
    str path = {0};
    finch_status st = file_join(folder, name, &path, err);
    if (st == FINCH_OK) st = trainable_save(r->t, path.at, err);
    str_free(&path);
    return st;
}

static finch_status train(run *r, size_t n_steps, double rate, finch_error *err)
{
    adamw *optimiser;
    adamw_options options = ADAMW_OPTIONS_DEFAULT;
    finch_status st = adamw_create(r->t, &options, &optimiser, err);
    for (size_t step = 0; st == FINCH_OK && step < n_steps; step++) {
        uint32_t offsets[BATCH + 1];
        size_t first = step * BATCH % (r->n_texts - BATCH + 1);
        model_batch b = part(r, first, BATCH, offsets);
        trainable_targets targets = {.mask = r->masks + first};
        double loss;
        st = trainable_step(r->t, &b, &targets, 1.0 / BATCH, step, &loss, err);
        if (st == FINCH_OK) st = adamw_step(optimiser, rate, NULL, err);
        if (st == FINCH_OK) printf("%.9g\n", loss / BATCH);
    }
    adamw_destroy(optimiser);
    return st;
}

static finch_status save_gradients(run *r, const char *folder, finch_error *err)
{
    uint32_t offsets[BATCH + 1];
    model_batch b = part(r, 0, BATCH, offsets);
    trainable_targets targets = {.mask = r->masks};
    trainable_parameter *parameters;
    double loss;
    str path = {0};
    safetensors_entry *entries = NULL;
    finch_status st = trainable_step(r->t, &b, &targets, 1.0 / BATCH, 0, &loss, err);
    size_t n = trainable_parameters(r->t, &parameters);
    if (st == FINCH_OK) st = MEM_NEW(&entries, n, err);
    for (size_t i = 0; st == FINCH_OK && i < n; i++)
        entries[i] = (safetensors_entry){.name = parameters[i].name,
                                         .dtype = TENSOR_F32,
                                         .n_dims = 2,
                                         .dims = {parameters[i].rows, parameters[i].cols},
                                         .data = parameters[i].grad};
    if (st == FINCH_OK) st = file_join(folder, "gradients.safetensors", &path, err);
    if (st == FINCH_OK) st = safetensors_write(path.at, entries, n, err);
    str_free(&path);
    mem_free(entries);
    return st;
}

static finch_status print_logits(run *r, finch_error *err)
{
    float logits[TRAINABLE_CLASSES_MAX];
    for (size_t i = 0; i < r->n_texts; i++) {
        uint32_t offsets[2];
        model_batch b = part(r, i, 1, offsets);
        FINCH_TRY(trainable_logits(r->t, &b, logits, err));
        for (size_t c = 0; c < trainable_n_classes(r->t); c++)
            printf("%.9g%c", (double)logits[c], c + 1 < trainable_n_classes(r->t) ? ' ' : '\n');
    }
    return FINCH_OK;
}

int main(int argc, char **argv)
{
    static run r;
    static const char *const labels[] = {"STRONGLY_NEGATIVE", "NEGATIVE", "NEUTRAL", "POSITIVE", "STRONGLY_POSITIVE"};
    finch_error err = {0};
    if (argc < 7 || argc > 9) return 2;
    lora_options lora = LORA_OPTIONS_DEFAULT;
    lora.targets = argv[4];
    lora.dropout = argc > 8 ? strtod(argv[8], NULL) : 0.0;
    lora.bf16 = argc > 7 && strcmp(argv[7], "bf16") == 0;
    lora.checkpoint_activations = strcmp(argv[5], "1") == 0;
    trainable_options options = TRAINABLE_OPTIONS_DEFAULT;
    bool whole = strcmp(argv[4], "whole") == 0;
    if (!whole) options.lora = &lora;
    options.bf16 = whole && lora.bf16;
    options.checkpoint_activations = whole && lora.checkpoint_activations;
    options.hidden_dropout = options.attention_dropout = options.classifier_dropout = lora.dropout;
    options.labels = labels;
    options.n_labels = 5;
    options.seed = 7;
    read_texts(&r);
    finch_status st = trainable_open(argv[1], &options, &r.t, &err);
    if (st == FINCH_OK) st = save(&r, argv[6], "start", &err);
    size_t n_steps = (size_t)strtoul(argv[2], NULL, 10);
    if (st == FINCH_OK && n_steps == 0) st = save_gradients(&r, argv[6], &err);
    if (st == FINCH_OK) st = train(&r, n_steps, strtod(argv[3], NULL), &err);
    if (st == FINCH_OK) st = save(&r, argv[6], "end", &err);
    if (st == FINCH_OK) st = print_logits(&r, &err);
    if (st != FINCH_OK) fprintf(stderr, "%s\n", err.message);
    trainable_close(r.t);
    return finch_status_exit_code(st);
}
