/* AdamW over a trainable's parameters. Dense parameters are cut into fixed parts, spread over threads; the sparse one is
 * handled row by row. Invariants of the lazy rows:
 *  1. row_step[r] is the number of steps row r has seen; past[] holds the constants of steps [past_first, steps).
 *  2. past_first <= row_step[r] <= steps for every row.
 *  3. A row that a step touches is up to date before the step: the forward pass asked for it (on_rows). */
#include "train/adamw.h"

#include "base/mem.h"
#include "tensor/train_ops.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    ADAMW_PART = 1 << 15, /* items one thread takes at a time */
    ADAMW_PAST_FIRST = 4096,
    ADAMW_NAME_BYTES = 112,
    ADAMW_ROWS = 64       /* rows one thread settles at a time */
};

typedef struct part {
    size_t parameter, first, n;
} part;

/* A row behind, and the step it stands at. */
typedef struct late_row {
    uint32_t row;
    uint64_t step;
} late_row;

struct adamw {
    trainable *t;
    const train_ops *ops;
    adamw_options options;
    int64_t steps;
    size_t n_parameters;
    const trainable_parameter *parameters; /* the trainable's list: its pointers do not move */
    float **m, **v; /* [n_parameters] */
    size_t n_parts;
    part *parts;
    double *sums; /* [n_parts], then [rows of the sparse parameter] */
    size_t sparse; /* index, or n_parameters where there is none */
    size_t n_rows, n_cols;
    uint64_t *row_step;
    late_row *late; /* room for every row */
    train_adamw_past *past;
    size_t n_past, past_room;
    uint64_t past_first;
    adamw_array *arrays;
    char (*names)[ADAMW_NAME_BYTES];
};

/* ---- lazy rows ------------------------------------------------------------------------------------------------- */

static train_adamw constants(const adamw *a)
{
    const adamw_options *o = &a->options;
    return (train_adamw){.clip = 1.0f,
                         .one_minus_beta1 = (float)(1.0 - o->beta1),
                         .beta2 = (float)o->beta2,
                         .one_minus_beta2 = (float)(1.0 - o->beta2),
                         .epsilon = (float)o->epsilon};
}

static void replay_row(const adamw *a, const train_adamw *c, late_row late)
{
    const trainable_parameter *p = &a->parameters[a->sparse];
    size_t at = (size_t)late.row * a->n_cols, seen = (size_t)(late.step - a->past_first);
    a->ops->adamw_replay(c, a->past + seen, a->n_past - seen, p->value + at, a->m[a->sparse] + at, a->v[a->sparse] + at,
                         a->n_cols);
}

static void replay_late(adamw *a, size_t n_late)
{
    train_adamw c = constants(a);
    size_t n_blocks = (n_late + ADAMW_ROWS - 1) / ADAMW_ROWS;
#pragma omp parallel for schedule(dynamic, 1)
    for (size_t block = 0; block < n_blocks; block++) {
        size_t end = (block + 1) * ADAMW_ROWS < n_late ? (block + 1) * ADAMW_ROWS : n_late;
        for (size_t i = block * ADAMW_ROWS; i < end; i++) replay_row(a, &c, a->late[i]);
    }
}

static size_t note_late(adamw *a, size_t row, size_t n_late)
{
    if (a->row_step[row] == (uint64_t)a->steps) return n_late;
    a->late[n_late] = (late_row){(uint32_t)row, a->row_step[row]};
    a->row_step[row] = (uint64_t)a->steps;
    return n_late + 1;
}

static void on_rows(void *context, const int32_t *rows, size_t n)
{
    adamw *a = context;
    size_t n_late = 0;
    for (size_t i = 0; i < n; i++) n_late = note_late(a, (size_t)rows[i], n_late);
    replay_late(a, n_late);
}

void adamw_settle(adamw *a)
{
    size_t n_late = 0;
    if (a->sparse == a->n_parameters) return;
    for (size_t row = 0; row < a->n_rows; row++) n_late = note_late(a, row, n_late);
    replay_late(a, n_late);
    a->n_past = 0;
    a->past_first = (uint64_t)a->steps;
}

/* ---- creation -------------------------------------------------------------------------------------------------- */

static finch_status check_options(const adamw_options *o, finch_error *err)
{
    bool betas = o->beta1 >= 0.0 && o->beta1 < 1.0 && o->beta2 >= 0.0 && o->beta2 < 1.0;
    bool rest = o->epsilon > 0.0 && o->weight_decay >= 0.0 && o->max_grad_norm >= 0.0 && isfinite(o->epsilon) &&
                isfinite(o->weight_decay) && isfinite(o->max_grad_norm);
    if (betas && rest) return FINCH_OK;
    return finch_fail(
        err, FINCH_E_USAGE,
        "AdamW with betas %g and %g, epsilon %g, weight decay %g, gradient norm %g: betas are in [0, 1), epsilon above 0, "
        "the others at least 0",
        o->beta1, o->beta2, o->epsilon, o->weight_decay, o->max_grad_norm);
}

static finch_status make_parts(adamw *a, finch_error *err)
{
    const trainable_parameter *parameters = a->parameters;
    for (size_t i = 0; i < a->n_parameters; i++)
        if (i != a->sparse) a->n_parts += (parameters[i].rows * parameters[i].cols + ADAMW_PART - 1) / ADAMW_PART;
    FINCH_TRY(MEM_NEW(&a->parts, a->n_parts, err));
    FINCH_TRY(MEM_NEW(&a->sums, a->n_parts + a->n_rows, err));
    size_t n = 0;
    for (size_t i = 0; i < a->n_parameters; i++) {
        size_t items = parameters[i].rows * parameters[i].cols;
        for (size_t first = 0; i != a->sparse && first < items; first += ADAMW_PART)
            a->parts[n++] = (part){i, first, items - first < ADAMW_PART ? items - first : ADAMW_PART};
    }
    return FINCH_OK;
}

/* Of the lazy rows only those that a step has used take memory. */
static finch_status take_moment(const adamw *a, size_t parameter, size_t items, float **out, finch_error *err)
{
    if (parameter == a->sparse) return mem_alloc_sparse(items, sizeof **out, (void **)out, err);
    return MEM_NEW(out, items, err);
}

static finch_status make_moments(adamw *a, finch_error *err)
{
    const trainable_parameter *parameters = a->parameters;
    FINCH_TRY(MEM_NEW(&a->m, a->n_parameters, err));
    FINCH_TRY(MEM_NEW(&a->v, a->n_parameters, err));
    FINCH_TRY(MEM_NEW(&a->arrays, 2 * a->n_parameters + 1, err));
    FINCH_TRY(MEM_NEW(&a->names, 2 * a->n_parameters, err));
    a->arrays[0] = (adamw_array){"step", &a->steps, TENSOR_I64, 1};
    for (size_t i = 0; i < a->n_parameters; i++) {
        size_t items = parameters[i].rows * parameters[i].cols;
        FINCH_TRY(take_moment(a, i, items, &a->m[i], err));
        FINCH_TRY(take_moment(a, i, items, &a->v[i], err));
        snprintf(a->names[2 * i], ADAMW_NAME_BYTES, "%s.m", parameters[i].name);
        snprintf(a->names[2 * i + 1], ADAMW_NAME_BYTES, "%s.v", parameters[i].name);
        a->arrays[2 * i + 1] = (adamw_array){a->names[2 * i], a->m[i], TENSOR_F32, items};
        a->arrays[2 * i + 2] = (adamw_array){a->names[2 * i + 1], a->v[i], TENSOR_F32, items};
    }
    return FINCH_OK;
}

static finch_status make_rows(adamw *a, finch_error *err)
{
    const trainable_parameter *parameters = a->parameters;
    a->sparse = a->n_parameters;
    for (size_t i = 0; i < a->n_parameters; i++)
        if (parameters[i].sparse_rows) a->sparse = i;
    if (a->sparse == a->n_parameters) return FINCH_OK;
    a->n_rows = parameters[a->sparse].rows;
    a->n_cols = parameters[a->sparse].cols;
    FINCH_TRY(MEM_NEW(&a->row_step, a->n_rows, err));
    FINCH_TRY(MEM_NEW(&a->late, a->n_rows, err));
    a->past_room = ADAMW_PAST_FIRST;
    return MEM_NEW(&a->past, a->past_room, err);
}

finch_status adamw_create(trainable *t, const adamw_options *options, adamw **out, finch_error *err)
{
    finch_status st = FINCH_OK;
    adamw *a = NULL;
    trainable_parameter *parameters;
    *out = NULL;
    FINCH_TRY(check_options(options, err));
    FINCH_TRY(MEM_NEW(&a, 1, err));
    a->t = t;
    a->ops = train_ops_get();
    a->options = *options;
    a->n_parameters = trainable_parameters(t, &parameters);
    a->parameters = parameters;
    FINCH_GO(done, st, make_rows(a, err));
    FINCH_GO(done, st, make_parts(a, err));
    FINCH_GO(done, st, make_moments(a, err));
    if (a->sparse < a->n_parameters) trainable_before_rows(t, on_rows, a);
    *out = a;
done:
    if (st != FINCH_OK) {
        a->t = NULL;
        adamw_destroy(a);
    }
    return st;
}

void adamw_destroy(adamw *a)
{
    if (a == NULL) return;
    if (a->t != NULL) trainable_before_rows(a->t, NULL, NULL);
    for (size_t i = 0; a->m != NULL && i < a->n_parameters; i++) mem_free(a->m[i]);
    for (size_t i = 0; a->v != NULL && i < a->n_parameters; i++) mem_free(a->v[i]);
    mem_free(a->m);
    mem_free(a->v);
    mem_free(a->parts);
    mem_free(a->sums);
    mem_free(a->row_step);
    mem_free(a->late);
    mem_free(a->past);
    mem_free(a->arrays);
    mem_free(a->names);
    mem_free(a);
}

/* ---- a step ---------------------------------------------------------------------------------------------------- */

static double gradient_norm(const adamw *a, const trainable_parameter *parameters, const uint32_t *rows, size_t n_rows)
{
    double total = 0.0;
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < a->n_parts; i++)
        a->sums[i] = a->ops->square_sum(parameters[a->parts[i].parameter].grad + a->parts[i].first, a->parts[i].n);
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < n_rows; i++)
        a->sums[a->n_parts + i] = a->ops->square_sum(parameters[a->sparse].grad + (size_t)rows[i] * a->n_cols, a->n_cols);
    for (size_t i = 0; i < a->n_parts + n_rows; i++) total += a->sums[i];
    return sqrt(total);
}

static finch_status past_reserve(adamw *a, finch_error *err)
{
    if (a->sparse == a->n_parameters || a->n_past < a->past_room) return FINCH_OK;
    FINCH_TRY(mem_grow((void **)&a->past, a->n_past * sizeof *a->past, 2 * a->past_room, sizeof *a->past, err));
    a->past_room *= 2;
    return FINCH_OK;
}

static void update(adamw *a, const trainable_parameter *parameters, const train_adamw *decaying, const uint32_t *rows,
                   size_t n_rows)
{
    train_adamw plain = *decaying;
    plain.decay = 1.0f;
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < a->n_parts; i++) {
        const part *s = &a->parts[i];
        const trainable_parameter *p = &parameters[s->parameter];
        a->ops->adamw(p->decay ? decaying : &plain, p->value + s->first, p->grad + s->first, a->m[s->parameter] + s->first,
                      a->v[s->parameter] + s->first, s->n);
    }
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < n_rows; i++) {
        const trainable_parameter *p = &parameters[a->sparse];
        size_t at = (size_t)rows[i] * a->n_cols;
        a->ops->adamw(decaying, p->value + at, p->grad + at, a->m[a->sparse] + at, a->v[a->sparse] + at, a->n_cols);
        a->row_step[rows[i]] = (uint64_t)a->steps + 1;
    }
}

finch_status adamw_step(adamw *a, double learning_rate, double *grad_norm, finch_error *err)
{
    trainable_parameter *parameters;
    const uint32_t *rows = NULL;
    const adamw_options *o = &a->options;
    FINCH_TRY(past_reserve(a, err));
    (void)trainable_parameters(a->t, &parameters); /* clears gradients that no step wrote */
    size_t n_rows = a->sparse == a->n_parameters ? 0 : trainable_touched_rows(a->t, &rows);
    double norm = gradient_norm(a, parameters, rows, n_rows);
    if (grad_norm != NULL) *grad_norm = norm;
    if (!isfinite(norm)) {
        trainable_zero_gradients(a->t);
        return finch_fail(err, FINCH_E_FAILED, "the gradients of step %lld are not finite; lower the learning rate",
                          (long long)a->steps + 1);
    }
    double n = (double)(a->steps + 1);
    train_adamw c = constants(a);
    double clip = o->max_grad_norm > 0.0 ? o->max_grad_norm / (norm + 1e-6) : 1.0;
    c.clip = clip < 1.0 ? (float)clip : 1.0f;
    c.decay = (float)(1.0 - learning_rate * o->weight_decay);
    c.step_size = (float)(learning_rate / (1.0 - pow(o->beta1, n)));
    c.correction = (float)(1.0 / sqrt(1.0 - pow(o->beta2, n)));
    update(a, parameters, &c, rows, n_rows);
    if (a->sparse < a->n_parameters) a->past[a->n_past++] = (train_adamw_past){c.decay, c.step_size, c.correction};
    a->steps++;
    trainable_values_changed(a->t);
    trainable_zero_gradients(a->t);
    return FINCH_OK;
}

uint64_t adamw_steps(const adamw *a) { return (uint64_t)a->steps; }

/* ---- checkpoints ----------------------------------------------------------------------------------------------- */

size_t adamw_state_arrays(adamw *a, adamw_array **out)
{
    *out = a->arrays;
    return 2 * a->n_parameters + 1;
}

finch_status adamw_restored(adamw *a, finch_error *err)
{
    if (a->steps < 0)
        return finch_fail(err, FINCH_E_DATA, "the checkpoint's optimiser is at step %lld", (long long)a->steps);
    for (size_t row = 0; row < a->n_rows; row++) a->row_step[row] = (uint64_t)a->steps;
    a->n_past = 0;
    a->past_first = (uint64_t)a->steps;
    return FINCH_OK;
}
