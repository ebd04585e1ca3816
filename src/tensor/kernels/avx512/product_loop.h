/* A product tile's loop over k for AVX-512 (product_tile.h): 28 sums, two vectors of weights and a row's item are 31 of the
 * 32 registers. A step is four bytes of a row and a vector or two of a panel whatever the type, so f32, int8 and bf16 are
 * one loop with another instruction, PRODUCT_OP: sums += row's item x weights.
 *
 * It is assembly because gcc 12 keeps a pointer for every row, spills five of them and copies sums, so that a step takes
 * longer to decode than to compute. Here rows are four pointers and multiples of the stride; four steps a turn. A panel
 * of f32 does not stay in the first-level cache, so it is fetched there four steps ahead. */
#ifndef FINCH_TENSOR_KERNELS_AVX512_PRODUCT_LOOP_H
#define FINCH_TENSOR_KERNELS_AVX512_PRODUCT_LOOP_H

#include <stddef.h>

/* What the loop reads, in bytes and in the order in which it does: the assembly knows the places. */
typedef struct product_steps {
    const void *row0, *row3, *row5, *row10; /* the first item of these rows; not read where the tile has none */
    size_t row_stride;
    const void *panel;
    size_t panel_stride; /* from a step's weights to the next's */
    const void *ahead;   /* fetched into the second-level cache, a line a step */
    size_t n_steps;
} product_steps;
_Static_assert(offsetof(product_steps, row_stride) == 32 && offsetof(product_steps, n_steps) == 64, "the loop's places");

#define LOOP_ROW(r, n, v, place, at)                                                        \
    ".if " #n " > " #r "\n\t"                                                               \
    "vbroadcastss " at place ", %%zmm2\n\t" PRODUCT_OP " %%zmm0, %%zmm2, %[left" #r "]\n\t" \
    ".if " #v " > 1\n\t" PRODUCT_OP " %%zmm1, %%zmm2, %[right" #r "]\n\t"                   \
    ".endif\n\t.endif\n\t"

#define LOOP_STEP(n, v, at, line)                                                                                        \
    "vmovups (%%r8), %%zmm0\n\t"                                                                                         \
    ".if " #v " > 1\n\t"                                                                                                 \
    "vmovups 64(%%r8), %%zmm1\n\t"                                                                                       \
    ".endif\n\t"                                                                                                         \
    "addq %%r9, %%r8\n\t"                                                                                                \
    "prefetcht1 " line "(%%r10)\n\t"                                                                                     \
    "prefetcht0 512(%%r8)\n\tprefetcht0 576(%%r8)\n\t" LOOP_ROW(0, n, v, "(%%rax)", at)                                  \
        LOOP_ROW(1, n, v, "(%%rax,%%rdi)", at) LOOP_ROW(2, n, v, "(%%rax,%%rdi,2)", at) LOOP_ROW(3, n, v, "(%%rcx)", at) \
            LOOP_ROW(4, n, v, "(%%rax,%%rdi,4)", at) LOOP_ROW(5, n, v, "(%%rdx)", at)                                    \
                LOOP_ROW(6, n, v, "(%%rdx,%%rdi)", at) LOOP_ROW(7, n, v, "(%%rdx,%%rdi,2)", at)                          \
                    LOOP_ROW(8, n, v, "(%%rax,%%rdi,8)", at) LOOP_ROW(9, n, v, "(%%rdx,%%rdi,4)", at)                    \
                        LOOP_ROW(10, n, v, "(%%rsi)", at) LOOP_ROW(11, n, v, "(%%rsi,%%rdi)", at)                        \
                            LOOP_ROW(12, n, v, "(%%rsi,%%rdi,2)", at) LOOP_ROW(13, n, v, "(%%rdx,%%rdi,8)", at)

#define LOOP_ADVANCE(bytes, lines) \
    "addq $" bytes ", %%rax\n\t"   \
    "addq $" bytes ", %%rcx\n\t"   \
    "addq $" bytes ", %%rdx\n\t"   \
    "addq $" bytes ", %%rsi\n\t"   \
    "addq $" lines ", %%r10\n\t"

#define LOOP_ZERO(r)                                         \
    "vpxord %[left" #r "], %[left" #r "], %[left" #r "]\n\t" \
    "vpxord %[right" #r "], %[right" #r "], %[right" #r "]\n\t"

#define LOOP_SUMS(r) [left##r] "=v"(left##r), [right##r] "=v"(right##r)

/* Sets left0 to right13; those of rows the tile has not become 0. */
#define LOOP_RUN(steps, n, v)                                                                                               \
    __asm__ volatile("movq (%[s]), %%rax\n\t"                                                                               \
                     "movq 8(%[s]), %%rcx\n\t"                                                                              \
                     "movq 16(%[s]), %%rdx\n\t"                                                                             \
                     "movq 24(%[s]), %%rsi\n\t"                                                                             \
                     "movq 32(%[s]), %%rdi\n\t"                                                                             \
                     "movq 40(%[s]), %%r8\n\t"                                                                              \
                     "movq 48(%[s]), %%r9\n\t"                                                                              \
                     "movq 56(%[s]), %%r10\n\t"                                                                             \
                     "movq 64(%[s]), %%r11\n\t" /* n_steps */                                                               \
                     LOOP_ZERO(0) LOOP_ZERO(1) LOOP_ZERO(2) LOOP_ZERO(3) LOOP_ZERO(4) LOOP_ZERO(5) LOOP_ZERO(6)             \
                         LOOP_ZERO(7) LOOP_ZERO(8) LOOP_ZERO(9) LOOP_ZERO(10) LOOP_ZERO(11) LOOP_ZERO(12)                   \
                             LOOP_ZERO(13) "subq $4, %%r11\n\t"                                                             \
                                           "jb 2f\n\t"                                                                      \
                                           ".p2align 5\n"                                                                   \
                                           "1:\n\t" LOOP_STEP(n, v, "", "") LOOP_STEP(n, v, "4", "64")                      \
                                               LOOP_STEP(n, v, "8", "128") LOOP_STEP(n, v, "12", "192")                     \
                                                   LOOP_ADVANCE("16", "256") "subq $4, %%r11\n\t"                           \
                                                                             "jae 1b\n"                                     \
                                                                             "2:\n\t"                                       \
                                                                             "addq $4, %%r11\n\t"                           \
                                                                             "jz 4f\n"                                      \
                                                                             "3:\n\t" LOOP_STEP(n, v, "", "")               \
                                                                                 LOOP_ADVANCE("4", "64") "decq %%r11\n\t"   \
                                                                                                         "jnz 3b\n"         \
                                                                                                         "4:\n\t"           \
                     : LOOP_SUMS(0), LOOP_SUMS(1), LOOP_SUMS(2), LOOP_SUMS(3), LOOP_SUMS(4), LOOP_SUMS(5), LOOP_SUMS(6),    \
                       LOOP_SUMS(7), LOOP_SUMS(8), LOOP_SUMS(9), LOOP_SUMS(10), LOOP_SUMS(11), LOOP_SUMS(12), LOOP_SUMS(13) \
                     : [s] "r"(steps)                                                                                       \
                     : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "xmm0", "xmm1", "xmm2", "memory", "cc")

#endif
