/* The tables of a byte-pair encoding, from its pieces and merges. */
#include "text/bpe.h"

#include <string.h>

enum { SHOWN_BYTES = 40 };

#define SHOWN(text) (int)((text).size_bytes < SHOWN_BYTES ? (text).size_bytes : SHOWN_BYTES), (text).at

/* ---- pieces by their text -------------------------------------------------------------------------------------- */

/* Open addressing over ids, under a secret of this run: no file can make it slow. */
typedef struct piece_table {
    const finch_text *pieces;
    siphash_key secret;
    int32_t *slots; /* [mask + 1]; -1 is empty */
    size_t mask;
} piece_table;

static uint64_t hash_text(siphash_key secret, const char *at, size_t size)
{
    uint64_t hash = secret.word[0] ^ size;
    for (; size >= sizeof hash; at += sizeof hash, size -= sizeof hash) {
        uint64_t word;
        memcpy(&word, at, sizeof word);
        hash = bpe_mix(hash ^ word, secret.word[1] | 1);
    }
    uint64_t rest = 0;
    memcpy(&rest, at, size);
    return bpe_mix(hash ^ rest, secret.word[1] | 1);
}

static int32_t *piece_slot(const piece_table *table, finch_text piece)
{
    size_t at = (size_t)hash_text(table->secret, piece.at, piece.size_bytes) & table->mask;
    while (table->slots[at] >= 0 && !text_equal(table->pieces[table->slots[at]], piece)) at = (at + 1) & table->mask;
    return &table->slots[at];
}

static int32_t piece_id(const piece_table *table, finch_text piece) { return *piece_slot(table, piece); }

static size_t table_size(size_t n)
{
    size_t size = 8;
    while (size < 2 * n) size *= 2;
    return size;
}

static finch_status fill_pieces(piece_table *table, const text_tokenizer *t, siphash_key secret, finch_error *err)
{
    size_t size = table_size(t->n_pieces);
    *table = (piece_table){.pieces = t->pieces, .secret = secret, .mask = size - 1};
    FINCH_TRY(mem_alloc(size, sizeof *table->slots, (void **)&table->slots, err));
    for (size_t i = 0; i < size; i++) table->slots[i] = -1;
    for (size_t id = 0; id < t->n_pieces; id++) *piece_slot(table, t->pieces[id]) = (int32_t)id;
    return FINCH_OK;
}

/* ---- characters and bytes -------------------------------------------------------------------------------------- */

static finch_status fill_symbols(bpe *b, const text_tokenizer *t, finch_error *err)
{
    size_t n_pages = 1;
    for (size_t id = 0; id < t->n_pieces; id++) {
        utf8_char c = utf8_next((const unsigned char *)t->pieces[id].at);
        if (c.size == t->pieces[id].size_bytes && b->pages[c.code / BPE_PAGE] == 0)
            b->pages[c.code / BPE_PAGE] = (uint16_t)n_pages++;
    }
    FINCH_TRY(mem_alloc(n_pages * BPE_PAGE, sizeof *b->symbols, (void **)&b->symbols, err));
    for (size_t i = 0; i < n_pages * BPE_PAGE; i++) b->symbols[i] = -1;
    for (size_t id = 0; id < t->n_pieces; id++) {
        utf8_char c = utf8_next((const unsigned char *)t->pieces[id].at);
        if (c.size == t->pieces[id].size_bytes)
            b->symbols[(size_t)b->pages[c.code / BPE_PAGE] * BPE_PAGE + c.code % BPE_PAGE] = (int32_t)id;
    }
    return FINCH_OK;
}

static finch_status fill_bytes(bpe *b, const text_plan *plan, const piece_table *table, size_t n_pieces, finch_error *err)
{
    FINCH_TRY(mem_alloc(n_pieces, sizeof *b->byte_of, (void **)&b->byte_of, err));
    for (size_t id = 0; id < n_pieces; id++) b->byte_of[id] = BPE_NO_BYTE;
    for (size_t i = 0; i < plan->n_added; i++)
        b->byte_of[plan->added[i].id] = plan->added[i].special ? BPE_CONTROL : BPE_USER;
    for (unsigned byte = 0; byte < BPE_BYTES; byte++) {
        static const char digits[] = "0123456789ABCDEF";
        char name[] = "<0x00>";
        name[3] = digits[byte >> 4];
        name[4] = digits[byte & 15];
        int32_t id = piece_id(table, (finch_text){name, sizeof name - 1});
        if (id < 0)
            return finch_fail(err, FINCH_E_UNSUPPORTED,
                              "%s: the vocabulary has no piece %s; finch reads BPE with all 256 byte pieces, as Gemma's is",
                              plan->name, name);
        b->byte_ids[byte] = id;
        b->byte_of[id] = (int32_t)byte;
    }
    return FINCH_OK;
}

/* ---- merges ---------------------------------------------------------------------------------------------------- */

static finch_status reserve_merges(bpe *b, size_t n, finch_error *err)
{
    size_t size = table_size(n);
    FINCH_TRY(MEM_NEW(&b->merges, size, err));
    FINCH_TRY(MEM_NEW(&b->tags, size, err));
    b->mask = size - 1;
    return FINCH_OK;
}

/* The characters that stand side by side in what a merge makes. */
static void note_joined(bpe *b, finch_text piece)
{
    const unsigned char *at = (const unsigned char *)piece.at, *end = at + piece.size_bytes;
    unsigned before = BPE_CLASSES;
    while (at < end) {
        utf8_char c = utf8_next(at);
        unsigned class = bpe_class(c.code);
        if (before < BPE_CLASSES) b->joined[before][class / 64] |= (uint64_t)1 << class % 64;
        before = class;
        at += c.size;
    }
}

static void put_merge(bpe *b, const text_tokenizer *t, int32_t left, int32_t right, int32_t id)
{
    uint64_t hash = bpe_hash(b, left, right);
    size_t at = (size_t)hash & b->mask;
    while (b->tags[at] != 0) at = (at + 1) & b->mask;
    b->tags[at] = bpe_tag(hash);
    b->merges[at] = (bpe_merge){left, right, (uint32_t)b->n_merges++, id};
    note_joined(b, t->pieces[id]);
    /* A merge of byte pieces may join any two characters: nothing is cut then. */
    if (b->byte_of[left] >= 0 || b->byte_of[right] >= 0) memset(b->joined, 0xFF, sizeof b->joined);
}

/* A part of the piece that begins at a character; in *cut the bytes of its left side. */
static size_t next_cut(finch_text piece, size_t cut)
{
    do cut++;
    while (cut < piece.size_bytes && ((unsigned char)piece.at[cut] & 0xC0u) == 0x80u);
    return cut;
}

/* The splits of a piece into two pieces, the one with the longer left part first. Returns their number. */
static size_t find_splits(const piece_table *table, finch_text piece, int32_t splits[][2])
{
    size_t n = 0;
    for (size_t cut = next_cut(piece, 0); cut < piece.size_bytes; cut = next_cut(piece, cut)) {
        int32_t left = piece_id(table, (finch_text){piece.at, cut});
        if (left < 0) continue;
        int32_t right = piece_id(table, (finch_text){piece.at + cut, piece.size_bytes - cut});
        if (right < 0) continue;
        splits[n][0] = left;
        splits[n++][1] = right;
    }
    for (size_t i = 0; i < n / 2; i++) {
        int32_t left = splits[i][0], right = splits[i][1];
        memcpy(splits[i], splits[n - 1 - i], sizeof splits[i]);
        splits[n - 1 - i][0] = left;
        splits[n - 1 - i][1] = right;
    }
    return n;
}

/* Merges found so far, in the order of their ranks. */
typedef struct merge_list {
    bpe_merge *at;
    size_t n, capacity;
} merge_list;

static finch_status add_splits(merge_list *list, int32_t splits[][2], size_t n, int32_t id, finch_error *err)
{
    if (list->n + n > list->capacity) {
        void *block = list->at;
        size_t capacity = 2 * list->capacity + TEXT_PIECE_MAX_BYTES; /* no piece has more splits */
        FINCH_TRY(mem_grow(&block, list->n * sizeof *list->at, capacity, sizeof *list->at, err));
        list->at = block;
        list->capacity = capacity;
    }
    for (size_t i = 0; i < n; i++) list->at[list->n++] = (bpe_merge){splits[i][0], splits[i][1], 0, id};
    return FINCH_OK;
}

static finch_status derive_merges(bpe *b, const text_tokenizer *t, const text_plan *plan, const piece_table *table,
                                  finch_error *err)
{
    int32_t splits[TEXT_PIECE_MAX_BYTES][2];
    merge_list list = {0};
    finch_status st = FINCH_OK;
    for (size_t id = 0; id < t->n_pieces && list.n <= BPE_MERGES_MAX; id++) {
        size_t n = find_splits(table, t->pieces[id], splits);
        FINCH_GO(done, st, add_splits(&list, splits, n, (int32_t)id, err));
    }
    if (list.n > BPE_MERGES_MAX)
        FINCH_GO(done, st,
                 finch_fail(err, FINCH_E_DATA, "%s: its pieces allow more than the %d merges there may be", plan->name,
                            BPE_MERGES_MAX));
    FINCH_GO(done, st, reserve_merges(b, list.n, err));
    for (size_t i = 0; i < list.n; i++) put_merge(b, t, list.at[i].left, list.at[i].right, list.at[i].id);
done:
    mem_free(list.at);
    return st;
}

static finch_status find_part(const text_plan *plan, const piece_table *table, size_t rank, finch_text part, int32_t *id,
                              finch_error *err)
{
    *id = piece_id(table, part);
    if (*id >= 0) return FINCH_OK;
    return finch_fail(err, FINCH_E_DATA,
                      "%s: the merge with the rank %zu needs the piece \"%.*s\", which the vocabulary lacks; the file was "
                      "edited or is damaged",
                      plan->name, rank, SHOWN(part));
}

static finch_status read_merges(bpe *b, const text_tokenizer *t, const text_plan *plan, const piece_table *table,
                                finch_error *err)
{
    FINCH_TRY(reserve_merges(b, plan->bpe->n_merges, err));
    for (size_t rank = 0; rank < plan->bpe->n_merges; rank++) {
        const finch_text *pair = plan->bpe->merges[rank];
        char whole[2 * TEXT_PIECE_MAX_BYTES];
        int32_t left, right, id;
        FINCH_TRY(find_part(plan, table, rank, pair[0], &left, err));
        FINCH_TRY(find_part(plan, table, rank, pair[1], &right, err));
        memcpy(whole, pair[0].at, pair[0].size_bytes); /* pieces, and so no longer than these may be */
        memcpy(whole + pair[0].size_bytes, pair[1].at, pair[1].size_bytes);
        FINCH_TRY(find_part(plan, table, rank, (finch_text){whole, pair[0].size_bytes + pair[1].size_bytes}, &id, err));
        if (bpe_find(b, left, right).rank != BPE_RANK_NONE)
            return finch_fail(err, FINCH_E_DATA, "%s: the merge with the rank %zu (\"%.*s\" and \"%.*s\") is there twice",
                              plan->name, rank, SHOWN(pair[0]), SHOWN(pair[1]));
        put_merge(b, t, left, right, id);
    }
    return FINCH_OK;
}

/* ---- the whole ------------------------------------------------------------------------------------------------- */

static void fill_ascii_pairs(bpe *b)
{
    for (uint32_t left = 0; left < TEXT_ASCII; left++)
        for (uint32_t right = 0; right < TEXT_ASCII; right++)
            b->ascii_pairs[left][right] = bpe_find(b, bpe_ascii(b, left), bpe_ascii(b, right));
}

finch_status bpe_build(text_tokenizer *t, const text_plan *plan, finch_error *err)
{
    piece_table table = {0};
    bpe *b = NULL;
    finch_status st;
    FINCH_GO(done, st, MEM_NEW(&b, 1, err));
    t->bpe = b;
    b->secret = siphash_key_make();
    FINCH_GO(done, st, fill_pieces(&table, t, b->secret, err));
    FINCH_GO(done, st, fill_symbols(b, t, err));
    FINCH_GO(done, st, fill_bytes(b, plan, &table, t->n_pieces, err));
    st = plan->bpe->derive ? derive_merges(b, t, plan, &table, err) : read_merges(b, t, plan, &table, err);
    if (st == FINCH_OK) fill_ascii_pairs(b);
done:
    mem_free(table.slots);
    return st;
}

void bpe_free(bpe *b)
{
    if (b == NULL) return;
    mem_free(b->merges);
    mem_free(b->tags);
    mem_free(b->symbols);
    mem_free(b->byte_of);
    mem_free(b);
}

void bpe_merges_by_rank(const bpe *b, bpe_merge *out)
{
    for (size_t i = 0; i <= b->mask; i++)
        if (b->tags[i] != 0) out[b->merges[i].rank] = b->merges[i];
}

text_piece_kind text_tokenizer_kind(const text_tokenizer *t, int32_t id)
{
    if (t->bpe == NULL || id < 0 || (size_t)id >= t->n_pieces) return TEXT_PIECE_NORMAL;
    if (t->bpe->byte_of[id] >= 0) return TEXT_PIECE_BYTE;
    if (t->bpe->byte_of[id] == BPE_CONTROL) return TEXT_PIECE_CONTROL;
    return t->bpe->byte_of[id] == BPE_USER ? TEXT_PIECE_USER : TEXT_PIECE_NORMAL;
}
