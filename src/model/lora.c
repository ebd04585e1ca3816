#include "model/lora.h"

#include "base/rng.h"
#include "tensor/gemm.h"

#include <math.h>
#include <string.h>

/* ---- names ----------------------------------------------------------------------------------------------------- */

/* The name at *at, which moves behind its comma; false at the end. */
static bool next_name(const char **at, const char **name, size_t *size)
{
    if (**at == '\0') return false;
    *name = *at;
    *size = strcspn(*at, ",");
    *at += *size + ((*at)[*size] == ',' ? 1 : 0);
    return true;
}

static bool names(const char *name, size_t size, const char *module)
{
    size_t whole = strlen(module);
    return size > 0 && whole >= size && memcmp(module + whole - size, name, size) == 0 &&
           (whole == size || module[whole - size - 1] == '.');
}

bool lora_targets_has(const char *targets, const char *module)
{
    const char *name;
    size_t size;
    if (strcmp(targets, LORA_ALL_LINEAR) == 0) return true;
    while (next_name(&targets, &name, &size))
        if (names(name, size, module)) return true;
    return false;
}

static bool is_known(const char *name, size_t size, const char *const *modules, size_t n_modules)
{
    for (size_t i = 0; i < n_modules; i++)
        if (names(name, size, modules[i])) return true;
    return false;
}

finch_status lora_options_check(const lora_options *o, const char *const *modules, size_t n_modules, const char *hint,
                                finch_error *err)
{
    const char *at = o->targets == NULL ? "" : o->targets, *name;
    size_t size, n = 0;
    if (o->rank < 1 || o->rank > LORA_RANK_MAX)
        return finch_fail(err, FINCH_E_USAGE, "the adapter's rank is %zu; it may be from 1 to %d", o->rank, LORA_RANK_MAX);
    if (!(o->alpha > 0.0 && o->alpha <= 1e6))
        return finch_fail(err, FINCH_E_USAGE, "the adapter's alpha is %g; it must be above 0 and at most 1e6", o->alpha);
    if (!(o->dropout >= 0.0 && o->dropout < 1.0))
        return finch_fail(err, FINCH_E_USAGE, "the adapter's dropout is %g; it must be at least 0 and below 1", o->dropout);
    if (strlen(at) >= LORA_TARGETS_BYTES)
        return finch_fail(err, FINCH_E_USAGE, "the list of the adapter's targets is longer than %d bytes",
                          LORA_TARGETS_BYTES - 1);
    if (strcmp(at, LORA_ALL_LINEAR) == 0) return FINCH_OK;
    for (; next_name(&at, &name, &size); n++)
        if (!is_known(name, size, modules, n_modules))
            return finch_fail(err, FINCH_E_USAGE, "the model has no linear layers called \"%.*s\"; it has %s", (int)size,
                              name, hint);
    if (n == 0) return finch_fail(err, FINCH_E_USAGE, "the adapter adapts no layer; name some of %s", hint);
    return FINCH_OK;
}

/* ---- first values ---------------------------------------------------------------------------------------------- */

lora_setup lora_setup_of(const lora_options *o)
{
    return (lora_setup){
        .ops = train_ops_get(), .rank = o->rank, .scale = (float)(o->alpha / (double)o->rank), .dropout = (float)o->dropout};
}

void lora_draw(const lora_setup *s, lora_pair *p, uint64_t seed, size_t index)
{
    enum { STREAM_ADAPTER = 0x10A };
    rng r = {.seed = seed, .stream = ((uint64_t)STREAM_ADAPTER << 32) + index};
    double bound = 1.0 / sqrt((double)p->in);
    for (size_t i = 0; i < s->rank * p->in; i++) p->a[i] = (float)((2.0 * rng_unit(&r) - 1.0) * bound);
    memset(p->b, 0, p->out * s->rank * sizeof *p->b);
}

/* ---- dropout --------------------------------------------------------------------------------------------------- */

enum { WORD_BITS = 16 };

static size_t words_a_row(size_t width) { return (width + WORD_BITS - 1) / WORD_BITS; }

static uint32_t threshold_of(const lora_setup *s) { return (uint32_t)lrintf(s->dropout * 65536.0f); }

finch_status lora_draw_words(const lora_setup *s, const lora_dropout *d, size_t n_rows, size_t width, arena *a,
                             lora_kept *kept, finch_error *err)
{
    enum { STREAM_LORA = 0xAD, GROUPS = 64 };
    uint32_t threshold = threshold_of(s);
    size_t first = d->first * words_a_row(width), first_group = first / 8;
    size_t n_groups = (first % 8 + n_rows * words_a_row(width) + 7) / 8, n_parts = (n_groups + GROUPS - 1) / GROUPS;
    uint64_t stream = d->step << 16 | (uint64_t)d->layer << 8 | d->site, seed = d->seed ^ ((uint64_t)STREAM_LORA << 56);
    if (threshold == 0) return FINCH_OK;
    if (kept->drawn == NULL) FINCH_TRY(ARENA_NEW(a, &kept->drawn, 8 * (n_groups + 1), err));
    uint16_t *words = kept->drawn;
    kept->words = words + first % 8;
#pragma omp parallel for schedule(static)
    for (size_t part = 0; part < n_parts; part++)
        s->ops->dropout_words(seed, stream, first_group + part * GROUPS, size_least(GROUPS, n_groups - part * GROUPS),
                              threshold, words + 8 * part * GROUPS);
    return FINCH_OK;
}

/* to (+)= x where the words say so, times what was dropped on the average. */
static void drop(const lora_setup *s, const uint16_t *words, const float *x, size_t n_rows, size_t width, bool add,
                 float *to)
{
    size_t n_words = words_a_row(width);
    float scale = 65536.0f / (float)(65536u - threshold_of(s));
#pragma omp parallel for schedule(static)
    for (size_t row = 0; row < n_rows; row++)
        for (size_t word = 0; word < n_words; word++) {
            unsigned bits = words[row * n_words + word];
            size_t at = row * width + word * WORD_BITS, n = size_least(WORD_BITS, width - word * WORD_BITS);
            for (size_t i = 0; i < n; i++) {
                float value = (bits >> i & 1) != 0 ? x[at + i] * scale : 0.0f;
                to[at + i] = add ? to[at + i] + value : value;
            }
        }
}

static const float *dropped(const lora_setup *s, const lora_kept *kept, const float *x, size_t n_rows, size_t width,
                            float *room)
{
    if (kept->words == NULL) return x;
    drop(s, kept->words, x, n_rows, width, false, room);
    return room;
}

/* ---- passes ---------------------------------------------------------------------------------------------------- */

finch_status lora_forward(const lora_setup *s, const lora_pair *p, lora_kept *kept, size_t n_rows, const float *x,
                          float *room, float *y, size_t ldy, finch_error *err)
{
    const float *from = dropped(s, kept, x, n_rows, p->in, room);
    FINCH_TRY(lora_product(false, true, n_rows, s->rank, p->in, from, p->in, p->a, p->in, 0.0f, kept->low, s->rank, err));
    for (size_t i = 0; i < n_rows * s->rank; i++) kept->low[i] *= s->scale;
    return lora_product(false, true, n_rows, p->out, s->rank, kept->low, s->rank, p->b, s->rank, 1.0f, y, ldy, err);
}

static void add_all(const float *from, size_t n, float *to)
{
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < n; i++) to[i] += from[i];
}

finch_status lora_backward(const lora_setup *s, const lora_pair *p, const lora_kept *kept, const lora_back *g,
                           finch_error *err)
{
    size_t n = g->n_rows, rank = s->rank;
    FINCH_TRY(lora_product(true, false, p->out, rank, n, g->dy, g->ld_dy, kept->low, rank, 1.0f, p->db, rank, err));
    FINCH_TRY(lora_product(false, false, n, rank, p->out, g->dy, g->ld_dy, p->b, rank, 0.0f, g->low, rank, err));
    for (size_t i = 0; i < n * rank; i++) g->low[i] *= s->scale;
    const float *from = dropped(s, kept, g->x, n, p->in, g->room);
    FINCH_TRY(lora_product(true, false, rank, p->in, n, g->low, rank, from, p->in, 1.0f, p->da, p->in, err));
    if (g->dx == NULL) return FINCH_OK;
    FINCH_TRY(lora_product(false, false, n, p->in, rank, g->low, rank, p->a, p->in, 0.0f, g->more, p->in, err));
    if (kept->words == NULL) add_all(g->more, n * p->in, g->dx);
    else drop(s, kept->words, g->more, n, p->in, true, g->dx);
    return FINCH_OK;
}

/* ---- products -------------------------------------------------------------------------------------------------- */

/* c [m, n] in blocks of its longer side; a and b are of bf16 or of floats. */
typedef struct product {
    bool trans_a, trans_b, bf16;
    size_t m, n, k;
    const void *a, *b;
    size_t lda, ldb;
    float beta, *c;
    size_t ldc;
} product;

/* bf16 products put b in an order of their own for each block, so their blocks are larger. */
enum { PRODUCT_BLOCK = 64, PRODUCT_BLOCK_BF16 = 256 };

static finch_status product_part(const product *p, size_t row, size_t m, size_t column, size_t n, finch_error *err)
{
    size_t from_a = p->trans_a ? row : row * p->lda, from_b = p->trans_b ? column * p->ldb : column;
    float *c = p->c + row * p->ldc + column;
    if (p->bf16)
        return gemm_bf16(p->trans_a, p->trans_b, m, n, p->k, (const uint16_t *)p->a + from_a, p->lda,
                         (const uint16_t *)p->b + from_b, p->ldb, p->beta, c, p->ldc, err);
    return gemm_f32(p->trans_a, p->trans_b, m, n, p->k, (const float *)p->a + from_a, p->lda, (const float *)p->b + from_b,
                    p->ldb, p->beta, c, p->ldc, err);
}

static finch_status product_run(const product *p, finch_error *err)
{
    bool by_rows = p->m >= p->n;
    size_t whole = by_rows ? p->m : p->n, side = p->bf16 ? PRODUCT_BLOCK_BF16 : PRODUCT_BLOCK;
    size_t n_blocks = (whole + side - 1) / side;
    finch_status worst = FINCH_OK;
#pragma omp parallel for schedule(static)
    for (size_t block = 0; block < n_blocks; block++) {
        finch_error own;
        size_t at = block * side, size = size_least(side, whole - at);
        finch_status st = by_rows ? product_part(p, at, size, 0, p->n, &own) : product_part(p, 0, p->m, at, size, &own);
        if (st == FINCH_OK) continue;
#pragma omp critical(finch_lora)
        {
            worst = st;
            if (err != NULL) *err = own;
        }
    }
    return worst;
}

finch_status lora_product(bool trans_a, bool trans_b, size_t m, size_t n, size_t k, const float *a, size_t lda,
                          const float *b, size_t ldb, float beta, float *c, size_t ldc, finch_error *err)
{
    return product_run(&(product){trans_a, trans_b, false, m, n, k, a, b, lda, ldb, beta, c, ldc}, err);
}

finch_status lora_product_bf16(bool trans_a, bool trans_b, size_t m, size_t n, size_t k, const uint16_t *a, size_t lda,
                               const uint16_t *b, size_t ldb, float beta, float *c, size_t ldc, finch_error *err)
{
    return product_run(&(product){trans_a, trans_b, true, m, n, k, a, b, lda, ldb, beta, c, ldc}, err);
}
