/* Runs one function of the text room over many texts, for tests that hold it against Python:
 *     parity_text_stages STAGE <texts >answers
 * A text is its size (32 bits, little-endian) and its bytes; so is an answer. STAGE is unescape (html.unescape's rules), one of
 * text_clean's (entities, repair, clean), language ("en 0.9876 0": code, probability, text_language_answer) or tickers ("AAPL:c MSFT:n XYZ:u"). */
#include "text/clean.h"
#include "text/entity.h"
#include "text/language.h"
#include "text/ticker.h"

#include <stdio.h>
#include <string.h>

typedef struct stages {
    text_clean_scratch scratch;
    str in, out;
} stages;

static finch_status clean(stages *s, text_clean_options options)
{
    return text_clean((finch_text){s->in.at, s->in.size}, &options, &s->out, NULL, &s->scratch, NULL);
}

static finch_status language(stages *s)
{
    text_language l = text_language_of((finch_text){s->in.at, s->in.size});
    return str_add_format(&s->out, NULL, "%s %.6f %d", l.code, (double)l.english, (int)l.answer);
}

static finch_status tickers(stages *s)
{
    enum { MAX = 64 };
    text_ticker at[MAX];
    size_t n = text_tickers_find((finch_text){s->in.at, s->in.size}, at, MAX);
    for (size_t i = 0; i < n && i < MAX; i++) {
        char kind = at[i].found == TEXT_TICKER_NAME ? 'n' : at[i].listing != NULL ? 'c' : 'u';
        FINCH_TRY(str_add_format(&s->out, NULL, "%s%s:%c", i > 0 ? " " : "", at[i].symbol, kind));
    }
    return FINCH_OK;
}

static finch_status run(stages *s, const char *stage)
{
    static const text_clean_options none = {.retweets = TEXT_CLEAN_KEEP, .urls = TEXT_CLEAN_KEEP, .users = TEXT_CLEAN_KEEP};
    text_clean_options options = none;
    bool changed;
    str_clear(&s->out);
    if (strcmp(stage, "unescape") == 0) return entity_decode(s->in.at, s->in.size, ENTITY_ONCE, &s->out, &changed, NULL);
    if (strcmp(stage, "language") == 0) return language(s);
    if (strcmp(stage, "tickers") == 0) return tickers(s);
    if (strcmp(stage, "clean") == 0) return clean(s, TEXT_CLEAN_DEFAULT);
    options.entities = strcmp(stage, "entities") == 0;
    options.repair = strcmp(stage, "repair") == 0;
    return options.entities || options.repair ? clean(s, options) : FINCH_E_USAGE;
}

int main(int argc, char **argv)
{
    stages s = {0};
    uint32_t size;
    finch_status st = argc == 2 ? FINCH_OK : FINCH_E_USAGE;
    while (st == FINCH_OK && fread(&size, sizeof size, 1, stdin) == 1) {
        str_clear(&s.in);
        st = str_reserve(&s.in, size, NULL);
        if (st != FINCH_OK || fread(s.in.at, 1, size, stdin) != size) break;
        s.in.size = size;
        st = run(&s, argv[1]);
        size = (uint32_t)s.out.size;
        if (st == FINCH_OK && (fwrite(&size, sizeof size, 1, stdout) != 1 || fwrite(s.out.at, 1, size, stdout) != size))
            st = FINCH_E_IO;
    }
    text_clean_scratch_free(&s.scratch);
    str_free(&s.in);
    str_free(&s.out);
    return fflush(stdout) == 0 && feof(stdin) ? finch_status_exit_code(st) : 1;
}
