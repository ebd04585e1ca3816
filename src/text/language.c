/* Words are hashed into n-grams of 2 to 4 characters and themselves; a language's logit is the sum of its weights over the
 * root of their number, so that few words never make sure. tools/train_language.py makes the weights and cuts words as this
 * file does; tests/parity/test_language.py measures the answers. */
#include "text/language.h"

#include "text/clean_words.h"
#include "text/embedded.h"
#include "text/utf8.h"

#include <math.h>
#include <string.h>
#include <utf8proc.h>

enum { WORD_MAX = 20, CAPITALS_MAX = 5, LANGUAGES_MAX = 32, MAGIC_BYTES = 4, HEAD_BYTES = 20, CODE_BYTES = 4 };
enum { WORDS_MIN = 3, LETTERS_MIN = 14, SCRIPT_LETTERS_MIN = 4 };

/* Below this probability of English a text is OTHER: for few wrong drops (docs/clean.md). */
static const float other_below = 0.05f;

typedef struct language_model {
    uint32_t n_languages, n_buckets;
    float scale;
    const char *codes;    /* [n_languages, CODE_BYTES] */
    const char *bias;     /* f32 [n_languages] */
    const int8_t *weight; /* [n_buckets, n_languages] */
} language_model;

/* What lies in the program: all zero where it is not what this file reads, and then no Latin text is told apart. */
static language_model model_open(void)
{
    language_model m = {0};
    size_t size = (size_t)(embedded_language_end - embedded_language);
    uint32_t head[3];
    if (size < HEAD_BYTES || memcmp(embedded_language, "FLNG", MAGIC_BYTES) != 0) return m;
    memcpy(head, embedded_language + MAGIC_BYTES, sizeof head);
    size_t table = HEAD_BYTES + (size_t)head[1] * (CODE_BYTES + sizeof(float));
    if (head[0] != 1 || head[1] == 0 || head[1] > LANGUAGES_MAX || head[2] == 0 || size != table + (size_t)head[1] * head[2])
        return m;
    m.n_languages = head[1];
    m.n_buckets = head[2];
    memcpy(&m.scale, embedded_language + MAGIC_BYTES + sizeof head, sizeof m.scale);
    m.codes = embedded_language + HEAD_BYTES;
    m.bias = m.codes + (size_t)head[1] * CODE_BYTES;
    m.weight = (const int8_t *)(embedded_language + table);
    return m;
}

/* A script that decides by itself, and the language that writes most of it. */
typedef struct script {
    uint32_t first, last;
    const char *code;
} script;

static const script scripts[] = {
    {0x0370, 0x03FF, "el"},  {0x0400, 0x052F, "ru"}, {0x0531, 0x058F, "hy"},  {0x0590, 0x05FF, "he"},
    {0x0600, 0x07FF, "ar"},  {0x0900, 0x097F, "hi"}, {0x0980, 0x0DFF, "und"}, {0x0E00, 0x0E7F, "th"},
    {0x0E80, 0x10FF, "und"}, {0x1100, 0x11FF, "ko"}, {0x3041, 0x30FF, "ja"},  {0x3130, 0x318F, "ko"},
    {0x3400, 0x9FFF, "zh"},  {0xAC00, 0xD7A3, "ko"}, {0xFB50, 0xFDFF, "ar"},  {0xFE70, 0xFEFC, "ar"},
};
enum { N_SCRIPTS = sizeof scripts / sizeof *scripts };

static size_t script_of(uint32_t code)
{
    size_t i = 0;
    while (i < N_SCRIPTS && !(code >= scripts[i].first && code <= scripts[i].last)) i++;
    return i;
}

static bool is_latin(uint32_t c)
{
    if (c < 0x80) return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
    return (c >= 0xC0 && c <= 0x24F && c != 0xD7 && c != 0xF7) || (c >= 0x1E00 && c <= 0x1EFF);
}

typedef struct evidence {
    const language_model *model;
    int64_t sum[LANGUAGES_MAX];
    size_t n_grams, n_words, n_letters;
    size_t of_script[N_SCRIPTS], n_other_letters;
} evidence;

static uint32_t hash_codes(uint32_t hash, const uint32_t *codes, size_t n)
{
    unsigned char bytes[UTF8_MAX_BYTES];
    for (size_t i = 0; i < n; i++) {
        size_t size = utf8_encode(codes[i], bytes);
        for (size_t k = 0; k < size; k++) hash = (hash ^ bytes[k]) * 16777619u;
    }
    return hash;
}

static void add_gram(evidence *e, uint32_t hash)
{
    const int8_t *row = e->model->weight + (size_t)((hash ^ hash >> 15) % e->model->n_buckets) * e->model->n_languages;
    for (size_t i = 0; i < e->model->n_languages; i++) e->sum[i] += row[i];
    e->n_grams++;
}

/* A word of size codes, which stand at padded[1]; there is room for the marks around it. */
static void add_word(evidence *e, uint32_t *padded, size_t size)
{
    static const uint32_t equals = '=';
    const uint32_t start = 2166136261u;
    padded[0] = padded[size + 1] = '_';
    for (size_t n = 2; n <= 4; n++)
        for (size_t i = 0; i + n <= size + 2; i++) add_gram(e, hash_codes(start, padded + i, n));
    add_gram(e, hash_codes(hash_codes(start, &equals, 1), padded + 1, size));
    e->n_words++;
}

/* Letters of one word as they come; a text is read code point by code point, whatever its pieces are. */
typedef struct reader {
    evidence *e;
    uint32_t padded[WORD_MAX + 2];
    size_t size;           /* letters kept */
    size_t n_all, n_upper; /* letters there were, and ASCII capitals of them */
    bool skipped;          /* a digit, or what makes it a tag: the word says nothing */
    bool tagged;           /* the next word is a hashtag's or a cashtag's */
} reader;

/* "http": what text_clean leaves of a link. */
static bool is_link_token(const reader *r)
{
    const uint32_t *w = r->padded + 1;
    return r->n_all == 4 && w[0] == 'h' && w[1] == 't' && w[2] == 't' && w[3] == 'p';
}

static void end_word(reader *r)
{
    bool capitals = r->n_all > 1 && r->n_all <= CAPITALS_MAX && r->n_upper == r->n_all;
    if (r->n_all > 0 && !r->skipped && !capitals && !is_link_token(r) && r->e->n_letters < TEXT_LANGUAGE_BYTES) {
        r->e->n_letters += r->size;
        if (r->e->model->n_languages > 0) add_word(r->e, r->padded, r->size);
    }
    r->size = r->n_all = r->n_upper = 0;
    r->skipped = false;
}

static void read_code(reader *r, uint32_t code)
{
    if (is_latin(code)) {
        if (r->n_all == 0 && !r->skipped) r->skipped = r->tagged;
        if (r->size < WORD_MAX) r->padded[1 + r->size++] = (uint32_t)utf8proc_tolower((utf8proc_int32_t)code);
        r->n_upper += code >= 'A' && code <= 'Z';
        r->n_all++;
    } else if ((code >= '0' && code <= '9') || code == '_') {
        r->skipped = true;
    } else {
        end_word(r);
        size_t s = script_of(code);
        if (s < N_SCRIPTS && !r->tagged) {
            r->e->of_script[s]++;
            r->e->n_other_letters++;
        }
        if (s == N_SCRIPTS) r->tagged = code == '#' || code == '$' || code == '@';
        return;
    }
}

static void read_piece(reader *r, const unsigned char *at, const unsigned char *end)
{
    while (at < end) {
        utf8_char c = utf8_decode(at, end);
        read_code(r, c.code);
        at += c.size;
    }
}

static evidence gather(finch_text text, const language_model *model)
{
    evidence e = {.model = model};
    reader r = {.e = &e};
    for (size_t at = 0; at < text.size_bytes && e.n_letters + e.n_other_letters < TEXT_LANGUAGE_BYTES;) {
        clean_piece kind;
        size_t end = clean_piece_next(text.at, text.size_bytes, at, &kind);
        const unsigned char *bytes = (const unsigned char *)text.at;
        if (kind == CLEAN_RUN || kind == CLEAN_OTHER) read_piece(&r, bytes + at, bytes + end);
        else {
            end_word(&r);
            r.tagged = false;
        }
        at = end;
    }
    end_word(&r);
    return e;
}

static text_language of_script(const evidence *e)
{
    size_t best = 0;
    for (size_t i = 1; i < N_SCRIPTS; i++)
        if (e->of_script[i] > e->of_script[best]) best = i;
    /* Japanese writes most of its words in Chinese characters, with kana between them. */
    size_t kana = script_of(0x3041);
    if (strcmp(scripts[best].code, "zh") == 0 && e->of_script[kana] * 8 > e->of_script[best]) best = kana;
    return (text_language){TEXT_LANGUAGE_OTHER, 0.0f, scripts[best].code};
}

static text_language of_words(const evidence *e)
{
    const language_model *m = e->model;
    double logit[LANGUAGES_MAX] = {0}, top = -INFINITY, total = 0.0;
    size_t best = 0;
    for (size_t i = 0; i < m->n_languages; i++) {
        float bias;
        memcpy(&bias, m->bias + i * sizeof bias, sizeof bias);
        logit[i] = (double)e->sum[i] * (double)m->scale / sqrt((double)e->n_grams) + (double)bias;
        if (logit[i] > top) {
            top = logit[i];
            best = i;
        }
    }
    for (size_t i = 0; i < m->n_languages; i++) total += exp(logit[i] - top);
    float english = (float)(exp(logit[0] - top) / total);
    return (text_language){english < other_below ? TEXT_LANGUAGE_OTHER : TEXT_LANGUAGE_ENGLISH, english,
                           english < other_below ? m->codes + best * CODE_BYTES : "en"};
}

text_language text_language_of(finch_text text)
{
    language_model model = model_open();
    evidence e = gather(text, &model);
    if (e.n_other_letters >= SCRIPT_LETTERS_MIN && e.n_other_letters > e.n_letters) return of_script(&e);
    if (model.n_languages == 0 || e.n_words < WORDS_MIN || e.n_letters < LETTERS_MIN)
        return (text_language){TEXT_LANGUAGE_TOO_SHORT, 0.5f, "und"};
    return of_words(&e);
}
