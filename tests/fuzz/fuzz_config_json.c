/* The input is a model's config.json: parsed, asked for its quantisation, and read as the engine reads it (from a folder,
 * on the memory file system where there is one). What model_config_read accepts must be inside the engine's limits. */
#include "base/json.h"
#include "fuzz_file.h"
#include "model/config.h"
#include "tensor/compressed.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_limits(const model_config *c)
{
    bool sound = c->hidden_size >= 1 && c->hidden_size <= MODEL_HIDDEN_MAX && c->n_heads >= 1 &&
                 c->hidden_size % c->n_heads == 0 && c->n_layers <= MODEL_LAYERS_MAX && c->intermediate_size >= 1 &&
                 c->intermediate_size <= MODEL_INTERMEDIATE_MAX && c->vocab_size >= 1 && c->vocab_size <= MODEL_VOCAB_MAX &&
                 c->n_positions > c->position_offset && c->n_positions <= MODEL_POSITIONS_MAX && c->n_labels >= 1 &&
                 c->n_labels <= MODEL_LABELS_MAX;
    for (size_t i = 0; sound && i < c->n_labels; i++) sound = memchr(c->labels[i], '\0', MODEL_LABEL_BYTES_MAX) != NULL;
    if (!sound) abort();
}

static void read_as_model(const uint8_t *data, size_t size)
{
    model_config config;
    fuzz_write_file("config.json", data, size);
    if (model_config_read(fuzz_folder, &config, NULL) == FINCH_OK) check_limits(&config);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *root;
    bool quantized;
    finch_error err;
    if (json_parse((const char *)data, size, "fuzz", &root, &err) == FINCH_OK) {
        finch_status st = compressed_config_check(root, "fuzz", &quantized, &err);
        if (st != FINCH_OK && st != FINCH_E_UNSUPPORTED) abort();
        json_decref(root);
    }
    read_as_model(data, size);
    return 0;
}
