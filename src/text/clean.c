#include "text/clean.h"

#include "text/clean_chars.h"
#include "text/clean_words.h"
#include "text/entity.h"
#include "text/mojibake.h"
#include "text/utf8.h"

enum { HAS_CONTROL = 1, HAS_AMPERSAND = 2, HAS_HIGH = 4 };

/* Without a branch, so that the compiler takes many bytes at a time. */
static unsigned look(finch_text text)
{
    unsigned char high = 0, ampersand = 0, control = 0;
    for (size_t i = 0; i < text.size_bytes; i++) {
        unsigned char c = (unsigned char)text.at[i];
        high |= c;
        ampersand |= c == '&';
        control |= (unsigned char)((c < 0x20) & (c != '\t') & (c != '\n') & (c != '\r')) | (c == 0x7F);
    }
    return (control != 0 ? HAS_CONTROL : 0u) | (ampersand != 0 ? HAS_AMPERSAND : 0u) | (high >= 0x80 ? HAS_HIGH : 0u);
}

static finch_text text_of(const str *s) { return (finch_text){s->at, s->size}; }

/* The text as it is between two stages: the caller's, or that of one of the scratch's two buffers. */
typedef struct state {
    finch_text text;
    text_clean_scratch *scratch;
    text_clean_report *report;
} state;

static str *free_buffer(const state *s)
{
    return s->text.at == s->scratch->first.at ? &s->scratch->second : &s->scratch->first;
}

static void take(state *s, const str *result, unsigned stage)
{
    s->text = text_of(result);
    s->report->changed |= stage;
}

static finch_status replace_ill_formed(state *s, finch_error *err)
{
    if (utf8_valid_size((const unsigned char *)s->text.at, s->text.size_bytes) == s->text.size_bytes) return FINCH_OK;
    str *out = free_buffer(s);
    FINCH_TRY(clean_utf8(s->text, out, &s->report->n_ill_formed, err));
    take(s, out, TEXT_CLEAN_UTF8);
    return FINCH_OK;
}

static finch_status decode_entities(state *s, bool *changed, finch_error *err)
{
    *changed = false;
    if ((look(s->text) & HAS_AMPERSAND) == 0) return FINCH_OK;
    str *out = free_buffer(s), *copy = out == &s->scratch->first ? &s->scratch->second : &s->scratch->first;
    if (s->text.at != copy->at) {
        str_clear(copy);
        FINCH_TRY(str_add(copy, s->text.at, s->text.size_bytes, err));
        s->text = text_of(copy);
    }
    FINCH_TRY(entity_decode(copy->at, copy->size, ENTITY_ALL, out, changed, err));
    take(s, out, *changed ? TEXT_CLEAN_ENTITIES : 0);
    return FINCH_OK;
}

static finch_status repair(state *s, bool *changed, finch_error *err)
{
    bool undone = false, filtered = false;
    unsigned has = look(s->text);
    if ((has & HAS_HIGH) != 0) {
        str *out = free_buffer(s);
        FINCH_TRY(mojibake_undo(s->text, out, &undone, err));
        if (undone) take(s, out, TEXT_CLEAN_REPAIR);
    }
    if ((has & (HAS_HIGH | HAS_CONTROL)) != 0) {
        str *out = free_buffer(s);
        FINCH_TRY(clean_chars(s->text, out, &filtered, s->scratch, err));
        if (filtered) take(s, out, TEXT_CLEAN_REPAIR);
    }
    *changed = undone || filtered;
    return FINCH_OK;
}

/* Decoding may bring forth what repair looks for (&acirc;&euro;&trade;), and repair what decoding does. */
static finch_status decode_and_repair(state *s, const text_clean_options *options, finch_error *err)
{
    for (int round = 0; round < TEXT_CLEAN_ROUNDS; round++) {
        bool decoded = false, repaired = false;
        if (options->entities) FINCH_TRY(decode_entities(s, &decoded, err));
        if (options->repair && (round == 0 || decoded)) FINCH_TRY(repair(s, &repaired, err));
        if (!repaired) break;
    }
    return FINCH_OK;
}

finch_status text_clean(finch_text in, const text_clean_options *options, str *out, text_clean_report *report,
                        text_clean_scratch *scratch, finch_error *err)
{
    text_clean_report ignored;
    if (report == NULL) report = &ignored;
    *report = (text_clean_report){0};
    str_clear(out);
    text_clean_options chosen = options != NULL ? *options : TEXT_CLEAN_DEFAULT;
    state s = {in, scratch, report};
    unsigned has = look(in);
    if ((has & HAS_HIGH) != 0) FINCH_TRY(replace_ill_formed(&s, err));
    if (has != 0) FINCH_TRY(decode_and_repair(&s, &chosen, err));
    return clean_words(s.text, &chosen, out, report, err);
}

void text_clean_scratch_free(text_clean_scratch *s)
{
    str_free(&s->first);
    str_free(&s->second);
    mem_free(s->codes);
    *s = (text_clean_scratch){0};
}
