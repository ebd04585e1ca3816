/* Temperature scaling: one number T, fitted on validation rows, that divides the logits before the softmax so that
 * a probability of 0.8 is right eight times in ten. It changes no predicted class.
 * Source: Guo et al., "On calibration of modern neural networks", ICML 2017. */
#ifndef FINCH_TRAIN_CALIBRATION_H
#define FINCH_TRAIN_CALIBRATION_H

#include "base/status.h"

/* The fit stays within these; rows that are all right (or all wrong) have their optimum at a bound. */
#define CALIBRATION_TEMPERATURE_MIN 0.05
#define CALIBRATION_TEMPERATURE_MAX 20.0

/* The T that minimises the mean negative log-likelihood of truth [n] under softmax(logits [n, n_classes] / T).
 * The loss is convex in 1/T, so its derivative has one sign change, found by bisection in log T.
 * Errors: FINCH_E_DATA (no rows, a class outside, a logit that is not finite). */
finch_status calibration_fit(const int32_t *truth, const float *logits, size_t n, size_t n_classes, double *temperature,
                             finch_error *err);

/* Mean negative log-likelihood at temperature. */
double calibration_loss(const int32_t *truth, const float *logits, size_t n, size_t n_classes, double temperature);

#endif
