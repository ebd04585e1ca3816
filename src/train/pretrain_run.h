/* `finch pretrain` as a call: texts in, the folder of a masked language model out, from which finetune_run can start. */
#ifndef FINCH_TRAIN_PRETRAIN_RUN_H
#define FINCH_TRAIN_PRETRAIN_RUN_H

#include "train/finetune.h"
#include "train/pretrain.h"

/* model, output, bf16, bf16x3, resume, restart, *_dropout, about, say: as in finetune_options.
 * share     of the tokens that are to be guessed.
 * hold_out  share of the rows that are only measured on, drawn from the seed.
 * loop      folder, run, rule and keep are filled in here; rule: stopping_parse (log_loss, accuracy). */
typedef struct pretrain_options {
    const char *model, *output, *rule;
    size_t max_tokens, patience;
    bool bf16, bf16x3, resume, restart;
    double hidden_dropout, attention_dropout;
    double share, hold_out;
    loop_options loop;
    const json_t *about;
    finetune_say say;
    void *say_context;
} pretrain_options;

/* tables: texts to learn from; exclude: texts that are never learnt from (of validation and test sets).
 * Labels are not read. *card as in finetune_run. */
finch_status pretrain_run(const examples_table *tables, size_t n_tables, const examples_table *exclude, size_t n_exclude,
                          const pretrain_options *options, const progress *watch, json_t **card, finch_error *err);

#endif
