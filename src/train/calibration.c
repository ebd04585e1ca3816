#include "train/calibration.h"

#include <math.h>

/* 2^-48 of the interval: below what a printed temperature shows. */
enum { BISECTIONS = 48 };

typedef struct row_loss {
    double loss;  /* -log softmax(b * z)[truth] */
    double slope; /* its derivative by b: the mean logit under the softmax less the true one */
} row_loss;

static row_loss loss_at(const float *z, size_t n_classes, size_t truth, double b)
{
    double top = z[0], sum = 0.0, weighted = 0.0;
    for (size_t c = 1; c < n_classes; c++) top = fmax(top, (double)z[c]);
    for (size_t c = 0; c < n_classes; c++) {
        double e = exp(((double)z[c] - top) * b);
        sum += e;
        weighted += e * (double)z[c];
    }
    /* cppcheck-suppress invalidFunctionArg ; there are classes: the highest adds 1 to the sum */
    return (row_loss){log(sum) - ((double)z[truth] - top) * b, weighted / sum - (double)z[truth]};
}

static double slope_at(const int32_t *truth, const float *logits, size_t n, size_t n_classes, double b)
{
    double slope = 0.0;
    for (size_t r = 0; r < n; r++) slope += loss_at(logits + r * n_classes, n_classes, (size_t)truth[r], b).slope;
    return slope;
}

double calibration_loss(const int32_t *truth, const float *logits, size_t n, size_t n_classes, double temperature)
{
    double loss = 0.0;
    for (size_t r = 0; r < n; r++)
        loss += loss_at(logits + r * n_classes, n_classes, (size_t)truth[r], 1.0 / temperature).loss;
    return loss / (double)n;
}

finch_status calibration_fit(const int32_t *truth, const float *logits, size_t n, size_t n_classes, double *temperature,
                             finch_error *err)
{
    if (n == 0 || n_classes < 2)
        return finch_fail(err, FINCH_E_DATA, "a temperature needs validation rows and at least two classes");
    for (size_t r = 0; r < n; r++) {
        if (truth[r] < 0 || (size_t)truth[r] >= n_classes)
            return finch_fail_row(err, FINCH_E_DATA, r + 1, "row %zu has the class %d; there are %zu classes", r + 1,
                                  (int)truth[r], n_classes);
        for (size_t c = 0; c < n_classes; c++)
            if (!isfinite(logits[r * n_classes + c]))
                return finch_fail_row(err, FINCH_E_DATA, r + 1, "row %zu has a logit that is not finite", r + 1);
    }
    double low = log(CALIBRATION_TEMPERATURE_MIN), high = log(CALIBRATION_TEMPERATURE_MAX);
    for (int i = 0; i < BISECTIONS; i++) {
        double middle = (low + high) / 2.0;
        /* A positive slope by 1/T: the loss falls as T grows. */
        if (slope_at(truth, logits, n, n_classes, exp(-middle)) > 0.0) low = middle;
        else high = middle;
    }
    *temperature = exp((low + high) / 2.0);
    return FINCH_OK;
}
