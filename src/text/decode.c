/* Ids back to text, as tokenizers decodes Gemma: U+2581 becomes a blank, a run of byte pieces becomes the text that its
 * bytes spell, or one U+FFFD a byte where they spell none. */
#include "text/bpe.h"

#include <string.h>

finch_status text_decoder_begin(text_decoder *d, const text_tokenizer *t, bool skip_special, finch_error *err)
{
    *d = (text_decoder){.t = t, .skip_special = skip_special};
    if (t->bpe != NULL) return FINCH_OK;
    return finch_fail(err, FINCH_E_UNSUPPORTED, "WordPiece ids do not say where blanks were; only Gemma's can be decoded");
}

void text_decoder_free(text_decoder *d)
{
    mem_free(d->waiting);
    *d = (text_decoder){0};
}

static finch_status add_byte(text_decoder *d, unsigned char byte, finch_error *err)
{
    if (d->n_waiting == d->capacity) {
        void *block = d->waiting;
        size_t capacity = d->capacity == 0 ? 16 : 2 * d->capacity;
        FINCH_TRY(mem_grow(&block, d->n_waiting, capacity, 1, err));
        d->waiting = block;
        d->capacity = capacity;
    }
    d->waiting[d->n_waiting++] = byte;
    return FINCH_OK;
}

finch_status text_decoder_end(text_decoder *d, str *text, finch_error *err)
{
    size_t n = d->n_waiting;
    d->n_waiting = 0;
    if (utf8_valid_size(d->waiting, n) == n) return n > 0 ? str_add(text, (const char *)d->waiting, n, err) : FINCH_OK;
    for (size_t i = 0; i < n; i++) FINCH_TRY(str_add(text, "\xEF\xBF\xBD", 3, err));
    return FINCH_OK;
}

static finch_status add_piece(finch_text piece, str *text, finch_error *err)
{
    for (size_t at = 0; at < piece.size_bytes;) {
        utf8_char c = utf8_next((const unsigned char *)piece.at + at);
        if (c.code == BPE_BLANK) FINCH_TRY(str_add(text, " ", 1, err));
        else FINCH_TRY(str_add(text, piece.at + at, c.size, err));
        at += c.size;
    }
    return FINCH_OK;
}

finch_status text_decoder_add(text_decoder *d, int32_t id, str *text, finch_error *err)
{
    const text_tokenizer *t = d->t;
    if (id < 0 || (size_t)id >= t->n_pieces) return FINCH_OK;
    if (d->skip_special && t->bpe->byte_of[id] == BPE_CONTROL) return FINCH_OK;
    if (t->bpe->byte_of[id] >= 0) return add_byte(d, (unsigned char)t->bpe->byte_of[id], err);
    FINCH_TRY(text_decoder_end(d, text, err));
    return add_piece(t->pieces[id], text, err);
}

finch_status text_decode(const text_tokenizer *t, const int32_t *ids, size_t n, bool skip_special, str *text,
                         finch_error *err)
{
    text_decoder d;
    finch_status st = text_decoder_begin(&d, t, skip_special, err);
    for (size_t i = 0; st == FINCH_OK && i < n; i++) st = text_decoder_add(&d, ids[i], text, err);
    if (st == FINCH_OK) st = text_decoder_end(&d, text, err);
    text_decoder_free(&d);
    return st;
}
