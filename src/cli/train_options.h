/* What train and pretrain have in common: options of the loop, and the bar. */
#ifndef FINCH_CLI_TRAIN_OPTIONS_H
#define FINCH_CLI_TRAIN_OPTIONS_H

#include "cli/cli.h"
#include "train/loop.h"
#include "train/pretrain_run.h"

#define TRAIN_OPTIONS_LOOP(epochs, rate, patience)                                                                           \
    {"epochs", "N", CLI_SIZE, epochs, "times over the training rows", false, 1, 100000},                                     \
        {"max-steps", "N", CLI_SIZE, NULL, "stop after this many optimiser steps at the latest", false, 1, 1e12},            \
        {"batch", "N", CLI_SIZE, "16", "texts of one forward and backward pass", false, 1, 65536},                           \
        {"accumulate", "N", CLI_SIZE, "1", "batches whose gradients make one optimiser step", false, 1, 65536},              \
        {"learning-rate", "R", CLI_REAL, rate, "the rate after warm-up", false, 1e-9, 1},                                    \
        {"warmup", "SHARE", CLI_REAL, "0.1", "share of the steps in which the rate rises", false, 0, 0.99},                  \
        {"schedule", "linear|cosine|constant", CLI_CHOICE, "linear", "how the rate falls after warm-up", false, 0, 0},       \
        {"weight-decay", "R", CLI_REAL, "0.01", "decoupled decay of weights (none on biases and norms)", false, 0, 1},       \
        {"clip", "NORM", CLI_REAL, "1", "largest norm of the gradients; 0 is no limit", false, 0, 1e9},                      \
        {"dropout", "P", CLI_REAL, NULL, "probability of every dropout (default: the model's own)", false, 0, 0.95},         \
        {"bf16", NULL, CLI_FLAG, NULL, "products in bf16, with f32 master weights", false, 0, 0},                            \
        {"bf16x3", NULL, CLI_FLAG, NULL, "f32 products as three of bf16, faster where the CPU has AMX", false, 0, 0},        \
        {"max-tokens", "N", CLI_SIZE, "128", "longer texts are cut", false, 2, 65536},                                       \
        {"eval-every", "STEPS", CLI_SIZE, NULL, "steps between evaluations (default: twice an epoch)", false, 1, 1e12},      \
        {"patience", "N", CLI_SIZE, patience, "evaluations without progress before it stops; 0 never stops", false, 0, 1e6}, \
        {"average", "K", CLI_SIZE, "1", "also try the mean of the K best evaluations' weights", false, 1, 16},               \
        {"ema", "DECAY", CLI_REAL, NULL, "evaluate and keep a moving average of the weights, as 0.999", false, 0, 0.999999}, \
        {"order", "shuffled|sequential", CLI_CHOICE, "shuffled", "order of the rows in each epoch", false, 0, 0},            \
        {"seed", "N", CLI_SIZE, "1", "decides order, dropout, and the weights of a new head", false, 0, 9e15},               \
        {"checkpoint-every", "STEPS", CLI_SIZE, "250", "steps between checkpoints (evaluations write one)", false, 1, 1e12}, \
        {"log-every", "STEPS", CLI_SIZE, "20", "steps between lines of metrics.jsonl", false, 1, 1e12},                      \
        {"resume", NULL, CLI_FLAG, NULL, "go on from the checkpoint of an interrupted run, to the same bits", false, 0, 0},  \
    {                                                                                                                        \
        "restart", NULL, CLI_FLAG, NULL, "throw an interrupted run of this output away", false, 0, 0                         \
    }

/* All but folder, run, rule and keep, which the library fills in. */
loop_options train_options_loop(const cli_args *args, ranks *together);
/* --dropout, or -1 for the model's own. */
double train_options_dropout(const cli_args *args);
/* What every pre-training takes from the options; share and hold_out are the names of those two. Model, output and rule are the caller's. */
pretrain_options train_options_pretrain(const cli_args *args, ranks *together, const char *share, const char *hold_out);

/* Options that exclude each other. Errors: FINCH_E_USAGE. */
finch_status train_options_check(const cli_args *args, finch_error *err);
/* With --json the model's card, its output and the memory used, as the one document. Takes the reference to card. */
finch_status train_print_card(const cli_args *args, json_t *card, finch_error *err);

/* Says line on stderr; context is the cli_args. */
void train_say(void *context, const char *line);

/* A bar that begins anew where the counted work does (a teacher's reading, then training). */
typedef struct train_bar {
    cli_bar bar;
    const cli_args *args;
    uint64_t last_done;
} train_bar;

void train_bar_begin(train_bar *bar, const cli_args *args);
progress train_bar_progress(train_bar *bar);
void train_bar_end(train_bar *bar);

#endif
