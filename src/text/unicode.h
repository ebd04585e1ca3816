/* What BERT's normaliser and pre-tokeniser ask of a code point. The answers are those of the Unicode tables inside
 * Hugging Face tokenizers 0.23 (three crates of different age), not of one Unicode version: utf8proc gives the bulk,
 * a table of ranges gives the rest. tests/text/test_unicode.c holds every code point against the reference. */
#ifndef FINCH_TEXT_UNICODE_H
#define FINCH_TEXT_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CHAR_REMOVED = 1,    /* clean_text drops it: NUL, U+FFFD, control, format, private use; but not tab, LF, CR */
    CHAR_WHITE = 2,      /* White_Space: a word ends here */
    CHAR_MARK = 4,       /* nonspacing mark: strip_accents drops it */
    CHAR_PUNCT = 8,      /* a word of its own */
    CHAR_CHINESE = 16,   /* handle_chinese_chars puts spaces around it */
    CHAR_DECOMPOSES = 32, /* NFD changes it or may move it */
    CHAR_CASED = 64      /* its lower case is another text */
};

enum {
    UNICODE_LIMIT = 0x110000,
    UNICODE_TABLE_CODES = 0x20000,
    UNICODE_PARTS_MAX = 4 /* code points one code point may become */
};

/* CHAR_ bits of a scalar value. */
unsigned unicode_class(uint32_t code);

/* The classes of planes 0 and 1, [UNICODE_TABLE_CODES]: a constant that the first call computes. Any thread may ask. */
const unsigned char *unicode_classes(void);

/* Full canonical decomposition, unordered; returns how many are in parts. */
size_t unicode_decompose(uint32_t code, uint32_t parts[UNICODE_PARTS_MAX]);

/* Canonical combining class: 0 for a starter. */
unsigned unicode_combining_class(uint32_t code);

/* Lower case without context, as Rust's char::to_lowercase; returns how many are in parts. */
size_t unicode_lower(uint32_t code, uint32_t parts[UNICODE_PARTS_MAX]);

/* The \w of Rust's regex: whether an added token's neighbour makes it part of a longer word. */
bool unicode_is_word(uint32_t code);

#endif
