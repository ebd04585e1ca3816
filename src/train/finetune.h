/* `finch train` as a call: tables in, a model's folder out. */
#ifndef FINCH_TRAIN_FINETUNE_H
#define FINCH_TRAIN_FINETUNE_H

#include "train/classify.h"

/* One line for people about what was found or decided. May be NULL. */
typedef void (*finetune_say)(void *context, const char *line);

/* train, valid, exclude: tables as examples_table says; those of exclude need texts only. Texts of valid and exclude are
 * never learnt from: training rows with such a text are left out and counted. */
typedef struct finetune_tables {
    const examples_table *train;
    size_t n_train;
    const examples_table *valid;
    size_t n_valid;
    const examples_table *exclude;
    size_t n_exclude;
} finetune_tables;

/* model          folder to start from.
 * output         folder to make (output.h).
 * labels         [n_labels] the classes; n_labels 0: those of the folder, or finch's five where its head has none of them.
 * *_dropout      below 0: the config's.
 * class_weights  examples_weights_parse. rule: stopping_parse. keep: a metric's name, NULL for the rule's first.
 * teachers       [n_teachers] folders of models whose mean opinion is learnt besides the labels.
 * loop           folder, run, rule and keep are filled in here.
 * lora           adapters learn beside a frozen model, and the output is a folder of them; NULL: the model learns.
 * checkpoint_activations  of a Gemma that learns (trainable.h); adapters have theirs in lora.
 * about          JSON object for the card's "data" (files and their hashes), or NULL.
 * preset         JSON object for the card's "preset" (the recipe the options came from), or NULL. */
typedef struct finetune_options {
    const char *model, *output;
    const char *const *labels;
    size_t n_labels;
    size_t max_tokens, n_threads, patience;
    bool bf16, bf16x3, int8, resume, restart;
    double hidden_dropout, attention_dropout, classifier_dropout;
    const char *class_weights, *rule, *keep;
    const char *const *teachers;
    size_t n_teachers;
    classify_options classify;
    loop_options loop;
    const lora_options *lora;
    bool checkpoint_activations;
    const json_t *about, *preset;
    finetune_say say;
    void *say_context;
} finetune_options;

/* *card is a new reference to the model's card, as in its finch.json, and NULL on failure.
 * Errors: FINCH_E_USAGE, FINCH_E_DATA, FINCH_E_CANCELLED, and those of what it calls. */
finch_status finetune_run(const finetune_tables *tables, const finetune_options *options, const progress *watch,
                          json_t **card, finch_error *err);

#endif
