#include "data/sql_functions.h"

#include "text/clean.h"
#include "text/ticker.h"

#include <string.h>

/* ---- arguments and nulls ---- */

/* The texts of a chunk's only column; at is NULL for null. To be freed. */
static finch_status read_texts(duckdb_data_chunk chunk, finch_text **out, size_t *n, finch_error *err)
{
    duckdb_vector vector = duckdb_data_chunk_get_vector(chunk, 0);
    const duckdb_string_t *values = duckdb_vector_get_data(vector);
    uint64_t *valid = duckdb_vector_get_validity(vector);
    *n = (size_t)duckdb_data_chunk_get_size(chunk);
    FINCH_TRY(MEM_NEW(out, *n, err));
    for (size_t i = 0; i < *n; i++)
        if (valid == NULL || duckdb_validity_row_is_valid(valid, i)) (*out)[i] = data_vector_text(values, i);
    return FINCH_OK;
}

static void set_null(duckdb_vector vector, idx_t row)
{
    duckdb_vector_ensure_validity_writable(vector);
    duckdb_validity_set_row_invalid(duckdb_vector_get_validity(vector), row);
}

/* ---- the model's ---- */

/* A chunk's texts and their answers. */
typedef struct scored {
    finch_text *texts;
    sql_answer *answers;
    float *probabilities; /* [n, n_labels] where wanted */
    size_t n, n_labels;
} scored;

static void scored_free(scored *s)
{
    mem_free(s->texts);
    mem_free(s->answers);
    mem_free(s->probabilities);
}

static finch_status score_chunk(sql_engine *e, duckdb_data_chunk chunk, bool probabilities, scored *s, finch_error *err)
{
    *s = (scored){.n_labels = model_get_config(sql_engine_model(e))->n_labels};
    FINCH_TRY(read_texts(chunk, &s->texts, &s->n, err));
    FINCH_TRY(MEM_NEW(&s->answers, s->n, err));
    if (probabilities) FINCH_TRY(MEM_NEW(&s->probabilities, s->n * s->n_labels, err));
    return sql_engine_score(e, s->texts, s->n, s->answers, s->probabilities, err);
}

static void run_score(duckdb_function_info info, duckdb_data_chunk chunk, duckdb_vector output)
{
    scored s;
    finch_error error = {0};
    double *values = duckdb_vector_get_data(output);
    sql_engine *e = duckdb_scalar_function_get_extra_info(info);
    const model *m = sql_engine_model(e);
    bool means = false; /* some label has a class of the five, as in data/scoring.c */
    for (size_t i = 0; i < model_get_config(m)->n_labels; i++) means |= model_class_id(m, i) >= 0;
    finch_status st = score_chunk(e, chunk, false, &s, &error);
    for (size_t i = 0; st == FINCH_OK && i < s.n; i++) {
        values[i] = (double)s.answers[i].score;
        if (!s.answers[i].scored || !means) set_null(output, i);
    }
    if (st != FINCH_OK) duckdb_scalar_function_set_error(info, error.message);
    scored_free(&s);
}

static void run_label(duckdb_function_info info, duckdb_data_chunk chunk, duckdb_vector output)
{
    scored s;
    finch_error error = {0};
    sql_engine *e = duckdb_scalar_function_get_extra_info(info);
    const model_config *config = model_get_config(sql_engine_model(e));
    finch_status st = score_chunk(e, chunk, false, &s, &error);
    for (size_t i = 0; st == FINCH_OK && i < s.n; i++) {
        if (s.answers[i].scored) duckdb_vector_assign_string_element(output, i, config->labels[s.answers[i].label]);
        else set_null(output, i);
    }
    if (st != FINCH_OK) duckdb_scalar_function_set_error(info, error.message);
    scored_free(&s);
}

static void run_probs(duckdb_function_info info, duckdb_data_chunk chunk, duckdb_vector output)
{
    scored s;
    finch_error error = {0};
    finch_status st = score_chunk(duckdb_scalar_function_get_extra_info(info), chunk, true, &s, &error);
    for (size_t c = 0; st == FINCH_OK && c < s.n_labels; c++) {
        duckdb_vector child = duckdb_struct_vector_get_child(output, c);
        float *values = duckdb_vector_get_data(child);
        for (size_t i = 0; i < s.n; i++) {
            values[i] = s.probabilities[i * s.n_labels + c];
            if (!s.answers[i].scored) set_null(child, i);
        }
    }
    for (size_t i = 0; st == FINCH_OK && i < s.n; i++)
        if (!s.answers[i].scored) set_null(output, i);
    if (st != FINCH_OK) duckdb_scalar_function_set_error(info, error.message);
    scored_free(&s);
}

/* ---- the texts' ---- */

static finch_status clean_chunk(duckdb_data_chunk chunk, duckdb_vector output, finch_error *err)
{
    finch_text *texts = NULL;
    size_t n = 0;
    str out = {0};
    text_clean_scratch scratch = {0};
    finch_status st = read_texts(chunk, &texts, &n, err);
    for (size_t i = 0; st == FINCH_OK && i < n; i++) {
        if (texts[i].at == NULL) {
            set_null(output, i);
            continue;
        }
        st = text_clean(texts[i], NULL, &out, NULL, &scratch, err);
        if (st == FINCH_OK) duckdb_vector_assign_string_element_len(output, i, out.size > 0 ? out.at : "", out.size);
    }
    text_clean_scratch_free(&scratch);
    str_free(&out);
    mem_free(texts);
    return st;
}

static void run_clean(duckdb_function_info info, duckdb_data_chunk chunk, duckdb_vector output)
{
    finch_error error = {0};
    if (clean_chunk(chunk, output, &error) != FINCH_OK) duckdb_scalar_function_set_error(info, error.message);
}

/* Tickers of a text, each symbol once, in their order. */
typedef struct ticker_list {
    text_ticker *found;
    size_t n, capacity;
} ticker_list;

static finch_status find_tickers(finch_text text, ticker_list *list, finch_error *err)
{
    size_t n = text_tickers_find(text, list->found, list->capacity);
    if (n > list->capacity) {
        FINCH_TRY(mem_grow((void **)&list->found, 0, n, sizeof *list->found, err));
        list->capacity = n;
        n = text_tickers_find(text, list->found, n);
    }
    list->n = 0;
    for (size_t i = 0; i < n; i++) {
        size_t before = 0;
        while (before < list->n && strcmp(list->found[before].symbol, list->found[i].symbol) != 0) before++;
        if (before == list->n) list->found[list->n++] = list->found[i];
    }
    return FINCH_OK;
}

static finch_status tickers_chunk(duckdb_data_chunk chunk, duckdb_vector output, finch_error *err)
{
    finch_text *texts = NULL;
    size_t n = 0, used = 0;
    ticker_list list = {0};
    duckdb_list_entry *entries = duckdb_vector_get_data(output);
    finch_status st = read_texts(chunk, &texts, &n, err);
    for (size_t i = 0; st == FINCH_OK && i < n; i++) {
        list.n = 0;
        if (texts[i].at != NULL) st = find_tickers(texts[i], &list, err);
        else set_null(output, i);
        if (st != FINCH_OK) break;
        entries[i] = (duckdb_list_entry){used, list.n};
        if (duckdb_list_vector_reserve(output, used + list.n) != DuckDBSuccess)
            st = finch_fail(err, FINCH_E_MEMORY, "out of memory for a list of tickers");
        for (size_t t = 0; st == FINCH_OK && t < list.n; t++)
            duckdb_vector_assign_string_element(duckdb_list_vector_get_child(output), used++, list.found[t].symbol);
    }
    duckdb_list_vector_set_size(output, used);
    mem_free(list.found);
    mem_free(texts);
    return st;
}

static void run_tickers(duckdb_function_info info, duckdb_data_chunk chunk, duckdb_vector output)
{
    finch_error error = {0};
    if (tickers_chunk(chunk, output, &error) != FINCH_OK) duckdb_scalar_function_set_error(info, error.message);
}

/* ---- registering ---- */

static duckdb_logical_type probs_type(const model *m)
{
    duckdb_type types[MODEL_LABELS_MAX];
    const char *names[MODEL_LABELS_MAX];
    size_t n = model_get_config(m)->n_labels;
    for (size_t i = 0; i < n; i++) {
        names[i] = model_get_config(m)->labels[i];
        types[i] = DUCKDB_TYPE_FLOAT;
    }
    return data_struct_type(names, types, n);
}

static finch_status add_function(data_database *db, const char *name, duckdb_scalar_function_t run,
                                 duckdb_logical_type result, sql_engine *engine, finch_error *err)
{
    data_function function = {
        .name = name, .n_arguments = 1, .argument = DUCKDB_TYPE_VARCHAR, .result = result, .run = run, .context = engine};
    return data_function_register(db, &function, err);
}

finch_status sql_functions_register(data_database *db, sql_engine *engine, finch_error *err)
{
    duckdb_logical_type text = duckdb_create_logical_type(DUCKDB_TYPE_VARCHAR), list = duckdb_create_list_type(text);
    duckdb_destroy_logical_type(&text);
    FINCH_TRY(add_function(db, "finch_tickers", run_tickers, list, NULL, err));
    FINCH_TRY(add_function(db, "finch_clean", run_clean, duckdb_create_logical_type(DUCKDB_TYPE_VARCHAR), NULL, err));
    if (engine == NULL) return FINCH_OK;
    FINCH_TRY(add_function(db, "finch_score", run_score, duckdb_create_logical_type(DUCKDB_TYPE_DOUBLE), engine, err));
    FINCH_TRY(add_function(db, "finch_label", run_label, duckdb_create_logical_type(DUCKDB_TYPE_VARCHAR), engine, err));
    return add_function(db, "finch_probs", run_probs, probs_type(sql_engine_model(engine)), engine, err);
}
