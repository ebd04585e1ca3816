/* The training loop: order, schedule, optimiser, evaluation, early stopping, checkpoints. What is learnt is an objective
 * (classification in classify.h, masked language modelling in pretrain.h); the loop does not know which.
 *
 * Everything that decides the next step is a function of (seed, step) or lies in the checkpoint, so a run that is killed
 * at any moment and resumed ends in the same bits:
 *  1. The order of an epoch is a Philox permutation of (seed, epoch); dropout and masking are Philox of (seed, step).
 *  2. The checkpoint holds parameters, moments, averages and the state below; it is replaced in one rename.
 *  3. Files that a checkpoint names (kept weights) are written before it; events behind its length are cut off.
 * Left out: gradients. A checkpoint lies between two steps. */
#ifndef FINCH_TRAIN_LOOP_H
#define FINCH_TRAIN_LOOP_H

#include "base/progress.h"
#include "train/adamw.h"
#include "train/ranks.h"
#include "train/schedule.h"
#include "train/stopping.h"

#define LOOP_CHECKPOINT_FILE "checkpoint.finch"
#define LOOP_JOURNAL_FILE "metrics.jsonl"

/* n_examples  items are 0 .. n_examples - 1.
 * weight      the sum of the weights of the items' losses in that epoch: the loss of a step is the loss sum over it.
 * step        forward and backward: gradients are added, each loss times scale; step numbers the dropout masks.
 * evaluate    values [METRICS_COUNT], NaN where the objective has no such metric; *report is a new JSON object for the
 *             journal. In evaluation mode, on the validation examples.
 * The rest is called where several ranks train, and then each gives step its part of every batch:
 * n_tokens    of an item: ranks get parts of about as many.
 * behind      the items of the next step stand behind these n of the same batch.
 * touch       the ranks' steps will together use the items.
 * alone       from here on evaluate is called by this rank only. */
typedef struct loop_objective {
    void *context;
    size_t n_examples;
    finch_status (*weight)(void *context, const size_t *items, size_t n, uint64_t epoch, double *out, finch_error *err);
    finch_status (*step)(void *context, const size_t *items, size_t n, uint64_t epoch, double scale, uint64_t step,
                         double *loss_sum, finch_error *err);
    finch_status (*evaluate)(void *context, double *values, json_t **report, finch_error *err);
    size_t (*n_tokens)(void *context, size_t item);
    finch_status (*behind)(void *context, const size_t *items, size_t n, uint64_t epoch, finch_error *err);
    void (*touch)(void *context, const size_t *items, size_t n);
    void (*alone)(void *context);
} loop_objective;

/* folder       of the unfinished run: made where missing; holds the checkpoint, the journal and kept weights.
 * resume       continue from the folder's checkpoint where there is one.
 * run          what must be equal for a checkpoint to fit (options, hashes of data and model); borrowed.
 * batch        examples of one forward and backward; accumulate: such batches to one optimiser step.
 * max_steps    0: epochs decide.
 * eval_every   steps; 0: twice an epoch. checkpoint_every: steps; 0: with evaluations only. log_every: above 0.
 * sequential   examples in their order, every epoch.
 * ranks        the processes that train together: each step's batches are shared by them, only rank 0 writes, and the losses are
 *              those of one process but for rounding; NULL: this one alone. Borrowed.
 * keep         the metric that says which weights are best.
 * average      1: the best evaluation's weights; more: also the mean of that many best, taken where it is better.
 * ema          0: none; else the decay a step of a moving average of the weights, which is then what is evaluated
 *              and kept. It moves every LOOP_EMA_STEPS steps. */
typedef struct loop_options {
    const char *folder;
    bool resume;
    const json_t *run;
    uint64_t seed;
    size_t epochs, batch, accumulate, max_steps, eval_every, checkpoint_every, log_every;
    bool sequential;
    schedule_kind schedule;
    double learning_rate, warmup_ratio;
    adamw_options adamw;
    stopping_rule rule;
    metrics_id keep;
    size_t average;
    double ema;
    ranks *ranks;
} loop_options;

enum { LOOP_EMA_STEPS = 8, LOOP_TEXT_BYTES = 640 };

/* steps, epochs, examples: done. seconds: of training steps, over all resumed parts; evaluation_seconds the same.
 * best_step    of the weights in the trainable (of the best of them, where they are a mean).
 * n_averaged   evaluations whose mean the weights are; 1 where they are one evaluation's.
 * stop_reason  one sentence. */
typedef struct loop_result {
    uint64_t steps, examples, best_step;
    double epochs, seconds, evaluation_seconds;
    size_t n_averaged, n_evaluations;
    double value; /* of keep, of those weights */
    bool stopped_early, resumed;
    char stop_reason[LOOP_TEXT_BYTES];
} loop_result;

/* Trains. t then holds the chosen weights (on rank 0; the others leave when training ends), and the folder a checkpoint from which a repeated call only chooses again.
 * watch counts examples. Errors: FINCH_E_CANCELLED (watch said stop; a checkpoint was written), FINCH_E_USAGE (the
 * checkpoint is of other data or options), FINCH_E_FAILED (the loss is not finite), FINCH_E_IO, FINCH_E_MEMORY. */
finch_status loop_run(trainable *t, const loop_objective *objective, const loop_options *options, const progress *watch,
                      loop_result *out, finch_error *err);

#endif
