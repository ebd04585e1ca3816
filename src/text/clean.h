/* Tweets made ready for models and tables: ill-formed UTF-8 replaced, HTML entities decoded, mojibake undone, NFC, white
 * space tidied, links and user names made tokens, retweet marks taken off. Cashtags, hashtags and emoji stay as they are.
 *
 * The stages, in their order; each has its switch, and the report says which of them changed the text:
 *   utf8      always: a maximal ill-formed part becomes one U+FFFD (as Python's bytes.decode("utf-8", "replace"))
 *   entities  &amp; &#8217; &notin; ... as Python's html.unescape, and again while something is left to decode (&amp;lt;)
 *   repair    mojibake where it is certain (â€™ is ’), C1 controls read as Windows-1252, control, zero-width and
 *             direction characters and byte-order marks removed, NFC
 *   retweets  "RT @user:" at the beginning
 *   urls      links with a scheme, www., bare short links (t.co/x), pic.twitter.com/x, and what a cut left of one (https…)
 *   users     @user, not an e-mail address and not a price (@5.20)
 *   spaces    any run of Unicode white space is one space, none at the ends
 *
 * Promises: the output is valid UTF-8; cleaning it again changes nothing (aside: what was broken in different ways more than
 * TEXT_CLEAN_ROUNDS times, mojibake glued to a name that has become a token, and "RT" beside a name between which a link was removed); it has at most TEXT_CLEAN_GROWTH bytes a byte of input; time is
 * linear in the input, whatever it holds. Why so, and how it was measured: docs/clean.md. */
#ifndef FINCH_TEXT_CLEAN_H
#define FINCH_TEXT_CLEAN_H

#include "base/str.h"

enum { TEXT_CLEAN_GROWTH = 3, TEXT_CLEAN_ROUNDS = 4 };

/* A token is "http" for a link and "@user" for a name: those that TweetEval and the models trained on it use. */
typedef enum text_clean_mark { TEXT_CLEAN_KEEP, TEXT_CLEAN_TOKEN, TEXT_CLEAN_REMOVE } text_clean_mark;

typedef struct text_clean_options {
    bool entities, repair, spaces;
    text_clean_mark retweets; /* TOKEN leaves "[RT] " in its place */
    text_clean_mark urls;
    text_clean_mark users;
} text_clean_options;

#define TEXT_CLEAN_DEFAULT                               \
    ((text_clean_options){.entities = true,              \
                          .repair = true,                \
                          .spaces = true,                \
                          .retweets = TEXT_CLEAN_REMOVE, \
                          .urls = TEXT_CLEAN_TOKEN,      \
                          .users = TEXT_CLEAN_TOKEN})

/* Bits of text_clean_report.changed: the stages that changed this text. */
enum {
    TEXT_CLEAN_UTF8 = 1,
    TEXT_CLEAN_ENTITIES = 2,
    TEXT_CLEAN_REPAIR = 4,
    TEXT_CLEAN_RETWEETS = 8,
    TEXT_CLEAN_URLS = 16,
    TEXT_CLEAN_USERS = 32,
    TEXT_CLEAN_SPACES = 64
};

typedef struct text_clean_report {
    unsigned changed;
    uint32_t n_ill_formed; /* maximal ill-formed parts that became U+FFFD */
    uint32_t n_urls, n_users; /* found, whatever became of them */
    bool retweet; /* the text began as one, whatever became of the mark */
} text_clean_report;

/* Working memory of one thread, all zero at first; it grows to the longest text and is then reused. */
typedef struct text_clean_scratch {
    str first, second;
    int32_t *codes;
    size_t n_codes;
} text_clean_scratch;

void text_clean_scratch_free(text_clean_scratch *s);

/* The text cleaned, in out (cleared first; its memory is reused). options NULL: TEXT_CLEAN_DEFAULT; report may be NULL.
 * in may not lie in out. Errors: FINCH_E_MEMORY; then out is empty. */
finch_status text_clean(finch_text in, const text_clean_options *options, str *out, text_clean_report *report,
                        text_clean_scratch *scratch, finch_error *err);

#endif
