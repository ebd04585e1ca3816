/* A linear layer in training: one product over weights that learn, or, where they do not, a product a matrix of the file with the
 * adapter's part beside it. */
#include "model/trainable_internal.h"

matrix dense_weight(const dense *d, size_t first_row)
{
    /* A product only reads its inputs; matrix has one form for inputs and outputs. */
    uint16_t *w16 = d->w16 == NULL ? NULL : (uint16_t *)(uintptr_t)(d->w16 + first_row * d->in);
    return (matrix){d->w + first_row * d->in, w16};
}

/* Outputs of one part. */
static size_t part_rows(const dense *d) { return d->out / d->n_parts; }

/* ---- forward --------------------------------------------------------------------------------------------------- */

static finch_status frozen_forward(const trainable *t, const step_pass *p, layer_pass *l, const dense_use *u, float *y,
                                   size_t ldy, finch_error *err)
{
    for (size_t i = 0; i < u->n; i++) {
        const frozen_part *part = &u->d->frozen[u->first + i];
        float *to = y + i * part_rows(u->d);
        frozen_product(&p->products, &part->weight, u->x.f, u->n_rows, to, ldy);
        if (part->pair.used)
            FINCH_TRY(lora_forward(&t->setup, &part->pair, &l->kept[u->d->site + u->first + i], u->n_rows, u->x.f,
                                   p->lora_room, to, ldy, err));
    }
    return FINCH_OK;
}

finch_status dense_forward(const trainable *t, const step_pass *p, layer_pass *l, const dense_use *u, float *y, size_t ldy,
                           finch_error *err)
{
    size_t out = part_rows(u->d), in = u->d->in;
    if (u->d->frozen != NULL) return frozen_forward(t, p, l, u, y, ldy, err);
    return step_product(t, false, true, plan_room(t, u->n_rows), u->n * out, in, u->x, in,
                        dense_weight(u->d, u->first * out), in, 0.0f, y, ldy, err);
}

/* ---- backward -------------------------------------------------------------------------------------------------- */

static finch_status frozen_backward(const trainable *t, const step_pass *p, const layer_pass *l, const dense_use *u,
                                    const float *dy, size_t ld_dy, float beta, float *dx, finch_error *err)
{
    for (size_t i = 0; i < u->n; i++) {
        const frozen_part *part = &u->d->frozen[u->first + i];
        const float *from = dy + i * part_rows(u->d);
        if (dx != NULL) frozen_product_back(&p->products, &part->weight, from, ld_dy, u->n_rows, i > 0 || beta != 0.0f, dx);
        if (part->pair.used)
            FINCH_TRY(lora_backward(
                &t->setup, &part->pair, &l->kept[u->d->site + u->first + i],
                &(lora_back){u->n_rows, u->x.f, from, ld_dy, p->lora_low, p->lora_room, p->lora_more, dx}, err));
    }
    return FINCH_OK;
}

finch_status dense_backward(const trainable *t, const step_pass *p, const layer_pass *l, const dense_use *u, matrix dy,
                            size_t ld_dy, float beta, float *dx, finch_error *err)
{
    size_t out = part_rows(u->d), in = u->d->in, room = plan_room(t, u->n_rows), first = u->first * out;
    if (u->d->frozen != NULL) return frozen_backward(t, p, l, u, dy.f, ld_dy, beta, dx, err);
    FINCH_TRY(step_product(t, true, false, u->n * out, in, room, dy, ld_dy, u->x, in, step_beta(t), u->d->dw + first * in,
                           in, err));
    if (dx == NULL) return FINCH_OK;
    return step_product(t, false, false, room, in, u->n * out, dy, ld_dy, dense_weight(u->d, first), in, beta, dx, in, err);
}
