/* The driver of kernels/split_kernels.h. Both operands are packed by all threads, then blocks of c are shared out: rows and
 * columns in groups whose squares fit the second-level cache, k in runs whose rows fit the first beside what streams past
 * (c is where a sum waits between two runs). What is added to an item, and in which order, depends on none of this. */
#include "tensor/gemm.h"

#include "base/mem.h"
#include "tensor/cpu.h"
#include "tensor/gemm_internal.h"
#include "tensor/kernels/split_kernels.h"

enum {
    SPLIT_ROW_GROUP = 8, /* blocks */
    SPLIT_COL_GROUP = 4,
    SPLIT_RUN = 12, /* squares of k */
};

bool gemm_bf16x3_is_native(void)
{
#if defined(__x86_64__)
    return cpu_has(CPU_AMX_BF16) && cpu_has(CPU_AVX512_BF16);
#else
    return false;
#endif
}

void gemm_room_free(gemm_room *room)
{
    mem_free(room->at);
    *room = (gemm_room){0};
}

finch_status gemm_room_reserve(gemm_room *room, size_t size_bytes, finch_error *err)
{
    if (room->size_bytes >= size_bytes) return FINCH_OK;
    gemm_room_free(room);
    FINCH_TRY(mem_alloc(size_bytes, 1, &room->at, err));
    room->size_bytes = size_bytes;
    return FINCH_OK;
}

#if defined(__x86_64__)

/* An operand: its rows (of B: columns) and k, and where its squares lie, those of one block after the other. */
typedef struct split_operand {
    const float *x;
    size_t ld;
    size_t n, k;
    bool lines_are_depth, for_rows;
    unsigned char *squares;
} split_operand;

static size_t sides(size_t n) { return (n + SPLIT_SIDE - 1) / SPLIT_SIDE; }
static size_t left_of(size_t n, size_t done) { return n - done < SPLIT_SIDE ? n - done : SPLIT_SIDE; }

static void pack_square(const split_operand *o, size_t block, size_t step)
{
    size_t at = block * SPLIT_SIDE, depth = step * SPLIT_SIDE;
    size_t n = left_of(o->n, at), k = left_of(o->k, depth);
    split_square s = {.ld = o->ld};
    s.x = o->lines_are_depth ? o->x + depth * o->ld + at : o->x + at * o->ld + depth;
    s.n_lines = o->lines_are_depth ? k : n;
    s.width = o->lines_are_depth ? n : k;
    split_pack_amx(&s, o->lines_are_depth, o->for_rows, o->squares + (block * sides(o->k) + step) * SPLIT_SQUARE_BYTES);
}

/* Squares are packed along the lines of x, 32 at a time, as memory likes to be read. */
static size_t line_groups(const split_operand *o) { return sides(o->lines_are_depth ? o->k : o->n); }

static void pack_lines(const split_operand *o, size_t group)
{
    size_t n = sides(o->lines_are_depth ? o->n : o->k);
    for (size_t i = 0; i < n; i++) pack_square(o, o->lines_are_depth ? i : group, o->lines_are_depth ? group : i);
}

typedef struct split_product {
    split_operand a, b;
    float *c;
    size_t ldc;
    bool add;
} split_product;

/* Squares [from, from + n) of k of one block. */
static void run_block(const split_product *p, size_t row, size_t col, size_t from, size_t n)
{
    size_t steps = sides(p->a.k);
    split_block_amx(&(split_block){.a = p->a.squares + (row * steps + from) * SPLIT_SQUARE_BYTES,
                                   .b = p->b.squares + (col * steps + from) * SPLIT_SQUARE_BYTES,
                                   .n_squares = n,
                                   .c = p->c + row * SPLIT_SIDE * p->ldc + col * SPLIT_SIDE,
                                   .ldc = p->ldc,
                                   .n_rows = left_of(p->a.n, row * SPLIT_SIDE),
                                   .n_cols = left_of(p->b.n, col * SPLIT_SIDE),
                                   .add = p->add || from > 0});
}

static size_t group_end(size_t group, size_t size, size_t n) { return (group + 1) * size < n ? (group + 1) * size : n; }

static void run_group(const split_product *p, size_t row_group, size_t col_group)
{
    size_t steps = sides(p->a.k);
    size_t row_end = group_end(row_group, SPLIT_ROW_GROUP, sides(p->a.n));
    size_t col_end = group_end(col_group, SPLIT_COL_GROUP, sides(p->b.n));
    for (size_t from = 0; from < steps; from += SPLIT_RUN)
        for (size_t row = row_group * SPLIT_ROW_GROUP; row < row_end; row++)
            for (size_t col = col_group * SPLIT_COL_GROUP; col < col_end; col++)
                run_block(p, row, col, from, steps - from < SPLIT_RUN ? steps - from : SPLIT_RUN);
}

static void run_product(const split_product *p)
{
    size_t rows = sides(p->a.n), cols = sides(p->b.n);
    size_t row_groups = (rows + SPLIT_ROW_GROUP - 1) / SPLIT_ROW_GROUP;
    size_t groups = row_groups * ((cols + SPLIT_COL_GROUP - 1) / SPLIT_COL_GROUP);
#pragma omp parallel
    {
        split_begin_amx();
#pragma omp for schedule(static) nowait
        for (size_t group = 0; group < line_groups(&p->a); group++) pack_lines(&p->a, group);
#pragma omp for schedule(static)
        for (size_t group = 0; group < line_groups(&p->b); group++) pack_lines(&p->b, group);
#pragma omp for schedule(dynamic, 1)
        for (size_t group = 0; group < groups; group++) run_group(p, group % row_groups, group / row_groups);
        split_end_amx();
    }
}

static finch_status room_for(size_t m, size_t n, size_t k, gemm_room *room, finch_error *err)
{
    size_t squares;
    if (!size_mul(sides(m) + sides(n), sides(k), &squares) || !size_mul(squares, SPLIT_SQUARE_BYTES, &squares))
        return finch_fail(err, FINCH_E_MEMORY, "a product of %zu x %zu x %zu does not fit memory", m, n, k);
    return gemm_room_reserve(room, squares, err);
}

#endif

finch_status gemm_bf16x3(bool trans_a, bool trans_b, size_t m, size_t n, size_t k, const float *a, size_t lda,
                         const float *b, size_t ldb, float beta, float *c, size_t ldc, gemm_room *room, finch_error *err)
{
    if (beta != 0.0f && beta != 1.0f)
        return finch_fail(err, FINCH_E_USAGE, "a bf16x3 product's beta is %g; it may be 0 or 1", (double)beta);
#if defined(__x86_64__)
    if (gemm_bf16x3_is_native() && m > 0 && n > 0 && k > 0) {
        FINCH_TRY(gemm_check(trans_a, trans_b, m, n, k, lda, ldb, ldc, err));
        FINCH_TRY(room_for(m, n, k, room, err));
        unsigned char *squares = room->at;
        split_product p = {.c = c, .ldc = ldc, .add = beta != 0.0f};
        p.a = (split_operand){a, lda, m, k, trans_a, true, squares};
        p.b = (split_operand){b, ldb, n, k, !trans_b, false, squares + sides(m) * sides(k) * SPLIT_SQUARE_BYTES};
        run_product(&p);
        return FINCH_OK;
    }
#endif
    (void)room;
    return gemm_f32(trans_a, trans_b, m, n, k, a, lda, b, ldb, beta, c, ldc, err);
}
