#include "model/merge.h"

#include "base/file.h"
#include "base/json.h"
#include "model/adapter.h"
#include "tensor/compressed.h"
#include "tensor/new_folder.h"
#include "tensor/safetensors.h"

#include <stdio.h>
#include <string.h>

enum { PANEL_ITEMS = 1 << 18, WHOLE_BYTES = 8 << 20, NAME_BYTES = 256 };

typedef enum part { PART_WHOLE, PART_ROWS, PART_ITEMS, PART_SCALE } part;

/* Where an entry of the new file comes from. */
typedef struct source {
    const tensor *whole;     /* PART_WHOLE: its bytes */
    compressed_matrix matrix; /* else: these rows */
    adapter_pair pair;       /* and this beside them; both NULL: none */
    part what;
} source;

typedef struct job {
    const merge_options *options;
    model_config config;
    weights *base;
    adapter adapter;
    arena memory;
    safetensors_entry *entries;
    source *sources;
    size_t n_entries;
    float *rows, *scales, *a, *b; /* rows of one panel; a pair's halves */
    const tensor *read;           /* the A that a and b are of */
    void *out;
    uint64_t done_bytes, all_bytes;
    merge_report *report;
} job;

/* ---- names ------------------------------------------------------------------------------------------------------ */

static bool starts_with(const char *text, const char *with) { return strncmp(text, with, strlen(with)) == 0; }

static const char *prefix_of(const job *j)
{
    switch (j->config.arch) {
    case MODEL_BERT: return "bert.";
    case MODEL_MPNET: return "mpnet.";
    default: return "model.";
    }
}

/* Whether the tensor belongs to a head that a classifier has not got (of masked words, of the next word). */
static bool is_foreign(const job *j, const char *name)
{
    return starts_with(name, "cls.") || starts_with(name, "lm_head.") ||
           (j->config.arch == MODEL_GEMMA3 && strstr(name, "lm_head") != NULL);
}

/* What transformers' classifier calls the tensor: checkpoints of the bare model have no prefix. */
static finch_status output_name(job *j, const char *name, const char **out, finch_error *err)
{
    static const char *const heads[] = {"classifier.", "score.", "language_model.", "vision_tower.",
                                        "multi_modal_projector."};
    const char *prefix = prefix_of(j);
    bool known = starts_with(name, prefix);
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) known = known || starts_with(name, heads[i]);
    size_t size = strlen(prefix) + strlen(name) + 1;
    char *made;
    FINCH_TRY(ARENA_NEW(&j->memory, &made, size, err));
    snprintf(made, size, "%s%s", known ? "" : prefix, name);
    *out = made;
    return FINCH_OK;
}

/* ---- plan ------------------------------------------------------------------------------------------------------- */

static safetensors_entry *add_entry(job *j, const char *name, tensor_dtype dtype, const tensor *like, const source *from)
{
    safetensors_entry *entry = &j->entries[j->n_entries];
    *entry = (safetensors_entry){.name = name, .dtype = dtype, .n_dims = like->n_dims};
    memcpy(entry->dims, like->dims, sizeof entry->dims);
    j->sources[j->n_entries++] = *from;
    return entry;
}

static finch_status plan_whole(job *j, const char *name, const tensor *t, finch_error *err)
{
    const char *called;
    FINCH_TRY(output_name(j, name, &called, err));
    (void)add_entry(j, called, t->dtype, t, &(source){.whole = t, .what = PART_WHOLE});
    j->all_bytes += t->size_bytes;
    return FINCH_OK;
}

/* The adapter beside the matrix, by its name with or without the architecture's prefix. */
static finch_status find_pair(job *j, const tensor *t, adapter_pair *out, finch_error *err)
{
    char plain[NAME_BYTES], prefixed[NAME_BYTES];
    const char *const modules[2] = {plain, prefixed};
    size_t size = strlen(t->name), end = strlen(".weight");
    *out = (adapter_pair){0};
    if (t->n_dims != 2 || size <= end || size - end >= NAME_BYTES - 8 || strcmp(t->name + size - end, ".weight") != 0)
        return FINCH_OK;
    snprintf(plain, sizeof plain, "%.*s", (int)(size - end), t->name);
    snprintf(prefixed, sizeof prefixed, "%s%.240s", prefix_of(j), plain);
    return adapter_find(&j->adapter, modules, 2, t->dims[0], t->dims[1], out, err);
}

static finch_status plan_matrix(job *j, const tensor *t, const adapter_pair *pair, finch_error *err)
{
    source from = {.pair = *pair, .what = PART_ROWS};
    const char *name, *scale;
    FINCH_TRY(output_name(j, t->name, &name, err));
    FINCH_TRY(compressed_require(j->base, t->name, t->dims[0], t->dims[1], &from.matrix, err));
    bool int8 = t->dtype == TENSOR_I8 && !j->options->as_f32;
    j->report->n_merged += pair->a != NULL;
    j->report->n_int8 += int8 && pair->a != NULL;
    j->all_bytes += t->size_bytes;
    if (!int8) {
        (void)add_entry(j, name, t->dtype == TENSOR_BF16 && !j->options->as_f32 ? TENSOR_BF16 : TENSOR_F32, t, &from);
        return FINCH_OK;
    }
    size_t size = strlen(t->name) + sizeof "_scale";
    char *made;
    FINCH_TRY(ARENA_NEW(&j->memory, &made, size, err));
    snprintf(made, size, "%s_scale", t->name);
    FINCH_TRY(output_name(j, made, &scale, err));
    from.what = PART_ITEMS;
    (void)add_entry(j, name, TENSOR_I8, t, &from);
    from.what = PART_SCALE;
    add_entry(j, scale, TENSOR_F32, t, &from)->dims[1] = 1;
    return FINCH_OK;
}

static bool is_scale(const job *j, const char *name)
{
    char of[NAME_BYTES];
    size_t size = strlen(name), end = strlen("_scale");
    if (size <= end || size - end >= sizeof of || strcmp(name + size - end, "_scale") != 0) return false;
    snprintf(of, sizeof of, "%.*s", (int)(size - end), name);
    const tensor *t = weights_find(j->base, of);
    return t != NULL && t->dtype == TENSOR_I8;
}

/* The name under which the adapter's file may have the tensor trained whole. */
static const tensor *find_replacement(job *j, const char *name)
{
    char prefixed[NAME_BYTES];
    const tensor *found = adapter_whole(&j->adapter, name);
    if (found != NULL || strlen(name) >= NAME_BYTES - 8) return found;
    snprintf(prefixed, sizeof prefixed, "%s%.240s", prefix_of(j), name);
    return adapter_whole(&j->adapter, prefixed);
}

static finch_status plan_tensor(job *j, const tensor *t, finch_error *err)
{
    adapter_pair pair;
    if (is_foreign(j, t->name) || is_scale(j, t->name)) return FINCH_OK;
    const tensor *instead = find_replacement(j, t->name);
    if (instead != NULL) {
        j->report->n_replaced++;
        return plan_whole(j, t->name, instead, err);
    }
    FINCH_TRY(find_pair(j, t, &pair, err));
    return pair.a != NULL || t->dtype == TENSOR_I8 ? plan_matrix(j, t, &pair, err) : plan_whole(j, t->name, t, err);
}

/* Tensors that were trained whole and that the base has not got: the classifier's, mostly. */
static finch_status plan_added(job *j, finch_error *err)
{
    for (size_t i = 0; i < weights_count(j->adapter.file); i++) {
        const tensor *t = weights_at(j->adapter.file, i);
        const char *name = t->name + strlen(ADAPTER_PREFIX);
        bool there = false;
        if (!starts_with(t->name, ADAPTER_PREFIX) || strstr(name, ".lora_") != NULL) continue;
        for (size_t k = 0; k < j->n_entries; k++) there = there || strcmp(j->entries[k].name, name) == 0;
        if (there) continue;
        j->adapter.n_used++;
        j->report->n_replaced++;
        FINCH_TRY(plan_whole(j, name, t, err));
    }
    return FINCH_OK;
}

static finch_status make_buffers(job *j, finch_error *err)
{
    size_t items = PANEL_ITEMS, low = 1, high = 1, rank = j->adapter.rank;
    for (size_t i = 0; i < j->n_entries; i++) {
        const compressed_matrix *m = &j->sources[i].matrix;
        if (j->sources[i].what == PART_WHOLE) continue;
        items = m->columns > items ? m->columns : items;
        low = m->columns > low ? m->columns : low;
        high = m->rows > high ? m->rows : high;
    }
    FINCH_TRY(ARENA_NEW(&j->memory, &j->rows, items, err));
    FINCH_TRY(ARENA_NEW(&j->memory, &j->scales, items > high ? items : high, err));
    FINCH_TRY(ARENA_NEW(&j->memory, &j->a, low * rank, err));
    FINCH_TRY(ARENA_NEW(&j->memory, &j->b, high * rank, err));
    return arena_alloc(&j->memory, items, sizeof(float), &j->out, err);
}

static finch_status plan(job *j, finch_error *err)
{
    size_t most = weights_count(j->base) + weights_count(j->adapter.file);
    FINCH_TRY(ARENA_NEW(&j->memory, &j->entries, most, err));
    FINCH_TRY(ARENA_NEW(&j->memory, &j->sources, most, err));
    for (size_t i = 0; i < weights_count(j->base); i++) FINCH_TRY(plan_tensor(j, weights_at(j->base, i), err));
    FINCH_TRY(plan_added(j, err));
    FINCH_TRY(adapter_all_used(&j->adapter, err));
    j->report->n_tensors = j->n_entries;
    return make_buffers(j, err);
}

/* ---- rows ------------------------------------------------------------------------------------------------------- */

/* rows[r] += scale * sum over k of B[r, k] A[k]. */
static finch_status add_pair(job *j, const source *from, size_t first, size_t n, finch_error *err)
{
    size_t rank = j->adapter.rank, columns = from->matrix.columns;
    if (from->pair.a == NULL) return FINCH_OK;
    if (j->read != from->pair.a) {
        FINCH_TRY(tensor_to_f32(from->pair.a, j->a, err));
        FINCH_TRY(tensor_to_f32(from->pair.b, j->b, err));
        j->read = from->pair.a;
    }
#pragma omp parallel for schedule(static)
    for (size_t row = 0; row < n; row++)
        for (size_t k = 0; k < rank; k++) {
            float factor = (float)((double)j->b[(first + row) * rank + k] * j->adapter.scale);
            for (size_t i = 0; i < columns; i++) j->rows[row * columns + i] += factor * j->a[k * columns + i];
        }
    return FINCH_OK;
}

/* The rows from `first` on that fit the panel, merged. */
static finch_status merge_rows(job *j, const source *from, size_t first, size_t *n, finch_error *err)
{
    const compressed_matrix *m = &from->matrix;
    *n = size_least(m->rows - first, m->columns < PANEL_ITEMS ? PANEL_ITEMS / m->columns : 1);
    FINCH_TRY(compressed_rows_to_f32(m, first, *n, j->rows, err));
    return add_pair(j, from, first, *n, err);
}

/* An int8 row that no adapter changes keeps its items and its scale. */
static finch_status fill_int8(job *j, const source *from, size_t first, const void **data, size_t *size, finch_error *err)
{
    const compressed_matrix *m = &from->matrix;
    bool scale = from->what == PART_SCALE;
    finch_error inner = {0};
    size_t n;
    if (from->pair.a == NULL) {
        n = m->rows - first;
        if (scale) FINCH_TRY(compressed_scales(m, j->scales, err));
        *data = scale ? (const void *)(j->scales + first)
                      : (const void *)((const int8_t *)m->weight->data + first * m->columns);
    } else {
        FINCH_TRY(merge_rows(j, from, first, &n, err));
        if (compressed_quantize_rows(j->rows, n, m->columns, j->out, j->scales, &inner) != FINCH_OK)
            return finch_fail(err, FINCH_E_DATA, "%s: with the adapter, row %zu of %s is not finite; the adapter is damaged",
                              j->adapter.path, first + (size_t)inner.row - 1, m->weight->name);
        *data = scale ? (const void *)j->scales : j->out;
    }
    *size = n * (scale ? sizeof *j->scales : m->columns);
    if (!scale) j->done_bytes += *size;
    return FINCH_OK;
}

static finch_status fill_floats(job *j, size_t index, size_t offset, const void **data, size_t *size, finch_error *err)
{
    const source *from = &j->sources[index];
    size_t item = tensor_dtype_bytes(j->entries[index].dtype), columns = from->matrix.columns, n;
    FINCH_TRY(merge_rows(j, from, offset / (columns * item), &n, err));
    *data = j->rows;
    if (j->entries[index].dtype == TENSOR_BF16) {
        tensor_bf16_from_f32(j->rows, j->out, n * columns);
        *data = j->out;
    }
    *size = n * columns * item;
    j->done_bytes += n * columns * tensor_dtype_bytes(from->matrix.weight->dtype);
    return FINCH_OK;
}

static finch_status fill(void *context, size_t index, size_t offset, const void **data, size_t *size, finch_error *err)
{
    job *j = context;
    const source *from = &j->sources[index];
    if (from->what == PART_WHOLE) {
        *data = (const unsigned char *)from->whole->data + offset;
        *size = size_least(from->whole->size_bytes - offset, WHOLE_BYTES);
        j->done_bytes += *size;
    } else if (from->what == PART_ROWS) {
        FINCH_TRY(fill_floats(j, index, offset, data, size, err));
    } else {
        size_t row = from->what == PART_SCALE ? sizeof *j->scales : from->matrix.columns;
        FINCH_TRY(fill_int8(j, from, offset / row, data, size, err));
    }
    if (progress_report(j->options->listener, j->done_bytes, j->all_bytes, j->entries[index].name)) return FINCH_OK;
    return finch_fail(err, FINCH_E_CANCELLED, "merging was interrupted; nothing was written");
}

/* ---- config.json ------------------------------------------------------------------------------------------------- */

static finch_status read_config(const char *folder, json_t **out, finch_error *err)
{
    str path = {0};
    finch_status st = file_join(folder, "config.json", &path, err);
    if (st == FINCH_OK) st = json_parse_file(path.at, out, err);
    if (st == FINCH_OK && !json_is_object(*out)) st = finch_fail(err, FINCH_E_DATA, "%s is no JSON object", path.at);
    str_free(&path);
    return st;
}

static const char *architecture(const job *j, const json_t *config)
{
    const char *type = json_string_value(json_object_get(config, "model_type"));
    if (j->config.arch == MODEL_BERT) return "BertForSequenceClassification";
    if (j->config.arch == MODEL_MPNET) return "MPNetForSequenceClassification";
    return type != NULL && strcmp(type, "gemma3_text") == 0 ? "Gemma3TextForSequenceClassification"
                                                            : "Gemma3ForSequenceClassification";
}

/* The base's configuration with the adapter's labels. */
static finch_status write_config(const job *j, const char *base, const char *folder, finch_error *err)
{
    static const char *const taken[] = {"id2label", "label2id", "problem_type"};
    json_t *config = NULL, *own = NULL;
    str path = {0};
    finch_status st;
    FINCH_GO(done, st, read_config(base, &config, err));
    FINCH_GO(done, st, read_config(adapter_has(j->options->adapter, "config.json") ? j->options->adapter : base, &own, err));
    int failed = json_object_set_new(config, "architectures", json_pack("[s]", architecture(j, config)));
    for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++)
        if (json_has(own, taken[i])) failed |= json_object_set(config, taken[i], json_object_get(own, taken[i]));
    (void)json_object_del(config, "num_labels"); /* id2label says it */
    if (j->options->as_f32) {
        (void)json_object_del(config, "quantization_config");
        (void)json_object_del(config, "torch_dtype");
        failed |= json_object_set_new(config, "dtype", json_string("float32"));
    }
    if (failed != 0) FINCH_GO(done, st, finch_fail(err, FINCH_E_MEMORY, "out of memory for config.json"));
    FINCH_GO(done, st, file_join(folder, "config.json", &path, err));
    st = json_write_file(path.at, config, err);
done:
    json_decref(config);
    json_decref(own);
    str_free(&path);
    return st;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

/* The base's tokenizer, then what the adapter's folder has of its own: tokenizer, card, fingerprints. */
static finch_status copy_others(const job *j, const char *base, const char *folder, finch_error *err)
{
    static const char *const of_base[] = {"finch.json", "fingerprints.finch", "metrics.jsonl", NULL};
    static const char *const of_adapter[] = {ADAPTER_CONFIG, ADAPTER_PROBES, "README.md", NULL};
    FINCH_TRY(new_folder_copy_others(base, folder, of_base, err));
    return new_folder_copy_others(j->options->adapter, folder, of_adapter, err);
}

static finch_status write_folder(job *j, const char *base, const char *folder, finch_error *err)
{
    const merge_options *o = j->options;
    FINCH_TRY(copy_others(j, base, folder, err));
    FINCH_TRY(write_config(j, base, folder, err));
    FINCH_TRY(safetensors_write_shards(folder, j->entries, j->n_entries, o->shard_bytes, fill, j, &j->report->n_files, err));
    return o->check == NULL ? FINCH_OK : o->check(o->context, folder, err);
}

static finch_status run(job *j, const char *base, finch_error *err)
{
    new_folder folder = {0};
    if (!file_is_directory(base))
        return finch_fail(err, FINCH_E_UNSUPPORTED,
                          "%s: merging needs a folder; make one of a GGUF file with: finch convert", base);
    FINCH_TRY(model_config_read(base, &j->config, err));
    FINCH_TRY(adapter_open(j->options->adapter, &j->adapter, err));
    FINCH_TRY(weights_open(base, &j->base, err));
    FINCH_TRY(plan(j, err));
    FINCH_TRY(new_folder_begin(j->options->output, &folder, err));
    return new_folder_end(&folder, write_folder(j, base, folder.beside.at, err), err);
}

finch_status merge_run(const merge_options *options, merge_report *report, finch_error *err)
{
    job j = {.options = options, .report = report};
    str base = {0};
    *report = (merge_report){0};
    arena_init(&j.memory);
    finch_status st = FINCH_OK;
    if (!adapter_is(options->adapter))
        st = finch_fail(err, FINCH_E_NOT_FOUND, "%s is no folder of adapters: it has no " ADAPTER_CONFIG, options->adapter);
    if (st == FINCH_OK)
        st = options->base != NULL ? str_add_text(&base, options->base, err) : adapter_base(options->adapter, &base, err);
    if (st == FINCH_OK) st = run(&j, base.at, err);
    weights_close(j.base);
    adapter_close(&j.adapter);
    arena_free(&j.memory);
    str_free(&base);
    return st;
}
