#include "text/clean_words.h"

#include <string.h>

typedef struct writer {
    finch_text in;
    const text_clean_options *options;
    text_clean_report *report;
    str *out; /* has room for all that can come */
    bool space_waits; /* white space was read and is written before what comes */
    bool began;       /* something but white space was read, and was not removed */
    bool behind_link; /* a link was the piece before */
} writer;

static const char link_token[] = "http", user_token[] = "@user";

static void put(writer *w, const char *text, size_t size)
{
    if (w->space_waits && w->out->size > 0) w->out->at[w->out->size++] = ' ';
    w->space_waits = false;
    memcpy(w->out->at + w->out->size, text, size);
    w->out->size += size;
}

static void put_space(writer *w, size_t begin, size_t end)
{
    if (!w->options->spaces) {
        w->space_waits = false;
        put(w, w->in.at + begin, end - begin);
        return;
    }
    if (begin == 0 || end == w->in.size_bytes || end - begin != 1 || w->in.at[begin] != ' ')
        w->report->changed |= TEXT_CLEAN_SPACES;
    w->space_waits = true;
}

static bool is_alnum(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

/* A token stands apart from what was glued to its link. */
static bool glues(char c)
{
    return is_alnum(c) || (c & 0x80) != 0 || c == '.' || c == '-' || c == '_' || c == '@' || c == '$' || c == '#';
}

static void put_link(writer *w, size_t begin, size_t end)
{
    w->report->n_urls++;
    size_t token = sizeof link_token - 1;
    if (w->options->urls == TEXT_CLEAN_KEEP) {
        put(w, w->in.at + begin, end - begin);
        return;
    }
    if (w->options->urls == TEXT_CLEAN_TOKEN) {
        if (!w->space_waits && w->out->size > 0 && glues(w->out->at[w->out->size - 1])) w->space_waits = true;
        put(w, link_token, token);
        bool stop = end + 1 == w->in.size_bytes || (end + 1 < w->in.size_bytes && !glues(w->in.at[end + 1]));
        w->space_waits = end < w->in.size_bytes && glues(w->in.at[end]) && !(w->in.at[end] == '.' && stop);
    } else {
        w->space_waits = true;
    }
    w->report->changed |= TEXT_CLEAN_URLS;
}

static void put_user(writer *w, size_t begin, size_t end)
{
    w->report->n_users++;
    size_t token = sizeof user_token - 1;
    bool same = end - begin == token && memcmp(w->in.at + begin, user_token, token) == 0;
    if (w->options->users == TEXT_CLEAN_KEEP) put(w, w->in.at + begin, end - begin);
    else if (w->options->users == TEXT_CLEAN_TOKEN) put(w, user_token, token);
    /* A combining mark behind the name must not join the token; of U+2000 to U+2FFF none would, and "’s" stays close. */
    unsigned char behind = end < w->in.size_bytes ? (unsigned char)w->in.at[end] : 0;
    if (w->options->users == TEXT_CLEAN_REMOVE ||
        (w->options->users == TEXT_CLEAN_TOKEN && behind >= 0x80 && behind != 0xE2))
        w->space_waits = true;
    if (w->options->users == TEXT_CLEAN_REMOVE || (w->options->users == TEXT_CLEAN_TOKEN && !same))
        w->report->changed |= TEXT_CLEAN_USERS;
}

/* What is plain from at on, copied as a whole; at where a piece has to be looked at. */
static size_t take_plain(writer *w, size_t at)
{
    size_t end = w->began ? clean_plain_end(w->in.at, w->in.size_bytes, at) : at;
    if (end == at) return at;
    put(w, w->in.at + at, end - at);
    w->behind_link = false;
    return end;
}

/* "RT @user: " at begin: where the text goes on, or begin. */
static size_t retweet_end(const writer *w, size_t begin)
{
    const char *text = w->in.at;
    size_t size = w->in.size_bytes, at = begin + 2;
    clean_piece kind = CLEAN_OTHER;
    if (size - begin < 4 || (text[begin] | 0x20) != 'r' || (text[begin + 1] | 0x20) != 't') return begin;
    if (at < size && text[at] == ':') at++;
    if (at < size && text[at] != '@') at = clean_piece_next(text, size, at, &kind);
    if (at >= size || text[at] != '@') return begin;
    if (kind != CLEAN_SPACE && at > begin + 2 && text[at - 1] != ':') return begin;
    /* Read as if it stood alone: in "RT@user", too, this is a name. */
    size_t end = at + clean_piece_next(text + at, size - at, 0, &kind);
    if (kind != CLEAN_USER) return begin;
    if (end < size && text[end] == ':') end++;
    size_t behind = end < size ? clean_piece_next(text, size, end, &kind) : end;
    return kind == CLEAN_SPACE ? behind : end;
}

/* Whether the run at begin was a retweet's mark, which is then dealt with; *at is where the text goes on. */
static bool take_retweet(writer *w, size_t begin, size_t *at)
{
    if (w->began) return false;
    size_t end = retweet_end(w, begin);
    if (end == begin) return false;
    bool first = !w->report->retweet;
    w->report->retweet = true;
    if (w->options->retweets == TEXT_CLEAN_KEEP) return false;
    w->report->changed |= TEXT_CLEAN_RETWEETS;
    if (first && w->options->retweets == TEXT_CLEAN_TOKEN) put(w, "[RT]", 4);
    w->space_waits = true;
    *at = end;
    return true;
}

static bool is_removed(const writer *w, clean_piece kind)
{
    return (kind == CLEAN_LINK && w->options->urls == TEXT_CLEAN_REMOVE) ||
           (kind == CLEAN_USER && w->options->users == TEXT_CLEAN_REMOVE);
}

static size_t take_piece(writer *w, size_t at)
{
    clean_piece kind;
    /* Behind a link a name may stand without a space: it does when the link has become a token. */
    size_t from = w->behind_link ? at : 0;
    size_t end = from + clean_piece_next(w->in.at + from, w->in.size_bytes - from, at - from, &kind);
    w->behind_link = kind == CLEAN_LINK;
    if (kind == CLEAN_RUN && take_retweet(w, at, &end)) return end;
    switch (kind) {
    case CLEAN_SPACE: put_space(w, at, end); break;
    case CLEAN_LINK: put_link(w, at, end); break;
    case CLEAN_USER: put_user(w, at, end); break;
    case CLEAN_RUN:
    case CLEAN_OTHER: put(w, w->in.at + at, end - at); break;
    }
    w->began = w->began || (kind != CLEAN_SPACE && !is_removed(w, kind));
    return end;
}

finch_status clean_words(finch_text in, const text_clean_options *options, str *out, text_clean_report *report,
                         finch_error *err)
{
    size_t most;
    str_clear(out);
    /* "@a" becomes "@user", at most; and a space may come before and behind a token. */
    if (!size_mul(in.size_bytes, TEXT_CLEAN_GROWTH, &most) || !size_add(most, sizeof user_token, &most))
        return finch_fail(err, FINCH_E_MEMORY, "a text of %zu bytes is too long", in.size_bytes);
    FINCH_TRY(str_reserve(out, most, err));
    writer w = {.in = in, .options = options, .report = report, .out = out};
    for (size_t at = 0; at < in.size_bytes;) {
        at = take_plain(&w, at);
        if (at < in.size_bytes) at = take_piece(&w, at);
    }
    out->at[out->size] = '\0';
    return FINCH_OK;
}
