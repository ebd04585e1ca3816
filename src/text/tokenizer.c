/* A tokenizer from its plan: everything is checked here, once, so that encoding needs no checks. */
#include "text/tokenizer.h"

#include "base/file.h"
#include "text/bpe.h"
#include "text/config.h"
#include "text/normalize.h"
#include "text/utf8.h"

#include <stdlib.h>
#include <string.h>

enum { SHOWN_BYTES = 40 };

#define SHOWN(text) (int)((text).size_bytes < SHOWN_BYTES ? (text).size_bytes : SHOWN_BYTES), (text).at

static const char *place_word(const text_plan *plan) { return plan->lines ? "line" : "id"; }
static size_t place_number(const text_plan *plan, size_t id) { return plan->lines ? id + 1 : id; }
static uint64_t place_row(const text_plan *plan, size_t id) { return plan->lines ? id + 1 : 0; }

/* ---- pieces ---------------------------------------------------------------------------------------------------- */

static finch_status check_piece(const text_plan *plan, size_t id, finch_error *err)
{
    finch_text piece = plan->pieces[id];
    const char *what = NULL;
    if (piece.at == NULL) what = "is missing: ids must follow each other from 0";
    else if (piece.size_bytes == 0) what = "is empty";
    else if (piece.size_bytes > TEXT_PIECE_MAX_BYTES) what = "is longer than any piece may be";
    else if (utf8_valid_size((const unsigned char *)piece.at, piece.size_bytes) != piece.size_bytes) what = "is not UTF-8";
    if (what == NULL) return FINCH_OK;
    return finch_fail_row(err, FINCH_E_DATA, place_row(plan, id),
                          "%s: the piece at %s %zu %s; the file is damaged or no %s vocabulary", plan->name,
                          place_word(plan), place_number(plan, id), what, plan->bpe != NULL ? "BPE" : "WordPiece");
}

/* Copies the pieces into one block that the tokenizer owns. */
static finch_status copy_pieces(text_tokenizer *t, const text_plan *plan, finch_error *err)
{
    size_t size = 0;
    if (plan->n_pieces == 0 || plan->n_pieces > TEXT_VOCAB_MAX)
        return finch_fail(err, FINCH_E_DATA, "%s: a vocabulary has 1 to %d pieces, this one %zu", plan->name, TEXT_VOCAB_MAX,
                          plan->n_pieces);
    for (size_t id = 0; id < plan->n_pieces; id++) {
        FINCH_TRY(check_piece(plan, id, err));
        size += plan->pieces[id].size_bytes; /* at most 2^30 */
    }
    FINCH_TRY(MEM_NEW(&t->pieces, plan->n_pieces, err));
    FINCH_TRY(mem_alloc(size, 1, (void **)&t->piece_bytes, err));
    char *at = t->piece_bytes;
    for (size_t id = 0; id < plan->n_pieces; id++) {
        finch_text piece = plan->pieces[id];
        memcpy(at, piece.at, piece.size_bytes);
        t->pieces[id] = (finch_text){at, piece.size_bytes};
        at += piece.size_bytes;
    }
    t->n_pieces = plan->n_pieces;
    return FINCH_OK;
}

/* All pieces as sorted keys: duplicates show as neighbours. */
static finch_status sort_pieces(const text_tokenizer *t, const text_plan *plan, trie_key **keys, finch_error *err)
{
    FINCH_TRY(MEM_NEW(keys, t->n_pieces, err));
    for (size_t id = 0; id < t->n_pieces; id++)
        (*keys)[id] = (trie_key){(const unsigned char *)t->pieces[id].at, t->pieces[id].size_bytes, (int32_t)id};
    trie_keys_sort(*keys, t->n_pieces);
    for (size_t i = 1; i < t->n_pieces; i++) {
        size_t first = (size_t)(*keys)[i - 1].value, second = (size_t)(*keys)[i].value;
        if (!text_equal(t->pieces[first], t->pieces[second])) continue;
        return finch_fail_row(err, FINCH_E_DATA, place_row(plan, second),
                              "%s: the piece \"%.*s\" stands at %s %zu and again at %zu; remove one of them", plan->name,
                              SHOWN(t->pieces[first]), place_word(plan), place_number(plan, first),
                              place_number(plan, second));
    }
    return FINCH_OK;
}

static int find_order(const void *left, const void *right)
{
    const trie_key *a = left, *b = right;
    int order = memcmp(a->at, b->at, a->size < b->size ? a->size : b->size);
    if (order != 0) return order;
    return a->size < b->size ? -1 : a->size > b->size;
}

static int32_t find_piece(const trie_key *keys, size_t n, finch_text piece)
{
    trie_key wanted = {(const unsigned char *)piece.at, piece.size_bytes, 0};
    const trie_key *found = bsearch(&wanted, keys, n, sizeof *keys, find_order);
    return found == NULL ? -1 : found->value;
}

/* Whether a word, or the rest of one, can be spelt so: word characters only, or one punctuation mark where a word may
 * begin. The trie holds no other piece, and so no match runs past a word's end. */
static bool spells_words(const text_tokenizer *t, const unsigned char *at, size_t size, bool begins)
{
    for (size_t i = 0; i < size;) {
        utf8_char c = utf8_next(at + i);
        unsigned class = text_class(t, c.code);
        if ((class & CHAR_WHITE) != 0) return false;
        if ((class & CHAR_PUNCT) != 0) return begins && c.size == size;
        i += c.size;
    }
    return true;
}

/* The added tokens whose ids no word is spelt with, as one flag an id. */
static void mark_outside(const text_plan *plan, bool *outside)
{
    for (size_t i = 0; i < plan->n_added; i++)
        if (plan->added[i].outside) outside[plan->added[i].id] = true;
}

/* Both sets come out of the sorted keys in order: the rests all begin with the prefix, and lose it. */
static finch_status build_tries(text_tokenizer *t, const text_plan *plan, const trie_key *sorted, finch_error *err)
{
    trie_key *keys = NULL;
    bool *outside = NULL;
    size_t n = 0, cut = plan->prefix.size_bytes;
    finch_status st;
    FINCH_GO(done, st, MEM_NEW(&keys, t->n_pieces, err));
    FINCH_GO(done, st, MEM_NEW(&outside, t->n_pieces, err));
    mark_outside(plan, outside);
    for (size_t i = 0; i < t->n_pieces; i++)
        if (!outside[sorted[i].value] && spells_words(t, sorted[i].at, sorted[i].size, true)) keys[n++] = sorted[i];
    FINCH_GO(done, st, trie_add(&t->pieces_trie, keys, n, &t->word_root, err));
    n = 0;
    for (size_t i = 0; i < t->n_pieces; i++) {
        trie_key key = sorted[i];
        if (outside[key.value] || key.size <= cut || (cut > 0 && memcmp(key.at, plan->prefix.at, cut) != 0)) continue;
        if (spells_words(t, key.at + cut, key.size - cut, false))
            keys[n++] = (trie_key){key.at + cut, key.size - cut, key.value};
    }
    FINCH_GO(done, st, trie_add(&t->pieces_trie, keys, n, &t->rest_root, err));
done:
    mem_free(keys);
    mem_free(outside);
    return st;
}

/* ---- special tokens -------------------------------------------------------------------------------------------- */

static finch_status find_special(const text_plan *plan, const trie_key *keys, finch_text piece, const char *what,
                                 int32_t *id, finch_error *err)
{
    *id = find_piece(keys, plan->n_pieces, piece);
    if (*id >= 0) return FINCH_OK;
    return finch_fail(
        err, FINCH_E_DATA,
        "%s: the vocabulary has no \"%.*s\", which is its %s token; take the vocabulary that the model was trained with",
        plan->name, SHOWN(piece), what);
}

static finch_status find_specials(text_tokenizer *t, const text_plan *plan, const trie_key *keys, finch_error *err)
{
    FINCH_TRY(find_special(plan, keys, plan->unk, "unknown", &t->special.unk, err));
    FINCH_TRY(find_special(plan, keys, plan->cls, "first", &t->special.cls, err));
    FINCH_TRY(find_special(plan, keys, plan->sep, "last", &t->special.sep, err));
    FINCH_TRY(find_special(plan, keys, plan->pad, "padding", &t->special.pad, err));
    t->special.mask = find_piece(keys, plan->n_pieces, plan->mask);
    t->special.turn_begin = find_piece(keys, plan->n_pieces, (finch_text){"<start_of_turn>", 15});
    t->special.turn_end = find_piece(keys, plan->n_pieces, (finch_text){"<end_of_turn>", 13});
    if (plan->bpe != NULL) return FINCH_OK;
    for (uint32_t code = 0; code < TEXT_ASCII; code++) {
        char byte = (char)code;
        int32_t id = find_piece(keys, plan->n_pieces, (finch_text){&byte, 1});
        t->ascii_ids[code] = id < 0 ? t->special.unk : id;
    }
    for (size_t i = 0; i < plan->n_added; i++) {
        finch_text content = plan->added[i].content;
        if (plan->added[i].outside && content.size_bytes == 1 && (unsigned char)content.at[0] < TEXT_ASCII)
            t->ascii_ids[(unsigned char)content.at[0]] = t->special.unk;
    }
    return FINCH_OK;
}

/* ---- added tokens ---------------------------------------------------------------------------------------------- */

static finch_status copy_added(text_tokenizer *t, const text_plan *plan, finch_error *err)
{
    if (plan->n_added > TEXT_ADDED_MAX)
        return finch_fail(err, FINCH_E_DATA, "%s: %zu added tokens are more than the %d there may be", plan->name,
                          plan->n_added, TEXT_ADDED_MAX);
    FINCH_TRY(MEM_NEW(&t->added, plan->n_added, err));
    for (size_t i = 0; i < plan->n_added; i++) {
        text_added token = plan->added[i];
        if (token.id < 0 || (size_t)token.id >= t->n_pieces || !text_equal(t->pieces[token.id], token.content))
            return finch_fail(err, FINCH_E_DATA,
                              "%s: the added token \"%.*s\" has the id %d, where the vocabulary has another piece; one of "
                              "the two was edited",
                              plan->name, SHOWN(token.content), token.id);
        token.content = t->pieces[token.id];
        t->added[i] = token;
    }
    t->n_added = plan->n_added;
    return FINCH_OK;
}

/* Which added tokens are looked for together. */
typedef enum added_kind { ADDED_RAW, ADDED_PLAIN, ADDED_NORMAL } added_kind;

static bool is_of_kind(const text_added *token, added_kind kind)
{
    return token->normalized == (kind == ADDED_NORMAL) && !(kind == ADDED_PLAIN && token->special);
}

/* Strings of one set: the tokens' own, or what normalisation makes of them (kept in *block until the trie is built). BPE's
 * normaliser changes none of them (check_added_blanks). */
static finch_status added_keys(const text_tokenizer *t, added_kind kind, trie_key *keys, size_t *n, str *block,
                               finch_error *err)
{
    text_buffer buffer = {0};
    finch_status st = FINCH_OK;
    size_t size = 0;
    *n = 0;
    for (size_t i = 0; i < t->n_added; i++) {
        if (!is_of_kind(&t->added[i], kind)) continue;
        finch_text content = t->added[i].content;
        if (kind == ADDED_NORMAL && t->bpe == NULL) {
            FINCH_GO(done, st, text_normalize(t, content, 0, false, &buffer, err));
            content = (finch_text){(const char *)buffer.at, buffer.size};
        }
        FINCH_GO(done, st, str_add(block, content.at, content.size_bytes, err));
        keys[(*n)++] = (trie_key){NULL, content.size_bytes, (int32_t)i};
    }
    for (size_t i = 0; i < *n; size += keys[i++].size) keys[i].at = (const unsigned char *)block->at + size;
done:
    text_buffer_free(&buffer);
    return st;
}

static finch_status check_added_keys(const text_tokenizer *t, const text_plan *plan, const trie_key *keys, size_t n,
                                     finch_error *err)
{
    for (size_t i = 0; i < n; i++) {
        finch_text content = t->added[keys[i].value].content;
        if (keys[i].size == 0)
            return finch_fail(
                err, FINCH_E_DATA,
                "%s: normalisation leaves nothing of the added token \"%.*s\"; set its \"normalized\" to false", plan->name,
                SHOWN(content));
        if (i > 0 && find_order(&keys[i - 1], &keys[i]) == 0)
            return finch_fail(err, FINCH_E_DATA,
                              "%s: the added token \"%.*s\" is there twice, or is the same as another after normalisation; "
                              "remove one of them",
                              plan->name, SHOWN(content));
    }
    return FINCH_OK;
}

static finch_status build_added(text_tokenizer *t, const text_plan *plan, added_kind kind, text_added_set *set,
                                finch_error *err)
{
    trie_key *keys = NULL;
    str block = {0};
    size_t n = 0;
    finch_status st;
    FINCH_GO(done, st, MEM_NEW(&keys, t->n_added, err));
    FINCH_GO(done, st, added_keys(t, kind, keys, &n, &block, err));
    if (n == 0) goto done;
    trie_keys_sort(keys, n);
    FINCH_GO(done, st, check_added_keys(t, plan, keys, n, err));
    FINCH_GO(done, st, trie_add(&set->strings, keys, n, &set->root, err));
    for (size_t i = 0; i < n; i++) set->first[keys[i].at[0]] = true;
    set->n = n;
done:
    str_free(&block);
    mem_free(keys);
    return st;
}

/* ---- the whole ------------------------------------------------------------------------------------------------- */

static unsigned touched_classes(const text_rules *rules)
{
    unsigned bits = 0;
    if (rules->clean_text) bits |= CHAR_REMOVED | CHAR_WHITE;
    if (rules->chinese_chars) bits |= CHAR_CHINESE;
    if (rules->strip_accents) bits |= CHAR_DECOMPOSES | CHAR_MARK;
    if (rules->lower_case) bits |= CHAR_CASED;
    return bits;
}

finch_status text_tokenizer_build(const text_plan *plan, text_tokenizer **out, finch_error *err)
{
    text_tokenizer *t = NULL;
    trie_key *keys = NULL;
    finch_status st;
    *out = NULL;
    FINCH_GO(done, st, MEM_NEW(&t, 1, err));
    t->rules = plan->rules;
    t->touched = touched_classes(&plan->rules);
    t->classes = unicode_classes();
    t->style = plan->style;
    t->trim_spans = plan->trim_spans;
    t->word_chars_max = plan->word_chars_max;
    t->adds_sep = plan->bpe == NULL || plan->bpe->adds_eos;
    FINCH_GO(done, st, copy_pieces(t, plan, err));
    FINCH_GO(done, st, sort_pieces(t, plan, &keys, err));
    FINCH_GO(done, st, copy_added(t, plan, err));
    FINCH_GO(done, st, find_specials(t, plan, keys, err));
    st = plan->bpe != NULL ? bpe_build(t, plan, err) : build_tries(t, plan, keys, err);
    if (st != FINCH_OK) goto done;
    FINCH_GO(done, st, build_added(t, plan, ADDED_RAW, &t->raw_added, err));
    FINCH_GO(done, st, build_added(t, plan, ADDED_NORMAL, &t->normal_added, err));
    if (plan->bpe != NULL) st = build_added(t, plan, ADDED_PLAIN, &t->plain_added, err);
done:
    mem_free(keys);
    if (st == FINCH_OK) *out = t;
    else text_tokenizer_close(t);
    return st;
}

void text_tokenizer_close(text_tokenizer *t)
{
    if (t == NULL) return;
    trie_free(&t->pieces_trie);
    trie_free(&t->raw_added.strings);
    trie_free(&t->normal_added.strings);
    trie_free(&t->plain_added.strings);
    bpe_free(t->bpe);
    mem_free(t->pieces);
    mem_free(t->piece_bytes);
    mem_free(t->added);
    for (size_t i = 0; i < t->n_files; i++) {
        mem_free(t->files[i].name);
        mem_free(t->files[i].content);
    }
    mem_free(t);
}

finch_status text_tokenizer_check_rows(const text_tokenizer *t, size_t n_rows, const char *name, finch_error *err)
{
    if (t->n_pieces <= n_rows) return FINCH_OK;
    return finch_fail(err, FINCH_E_DATA,
                      "%s: the tokenizer has %zu pieces and the embedding %zu rows; the two belong to different models",
                      name, t->n_pieces, n_rows);
}

size_t text_tokenizer_vocab_size(const text_tokenizer *t) { return t->n_pieces; }
text_style text_tokenizer_style(const text_tokenizer *t) { return t->style; }
bool text_tokenizer_adds_end(const text_tokenizer *t) { return t->adds_sep; }
text_special text_tokenizer_special(const text_tokenizer *t) { return t->special; }

const char *text_tokenizer_piece(const text_tokenizer *t, int32_t id, size_t *size)
{
    *size = 0;
    if (id < 0 || (size_t)id >= t->n_pieces) return NULL;
    *size = t->pieces[id].size_bytes;
    return t->pieces[id].at;
}

finch_status text_tokenizer_keep_file(text_tokenizer *t, const char *name, const char *content, size_t size,
                                      finch_error *err)
{
    if (t->n_files == TEXT_FILES_MAX)
        return finch_fail(err, FINCH_E_FAILED, "%s: a tokenizer has at most %d files", name, TEXT_FILES_MAX);
    text_file *file = &t->files[t->n_files];
    FINCH_TRY(mem_text(name, strlen(name), &file->name, err));
    finch_status st = mem_text(content, size, &file->content, err);
    if (st != FINCH_OK) {
        mem_free(file->name);
        file->name = NULL;
        return st;
    }
    file->size = size;
    t->n_files++;
    return FINCH_OK;
}

finch_status text_tokenizer_save(const text_tokenizer *t, const char *folder, finch_error *err)
{
    str path = {0};
    finch_status st = file_make_directories(folder, err);
    if (st == FINCH_OK && t->bpe != NULL) st = bpe_save(t, folder, err);
    for (size_t i = 0; st == FINCH_OK && i < t->n_files; i++) {
        st = file_join(folder, t->files[i].name, &path, err);
        if (st == FINCH_OK) st = file_write(path.at, t->files[i].content, t->files[i].size, err);
    }
    str_free(&path);
    return st;
}
