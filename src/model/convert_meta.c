/* What is said about a Gemma beside its weights: config.json, generation_config.json, GGUF keys. */
#include "model/convert_internal.h"

#include "base/file.h"
#include "base/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATTERN_OF_GEMMA = 6, LAYERS_OF_27B = 62 };

/* ---- a folder's ------------------------------------------------------------------------------------------------------- */

static const char *dtype_name(gguf_type type)
{
    return type == GGUF_F32 ? "float32" : type == GGUF_F16 ? "float16" : "bfloat16";
}

static json_t *rope_json(double theta, double factor)
{
    if (factor == 1.0) return json_pack("{s:s, s:f}", "rope_type", "default", "rope_theta", theta);
    return json_pack("{s:s, s:f, s:f}", "rope_type", "linear", "rope_theta", theta, "factor", factor);
}

static json_t *layer_types_json(const gemma_config *c)
{
    json_t *list = json_array();
    int failed = list == NULL;
    for (size_t i = 0; i < c->n_layers && !failed; i++)
        failed = json_array_append_new(list, json_string(c->is_global[i] ? "full_attention" : "sliding_attention"));
    if (!failed) return list;
    json_decref(list);
    return NULL;
}

static json_t *id_json(int32_t id) { return id >= 0 ? json_integer(id) : json_null(); }

/* An f32 by the shortest decimal number that reads back to it. */
static double short_number(float value)
{
    char text[32];
    for (int digits = 1; digits < 10; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)value);
        if (strtof(text, NULL) == value) break;
    }
    return strtod(text, NULL);
}

/* The number that scores are divided by the root of: whole in every Gemma, but not bound to be. */
static double scalar_of(const gemma_config *c)
{
    double scalar = 1.0 / ((double)c->query_scale * (double)c->query_scale), whole = nearbyint(scalar);
    return fabs(scalar - whole) <= whole * 1e-6 ? whole : short_number((float)scalar);
}

static json_t *scalar_json(const gemma_config *c)
{
    double scalar = scalar_of(c);
    return scalar == floor(scalar) ? json_integer((json_int_t)scalar) : json_real(scalar);
}

static json_t *config_json(const gemma_config *c, bool own_output, gguf_type type)
{
    static const char fields[] =
        "{s:[s], s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:o, s:s, s:b, s:f, s:o, "
        "s:{s:o, s:o}, s:b, s:o, s:o, s:o}";
    return json_pack(fields, "architectures", "Gemma3ForCausalLM", "model_type", "gemma3_text", "dtype", dtype_name(type),
                     "vocab_size", (json_int_t)c->vocab_size, "hidden_size", (json_int_t)c->hidden_size, "num_hidden_layers",
                     (json_int_t)c->n_layers, "num_attention_heads", (json_int_t)c->n_heads, "num_key_value_heads",
                     (json_int_t)c->n_key_heads, "head_dim", (json_int_t)c->head_width, "intermediate_size",
                     (json_int_t)c->intermediate_size, "max_position_embeddings", (json_int_t)c->n_positions,
                     "sliding_window", (json_int_t)c->window, "rms_norm_eps", short_number(c->norm_eps),
                     "query_pre_attn_scalar", scalar_json(c), "hidden_activation", "gelu_pytorch_tanh", "attention_bias", 0,
                     "attention_dropout", 0.0, "layer_types", layer_types_json(c), "rope_parameters", "full_attention",
                     rope_json(c->global_theta, c->global_factor), "sliding_attention",
                     rope_json(c->local_theta, c->local_factor), "tie_word_embeddings", (int)!own_output, "pad_token_id",
                     id_json(c->pad_id), "eos_token_id", id_json(c->eos_id), "bos_token_id", id_json(c->bos_id));
}

/* A text ends at <eos> and, in conversations, at the end of a turn. */
static json_t *generation_json(const gemma_config *c, const text_tokenizer *t)
{
    json_t *ends = json_array();
    int failed = ends == NULL || (c->eos_id >= 0 && json_array_append_new(ends, json_integer(c->eos_id)) != 0);
    int32_t turn_end = text_tokenizer_special(t).turn_end;
    if (!failed && turn_end >= 0) failed = json_array_append_new(ends, json_integer(turn_end));
    if (!failed)
        return json_pack("{s:o, s:o, s:o}", "bos_token_id", id_json(c->bos_id), "eos_token_id", ends, "pad_token_id",
                         id_json(c->pad_id));
    json_decref(ends);
    return NULL;
}

static finch_status write_json(const char *folder, const char *name, json_t *value, finch_error *err)
{
    str path = {0};
    finch_status st;
    if (value == NULL) FINCH_GO(done, st, finch_fail(err, FINCH_E_MEMORY, "%s: out of memory for %s", folder, name));
    FINCH_GO(done, st, file_join(folder, name, &path, err));
    st = json_write_file(path.at, value, err);
done:
    str_free(&path);
    json_decref(value);
    return st;
}

finch_status convert_write_config(const gemma_config *c, const text_tokenizer *t, bool own_output, gguf_type type,
                                  const char *folder, finch_error *err)
{
    FINCH_TRY(write_json(folder, "config.json", config_json(c, own_output, type), err));
    return write_json(folder, "generation_config.json", generation_json(c, t), err);
}

/* ---- GGUF's: the model ------------------------------------------------------------------------------------------------ */

/* Every how many layers one is global; 0 where there is no such number. */
static size_t pattern_of(const gemma_config *c)
{
    for (size_t pattern = 1; pattern <= c->n_layers + 1; pattern++) {
        bool fits = true;
        for (size_t i = 0; i < c->n_layers; i++) fits &= c->is_global[i] == ((i + 1) % pattern == 0);
        if (fits) return pattern;
    }
    return 0;
}

/* What the format has no key for. */
static finch_status check_expressible(const gemma_config *c, const char *path, finch_error *err)
{
    const char *what = NULL;
    double width = (double)(c->n_layers == LAYERS_OF_27B ? c->hidden_size / c->n_heads : c->head_width);
    if (scalar_of(c) != width) what = "a query_pre_attn_scalar that is not the head's width";
    if (c->local_factor != 1.0) what = "scaled positions in local layers";
    if (pattern_of(c) == 0) what = "global layers that do not come at regular intervals";
    if (what == NULL) return FINCH_OK;
    return finch_fail(err, FINCH_E_UNSUPPORTED, "%s has %s, which GGUF has no place for", path, what);
}

static finch_status fill_sizes(const gemma_config *c, gguf_meta *m, finch_error *err)
{
    const struct {
        const char *key;
        size_t value;
    } sizes[] = {{"gemma3.context_length", c->n_positions},
                 {"gemma3.embedding_length", c->hidden_size},
                 {"gemma3.block_count", c->n_layers},
                 {"gemma3.feed_forward_length", c->intermediate_size},
                 {"gemma3.attention.head_count", c->n_heads},
                 {"gemma3.attention.head_count_kv", c->n_key_heads},
                 {"gemma3.attention.key_length", c->head_width},
                 {"gemma3.attention.value_length", c->head_width},
                 {"gemma3.attention.sliding_window", c->window}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        FINCH_TRY(gguf_meta_u32(m, sizes[i].key, (uint32_t)sizes[i].value, err)); /* gemma_config.h bounds them */
    if (pattern_of(c) != PATTERN_OF_GEMMA && pattern_of(c) <= c->n_layers)
        FINCH_TRY(gguf_meta_u32(m, "gemma3.attention.sliding_window_pattern", (uint32_t)pattern_of(c), err));
    FINCH_TRY(gguf_meta_f32(m, "gemma3.attention.layer_norm_rms_epsilon", c->norm_eps, err));
    FINCH_TRY(gguf_meta_f32(m, "gemma3.rope.freq_base", (float)c->global_theta, err));
    FINCH_TRY(gguf_meta_f32(m, "gemma3.rope.freq_base_swa", (float)c->local_theta, err));
    if (c->global_factor == 1.0) return FINCH_OK;
    FINCH_TRY(gguf_meta_text(m, "gemma3.rope.scaling.type", (finch_text){"linear", 6}, err));
    return gguf_meta_f32(m, "gemma3.rope.scaling.factor", (float)c->global_factor, err);
}

/* llama.cpp's number of a file whose matrices have that type. */
static uint32_t file_type(gguf_type type)
{
    return type == GGUF_F32 ? 0 : type == GGUF_F16 ? 1 : type == GGUF_Q8_0 ? 7 : 32;
}

static finch_text name_of(const char *path)
{
    size_t size = strlen(path);
    while (size > 1 && path[size - 1] == '/') size--;
    size_t begin = size;
    while (begin > 0 && path[begin - 1] != '/') begin--;
    return (finch_text){path + begin, size - begin};
}

static finch_status fill_general(const char *path, gguf_type type, gguf_meta *m, finch_error *err)
{
    FINCH_TRY(gguf_meta_text(m, "general.architecture", (finch_text){"gemma3", 6}, err));
    FINCH_TRY(gguf_meta_text(m, "general.type", (finch_text){"model", 5}, err));
    FINCH_TRY(gguf_meta_text(m, "general.name", name_of(path), err));
    FINCH_TRY(gguf_meta_u32(m, "general.quantization_version", 2, err));
    return gguf_meta_u32(m, "general.file_type", file_type(type), err);
}

/* ---- GGUF's: the vocabulary --------------------------------------------------------------------------------------------- */

/* The lists by id. Rows of the embedding that have no piece are called as llama.cpp calls them. */
typedef struct vocabulary {
    finch_text *pieces;
    float *scores;
    int32_t *kinds;
    str made; /* texts that are not the tokenizer's own */
    size_t n;
} vocabulary;

static void vocabulary_free(vocabulary *v)
{
    mem_free(v->pieces);
    mem_free(v->scores);
    mem_free(v->kinds);
    str_free(&v->made);
}

static finch_text piece_of(const text_tokenizer *t, size_t id)
{
    finch_text piece;
    piece.at = text_tokenizer_piece(t, (int32_t)id, &piece.size_bytes);
    return piece;
}

/* User pieces hold blanks as blanks; the other spelling of them is three bytes long. */
static finch_status add_user(finch_text piece, str *out, finch_error *err)
{
    for (size_t at = 0; at < piece.size_bytes;) {
        bool blank = piece.size_bytes - at >= 3 && memcmp(piece.at + at, "\xE2\x96\x81", 3) == 0;
        FINCH_TRY(str_add(out, blank ? " " : piece.at + at, 1, err));
        at += blank ? 3 : 1;
    }
    return FINCH_OK;
}

/* Made texts are put end to end first and pointed at when they no longer move. */
static finch_status make_texts(const text_tokenizer *t, vocabulary *v, finch_error *err)
{
    size_t n_pieces = text_tokenizer_vocab_size(t), at = 0;
    for (size_t id = 0; id < v->n; id++) {
        size_t before = v->made.size;
        if (id >= n_pieces) FINCH_TRY(str_add_format(&v->made, err, "[PAD%zu]", id));
        else if (v->kinds[id] == TEXT_PIECE_USER) FINCH_TRY(add_user(piece_of(t, id), &v->made, err));
        v->pieces[id].size_bytes = v->made.size - before;
    }
    for (size_t id = 0; id < v->n; id++) {
        if (id < n_pieces && v->kinds[id] != TEXT_PIECE_USER) {
            v->pieces[id] = piece_of(t, id);
        } else {
            v->pieces[id].at = v->made.at + at;
            at += v->pieces[id].size_bytes;
        }
    }
    return FINCH_OK;
}

/* The score of an ordinary piece falls with its id, which is the order of the merges. */
static finch_status vocabulary_make(const text_tokenizer *t, size_t n_rows, vocabulary *v, finch_error *err)
{
    static const float score_of_found = -1000.0f, score_of_padding = -10000.0f; /* llama.cpp's */
    v->n = n_rows;
    FINCH_TRY(MEM_NEW(&v->pieces, n_rows, err));
    FINCH_TRY(MEM_NEW(&v->scores, n_rows, err));
    FINCH_TRY(MEM_NEW(&v->kinds, n_rows, err));
    for (size_t id = 0; id < n_rows; id++) {
        bool padding = id >= text_tokenizer_vocab_size(t);
        text_piece_kind kind = padding ? TEXT_PIECE_UNUSED : text_tokenizer_kind(t, (int32_t)id);
        v->kinds[id] = (int32_t)kind;
        if (padding) v->scores[id] = score_of_padding;
        else if (kind == TEXT_PIECE_CONTROL || kind == TEXT_PIECE_USER) v->scores[id] = score_of_found;
        else v->scores[id] = kind == TEXT_PIECE_BYTE ? 0.0f : -(float)id;
    }
    return make_texts(t, v, err);
}

static finch_status fill_vocabulary(const text_tokenizer *t, const vocabulary *v, finch_text chat_template, gguf_meta *m,
                                    finch_error *err)
{
    text_special special = text_tokenizer_special(t);
    FINCH_TRY(gguf_meta_text(m, "tokenizer.ggml.model", (finch_text){"llama", 5}, err));
    FINCH_TRY(gguf_meta_text(m, "tokenizer.ggml.pre", (finch_text){"default", 7}, err));
    FINCH_TRY(gguf_meta_texts(m, "tokenizer.ggml.tokens", v->pieces, v->n, err));
    FINCH_TRY(gguf_meta_f32s(m, "tokenizer.ggml.scores", v->scores, v->n, err));
    FINCH_TRY(gguf_meta_i32s(m, "tokenizer.ggml.token_type", v->kinds, v->n, err));
    FINCH_TRY(gguf_meta_u32(m, "tokenizer.ggml.bos_token_id", (uint32_t)special.cls, err));
    FINCH_TRY(gguf_meta_u32(m, "tokenizer.ggml.eos_token_id", (uint32_t)special.sep, err));
    FINCH_TRY(gguf_meta_u32(m, "tokenizer.ggml.unknown_token_id", (uint32_t)special.unk, err));
    FINCH_TRY(gguf_meta_u32(m, "tokenizer.ggml.padding_token_id", (uint32_t)special.pad, err));
    if (special.turn_end >= 0) FINCH_TRY(gguf_meta_u32(m, "tokenizer.ggml.eot_token_id", (uint32_t)special.turn_end, err));
    FINCH_TRY(gguf_meta_bool(m, "tokenizer.ggml.add_bos_token", true, err));
    FINCH_TRY(gguf_meta_bool(m, "tokenizer.ggml.add_eos_token", text_tokenizer_adds_end(t), err));
    FINCH_TRY(gguf_meta_bool(m, "tokenizer.ggml.add_space_prefix", false, err));
    if (chat_template.size_bytes == 0) return FINCH_OK;
    return gguf_meta_text(m, "tokenizer.chat_template", chat_template, err);
}

finch_status convert_fill_meta(const gemma_config *c, const text_tokenizer *t, const char *path, gguf_type type,
                               finch_text chat_template, gguf_meta *meta, finch_error *err)
{
    vocabulary v = {0};
    finch_status st;
    FINCH_TRY(check_expressible(c, path, err));
    FINCH_TRY(fill_general(path, type, meta, err));
    FINCH_TRY(fill_sizes(c, meta, err));
    FINCH_GO(done, st, vocabulary_make(t, c->vocab_size, &v, err));
    st = fill_vocabulary(t, &v, chat_template, meta, err);
done:
    vocabulary_free(&v);
    return st;
}
