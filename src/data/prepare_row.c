#include "data/prepare_row.h"

#include "text/language.h"
#include "text/ticker.h"

#include <ctype.h>
#include <string.h>

enum {
    TICKERS_MAX = 64,       /* of one text that are listed */
    TEMPLATE_WORDS = 3,     /* words that do not change which a template must have */
};

/* One thread's memory. */
struct prepare_worker {
    prepare_worker *next;
    text_clean_scratch scratch;
    str text, line;
    text_ticker tickers[TICKERS_MAX];
    uint64_t changed[PREPARE_CHANGE_BITS], with_ticker;
};

static void worker_free(prepare_worker *w)
{
    text_clean_scratch_free(&w->scratch);
    str_free(&w->text);
    str_free(&w->line);
    mem_free(w);
}

finch_status prepare_row_borrow(prepare_row *f, prepare_worker **out, finch_error *err)
{
    pthread_mutex_lock(&f->lock);
    *out = f->idle;
    if (*out != NULL) f->idle = (*out)->next;
    pthread_mutex_unlock(&f->lock);
    return *out != NULL ? FINCH_OK : MEM_NEW(out, 1, err);
}

void prepare_row_return(prepare_row *f, prepare_worker *w)
{
    pthread_mutex_lock(&f->lock);
    for (size_t i = 0; i < PREPARE_CHANGE_BITS; i++) f->changed[i] += w->changed[i];
    f->with_ticker += w->with_ticker;
    memset(w->changed, 0, sizeof w->changed);
    w->with_ticker = 0;
    w->next = f->idle;
    f->idle = w;
    pthread_mutex_unlock(&f->lock);
}

/* ---- one row ---- */

static bool is_placeholder(finch_text word)
{
    return (word.size_bytes == 4 && memcmp(word.at, "http", 4) == 0) || word.at[0] == '@' ||
           (word.size_bytes > 4 && memcmp(word.at, "http", 4) == 0 && (word.at[4] == ':' || word.at[4] == 's'));
}

static bool next_word(finch_text text, size_t *at, finch_text *out)
{
    while (*at < text.size_bytes && isspace((unsigned char)text.at[*at])) ++*at;
    size_t begin = *at;
    while (*at < text.size_bytes && !isspace((unsigned char)text.at[*at])) ++*at;
    *out = (finch_text){text.at + begin, *at - begin};
    return *at > begin;
}

/* A word says something: it has a letter (or what is no ASCII, emoji among them) and is no link, name or cashtag. */
static bool word_counts(finch_text word)
{
    if (word.at[0] == '$' || is_placeholder(word)) return false;
    for (size_t i = 0; i < word.size_bytes; i++) {
        unsigned char c = (unsigned char)word.at[i];
        if (c >= 0x80 || isalpha(c)) return true;
    }
    return false;
}

static bool has_words(finch_text text, size_t least)
{
    size_t at = 0, n = 0;
    finch_text word;
    while (n < least && next_word(text, &at, &word)) n += word_counts(word);
    return n >= least;
}

static bool has_digit(finch_text word)
{
    for (size_t i = 0; i < word.size_bytes; i++)
        if (isdigit((unsigned char)word.at[i])) return true;
    return false;
}

/* What floods have in common: the author, then the words in lower case with a mark in place of each cashtag, hashtag and
 * number, without links and names. False where fewer than TEMPLATE_WORDS words stay. */
static finch_status write_template(finch_text author, finch_text text, str *out, bool *any, finch_error *err)
{
    size_t at = 0, n = 0;
    finch_text word;
    str_clear(out);
    FINCH_TRY(str_add(out, author.at, author.size_bytes, err));
    while (next_word(text, &at, &word)) {
        if (is_placeholder(word)) continue;
        char mark = word.at[0] == '$' || word.at[0] == '#' ? word.at[0] : has_digit(word) ? '0' : '\0';
        FINCH_TRY(str_add(out, "", 1, err)); /* a NUL between */
        if (mark != '\0') {
            FINCH_TRY(str_add(out, &mark, 1, err));
            continue;
        }
        FINCH_TRY(str_add(out, word.at, word.size_bytes, err));
        for (size_t i = out->size - word.size_bytes; i < out->size; i++)
            out->at[i] = (char)tolower((unsigned char)out->at[i]);
        n += word_counts(word);
    }
    *any = n >= TEMPLATE_WORDS;
    return FINCH_OK;
}

static bool is_off(const prepare_row *f, prepare_stage stage) { return f->options->off[stage]; }

static finch_status flood_key(const prepare_row *f, prepare_worker *w, finch_text author, prepare_answer *out,
                              finch_error *err)
{
    bool any = false;
    if (is_off(f, PREPARE_FLOODS) || author.at == NULL || author.size_bytes == 0) return FINCH_OK;
    FINCH_TRY(write_template(author, out->text, &w->line, &any, err));
    if (any) out->flood = siphash(f->key, w->line.at, w->line.size).low | 1;
    return FINCH_OK;
}

static finch_status list_tickers(const prepare_row *f, prepare_worker *w, prepare_answer *a, finch_error *err)
{
    str_clear(&w->line);
    bool links = f->clean.urls == TEXT_CLEAN_KEEP;
    size_t n = (links ? text_tickers_find : text_tickers_find_linkless)(a->text, w->tickers, TICKERS_MAX);
    if (n > TICKERS_MAX) n = TICKERS_MAX;
    for (size_t i = 0; i < n; i++) {
        bool seen = false;
        for (size_t k = 0; k < i && !seen; k++)
            seen = memcmp(w->tickers[k].symbol, w->tickers[i].symbol, TEXT_SYMBOL_BYTES) == 0;
        if (seen) continue;
        if (w->line.size > 0) FINCH_TRY(str_add(&w->line, "|", 1, err));
        FINCH_TRY(str_add_text(&w->line, w->tickers[i].symbol, err));
    }
    w->with_ticker += n > 0;
    if (w->line.size > 0) a->tickers = (finch_text){w->line.at, w->line.size};
    return FINCH_OK;
}

finch_status prepare_row_answer(const prepare_row *f, prepare_worker *w, finch_text raw, finch_text author,
                                prepare_answer *out, finch_error *err)
{
    text_clean_report report = {0};
    *out = (prepare_answer){0};
    if (raw.at != NULL) FINCH_TRY(text_clean(raw, &f->clean, &w->text, &report, &w->scratch, err));
    for (size_t i = 0; i < PREPARE_CHANGE_BITS; i++) w->changed[i] += report.changed >> i & 1;
    if (raw.at == NULL || w->text.size == 0) {
        if (!is_off(f, PREPARE_SHORT)) out->reason = PREPARE_NO_TEXT;
        return FINCH_OK;
    }
    out->text = (finch_text){w->text.at, w->text.size};
    out->key = siphash(f->key, w->text.at, w->text.size);
    if (!is_off(f, PREPARE_SHORT) && !has_words(out->text, f->options->least_words)) out->reason = PREPARE_TOO_SHORT;
    if (!is_off(f, PREPARE_LANGUAGE)) {
        text_language found = text_language_of(out->text);
        out->language = found.answer == TEXT_LANGUAGE_TOO_SHORT ? "und" : found.code;
        if (found.answer == TEXT_LANGUAGE_OTHER && out->reason == PREPARE_KEPT) out->reason = PREPARE_NOT_ENGLISH;
    }
    FINCH_TRY(flood_key(f, w, author, out, err)); /* its line is the tickers' then */
    return is_off(f, PREPARE_TICKERS) ? FINCH_OK : list_tickers(f, w, out, err);
}

/* ---- chunks ---- */

/* Of a chunk of DuckDB's, or of a block. */
typedef struct column {
    duckdb_vector vector;
    data_column *own; /* NULL: the vector */
    void *data;
    uint64_t *valid; /* of the vector */
} column;

static finch_text argument(const column *c, idx_t row)
{
    if (c->data == NULL) return (finch_text){NULL, 0};
    if (c->own != NULL) return data_column_text(c->own, row);
    if (c->valid != NULL && !duckdb_validity_row_is_valid(c->valid, row)) return (finch_text){NULL, 0};
    return data_vector_text(c->data, row);
}

static finch_status put_text(const column *c, idx_t row, finch_text text, finch_error *err)
{
    if (c->own != NULL) return data_column_add_text(c->own, text, err);
    if (text.at == NULL) duckdb_validity_set_row_invalid(c->valid, row);
    else duckdb_vector_assign_string_element_len(c->vector, row, text.at, text.size_bytes);
    return FINCH_OK;
}

static finch_status run_rows(prepare_row *f, prepare_worker *w, const column *in, column *out, idx_t n, finch_error *err)
{
    for (idx_t row = 0; row < n; row++) {
        prepare_answer a;
        FINCH_TRY(prepare_row_answer(f, w, argument(&in[0], row), argument(&in[1], row), &a, err));
        finch_text language = {a.language, a.language != NULL ? strlen(a.language) : 0};
        FINCH_TRY(put_text(&out[PREPARE_FIELD_TEXT], row, a.text, err));
        FINCH_TRY(put_text(&out[PREPARE_FIELD_TICKERS], row, a.tickers, err));
        FINCH_TRY(put_text(&out[PREPARE_FIELD_LANGUAGE], row, language, err));
        ((uint8_t *)out[PREPARE_FIELD_REASON].data)[row] = (uint8_t)a.reason;
        ((uint64_t *)out[PREPARE_FIELD_LOW].data)[row] = a.key.low;
        ((uint64_t *)out[PREPARE_FIELD_HIGH].data)[row] = a.key.high;
        ((uint64_t *)out[PREPARE_FIELD_FLOOD].data)[row] = a.flood;
    }
    return FINCH_OK;
}

void prepare_row_fail(prepare_row *f, const finch_error *why)
{
    pthread_mutex_lock(&f->lock);
    if (f->error.status == FINCH_OK) f->error = *why;
    pthread_mutex_unlock(&f->lock);
}

static finch_status run_chunk(prepare_row *f, const column *in, column *out, idx_t n, finch_error *err)
{
    prepare_worker *w = NULL;
    finch_status st = prepare_row_borrow(f, &w, err);
    if (st == FINCH_OK) st = run_rows(f, w, in, out, n, err);
    if (w != NULL) prepare_row_return(f, w);
    __atomic_fetch_add(&f->done, n, __ATOMIC_RELAXED);
    if (st != FINCH_OK) prepare_row_fail(f, err);
    return st;
}

static column read_column(duckdb_vector vector)
{
    return (column){vector, NULL, duckdb_vector_get_data(vector), duckdb_vector_get_validity(vector)};
}

static column written_column(duckdb_vector vector)
{
    duckdb_vector_ensure_validity_writable(vector);
    return read_column(vector);
}

static void run(duckdb_function_info info, duckdb_data_chunk chunk, duckdb_vector output)
{
    finch_error mine = {0};
    column in[2], out[PREPARE_FIELDS];
    for (idx_t i = 0; i < 2; i++) in[i] = read_column(duckdb_data_chunk_get_vector(chunk, i));
    for (idx_t i = 0; i < PREPARE_FIELDS; i++) out[i] = written_column(duckdb_struct_vector_get_child(output, i));
    idx_t n = duckdb_data_chunk_get_size(chunk);
    if (run_chunk(duckdb_scalar_function_get_extra_info(info), in, out, n, &mine) != FINCH_OK)
        duckdb_scalar_function_set_error(info, mine.message);
}

finch_status prepare_row_fill(prepare_row *f, duckdb_data_chunk chunk, size_t text, size_t author, size_t first)
{
    finch_error mine = {0};
    column in[2] = {{0}}, out[PREPARE_FIELDS];
    in[0] = read_column(duckdb_data_chunk_get_vector(chunk, text));
    if (author != SIZE_MAX) in[1] = read_column(duckdb_data_chunk_get_vector(chunk, author));
    for (idx_t i = 0; i < PREPARE_FIELDS; i++) out[i] = written_column(duckdb_data_chunk_get_vector(chunk, first + i));
    return run_chunk(f, in, out, duckdb_data_chunk_get_size(chunk), &mine);
}

finch_status prepare_row_fill_block(prepare_row *f, data_block *block, size_t text, size_t author, size_t first)
{
    finch_error mine = {0};
    column in[2] = {{0}}, out[PREPARE_FIELDS];
    data_column *columns = block->columns;
    size_t n = columns[text].n;
    in[0] = (column){.own = &columns[text], .data = columns[text].values};
    if (author != SIZE_MAX) in[1] = (column){.own = &columns[author], .data = columns[author].values};
    for (size_t i = 0; i < PREPARE_FIELDS; i++)
        out[i] = (column){.own = &columns[first + i], .data = columns[first + i].values};
    FINCH_TRY(run_chunk(f, in, out, n, &mine));
    for (size_t i = 0; i < PREPARE_FIELDS; i++) columns[first + i].n = n;
    return FINCH_OK;
}

/* ---- registration ---- */

finch_status prepare_row_register(data_database *db, prepare_row *f, finch_error *err)
{
    static const duckdb_type types[PREPARE_FIELDS] = {DUCKDB_TYPE_VARCHAR, DUCKDB_TYPE_VARCHAR, DUCKDB_TYPE_UTINYINT,
                                                      DUCKDB_TYPE_UBIGINT, DUCKDB_TYPE_UBIGINT, DUCKDB_TYPE_UBIGINT,
                                                      DUCKDB_TYPE_VARCHAR};
    static const char *const names[PREPARE_FIELDS] = {"text", "tickers", "reason", "low", "high", "flood", "language"};
    data_function function = {.name = PREPARE_ROW_FUNCTION,
                              .n_arguments = 2,
                              .argument = DUCKDB_TYPE_VARCHAR,
                              .result = data_struct_type(names, types, PREPARE_FIELDS),
                              .run = run,
                              .context = f,
                              .counts = true};
    return data_function_register(db, &function, err);
}

finch_status prepare_row_open(const prepare_options *options, prepare_row *out, finch_error *err)
{
    text_clean_mark replaced = options->remove_placeholders ? TEXT_CLEAN_REMOVE : TEXT_CLEAN_TOKEN;
    *out = (prepare_row){.options = options, .key = siphash_key_make()};
    out->clean = (text_clean_options){
        .entities = !options->off[PREPARE_ENTITIES],
        .repair = !options->off[PREPARE_REPAIR],
        .spaces = true,
        .retweets = options->off[PREPARE_USERS] ? TEXT_CLEAN_KEEP : TEXT_CLEAN_REMOVE,
        .urls = options->off[PREPARE_URLS] ? TEXT_CLEAN_KEEP : replaced,
        .users = options->off[PREPARE_USERS] ? TEXT_CLEAN_KEEP : replaced,
    };
    if (pthread_mutex_init(&out->lock, NULL) != 0) return finch_fail(err, FINCH_E_MEMORY, "a lock could not be made");
    out->lock_made = true;
    return FINCH_OK;
}

void prepare_row_restart(prepare_row *f)
{
    memset(f->changed, 0, sizeof f->changed);
    f->with_ticker = 0;
    f->error = (finch_error){0};
    f->done = 0;
}

void prepare_row_close(prepare_row *f)
{
    while (f->idle != NULL) {
        prepare_worker *next = f->idle->next;
        worker_free(f->idle);
        f->idle = next;
    }
    if (f->lock_made) pthread_mutex_destroy(&f->lock);
    f->lock_made = false;
}
