#include "model/tokenizer_file.h"

#include "base/file.h"
#include "model/adapter.h"

#include <string.h>

#define KEY(name) "tokenizer.ggml." name

typedef struct lists {
    finch_text *pieces;
    uint8_t *kinds;
    size_t n;
} lists;

static finch_status read_pieces(const gguf *g, const char *name, lists *l, finch_error *err)
{
    gguf_array tokens;
    FINCH_TRY(gguf_get_texts(g, KEY("tokens"), &tokens, err));
    if (tokens.n_left == 0 || tokens.n_left > TEXT_VOCAB_MAX)
        return finch_fail(err, FINCH_E_DATA, "%s: " KEY("tokens") " has %zu pieces; a vocabulary has 1 to %d", name,
                          tokens.n_left, TEXT_VOCAB_MAX);
    FINCH_TRY(MEM_NEW(&l->pieces, tokens.n_left, err));
    while (gguf_next_text(&tokens, &l->pieces[l->n])) l->n++;
    return FINCH_OK;
}

static finch_status read_kinds(const gguf *g, const char *name, lists *l, finch_error *err)
{
    gguf_array kinds;
    double kind = 0;
    FINCH_TRY(gguf_get_numbers(g, KEY("token_type"), &kinds, err));
    if (kinds.n_left != l->n)
        return finch_fail(err, FINCH_E_DATA,
                          "%s: " KEY("token_type") " has %zu items and " KEY("tokens") " %zu; the file is damaged", name,
                          kinds.n_left, l->n);
    FINCH_TRY(MEM_NEW(&l->kinds, l->n, err));
    for (size_t id = 0; gguf_next_number(&kinds, &kind); id++) {
        if (!(kind >= TEXT_PIECE_NORMAL && kind <= TEXT_PIECE_BYTE))
            return finch_fail(err, FINCH_E_DATA, "%s: " KEY("token_type") " of piece %zu is %g; types are from 1 to 6", name,
                              id, kind);
        l->kinds[id] = (uint8_t)kind;
    }
    return FINCH_OK;
}

static finch_status read_id(const gguf *g, const char *name, const char *key, int32_t *id, finch_error *err)
{
    size_t value = 0;
    *id = -1;
    if (!gguf_has(g, key)) return FINCH_OK;
    FINCH_TRY(gguf_get_size(g, key, &value, err));
    if (value >= TEXT_VOCAB_MAX)
        return finch_fail(err, FINCH_E_DATA, "%s: %s is %zu; ids are below %d", name, key, value, TEXT_VOCAB_MAX);
    *id = (int32_t)value;
    return FINCH_OK;
}

/* A flag that may be missing. */
static finch_status read_flag(const gguf *g, const char *key, bool preset, bool *out, finch_error *err)
{
    *out = preset;
    return gguf_has(g, key) ? gguf_get_bool(g, key, out, err) : FINCH_OK;
}

/* What would make other ids than Gemma's way of spelling does. */
static finch_status check_kind(const gguf *g, const char *name, finch_error *err)
{
    finch_text kind;
    bool flag;
    const char *what = NULL;
    FINCH_TRY(gguf_get_text(g, KEY("model"), &kind, err));
    if (kind.size_bytes != 5 || memcmp(kind.at, "llama", 5) != 0)
        return finch_fail(
            err, FINCH_E_UNSUPPORTED,
            "%s: its tokenizer is a \"%.*s\"; finch reads SentencePiece vocabularies (\"llama\"), as Gemma's is", name,
            (int)(kind.size_bytes < 40 ? kind.size_bytes : 40), kind.at);
    FINCH_TRY(read_flag(g, KEY("add_space_prefix"), false, &flag, err));
    if (flag) what = "puts a blank before each text (add_space_prefix)";
    FINCH_TRY(read_flag(g, KEY("add_bos_token"), true, &flag, err));
    if (!flag) what = "puts no <bos> before a text (add_bos_token is off)";
    if (gguf_has(g, KEY("merges"))) what = "brings merges of its own";
    if (what == NULL) return FINCH_OK;
    return finch_fail(err, FINCH_E_UNSUPPORTED, "%s: its tokenizer %s; finch reads Gemma's, which does not", name, what);
}

finch_status model_tokenizer_from_gguf(const gguf *g, const char *name, text_tokenizer **out, finch_error *err)
{
    lists l = {0};
    text_spm spm = {.name = name};
    finch_status st;
    *out = NULL;
    FINCH_GO(done, st, check_kind(g, name, err));
    FINCH_GO(done, st, read_pieces(g, name, &l, err));
    FINCH_GO(done, st, read_kinds(g, name, &l, err));
    FINCH_GO(done, st, read_id(g, name, KEY("bos_token_id"), &spm.bos, err));
    FINCH_GO(done, st, read_id(g, name, KEY("eos_token_id"), &spm.eos, err));
    FINCH_GO(done, st, read_id(g, name, KEY("unknown_token_id"), &spm.unk, err));
    FINCH_GO(done, st, read_id(g, name, KEY("padding_token_id"), &spm.pad, err));
    FINCH_GO(done, st, read_flag(g, KEY("add_eos_token"), false, &spm.adds_eos, err));
    spm.pieces = l.pieces;
    spm.kinds = l.kinds;
    spm.n = l.n;
    st = text_tokenizer_from_pieces(&spm, out, err);
done:
    mem_free(l.pieces);
    mem_free(l.kinds);
    return st;
}

static finch_status open_place(const char *path, text_tokenizer **out, finch_error *err)
{
    gguf *g;
    if (!file_exists(path) || file_is_directory(path)) return text_tokenizer_open(path, out, err);
    FINCH_TRY(gguf_open(path, &g, err));
    finch_status st = model_tokenizer_from_gguf(g, path, out, err);
    gguf_close(g);
    return st;
}

/* A folder of adapters without any of a tokenizer's files has its base's. */
finch_status model_tokenizer_open(const char *path, text_tokenizer **out, finch_error *err)
{
    static const char *const files[] = {"tokenizer.json", "vocab.txt", "tokenizer.model"};
    str place = {0};
    bool own = false;
    finch_status st = FINCH_OK;
    *out = NULL;
    for (size_t i = 0; st == FINCH_OK && !own && i < sizeof files / sizeof files[0]; i++) {
        st = adapter_place_of(path, files[i], &place, err);
        own = st == FINCH_OK && strcmp(place.at, path) == 0;
    }
    if (st == FINCH_OK) st = open_place(place.at, out, err);
    str_free(&place);
    return st;
}
