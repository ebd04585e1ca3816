/* Adding: a piece of texts is folded and hashed by the team, looked up one by one (the first of equal folded texts gets the
 * next number), and the new ones are sketched by the team.
 *
 * Clustering: band by band, the numbers are sorted by the band's value; equal values make a bucket, whose pairs are judged
 * unless they are connected already. The forest of clusters is lock-free: a root only ever gets a smaller parent, so the
 * root of a cluster is its first text whatever the order of the unions. Which pairs are looked at depends on the sketches
 * alone; a pair that is left out because its texts are connected already could not have changed the clusters. */
#include "text/near.h"

#include "base/mem.h"
#include "base/siphash.h"
#include "text/minhash.h"

#include <stdlib.h>
#include <string.h>

enum {
    PAGE = 1 << 14,            /* texts or rows a page: what is allocated too much is small */
    BLOCK_BYTES = 1 << 20,     /* of kept texts */
    PIECE_TEXTS = 4096,        /* folded at once */
    PIECE_BYTES = 4 << 20,
    SLOTS_FIRST = 1 << 12,
    RUN_SPAN = 4096,           /* sorted entries that one thread takes at once */
    JUDGE_SLOTS = 4 * NEAR_TEXT_MAX_BYTES,
    DIGIT_BITS = 11,           /* of the sort */
    DIGITS = 1 << DIGIT_BITS,
    SORT_PARTS = 8,            /* stretches that are counted and moved at once */
};
static const uint32_t no_text = UINT32_MAX;   /* in place of a number: null, or folds to nothing */
static const double estimate_slack = 0.2; /* a pair whose estimate is that far below is not judged: 3.4 standard errors */

typedef struct page {
    minhash sketch[PAGE];
    uint64_t hash[PAGE];
    const char *text[PAGE]; /* NULL: longer than NEAR_TEXT_MAX_BYTES */
    uint32_t size[PAGE];
} page;

typedef struct block {
    struct block *below;
    size_t used;
    char at[BLOCK_BYTES];
} block;

typedef struct folded {
    char *at;
    size_t size;
    uint64_t hash;
} folded;

struct near_index {
    double threshold;
    siphash_key key;
    page **pages; /* of the distinct texts */
    size_t n_pages, pages_capacity, n;
    uint32_t **row_pages; /* [PAGE] numbers each */
    size_t n_row_pages, row_pages_capacity, n_rows;
    block *blocks;
    size_t n_blocks;
    uint32_t *slots; /* number + 1; 0 is free */
    size_t n_slots;
    char *scratch; /* the folded texts of a piece */
    size_t scratch_bytes;
    folded *piece; /* [PIECE_TEXTS] */
    uint32_t *piece_new; /* [PIECE_TEXTS] its new texts */
};

static page *page_of(const near_index *x, size_t number) { return x->pages[number / PAGE]; }

/* ---- opening and closing ---- */

finch_status near_open(double threshold, near_index **out, finch_error *err)
{
    near_index *x = NULL;
    finch_status st;
    *out = NULL;
    if (!(threshold > 0 && threshold <= 1))
        return finch_fail(err, FINCH_E_USAGE, "a similarity threshold lies above 0 and at most at 1, not at %g", threshold);
    FINCH_GO(done, st, MEM_NEW(&x, 1, err));
    x->threshold = threshold;
    x->key = siphash_key_make();
    x->n_slots = SLOTS_FIRST;
    FINCH_GO(done, st, MEM_NEW(&x->slots, x->n_slots, err));
    FINCH_GO(done, st, MEM_NEW(&x->piece, PIECE_TEXTS, err));
    st = MEM_NEW(&x->piece_new, PIECE_TEXTS, err);
done:
    if (st == FINCH_OK) *out = x;
    else near_close(x);
    return st;
}

static void give_up_adding(near_index *x)
{
    mem_free(x->slots);
    mem_free(x->scratch);
    mem_free(x->piece);
    mem_free(x->piece_new);
    x->slots = NULL;
    x->scratch = NULL;
    x->piece = NULL;
    x->piece_new = NULL;
}

void near_close(near_index *x)
{
    if (x == NULL) return;
    for (size_t i = 0; i < x->n_pages; i++) mem_free(x->pages[i]);
    for (size_t i = 0; i < x->n_row_pages; i++) mem_free(x->row_pages[i]);
    while (x->blocks != NULL) {
        block *below = x->blocks->below;
        mem_free(x->blocks);
        x->blocks = below;
    }
    mem_free(x->pages);
    mem_free(x->row_pages);
    give_up_adding(x);
    mem_free(x);
}

size_t near_rows(const near_index *x) { return x->n_rows; }

size_t near_bytes(const near_index *x)
{
    size_t clustering = x->n * (2 * sizeof(uint64_t) + sizeof(uint32_t)),
           adding = x->n_slots * sizeof(uint32_t) + x->scratch_bytes;
    return x->n_pages * sizeof(page) + x->n_row_pages * PAGE * sizeof(uint32_t) + x->n_blocks * sizeof(block) +
           (clustering > adding ? clustering : adding);
}

/* ---- adding ---- */

/* Room for one more page in a list of pages. */
static finch_status list_room(void **list, size_t n, size_t *capacity, finch_error *err)
{
    if (n < *capacity) return FINCH_OK;
    size_t wanted = *capacity == 0 ? 16 : *capacity * 2;
    FINCH_TRY(mem_grow(list, n * sizeof(void *), wanted, sizeof(void *), err));
    *capacity = wanted;
    return FINCH_OK;
}

static finch_status add_row(near_index *x, uint32_t number, finch_error *err)
{
    if (x->n_rows == NEAR_ROWS_MAX)
        return finch_fail(err, FINCH_E_DATA, "more than %lu rows can not be searched for near-duplicates at once",
                          (unsigned long)NEAR_ROWS_MAX);
    if (x->n_rows / PAGE == x->n_row_pages) {
        void *list = x->row_pages;
        FINCH_TRY(list_room(&list, x->n_row_pages, &x->row_pages_capacity, err));
        x->row_pages = list;
        FINCH_TRY(mem_alloc(PAGE, sizeof(uint32_t), (void **)&x->row_pages[x->n_row_pages], err));
        x->n_row_pages++;
    }
    x->row_pages[x->n_rows / PAGE][x->n_rows % PAGE] = number;
    x->n_rows++;
    return FINCH_OK;
}

static finch_status keep_text(near_index *x, const folded *f, const char **out, finch_error *err)
{
    *out = NULL;
    if (f->size > NEAR_TEXT_MAX_BYTES) return FINCH_OK;
    if (x->blocks == NULL || BLOCK_BYTES - x->blocks->used < f->size) {
        block *fresh;
        FINCH_TRY(mem_alloc(1, sizeof *fresh, (void **)&fresh, err));
        fresh->below = x->blocks;
        fresh->used = 0;
        x->blocks = fresh;
        x->n_blocks++;
    }
    char *at = x->blocks->at + x->blocks->used;
    memcpy(at, f->at, f->size);
    x->blocks->used += f->size;
    *out = at;
    return FINCH_OK;
}

/* The next number for a text that was not there. */
static finch_status add_distinct(near_index *x, const folded *f, finch_error *err)
{
    if (x->n / PAGE == x->n_pages) {
        void *list = x->pages;
        FINCH_TRY(list_room(&list, x->n_pages, &x->pages_capacity, err));
        x->pages = list;
        FINCH_TRY(mem_alloc(1, sizeof(page), (void **)&x->pages[x->n_pages], err));
        x->n_pages++;
    }
    page *p = page_of(x, x->n);
    size_t at = x->n % PAGE;
    p->hash[at] = f->hash;
    p->size[at] = (uint32_t)(f->size < UINT32_MAX ? f->size : UINT32_MAX);
    FINCH_TRY(keep_text(x, f, &p->text[at], err));
    x->n++;
    return FINCH_OK;
}

static finch_status grow_slots(near_index *x, finch_error *err)
{
    uint32_t *slots;
    size_t n_slots = x->n_slots * 2;
    FINCH_TRY(MEM_NEW(&slots, n_slots, err));
    for (size_t number = 0; number < x->n; number++) {
        size_t at = (size_t)page_of(x, number)->hash[number % PAGE] & (n_slots - 1);
        while (slots[at] != 0) at = (at + 1) & (n_slots - 1);
        slots[at] = (uint32_t)number + 1;
    }
    mem_free(x->slots);
    x->slots = slots;
    x->n_slots = n_slots;
    return FINCH_OK;
}

/* The hash is keyed, so texts that are not kept count as equal where it, and the size, are. */
static bool same_text(const near_index *x, size_t number, const folded *f)
{
    const page *p = page_of(x, number);
    size_t at = number % PAGE;
    if (p->hash[at] != f->hash || p->size[at] != f->size) return false;
    return p->text[at] == NULL || memcmp(p->text[at], f->at, f->size) == 0;
}

/* The text's number; *fresh where it got it now. */
static finch_status number_of(near_index *x, const folded *f, uint32_t *out, bool *fresh, finch_error *err)
{
    *fresh = false;
    if (2 * (x->n + 1) > x->n_slots) FINCH_TRY(grow_slots(x, err));
    size_t at = (size_t)f->hash & (x->n_slots - 1);
    for (; x->slots[at] != 0; at = (at + 1) & (x->n_slots - 1)) {
        *out = x->slots[at] - 1;
        if (same_text(x, *out, f)) return FINCH_OK;
    }
    *out = (uint32_t)x->n;
    *fresh = true;
    FINCH_TRY(add_distinct(x, f, err));
    x->slots[at] = *out + 1;
    return FINCH_OK;
}

/* Into the room at out: folding never makes a text longer, and text.size_bytes + 2 bytes are there. */
static void fold(const near_index *x, finch_text text, folded *out)
{
    str room = {out->at, 0, text.size_bytes + 2};
    out->size = 0;
    if (text.at == NULL || minhash_fold(text, &room, NULL) != FINCH_OK) return; /* it fails for want of memory only */
    out->size = room.size;
    out->hash = siphash(x->key, out->at, out->size).low;
}

static finch_status piece_room(near_index *x, size_t need, finch_error *err)
{
    if (need <= x->scratch_bytes) return FINCH_OK;
    mem_free(x->scratch);
    x->scratch_bytes = 0;
    FINCH_TRY(mem_alloc(need, 1, (void **)&x->scratch, err));
    x->scratch_bytes = need;
    return FINCH_OK;
}

static finch_status number_piece(near_index *x, size_t n, size_t *n_new, finch_error *err)
{
    enum { AHEAD = 8 };
    for (size_t i = 0; i < n; i++) {
        uint32_t number = no_text;
        bool fresh = false;
        if (i + AHEAD < n) __builtin_prefetch(&x->slots[x->piece[i + AHEAD].hash & (x->n_slots - 1)]);
        if (x->piece[i].size > 0) FINCH_TRY(number_of(x, &x->piece[i], &number, &fresh, err));
        if (fresh) x->piece_new[(*n_new)++] = (uint32_t)i;
        FINCH_TRY(add_row(x, number, err));
    }
    return FINCH_OK;
}

static finch_status add_piece(near_index *x, const finch_text *texts, size_t n, finch_error *err)
{
    size_t need = 0, first_new = x->n, n_new = 0;
    for (size_t i = 0; i < n; i++) need += texts[i].size_bytes + 2;
    FINCH_TRY(piece_room(x, need, err));
    char *at = x->scratch;
    for (size_t i = 0; i < n; i++) {
        x->piece[i].at = at;
        at += texts[i].size_bytes + 2;
    }
#pragma omp parallel for schedule(dynamic, 64)
    for (size_t i = 0; i < n; i++) fold(x, texts[i], &x->piece[i]);
    FINCH_TRY(number_piece(x, n, &n_new, err));
#pragma omp parallel for schedule(dynamic, 64)
    for (size_t k = 0; k < n_new; k++) {
        const folded *f = &x->piece[x->piece_new[k]];
        page_of(x, first_new + k)->sketch[(first_new + k) % PAGE] = minhash_of(f->at, f->size);
    }
    return FINCH_OK;
}

finch_status near_add(near_index *x, const finch_text *texts, size_t n_texts, finch_error *err)
{
    for (size_t begin = 0; begin < n_texts;) {
        size_t end = begin, size = 0;
        while (end < n_texts && end - begin < PIECE_TEXTS && (end == begin || size + texts[end].size_bytes <= PIECE_BYTES))
            size += texts[end++].size_bytes;
        FINCH_TRY(add_piece(x, texts + begin, end - begin, err));
        begin = end;
    }
    return FINCH_OK;
}

/* ---- judging a pair ---- */

/* The shingles of two texts: a table of those seen, each as its bytes' number + 1 with a bit for "in both". The multiplier is
 * odd and secret, so that no text can be made whose shingles meet in the table. */
typedef struct judging {
    uint64_t table[JUDGE_SLOTS];
    size_t n_slots;
    int shift;
    uint64_t multiplier;
    size_t n_all, n_both;
} judging;

static const uint64_t in_both = 1ull << 63;

static void judging_begin(judging *j, size_t n_shingles, uint64_t key)
{
    j->n_slots = 64;
    j->shift = 64 - 6;
    while (j->n_slots < 2 * n_shingles && j->n_slots < JUDGE_SLOTS) {
        j->n_slots *= 2;
        j->shift--;
    }
    j->multiplier = (key ^ 0x9E3779B97F4A7C15u) | 1;
    j->n_all = j->n_both = 0;
    memset(j->table, 0, j->n_slots * sizeof *j->table);
}

static uint64_t *place_of(judging *j, uint64_t value)
{
    size_t at = (size_t)(value * j->multiplier >> j->shift);
    while (j->table[at] != 0 && (j->table[at] & ~in_both) != value) at = (at + 1) & (j->n_slots - 1);
    return &j->table[at];
}

typedef enum side { SIDE_BOTH, SIDE_FIRST, SIDE_SECOND } side;

/* In this order: shingles that both texts have, those of the first, those of the second. */
static void take_shingle(judging *j, uint64_t value, side from)
{
    uint64_t *place = place_of(j, value);
    bool fresh = *place == 0;
    j->n_all += fresh;
    if (from == SIDE_BOTH ? fresh : from == SIDE_SECOND && !fresh && (*place & in_both) == 0) j->n_both++;
    if (fresh) *place = value;
    if (from != SIDE_FIRST) *place |= in_both; /* one of the second alone can not count again */
}

/* Those that begin in [begin, end) of the text; false as soon as least can not be reached any more. */
static bool take_shingles(judging *j, const char *text, size_t begin, size_t end, side from, double least)
{
    enum { LOOK_EVERY = 8 };
    uint64_t value = 0;
    if (begin >= end) return true;
    for (size_t i = begin; i < begin + MINHASH_SHINGLE - 1; i++) value = value << 8 | (unsigned char)text[i];
    for (size_t i = begin; i < end; i++) {
        value = (value << 8 | (unsigned char)text[i + MINHASH_SHINGLE - 1]) & ((1ull << 8 * MINHASH_SHINGLE) - 1);
        take_shingle(j, value + 1, from);
        if (from == SIDE_SECOND && i % LOOK_EVERY == 0 && (double)(j->n_both + (end - 1 - i)) < least * (double)j->n_all)
            return false;
    }
    return true;
}

static size_t common_prefix(finch_text a, finch_text b)
{
    size_t n = 0, most = a.size_bytes < b.size_bytes ? a.size_bytes : b.size_bytes;
    while (n < most && a.at[n] == b.at[n]) n++;
    return n;
}

/* Not beyond the first `used` bytes of either. */
static size_t common_suffix(finch_text a, finch_text b, size_t used)
{
    size_t n = 0, most = (a.size_bytes < b.size_bytes ? a.size_bytes : b.size_bytes) - used;
    while (n < most && a.at[a.size_bytes - 1 - n] == b.at[b.size_bytes - 1 - n]) n++;
    return n;
}

/* Exactly where it is at least `least`; otherwise it may be any number below that. What the texts begin and end with alike is
 * looked at once. */
static double similarity(finch_text a, finch_text b, uint64_t key, double least)
{
    enum { OVERLAP = MINHASH_SHINGLE - 1 };
    judging j;
    if (a.size_bytes < MINHASH_SHINGLE || b.size_bytes < MINHASH_SHINGLE)
        return a.size_bytes == b.size_bytes && memcmp(a.at, b.at, a.size_bytes) == 0 ? 1 : 0;
    size_t head = common_prefix(a, b), tail = common_suffix(a, b, head);
    size_t n_head = head > OVERLAP ? head - OVERLAP : 0, n_tail = tail > OVERLAP ? tail - OVERLAP : 0;
    size_t end_a = a.size_bytes - OVERLAP, end_b = b.size_bytes - OVERLAP;
    judging_begin(&j, end_a + end_b - n_head - n_tail, key);
    take_shingles(&j, a.at, 0, n_head, SIDE_BOTH, least);
    take_shingles(&j, a.at, end_a - n_tail, end_a, SIDE_BOTH, least);
    take_shingles(&j, a.at, n_head, end_a - n_tail, SIDE_FIRST, least);
    if ((double)(j.n_both + (end_b - n_tail - n_head)) < least * (double)j.n_all) return 0;
    if (!take_shingles(&j, b.at, n_head, end_b - n_tail, SIDE_SECOND, least)) return 0;
    return (double)j.n_both / (double)j.n_all;
}

double near_similarity(finch_text a, finch_text b) { return similarity(a, b, 0, 0); }

/* ---- the forest ---- */

static uint32_t root_of(uint32_t *parent, uint32_t at)
{
    for (;;) {
        uint32_t up = __atomic_load_n(&parent[at], __ATOMIC_RELAXED);
        if (up == at) return at;
        uint32_t next = __atomic_load_n(&parent[up], __ATOMIC_RELAXED);
        if (next != up) __atomic_compare_exchange_n(&parent[at], &up, next, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
        at = up;
    }
}

/* The greater root hangs itself below the smaller. */
static void connect(uint32_t *parent, uint32_t a, uint32_t b)
{
    for (;;) {
        a = root_of(parent, a);
        b = root_of(parent, b);
        if (a == b) return;
        uint32_t low = a < b ? a : b, high = a < b ? b : a, expected = high;
        if (__atomic_compare_exchange_n(&parent[high], &expected, low, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) return;
    }
}

/* ---- clustering ---- */

typedef struct clustering {
    const near_index *index;
    uint32_t *parent; /* [n] */
    uint64_t *entries; /* [n] a band's value above the text's number */
    uint64_t *sorted; /* [n] */
    size_t (*places)[DIGITS]; /* [SORT_PARTS] */
    size_t band;
    uint64_t n_judged;
} clustering;

static const minhash *sketch_of(const near_index *x, uint32_t number) { return &page_of(x, number)->sketch[number % PAGE]; }

/* Whether the pair was judged. */
static bool judge(const clustering *c, uint32_t a, uint32_t b)
{
    const near_index *x = c->index;
    if (root_of(c->parent, a) == root_of(c->parent, b)) return false;
    double estimate = minhash_similarity(sketch_of(x, a), sketch_of(x, b));
    if (estimate < x->threshold - estimate_slack) return false;
    const page *p = page_of(x, a), *q = page_of(x, b);
    finch_text s = {p->text[a % PAGE], p->size[a % PAGE]}, t = {q->text[b % PAGE], q->size[b % PAGE]};
    double found = s.at != NULL && t.at != NULL ? similarity(s, t, x->key.word[0], x->threshold) : estimate;
    if (found >= x->threshold) connect(c->parent, a, b);
    return true;
}

typedef struct neighbour {
    uint8_t order[MINHASH_BYTES]; /* the sketch from the band on, going round */
    uint32_t number;
} neighbour;

static int compare_neighbours(const void *a, const void *b)
{
    const neighbour *x = a, *y = b;
    int order = memcmp(x->order, y->order, sizeof x->order);
    return order != 0 ? order : x->number < y->number ? -1 : x->number > y->number;
}

/* A bucket that is too large for all pairs: alike sketches stand beside each other when they are sorted. Without memory
 * for that the order of the numbers has to do, which can cost recall but no correctness; so it is an error instead. */
static finch_status judge_large(const clustering *c, const uint64_t *entries, size_t n, uint64_t *n_judged, finch_error *err)
{
    neighbour *sorted;
    FINCH_TRY(mem_alloc(n, sizeof *sorted, (void **)&sorted, err));
    for (size_t i = 0; i < n; i++) {
        sorted[i].number = (uint32_t)entries[i];
        const uint8_t *bytes = sketch_of(c->index, sorted[i].number)->byte;
        size_t begin = c->band * MINHASH_BAND_BYTES;
        memcpy(sorted[i].order, bytes + begin, MINHASH_BYTES - begin);
        memcpy(sorted[i].order + MINHASH_BYTES - begin, bytes, begin);
    }
    qsort(sorted, n, sizeof *sorted, compare_neighbours);
    for (size_t i = 1; i < n; i++)
        for (size_t k = i > NEAR_WINDOW ? i - NEAR_WINDOW : 0; k < i; k++)
            *n_judged += judge(c, sorted[k].number, sorted[i].number);
    mem_free(sorted);
    return FINCH_OK;
}

static finch_status judge_bucket(const clustering *c, const uint64_t *entries, size_t n, uint64_t *n_judged,
                                 finch_error *err)
{
    if (n > NEAR_BUCKET) return judge_large(c, entries, n, n_judged, err);
    for (size_t i = 1; i < n; i++)
        for (size_t k = 0; k < i; k++) *n_judged += judge(c, (uint32_t)entries[k], (uint32_t)entries[i]);
    return FINCH_OK;
}

/* The buckets that begin in [begin, end). */
static finch_status judge_span(const clustering *c, size_t begin, size_t end, uint64_t *n_judged, finch_error *err)
{
    size_t n = c->index->n, at = begin;
    const uint64_t *e = c->sorted;
    while (at > 0 && at < end && e[at] >> 32 == e[at - 1] >> 32) at++; /* the bucket of the span before */
    while (at < end) {
        size_t next = at + 1;
        while (next < n && e[next] >> 32 == e[at] >> 32) next++;
        if (next - at > 1) FINCH_TRY(judge_bucket(c, e + at, next - at, n_judged, err));
        at = next;
    }
    return FINCH_OK;
}

typedef struct range {
    size_t begin, end;
} range;

static range part_of(const clustering *c, size_t part)
{
    size_t n = c->index->n;
    return (range){n / SORT_PARTS * part, part + 1 == SORT_PARTS ? n : n / SORT_PARTS * (part + 1)};
}

/* One round of the sort, by one digit: each part is counted; its place for a digit is behind all smaller digits and, of the same
 * one, behind the parts before; then it is moved. */
static void count_digits(const clustering *c, range part, unsigned shift, size_t *begin)
{
    memset(begin, 0, DIGITS * sizeof *begin);
    for (size_t i = part.begin; i < part.end; i++) begin[c->entries[i] >> shift & (DIGITS - 1)]++;
}

static void place_digits(size_t (*begin)[DIGITS], size_t n_parts)
{
    size_t sum = 0;
    for (size_t d = 0; d < DIGITS; d++)
        for (size_t part = 0; part < n_parts; part++) {
            size_t here = begin[part][d];
            begin[part][d] = sum;
            sum += here;
        }
}

static void move_entries(const clustering *c, range part, unsigned shift, size_t *begin)
{
    for (size_t i = part.begin; i < part.end; i++) c->sorted[begin[c->entries[i] >> shift & (DIGITS - 1)]++] = c->entries[i];
}

static void swap_entries(clustering *c)
{
    uint64_t *swap = c->entries;
    c->entries = c->sorted;
    c->sorted = swap;
}

/* By the upper 32 bits, in order of the lower ones where they are equal (they come so): three rounds of 11 bits. */
static void sort_entries(clustering *c)
{
    for (unsigned shift = 32; shift < 64; shift += DIGIT_BITS) {
#pragma omp parallel for schedule(static, 1)
        for (size_t part = 0; part < SORT_PARTS; part++) count_digits(c, part_of(c, part), shift, c->places[part]);
        place_digits(c->places, SORT_PARTS);
#pragma omp parallel for schedule(static, 1)
        for (size_t part = 0; part < SORT_PARTS; part++) move_entries(c, part_of(c, part), shift, c->places[part]);
        swap_entries(c);
    }
    swap_entries(c);
}

static finch_status cluster_band(clustering *c, finch_error *err)
{
    const near_index *x = c->index;
    size_t n = x->n;
    uint64_t n_judged = 0;
    finch_status st = FINCH_OK;
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < n; i++)
        c->entries[i] = (uint64_t)minhash_band(sketch_of(x, (uint32_t)i), c->band) << 32 | (uint32_t)i;
    sort_entries(c);
#pragma omp parallel for schedule(dynamic) reduction(+ : n_judged)
    for (size_t begin = 0; begin < n; begin += RUN_SPAN) {
        finch_error mine = {0};
        finch_status here = judge_span(c, begin, begin + RUN_SPAN < n ? begin + RUN_SPAN : n, &n_judged, &mine);
        if (here == FINCH_OK) continue;
#pragma omp critical(near_cluster_band)
        {
            st = here;
            if (err != NULL) *err = mine;
        }
    }
    c->n_judged += n_judged;
    return st;
}

static finch_status cluster_bands(clustering *c, const progress *watch, finch_error *err)
{
    for (c->band = 0; c->band < MINHASH_BANDS; c->band++) {
        if (!progress_report(watch, c->band, MINHASH_BANDS, NULL)) return finch_fail(err, FINCH_E_CANCELLED, "interrupted");
        FINCH_TRY(cluster_band(c, err));
    }
    return FINCH_OK;
}

/* Texts are numbered in the order of their first rows, so the first row that comes with a root is the cluster's first. */
static finch_status name_clusters(clustering *c, uint32_t *cluster, near_counts *counts, finch_error *err)
{
    const near_index *x = c->index;
    uint32_t *first;
    size_t n_clusters = 0;
    FINCH_TRY(mem_alloc(x->n, sizeof *first, (void **)&first, err));
    memset(first, 0xFF, x->n * sizeof *first);
    for (size_t row = 0; row < x->n_rows; row++) {
        uint32_t number = x->row_pages[row / PAGE][row % PAGE];
        uint32_t root = number == no_text ? no_text : root_of(c->parent, number);
        bool begins = root == no_text || first[root] == UINT32_MAX;
        if (begins && root != no_text) first[root] = (uint32_t)row;
        cluster[row] = begins ? (uint32_t)row : first[root];
        n_clusters += begins;
    }
    mem_free(first);
    if (counts != NULL) *counts = (near_counts){x->n_rows, x->n, n_clusters, c->n_judged};
    return FINCH_OK;
}

finch_status near_clusters(near_index *x, const progress *watch, uint32_t *cluster, near_counts *counts, finch_error *err)
{
    clustering c = {.index = x};
    finch_status st;
    give_up_adding(x);
    FINCH_GO(done, st, mem_alloc(x->n, sizeof *c.parent, (void **)&c.parent, err));
    FINCH_GO(done, st, mem_alloc(x->n, sizeof *c.entries, (void **)&c.entries, err));
    FINCH_GO(done, st, mem_alloc(x->n, sizeof *c.sorted, (void **)&c.sorted, err));
    FINCH_GO(done, st, mem_alloc(SORT_PARTS, sizeof *c.places, (void **)&c.places, err));
    for (size_t i = 0; i < x->n; i++) c.parent[i] = (uint32_t)i;
    FINCH_GO(done, st, cluster_bands(&c, watch, err));
    st = name_clusters(&c, cluster, counts, err);
done:
    mem_free(c.parent);
    mem_free(c.entries);
    mem_free(c.sorted);
    mem_free(c.places);
    return st;
}
