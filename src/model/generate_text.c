/* Tokens to text, and stop words in it. What could be the beginning of a stop word is held back until more of the text shows that it is
 * none: a stop word is found wherever tokens cut it, and nothing of it is ever handed out. */
#include "model/generate_internal.h"

#include "text/utf8.h"

#include <string.h>

/* ---- stop words ------------------------------------------------------------------------------------------------------ */

static finch_status check_stops(const generate_request *q, size_t *n_bytes, finch_error *err)
{
    *n_bytes = 0;
    if (q->n_stops > GENERATE_STOPS_MAX)
        return finch_fail(err, FINCH_E_USAGE, "%zu stop words are asked for; at most %d are looked for", q->n_stops,
                          GENERATE_STOPS_MAX);
    for (size_t i = 0; i < q->n_stops; i++) {
        size_t n = q->stops[i].size_bytes;
        if (n == 0 || n > GENERATE_STOP_BYTES_MAX || utf8_valid_size((const unsigned char *)q->stops[i].at, n) != n)
            return finch_fail(err, FINCH_E_USAGE, "stop word %zu must be UTF-8 of 1 to %d bytes", i + 1,
                              GENERATE_STOP_BYTES_MAX);
        *n_bytes += n;
    }
    return FINCH_OK;
}

finch_status generate_text_begin(generate_text *x, const generate_request *q, const text_tokenizer *t, finch_error *err)
{
    size_t n_bytes;
    FINCH_TRY(check_stops(q, &n_bytes, err));
    FINCH_TRY(text_decoder_begin(&x->decoder, t, true, err));
    FINCH_TRY(mem_alloc(n_bytes, 1, (void **)&x->stop_bytes, err));
    char *at = x->stop_bytes;
    for (; x->n_stops < q->n_stops; x->n_stops++) {
        const finch_text *stop = &q->stops[x->n_stops];
        memcpy(at, stop->at, stop->size_bytes);
        x->stops[x->n_stops] = (finch_text){at, stop->size_bytes};
        at += stop->size_bytes;
    }
    return FINCH_OK;
}

void generate_text_free(generate_text *x)
{
    text_decoder_free(&x->decoder);
    str_free(&x->all);
    mem_free(x->stop_bytes);
}

/* The first stop word that ends behind `before`: its place, or the text's size. */
static size_t first_stop(const generate_text *x, size_t before)
{
    size_t first = x->all.size;
    for (size_t i = 0; i < x->n_stops; i++) {
        size_t n = x->stops[i].size_bytes;
        for (size_t at = before >= n ? before - n + 1 : 0; at < first && at + n <= x->all.size; at++)
            if (memcmp(x->all.at + at, x->stops[i].at, n) == 0) first = at;
    }
    return first;
}

static bool stop_at(generate_text *x, size_t before)
{
    size_t at = first_stop(x, before);
    if (at == x->all.size) return false;
    x->all.size = at;
    x->all.at[at] = '\0';
    return true;
}

/* How much of the text's end may be the beginning of a stop word. */
static size_t held_back(const generate_text *x)
{
    size_t most = 0;
    for (size_t i = 0; i < x->n_stops; i++)
        for (size_t n = size_least(x->stops[i].size_bytes - 1, x->all.size); n > most; n--)
            if (memcmp(x->all.at + x->all.size - n, x->stops[i].at, n) == 0) most = n;
    return most;
}

/* ---- text ------------------------------------------------------------------------------------------------------------ */

finch_status generate_text_add(generate_text *x, int32_t id, bool *stopped, finch_error *err)
{
    size_t before = x->all.size;
    FINCH_TRY(text_decoder_add(&x->decoder, id, &x->all, err));
    *stopped = x->all.size > before && stop_at(x, before);
    return FINCH_OK;
}

finch_status generate_text_end(generate_text *x, bool *stopped, finch_error *err)
{
    size_t before = x->all.size;
    FINCH_TRY(text_decoder_end(&x->decoder, &x->all, err));
    *stopped = x->all.size > before && stop_at(x, before);
    return FINCH_OK;
}

bool generate_text_give(generation *g, bool ended)
{
    generate_text *x = &g->text;
    size_t until = x->all.size - (ended ? 0 : held_back(x)), from = x->n_given;
    if (until <= from) return true;
    x->n_given = until;
    return g->take == NULL || g->take(g->context, x->all.at + from, until - from);
}
