/* int8 rows against their definition, matrices in both forms, and whole folders. */
#include "harness.h"

#include "base/file.h"
#include "base/rng.h"
#include "tensor/compressed.h"

#include <dirent.h>
#include <float.h>

#define MODEL FIXTURES "/models/tiny-bert"

/* The definition, one item at a time, in double precision; lrint rounds half to even. */
static int8_t wanted_item(float item, float scale) { return (int8_t)lrint((double)(item / scale)); }

TEST(rows_follow_the_definition)
{
    enum { ROWS = 64, COLUMNS = 97 };
    static float w[ROWS * COLUMNS], scale[ROWS];
    static int8_t q[ROWS * COLUMNS];
    rng r = {.seed = 11};
    finch_error err;
    for (size_t i = 0; i < ROWS * COLUMNS; i++) w[i] = (float)(rng_normal(&r) * pow(10, (double)(i / COLUMNS) - 40));
    CHECK_OK(compressed_quantize_rows(w, ROWS, COLUMNS, q, scale, &err), &err);
    for (size_t row = 0; row < ROWS; row++) {
        float largest = 0;
        for (size_t i = 0; i < COLUMNS; i++) largest = fmaxf(largest, fabsf(w[row * COLUMNS + i]));
        if (largest / 127.0f < FLT_MIN) continue; /* rows too small for f32 have a test of their own */
        CHECK(scale[row] == largest / 127.0f);
        for (size_t i = 0; i < COLUMNS; i++) {
            float item = w[row * COLUMNS + i];
            CHECK_EQUAL(wanted_item(item, scale[row]), q[row * COLUMNS + i]);
            CHECK(fabs((double)item - (double)q[row * COLUMNS + i] * (double)scale[row]) <= (double)scale[row] * 0.5001);
        }
    }
}

TEST(ties_go_to_the_even_number)
{
    const float w[] = {127, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, 126.5f, -127};
    const int8_t wanted[] = {127, 0, 2, 2, 0, -2, -2, 126, -127};
    int8_t q[9];
    float scale;
    finch_error err;
    CHECK_OK(compressed_quantize_rows(w, 1, 9, q, &scale, &err), &err);
    CHECK(scale == 1.0f && memcmp(q, wanted, sizeof q) == 0);
}

TEST(rows_at_the_ends_of_f32)
{
    const float w[] = {0, -0.0f, 0, 3e38f, -3e38f, 1, 1e-45f, -1e-45f, 0, 3e-43f, -1e-43f, 1e-45f};
    int8_t q[12];
    float scale[4];
    finch_error err;
    CHECK_OK(compressed_quantize_rows(w, 4, 3, q, scale, &err), &err);
    CHECK(scale[0] == 1.0f && q[0] == 0 && q[1] == 0 && q[2] == 0);
    CHECK(q[3] == 127 && q[4] == -127 && q[5] == 0 && (float)q[3] * scale[1] <= FLT_MAX);
    CHECK(scale[2] > 0 && q[6] == 0 && q[7] == 0); /* largest / 127 is below the smallest number */
    CHECK(scale[3] > 0 && q[9] > 0 && q[9] <= 127 && q[10] < 0 && q[10] >= -127);
}

TEST(what_is_not_finite_is_refused_with_its_row)
{
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < 3; i++) {
        const float w[] = {1, 2, 3, bad[i]};
        int8_t q[4];
        float scale[2];
        finch_error err;
        CHECK_STATUS(FINCH_E_DATA, compressed_quantize_rows(w, 2, 2, q, scale, &err), &err);
        CHECK_EQUAL(2, err.row);
    }
}

TEST(linear_layers_and_embeddings_are_told_from_what_is_kept)
{
    static const struct {
        const char *name;
        compressed_role role;
    } rows[] = {
        {"bert.encoder.layer.0.attention.self.query.weight", COMPRESSED_LINEAR},
        {"encoder.layer.5.output.dense.weight", COMPRESSED_LINEAR},
        {"mpnet.encoder.layer.0.attention.attn.q.weight", COMPRESSED_LINEAR},
        {"bert.embeddings.word_embeddings.weight", COMPRESSED_EMBEDDING},
        {"model.embed_tokens.weight", COMPRESSED_EMBEDDING},
        {"bert.embeddings.position_embeddings.weight", COMPRESSED_KEPT},
        {"embeddings.token_type_embeddings.weight", COMPRESSED_KEPT},
        {"mpnet.encoder.relative_attention_bias.weight", COMPRESSED_KEPT},
        {"bert.pooler.dense.weight", COMPRESSED_KEPT},
        {"pooler.dense.weight", COMPRESSED_KEPT},
        {"classifier.weight", COMPRESSED_KEPT},
        {"classifier.out_proj.weight", COMPRESSED_KEPT},
        {"cls.predictions.transform.dense.weight", COMPRESSED_KEPT},
        {"bert.encoder.layer.0.output.dense.bias", COMPRESSED_KEPT},
        {"weight", COMPRESSED_KEPT},
        {".weight", COMPRESSED_KEPT},
        {"encoder.classifiers.weight", COMPRESSED_LINEAR}, /* a part is whole or not the part */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        tensor t = {.name = rows[i].name, .dtype = TENSOR_F32, .n_dims = 2, .dims = {2, 2}, .n_items = 4};
        if (compressed_role_of(&t) != rows[i].role) fail_msg("%s", rows[i].name);
        t.n_dims = 1; /* a LayerNorm's weight */
        CHECK_EQUAL(COMPRESSED_KEPT, compressed_role_of(&t));
        t.n_dims = 2;
        t.dtype = TENSOR_I8;
        CHECK_EQUAL(COMPRESSED_KEPT, compressed_role_of(&t));
    }
}

/* ---- configuration ---- */

TEST(the_configuration_finch_writes_is_one_it_reads)
{
    finch_error err;
    bool quantized = true;
    json_t *config = json_object();
    CHECK_OK(compressed_config_check(config, "config.json", &quantized, &err), &err);
    CHECK(!quantized);
    json_object_set_new(config, "quantization_config", compressed_config_json());
    CHECK_OK(compressed_config_check(config, "config.json", &quantized, &err), &err);
    CHECK(quantized);
    json_decref(config);
}

/* The configuration with one value at a dotted path replaced. */
static json_t *changed_config(const char *path, const char *value)
{
    char part[64];
    json_t *config = json_pack("{s:o}", "quantization_config", compressed_config_json());
    json_t *at = json_object_get(config, "quantization_config");
    for (const char *dot; (dot = strchr(path, '.')) != NULL; path = dot + 1) {
        snprintf(part, sizeof part, "%.*s", (int)(dot - path), path);
        at = json_object_get(at, part);
    }
    CHECK(json_object_set_new(at, path, json_loads(value, JSON_DECODE_ANY, NULL)) == 0);
    return config;
}

TEST(another_quantisation_is_refused_by_its_field)
{
    static const struct {
        const char *path, *value, *says;
    } rows[] = {
        {"quant_method", "\"gptq\"", "quant_method"},
        {"format", "\"pack-quantized\"", "format"},
        {"config_groups", "{}", "config_groups"},
        {"config_groups", "null", "config_groups"},
        {"config_groups.group_0", "7", "num_bits"},
        {"config_groups.group_0.weights", "null", "num_bits"},
        {"config_groups.group_0.weights.num_bits", "4", "num_bits"},
        {"config_groups.group_0.weights.type", "\"float\"", "type"},
        {"config_groups.group_0.weights.strategy", "\"group\"", "strategy"},
        {"config_groups.group_0.weights.group_size", "128", "group_size"},
        {"config_groups.group_0.weights.symmetric", "false", "symmetric"},
        {"config_groups.group_0.weights.dynamic", "true", "dynamic"},
        {"config_groups.group_0.input_activations.dynamic", "false", "dynamic"},
        {"config_groups.group_0.input_activations.strategy", "\"tensor\"", "strategy"},
        {"config_groups.group_1.output_activations", "{}", "output_activations"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        finch_error err = {0};
        bool quantized = true;
        json_t *config = changed_config(rows[i].path, rows[i].value);
        CHECK_STATUS(FINCH_E_UNSUPPORTED, compressed_config_check(config, "config.json", &quantized, &err), &err);
        if (quantized || strstr(err.message, rows[i].says) == NULL) fail_msg("%s: %s", rows[i].path, err.message);
        json_decref(config);
    }
}

/* ---- matrices of a checkpoint ---- */

static void write_matrix(const char *path, tensor_dtype scale_dtype, size_t scale_rows, const void *scales)
{
    static const int8_t items[6] = {127, -127, 0, 1, 2, 3};
    const safetensors_entry entries[2] = {
        {.name = "x.weight", .dtype = TENSOR_I8, .n_dims = 2, .dims = {2, 3}, .data = items},
        {.name = "x.weight_scale", .dtype = scale_dtype, .n_dims = 2, .dims = {scale_rows, 1}, .data = scales}};
    finch_error err;
    CHECK_OK(safetensors_write(path, entries, scales == NULL ? 1 : 2, &err), &err);
}

static finch_status require_x(const char *path, size_t rows, size_t columns, weights **w, compressed_matrix *m,
                              finch_error *err)
{
    FINCH_TRY(weights_open(path, w, err));
    return compressed_require(*w, "x.weight", rows, columns, m, err);
}

TEST(an_int8_matrix_needs_its_scale)
{
    static const float scales[2] = {0.5f, 2}, wrong[2] = {0.5f, -2};
    static const uint16_t brain[2] = {0x3f00, 0x4000};
    static const float wanted[6] = {63.5f, -63.5f, 0, 2, 4, 6};
    finch_error err;
    weights *w;
    compressed_matrix m;
    float out[6];
    str path = {0};
    CHECK_OK(file_join(harness_folder(), "x.safetensors", &path, &err), &err);
    for (int form = 0; form < 2; form++) {
        write_matrix(path.at, form == 0 ? TENSOR_F32 : TENSOR_BF16, 2,
                     form == 0 ? (const void *)scales : (const void *)brain);
        CHECK_OK(require_x(path.at, 2, 3, &w, &m, &err), &err);
        CHECK_OK(compressed_to_f32(&m, out, &err), &err);
        CHECK(memcmp(out, wanted, sizeof wanted) == 0);
        CHECK_OK(compressed_rows_to_f32(&m, 1, 1, out, &err), &err);
        CHECK(out[0] == 2 && out[2] == 6);
        CHECK_OK(compressed_scales(&m, out, &err), &err);
        CHECK(out[0] == 0.5f && out[1] == 2);
        CHECK_STATUS(FINCH_E_USAGE, compressed_rows_to_f32(&m, 1, 2, out, &err), &err);
        CHECK_STATUS(FINCH_E_USAGE, compressed_rows_to_f32(&m, SIZE_MAX, 2, out, &err), &err);
        CHECK_STATUS(FINCH_E_DATA, compressed_require(w, "x.weight", 3, 2, &m, &err), &err);
        CHECK(m.weight == NULL && strstr(err.message, "[2, 3]") != NULL);
        CHECK_STATUS(FINCH_E_DATA, compressed_require(w, "y.weight", 3, 2, &m, &err), &err);
        weights_close(w);
    }
    write_matrix(path.at, TENSOR_F32, 2, wrong);
    CHECK_OK(require_x(path.at, 2, 3, &w, &m, &err), &err);
    CHECK_STATUS(FINCH_E_DATA, compressed_to_f32(&m, out, &err), &err);
    CHECK_STATUS(FINCH_E_DATA, compressed_scales(&m, out, &err), &err);
    weights_close(w);
    write_matrix(path.at, TENSOR_F32, 1, scales);
    CHECK_STATUS(FINCH_E_DATA, require_x(path.at, 2, 3, &w, &m, &err), &err);
    CHECK(strstr(err.message, "x.weight_scale") != NULL);
    weights_close(w);
    write_matrix(path.at, TENSOR_F32, 2, NULL);
    CHECK_STATUS(FINCH_E_DATA, require_x(path.at, 2, 3, &w, &m, &err), &err);
    weights_close(w);
    str_free(&path);
}

/* ---- folders ---- */

static const char *inside(str *path, const char *name)
{
    finch_error err;
    CHECK_OK(file_join(harness_folder(), name, path, &err), &err);
    return path->at;
}

static size_t entries_of(const char *folder)
{
    size_t n = 0;
    DIR *dir = opendir(folder);
    CHECK(dir != NULL);
    while (readdir(dir) != NULL) n++;
    closedir(dir);
    return n - 2; /* . and .. */
}

static void check_same_items(const tensor *a, const tensor *b)
{
    CHECK(a != NULL && b != NULL && a->dtype == b->dtype && a->size_bytes == b->size_bytes);
    CHECK(memcmp(a->data, b->data, a->size_bytes) == 0);
}

static void check_matrix(const weights *before, const weights *after, const tensor *t, double largest_error)
{
    size_t n = t->n_items;
    float *a, *b;
    compressed_matrix old, new;
    finch_error err;
    CHECK_OK(mem_alloc(n, sizeof *a, (void **)&a, &err), &err);
    CHECK_OK(mem_alloc(n, sizeof *b, (void **)&b, &err), &err);
    CHECK_OK(compressed_require(before, t->name, t->dims[0], t->dims[1], &old, &err), &err);
    CHECK_OK(compressed_require(after, t->name, t->dims[0], t->dims[1], &new, &err), &err);
    CHECK(old.scale == NULL && new.scale != NULL &&new.weight->dtype == TENSOR_I8);
    CHECK_OK(compressed_to_f32(&old, a, &err), &err);
    CHECK_OK(compressed_to_f32(&new, b, &err), &err);
    for (size_t r = 0; r < t->dims[0]; r++) {
        float largest = 0;
        for (size_t i = 0; i < t->dims[1]; i++) largest = fmaxf(largest, fabsf(a[r * t->dims[1] + i]));
        for (size_t i = 0; i < t->dims[1]; i++)
            CHECK(fabs((double)a[r * t->dims[1] + i] - (double)b[r * t->dims[1] + i]) <=
                  (double)largest * (largest_error + 1e-6));
    }
    mem_free(a);
    mem_free(b);
}

TEST(a_folder_becomes_int8_and_keeps_all_else)
{
    weights *before, *after;
    compressed_report report;
    finch_error err;
    str path = {0};
    size_t n_quantized = 0;
    CHECK_OK(compressed_quantize_folder(MODEL, inside(&path, "int8/"), COMPRESSED_SHARD_BYTES, NULL, &report, &err), &err);
    CHECK_OK(weights_open(MODEL, &before, &err), &err);
    CHECK_OK(weights_open(inside(&path, "int8"), &after, &err), &err);
    for (size_t i = 0; i < weights_count(before); i++) {
        const tensor *t = weights_at(before, i);
        if (compressed_role_of(t) == COMPRESSED_KEPT) {
            check_same_items(t, weights_find(after, t->name));
            continue;
        }
        n_quantized++;
        check_matrix(before, after, t, report.largest_error);
    }
    CHECK(n_quantized > 5 && n_quantized == report.n_quantized && report.n_tensors == weights_count(before));
    CHECK_EQUAL(weights_count(before) + n_quantized, weights_count(after));
    CHECK(report.largest_error > 0 && report.largest_error < 1.0 / 254 + 1e-6);
    uint64_t size_bytes = 0;
    for (size_t i = 0; i < weights_count(after); i++) size_bytes += weights_at(after, i)->size_bytes;
    CHECK(size_bytes == report.bytes_after && size_bytes < report.bytes_before);
    CHECK(file_exists(inside(&path, "int8/vocab.txt")) && file_exists(inside(&path, "int8/tokenizer.json")));
    CHECK_EQUAL(entries_of(MODEL), entries_of(inside(&path, "int8")));
    CHECK_EQUAL(1, entries_of(harness_folder()));
    weights_close(before);
    weights_close(after);
    str_free(&path);
}

/* Each file of the folder has at most that many bytes of items, or a single tensor. */
static void check_shard_sizes(const char *folder, size_t n_files, size_t most)
{
    finch_error err;
    for (size_t file = 1; file <= n_files; file++) {
        weights *w;
        str path = {0};
        size_t size = 0;
        CHECK_OK(str_add_format(&path, &err, "%s/model-%05zu-of-%05zu.safetensors", folder, file, n_files), &err);
        CHECK_OK(weights_open(path.at, &w, &err), &err);
        for (size_t i = 0; i < weights_count(w); i++) size += weights_at(w, i)->size_bytes;
        CHECK(weights_count(w) == 1 || size <= most);
        weights_close(w);
        str_free(&path);
    }
}

/* Longer than the panel that rows pass through. */
TEST(a_large_matrix_is_quantised_row_by_row)
{
    enum { ROWS = 2100, COLUMNS = 1024 };
    static const char config[] = "{\"model_type\": \"bert\"}";
    finch_error err;
    float *items, scale;
    int8_t q[COLUMNS];
    weights *w;
    compressed_report report;
    compressed_matrix m;
    str path = {0}, to = {0};
    CHECK_OK(mem_alloc((size_t)ROWS * COLUMNS, sizeof *items, (void **)&items, &err), &err);
    for (size_t i = 0; i < (size_t)ROWS * COLUMNS; i++) items[i] = (float)((i * 2654435761u) % 10007) - 5003.0f;
    const safetensors_entry entry = {"a.weight", TENSOR_F32, 2, {ROWS, COLUMNS}, items};
    CHECK_OK(file_make_directories(inside(&path, "from"), &err), &err);
    CHECK_OK(safetensors_write(inside(&path, "from/model.safetensors"), &entry, 1, &err), &err);
    CHECK_OK(file_write(inside(&path, "from/config.json"), config, sizeof config - 1, &err), &err);
    CHECK_OK(
        compressed_quantize_folder(inside(&path, "from"), inside(&to, "to"), COMPRESSED_SHARD_BYTES, NULL, &report, &err),
        &err);
    CHECK(report.working_bytes < 10u << 20);
    CHECK_OK(weights_open(to.at, &w, &err), &err);
    CHECK_OK(compressed_require(w, "a.weight", ROWS, COLUMNS, &m, &err), &err);
    for (size_t r = 0; r < ROWS; r++) {
        CHECK_OK(compressed_quantize_rows(items + r * COLUMNS, 1, COLUMNS, q, &scale, &err), &err);
        CHECK(memcmp(q, (const int8_t *)m.weight->data + r * COLUMNS, COLUMNS) == 0);
        CHECK(memcmp(&scale, (const char *)m.scale->data + r * sizeof scale, sizeof scale) == 0);
    }
    weights_close(w);
    mem_free(items);
    str_free(&path);
    str_free(&to);
}

/* Matrices of any size pass through the same few megabytes, and shards hold what one file would. */
TEST(memory_does_not_grow_with_the_model_and_shards_hold_the_same)
{
    weights *whole, *parts;
    compressed_report one, many;
    finch_error err;
    str path = {0}, other = {0};
    CHECK_OK(compressed_quantize_folder(MODEL, inside(&path, "one"), COMPRESSED_SHARD_BYTES, NULL, &one, &err), &err);
    CHECK_OK(compressed_quantize_folder(MODEL, inside(&other, "many"), 5000, NULL, &many, &err), &err);
    CHECK(one.n_files == 1 && many.n_files > 3 && one.working_bytes == many.working_bytes);
    CHECK(one.working_bytes < 10u << 20);
    CHECK(file_exists(inside(&other, "many/model.safetensors.index.json")));
    CHECK_OK(weights_open(inside(&path, "one"), &whole, &err), &err);
    CHECK_OK(weights_open(inside(&other, "many"), &parts, &err), &err);
    CHECK_EQUAL(weights_count(whole), weights_count(parts));
    check_shard_sizes(other.at, many.n_files, 5000);
    for (size_t i = 0; i < weights_count(whole); i++)
        check_same_items(weights_at(whole, i), weights_find(parts, weights_at(whole, i)->name));
    weights_close(whole);
    weights_close(parts);
    str_free(&path);
    str_free(&other);
}

TEST(what_can_not_be_quantised_is_told)
{
    compressed_report report;
    finch_error err;
    str path = {0}, other = {0};
    CHECK_OK(compressed_quantize_folder(MODEL, inside(&path, "int8"), COMPRESSED_SHARD_BYTES, NULL, &report, &err), &err);
    CHECK_STATUS(FINCH_E_USAGE,
                 compressed_quantize_folder(path.at, inside(&other, "again"), COMPRESSED_SHARD_BYTES, NULL, &report, &err),
                 &err);
    CHECK(strstr(err.message, "int8 already") != NULL);
    CHECK_STATUS(FINCH_E_USAGE, compressed_quantize_folder(MODEL, path.at, COMPRESSED_SHARD_BYTES, NULL, &report, &err),
                 &err);
    CHECK(strstr(err.message, "exists already") != NULL);
    CHECK_STATUS(FINCH_E_NOT_FOUND,
                 compressed_quantize_folder("no/such", other.at, COMPRESSED_SHARD_BYTES, NULL, &report, &err), &err);
    CHECK_STATUS(FINCH_E_NOT_FOUND,
                 compressed_quantize_folder(harness_folder(), other.at, COMPRESSED_SHARD_BYTES, NULL, &report, &err), &err);
    CHECK_STATUS(FINCH_E_USAGE, compressed_quantize_folder(MODEL, "", COMPRESSED_SHARD_BYTES, NULL, &report, &err), &err);
    CHECK(!file_exists(other.at) && report.n_tensors == 0);
    CHECK_OK(compressed_quantize_folder(MODEL, inside(&other, "unreported"), COMPRESSED_SHARD_BYTES, NULL, NULL, &err),
             &err);
    str_free(&path);
    str_free(&other);
}

static bool stop_at(void *context, uint64_t done, uint64_t total, const char *note)
{
    uint64_t *calls_left = context;
    CHECK(done <= total && note != NULL);
    return (*calls_left)-- > 0;
}

TEST(an_interrupted_call_leaves_no_folder)
{
    for (uint64_t calls = 0; calls < 40; calls += 13) {
        uint64_t left = calls;
        const progress p = {stop_at, &left};
        compressed_report report;
        finch_error err;
        str path = {0};
        CHECK_STATUS(FINCH_E_CANCELLED,
                     compressed_quantize_folder(MODEL, inside(&path, "int8"), COMPRESSED_SHARD_BYTES, &p, &report, &err),
                     &err);
        CHECK_EQUAL(0, entries_of(harness_folder()));
        str_free(&path);
    }
}

TEST(a_failing_disk_or_memory_leaves_no_half_folder)
{
    static const fault_kind kinds[] = {FAULT_ALLOC, FAULT_OPEN, FAULT_READ, FAULT_WRITE, FAULT_FSYNC, FAULT_RENAME};
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        bool struck = true;
        int nth = 1;
        for (; struck; nth++) {
            compressed_report report;
            finch_error err;
            str path = {0};
            inside(&path, "int8");
            fault_arm(kinds[k], nth);
            finch_status st = compressed_quantize_folder(MODEL, path.at, COMPRESSED_SHARD_BYTES, NULL, &report, &err);
            struck = fault_disarm();
            CHECK_EQUAL(struck ? (kinds[k] == FAULT_ALLOC ? FINCH_E_MEMORY : FINCH_E_IO) : FINCH_OK, st);
            CHECK(entries_of(harness_folder()) <= 1 && (!struck || nth > 1 || !file_exists(path.at)));
            if (file_exists(path.at))
                CHECK_EQUAL(entries_of(MODEL), entries_of(path.at)); /* a whole one: only flushing its parent failed */
            CHECK_OK(file_remove_tree(path.at, &err), &err);
            str_free(&path);
        }
        CHECK(nth > 2);
    }
}
