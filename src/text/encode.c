/* From text to ids: added tokens are cut out of the text, what lies between is normalised and cut into words, and each
 * word is spelt with the longest pieces that fit, from the left (Schuster and Nakajima, 2012; Wu et al., 2016).
 *
 * Words are not looked for beforehand. The trie holds only pieces that a word can be made of (text_tokenizer_build), so
 * a match ends at the latest where the word does, and most words are one walk down the trie. */
#include "text/added.h"
#include "text/bpe_encode.h"
#include "text/normalize.h"
#include "text/utf8.h"

#include <string.h>

struct text_scratch {
    text_buffer normal;
    text_buffer repaired; /* the text with U+FFFD for what is not UTF-8; places only where spans are wanted */
    bpe_scratch bpe;
};

finch_status text_scratch_create(text_scratch **out, finch_error *err) { return MEM_NEW(out, 1, err); }

void text_scratch_destroy(text_scratch *s)
{
    if (s == NULL) return;
    text_buffer_free(&s->normal);
    text_buffer_free(&s->repaired);
    bpe_scratch_free(&s->bpe);
    mem_free(s);
}

/* ---- ids out --------------------------------------------------------------------------------------------------- */

typedef struct encoder {
    const text_tokenizer *t;
    text_buffer *normal;
    int32_t *ids;
    text_span *spans; /* NULL unless wanted */
    size_t n;         /* pieces so far, also those past limit */
    size_t limit;
} encoder;

static inline void put_id(encoder *e, int32_t id, size_t begin, size_t end)
{
    if (e->n < e->limit) {
        e->ids[e->n] = id;
        if (e->spans != NULL) e->spans[e->n] = (text_span){begin, end};
    }
    e->n++;
}

/* A piece's bytes in the normalised text. */
static inline void put_piece(encoder *e, int32_t id, size_t begin, size_t end)
{
    if (e->spans != NULL) put_id(e, id, e->normal->places[begin].begin, e->normal->places[end - 1].end);
    else put_id(e, id, 0, 0);
}

/* ---- words ----------------------------------------------------------------------------------------------------- */

enum { CHAR_ENDS_WORD = CHAR_WHITE | CHAR_PUNCT };

/* Whether a word that reaches `at` ends there; at most end. */
static inline bool word_ends(const text_tokenizer *t, const unsigned char *at, const unsigned char *end)
{
    if (at == end) return true;
    uint32_t code = *at < 0x80 ? *at : utf8_next(at).code;
    return (text_class(t, code) & CHAR_ENDS_WORD) != 0;
}

static const unsigned char *word_end(const text_tokenizer *t, const unsigned char *at, const unsigned char *end)
{
    while (!word_ends(t, at, end)) at += utf8_next(at).size;
    return at;
}

static bool word_too_long(const text_tokenizer *t, const unsigned char *begin, const unsigned char *end)
{
    size_t size = (size_t)(end - begin);
    return size > t->word_chars_max && utf8_count(begin, size) > t->word_chars_max;
}

/* A word that begins at `at`; returns its end. Pieces are put out as they are found and taken back where the word turns
 * out to be unknown as a whole. */
static const unsigned char *encode_word(encoder *e, const unsigned char *text, const unsigned char *at,
                                        const unsigned char *end)
{
    const text_tokenizer *t = e->t;
    const unsigned char *begin = at;
    size_t n_before = e->n, size_max = t->word_chars_max * UTF8_MAX_BYTES;
    uint32_t root = t->word_root;
    int32_t id = -1;
    for (size_t size; (size = trie_longest(&t->pieces_trie, root, at, end, &id)) > 0; root = t->rest_root) {
        put_piece(e, id, (size_t)(at - text), (size_t)(at - text) + size);
        at += size;
        if (word_ends(t, at, end)) {
            if (!word_too_long(t, begin, at)) return at;
            break;
        }
        if ((size_t)(at - begin) > size_max) break;
    }
    at = word_end(t, at, end);
    e->n = n_before;
    put_piece(e, t->special.unk, (size_t)(begin - text), (size_t)(at - text));
    return at;
}

/* A punctuation mark is a word of its own. */
static const unsigned char *encode_mark(encoder *e, const unsigned char *text, const unsigned char *at, utf8_char c)
{
    const text_tokenizer *t = e->t;
    int32_t id = t->special.unk;
    if (c.code < TEXT_ASCII) id = t->ascii_ids[c.code];
    else (void)trie_longest(&t->pieces_trie, t->word_root, at, at + c.size, &id);
    put_piece(e, id, (size_t)(at - text), (size_t)(at - text) + c.size);
    return at + c.size;
}

/* Words of the normalised text [begin, end), until there are more pieces than fit. */
static void encode_words(encoder *e, size_t begin, size_t end)
{
    const unsigned char *text = e->normal->at, *at = text + begin, *stop = text + end;
    while (at < stop && e->n <= e->limit) {
        utf8_char c = utf8_next(at);
        unsigned class = text_class(e->t, c.code);
        if ((class & CHAR_WHITE) != 0) at += c.size;
        else if ((class & CHAR_PUNCT) != 0) at = encode_mark(e, text, at, c);
        else at = encode_word(e, text, at, stop);
    }
}

/* ---- added tokens ---------------------------------------------------------------------------------------------- */

/* In MPNet's style the white space that a token took counts to no token. */
static void put_added(encoder *e, const unsigned char *text, text_added_match m)
{
    size_t begin = m.begin, end = m.end;
    bool trim = e->t->trim_spans && e->spans != NULL;
    while (trim && begin < end && (text_class(e->t, utf8_next(text + begin).code) & CHAR_WHITE) != 0)
        begin += utf8_next(text + begin).size;
    while (trim && end > begin) {
        size_t last = end - 1;
        while (last > begin && (text[last] & 0xC0u) == 0x80u) last--;
        if ((text_class(e->t, utf8_next(text + last).code) & CHAR_WHITE) == 0) break;
        end = last;
    }
    put_id(e, m.token->id, begin, end);
}

static void put_normal_added(encoder *e, text_added_match m)
{
    const text_buffer *b = e->normal;
    size_t begin = m.begin, end = m.end;
    bool trim = e->t->trim_spans && e->spans != NULL;
    while (trim && begin < end - 1 && b->at[begin] == ' ') begin++;
    while (trim && end > begin + 1 && b->at[end - 1] == ' ') end--;
    put_piece(e, m.token->id, begin, end);
}

/* Text without added tokens in their raw form. */
static finch_status encode_between(encoder *e, const unsigned char *text, size_t begin, size_t end, finch_error *err)
{
    text_added_search search = {0};
    text_added_match match;
    if (begin >= end || e->n > e->limit) return FINCH_OK;
    finch_text part = {(const char *)text + begin, end - begin};
    FINCH_TRY(text_normalize(e->t, part, begin, e->spans != NULL, e->normal, err));
    size_t done = 0, size = e->normal->size;
    while (e->n <= e->limit && text_added_find(e->t, &e->t->normal_added, e->normal->at, size, &search, &match)) {
        encode_words(e, done, match.begin);
        put_normal_added(e, match);
        done = search.begin;
    }
    encode_words(e, done, size);
    return FINCH_OK;
}

static finch_status encode_text(encoder *e, const unsigned char *text, size_t size, finch_error *err)
{
    text_added_search search = {0};
    text_added_match match;
    size_t done = 0;
    while (e->n <= e->limit && text_added_find(e->t, &e->t->raw_added, text, size, &search, &match)) {
        FINCH_TRY(encode_between(e, text, done, match.begin, err));
        put_added(e, text, match);
        done = search.begin;
    }
    return encode_between(e, text, done, size, err);
}

/* ---- text that is not UTF-8 ------------------------------------------------------------------------------------ */

/* Copies the text with U+FFFD for each ill-formed part. */
static finch_status repair(finch_text text, size_t valid_bytes, bool want_places, text_buffer *b, finch_error *err)
{
    const unsigned char *start = (const unsigned char *)text.at, *end = start + text.size_bytes;
    size_t need;
    if (!size_mul(text.size_bytes, TEXT_GROWTH_MAX, &need) || !size_add(need, 1, &need))
        return finch_fail(err, FINCH_E_MEMORY, "a text of %zu bytes is too long", text.size_bytes);
    FINCH_TRY(text_buffer_reserve(b, need, want_places, err));
    memcpy(b->at, start, valid_bytes);
    b->size = valid_bytes;
    for (size_t i = 0; want_places && i < valid_bytes; i++) b->places[i] = (text_span){i, i + 1};
    for (const unsigned char *at = start + valid_bytes; at < end;) {
        utf8_char c = utf8_decode(at, end);
        size_t size = utf8_encode(c.code, b->at + b->size), from = (size_t)(at - start);
        for (size_t i = 0; want_places && i < size; i++) b->places[b->size + i] = (text_span){from, from + c.size};
        b->size += size;
        at += c.size;
    }
    return FINCH_OK;
}

static void spans_unrepair(const text_buffer *b, text_span *spans, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        text_span s = spans[i];
        spans[i].begin = s.begin < b->size ? b->places[s.begin].begin : 0;
        spans[i].end = s.end > s.begin ? b->places[s.end - 1].end : spans[i].begin;
    }
}

/* Without what surrounds a text; *n is the number of pieces, of which at most limit were written. */
static finch_status encode_inner(const text_tokenizer *t, finch_text text, bool controls, size_t limit, int32_t *ids,
                                 text_span *spans, size_t *n, text_scratch *s, finch_error *err)
{
    const unsigned char *at = (const unsigned char *)(text.size_bytes == 0 ? "" : text.at); /* NULL and 0 is a text too */
    size_t size = text.size_bytes, valid_bytes = utf8_valid_size(at, size);
    if (valid_bytes < size) {
        FINCH_TRY(repair(text, valid_bytes, spans != NULL, &s->repaired, err));
        at = s->repaired.at;
        size = s->repaired.size;
    }
    if (t->bpe != NULL) {
        bpe_out out = {ids, spans, 0, limit};
        FINCH_TRY(bpe_encode(t, (finch_text){(const char *)at, size}, controls, &out, &s->bpe, err));
        *n = out.n;
    } else {
        encoder e = {t, &s->normal, ids, spans, 0, limit};
        FINCH_TRY(encode_text(&e, at, size, err));
        *n = e.n;
    }
    if (spans != NULL && valid_bytes < text.size_bytes) spans_unrepair(&s->repaired, spans, *n < limit ? *n : limit);
    return FINCH_OK;
}

finch_status text_encode(const text_tokenizer *t, finch_text text, size_t max_tokens, int32_t *ids, size_t *n_tokens,
                         bool *truncated, text_span *spans, text_scratch *scratch, finch_error *err)
{
    size_t after = t->adds_sep, n = 0;
    *n_tokens = 0;
    if (truncated != NULL) *truncated = false;
    if (max_tokens < TEXT_TOKENS_MIN)
        return finch_fail(err, FINCH_E_USAGE, "%zu tokens hold no text: the maximum must be %d or more", max_tokens,
                          TEXT_TOKENS_MIN);
    size_t limit = max_tokens - 1 - after;
    FINCH_TRY(encode_inner(t, text, true, limit, ids + 1, spans == NULL ? NULL : spans + 1, &n, scratch, err));
    if (truncated != NULL) *truncated = n > limit;
    if (n > limit) n = limit;
    ids[0] = t->special.cls;
    if (after > 0) ids[n + 1] = t->special.sep;
    if (spans != NULL) {
        spans[0] = (text_span){0, 0};
        if (after > 0) spans[n + 1] = (text_span){0, 0};
    }
    *n_tokens = 1 + n + after;
    return FINCH_OK;
}

finch_status text_encode_plain(const text_tokenizer *t, finch_text text, size_t max_tokens, int32_t *ids, size_t *n_tokens,
                               bool *truncated, text_scratch *scratch, finch_error *err)
{
    size_t n = 0;
    *n_tokens = 0;
    if (truncated != NULL) *truncated = false;
    if (t->bpe == NULL)
        return finch_fail(err, FINCH_E_UNSUPPORTED, "this takes a BPE tokenizer (Gemma's), and the model has WordPiece");
    FINCH_TRY(encode_inner(t, text, false, max_tokens, ids, NULL, &n, scratch, err));
    if (truncated != NULL) *truncated = n > max_tokens;
    *n_tokens = n < max_tokens ? n : max_tokens;
    return FINCH_OK;
}
