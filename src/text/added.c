#include "text/added.h"

#include "text/utf8.h"

static utf8_char char_before(const unsigned char *at, size_t place)
{
    size_t start = place - 1;
    while (start > 0 && (at[start] & 0xC0u) == 0x80u) start--;
    return utf8_next(at + start);
}

static bool stands_alone(const unsigned char *at, size_t size, size_t begin, size_t end)
{
    if (begin > 0 && unicode_is_word(char_before(at, begin).code)) return false;
    return end == size || !unicode_is_word(utf8_next(at + end).code);
}

/* Not before what is already given out. */
static size_t white_begin(const text_tokenizer *t, const unsigned char *at, size_t begin, size_t first)
{
    while (begin > first) {
        utf8_char c = char_before(at, begin);
        if ((text_class(t, c.code) & CHAR_WHITE) == 0) break;
        begin -= c.size;
    }
    return begin;
}

static size_t white_end(const text_tokenizer *t, const unsigned char *at, size_t size, size_t from,
                        text_added_search *search)
{
    size_t end = from;
    if (from >= search->white_from && from < search->white_to) return search->white_to;
    while (end < size) {
        utf8_char c = utf8_next(at + end);
        if ((text_class(t, c.code) & CHAR_WHITE) == 0) break;
        end += c.size;
    }
    search->white_from = from;
    search->white_to = end;
    return end;
}

bool text_added_find(const text_tokenizer *t, const text_added_set *set, const unsigned char *at, size_t size,
                     text_added_search *search, text_added_match *match)
{
    if (set->n == 0) return false;
    for (size_t i = search->next; i < size; i++) {
        int32_t place = -1;
        if (!set->first[at[i]]) continue;
        size_t length = trie_longest(&set->strings, set->root, at + i, at + size, &place);
        if (length == 0) continue;
        const text_added *token = &t->added[place];
        if (token->single_word && !stands_alone(at, size, i, i + length)) {
            i += length - 1;
            continue;
        }
        size_t begin = token->strip_left ? white_begin(t, at, i, search->begin) : i;
        size_t end = token->strip_right ? white_end(t, at, size, i + length, search) : i + length;
        *match = (text_added_match){token, begin, end};
        search->next = i + length;
        search->begin = end;
        return true;
    }
    return false;
}
