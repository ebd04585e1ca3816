/* Inside the text room: byte-pair encoding with byte fallback (Sennrich et al., 2016; Kudo and Richardson, 2018), as
 * Hugging Face's BPE model does it for Gemma.
 *
 * A text begins as one symbol a character; a character that is no piece becomes the byte pieces of its UTF-8. Then the
 * neighbours whose merge has the lowest rank become one symbol, the leftmost of equals first, until no neighbours merge.
 *
 * Why it can be done in parts: a merge joins two characters only where some piece that a merge makes has these two side
 * by side. Between characters that no such piece joins the text can be cut beforehand without any effect on the result.
 * bpe_joined says where; parts are short (a word, mostly), and a short part seen before is looked up (bpe_encode.c).
 *
 * Invariants of an open bpe
 *  1. each merge's left, right and id are pieces, and its pair stands in the table once
 *  2. at least half of the table's slots are empty, so that every search ends
 *  3. all 256 byte pieces are there: no text is unknown
 * A blank counts as U+2581 everywhere: the normaliser's only work, which is never done on paper. */
#ifndef FINCH_TEXT_BPE_H
#define FINCH_TEXT_BPE_H

#include "base/siphash.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

enum {
    BPE_BLANK = 0x2581, /* the "lower one eighth block" that stands for a blank */
    BPE_BLANK_BYTES = 3,
    BPE_CLASSES = TEXT_ASCII + 1, /* of characters: each ASCII one, and all others together */
    BPE_CLASS_WORDS = 3,          /* of 64 of them */
    BPE_PAGE = 256,
    BPE_PAGES = 0x110000 / BPE_PAGE,
    BPE_BYTES = 256,
    BPE_MERGES_MAX = 1 << 24,
    BPE_NO_BYTE = -1,
    BPE_CONTROL = -2, /* a control token */
    BPE_USER = -3     /* another added token */
};

#define BPE_RANK_NONE UINT32_MAX

typedef struct bpe_merge {
    int32_t left, right;
    uint32_t rank;
    int32_t id;
} bpe_merge;

/* What a merge makes; rank is BPE_RANK_NONE where there is none. */
typedef struct bpe_pair {
    uint32_t rank;
    int32_t id;
} bpe_pair;

typedef struct bpe {
    siphash_key secret; /* of the hashes below, another one each time; tells tokenizers apart in a scratch, too */
    bpe_merge *merges;  /* [mask + 1], open addressing */
    uint8_t *tags;      /* [mask + 1] bits of the hash, 0 where the slot is empty: most searches fail, and end here */
    size_t mask;
    size_t n_merges;
    uint16_t pages[BPE_PAGES]; /* of symbols; 0 is the page of characters that are no piece */
    int32_t *symbols;          /* [n_pages][BPE_PAGE], a character's id or -1 */
    int32_t byte_ids[BPE_BYTES];
    uint64_t joined[BPE_CLASSES][BPE_CLASS_WORDS]; /* a bit for each class that may stand behind one */
    bpe_pair ascii_pairs[TEXT_ASCII][TEXT_ASCII];  /* the merge of two such characters */
    int32_t *byte_of; /* [vocabulary] the byte that a byte piece is; for others one of the three above */
} bpe;

/* What the file says beyond the pieces. */
typedef struct bpe_plan {
    const finch_text (*merges)[2]; /* by rank */
    size_t n_merges;
    bool derive;   /* instead of merges: all that the pieces allow (text_tokenizer_from_pieces) */
    bool adds_eos; /* behind every text */
} bpe_plan;

/* Makes t->bpe from t->pieces and plan->bpe. Errors: FINCH_E_DATA naming plan->name, FINCH_E_MEMORY. */
finch_status bpe_build(text_tokenizer *t, const text_plan *plan, finch_error *err);
void bpe_free(bpe *b);

/* The merges by rank into out [n_merges]. */
void bpe_merges_by_rank(const bpe *b, bpe_merge *out);

/* ---- inline: the inner loop's ---- */

static inline uint64_t bpe_mix(uint64_t a, uint64_t b)
{
    __extension__ typedef unsigned __int128 wide;
    wide product = (wide)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t bpe_hash(const bpe *b, int32_t left, int32_t right)
{
    uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    return bpe_mix(pair ^ b->secret.word[0], b->secret.word[1] | 1);
}

static inline uint8_t bpe_tag(uint64_t hash) { return (uint8_t)(hash >> 56 | 1); }

/* The merge of a pair. */
static inline bpe_pair bpe_find(const bpe *b, int32_t left, int32_t right)
{
    uint64_t hash = bpe_hash(b, left, right);
    for (size_t at = (size_t)hash & b->mask; b->tags[at] != 0; at = (at + 1) & b->mask) {
        if (b->tags[at] != bpe_tag(hash)) continue;
        const bpe_merge *slot = &b->merges[at];
        if (slot->left == left && slot->right == right) return (bpe_pair){slot->rank, slot->id};
    }
    return (bpe_pair){BPE_RANK_NONE, -1};
}

/* Whether a merge may join characters of these classes that stand side by side. */
static inline bool bpe_joined(const bpe *b, unsigned left, unsigned right)
{
    return (b->joined[left][right / 64] >> right % 64 & 1) != 0;
}

/* A character's id, or -1; a blank is U+2581. */
static inline int32_t bpe_symbol(const bpe *b, uint32_t code)
{
    if (code == ' ') code = BPE_BLANK;
    return b->symbols[(size_t)b->pages[code / BPE_PAGE] * BPE_PAGE + code % BPE_PAGE];
}

/* An ASCII character's first symbol: its piece, or the byte's. */
static inline int32_t bpe_ascii(const bpe *b, uint32_t code)
{
    int32_t id = bpe_symbol(b, code);
    return id >= 0 ? id : b->byte_ids[code];
}

static inline unsigned bpe_class(uint32_t code)
{
    if (code == BPE_BLANK) return ' ';
    return code < TEXT_ASCII ? code : TEXT_ASCII;
}

#endif
