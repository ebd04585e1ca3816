/* From text to ids by byte-pair encoding: added tokens are cut out, what lies between is cut where no merge can reach
 * (bpe.h), and each part is looked up among those seen before or merged.
 *
 * Cost: a remembered part is one cache line. A short part is merged in place, the lowest rank found by looking at all
 * pairs; a long one with a heap, in n log n steps and 40 bytes a byte of it, whatever it holds. */
#include "text/bpe_encode.h"

#include "text/added.h"

#include <string.h>

enum {
    SHORT_SYMBOLS = 48,
    HEAP_PLACES = 3, /* a symbol: one to begin with, two for each merge */
    KEY_WORDS = 3,
    KEY_BYTES = KEY_WORDS * 8,
    SIZE_SHIFT = 56
};

_Static_assert(sizeof(bpe_word) == 64, "a remembered part is one cache line");
_Static_assert(BPE_WORD_BYTES == KEY_BYTES - 1, "a key's last byte is the part's size");

/* One text. */
typedef struct walk {
    const bpe *b;
    const unsigned char *text;
    size_t size;
    bpe_out *out;
    bpe_scratch *s;
} walk;

void bpe_scratch_free(bpe_scratch *s)
{
    mem_free(s->words);
    mem_free(s->symbols);
    mem_free(s->heap);
    mem_free(s->ids);
    *s = (bpe_scratch){0};
}

/* What was remembered for another tokenizer is forgotten. */
static finch_status take_scratch(bpe_scratch *s, const bpe *b, finch_error *err)
{
    if (s->words == NULL) {
        FINCH_TRY(MEM_NEW(&s->words, BPE_WORDS, err));
    } else if (s->owner.word[0] != b->secret.word[0] || s->owner.word[1] != b->secret.word[1]) {
        memset(s->words, 0, BPE_WORDS * sizeof *s->words);
    }
    s->owner = b->secret;
    return FINCH_OK;
}

static finch_status reserve(bpe_scratch *s, size_t n, finch_error *err)
{
    if (n <= s->capacity) return FINCH_OK;
    void *symbols = s->symbols, *heap = s->heap, *ids = s->ids;
    s->capacity = 0;
    FINCH_TRY(mem_grow(&symbols, 0, n, sizeof *s->symbols, err));
    s->symbols = symbols;
    FINCH_TRY(mem_grow(&heap, 0, n, HEAP_PLACES * sizeof *s->heap, err));
    s->heap = heap;
    FINCH_TRY(mem_grow(&ids, 0, n, sizeof *s->ids, err));
    s->ids = ids;
    s->capacity = n;
    return FINCH_OK;
}

/* ---- ids out --------------------------------------------------------------------------------------------------- */

/* Bytes of the text that a piece of so many bytes stands for, a blank being shorter in the text. */
static size_t piece_span(const walk *w, const text_tokenizer *t, int32_t id, size_t begin, size_t end)
{
    finch_text piece = t->pieces[id];
    size_t n = utf8_count((const unsigned char *)piece.at, piece.size_bytes), at = begin;
    for (; n > 0 && at < end; n--) at += utf8_next(w->text + at).size;
    return at;
}

/* Byte pieces all have the place of their character. */
static void put_spans(const walk *w, const text_tokenizer *t, const int32_t *ids, size_t n, size_t begin, size_t end)
{
    bpe_out *out = w->out;
    for (size_t i = 0, waiting = 0; i < n; i++) {
        size_t next = begin;
        if (w->b->byte_of[ids[i]] < 0) next = piece_span(w, t, ids[i], begin, end);
        else if (begin < end) next = begin + utf8_next(w->text + begin).size;
        if (out->n + i < out->limit) out->spans[out->n + i] = (text_span){begin, next};
        if (w->b->byte_of[ids[i]] >= 0 && ++waiting < next - begin) continue;
        waiting = 0;
        begin = next;
    }
}

static inline void put_ids(bpe_out *out, const int32_t *ids, size_t n)
{
    size_t room = out->n < out->limit ? out->limit - out->n : 0;
    for (size_t i = 0; i < n && i < room; i++) out->ids[out->n + i] = ids[i];
    out->n += n;
}

/* A remembered part's, all of the line at once where there is room. */
static inline void put_word(bpe_out *out, const bpe_word *word)
{
    if (out->n + BPE_WORD_IDS > out->limit) {
        put_ids(out, word->ids, (size_t)word->n);
        return;
    }
    memcpy(out->ids + out->n, word->ids, sizeof word->ids);
    out->n += (size_t)word->n;
}

/* ---- merging --------------------------------------------------------------------------------------------------- */

/* A part's first symbols into ids, which has room for its bytes. Returns their number. */
static size_t first_symbols(const bpe *b, const unsigned char *at, size_t size, int32_t *ids)
{
    size_t n = 0;
    for (const unsigned char *end = at + size; at < end;) {
        utf8_char c = utf8_next(at);
        int32_t id = bpe_symbol(b, c.code);
        if (id >= 0) ids[n++] = id;
        for (uint32_t i = 0; id < 0 && i < c.size; i++) ids[n++] = b->byte_ids[at[i]];
        at += c.size;
    }
    return n;
}

/* The merges of neighbours to begin with: out of a small table where all characters are ASCII, one symbol each. */
static void first_pairs(const bpe *b, const unsigned char *at, size_t size, const int32_t *ids, size_t n, bpe_pair *pairs)
{
    unsigned char bits = 0;
    for (size_t i = 0; i < size; i++) bits |= at[i];
    for (size_t i = 0; i + 1 < n; i++)
        pairs[i] = bits < TEXT_ASCII ? b->ascii_pairs[at[i]][at[i + 1]] : bpe_find(b, ids[i], ids[i + 1]);
}

/* Merges n symbols, at most SHORT_SYMBOLS, in place; returns how many are left. pairs[i] is the merge of i and i + 1. */
static size_t merge_short(const bpe *b, int32_t *ids, bpe_pair *pairs, size_t n)
{
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (pairs[i].rank < pairs[best].rank) best = i;
        if (pairs[best].rank == BPE_RANK_NONE) break;
        ids[best] = pairs[best].id;
        n--;
        for (size_t i = best + 1; i < n; i++) ids[i] = ids[i + 1];
        for (size_t i = best + 1; i + 1 < n; i++) pairs[i] = pairs[i + 1];
        if (best > 0) pairs[best - 1] = bpe_find(b, ids[best - 1], ids[best]);
        if (best + 1 < n) pairs[best] = bpe_find(b, ids[best], ids[best + 1]);
    }
    return n;
}

static void heap_push(uint64_t *heap, size_t *n, uint64_t item)
{
    size_t at = (*n)++;
    for (; at > 0 && heap[(at - 1) / 2] > item; at = (at - 1) / 2) heap[at] = heap[(at - 1) / 2];
    heap[at] = item;
}

static uint64_t heap_pop(uint64_t *heap, size_t *n)
{
    uint64_t top = heap[0], last = heap[--*n];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < *n; at = child) {
        if (child + 1 < *n && heap[child + 1] < heap[child]) child++;
        if (heap[child] >= last) break;
        heap[at] = heap[child];
    }
    heap[at] = last;
    return top;
}

#define NOBODY UINT32_MAX /* ends the list of symbols */

static void push_pair(const bpe *b, const bpe_node *symbols, uint32_t left, uint64_t *heap, size_t *n_heap)
{
    uint32_t right = left == NOBODY ? NOBODY : symbols[left].next;
    if (right == NOBODY) return;
    uint32_t rank = bpe_find(b, symbols[left].id, symbols[right].id).rank;
    if (rank != BPE_RANK_NONE) heap_push(heap, n_heap, (uint64_t)rank << 32 | left);
}

/* Merges the pair at left where it is still the one that the heap meant: a pair that changed has become longer, and so
 * is another merge with another rank. */
static void merge_pair(const bpe *b, bpe_node *symbols, uint32_t left, uint32_t rank, uint64_t *heap, size_t *n_heap)
{
    uint32_t right = symbols[left].next;
    if (symbols[left].id < 0 || right == NOBODY) return;
    bpe_pair pair = bpe_find(b, symbols[left].id, symbols[right].id);
    if (pair.rank != rank) return;
    symbols[left].id = pair.id;
    symbols[left].next = symbols[right].next;
    symbols[right].id = -1;
    if (symbols[left].next != NOBODY) symbols[symbols[left].next].previous = left;
    push_pair(b, symbols, symbols[left].previous, heap, n_heap);
    push_pair(b, symbols, left, heap, n_heap);
}

/* The same result as merge_short, for parts of any length. ids [n] are those of s. */
static size_t merge_long(const bpe *b, bpe_scratch *s, size_t n)
{
    size_t n_heap = 0, n_left = 0;
    for (size_t i = 0; i < n; i++)
        s->symbols[i] = (bpe_node){s->ids[i], i + 1 < n ? (uint32_t)(i + 1) : NOBODY, i > 0 ? (uint32_t)(i - 1) : NOBODY};
    for (size_t i = 0; i < n; i++) push_pair(b, s->symbols, (uint32_t)i, s->heap, &n_heap);
    while (n_heap > 0) {
        uint64_t top = heap_pop(s->heap, &n_heap);
        merge_pair(b, s->symbols, (uint32_t)top, (uint32_t)(top >> 32), s->heap, &n_heap);
    }
    for (size_t i = 0; i < n; i++)
        if (s->symbols[i].id >= 0) s->ids[n_left++] = s->symbols[i].id;
    return n_left;
}

/* ---- parts ----------------------------------------------------------------------------------------------------- */

static inline uint64_t low_bytes(uint64_t word, size_t n)
{
    return n >= sizeof word ? word : word & (((uint64_t)1 << (8 * n)) - 1);
}

/* The key of a part of at most BPE_WORD_BYTES; the text may be read up to its end. */
static inline void make_key(const unsigned char *at, size_t size, size_t readable, uint64_t key[KEY_WORDS])
{
    if (readable < KEY_BYTES) {
        key[0] = key[1] = key[2] = 0;
        memcpy(key, at, size);
    } else {
        memcpy(key, at, KEY_BYTES);
        key[0] = low_bytes(key[0], size);
        key[1] = size > 8 ? low_bytes(key[1], size - 8) : 0;
        key[2] = size > 16 ? low_bytes(key[2], size - 16) : 0;
    }
    key[2] |= (uint64_t)size << SIZE_SHIFT;
}

static inline bpe_word *word_of(const walk *w, const uint64_t key[KEY_WORDS])
{
    uint64_t hash = bpe_mix(key[0] ^ w->b->secret.word[0], key[1] ^ (key[2] * 0x9E3779B97F4A7C15u) ^ w->b->secret.word[1]);
    return &w->s->words[hash % BPE_WORDS];
}

static inline bool word_is(const bpe_word *word, const uint64_t key[KEY_WORDS])
{
    return ((word->key[0] ^ key[0]) | (word->key[1] ^ key[1]) | (word->key[2] ^ key[2])) == 0;
}

static void remember(bpe_word *word, const uint64_t key[KEY_WORDS], const int32_t *ids, size_t n)
{
    if (n > BPE_WORD_IDS) return;
    memcpy(word->key, key, sizeof word->key);
    memcpy(word->ids, ids, n * sizeof *ids);
    word->n = (int32_t)n;
}

/* A part's ids, in s->ids. */
static finch_status merge_part(const walk *w, const unsigned char *at, size_t size, size_t *n, finch_error *err)
{
    FINCH_TRY(reserve(w->s, size < SHORT_SYMBOLS ? SHORT_SYMBOLS : size, err));
    *n = first_symbols(w->b, at, size, w->s->ids);
    if (*n > SHORT_SYMBOLS) {
        *n = merge_long(w->b, w->s, *n);
        return FINCH_OK;
    }
    bpe_pair pairs[SHORT_SYMBOLS];
    first_pairs(w->b, at, size, w->s->ids, *n, pairs);
    *n = merge_short(w->b, w->s->ids, pairs, *n);
    return FINCH_OK;
}

/* A part that is not remembered, or too long for it (word is NULL then). */
static finch_status encode_new(const walk *w, const text_tokenizer *t, size_t begin, size_t size, bpe_word *word,
                               const uint64_t key[KEY_WORDS], finch_error *err)
{
    size_t n;
    FINCH_TRY(merge_part(w, w->text + begin, size, &n, err));
    if (word != NULL) remember(word, key, w->s->ids, n);
    if (w->out->spans != NULL) put_spans(w, t, w->s->ids, n, begin, begin + size);
    put_ids(w->out, w->s->ids, n);
    return FINCH_OK;
}

static inline finch_status encode_part(const walk *w, const text_tokenizer *t, size_t begin, size_t size, finch_error *err)
{
    uint64_t key[KEY_WORDS];
    if (size > BPE_WORD_BYTES) return encode_new(w, t, begin, size, NULL, key, err);
    make_key(w->text + begin, size, w->size - begin, key);
    bpe_word *word = word_of(w, key);
    if (!word_is(word, key)) return encode_new(w, t, begin, size, word, key, err);
    if (w->out->spans != NULL) put_spans(w, t, word->ids, (size_t)word->n, begin, begin + size);
    put_word(w->out, word);
    return FINCH_OK;
}

/* Bytes of the part that begins at `at`: up to the first two characters that no merge joins. */
static inline size_t part_size(const bpe *b, const unsigned char *at, size_t size)
{
    unsigned before = BPE_CLASSES;
    for (size_t i = 0; i < size;) {
        unsigned class = at[i];
        size_t bytes = 1;
        if (class >= TEXT_ASCII) {
            utf8_char c = utf8_next(at + i);
            class = bpe_class(c.code);
            bytes = c.size;
        }
        if (before < BPE_CLASSES && !bpe_joined(b, before, class)) return i;
        before = class;
        i += bytes;
    }
    return size;
}

/* Text without added tokens. */
static finch_status encode_between(const walk *w, const text_tokenizer *t, size_t begin, size_t end, finch_error *err)
{
    while (begin < end && w->out->n <= w->out->limit) {
        size_t size = part_size(w->b, w->text + begin, end - begin);
        FINCH_TRY(encode_part(w, t, begin, size, err));
        begin += size;
    }
    return FINCH_OK;
}

/* ---- added tokens ---------------------------------------------------------------------------------------------- */

static void put_added(const walk *w, const text_added_match *m)
{
    bpe_out *out = w->out;
    if (out->spans != NULL && out->n < out->limit) out->spans[out->n] = (text_span){m->begin, m->end};
    put_ids(out, &m->token->id, 1);
}

/* Text between the tokens that go first: those that the reference looks for after its normaliser. */
static finch_status encode_normal(const walk *w, const text_tokenizer *t, size_t begin, size_t end, finch_error *err)
{
    text_added_search search = {0};
    text_added_match match;
    size_t done = begin;
    while (w->out->n <= w->out->limit &&
           text_added_find(t, &t->normal_added, w->text + begin, end - begin, &search, &match)) {
        match.begin += begin;
        match.end += begin;
        FINCH_TRY(encode_between(w, t, done, match.begin, err));
        put_added(w, &match);
        done = search.begin + begin;
    }
    return encode_between(w, t, done, end, err);
}

finch_status bpe_encode(const text_tokenizer *t, finch_text text, bool controls, bpe_out *out, bpe_scratch *s,
                        finch_error *err)
{
    const text_added_set *set = controls ? &t->raw_added : &t->plain_added;
    walk w = {t->bpe, (const unsigned char *)text.at, text.size_bytes, out, s};
    text_added_search search = {0};
    text_added_match match;
    size_t done = 0;
    if (text.size_bytes > TEXT_BYTES_MAX)
        return finch_fail(err, FINCH_E_DATA, "a text of %zu bytes is too long: the tokenizer takes up to %d; cut it",
                          text.size_bytes, TEXT_BYTES_MAX);
    FINCH_TRY(take_scratch(s, t->bpe, err));
    while (out->n <= out->limit && text_added_find(t, set, w.text, w.size, &search, &match)) {
        FINCH_TRY(encode_normal(&w, t, done, match.begin, err));
        put_added(&w, &match);
        done = search.begin;
    }
    return encode_normal(&w, t, done, w.size, err);
}
