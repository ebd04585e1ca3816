/* The stages of text_clean that look at words: retweet marks, links, user names, white space; one pass for all. Whoever
 * reads a tweet and passes over links and names (tickers, languages) does so through clean_piece_next, too. */
#ifndef FINCH_TEXT_CLEAN_WORDS_H
#define FINCH_TEXT_CLEAN_WORDS_H

#include "text/clean.h"

/* RUN is letters, digits, dots, dashes and underscores of ASCII; OTHER any other characters, emoji and Arabic alike. */
typedef enum clean_piece { CLEAN_SPACE, CLEAN_LINK, CLEAN_USER, CLEAN_RUN, CLEAN_OTHER } clean_piece;

/* The piece that begins at text[at], at < size: its end and kind. Walking so through a text takes linear time. Any bytes
 * are legal; at stands where a piece before ended, inside of an OTHER, or at 0. */
size_t clean_piece_next(const char *text, size_t size, size_t at, clean_piece *kind);

/* The end of the plain text at text[at], at where there is none: runs and other signs with single spaces between, in which
 * no link and no user name can begin and no white space is to be tidied. Most of a tweet is so, and one look a byte tells
 * it. The end is one of a piece's, or lies inside of an OTHER; at as above. */
size_t clean_plain_end(const char *text, size_t size, size_t at);

/* The text (valid UTF-8) in out, cleared first; what was found and changed goes into report. */
finch_status clean_words(finch_text in, const text_clean_options *options, str *out, text_clean_report *report,
                         finch_error *err);

#endif
