#include "train/exchange.h"

#include "base/mem.h"
#include "train/hash.h"

#include <string.h>

static finch_status begin_block(exchange *e, size_t block, finch_error *err)
{
    size_t n;
    float *grads = trainable_gradient_block(e->trained, block, &n);
    FINCH_TRY(ranks_sum_begin(e->ranks, grads, n, err));
    e->n_begun++;
    return FINCH_OK;
}

static void on_final(void *context, size_t block)
{
    exchange *e = context;
    if (e->armed && e->status == FINCH_OK) e->status = begin_block(e, block, &e->error);
}

void exchange_open(ranks *r, trainable *t, exchange *out)
{
    *out = (exchange){.ranks = r, .trained = t};
    trainable_on_final(t, on_final, out);
}

void exchange_close(exchange *e)
{
    if (e->trained != NULL) trainable_on_final(e->trained, NULL, NULL);
    mem_free(e->rows);
    *e = (exchange){0};
}

void exchange_arm(exchange *e) { e->armed = true; }

/* The parameter whose rows travel one by one; NULL where there is none. */
static const trainable_parameter *sparse_parameter(trainable *t)
{
    trainable_parameter *parameters;
    size_t n = trainable_parameters(t, &parameters);
    for (size_t i = 0; i < n; i++)
        if (parameters[i].sparse_rows) return &parameters[i];
    return NULL;
}

static finch_status begin_rows(exchange *e, const trainable_parameter *p, const uint32_t *rows, size_t n_rows,
                               finch_error *err)
{
    size_t n = n_rows * p->cols;
    if (n > e->rows_room) {
        FINCH_TRY(mem_grow((void **)&e->rows, 0, n, sizeof *e->rows, err));
        e->rows_room = n;
    }
    for (size_t i = 0; i < n_rows; i++)
        memcpy(e->rows + i * p->cols, p->grad + (size_t)rows[i] * p->cols, p->cols * sizeof *p->grad);
    return ranks_sum_begin(e->ranks, e->rows, n, err);
}

finch_status exchange_finish(exchange *e, double *also, size_t n, finch_error *err)
{
    const uint32_t *rows = NULL;
    const trainable_parameter *sparse = sparse_parameter(e->trained); /* and gradients that no step wrote are zero now */
    size_t n_rows = sparse != NULL ? trainable_touched_rows(e->trained, &rows) : 0;
    finch_status st = e->status;
    if (st != FINCH_OK && err != NULL) *err = e->error;
    while (st == FINCH_OK && e->n_begun < trainable_gradient_blocks(e->trained)) st = begin_block(e, e->n_begun, err);
    if (st == FINCH_OK && n_rows > 0) st = begin_rows(e, sparse, rows, n_rows, err);
    if (st == FINCH_OK) st = ranks_wait(e->ranks, err);
    /* Only after the gradients: a rank that dies while others read its memory leaves them sums that are none, and MPI says nothing.
     * Who takes part in this sum has lived to the end of the ones before. */
    if (st == FINCH_OK) st = ranks_sum(e->ranks, also, n, err);
    for (size_t i = 0; st == FINCH_OK && i < n_rows; i++)
        memcpy(sparse->grad + (size_t)rows[i] * sparse->cols, e->rows + i * sparse->cols,
               sparse->cols * sizeof *sparse->grad);
    e->armed = false;
    e->n_begun = 0;
    e->status = FINCH_OK;
    return st;
}

finch_status exchange_check_values(exchange *e, finch_error *err)
{
    trainable_parameter *parameters;
    size_t n = trainable_parameters(e->trained, &parameters);
    uint64_t h = HASH_BEGIN;
    for (size_t i = 0; i < n; i++)
        h = hash_add(h, parameters[i].value, parameters[i].rows * parameters[i].cols * sizeof(float));
    /* Parts of 20 bits are exact as doubles, and so are their sums: n times one's own where all are alike, and their squares. */
    double own[6], all[6];
    for (size_t i = 0; i < 3; i++) {
        own[2 * i] = (double)(h >> (20 * i) & 0xFFFFF);
        own[2 * i + 1] = own[2 * i] * own[2 * i];
    }
    memcpy(all, own, sizeof all);
    FINCH_TRY(ranks_sum(e->ranks, all, 6, err));
    for (size_t i = 0; i < 6; i++)
        if (all[i] != own[i] * (double)e->ranks->n)
            return finch_fail(err, FINCH_E_FAILED,
                              "the ranks have come to different weights; are all of the same build of finch?");
    return FINCH_OK;
}
