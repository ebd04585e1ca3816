/* BertNormalizer in one pass. The reference makes four: clean, space out Chinese, NFD without nonspacing marks, lower
 * case. Here each code point goes through all four at once; only combining marks wait (text_mark) until the next starter
 * shows that their canonical order is known.
 *
 * Runs of printable ASCII, most of any tweet, take eight bytes a step without looking at tables.
 *
 * Places follow the reference's NormalizedString: NFD hands out places by position, so that marks that change order
 * swap texts but not places. */
#include "text/normalize.h"

#include "text/utf8.h"

#include <assert.h>
#include <string.h>

enum { ROOM_BEHIND = 16 }; /* a step of the ASCII loop writes eight bytes, however many it keeps */

void text_buffer_free(text_buffer *b)
{
    mem_free(b->at);
    mem_free(b->places);
    mem_free(b->marks);
    mem_free(b->mark_places);
    *b = (text_buffer){0};
}

static finch_status reserve(void **block, size_t *capacity, size_t n, size_t item_bytes, finch_error *err)
{
    if (n <= *capacity) return FINCH_OK;
    size_t grown = *capacity < SIZE_MAX / 2 && *capacity * 2 > n ? *capacity * 2 : n;
    mem_free(*block);
    *block = NULL;
    *capacity = 0;
    FINCH_TRY(mem_alloc(grown, item_bytes, block, err));
    *capacity = grown;
    return FINCH_OK;
}

finch_status text_buffer_reserve(text_buffer *b, size_t size, bool want_places, finch_error *err)
{
    void *block = b->at;
    finch_status st = reserve(&block, &b->capacity, size, 1, err);
    b->at = block;
    if (st != FINCH_OK || !want_places) return st;
    block = b->places;
    st = reserve(&block, &b->places_capacity, size, sizeof *b->places, err);
    b->places = block;
    return st;
}

/* ---- one code point out ---------------------------------------------------------------------------------------- */

typedef struct normalizer {
    const text_tokenizer *t;
    text_buffer *b;
    bool want_places;
    text_span place; /* of the code point that the next output comes from */
} normalizer;

static void put(normalizer *n, uint32_t code)
{
    text_buffer *b = n->b;
    assert(b->capacity - b->size >= UTF8_MAX_BYTES);
    size_t size = utf8_encode(code, b->at + b->size);
    if (n->want_places)
        for (size_t i = 0; i < size; i++) b->places[b->size + i] = n->place;
    b->size += size;
}

static void put_lower(normalizer *n, uint32_t code)
{
    uint32_t parts[UNICODE_PARTS_MAX];
    if (!n->t->rules.lower_case) {
        put(n, code);
        return;
    }
    size_t n_parts = unicode_lower(code, parts);
    for (size_t i = 0; i < n_parts; i++) put(n, parts[i]);
}

/* ---- combining marks ------------------------------------------------------------------------------------------- */

static finch_status grow(void **block, size_t used, size_t *capacity, size_t item_bytes, finch_error *err)
{
    if (used < *capacity) return FINCH_OK;
    size_t grown = *capacity == 0 ? 32 : *capacity * 2;
    FINCH_TRY(mem_grow(block, used * item_bytes, grown, item_bytes, err));
    *capacity = grown;
    return FINCH_OK;
}

static finch_status push_mark(normalizer *n, uint32_t code, unsigned order, bool joined, finch_error *err)
{
    text_buffer *b = n->b;
    void *block = b->marks;
    finch_status st = grow(&block, b->n_marks, &b->marks_capacity, sizeof *b->marks, err);
    b->marks = block;
    if (st != FINCH_OK) return st;
    if (!joined && n->want_places) {
        block = b->mark_places;
        st = grow(&block, b->n_mark_places, &b->mark_places_capacity, sizeof *b->mark_places, err);
        b->mark_places = block;
        if (st != FINCH_OK) return st;
        b->mark_places[b->n_mark_places++] = n->place;
    }
    b->marks[b->n_marks++] = (text_mark){code, (unsigned char)order, joined};
    return FINCH_OK;
}

/* Puts out the waiting marks: by combining class, in their order within one class; nonspacing ones are dropped. One
 * sweep for each class that occurs, so that a megabyte of marks takes linear time. */
static void flush_marks(normalizer *n, text_span base_place)
{
    text_buffer *b = n->b;
    uint64_t present[4] = {0};
    text_span here = n->place;
    size_t n_placed = 0;
    n->place = base_place;
    for (size_t i = 0; i < b->n_marks; i++) present[b->marks[i].order / 64] |= (uint64_t)1 << b->marks[i].order % 64;
    for (unsigned order = 1; order < 256; order++) {
        if ((present[order / 64] >> order % 64 & 1) == 0) continue;
        for (size_t i = 0; i < b->n_marks; i++) {
            if (b->marks[i].order != order) continue;
            if (!b->marks[i].joined && n->want_places) n->place = b->mark_places[n_placed++];
            if ((text_class(n->t, b->marks[i].code) & CHAR_MARK) == 0) put_lower(n, b->marks[i].code);
        }
    }
    n->place = here;
    b->n_marks = 0;
    b->n_mark_places = 0;
}

/* ---- one code point in ----------------------------------------------------------------------------------------- */

typedef struct decomposer {
    normalizer n;
    text_span base_place; /* of the last starter: what marks that came with it share */
} decomposer;

static void flush(decomposer *d)
{
    if (d->n.b->n_marks > 0) flush_marks(&d->n, d->base_place);
}

static finch_status put_decomposed(decomposer *d, uint32_t code, finch_error *err)
{
    uint32_t parts[UNICODE_PARTS_MAX];
    size_t n_parts = unicode_decompose(code, parts);
    for (size_t i = 0; i < n_parts; i++) {
        unsigned order = unicode_combining_class(parts[i]);
        if (order != 0) {
            FINCH_TRY(push_mark(&d->n, parts[i], order, i > 0, err));
            continue;
        }
        flush(d);
        d->base_place = d->n.place;
        if ((text_class(d->n.t, parts[i]) & CHAR_MARK) == 0) put_lower(&d->n, parts[i]);
    }
    return FINCH_OK;
}

static finch_status put_changed(decomposer *d, uint32_t code, unsigned class, finch_error *err)
{
    const text_rules *rules = &d->n.t->rules;
    bool chinese = rules->chinese_chars && (class & CHAR_CHINESE) != 0;
    if (rules->clean_text) {
        if ((class & CHAR_REMOVED) != 0) return FINCH_OK; /* marks on either side still meet */
        if ((class & CHAR_WHITE) != 0) code = ' ';
    }
    if (!rules->strip_accents) {
        if (chinese) put(&d->n, ' ');
        put_lower(&d->n, code);
        if (chinese) put(&d->n, ' ');
        return FINCH_OK;
    }
    if (chinese) FINCH_TRY(put_decomposed(d, ' ', err));
    FINCH_TRY(put_decomposed(d, code, err));
    if (chinese) FINCH_TRY(put_decomposed(d, ' ', err));
    return FINCH_OK;
}

/* ---- runs of ASCII --------------------------------------------------------------------------------------------- */

#define EACH(byte) (0x0101010101010101u * (uint64_t)(byte))

/* The high bit of each byte that is not printable ASCII. Above the first one there may be false ones: carries and
 * borrows only travel upwards. */
static inline uint64_t not_printable(uint64_t eight)
{
    return (eight | (eight - EACH(0x20)) | (eight + EACH(0x01))) & EACH(0x80);
}

/* Eight ASCII bytes; those from A to Z get 0x20 more. Bytes with the high bit are not meant. */
static inline uint64_t lower_eight(uint64_t eight)
{
    uint64_t low = eight & EACH(0x7F);
    uint64_t from_a = low + EACH(0x80 - 'A');
    uint64_t past_z = low + EACH(0x80 - 'Z' - 1);
    return eight | ((from_a ^ past_z) & EACH(0x80)) >> 2;
}

/* Copies printable ASCII in lower case (where wanted) from at to out, which has room for 8 bytes more than [at, end);
 * returns how many bytes. */
static size_t copy_printable(const unsigned char *at, const unsigned char *end, bool lower, unsigned char *out)
{
    const unsigned char *start = at;
    for (uint64_t eight; end - at >= (ptrdiff_t)sizeof eight; at += sizeof eight, out += sizeof eight) {
        memcpy(&eight, at, sizeof eight);
        uint64_t lowered = lower ? lower_eight(eight) : eight, flags = not_printable(eight);
        memcpy(out, &lowered, sizeof lowered);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
        if (flags != 0) return (size_t)(at - start) + (unsigned)__builtin_ctzll(flags) / 8;
#else
        if (flags != 0) break;
#endif
    }
    for (; at < end && *at >= 0x20 && *at < 0x7F; at++)
        *out++ = lower && *at >= 'A' && *at <= 'Z' ? (unsigned char)(*at + 0x20) : *at;
    return (size_t)(at - start);
}

static void note_places(text_buffer *b, size_t n_bytes, size_t where)
{
    for (size_t i = 0; i < n_bytes; i++) b->places[b->size + i] = (text_span){where + i, where + i + 1};
}

finch_status text_normalize(const text_tokenizer *t, finch_text text, size_t where, bool want_places, text_buffer *b,
                            finch_error *err)
{
    const unsigned char *start = (const unsigned char *)text.at, *end = start + text.size_bytes;
    decomposer d = {.n = {.t = t, .b = b, .want_places = want_places}};
    size_t need;
    b->size = 0;
    b->n_marks = 0;
    b->n_mark_places = 0;
    if (!size_mul(text.size_bytes, TEXT_GROWTH_MAX, &need) || !size_add(need, ROOM_BEHIND, &need))
        return finch_fail(err, FINCH_E_MEMORY, "a text of %zu bytes is too long", text.size_bytes);
    FINCH_TRY(text_buffer_reserve(b, need, want_places, err));
    for (const unsigned char *at = start; at < end;) {
        if (*at >= 0x20 && *at < 0x7F) {
            flush(&d);
            size_t n = copy_printable(at, end, t->rules.lower_case, b->at + b->size);
            if (want_places) {
                note_places(b, n, where + (size_t)(at - start));
                d.base_place = b->places[b->size + n - 1];
            }
            b->size += n;
            at += n;
            continue;
        }
        utf8_char c = utf8_next(at);
        unsigned class = text_class(t, c.code);
        d.n.place = (text_span){where + (size_t)(at - start), where + (size_t)(at - start) + c.size};
        at += c.size;
        if ((class & t->touched) != 0) {
            FINCH_TRY(put_changed(&d, c.code, class, err));
            continue;
        }
        flush(&d);
        d.base_place = d.n.place;
        put(&d.n, c.code);
    }
    flush(&d);
    return FINCH_OK;
}
