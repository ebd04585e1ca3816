/* The automaton of a form. A byte goes to the innermost value of each thread, which takes it, refuses it, or, where it is a number
 * that could end before it, ends and leaves it to the value around it. An item or a member's value begins with the first byte of it,
 * so white space before it belongs to what is around. */
#include "text/json_form_internal.h"

#include <string.h>

enum { NUMBER_DIGITS_MAX = 15, EXPONENT_DIGITS_MAX = 2, OBJECT_PLACE_BITS = 16 };

typedef enum text_phase {
    TEXT_OPEN,
    TEXT_IN,
    TEXT_ESCAPE,
    TEXT_HEX, /* behind \u */
    TEXT_HEX_0, /* behind \u0: what is below 10 is not written */
    TEXT_HEX_00,
    TEXT_HEX_D, /* behind \ud: nor are surrogates */
    TEXT_HEX_3, /* three digits are missing */
    TEXT_HEX_2,
    TEXT_HEX_1,
    TEXT_MORE_1, /* one byte of the code point is missing */
    TEXT_MORE_2,
    TEXT_MORE_3,
    TEXT_MORE_E0, /* what may follow these bytes is less than what may follow others */
    TEXT_MORE_ED,
    TEXT_MORE_F0,
    TEXT_MORE_F4
} text_phase;

typedef enum number_phase {
    NUMBER_OPEN,
    NUMBER_MINUS,
    NUMBER_DIGITS,
    NUMBER_ZERO,
    NUMBER_POINT,
    NUMBER_FRACTION,
    NUMBER_E,
    NUMBER_SIGN,
    NUMBER_EXPONENT
} number_phase;

/* Of arrays, objects and maps. */
typedef enum list_phase {
    LIST_OPEN,
    LIST_FIRST, /* behind the bracket */
    LIST_KEY, /* objects: in a name; count is the property << 16 | the bytes it has */
    LIST_COLON,
    LIST_VALUE, /* behind the colon */
    LIST_NEXT, /* behind an item */
    LIST_COMMA
} list_phase;

typedef enum taken { REFUSED, TAKEN, BLANK, ENDED, HANDED_ON } taken;

static void take(const json_form *f, form_thread *t, unsigned char byte, form_state *out);

/* ---- threads -------------------------------------------------------------------------------------------------------- */

static void copy_thread(const form_thread *from, form_thread *to)
{
    to->depth = from->depth;
    to->blanks = from->blanks;
    memcpy(to->frames, from->frames, from->depth * sizeof *from->frames);
}

static bool same_thread(const form_thread *a, const form_thread *b)
{
    return a->depth == b->depth && a->blanks == b->blanks && memcmp(a->frames, b->frames, a->depth * sizeof *a->frames) == 0;
}

/* What two threads have in common goes on once. Past the most the first ones are followed: fewer texts, none that does not fit. */
static void add_thread(form_state *s, const form_thread *t)
{
    for (size_t i = 0; i < s->n; i++)
        if (same_thread(&s->threads[i], t)) return;
    if (s->n < FORM_THREADS_MAX) copy_thread(t, &s->threads[s->n++]);
}

/* False where a list would leave no room for what is in it. */
static bool push(const json_form *f, form_thread *t, uint16_t node)
{
    const form_node *n = &f->nodes[node];
    bool list = n->kind == FORM_ARRAY || n->kind == FORM_OBJECT || n->kind == FORM_MAP;
    if (t->depth + (list ? 1 : 0) >= FORM_DEPTH_MAX) return false;
    t->frames[t->depth++] = (form_frame){.node = node, .at = n->kind == FORM_LITERALS ? n->first : 0};
    return true;
}

/* A value of that node begins with the byte. */
static void enter(const json_form *f, const form_thread *t, uint16_t node, unsigned char byte, form_state *out)
{
    const form_node *n = &f->nodes[node];
    form_thread next;
    if (n->kind == FORM_ANY_OF) {
        for (size_t i = 0; i < n->n; i++) enter(f, t, f->parts[n->first + i], byte, out);
        return;
    }
    copy_thread(t, &next);
    next.blanks = 0;
    if (push(f, &next, node)) take(f, &next, byte, out);
}

/* ---- values without parts ------------------------------------------------------------------------------------------- */

static taken take_letter(const json_form *f, form_frame *top, unsigned char byte, form_thread *t)
{
    uint32_t child = f->letters[top->at].child;
    while (child != 0 && f->letters[child].byte != byte) child = f->letters[child].sibling;
    if (child == 0) return f->letters[top->at].ends ? ENDED : REFUSED;
    top->at = child;
    if (f->letters[child].ends && f->letters[child].child == 0) t->depth--;
    return TAKEN;
}

static taken go(form_frame *top, unsigned phase, bool allowed)
{
    if (!allowed) return REFUSED;
    top->phase = (uint16_t)phase;
    return TAKEN;
}

static bool is_digit(unsigned char c) { return c >= '0' && c <= '9'; }

static bool is_hex(unsigned char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

static taken take_character(const form_node *n, form_frame *top, unsigned char c, form_thread *t)
{
    if (c == '"') {
        if (top->count < n->least) return REFUSED;
        t->depth--;
        return TAKEN;
    }
    if (top->count >= n->most || c < 0x20 || (c >= 0x80 && c < 0xC2) || c > 0xF4) return REFUSED;
    top->count++;
    if (c == '\\') return go(top, TEXT_ESCAPE, true);
    if (c < 0x80) return TAKEN;
    if (c < 0xE0) return go(top, TEXT_MORE_1, true);
    if (c < 0xF0) return go(top, c == 0xE0 ? TEXT_MORE_E0 : c == 0xED ? TEXT_MORE_ED : TEXT_MORE_2, true);
    return go(top, c == 0xF0 ? TEXT_MORE_F0 : c == 0xF4 ? TEXT_MORE_F4 : TEXT_MORE_3, true);
}

static taken take_text(const form_node *n, form_frame *top, unsigned char c, form_thread *t)
{
    bool more = c >= 0x80 && c < 0xC0;
    switch ((text_phase)top->phase) {
    case TEXT_OPEN: return go(top, TEXT_IN, c == '"');
    case TEXT_IN: return take_character(n, top, c, t);
    case TEXT_ESCAPE:
        if (c == 'u') return go(top, TEXT_HEX, true);
        return go(top, TEXT_IN, c != '\0' && strchr("\"\\/bfnrt", c) != NULL);
    case TEXT_HEX: return go(top, c == '0' ? TEXT_HEX_0 : c == 'd' || c == 'D' ? TEXT_HEX_D : TEXT_HEX_3, is_hex(c));
    case TEXT_HEX_0: return go(top, c == '0' ? TEXT_HEX_00 : TEXT_HEX_2, is_hex(c));
    case TEXT_HEX_00: return go(top, TEXT_HEX_1, is_hex(c) && c != '0');
    case TEXT_HEX_D: return go(top, TEXT_HEX_2, c >= '0' && c <= '7');
    case TEXT_HEX_3: return go(top, TEXT_HEX_2, is_hex(c));
    case TEXT_HEX_2: return go(top, TEXT_HEX_1, is_hex(c));
    case TEXT_HEX_1: return go(top, TEXT_IN, is_hex(c));
    case TEXT_MORE_1: return go(top, TEXT_IN, more);
    case TEXT_MORE_2: return go(top, TEXT_MORE_1, more);
    case TEXT_MORE_3: return go(top, TEXT_MORE_2, more);
    case TEXT_MORE_E0: return go(top, TEXT_MORE_1, more && c >= 0xA0);
    case TEXT_MORE_ED: return go(top, TEXT_MORE_1, more && c < 0xA0);
    case TEXT_MORE_F0: return go(top, TEXT_MORE_2, more && c >= 0x90);
    case TEXT_MORE_F4: return go(top, TEXT_MORE_2, more && c < 0x90);
    }
    return REFUSED;
}

static bool number_may_end(unsigned phase)
{
    return phase == NUMBER_DIGITS || phase == NUMBER_ZERO || phase == NUMBER_FRACTION || phase == NUMBER_EXPONENT;
}

static taken go_digit(form_frame *top, unsigned phase, uint32_t most)
{
    if (top->count >= most) return REFUSED;
    top->count++;
    return go(top, phase, true);
}

static taken take_digit(form_frame *top, unsigned char c)
{
    switch ((number_phase)top->phase) {
    case NUMBER_OPEN:
    case NUMBER_MINUS: top->count = 1; return go(top, c == '0' ? NUMBER_ZERO : NUMBER_DIGITS, true);
    case NUMBER_DIGITS: return go_digit(top, NUMBER_DIGITS, NUMBER_DIGITS_MAX);
    case NUMBER_ZERO: return REFUSED;
    case NUMBER_POINT: top->count = 1; return go(top, NUMBER_FRACTION, true);
    case NUMBER_FRACTION: return go_digit(top, NUMBER_FRACTION, NUMBER_DIGITS_MAX);
    case NUMBER_E:
    case NUMBER_SIGN: top->count = 1; return go(top, NUMBER_EXPONENT, true);
    case NUMBER_EXPONENT: return go_digit(top, NUMBER_EXPONENT, EXPONENT_DIGITS_MAX);
    }
    return REFUSED;
}

static taken take_number(const form_node *n, form_frame *top, unsigned char c)
{
    unsigned phase = top->phase;
    bool whole = n->most == 0, integer = phase == NUMBER_DIGITS || phase == NUMBER_ZERO;
    if (is_digit(c)) return take_digit(top, c);
    if (phase == NUMBER_OPEN) return go(top, NUMBER_MINUS, c == '-');
    if (phase == NUMBER_E) return go(top, NUMBER_SIGN, c == '-' || c == '+');
    if (!whole && c == '.' && integer) return go(top, NUMBER_POINT, true);
    if (!whole && (c == 'e' || c == 'E') && (integer || phase == NUMBER_FRACTION)) return go(top, NUMBER_E, true);
    return number_may_end(phase) ? ENDED : REFUSED;
}

/* ---- values with parts ---------------------------------------------------------------------------------------------- */

static bool is_blank(unsigned char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

static taken take_blank(form_thread *t)
{
    if (t->blanks >= FORM_BLANKS_MAX) return REFUSED;
    t->blanks++;
    return BLANK;
}

static taken close_list(form_thread *t, bool allowed)
{
    if (!allowed) return REFUSED;
    t->depth--;
    return TAKEN;
}

static taken hand_on(const json_form *f, const form_thread *t, uint16_t node, unsigned char c, form_state *out)
{
    enter(f, t, node, c, out);
    return HANDED_ON;
}

static taken take_array(const json_form *f, const form_node *n, form_thread *t, unsigned char c, form_state *out)
{
    form_frame *top = &t->frames[t->depth - 1];
    if (top->phase == LIST_OPEN) return go(top, LIST_FIRST, c == '[');
    if (is_blank(c)) return take_blank(t);
    if (c == ']') return close_list(t, top->phase != LIST_COMMA && top->count >= n->least);
    if (top->count >= n->most) return REFUSED;
    if (top->phase == LIST_NEXT) return go(top, LIST_COMMA, c == ',');
    top->phase = LIST_NEXT;
    top->count++;
    return hand_on(f, t, (uint16_t)n->first, c, out);
}

/* The last property that may come when `at` is the first that did not. */
static size_t last_possible(const json_form *f, const form_node *n, size_t at)
{
    while (at + 1 < n->n && !f->properties[n->first + at].required) at++;
    return at;
}

static bool all_required_written(const json_form *f, const form_node *n, size_t at)
{
    while (at < n->n && !f->properties[n->first + at].required) at++;
    return at == n->n;
}

/* A byte of a name: of those that may come, the first that begins like this. */
static taken take_name(const json_form *f, const form_node *n, form_frame *top, unsigned char c)
{
    size_t first = top->count >> OBJECT_PLACE_BITS, place = top->count & ((1u << OBJECT_PLACE_BITS) - 1);
    size_t last = last_possible(f, n, top->at);
    const char *begun = f->bytes.at + f->properties[n->first + first].key;
    for (size_t i = first; i <= last; i++) {
        const form_property *p = &f->properties[n->first + i];
        const char *key = f->bytes.at + p->key;
        if (p->key_bytes <= place || memcmp(key, begun, place) != 0 || (unsigned char)key[place] != c) continue;
        top->count = (uint32_t)(i << OBJECT_PLACE_BITS | (place + 1));
        if (place + 1 < p->key_bytes) return TAKEN;
        top->at = (uint32_t)i;
        top->count = 0;
        return go(top, LIST_COLON, true);
    }
    return REFUSED;
}

static taken take_object(const json_form *f, const form_node *n, form_thread *t, unsigned char c, form_state *out)
{
    form_frame *top = &t->frames[t->depth - 1];
    switch ((list_phase)top->phase) {
    case LIST_OPEN: return go(top, LIST_FIRST, c == '{');
    case LIST_KEY: return take_name(f, n, top, c);
    case LIST_COLON: return go(top, LIST_VALUE, c == ':');
    case LIST_VALUE:
        if (is_blank(c)) return take_blank(t);
        const form_property *p = &f->properties[n->first + top->at++];
        top->phase = LIST_NEXT;
        return hand_on(f, t, p->node, c, out);
    case LIST_FIRST:
    case LIST_NEXT:
    case LIST_COMMA: break;
    }
    if (is_blank(c)) return take_blank(t);
    if (c == '}') return close_list(t, top->phase != LIST_COMMA && all_required_written(f, n, top->at));
    if (top->at >= n->n) return REFUSED;
    if (top->phase == LIST_NEXT) return go(top, LIST_COMMA, c == ',');
    top->count = (uint32_t)(top->at << OBJECT_PLACE_BITS | 1);
    return go(top, LIST_KEY, c == '"');
}

static taken take_map(const json_form *f, const form_node *n, form_thread *t, unsigned char c, form_state *out)
{
    form_frame *top = &t->frames[t->depth - 1];
    if (top->phase == LIST_OPEN) return go(top, LIST_FIRST, c == '{');
    if (top->phase == LIST_COLON) return go(top, LIST_VALUE, c == ':');
    if (is_blank(c)) return take_blank(t);
    if (top->phase == LIST_VALUE) {
        top->phase = LIST_NEXT;
        return hand_on(f, t, (uint16_t)n->first, c, out);
    }
    if (c == '}') return close_list(t, top->phase != LIST_COMMA);
    if (top->phase == LIST_NEXT) return go(top, LIST_COMMA, c == ',');
    top->phase = LIST_COLON;
    return c == '"' ? hand_on(f, t, f->any_string, c, out) : REFUSED;
}

/* ---- a byte --------------------------------------------------------------------------------------------------------- */

static taken take_by_kind(const json_form *f, form_thread *t, unsigned char byte, form_state *out)
{
    form_frame *top = &t->frames[t->depth - 1];
    const form_node *n = &f->nodes[top->node];
    switch (n->kind) {
    case FORM_LITERALS: return take_letter(f, top, byte, t);
    case FORM_STRING: return take_text(n, top, byte, t);
    case FORM_NUMBER: return take_number(n, top, byte);
    case FORM_ARRAY: return take_array(f, n, t, byte, out);
    case FORM_OBJECT: return take_object(f, n, t, byte, out);
    case FORM_MAP: return take_map(f, n, t, byte, out);
    case FORM_ANY_OF: break; /* never on a stack: enter and form_begin take it apart */
    }
    return REFUSED;
}

static void take(const json_form *f, form_thread *t, unsigned char byte, form_state *out)
{
    taken how = ENDED;
    while (how == ENDED && t->depth > 0) {
        how = take_by_kind(f, t, byte, out);
        if (how == ENDED) t->depth--;
    }
    if (how != TAKEN && how != BLANK) return;
    if (how == TAKEN) t->blanks = 0;
    add_thread(out, t);
}

static void open_root(const json_form *f, uint16_t node, form_state *s)
{
    const form_node *n = &f->nodes[node];
    form_thread t = {.depth = 0};
    if (n->kind == FORM_ANY_OF)
        for (size_t i = 0; i < n->n; i++) open_root(f, f->parts[n->first + i], s);
    else if (push(f, &t, node)) add_thread(s, &t);
}

void form_begin(const json_form *f, form_state *s)
{
    s->n = 0;
    open_root(f, f->root, s);
}

void form_copy(const form_state *from, form_state *to)
{
    to->n = from->n;
    for (size_t i = 0; i < from->n; i++) copy_thread(&from->threads[i], &to->threads[i]);
}

bool form_step(const json_form *f, const form_state *from, unsigned char byte, form_state *to)
{
    to->n = 0;
    for (size_t i = 0; i < from->n; i++) {
        form_thread t;
        copy_thread(&from->threads[i], &t);
        take(f, &t, byte, to);
    }
    return to->n > 0;
}

/* ---- looking at a state --------------------------------------------------------------------------------------------- */

bool form_may_end(const json_form *f, const form_state *s)
{
    for (size_t i = 0; i < s->n; i++) {
        const form_thread *t = &s->threads[i];
        const form_frame *top = &t->frames[0];
        if (t->depth == 0) return true;
        if (t->depth > 1) continue;
        form_kind kind = f->nodes[top->node].kind;
        if (kind == FORM_NUMBER && number_may_end(top->phase)) return true;
        if (kind == FORM_LITERALS && f->letters[top->at].ends) return true;
    }
    return false;
}

bool form_must_end(const form_state *s)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->threads[i].depth > 0) return false;
    return true;
}

bool form_in_text(const json_form *f, const form_state *s, size_t *n_left)
{
    if (s->n != 1 || s->threads[0].depth == 0) return false;
    const form_frame *top = &s->threads[0].frames[s->threads[0].depth - 1];
    const form_node *n = &f->nodes[top->node];
    if (n->kind != FORM_STRING || top->phase != TEXT_IN) return false;
    *n_left = n->most == FORM_MOST_ANY ? SIZE_MAX : n->most - top->count;
    return true;
}

finch_status form_key(const json_form *f, const form_state *s, size_t horizon, str *key, finch_error *err)
{
    FINCH_TRY(str_add(key, (const char *)&s->n, sizeof s->n, err));
    for (size_t i = 0; i < s->n; i++) {
        const form_thread *t = &s->threads[i];
        const uint32_t head[] = {t->depth, t->blanks};
        FINCH_TRY(str_add(key, (const char *)head, sizeof head, err));
        for (size_t d = 0; d < t->depth; d++) {
            const form_frame *frame = &t->frames[d];
            const form_node *n = &f->nodes[frame->node];
            bool counts = n->kind == FORM_STRING || n->kind == FORM_ARRAY;
            size_t left = n->most - frame->count, missing = n->least > frame->count ? n->least - frame->count : 0;
            const uint32_t words[] = {(uint32_t)frame->node << 16 | frame->phase, frame->at,
                                      counts ? (uint32_t)size_least(left, horizon) : frame->count,
                                      counts ? (uint32_t)size_least(missing, horizon) : 0};
            FINCH_TRY(str_add(key, (const char *)words, sizeof words, err));
        }
    }
    return FINCH_OK;
}
