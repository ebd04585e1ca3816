/* A SentencePiece vocabulary made into a BPE tokenizer: what transformers does with Gemma's tokenizer.model and GGUF
 * files. Source: convert_slow_tokenizer.py, integrations/gguf (transformers 5.23). */
#include "text/bpe.h"
#include "text/config.h"

#include <string.h>

enum { NAMES = 7 };

/* Control tokens whatever the file calls them: the tokenizer's class adds them as such. */
static const finch_text control_names[NAMES] = {
    {"<bos>", 5}, {"<eos>", 5}, {"<unk>", 5}, {"<pad>", 5}, {"<mask>", 6}, {"<start_of_turn>", 15}, {"<end_of_turn>", 13}};

static bool is_control(const text_spm *spm, size_t id)
{
    if (spm->kinds[id] == TEXT_PIECE_CONTROL || spm->kinds[id] == TEXT_PIECE_UNKNOWN) return true;
    for (size_t i = 0; i < NAMES; i++)
        if (text_equal(spm->pieces[id], control_names[i])) return true;
    return false;
}

static bool is_blanks(finch_text piece)
{
    for (size_t i = 0; i < piece.size_bytes; i++)
        if (piece.at[i] != ' ') return false;
    return piece.size_bytes > 0;
}

/* Pieces of blanks alone become what the normaliser makes of blanks; they are then no added tokens but merged like any
 * other piece. visible holds their texts. */
static finch_status take_pieces(text_plan *plan, const text_spm *spm, str *visible, finch_error *err)
{
    size_t size = 0, at = 0;
    for (size_t id = 0; id < spm->n; id++)
        if (is_blanks(spm->pieces[id])) size += spm->pieces[id].size_bytes * BPE_BLANK_BYTES;
    FINCH_TRY(str_reserve(visible, size, err));
    FINCH_TRY(MEM_NEW(&plan->pieces, spm->n, err));
    plan->n_pieces = spm->n;
    for (size_t id = 0; id < spm->n; id++) {
        plan->pieces[id] = spm->pieces[id];
        if (!is_blanks(spm->pieces[id])) continue;
        for (size_t i = 0; i < spm->pieces[id].size_bytes; i++)
            FINCH_TRY(str_add(visible, "\xE2\x96\x81", BPE_BLANK_BYTES, err));
        plan->pieces[id] = (finch_text){visible->at + at, visible->size - at};
        at = visible->size;
    }
    return FINCH_OK;
}

static finch_status add_tokens(text_plan *plan, const text_spm *spm, finch_error *err)
{
    for (size_t id = 0; id < spm->n; id++) {
        bool control = is_control(spm, id);
        if (!control && (spm->kinds[id] != TEXT_PIECE_USER || is_blanks(spm->pieces[id]))) continue;
        FINCH_TRY(
            text_plan_add(plan, (text_added){.content = plan->pieces[id], .id = (int32_t)id, .special = control}, err));
    }
    return FINCH_OK;
}

/* The piece of an id that the file gives, else the usual name. */
static finch_status take_special(const text_spm *spm, int32_t id, const char *usual, finch_text *out, finch_error *err)
{
    *out = (finch_text){usual, strlen(usual)};
    if (id < 0) return FINCH_OK;
    if ((size_t)id >= spm->n)
        return finch_fail(err, FINCH_E_DATA, "%s: its %s token has the id %d, and there are only %zu pieces", spm->name,
                          usual, id, spm->n);
    *out = spm->pieces[id];
    return FINCH_OK;
}

finch_status text_tokenizer_from_pieces(const text_spm *spm, text_tokenizer **out, finch_error *err)
{
    bpe_plan b = {.derive = true, .adds_eos = spm->adds_eos};
    text_plan plan = {.name = spm->name, .style = TEXT_GEMMA, .mask = {"<mask>", 6}, .bpe = &b};
    str visible = {0};
    finch_status st;
    *out = NULL;
    if (spm->n == 0 || spm->n > TEXT_VOCAB_MAX)
        return finch_fail(err, FINCH_E_DATA, "%s: a vocabulary has 1 to %d pieces, this one %zu", spm->name, TEXT_VOCAB_MAX,
                          spm->n);
    FINCH_GO(done, st, take_special(spm, spm->bos, "<bos>", &plan.cls, err));
    FINCH_GO(done, st, take_special(spm, spm->eos, "<eos>", &plan.sep, err));
    FINCH_GO(done, st, take_special(spm, spm->unk, "<unk>", &plan.unk, err));
    FINCH_GO(done, st, take_special(spm, spm->pad, "<pad>", &plan.pad, err));
    FINCH_GO(done, st, take_pieces(&plan, spm, &visible, err));
    FINCH_GO(done, st, add_tokens(&plan, spm, err));
    st = text_tokenizer_build(&plan, out, err);
done:
    str_free(&visible);
    text_plan_free(&plan);
    return st;
}
