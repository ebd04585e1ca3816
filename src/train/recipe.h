/* What makes one training run the same as another, as JSON: the options' values, and hashes of data and starting weights.
 * A checkpoint is continued only by a run with an equal recipe; the model's card shows it as "hyperparameters". */
#ifndef FINCH_TRAIN_RECIPE_H
#define FINCH_TRAIN_RECIPE_H

#include "train/examples.h"
#include "train/loop.h"

/* Adds what adapters are made by, and the hash of what is frozen; nothing where lora is NULL. Errors: FINCH_E_MEMORY. */
finch_status recipe_add_lora(json_t *recipe, const lora_options *lora, const trainable *t, finch_error *err);
/* Adds the loop's options, the hashes of train and valid, and of t's present weights. recipe is a JSON object.
 * rule is the text of the stopping rule. Errors: FINCH_E_MEMORY. */
finch_status recipe_add(json_t *recipe, const loop_options *o, const char *rule, const examples *train,
                        const examples *valid, trainable *t, finch_error *err);

/* A dropout as asked for, or where that is below 0 the configured one, as the decimal that was written in its config. */
double recipe_dropout(double asked, float configured);

/* Counts of what the examples were made of, for the card; NULL where memory is out. */
json_t *recipe_counts(const examples *e);

/* How the training went, for the card; NULL where memory is out. */
json_t *recipe_result(const loop_result *result, metrics_id keep);

/* The fields that every card begins with, base's own card included where the folder has one. *out is a new reference. */
finch_status recipe_card(const char *task, const char *base_folder, const json_t *recipe, json_t **out, finch_error *err);

#endif
