#include "model/convert_internal.h"

#include "base/file.h"
#include "base/json.h"
#include "model/tokenizer_file.h"
#include "tensor/new_folder.h"
#include "tensor/safetensors.h"

#include <stdio.h>
#include <string.h>

enum { PANEL_ITEMS = 1 << 20 };

/* One tensor to write. */
typedef struct item {
    const char *to;              /* its name in the new file */
    const stored_matrix *matrix; /* NULL: a norm */
    const char *from;            /* a norm's name in the source */
    size_t width;                /* a norm's */
} item;

typedef struct job {
    gemma *g;
    bool into_folder;
    const convert_options *options;
    arena memory; /* items, names and the panels */
    item *items;
    size_t n;
    float *rows;        /* [panel] */
    unsigned char *out; /* these in the type to write */
    uint64_t done_bytes, total_bytes;
} job;

/* ---- what there is to write ----------------------------------------------------------------------------------------- */

static finch_status make_name(job *j, const char *prefix, const char *name, const char **out, finch_error *err)
{
    char *copy;
    size_t size = strlen(prefix) + strlen(name) + sizeof ".weight";
    FINCH_TRY(arena_alloc(&j->memory, size, 1, (void **)&copy, err));
    snprintf(copy, size, "%s%s.weight", prefix, name);
    *out = copy;
    return FINCH_OK;
}

/* Where a layer's tensors, or those outside the layers, are in either kind of file. */
typedef struct places {
    char hub[256], hub_new[64], gguf_name[64];
} places;

static finch_status add_item(job *j, const places *p, const char *hub, const char *gguf_name, const stored_matrix *matrix,
                             size_t width, finch_error *err)
{
    item *to = &j->items[j->n];
    *to = (item){.matrix = matrix, .width = width};
    if (j->into_folder) {
        FINCH_TRY(make_name(j, p->hub_new, hub, &to->to, err));
        FINCH_TRY(make_name(j, p->gguf_name, gguf_name, &to->from, err));
    } else {
        FINCH_TRY(make_name(j, p->gguf_name, gguf_name, &to->to, err));
        FINCH_TRY(make_name(j, p->hub, hub, &to->from, err));
    }
    j->n++;
    return FINCH_OK;
}

static finch_status add_layer(job *j, const char *prefix, size_t index, finch_error *err)
{
    const gemma_layer *layer = &j->g->layers[index];
    places p;
    snprintf(p.hub, sizeof p.hub, "%slayers.%zu.", prefix, index);
    snprintf(p.hub_new, sizeof p.hub_new, "model.layers.%zu.", index);
    snprintf(p.gguf_name, sizeof p.gguf_name, "blk.%zu.", index);
#define ADD_MATRIX(name, hub_name, gguf_part, outputs, inputs) \
    FINCH_TRY(add_item(j, &p, hub_name, gguf_part, &layer->name.stored, 0, err));
    GEMMA_MATRIX_LIST(ADD_MATRIX)
#undef ADD_MATRIX
#define ADD_NORM(name, hub_name, gguf_part, norm_width) \
    FINCH_TRY(add_item(j, &p, hub_name, gguf_part, NULL, gemma_width_of(&j->g->config, norm_width), err));
    GEMMA_NORM_LIST(ADD_NORM)
#undef ADD_NORM
    return FINCH_OK;
}

static bool has_own_output(const gemma *g)
{
    return g->vocabulary.blocks != g->words.blocks || g->vocabulary.plain.weight != g->words.plain.weight;
}

/* What a folder's names begin with, from that of the embedding. */
static void find_prefix(const gemma *g, char out[200])
{
    static const char end[] = "embed_tokens.weight";
    const char *name = g->blocks != NULL ? end : g->words.plain.weight->name;
    snprintf(out, 200, "%.*s", (int)(strlen(name) - (sizeof end - 1)), name);
}

static finch_status plan(job *j, finch_error *err)
{
    enum { TENSORS_OF_A_LAYER = 13, OTHERS = 3 };
    const gemma_config *c = &j->g->config;
    char prefix[200];
    places p = {.hub_new = "model."}, bare = {0};
    find_prefix(j->g, prefix);
    snprintf(p.hub, sizeof p.hub, "%s", prefix);
    FINCH_TRY(ARENA_NEW(&j->memory, &j->items, TENSORS_OF_A_LAYER * c->n_layers + OTHERS, err));
    FINCH_TRY(add_item(j, &p, "embed_tokens", "token_embd", &j->g->words, 0, err));
    for (size_t i = 0; i < c->n_layers; i++) FINCH_TRY(add_layer(j, prefix, i, err));
    FINCH_TRY(add_item(j, &p, "norm", "output_norm", NULL, c->hidden_size, err));
    if (has_own_output(j->g)) FINCH_TRY(add_item(j, &bare, "lm_head", "output", &j->g->vocabulary, 0, err));
    return FINCH_OK;
}

/* ---- its bytes -------------------------------------------------------------------------------------------------------- */

/* Norms are f32 in GGUF files, and of the matrices' type in folders. */
static gguf_type type_of(const job *j, const item *from)
{
    return from->matrix != NULL || j->into_folder ? j->options->type : GGUF_F32;
}

static size_t columns_of(const item *from) { return from->matrix != NULL ? from->matrix->columns : from->width; }

static finch_status reserve(job *j, finch_error *err)
{
    size_t panel = PANEL_ITEMS;
    for (size_t i = 0; i < j->n; i++) {
        size_t columns = columns_of(&j->items[i]), rows = j->items[i].matrix != NULL ? j->items[i].matrix->rows : 1, row = 0;
        if (columns > panel) panel = columns;
        if (gguf_row_bytes(type_of(j, &j->items[i]), columns, &row, err) != FINCH_OK)
            return finch_fail_prefix(err, "%s: %s", j->g->path, j->items[i].to);
        j->total_bytes += (uint64_t)row * rows;
    }
    FINCH_TRY(ARENA_NEW(&j->memory, &j->rows, panel, err));
    return arena_alloc(&j->memory, panel, sizeof(float), (void **)&j->out, err);
}

static finch_status read_norm(job *j, const item *from, finch_error *err)
{
    const gemma *g = j->g;
    if (g->blocks != NULL) return gguf_to_f32(gguf_find(g->blocks, from->from), 0, from->width, j->rows, err);
    const tensor *t;
    FINCH_TRY(weights_require(g->file, from->from, 1, &from->width, &t, err));
    return tensor_to_f32(t, j->rows, err);
}

/* Rows from `first` on, as many as there is room for, as f32; a norm is one row. */
static finch_status read_rows(job *j, const item *from, size_t first, size_t *n, finch_error *err)
{
    if (from->matrix == NULL) {
        *n = 1;
        FINCH_TRY(read_norm(j, from, err));
        for (size_t i = 0; i < from->width; i++) j->rows[i] += j->into_folder ? -1.0f : 1.0f;
        return FINCH_OK;
    }
    size_t left = from->matrix->rows - first, columns = from->matrix->columns;
    size_t panel = columns < PANEL_ITEMS ? PANEL_ITEMS / columns : 1;
    *n = left < panel ? left : panel;
    stored_rows(from->matrix, first, *n, j->rows);
    stored_forget(from->matrix); /* what was read leaves memory, however large the matrix */
    return FINCH_OK;
}

/* safetensors_fill and gguf_fill. */
static finch_status fill(void *context, size_t index, size_t offset, const void **data, size_t *size, finch_error *err)
{
    job *j = context;
    const item *from = &j->items[index];
    gguf_type type = type_of(j, from);
    size_t row = 0, n = 0;
    FINCH_TRY(gguf_row_bytes(type, columns_of(from), &row, err));
    FINCH_TRY(read_rows(j, from, offset / row, &n, err));
    if (gguf_from_f32(type, j->rows, n * columns_of(from), j->out, err) != FINCH_OK)
        return finch_fail_prefix(err, "%s: %s", j->g->path, from->to);
    *data = j->out;
    *size = n * row;
    j->done_bytes += *size;
    if (progress_report(j->options->listener, j->done_bytes, j->total_bytes, from->to)) return FINCH_OK;
    return finch_fail(err, FINCH_E_CANCELLED, "converting was interrupted");
}

static void fill_report(const job *j, size_t n_files, convert_report *report)
{
    size_t n_source = j->g->blocks != NULL ? gguf_count(j->g->blocks) : weights_count(j->g->file);
    size_t n_scales = 0; /* of an int8 folder: they are part of their matrices */
    for (size_t i = 0; i < j->n; i++) n_scales += j->items[i].matrix != NULL && j->items[i].matrix->plain.scale != NULL;
    *report = (convert_report){.n_tensors = j->n,
                               .n_left_out = n_source > j->n + n_scales ? n_source - j->n - n_scales : 0,
                               .n_files = n_files,
                               .bytes_after = j->done_bytes,
                               .working_bytes = j->memory.peak_bytes};
}

static finch_status open_job(job *j, const char *from, bool into_folder, const convert_options *options, finch_error *err)
{
    *j = (job){.into_folder = into_folder, .options = options};
    arena_init(&j->memory);
    FINCH_TRY(gemma_open(from, MODEL_F32, &j->g, err));
    FINCH_TRY(plan(j, err));
    return reserve(j, err);
}

static void close_job(job *j)
{
    gemma_close(j->g);
    arena_free(&j->memory);
}

static finch_status check_tokenizer(const job *j, const text_tokenizer *t, finch_error *err)
{
    if (text_tokenizer_style(t) != TEXT_GEMMA)
        return finch_fail(err, FINCH_E_UNSUPPORTED, "%s: its tokenizer is not Gemma's", j->g->path);
    return text_tokenizer_check_rows(t, j->g->config.vocab_size, j->g->path, err);
}

/* ---- into a folder ------------------------------------------------------------------------------------------------------ */

static finch_status write_template(const gemma *g, const char *folder, finch_error *err)
{
    static const char key[] = "tokenizer.chat_template";
    finch_text text;
    str path = {0};
    if (!gguf_has(g->blocks, key)) return FINCH_OK;
    FINCH_TRY(gguf_get_text(g->blocks, key, &text, err));
    finch_status st = file_join(folder, "chat_template.jinja", &path, err);
    if (st == FINCH_OK) st = file_write(path.at, text.at, text.size_bytes, err);
    str_free(&path);
    return st;
}

static tensor_dtype dtype_of(gguf_type type)
{
    return type == GGUF_F32 ? TENSOR_F32 : type == GGUF_F16 ? TENSOR_F16 : TENSOR_BF16;
}

static finch_status write_shards(job *j, const char *folder, size_t *n_files, finch_error *err)
{
    safetensors_entry *entries;
    FINCH_TRY(ARENA_NEW(&j->memory, &entries, j->n, err));
    for (size_t i = 0; i < j->n; i++) {
        const item *from = &j->items[i];
        entries[i] = (safetensors_entry){.name = from->to, .dtype = dtype_of(j->options->type)};
        entries[i].n_dims = from->matrix != NULL ? 2 : 1;
        if (from->matrix != NULL) entries[i].dims[0] = from->matrix->rows;
        entries[i].dims[entries[i].n_dims - 1] = columns_of(from);
    }
    return safetensors_write_shards(folder, entries, j->n, j->options->shard_bytes, fill, j, n_files, err);
}

static finch_status write_folder(job *j, const text_tokenizer *t, const char *folder, size_t *n_files, finch_error *err)
{
    FINCH_TRY(convert_write_config(&j->g->config, t, has_own_output(j->g), j->options->type, folder, err));
    FINCH_TRY(text_tokenizer_save(t, folder, err));
    FINCH_TRY(write_template(j->g, folder, err));
    return write_shards(j, folder, n_files, err);
}

finch_status convert_to_folder(const char *from, const char *to, const convert_options *options, convert_report *report,
                               finch_error *err)
{
    job j = {0};
    text_tokenizer *t = NULL;
    new_folder folder = {0};
    size_t n_files = 0;
    finch_status st;
    *report = (convert_report){0};
    if (options->type == GGUF_Q8_0)
        return finch_fail(err, FINCH_E_USAGE, "a folder's weights are f32, f16 or bf16; q8_0 is for GGUF files");
    FINCH_GO(done, st, open_job(&j, from, true, options, err));
    FINCH_GO(done, st, model_tokenizer_from_gguf(j.g->blocks, from, &t, err));
    FINCH_GO(done, st, check_tokenizer(&j, t, err));
    FINCH_GO(done, st, new_folder_begin(to, &folder, err));
    st = new_folder_end(&folder, write_folder(&j, t, folder.beside.at, &n_files, err), err);
    if (st == FINCH_OK) fill_report(&j, n_files, report);
done:
    text_tokenizer_close(t);
    close_job(&j);
    return st;
}

/* ---- into a GGUF file ----------------------------------------------------------------------------------------------------- */

/* The folder's chat template: a file of its own, or in tokenizer_config.json. */
static finch_status read_template(const char *folder, str *out, finch_error *err)
{
    static const char *const names[] = {"chat_template.jinja", "tokenizer_config.json"};
    enum { LIMIT_BYTES = 16 << 20 };
    str path = {0};
    char *content = NULL;
    size_t size = 0, which = 0;
    json_t *root = NULL;
    finch_status st;
    for (; which < 2; which++) {
        FINCH_GO(done, st, file_join(folder, names[which], &path, err));
        if (file_exists(path.at)) break;
    }
    st = FINCH_OK;
    if (which == 2) goto done;
    FINCH_GO(done, st, file_read(path.at, LIMIT_BYTES, &content, &size, err));
    if (which == 0) FINCH_GO(done, st, str_add(out, content, size, err));
    if (which == 0) goto done;
    FINCH_GO(done, st, json_parse(content, size, path.at, &root, err));
    const json_t *text = json_object_get(root, "chat_template");
    if (json_is_string(text)) st = str_add(out, json_string_value(text), json_string_length(text), err);
done:
    json_decref(root);
    mem_free(content);
    str_free(&path);
    return st;
}

static finch_status write_gguf(job *j, const gguf_meta *meta, const char *to, finch_error *err)
{
    gguf_entry *entries;
    FINCH_TRY(ARENA_NEW(&j->memory, &entries, j->n, err));
    for (size_t i = 0; i < j->n; i++) {
        const item *from = &j->items[i];
        entries[i] = (gguf_entry){.name = from->to, .type = type_of(j, from), .n_dims = from->matrix != NULL ? 2 : 1};
        if (from->matrix != NULL) entries[i].dims[0] = from->matrix->rows;
        entries[i].dims[entries[i].n_dims - 1] = columns_of(from);
    }
    return gguf_stream(to, meta, entries, j->n, fill, j, err);
}

finch_status convert_to_gguf(const char *from, const char *to, const convert_options *options, convert_report *report,
                             finch_error *err)
{
    job j = {0};
    text_tokenizer *t = NULL;
    gguf_meta meta = {0};
    str chat = {0};
    finch_status st;
    *report = (convert_report){0};
    FINCH_GO(done, st, file_check_output(to, err));
    FINCH_GO(done, st, open_job(&j, from, false, options, err));
    if (j.g->score.rows > 0)
        FINCH_GO(done, st,
                 finch_fail(err, FINCH_E_UNSUPPORTED,
                            "%s has a classification head, which GGUF has no place for; it stays a folder", from));
    FINCH_GO(done, st, text_tokenizer_open(from, &t, err));
    FINCH_GO(done, st, check_tokenizer(&j, t, err));
    FINCH_GO(done, st, read_template(from, &chat, err));
    FINCH_GO(done, st,
             convert_fill_meta(&j.g->config, t, from, options->type, (finch_text){chat.at, chat.size}, &meta, err));
    FINCH_GO(done, st, write_gguf(&j, &meta, to, err));
    fill_report(&j, 1, report);
done:
    str_free(&chat);
    gguf_meta_free(&meta);
    text_tokenizer_close(t);
    close_job(&j);
    return st;
}
