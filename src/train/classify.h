/* Learning to classify: the loop's objective for texts with classes (or sets of classes, or a teacher's opinion). */
#ifndef FINCH_TRAIN_CLASSIFY_H
#define FINCH_TRAIN_CLASSIFY_H

#include "train/examples.h"
#include "train/loop.h"

/* soft_share, soft_temperature: of a teacher's loss (trainable_targets); used where the examples have soft labels. */
typedef struct classify_options {
    double label_smoothing;
    double soft_share, soft_temperature;
} classify_options;

/* logits, probabilities, truth, measured: of the validation examples at the last evaluation. */
typedef struct classify {
    trainable *trained;
    const examples *train, *valid;
    const examples_classes *classes;
    classify_options options;
    ranks *ranks; /* that evaluate together; NULL: this one alone */
    arena scratch;
    float *logits;
    double *probabilities;
    int32_t *truth;
    metrics measured;
} classify;

/* All are borrowed and must outlive it. Errors: FINCH_E_DATA where a validation row has a set of classes, FINCH_E_MEMORY. */
finch_status classify_open(trainable *trained, const examples *train, const examples *valid, const examples_classes *classes,
                           const classify_options *options, ranks *together, classify *out, finch_error *err);
void classify_close(classify *c);

loop_objective classify_objective(classify *c);

/* Gives e soft labels: the mean of the probabilities of the teachers in folders [n_folders] at temperature, over the
 * classes by name. The same teachers and texts give the same bits on any number of threads.
 * Errors: FINCH_E_DATA where a teacher lacks a class; those of model_open and model_score_texts. */
finch_status classify_teach(const char *const *folders, size_t n_folders, const examples_classes *classes,
                            double temperature, size_t max_tokens, size_t n_threads, const progress *watch, examples *e,
                            finch_error *err);

#endif
