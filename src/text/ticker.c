/* The walk goes from piece to piece (clean_words.h). A '$' in one that is no text may begin a cashtag; each word of a run
 * may begin a name. A name's words are parted by at most SEPARATOR_MAX bytes of signs, and the longest name is taken. */
#include "text/ticker.h"

#include "text/clean_words.h"
#include "text/ticker_table.h"

#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum { ROOT_MAX = 6, CLASS_MAX = 2, WORD_MAX = 31, SEPARATOR_MAX = 4 };

/* Letters and digits. */
static const unsigned char word_bytes[256] = {['0' ... '9'] = 1, ['A' ... 'Z'] = 1, ['a' ... 'z'] = 1};

static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
static bool is_word(char c) { return word_bytes[(unsigned char)c] != 0; }
static char upper(char c) { return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c; }
static char lower(char c) { return is_upper(c) ? (char)(c - 'A' + 'a') : c; }

static size_t letters_at(finch_text t, size_t at)
{
    size_t n = 0;
    while (at + n < t.size_bytes && is_letter(t.at[at + n])) n++;
    return n;
}

static bool goes_on(finch_text t, size_t at)
{
    return at < t.size_bytes && (is_word(t.at[at]) || t.at[at] == '_' || t.at[at] == '$');
}

/* The cashtag whose '$' is at begin; false where none is. */
static bool cashtag_at(finch_text t, size_t begin, text_ticker *out)
{
    if (begin > 0 && goes_on(t, begin - 1)) return false;
    size_t root = letters_at(t, begin + 1), end = begin + 1 + root;
    if (root == 0 || root > ROOT_MAX || goes_on(t, end)) return false;
    size_t class = end < t.size_bytes && (t.at[end] == '.' || t.at[end] == '-') ? letters_at(t, end + 1) : 0;
    if (class > CLASS_MAX || goes_on(t, end + 1 + class)) class = 0;
    *out = (text_ticker){.found = TEXT_TICKER_CASHTAG, .begin = begin, .end = class > 0 ? end + 1 + class : end};
    for (size_t i = 0; begin + 1 + i < out->end; i++) out->symbol[i] = i == root ? '.' : upper(t.at[begin + 1 + i]);
    out->listing = ticker_symbol_of(out->symbol);
    if (class == 0 || out->listing != NULL) return true;
    /* "$AAPL.We" and "$GM-F" are their roots; "$BRK.B" was in the table. */
    out->symbol[root] = '\0';
    memset(out->symbol + root, 0, sizeof out->symbol - root);
    out->end = end;
    out->listing = ticker_symbol_of(out->symbol);
    return true;
}

typedef struct word {
    size_t begin, end;
    char folded[WORD_MAX + 1]; /* lower case; empty where the word is too long for any name */
} word;

static size_t word_end(finch_text t, size_t begin)
{
    size_t end = begin;
    while (end < t.size_bytes && is_word(t.at[end])) end++;
    return end;
}

static word word_at(finch_text t, size_t begin)
{
    word w = {.begin = begin, .end = word_end(t, begin)};
    if (w.end - begin > WORD_MAX) return w;
    for (size_t i = begin; i < w.end; i++) w.folded[i - begin] = lower(t.at[i]);
    return w;
}

/* Bytes of a sign that may stand inside a name, 0 where there is none. */
static size_t separator_size(finch_text t, size_t at)
{
    if (at >= t.size_bytes) return 0;
    if (t.at[at] == '\0' || strchr(" &'-.", t.at[at]) != NULL) return t.at[at] != '\0';
    return t.size_bytes - at >= 3 && memcmp(t.at + at, "\xE2\x80\x99", 3) == 0 ? 3 : 0;
}

/* The word behind a word that ends at end; an empty one where something else than signs comes first. */
static word word_behind(finch_text t, size_t end)
{
    size_t at = end;
    for (size_t n; at - end < SEPARATOR_MAX && (n = separator_size(t, at)) > 0;) at += n;
    return word_at(t, at);
}

static bool begins_with_capital(finch_text t, const word *w)
{
    return is_upper(t.at[w->begin]) || is_digit(t.at[w->begin]) || ticker_word_is_filler(w->folded, strlen(w->folded));
}

static bool has_lower(finch_text t, size_t begin, size_t end)
{
    for (size_t i = begin; i < end; i++)
        if (t.at[i] >= 'a' && t.at[i] <= 'z') return true;
    return false;
}

/* How the words of a name are written. */
typedef struct spelling {
    size_t end;
    bool capital; /* each word begins with one */
} spelling;

/* Whether the words from first on are those of alias. */
static bool spells(finch_text t, const word *first, const char *alias, spelling *out)
{
    word w = *first;
    *out = (spelling){0, true};
    while (true) {
        size_t size = w.end - w.begin;
        if (size == 0 || strncmp(alias, w.folded, size) != 0) return false;
        out->capital = out->capital && begins_with_capital(t, &w);
        out->end = w.end;
        alias += size;
        if (*alias == '\0') return true;
        if (*alias++ != ' ') return false;
        w = word_behind(t, w.end);
    }
}

/* Words that say that what stands before them is a company. */
static const char *const context[] = {"shares",    "stock",        "stocks",   "earnings", "inc",      "corp",
                                      "ceo",       "cfo",          "revenue",  "revenues", "profit",   "profits",
                                      "investors", "shareholders", "dividend", "ipo",      "guidance", "quarterly",
                                      "upgraded",  "downgraded",   "q1",       "q2",       "q3",       "q4"};

static bool has_context(finch_text t, size_t end)
{
    word w = word_behind(t, end);
    if (strcmp(w.folded, "s") == 0) w = word_behind(t, w.end);
    for (size_t i = 0; i < sizeof context / sizeof *context; i++)
        if (strcmp(w.folded, context[i]) == 0) return true;
    return false;
}

enum { SHOUTED_MIN = 5 }; /* letters from which on a name in capitals may be a shouted word */

static bool rule_holds(finch_text t, ticker_rule rule, size_t begin, const spelling *s)
{
    switch (rule) {
    case TICKER_ANY: return true;
    case TICKER_UPPER: return !has_lower(t, begin, s->end);
    case TICKER_CAPITAL:
        if (!s->capital) return false;
        return s->end - begin < SHOUTED_MIN || has_lower(t, begin, s->end) || has_context(t, s->end);
    case TICKER_CONTEXT: return s->capital && has_context(t, s->end);
    }
    return false;
}

/* Not the middle of a domain or an address. */
static bool may_begin(finch_text t, size_t begin)
{
    if (begin == 0) return true;
    char before = t.at[begin - 1];
    if (before == '@' || before == '_') return false;
    return !(before == '.' && begin > 1 && is_word(t.at[begin - 2]));
}

static bool name_at(finch_text t, const word *w, text_ticker *out)
{
    size_t n;
    const ticker_name *name = w->folded[0] != '\0' && may_begin(t, w->begin)
                                  ? ticker_names_of(w->folded, w->end - w->begin, &n)
                                  : NULL;
    if (name == NULL) return false;
    bool found = false;
    for (size_t i = 0; i < n; i++) {
        spelling s;
        if (!spells(t, w, name[i].alias, &s) || !rule_holds(t, name[i].rule, w->begin, &s)) continue;
        if (found && s.end <= out->end) continue;
        found = true;
        *out = (text_ticker){.listing = name[i].listing, .found = TEXT_TICKER_NAME, .begin = w->begin, .end = s.end};
        memcpy(out->symbol, name[i].listing->symbol, sizeof out->symbol);
    }
    return found;
}

/* Whether a ticker begins at *at, inside a piece that is none of links and user names; else *at moves on. */
static bool find_at(const ticker_marks *marks, finch_text t, size_t *at, text_ticker *out)
{
    size_t begin = *at;
    if (!is_word(t.at[begin])) {
        if (t.at[begin] == '$' && cashtag_at(t, begin, out)) return true;
        ++*at;
        return false;
    }
    *at = word_end(t, begin);
    if (!ticker_name_may_begin(marks, t.at + begin, *at - begin)) return false;
    word w = word_at(t, begin);
    return name_at(t, &w, out);
}

size_t text_tickers_find(finch_text text, text_ticker *out, size_t max)
{
    const ticker_marks *marks = ticker_marks_all();
    size_t n = 0, at = 0;
    for (size_t piece = 0, end; piece < text.size_bytes; piece = end) {
        clean_piece kind = CLEAN_OTHER;
        end = clean_plain_end(text.at, text.size_bytes, piece);
        if (end == piece) end = clean_piece_next(text.at, text.size_bytes, piece, &kind);
        size_t begin = kind == CLEAN_RUN || kind == CLEAN_OTHER ? piece : end;
        if (at < begin) at = begin; /* a name may have gone on into this piece */
        while (at < end) {
            text_ticker found;
            if (!find_at(marks, text, &at, &found)) continue;
            at = found.end;
            if (n++ < max) out[n - 1] = found;
        }
    }
    return n;
}

/* ---- without links ----
 * Where no link is passed over, pieces need not be looked at: no ticker begins behind '@' or '_' (may_begin), so none is found in
 * a user name, and no name goes on over an '@'. What is left is where words and '$' begin, 64 bytes at a time. */

enum { BLOCK = 64 };

/* Bit i is of byte i. */
typedef struct block_bits {
    uint64_t word, dollar;
} block_bits;

#if defined(__SSE2__)
static __m128i at_most(__m128i bytes, char most) { return _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(most)), bytes); }

static block_bits bits_of(const char *at)
{
    block_bits b = {0, 0};
    for (int part = 0; part < BLOCK / 16; part++) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(at + 16 * part));
        __m128i letters = _mm_sub_epi8(_mm_or_si128(v, _mm_set1_epi8(0x20)), _mm_set1_epi8('a'));
        __m128i digits = _mm_sub_epi8(v, _mm_set1_epi8('0'));
        __m128i words = _mm_or_si128(at_most(letters, 'z' - 'a'), at_most(digits, 9));
        b.word |= (uint64_t)(unsigned)_mm_movemask_epi8(words) << 16 * part;
        b.dollar |= (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8('$'))) << 16 * part;
    }
    return b;
}
#else
static block_bits bits_of(const char *at)
{
    block_bits b = {0, 0};
    for (int i = 0; i < BLOCK; i++) {
        b.word |= (uint64_t)is_word(at[i]) << i;
        b.dollar |= (uint64_t)(at[i] == '$') << i;
    }
    return b;
}
#endif

/* The end of the word that begins at `place` of the block whose first byte is text[base]. */
static size_t word_end_by_bits(finch_text t, size_t base, uint64_t words, int place)
{
    uint64_t others = ~words >> place;
    size_t end = base + (size_t)place + (others != 0 ? (size_t)__builtin_ctzll(others) : (size_t)(BLOCK - place));
    return others != 0 ? end : word_end(t, end);
}

static bool name_of_marked(const ticker_marks *marks, finch_text t, size_t begin, size_t end, text_ticker *out)
{
    if (!ticker_name_may_begin(marks, t.at + begin, end - begin)) return false;
    word w = word_at(t, begin);
    return name_at(t, &w, out);
}

size_t text_tickers_find_linkless(finch_text text, text_ticker *out, size_t max)
{
    const ticker_marks *marks = ticker_marks_all();
    char tail[BLOCK] = {0};
    size_t n = 0, behind = 0; /* the ticker found last */
    uint64_t word_before = 0;
    for (size_t base = 0; base < text.size_bytes; base += BLOCK) {
        size_t left = text.size_bytes - base;
        block_bits b = bits_of(left >= BLOCK ? text.at + base : memcpy(tail, text.at + base, left));
        uint64_t begins = (b.word & ~(b.word << 1 | word_before)) | b.dollar;
        word_before = b.word >> (BLOCK - 1);
        for (; begins != 0; begins &= begins - 1) {
            int place = __builtin_ctzll(begins);
            size_t begin = base + (size_t)place;
            text_ticker found;
            if (begin < behind) continue;
            if (b.dollar >> place & 1
                    ? !cashtag_at(text, begin, &found)
                    : !name_of_marked(marks, text, begin, word_end_by_bits(text, base, b.word, place), &found))
                continue;
            behind = found.end;
            if (n++ < max) out[n - 1] = found;
        }
    }
    return n;
}
