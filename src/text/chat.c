/* Conversations in Gemma's template: every turn is <start_of_turn>, the role, a line feed, the content without white space
 * around it, <end_of_turn>, a line feed; a system text goes before the first user's with an empty line between.
 *
 * The template is a list of parts, control tokens and texts. As text the parts are put end to end; as ids a control token
 * is its id, and what stands between two of them is one text that is encoded without control tokens. */
#include "text/bpe.h"

#include <string.h>

typedef enum part { PART_FIRST, PART_TURN, PART_TURN_END, PART_TEXT } part;

typedef struct sink sink;

/* Takes a part; text is that of PART_TEXT. */
typedef finch_status (*part_fn)(sink *s, part what, finch_text text, finch_error *err);

struct sink {
    part_fn put;
    str *text; /* so far: everything, or what no control token ended yet */
    const text_tokenizer *t;
    text_scratch *scratch;
    int32_t *ids;
    size_t n, max_tokens;
};

/* ---- the template ---------------------------------------------------------------------------------------------- */

/* What Python's str.strip takes away. */
static bool is_white(uint32_t code)
{
    if (code <= ' ') return code == ' ' || (code >= 0x09 && code <= 0x0D) || (code >= 0x1C && code <= 0x1F);
    return code == 0x85 || code == 0xA0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200A) || code == 0x2028 ||
           code == 0x2029 || code == 0x202F || code == 0x205F || code == 0x3000;
}

static finch_text trimmed(finch_text text)
{
    const unsigned char *at = (const unsigned char *)text.at, *end = at + text.size_bytes;
    while (at < end) {
        utf8_char c = utf8_decode(at, end);
        if (!is_white(c.code)) break;
        at += c.size;
    }
    while (at < end) {
        const unsigned char *last = end - 1;
        while (last > at && (*last & 0xC0u) == 0x80u) last--;
        utf8_char c = utf8_decode(last, end);
        if (!is_white(c.code) || last + c.size != end) break;
        end = last;
    }
    return (finch_text){(const char *)at, (size_t)(end - at)};
}

static finch_status put_text(sink *s, const char *text, finch_error *err)
{
    return s->put(s, PART_TEXT, (finch_text){text, strlen(text)}, err);
}

static finch_status put_turn(sink *s, const text_turn *turn, const text_turn *system, finch_error *err)
{
    static const finch_text nothing = {"", 0};
    FINCH_TRY(s->put(s, PART_TURN, nothing, err));
    FINCH_TRY(put_text(s, turn->role == TEXT_MODEL ? "model\n" : "user\n", err));
    if (system != NULL) {
        FINCH_TRY(s->put(s, PART_TEXT, system->content, err));
        FINCH_TRY(put_text(s, "\n\n", err));
    }
    FINCH_TRY(s->put(s, PART_TEXT, trimmed(turn->content), err));
    FINCH_TRY(s->put(s, PART_TURN_END, nothing, err));
    return put_text(s, "\n", err);
}

static finch_status put_chat(sink *s, const text_turn *turns, size_t n, bool ask, finch_error *err)
{
    static const finch_text nothing = {"", 0};
    size_t first = n > 0 && turns[0].role == TEXT_SYSTEM;
    if (n == first) return finch_fail(err, FINCH_E_USAGE, "a conversation needs a user's turn");
    FINCH_TRY(s->put(s, PART_FIRST, nothing, err));
    for (size_t i = first; i < n; i++) {
        if (turns[i].role != ((i - first) % 2 == 0 ? TEXT_USER : TEXT_MODEL))
            return finch_fail(err, FINCH_E_USAGE,
                              "turn %zu of the conversation is of the wrong role: after an optional system turn, user and "
                              "model take turns, the user first",
                              i + 1);
        FINCH_TRY(put_turn(s, &turns[i], first > 0 && i == first ? &turns[0] : NULL, err));
    }
    if (!ask) return FINCH_OK;
    FINCH_TRY(s->put(s, PART_TURN, nothing, err));
    return put_text(s, "model\n", err);
}

/* ---- as text --------------------------------------------------------------------------------------------------- */

static finch_status render_part(sink *s, part what, finch_text text, finch_error *err)
{
    static const char *const names[] = {"<bos>", "<start_of_turn>", "<end_of_turn>"};
    if (what != PART_TEXT) return str_add_text(s->text, names[what], err);
    return text.size_bytes > 0 ? str_add(s->text, text.at, text.size_bytes, err) : FINCH_OK;
}

finch_status text_chat_render(const text_turn *turns, size_t n_turns, bool ask, str *text, finch_error *err)
{
    sink s = {.put = render_part, .text = text};
    return put_chat(&s, turns, n_turns, ask, err);
}

/* ---- as ids ---------------------------------------------------------------------------------------------------- */

static finch_status too_long(const sink *s, finch_error *err)
{
    return finch_fail(err, FINCH_E_DATA, "the conversation has more than the %zu tokens that there is room for; shorten it",
                      s->max_tokens);
}

static finch_status flush(sink *s, finch_error *err)
{
    size_t n;
    bool truncated;
    finch_text text = {s->text->at, s->text->size};
    FINCH_TRY(text_encode_plain(s->t, text, s->max_tokens - s->n, s->ids + s->n, &n, &truncated, s->scratch, err));
    s->n += n;
    str_clear(s->text);
    return truncated ? too_long(s, err) : FINCH_OK;
}

static finch_status encode_part(sink *s, part what, finch_text text, finch_error *err)
{
    const text_special *special = &s->t->special;
    const int32_t ids[] = {special->cls, special->turn_begin, special->turn_end};
    if (what == PART_TEXT) return render_part(s, what, text, err);
    FINCH_TRY(flush(s, err));
    if (s->n == s->max_tokens) return too_long(s, err);
    s->ids[s->n++] = ids[what];
    return FINCH_OK;
}

finch_status text_encode_chat(const text_tokenizer *t, const text_turn *turns, size_t n_turns, bool ask, size_t max_tokens,
                              int32_t *ids, size_t *n_tokens, text_scratch *scratch, finch_error *err)
{
    str text = {0};
    sink s = {encode_part, &text, t, scratch, ids, 0, max_tokens};
    *n_tokens = 0;
    if (t->bpe == NULL || t->special.turn_begin < 0 || t->special.turn_end < 0)
        return finch_fail(err, FINCH_E_UNSUPPORTED,
                          "the tokenizer has no <start_of_turn> and <end_of_turn>: the model knows no conversations");
    finch_status st = put_chat(&s, turns, n_turns, ask, err);
    if (st == FINCH_OK) st = flush(&s, err);
    if (st == FINCH_OK) *n_tokens = s.n;
    str_free(&text);
    return st;
}
