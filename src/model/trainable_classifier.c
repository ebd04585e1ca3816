/* The classification head (BERT: pooler, tanh, dropout, linear; MPNet: dropout before its dense layer too) and the loss
 * over sets of classes, label smoothing and a teacher's probabilities. The head is small: f32 in every mode, the loss in
 * double. Source of distillation: arXiv:1503.02531. */
#include "model/trainable_internal.h"

#include "tensor/gemm.h"

#include <math.h>
#include <string.h>

enum { BITS_A_WORD = 16 };

static void drop_rows(float *x, size_t n_rows, size_t width, const uint16_t *keep, float scale)
{
    size_t words = (width + BITS_A_WORD - 1) / BITS_A_WORD;
    if (keep == NULL) return;
    for (size_t i = 0; i < n_rows; i++)
        for (size_t c = 0; c < width; c++) {
            bool kept = (keep[i * words + c / BITS_A_WORD] >> (c % BITS_A_WORD) & 1) != 0;
            x[i * width + c] = kept ? x[i * width + c] * scale : 0.0f;
        }
}

static void add_bias(float *x, size_t n_rows, size_t width, const float *bias)
{
    for (size_t i = 0; i < n_rows; i++)
        for (size_t c = 0; c < width; c++) x[i * width + c] += bias[c];
}

/* The part of the pooler's adapter, added to what the pooler gives. */
static finch_status adapt_pooler(trainable *t, const step_pass *p, classifier_pass *c, finch_error *err)
{
    const lora_dropout d = {t->seed, p->step, t->config.n_layers, ADAPTER_POOLER, t->before.selected};
    size_t hidden = t->config.hidden_size, n = p->n_selected;
    FINCH_TRY(ARENA_NEW(&t->scratch, &c->kept.low, n * t->setup.rank, err));
    if (p->training) FINCH_TRY(lora_draw_words(&t->setup, &d, n, hidden, &t->scratch, &c->kept, err));
    return lora_forward(&t->setup, &t->pooler, &c->kept, n, c->features, p->lora_room, c->tanh, hidden, err);
}

finch_status classifier_forward(trainable *t, const step_pass *p, const float *y, classifier_pass *c, finch_error *err)
{
    size_t hidden = t->config.hidden_size, n = p->n_selected, items = n * hidden;
    size_t words = (hidden + BITS_A_WORD - 1) / BITS_A_WORD, first = t->before.selected * words;
    float scale = plan_keep_scale(t->classifier_dropout);
    *c = (classifier_pass){0};
    if (t->config.arch == MODEL_MPNET)
        FINCH_TRY(plan_dropout(t, p, SITE_HEAD_IN, 0, first, n * words, t->classifier_dropout, &c->keep_in, err));
    FINCH_TRY(plan_dropout(t, p, SITE_HEAD, 0, first, n * words, t->classifier_dropout, &c->keep, err));
    FINCH_TRY(ARENA_NEW(&t->scratch, &c->features, items, err));
    FINCH_TRY(ARENA_NEW(&t->scratch, &c->tanh, items, err));
    FINCH_TRY(ARENA_NEW(&t->scratch, &c->pooled, items, err));
    FINCH_TRY(ARENA_NEW(&t->scratch, &c->logits, n * t->config.n_labels, err));
    memcpy(c->features, y, items * sizeof *y);
    drop_rows(c->features, n, hidden, c->keep_in, scale);
    FINCH_TRY(
        gemm_f32(false, true, n, hidden, hidden, c->features, hidden, t->hidden_head.w, hidden, 0.0f, c->tanh, hidden, err));
    if (t->pooler.used) FINCH_TRY(adapt_pooler(t, p, c, err));
    add_bias(c->tanh, n, hidden, t->hidden_head.b);
    for (size_t i = 0; i < items; i++) c->tanh[i] = tanhf(c->tanh[i]);
    memcpy(c->pooled, c->tanh, items * sizeof *c->tanh);
    drop_rows(c->pooled, n, hidden, c->keep, scale);
    FINCH_TRY(gemm_f32(false, true, n, t->config.n_labels, hidden, c->pooled, hidden, t->output_head.w, hidden, 0.0f,
                       c->logits, t->config.n_labels, err));
    add_bias(c->logits, n, t->config.n_labels, t->output_head.b);
    return FINCH_OK;
}

/* From dlogits [n, n_labels], the head's gradients and dy [n, hidden]. */
static finch_status classifier_backward(trainable *t, const step_pass *p, const classifier_pass *c, const float *dlogits,
                                        float *dy, finch_error *err)
{
    size_t hidden = t->config.hidden_size, labels = t->config.n_labels, n = p->n_selected;
    float scale = plan_keep_scale(t->classifier_dropout), beta = step_beta(t);
    float *dpooled;
    FINCH_TRY(ARENA_NEW(&t->scratch, &dpooled, n * hidden, err));
    FINCH_TRY(
        gemm_f32(true, false, labels, hidden, n, dlogits, labels, c->pooled, hidden, beta, t->output_head.dw, hidden, err));
    t->ops->column_sum(dlogits, n, labels, labels, t->output_head.db);
    FINCH_TRY(
        gemm_f32(false, false, n, hidden, labels, dlogits, labels, t->output_head.w, hidden, 0.0f, dpooled, hidden, err));
    drop_rows(dpooled, n, hidden, c->keep, scale);
    for (size_t i = 0; i < n * hidden; i++) dpooled[i] *= 1.0f - c->tanh[i] * c->tanh[i];
    if (t->hidden_head.dw != NULL) {
        FINCH_TRY(gemm_f32(true, false, hidden, hidden, n, dpooled, hidden, c->features, hidden, beta, t->hidden_head.dw,
                           hidden, err));
        t->ops->column_sum(dpooled, n, hidden, hidden, t->hidden_head.db);
    }
    FINCH_TRY(gemm_f32(false, false, n, hidden, hidden, dpooled, hidden, t->hidden_head.w, hidden, 0.0f, dy, hidden, err));
    if (t->pooler.used)
        FINCH_TRY(lora_backward(&t->setup, &t->pooler, &c->kept,
                                &(lora_back){n, c->features, dpooled, hidden, p->lora_low, p->lora_room, p->lora_more, dy},
                                err));
    drop_rows(dy, n, hidden, c->keep_in, scale);
    return FINCH_OK;
}

/* ---- the loss -------------------------------------------------------------------------------------------------- */

/* log_p = log softmax(logits / temperature). */
static void log_softmax(const float *logits, size_t n, double temperature, double *log_p)
{
    double top = (double)logits[0], sum = 0.0;
    for (size_t c = 1; c < n; c++) top = (double)logits[c] > top ? (double)logits[c] : top;
    for (size_t c = 0; c < n; c++) sum += exp(((double)logits[c] - top) / temperature);
    for (size_t c = 0; c < n; c++) log_p[c] = ((double)logits[c] - top) / temperature - log(sum);
}

/* -log of the set's summed probability and label smoothing; grad [n] is written. */
static double hard_loss(const double *log_p, size_t n, uint32_t mask, double smoothing, double *grad)
{
    double top = -INFINITY, sum = 0.0, mean = 0.0;
    for (size_t c = 0; c < n; c++) {
        if ((mask >> c & 1) != 0 && log_p[c] > top) top = log_p[c];
        mean -= log_p[c] / (double)n;
    }
    for (size_t c = 0; c < n; c++)
        if ((mask >> c & 1) != 0) sum += exp(log_p[c] - top);
    double log_set = top + log(sum);
    for (size_t c = 0; c < n; c++) {
        double p = exp(log_p[c]), own = (mask >> c & 1) != 0 ? exp(log_p[c] - log_set) : 0.0;
        grad[c] = (1.0 - smoothing) * (p - own) + smoothing * (p - 1.0 / (double)n);
    }
    return -(1.0 - smoothing) * log_set + smoothing * mean;
}

/* T^2 KL(soft || softmax(logits / T)), times share; added to grad. */
static double soft_loss(const float *logits, const float *soft, size_t n, double share, double temperature, double *grad)
{
    double log_p[TRAINABLE_CLASSES_MAX], loss = 0.0, whole = 0.0;
    log_softmax(logits, n, temperature, log_p);
    for (size_t c = 0; c < n; c++) {
        double q = (double)soft[c];
        whole += q;
        if (q > 0.0) loss += q * (log(q) - log_p[c]);
    }
    for (size_t c = 0; c < n; c++) grad[c] += share * temperature * (whole * exp(log_p[c]) - (double)soft[c]);
    return share * temperature * temperature * loss;
}

static double text_loss(const float *logits, size_t n, const trainable_targets *targets, size_t text, double scale,
                        float *dlogits)
{
    double log_p[TRAINABLE_CLASSES_MAX], grad[TRAINABLE_CLASSES_MAX];
    double weight = targets->weight == NULL ? 1.0 : (double)targets->weight[text];
    const float *soft = targets->soft == NULL ? NULL : targets->soft + text * n;
    double share = soft == NULL ? 0.0 : (double)targets->soft_share;
    log_softmax(logits, n, 1.0, log_p);
    double loss = (1.0 - share) * hard_loss(log_p, n, targets->mask[text], (double)targets->label_smoothing, grad);
    for (size_t c = 0; c < n; c++) grad[c] *= 1.0 - share;
    if (soft != NULL && share > 0.0) loss += soft_loss(logits, soft, n, share, (double)targets->soft_temperature, grad);
    for (size_t c = 0; c < n; c++) dlogits[c] = (float)(grad[c] * weight * scale);
    return weight * loss;
}

double classifier_losses(const trainable *t, const float *logits, size_t n, const trainable_targets *targets, double scale,
                         float *dlogits)
{
    size_t labels = t->config.n_labels;
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) sum += text_loss(logits + i * labels, labels, targets, i, scale, dlogits + i * labels);
    return sum;
}

finch_status classifier_targets_check(const trainable *t, const model_batch *b, const trainable_targets *targets,
                                      finch_error *err)
{
    size_t n = t->config.n_labels;
    uint32_t all = n == 32 ? UINT32_MAX : (UINT32_C(1) << n) - 1;
    if (targets->mask == NULL) return finch_fail(err, FINCH_E_USAGE, "a training batch has no targets");
    if (!(targets->label_smoothing >= 0.0f && targets->label_smoothing < 1.0f))
        return finch_fail(err, FINCH_E_USAGE, "label smoothing is %g; it must be at least 0 and below 1",
                          (double)targets->label_smoothing);
    if (targets->soft != NULL &&
        !(targets->soft_share >= 0.0f && targets->soft_share <= 1.0f && targets->soft_temperature > 0.0f))
        return finch_fail(err, FINCH_E_USAGE, "a teacher's share is %g at temperature %g; they must be in 0..1 and above 0",
                          (double)targets->soft_share, (double)targets->soft_temperature);
    for (size_t i = 0; i < b->n_texts; i++) {
        if (targets->mask[i] == 0 || (targets->mask[i] & ~all) != 0)
            return finch_fail(err, FINCH_E_USAGE, "text %zu of the batch allows the classes 0x%x; the model has %zu", i + 1,
                              (unsigned)targets->mask[i], n);
        if (targets->weight != NULL && !(targets->weight[i] >= 0.0f && isfinite(targets->weight[i])))
            return finch_fail(err, FINCH_E_USAGE, "text %zu of the batch has weight %g", i + 1, (double)targets->weight[i]);
    }
    return FINCH_OK;
}

finch_status classifier_step(trainable *t, step_pass *p, const trainable_targets *targets, double scale, double *loss_sum,
                             finch_error *err)
{
    const float *y = p->layers[t->config.n_layers - 1].y2.f;
    size_t n = p->n_selected, labels = t->config.n_labels;
    classifier_pass c;
    float *dlogits, *dy;
    FINCH_TRY(classifier_forward(t, p, y, &c, err));
    FINCH_TRY(ARENA_NEW(&t->scratch, &dlogits, n * labels, err));
    FINCH_TRY(ARENA_NEW(&t->scratch, &dy, plan_room(t, n) * t->config.hidden_size, err));
    *loss_sum += classifier_losses(t, c.logits, n, targets, scale, dlogits);
    FINCH_TRY(classifier_backward(t, p, &c, dlogits, dy, err));
    if (!t->adapts) gradients_final(t, 0);
    return backward_run(t, p, dy, err);
}
