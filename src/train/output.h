/* The folder a training run makes. It appears whole, in one rename, when all is done; until then the run lives beside it:
 *
 *   NAME.training/  checkpoint, journal, kept weights: what --resume continues from
 *   NAME.part/      the model while it is being written; NAME.part-int8/ its int8 form
 *   NAME/           the model, complete
 */
#ifndef FINCH_TRAIN_OUTPUT_H
#define FINCH_TRAIN_OUTPUT_H

#include "base/json.h"
#include "base/str.h"
#include "model/trainable.h"
#include "train/ranks.h"

typedef struct output {
    str folder, work, part, part_int8;
} output;

/* Fills the names. Errors: FINCH_E_USAGE (an empty name), FINCH_E_MEMORY. */
finch_status output_plan(const char *folder, output *out, finch_error *err);
void output_free(output *o);

/* Whether the folder is there with something in it. */
bool output_exists(const output *o);

/* Before the work: the folder must not be there, and an unfinished run only where it is to be resumed, or begun anew.
 * Of several ranks (NULL: none) rank 0 does it, and the others wait for it. Errors: FINCH_E_USAGE naming the choices, FINCH_E_IO. */
finch_status output_claim(const output *o, ranks *together, bool resume, bool restart, finch_error *err);

/* Whether the folder is what a run described by `run` has made (its card's "hyperparameters" say so); then *card is a
 * new reference to its card. Errors: FINCH_E_USAGE where it is something else, FINCH_E_DATA, FINCH_E_MEMORY. */
finch_status output_finished(const output *o, const json_t *run, json_t **card, finch_error *err);

/* Writes the model t into the part, as int8 where asked; *written is the part that holds it (borrowed). */
finch_status output_write_model(const output *o, trainable *t, bool int8, const char **written, finch_error *err);

/* Adds card and journal to the written part, puts it in place, and removes the unfinished run. */
finch_status output_commit(const output *o, const char *written, const json_t *card, finch_error *err);

#endif
