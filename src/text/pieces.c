#include "text/pieces.h"

#include "text/bpe.h"

#include <string.h>

enum { NOT_PLAIN = 255, SLOTS = 2 * PIECES_SETS_MAX, WORD_BITS = 64 };

/* Pieces in bytewise order; shared[i] is how many bytes order[i] has in common with order[i - 1]. */
typedef struct piece_order {
    int32_t *ids;
    uint16_t *shared;
    size_t n;
} piece_order;

struct piece_table {
    size_t n, longest;
    unsigned char *bytes;
    uint32_t *begins; /* [n + 1] */
    uint8_t *plain;   /* [n] code points of a piece that may stand in a text as it is; NOT_PLAIN */
    piece_order all, odd; /* odd: those that are not plain */
};

/* Of a state by its key's hash: equal hashes are equal keys (siphash.h). */
typedef struct kept_set {
    siphash128 hash;
    piece_set set;
} kept_set;

struct piece_sets {
    const piece_table *pieces;
    const json_form *form;
    form_state *states; /* [longest + 1]: behind so many bytes of a piece */
    arena memory;       /* of what is kept */
    str key;
    siphash_key secret;
    kept_set kept[PIECES_SETS_MAX];
    size_t n_kept;
    uint16_t slots[SLOTS]; /* place in kept + 1 */
};

/* ---- the table ------------------------------------------------------------------------------------------------------ */

static bool is_plain(const unsigned char *at, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (at[i] < 0x20 || at[i] == '"' || at[i] == '\\') return false;
    return utf8_valid_size(at, n) == n && utf8_count(at, n) < NOT_PLAIN;
}

/* What the piece is in a text: nothing for control tokens. */
static size_t spell(const text_tokenizer *t, int32_t id, unsigned char *out)
{
    size_t size, n = 0;
    const unsigned char *piece = (const unsigned char *)text_tokenizer_piece(t, id, &size);
    int32_t byte = t->bpe->byte_of[id];
    if (byte == BPE_CONTROL || piece == NULL) return 0;
    if (byte >= 0) {
        out[0] = (unsigned char)byte;
        return 1;
    }
    for (size_t at = 0; at < size;) {
        utf8_char c = utf8_next(piece + at);
        if (c.code == BPE_BLANK) out[n++] = ' ';
        else memcpy(out + n, piece + at, c.size), n += c.size;
        at += c.size;
    }
    return n;
}

static finch_status spell_all(piece_table *p, const text_tokenizer *t, finch_error *err)
{
    size_t room = 0, size;
    for (size_t id = 0; id < p->n; id++) {
        (void)text_tokenizer_piece(t, (int32_t)id, &size);
        room += size;
    }
    FINCH_TRY(mem_alloc(room, 1, (void **)&p->bytes, err));
    FINCH_TRY(MEM_NEW(&p->begins, p->n + 1, err));
    FINCH_TRY(MEM_NEW(&p->plain, p->n, err));
    for (size_t id = 0; id < p->n; id++) {
        unsigned char *at = p->bytes + p->begins[id];
        size_t n = spell(t, (int32_t)id, at);
        p->begins[id + 1] = p->begins[id] + (uint32_t)n;
        p->plain[id] = n > 0 && is_plain(at, n) ? (uint8_t)utf8_count(at, n) : NOT_PLAIN;
        if (n > p->longest) p->longest = n;
    }
    return FINCH_OK;
}

static finch_status put_in_order(piece_order *o, const trie_key *keys, size_t n, const uint8_t *plain, bool odd,
                                 finch_error *err)
{
    const trie_key *before = NULL;
    FINCH_TRY(mem_alloc(n, sizeof *o->ids, (void **)&o->ids, err));
    FINCH_TRY(mem_alloc(n, sizeof *o->shared, (void **)&o->shared, err));
    for (size_t i = 0; i < n; i++) {
        const trie_key *key = &keys[i];
        size_t shared = 0;
        if (odd && plain[key->value] != NOT_PLAIN) continue;
        while (before != NULL && shared < key->size && shared < before->size && key->at[shared] == before->at[shared])
            shared++;
        o->ids[o->n] = key->value;
        o->shared[o->n++] = (uint16_t)shared;
        before = key;
    }
    return FINCH_OK;
}

static finch_status sort_all(piece_table *p, finch_error *err)
{
    trie_key *keys;
    size_t n = 0;
    FINCH_TRY(mem_alloc(p->n, sizeof *keys, (void **)&keys, err));
    for (size_t id = 0; id < p->n; id++)
        if (p->begins[id + 1] > p->begins[id])
            keys[n++] = (trie_key){p->bytes + p->begins[id], p->begins[id + 1] - p->begins[id], (int32_t)id};
    trie_keys_sort(keys, n);
    finch_status st = put_in_order(&p->all, keys, n, p->plain, false, err);
    if (st == FINCH_OK) st = put_in_order(&p->odd, keys, n, p->plain, true, err);
    mem_free(keys);
    return st;
}

finch_status piece_table_create(const text_tokenizer *t, piece_table **out, finch_error *err)
{
    piece_table *p;
    *out = NULL;
    if (t->bpe == NULL)
        return finch_fail(err, FINCH_E_UNSUPPORTED, "only Gemma's pieces spell texts that can be held to a form");
    FINCH_TRY(MEM_NEW(&p, 1, err));
    p->n = text_tokenizer_vocab_size(t);
    finch_status st = spell_all(p, t, err);
    if (st == FINCH_OK) st = sort_all(p, err);
    if (st == FINCH_OK) *out = p;
    else piece_table_destroy(p);
    return st;
}

void piece_table_destroy(piece_table *p)
{
    if (p == NULL) return;
    mem_free(p->bytes);
    mem_free(p->begins);
    mem_free(p->plain);
    mem_free(p->all.ids);
    mem_free(p->all.shared);
    mem_free(p->odd.ids);
    mem_free(p->odd.shared);
    mem_free(p);
}

size_t piece_table_size(const piece_table *p) { return p->n; }

/* ---- a set ---------------------------------------------------------------------------------------------------------- */

/* A piece that begins with the bytes that the one before failed at fails too: it shares more than was reached. */
static void walk(piece_sets *s, const piece_order *o, uint64_t *bits)
{
    const piece_table *p = s->pieces;
    size_t reached = 0;
    for (size_t i = 0; i < o->n; i++) {
        int32_t id = o->ids[i];
        const unsigned char *at = p->bytes + p->begins[id];
        size_t size = p->begins[id + 1] - p->begins[id], n = o->shared[i];
        if (n > reached) continue;
        while (n < size && form_step(s->form, &s->states[n], at[n], &s->states[n + 1])) n++;
        reached = n;
        if (n == size) bits[(size_t)id / WORD_BITS] |= 1ull << (size_t)id % WORD_BITS;
    }
}

static void add_plain(const piece_table *p, size_t n_left, uint64_t *bits)
{
    for (size_t id = 0; id < p->n; id++)
        if (p->plain[id] != NOT_PLAIN && p->plain[id] <= n_left) bits[id / WORD_BITS] |= 1ull << id % WORD_BITS;
}

static finch_status list_ids(piece_sets *s, piece_set *set, finch_error *err)
{
    size_t n_words = (s->pieces->n + WORD_BITS - 1) / WORD_BITS, n = 0;
    int32_t *ids;
    for (size_t i = 0; i < n_words; i++) set->n += (size_t)__builtin_popcountll(set->bits[i]);
    if (set->n > PIECES_LISTED_MAX) return FINCH_OK;
    FINCH_TRY(ARENA_NEW(&s->memory, &ids, set->n, err));
    for (size_t i = 0; i < n_words; i++)
        for (uint64_t word = set->bits[i]; word != 0; word &= word - 1)
            ids[n++] = (int32_t)(i * WORD_BITS + (size_t)__builtin_ctzll(word));
    set->ids = ids;
    return FINCH_OK;
}

static finch_status make_set(piece_sets *s, const form_state *state, piece_set *set, finch_error *err)
{
    size_t n_words = (s->pieces->n + WORD_BITS - 1) / WORD_BITS, n_left;
    uint64_t *bits;
    FINCH_TRY(ARENA_NEW(&s->memory, &bits, n_words, err));
    memset(bits, 0, n_words * sizeof *bits);
    form_copy(state, &s->states[0]);
    if (form_in_text(s->form, state, &n_left)) {
        add_plain(s->pieces, n_left, bits);
        walk(s, &s->pieces->odd, bits);
    } else {
        walk(s, &s->pieces->all, bits);
    }
    *set = (piece_set){.bits = bits};
    return list_ids(s, set, err);
}

/* ---- what is kept --------------------------------------------------------------------------------------------------- */

finch_status piece_sets_create(const piece_table *p, const json_form *form, piece_sets **out, finch_error *err)
{
    FINCH_TRY(MEM_NEW(out, 1, err));
    (*out)->pieces = p;
    (*out)->form = form;
    (*out)->secret = siphash_key_make();
    arena_init(&(*out)->memory);
    finch_status st = mem_alloc(p->longest + 1, sizeof *(*out)->states, (void **)&(*out)->states, err);
    if (st != FINCH_OK) {
        piece_sets_destroy(*out);
        *out = NULL;
    }
    return st;
}

void piece_sets_destroy(piece_sets *s)
{
    if (s == NULL) return;
    mem_free(s->states);
    str_free(&s->key);
    arena_free(&s->memory);
    mem_free(s);
}

static void forget_all(piece_sets *s)
{
    memset(s->slots, 0, sizeof s->slots);
    s->n_kept = 0;
    arena_reset(&s->memory);
}

finch_status piece_sets_find(piece_sets *s, const form_state *state, const piece_set **out, finch_error *err)
{
    *out = NULL;
    str_clear(&s->key);
    FINCH_TRY(form_key(s->form, state, s->pieces->longest, &s->key, err));
    if (s->n_kept == PIECES_SETS_MAX) forget_all(s);
    siphash128 hash = siphash(s->secret, s->key.at, s->key.size);
    size_t slot = (size_t)hash.low % SLOTS;
    for (; s->slots[slot] != 0; slot = (slot + 1) % SLOTS) {
        const kept_set *k = &s->kept[s->slots[slot] - 1];
        if (k->hash.low != hash.low || k->hash.high != hash.high) continue;
        *out = &k->set;
        return FINCH_OK;
    }
    kept_set *k = &s->kept[s->n_kept];
    k->hash = hash;
    FINCH_TRY(make_set(s, state, &k->set, err));
    s->slots[slot] = (uint16_t)++s->n_kept;
    *out = &k->set;
    return FINCH_OK;
}

void piece_sets_take(piece_sets *s, form_state *state, int32_t id)
{
    const piece_table *p = s->pieces;
    for (uint32_t at = p->begins[id]; at < p->begins[id + 1]; at++) {
        form_state *next = &s->states[0];
        if (!form_step(s->form, state, p->bytes[at], next)) return; /* not one of the set */
        form_copy(next, state);
    }
}
