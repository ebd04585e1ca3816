/* The definition of attention, and what every variant needs of scratch. */
#include "tensor/kernels/scalar/scalar.h"

#include "tensor/kernels/constants.h"

#include <math.h>

static size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

/* Keys and values in panels, then the scores and sums of a block of queries. */
size_t kernel_attention_scratch(size_t n_tokens, size_t width)
{
    size_t keys = round_up(n_tokens, KERNEL_PANEL) * width;
    size_t values = round_up(width, KERNEL_PANEL) * n_tokens;
    size_t scores = ATTENTION_QUERIES * round_up(n_tokens, KERNEL_PANEL);
    return round_up(keys, 16) + round_up(values, 16) + scores;
}

static float row_dot(const float *a, const float *b, size_t n)
{
    float sum = 0.0f;
    for (size_t i = 0; i < n; i++) sum = fmaf(a[i], b[i], sum);
    return sum;
}

/* The softmax of scores [n] in place, not yet divided; returns what to multiply by. */
static float softmax_row(float *scores, size_t n)
{
    float lane[16] = {0};
    float most = scores[0];
    for (size_t j = 1; j < n; j++) most = scores[j] > most ? scores[j] : most;
    for (size_t j = 0; j < n; j++) {
        scores[j] = exp_scalar(scores[j] - most);
        lane[j % 16] += scores[j];
    }
    return 1.0f / lanes_sum(lane, 16);
}

void attention_scalar(const kernel_attention *p)
{
    float *scores = p->scratch;
    for (size_t i = 0; i < p->n_queries; i++) {
        for (size_t j = 0; j < p->n_tokens; j++) {
            scores[j] = row_dot(p->q + i * p->ldqkv, p->k + j * p->ldqkv, p->width);
            if (p->bias != NULL) scores[j] += p->bias[(ptrdiff_t)j - (ptrdiff_t)i];
        }
        float factor = softmax_row(scores, p->n_tokens);
        for (size_t d = 0; d < p->width; d++) {
            float sum = 0.0f;
            for (size_t j = 0; j < p->n_tokens; j++) sum = fmaf(scores[j], p->v[j * p->ldqkv + d], sum);
            p->out[i * p->ldout + d] = sum * factor;
        }
    }
}
