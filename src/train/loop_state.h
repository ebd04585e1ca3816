/* A run of the loop in memory, and its way to and from the checkpoint. For loop.c only. */
#ifndef FINCH_TRAIN_LOOP_STATE_H
#define FINCH_TRAIN_LOOP_STATE_H

#include "train/checkpoint.h"
#include "train/exchange.h"
#include "train/journal.h"
#include "train/kept.h"
#include "train/loop.h"

/* What the checkpoint's JSON holds besides the arrays. */
typedef struct loop_place {
    uint64_t step;        /* optimiser steps done; epoch and position in it follow */
    double log_loss_sum, log_weight; /* since the last line of the journal */
    double train_seconds, evaluation_seconds;
    double last_value;    /* of keep, at the last evaluation; NaN before */
    stopping_state stopping;
    kept kept;
} loop_place;

typedef struct loop {
    trainable *trained;
    const loop_objective *objective;
    const loop_options *options;
    trainable_parameter *parameters; /* of trained */
    size_t n_parameters;
    adamw *optimiser;
    exchange exchange;        /* where several ranks train */
    bool stop_wanted, stop_agreed; /* by this rank; by any, told to all */
    float **ema;              /* [n_parameters], NULL without */
    checkpoint_array *arrays; /* all that the checkpoint holds */
    size_t n_arrays;
    char **ema_names;
    size_t *order; /* [n_examples], of order_epoch */
    uint64_t order_epoch;
    uint64_t steps_per_epoch, total_steps, eval_every;
    schedule schedule;
    journal journal;
    str checkpoint_path;
    bool saved; /* the checkpoint is of the present step */
    bool resumed;
    loop_place at;
} loop;

/* Everything up to the first step, from the checkpoint where one is to be resumed. close takes a zeroed or half-open loop. */
finch_status loop_open(trainable *trained, const loop_objective *objective, const loop_options *options, loop *out,
                       finch_error *err);
void loop_close(loop *l);

/* Whether this process writes: it is alone, or rank 0. */
bool loop_leads(const loop *l);
/* Writes the checkpoint of the present step, where the process leads. */
finch_status loop_save(loop *l, finch_error *err);

/* The moving average takes in the present weights. */
void loop_ema_update(loop *l);
/* Exchanges the weights and their moving average; twice is as before. Nothing without one. */
void loop_ema_swap(loop *l);

#endif
