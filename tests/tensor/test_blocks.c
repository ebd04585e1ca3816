/* Products over blocks: every variant against the scalar definition, the definition against double precision, and products with
 * matrices where they lie against their floats, for every block type and int8 rows. */
#include "harness.h"

#include "base/rng.h"
#include "tensor/blocks.h"
#include "tensor/gguf_blocks.h"

#include <math.h>
#include <stdlib.h>

enum { ROUNDS = 40, GUARD = 24 };

static const char *const variants[] = {"scalar", "avx2", "avx512"};
static arena memory;

static size_t between(rng *r, size_t low, size_t high) { return low + (size_t)rng_below(r, high - low + 1); }

static void *room(size_t n, size_t size)
{
    void *at;
    finch_error err = {0};
    CHECK_OK(arena_alloc(&memory, n + GUARD, size, &at, &err), &err);
    memset(at, 0x5a, (n + GUARD) * size);
    return at;
}

static float *normals(rng *r, size_t n, float scale)
{
    float *x = room(n, sizeof *x);
    for (size_t i = 0; i < n + GUARD; i++) x[i] = (float)rng_normal(r) * scale;
    return x;
}

static block_rows rows_of(size_t n_rows, size_t width)
{
    size_t n_blocks = (width + BLOCK_ITEMS - 1) / BLOCK_ITEMS, n = n_rows * n_blocks;
    return (block_rows){.n_rows = n_rows,
                        .n_blocks = n_blocks,
                        .q = room(n * BLOCK_ITEMS, 1),
                        .scale = room(n, sizeof(float)),
                        .start = room(n, sizeof(int32_t)),
                        .part_start = room(BLOCK_PARTS * n, sizeof(int32_t)),
                        .mass = room(n, sizeof(float))};
}

static block_rows quantized(const block_ops *o, const float *x, size_t n_rows, size_t width)
{
    block_rows rows = rows_of(n_rows, width);
    o->quantize(&(block_quantize){.x = x, .ldx = width, .width = width, .to = &rows});
    return rows;
}

/* What lies behind the ends included. */
static void check_same_rows(const block_rows *a, const block_rows *b)
{
    size_t n = a->n_rows * a->n_blocks;
    CHECK(memcmp(a->q, b->q, n * BLOCK_ITEMS + GUARD) == 0);
    CHECK(memcmp(a->scale, b->scale, (n + GUARD) * sizeof *a->scale) == 0);
    CHECK(memcmp(a->start, b->start, (n + GUARD) * sizeof *a->start) == 0);
    CHECK(memcmp(a->part_start, b->part_start, (BLOCK_PARTS * n + GUARD) * sizeof *a->part_start) == 0);
    CHECK(memcmp(a->mass, b->mass, (n + GUARD) * sizeof *a->mass) == 0);
}

TEST(rows_are_quantised_alike_in_every_variant_and_near_what_they_were)
{
    rng r = {.seed = 1};
    arena_init(&memory);
    for (int round = 0; round < ROUNDS; round++) {
        size_t n_rows = between(&r, 1, 4), width = between(&r, 1, 150);
        float *x = normals(&r, n_rows * width, round % 5 == 4 ? 1e-32f : 3.0f);
        if (round % 5 == 3) x[0] = -1e6f; /* an outlier spoils its own block alone */
        block_rows expected = quantized(block_ops_find("scalar"), x, n_rows, width);
        for (size_t row = 0; row < n_rows; row++)
            for (size_t i = 0; i < expected.n_blocks * BLOCK_ITEMS; i++) {
                size_t at = row * expected.n_blocks * BLOCK_ITEMS + i, block = at / BLOCK_ITEMS;
                float found = (float)expected.q[at] * expected.scale[block];
                if (i < width) CHECK_NEAR(x[row * width + i], found, expected.scale[block] * 0.5001f + 1e-30f);
                else CHECK_EQUAL(0, expected.q[at]);
            }
        for (size_t block = 0; block < n_rows * expected.n_blocks; block++) {
            int sums[2] = {0, 0};
            for (size_t i = 0; i < BLOCK_ITEMS; i++) sums[i / 16] += expected.q[block * BLOCK_ITEMS + i];
            CHECK_EQUAL(-BLOCK_ZERO * sums[0], expected.part_start[2 * block]);
            CHECK_EQUAL(-BLOCK_ZERO * sums[1], expected.part_start[2 * block + 1]);
            CHECK_EQUAL(-BLOCK_ZERO * (sums[0] + sums[1]), expected.start[block]);
            CHECK(expected.mass[block] == expected.scale[block] * (float)(sums[0] + sums[1]));
        }
        for (size_t v = 1; v < 3; v++) {
            const block_ops *o = block_ops_find(variants[v]);
            if (o == NULL) continue;
            block_rows found = quantized(o, x, n_rows, width);
            check_same_rows(&expected, &found);
        }
        arena_reset(&memory);
    }
    arena_free(&memory);
}

TEST(what_is_not_finite_stays_so)
{
    const float bad[] = {NAN, -NAN, INFINITY, -INFINITY};
    arena_init(&memory);
    for (size_t i = 0; i < 4; i++) {
        float x[2 * BLOCK_ITEMS];
        for (size_t k = 0; k < 2 * BLOCK_ITEMS; k++) x[k] = (float)k;
        x[7] = bad[i];
        for (size_t v = 0; v < 3; v++) {
            const block_ops *o = block_ops_find(variants[v]);
            if (o == NULL) continue;
            block_rows found = quantized(o, x, 1, 2 * BLOCK_ITEMS);
            CHECK(!isfinite(found.scale[0]));
            CHECK(isfinite(found.scale[1]));
            CHECK_EQUAL(0, found.start[0]);
        }
    }
    arena_free(&memory);
}

/* ---- products with random panels --------------------------------------------------------------------------------- */

typedef struct panel {
    uint8_t *items;
    float *scale, *low;
    size_t n_parts;
} panel;

static panel panel_of(rng *r, size_t n_blocks, size_t n_parts, bool has_low)
{
    panel p = {.items = room(n_blocks * BLOCK_ITEMS * KERNEL_PANEL, 1), .n_parts = n_parts};
    p.scale = normals(r, n_blocks * n_parts * KERNEL_PANEL, 0.01f);
    p.low = has_low ? normals(r, n_blocks * KERNEL_PANEL, 0.1f) : NULL;
    for (size_t i = 0; i < n_blocks * BLOCK_ITEMS * KERNEL_PANEL; i++) p.items[i] = (uint8_t)rng_below(r, 256);
    return p;
}

static double item_of(const panel *p, size_t k, size_t j)
{
    size_t at = (k / BLOCK_GROUP * KERNEL_PANEL + j) * BLOCK_GROUP + k % BLOCK_GROUP, part = BLOCK_ITEMS / p->n_parts;
    double item = ((double)p->items[at] - BLOCK_ZERO) * (double)p->scale[k / part * KERNEL_PANEL + j];
    return p->low == NULL ? item : item + (double)p->low[k / BLOCK_ITEMS * KERNEL_PANEL + j];
}

static void check_against_doubles(const panel *p, const block_rows *a, size_t n_cols, const float *c, size_t ldc)
{
    for (size_t r = 0; r < a->n_rows; r++)
        for (size_t j = 0; j < n_cols; j++) {
            double sum = 0, size = 0;
            for (size_t k = 0; k < a->n_blocks * BLOCK_ITEMS; k++) {
                size_t at = r * a->n_blocks * BLOCK_ITEMS + k;
                double term = (double)a->q[at] * (double)a->scale[at / BLOCK_ITEMS] * item_of(p, k, j);
                sum += term;
                size += fabs(term);
            }
            CHECK_NEAR(sum, c[r * ldc + j], 1e-6 * size);
        }
}

static void multiply(const block_ops *o, const panel *p, const block_rows *a, size_t cut, size_t n_cols, float *c,
                     size_t ldc)
{
    block_multiply m = {.a = a,
                        .n_blocks = cut,
                        .n_parts = p->n_parts,
                        .items = p->items,
                        .scale = p->scale,
                        .low = p->low,
                        .n_cols = n_cols,
                        .c = c,
                        .ldc = ldc};
    if (cut > 0) o->multiply(&m);
    m.add = cut > 0;
    m.first_block = cut;
    m.n_blocks = a->n_blocks - cut;
    m.items += cut * BLOCK_ITEMS * KERNEL_PANEL;
    m.scale += cut * p->n_parts * KERNEL_PANEL;
    if (m.low != NULL) m.low += cut * KERNEL_PANEL;
    if (m.n_blocks > 0) o->multiply(&m);
}

TEST(products_have_the_same_bits_in_every_variant_and_however_their_depth_is_cut)
{
    static const struct {
        size_t n_parts;
        bool has_low;
    } kinds[] = {{1, false}, {1, true}, {BLOCK_PARTS, false}};
    rng r = {.seed = 2};
    arena_init(&memory);
    for (int round = 0; round < ROUNDS; round++) {
        size_t n_rows = between(&r, 1, 15), n_blocks = between(&r, 1, 19), width = n_blocks * BLOCK_ITEMS;
        size_t n_cols = round % 2 == 0 ? KERNEL_PANEL : between(&r, 1, KERNEL_PANEL), ldc = n_cols + between(&r, 0, 5);
        panel p = panel_of(&r, n_blocks, kinds[round % 3].n_parts, kinds[round % 3].has_low);
        block_rows a = quantized(block_ops_find("scalar"), normals(&r, n_rows * width, 1.0f), n_rows, width);
        float *expected = room(n_rows * ldc, sizeof *expected);
        multiply(block_ops_find("scalar"), &p, &a, 0, n_cols, expected, ldc);
        check_against_doubles(&p, &a, n_cols, expected, ldc);
        for (size_t v = 0; v < 3; v++) {
            const block_ops *o = block_ops_find(variants[v]);
            for (size_t cut = 0; o != NULL && cut <= n_blocks; cut++) {
                float *found = room(n_rows * ldc, sizeof *found);
                multiply(o, &p, &a, cut, n_cols, found, ldc);
                CHECK(memcmp(expected, found, (n_rows * ldc + GUARD) * sizeof *found) == 0);
            }
        }
        arena_reset(&memory);
    }
    arena_free(&memory);
}

/* ---- matrices where they lie ------------------------------------------------------------------------------------- */

/* Any bytes are a block but for its half floats, which are made plain. */
static gguf_tensor random_tensor(rng *r, gguf_type type, size_t rows, size_t columns)
{
    static const struct {
        gguf_type type;
        size_t at[2];
    } halves[] = {{GGUF_Q4_0, {0, 0}}, {GGUF_Q4_1, {0, 2}}, {GGUF_Q5_0, {0, 0}},     {GGUF_Q5_1, {0, 2}},
                  {GGUF_Q8_0, {0, 0}}, {GGUF_Q4_K, {0, 2}}, {GGUF_Q6_K, {208, 208}}, {GGUF_Q5_K, {0, 2}}};
    gguf_tensor t = {.name = "w", .type = type, .n_dims = 2, .dims = {rows, columns}, .n_items = rows * columns};
    const gguf_block *b = gguf_block_of(&t);
    size_t n = t.n_items / b->n_items;
    unsigned char *data = room(n * b->size_bytes, 1);
    for (size_t i = 0; i < n * b->size_bytes; i++) data[i] = (unsigned char)rng_below(r, 256);
    for (size_t h = 0; h < sizeof halves / sizeof halves[0]; h++)
        for (size_t i = 0; halves[h].type == type && i < n; i++)
            for (size_t k = 0; k < 2; k++) {
                const float value = (float)rng_normal(r) * 0.01f;
                uint16_t half;
                tensor_f16_from_f32(&value, &half, 1);
                memcpy(data + i * b->size_bytes + halves[h].at[k], &half, sizeof half);
            }
    t.data = data;
    t.size_bytes = n * b->size_bytes;
    return t;
}

/* A panel of outputs where they lie and what block_ops makes of them; the memory ends where the file would. */
typedef struct lines {
    block_lines where;
    const unsigned char *at[KERNEL_PANEL];
    size_t n_parts;
    bool has_low;
} lines;

static void lines_of(rng *r, const gguf_tensor *t, size_t columns, lines *out)
{
    const gguf_block *type = gguf_block_of(t);
    size_t wide = type->n_items / BLOCK_ITEMS, n = columns / type->n_items, first = between(r, 0, n - 1);
    for (size_t i = 0; i < KERNEL_PANEL; i++) out->at[i] = t->data + (KERNEL_PANEL - 1 - i) * n * type->size_bytes;
    out->where = (block_lines){(int)t->type, out->at, first * wide, between(r, 1, n - first) * wide, 0};
    out->n_parts = type->n_scaled < BLOCK_ITEMS ? BLOCK_PARTS : 1;
    out->has_low = type->has_low;
}

static void check_lines(rng *r, const lines *l)
{
    const block_ops *defined = block_ops_find("scalar");
    size_t n = l->where.n_blocks, first = between(r, 0, 3), n_rows = between(r, 1, 4), width = (first + n) * BLOCK_ITEMS;
    size_t n_cols = between(r, 1, KERNEL_PANEL), ldc = n_cols + between(r, 0, 3), n_scales = n * l->n_parts * KERNEL_PANEL;
    block_rows a = quantized(defined, normals(r, n_rows * width, 1.0f), n_rows, width);
    float *start = normals(r, n_rows * ldc, 1.0f), *first_scale = NULL, *first_low = NULL, *first_c = NULL;
    uint8_t *first_items = NULL;
    for (size_t v = 0; v < 3; v++) {
        const block_ops *o = block_ops_find(variants[v]);
        if (o == NULL) continue;
        uint8_t *items = room(n * BLOCK_ITEMS * KERNEL_PANEL, 1);
        float *scale = room(n_scales, sizeof *scale), *low = room(n * KERNEL_PANEL, sizeof *low);
        float *c = room(n_rows * ldc, sizeof *c), *through = room(n_rows * ldc, sizeof *c);
        block_multiply p = {.a = &a, .first_block = first, .n_blocks = n, .n_parts = l->n_parts, .items = items};
        p.scale = scale, p.low = l->has_low ? low : NULL, p.add = n % 2 == 0, p.n_cols = n_cols, p.ldc = ldc;
        o->shape(&l->where, items);
        if (l->where.type == BLOCK_INT8) memcpy(scale, normals(&(rng){.seed = 9}, n_scales, 0.1f), n_scales * sizeof *scale);
        else o->scales(&l->where, scale, low);
        memcpy(c, start, n_rows * ldc * sizeof *c);
        memcpy(through, start, n_rows * ldc * sizeof *c);
        p.c = c;
        o->few(&l->where, &p);
        p.c = through;
        o->multiply(&p);
        CHECK(memcmp(c, through, (n_rows * ldc + GUARD) * sizeof *c) == 0);
        if (v == 0) first_items = items, first_scale = scale, first_low = low, first_c = c;
        CHECK(memcmp(first_items, items, n * BLOCK_ITEMS * KERNEL_PANEL + GUARD) == 0);
        CHECK(memcmp(first_scale, scale, (n_scales + GUARD) * sizeof *scale) == 0);
        CHECK(memcmp(first_low, low, (n * KERNEL_PANEL + GUARD) * sizeof *low) == 0);
        CHECK(memcmp(first_c, c, (n_rows * ldc + GUARD) * sizeof *c) == 0);
    }
}

static const gguf_type types[] = {GGUF_Q4_0, GGUF_Q4_1, GGUF_Q5_0, GGUF_Q5_1, GGUF_Q8_0, GGUF_Q4_K, GGUF_Q5_K, GGUF_Q6_K};

TEST(every_variant_reads_blocks_where_they_lie_alike_and_few_rows_get_the_bits_of_many)
{
    rng r = {.seed = 5};
    arena_init(&memory);
    for (int round = 0; round < ROUNDS / 4; round++)
        for (size_t i = 0; i <= sizeof types / sizeof types[0]; i++) {
            lines l = {.n_parts = 1};
            if (i < sizeof types / sizeof types[0]) {
                size_t columns = 256 * between(&r, 1, 4);
                gguf_tensor t = random_tensor(&r, types[i], KERNEL_PANEL, columns);
                lines_of(&r, &t, columns, &l);
                check_lines(&r, &l);
            } else {
                size_t n = between(&r, 1, 9);
                unsigned char *data = room(KERNEL_PANEL * n * BLOCK_ITEMS, 1);
                for (size_t k = 0; k < KERNEL_PANEL * n * BLOCK_ITEMS; k++) data[k] = (unsigned char)rng_below(&r, 256);
                for (size_t k = 0; k < KERNEL_PANEL; k++) l.at[k] = data + k * n * BLOCK_ITEMS;
                l.where = (block_lines){BLOCK_INT8, l.at, 0, n, n * BLOCK_ITEMS * KERNEL_PANEL};
                check_lines(&r, &l);
            }
            arena_reset(&memory);
        }
    arena_free(&memory);
}

static void check_matrix(rng *r, const stored_matrix *m, const char *name)
{
    size_t n_rows = between(r, 1, 9), n_panels = (m->rows + KERNEL_PANEL - 1) / KERNEL_PANEL;
    float *x = normals(r, n_rows * m->columns, 1.0f), *w = room(m->rows * m->columns, sizeof *w), *first = NULL;
    unsigned char *scratch = room(blocks_scratch_bytes(), 1);
    int32_t picked[3] = {(int32_t)m->rows - 1, 0, (int32_t)(m->rows / 2)};
    stored_rows(m, 0, m->rows, w);
    for (size_t v = 0; v < 3; v++) {
        const block_ops *o = block_ops_find(variants[v]);
        float *y = room(n_rows * m->rows, sizeof *y), *some = room(n_rows * 3, sizeof *some);
        if (o == NULL) continue;
        block_rows a = quantized(o, x, n_rows, m->columns);
        blocks_product(o, m, &a, 0, n_panels, scratch, y, m->rows);
        if (first == NULL) first = y;
        CHECK(memcmp(first, y, (n_rows * m->rows + GUARD) * sizeof *y) == 0);
        blocks_product_picked(o, m, &a, picked, 3, scratch, some, 3);
        for (size_t i = 0; i < n_rows; i++)
            for (size_t k = 0; k < 3; k++) CHECK(some[i * 3 + k] == y[i * m->rows + (size_t)picked[k]]);
        for (size_t i = 0; i < n_rows; i++)
            for (size_t j = 0; j < m->rows; j++) {
                double sum = 0, size = 0;
                for (size_t k = 0; k < m->columns; k++) {
                    size_t at = i * a.n_blocks * BLOCK_ITEMS + k;
                    double term = (double)a.q[at] * (double)a.scale[at / BLOCK_ITEMS] * (double)w[j * m->columns + k];
                    sum += term;
                    size += fabs(term);
                }
                if (fabs(sum - (double)y[i * m->rows + j]) > 1e-6 * size + 1e-9)
                    print_message("%s: row %zu, output %zu\n", name, i, j);
                CHECK_NEAR(sum, y[i * m->rows + j], 1e-6 * size + 1e-9);
            }
    }
}

TEST(a_matrix_of_every_block_type_multiplies_as_its_floats_do)
{
    rng r = {.seed = 3};
    arena_init(&memory);
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        for (size_t rows = 31; rows <= 70; rows += 13) {
            size_t columns = 256 * between(&r, 1, 4); /* up to more than a chunk */
            gguf_tensor t = random_tensor(&r, types[i], rows, columns);
            stored_matrix m = {.blocks = &t, .rows = rows, .columns = columns};
            CHECK(blocks_fit(&m));
            check_matrix(&r, &m, gguf_type_name(types[i]));
            arena_reset(&memory);
        }
    arena_free(&memory);
}

TEST(rows_of_int8_and_floats_made_so_multiply_as_their_floats_do)
{
    rng r = {.seed = 4};
    finch_error err = {0};
    arena_init(&memory);
    for (int round = 0; round < ROUNDS / 4; round++) {
        size_t rows = between(&r, 1, 80), columns = round % 2 == 0 ? between(&r, 1, 100) : 32 * between(&r, 1, 60);
        float *w = normals(&r, rows * columns, 0.1f);
        tensor floats = {.name = "w", .dtype = TENSOR_F32, .n_dims = 2, .dims = {rows, columns}, .n_items = rows * columns};
        floats.data = w;
        floats.size_bytes = rows * columns * sizeof *w;
        stored_matrix m = {.plain = {&floats, NULL, rows, columns}, .rows = rows, .columns = columns}, made;
        CHECK(!blocks_fit(&m));
        w[rows * columns - 1] = NAN;
        CHECK_STATUS(FINCH_E_DATA, blocks_from_floats(&memory, &m, &made, &err), &err);
        w[rows * columns - 1] = 0.5f;
        CHECK_OK(blocks_from_floats(&memory, &m, &made, &err), &err);
        CHECK(blocks_fit(&made));
        check_matrix(&r, &made, "int8 rows");
        arena_reset(&memory);
    }
    arena_free(&memory);
}
