/* Where links and user names begin and end in a tweet. The rules are those of Twitter's own text library where it has one
 * (what may stand before and behind a name), and else what cut and glued tweets look like: docs/clean.md. */
#include "text/clean_words.h"

#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum {
    C_RUN = 1,
    C_SPACE = 2,
    C_SPACE_LEAD = 4,
    C_ALNUM = 8,
    C_NO_LINK = 16,
    C_NO_NAME_AFTER = 32,
    C_TRIMMED = 64,
    C_PLAIN = 128
};
enum { USER_BYTES = 20 }; /* Twitter's limit is 15; names of its first years have up to 20 */

#define RUN (C_RUN | C_ALNUM | C_NO_NAME_AFTER | C_PLAIN)
#define NO (C_NO_LINK)
#define SPACE (C_SPACE | C_NO_LINK)
#define SIGN (C_PLAIN)

/* clang-format off */
static const unsigned char classes[256] = {
    [0 ... 8] = NO, ['\t'] = SPACE, ['\n'] = SPACE, ['\v'] = SPACE, ['\f'] = SPACE, ['\r'] = SPACE, [14 ... 31] = NO, [' '] = SPACE,
    ['0' ... '9'] = RUN, ['A' ... 'Z'] = RUN, ['a' ... 'z'] = RUN,
    ['.'] = C_RUN | C_TRIMMED, ['-'] = C_RUN | SIGN, ['_'] = C_RUN | C_NO_NAME_AFTER | SIGN,
    ['!'] = C_NO_NAME_AFTER | C_TRIMMED | SIGN, ['#'] = C_NO_NAME_AFTER | SIGN, ['$'] = C_NO_NAME_AFTER | C_NO_LINK | SIGN,
    ['%'] = C_NO_NAME_AFTER | SIGN, ['&'] = C_NO_NAME_AFTER | SIGN, ['*'] = C_NO_NAME_AFTER | C_TRIMMED | SIGN,
    ['@'] = C_NO_NAME_AFTER, ['"'] = NO | SIGN, ['<'] = NO | SIGN, ['>'] = NO | SIGN, [127] = NO, [0x80 ... 0xC1] = NO | SIGN,
    [0xC2] = C_SPACE_LEAD | C_NO_LINK, [0xC3 ... 0xE0] = NO | SIGN, [0xE1 ... 0xE3] = C_SPACE_LEAD | C_NO_LINK,
    [0xE4 ... 255] = NO | SIGN, [','] = C_TRIMMED | SIGN, [';'] = C_TRIMMED | SIGN, [':'] = C_TRIMMED, ['?'] = C_TRIMMED | SIGN,
    ['\''] = C_TRIMMED | SIGN, [')'] = C_TRIMMED | SIGN, [']'] = C_TRIMMED | SIGN, ['}'] = C_TRIMMED | SIGN,
    ['('] = SIGN, ['+'] = SIGN, ['/'] = SIGN, ['='] = SIGN, ['['] = SIGN, ['\\'] = SIGN, ['^'] = SIGN, ['`'] = SIGN,
    ['{'] = SIGN, ['|'] = SIGN, ['~'] = SIGN,
};
/* clang-format on */

/* Domains under which people write links without a scheme. A path must follow: Amazon.com alone is a company. */
static const char *const domains[] = {"com", "net", "org", "co", "ly", "me", "gl", "us", "tv",   "io",  "to",  "be",
                                      "it",  "fm",  "am",  "gd", "cc", "in", "uk", "de", "info", "biz", "gov", "edu"};

/* The text as a whole: looking ahead never leaves it. */
typedef struct view {
    const char *at;
    size_t size;
} view;

static bool is(view t, size_t i, unsigned class) { return i < t.size && (classes[(unsigned char)t.at[i]] & class) != 0; }

static bool starts(view t, size_t i, const char *with)
{
    size_t n = strlen(with);
    return i <= t.size && t.size - i >= n && memcmp(t.at + i, with, n) == 0;
}

/* The same where letter case does not count; with is in lower case. */
static bool starts_any_case(view t, size_t i, const char *with)
{
    for (; *with != '\0'; with++, i++)
        if (i >= t.size || (t.at[i] | ((*with >= 'a') ? 0x20 : 0)) != *with) return false;
    return true;
}

/* Bytes of the white space at i, 0 where there is none: White_Space of Unicode. */
static size_t space_size(view t, size_t i)
{
    unsigned class = classes[(unsigned char)t.at[i]];
    if ((class & C_SPACE) != 0) return 1;
    if ((class & C_SPACE_LEAD) == 0) return 0;
    if (starts(t, i, "\xC2\xA0") || starts(t, i, "\xC2\x85")) return 2;
    if (starts(t, i, "\xE1\x9A\x80") || starts(t, i, "\xE3\x80\x80") || starts(t, i, "\xE2\x81\x9F")) return 3;
    if (!starts(t, i, "\xE2\x80") || t.size - i < 3) return 0;
    unsigned char last = (unsigned char)t.at[i + 2];
    return (last >= 0x80 && last <= 0x8A) || last == 0xA8 || last == 0xA9 || last == 0xAF ? 3 : 0;
}

static size_t space_end(view t, size_t i)
{
    for (size_t n; i < t.size && (n = space_size(t, i)) > 0;) i += n;
    return i;
}

/* Behind any "…" and dots at i where at least one "…" or two dots are there; else i. */
static size_t cut_end(view t, size_t i)
{
    size_t end = i, n_dots = 0;
    for (bool more = true; more;) {
        more = false;
        if (starts(t, end, "\xE2\x80\xA6")) end += 3, n_dots += 3, more = true;
        else if (starts(t, end, ".")) end++, n_dots++, more = true;
    }
    return n_dots >= 2 ? end : i;
}

/* The same where "http" of a token would be cut so, as often as there is one: ":…" or ":/…" */
static size_t cut_tail(view t, size_t i)
{
    for (size_t end = i;; i = end) {
        size_t at = i;
        if (starts(t, at, ":")) at++;
        if (at > i && starts(t, at, "/")) at++;
        end = cut_end(t, at);
        if (end == at) return i;
    }
}

/* The end of a link whose path may begin at body: no punctuation at its end, but all of what a cut has left. */
static size_t link_end(view t, size_t body)
{
    size_t end = body, n_open = 0, n_closed = 0;
    for (; end < t.size && (!is(t, end, C_NO_LINK) || starts(t, end - 1, "=$")); end++) { /* a cashtag may be glued on */
        n_open += t.at[end] == '(';
        n_closed += t.at[end] == ')';
    }
    if (cut_end(t, end) > end) return cut_tail(t, end);
    size_t trimmed = end;
    for (; trimmed > body && is(t, trimmed - 1, C_TRIMMED); trimmed--) {
        if (t.at[trimmed - 1] != ')') continue;
        if (n_closed <= n_open) break; /* the link's own: .../Apple_(firm) */
        n_closed--;
    }
    for (size_t i = trimmed; i + 1 < end; i++)
        if (t.at[i] == '.' && t.at[i + 1] == '.') return end;
    return trimmed;
}

/* Bytes of "http" or "https" at the end of the run [begin, end), 0 where it ends otherwise. */
static size_t scheme_size(view t, size_t begin, size_t end)
{
    if (end - begin >= 5 && starts_any_case(t, end - 5, "https")) return 5;
    return end - begin >= 4 && starts_any_case(t, end - 4, "http") ? 4 : 0;
}

/* t.co's paths are letters and digits; what is glued on behind is text, or the next link. */
static size_t short_link_end(view t, size_t body)
{
    size_t path = starts_any_case(t, body, "t.co/") ? body + 5 : body, end = path;
    while (path > body && is(t, end, C_ALNUM)) end++;
    if (end == path) return link_end(t, body);
    if (!starts(t, end, "://")) return cut_tail(t, end);
    size_t scheme = scheme_size(t, path, end);
    return scheme > 0 && end - scheme > path ? end - scheme : link_end(t, body);
}

/* A link that was cut inside its scheme: ht…, https:/… The end, or begin where it is none. */
static size_t cut_scheme_end(view t, size_t begin)
{
    static const char scheme[] = "https";
    size_t n = 0;
    while (n < 5 && begin + n < t.size && (t.at[begin + n] | 0x20) == scheme[n]) n++;
    if (n < 2) return begin;
    size_t end = n >= 4 ? cut_tail(t, begin + n) : cut_end(t, begin + n);
    return end > begin + n ? end : begin;
}

/* Where the last host of the run [begin, end) begins: behind "..", "_" and leading signs. */
static size_t host_begin(view t, size_t begin, size_t end)
{
    size_t at = end;
    while (at > begin && t.at[at - 1] != '_' && !(t.at[at - 1] == '.' && at < end && t.at[at] == '.')) at--;
    while (at < end && !is(t, at, C_ALNUM)) at++;
    return at;
}

static bool is_domain(view t, size_t begin, size_t end)
{
    for (size_t i = 0; i < sizeof domains / sizeof *domains; i++)
        if (strlen(domains[i]) == end - begin && starts_any_case(t, begin, domains[i])) return true;
    return false;
}

/* Whether host [begin, end) is a link by itself, or by the path behind it. */
static bool host_is_link(view t, size_t begin, size_t end)
{
    if (starts_any_case(t, begin, "www.") && begin + 4 < end && is(t, begin + 4, C_ALNUM)) return true;
    if (!starts(t, end, "/") || !is(t, end + 1, C_ALNUM)) return false;
    size_t dot = end;
    while (dot > begin && t.at[dot - 1] != '.') dot--;
    return dot > begin + 1 && is_domain(t, dot, end);
}

/* The run at begin: as a link, as text, or as text up to where a link begins. */
static size_t run_next(view t, size_t begin, clean_piece *kind)
{
    size_t end = begin;
    bool dotted = false;
    for (; is(t, end, C_RUN); end++) dotted |= t.at[end] == '.';
    *kind = CLEAN_RUN;
    if (!dotted && !starts(t, end, ":") && !starts(t, end, "\xE2\x80\xA6")) return end;
    size_t cut = cut_scheme_end(t, begin);
    if (cut > begin) {
        *kind = CLEAN_LINK;
        return cut;
    }
    size_t scheme = starts(t, end, "://") ? scheme_size(t, begin, end) : 0;
    size_t host_end = end;
    while (host_end > begin && t.at[host_end - 1] == '.') host_end--;
    size_t host = host_begin(t, begin, host_end);
    size_t link = begin;
    if (host < host_end && starts_any_case(t, host, "www.") && host_is_link(t, host, host_end)) {
        link = host;
        host_end = link_end(t, host_end);
    } else if (scheme > 0) {
        link = end - scheme;
        host_end = short_link_end(t, end + 3);
    } else if (host < host_end && host_is_link(t, host, host_end)) {
        link = host;
        host_end = short_link_end(t, host);
    } else {
        return end;
    }
    if (link > begin) return link;
    *kind = CLEAN_LINK;
    return host_end;
}

/* 5, 10k, 2.5x, 9am: what stands behind the '@' of a price or a time. */
static bool is_price(view t, size_t begin, size_t end)
{
    size_t at = begin;
    while (at < end && t.at[at] >= '0' && t.at[at] <= '9') at++;
    if (at == begin) return false;
    if (end - at == 2) return starts_any_case(t, at, "am") || starts_any_case(t, at, "pm");
    return at == end || (end - at == 1 && strchr("kKmMbBcCpPxX", t.at[at]) != NULL);
}

/* The end of the user name whose '@' is at begin, or begin. */
static size_t user_end(view t, size_t begin)
{
    if (begin > 0 && is(t, begin - 1, C_NO_NAME_AFTER)) return begin;
    size_t end = begin + 1;
    while (is(t, end, C_ALNUM) || starts(t, end, "_")) end++;
    if (starts(t, end, "://")) end -= scheme_size(t, begin + 1, end); /* a link is glued on */
    if (end == begin + 1 || end - begin - 1 > USER_BYTES || is_price(t, begin + 1, end)) return begin;
    return starts(t, end, "@") || starts(t, end, "://") ? begin : end;
}

size_t clean_piece_next(const char *text, size_t size, size_t at, clean_piece *kind)
{
    view t = {text, size};
    if (is(t, at, C_RUN)) return run_next(t, at, kind);
    if (is(t, at, C_SPACE | C_SPACE_LEAD)) {
        *kind = CLEAN_SPACE;
        size_t end = space_end(t, at);
        if (end > at) return end;
    }
    if (text[at] == '@') {
        *kind = CLEAN_USER;
        size_t end = user_end(t, at);
        if (end > at) return end;
    }
    *kind = CLEAN_OTHER;
    do at++;
    while (at < size && text[at] != '@' && !is(t, at, C_RUN | C_SPACE) &&
           !(is(t, at, C_SPACE_LEAD) && space_size(t, at) > 0));
    return at;
}

/* Whether text[at] goes on what is plain up to it: a space does where something plain follows. */
static bool goes_on_plain(view t, size_t begin, size_t at)
{
    if (is(t, at, C_PLAIN)) return true;
    return at > begin && at < t.size && t.at[at] == ' ' && is(t, at + 1, C_PLAIN);
}

#if defined(__SSE2__)
enum { WIDE = 16 };

static __m128i equals(__m128i bytes, char c) { return _mm_cmpeq_epi8(bytes, _mm_set1_epi8(c)); }

/* Bit i: byte i is neither plain nor a space. The table above says the same, byte by byte. */
static unsigned odd_bytes(__m128i bytes)
{
    __m128i odd = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1F)), bytes); /* < 0x20 */
    odd = _mm_or_si128(odd, _mm_or_si128(equals(bytes, '.'), equals(bytes, ':')));
    odd = _mm_or_si128(odd, _mm_or_si128(equals(bytes, '@'), equals(bytes, 0x7F)));
    odd = _mm_or_si128(odd, _mm_or_si128(equals(bytes, (char)0xC2), equals(bytes, (char)0xE1)));
    odd = _mm_or_si128(odd, _mm_or_si128(equals(bytes, (char)0xE2), equals(bytes, (char)0xE3)));
    return (unsigned)_mm_movemask_epi8(odd);
}

/* On to the first byte that may not be plain, behind a plain one. */
static size_t plain_wide(view t, size_t at)
{
    while (t.size - at >= WIDE) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(t.at + at));
        unsigned odd = odd_bytes(bytes), spaces = (unsigned)_mm_movemask_epi8(equals(bytes, ' '));
        unsigned stops = odd | (spaces & (odd | spaces) >> 1) |
                         (spaces & 1u << (WIDE - 1)); /* the last one's next is unknown */
        if (stops != 0) return at + (size_t)__builtin_ctz(stops);
        at += WIDE;
    }
    return at;
}
#else
static size_t plain_wide(view t, size_t at)
{
    (void)t;
    return at;
}
#endif

size_t clean_plain_end(const char *text, size_t size, size_t at)
{
    view t = {text, size};
    size_t end = at;
    while (goes_on_plain(t, at, end)) end = plain_wide(t, end + 1);
    if (end == size) return end;
    while (end > at && is(t, end - 1, C_RUN)) end--; /* what follows may make this run a link */
    return end > at && text[end - 1] == ' ' ? end - 1 : end;
}
