/* Training against PyTorch, from tests/fixtures/training/training.json (tests/parity/freeze_training.py made it): the first
 * loss, every parameter's gradient, the losses of 50 AdamW steps, the final parameters; BERT and MPNet, both heads. */
#include "base/json.h"
#include "harness.h"
#include "model/trainable.h"
#include "train/adamw.h"

/* Losses are about 2 (classifier) and 8 (masked LM); the promise is 1e-4 over the 50 steps. */
#define CURVE_TOLERANCE 1e-4
/* Of a gradient's norm: f32 sums in another order. */
#define GRADIENT_TOLERANCE 2e-4
/* Of a parameter's norm, after 50 steps. */
#define PARAMETER_TOLERANCE 2e-3

typedef struct batch_data {
    int32_t ids[512];
    uint32_t offsets[16];
    uint32_t mask[16];
    uint32_t positions[512];
    int32_t targets[512];
    size_t n_masked;
    model_batch batch;
} batch_data;

static void read_batch(const json_t *json, batch_data *out)
{
    size_t text, i, n_tokens = 0;
    json_t *tokens, *item;
    memset(out, 0, sizeof *out);
    json_array_foreach(json_object_get(json, "ids"), text, tokens)
    {
        json_array_foreach(tokens, i, item) out->ids[n_tokens++] = (int32_t)json_integer_value(item);
        out->offsets[text + 1] = (uint32_t)n_tokens;
    }
    out->batch = (model_batch){out->ids, out->offsets, text, n_tokens};
    json_array_foreach(json_object_get(json, "labels"), i, item) out->mask[i] = 1u << json_integer_value(item);
    json_array_foreach(json_object_get(json, "positions"), i, item) out->positions[i] = (uint32_t)json_integer_value(item);
    out->n_masked = i;
    json_array_foreach(json_object_get(json, "targets"), i, item) out->targets[i] = (int32_t)json_integer_value(item);
    if (json_object_get(json, "positions") == NULL) out->n_masked = 0;
}

static double step(trainable *t, const batch_data *b, uint64_t number)
{
    finch_error err;
    double loss;
    size_t n = b->n_masked > 0 ? b->n_masked : b->batch.n_texts;
    trainable_targets targets = {.mask = b->mask};
    if (b->n_masked > 0)
        CHECK_OK(trainable_step_mlm(t, &b->batch, b->positions, b->targets, n, 1.0 / (double)n, number, &loss, &err), &err);
    else CHECK_OK(trainable_step(t, &b->batch, &targets, 1.0 / (double)n, number, &loss, &err), &err);
    return loss / (double)n;
}

/* The four figures of freeze_training.py's projections. */
static void check_projections(const json_t *expected, const char *name, const float *x, size_t n, double tolerance)
{
    const json_t *frozen = json_object_get(expected, name);
    double squares = 0.0, norm = json_real_value(json_array_get(frozen, 3));
    if (frozen == NULL) print_error("%s is not in the fixture\n", name);
    CHECK(frozen != NULL);
    for (size_t i = 0; i < n; i++) squares += (double)x[i] * (double)x[i];
    for (size_t k = 0; k < 3; k++) {
        double sum = 0.0, want = json_real_value(json_array_get(frozen, k));
        for (size_t i = 0; i < n; i++) sum += (double)x[i] * sin(0.7 * (double)(k + 1) * (double)i + 0.3);
        if (!(fabs(sum - want) <= tolerance * (norm + 1e-3))) print_error("%s: projection %zu, norm %g\n", name, k, norm);
        CHECK_NEAR(want, sum, tolerance * (norm + 1e-3));
    }
    CHECK_NEAR(norm, sqrt(squares), tolerance * (norm + 1e-3));
}

/* A key's bias changes no score by more than a constant a row: its true gradient is 0. What is left is rounding, and AdamW,
 * which divides by the gradient's size, makes whole steps of it. */
static bool is_key_bias(const char *name)
{
    const char *ends[] = {"self.key.bias", "attn.k.bias"};
    for (size_t i = 0; i < 2; i++)
        if (strlen(name) > strlen(ends[i]) && strcmp(name + strlen(name) - strlen(ends[i]), ends[i]) == 0) return true;
    return false;
}

static void check_parameters(trainable *t, const json_t *expected, bool gradients, double tolerance)
{
    trainable_parameter *p;
    size_t n = trainable_parameters(t, &p);
    CHECK(json_object_size(expected) == n);
    for (size_t i = 0; i < n; i++)
        if (gradients || !is_key_bias(p[i].name))
            check_projections(expected, p[i].name, gradients ? p[i].grad : p[i].value, p[i].rows * p[i].cols, tolerance);
}

static void follow(const char *name, const char *folder, trainable_head head, bool bf16x3)
{
    finch_error err;
    json_t *root;
    trainable *t;
    adamw *optimizer;
    batch_data b;
    trainable_options options = {.head = head, .bf16x3 = bf16x3};
    adamw_options adam = ADAMW_OPTIONS_DEFAULT;
    CHECK_OK(json_parse_file(FIXTURES "/training/training.json", &root, &err), &err);
    const json_t *frozen = json_object_get(json_object_get(root, "cases"), name);
    const json_t *batches = json_object_get(frozen, "batches"), *curve = json_object_get(frozen, "curve");
    CHECK_OK(trainable_open(folder, &options, &t, &err), &err);
    CHECK(!trainable_head_is_new(t));
    CHECK_OK(adamw_create(t, &adam, &optimizer, &err), &err);
    CHECK(json_array_size(curve) == 50);
    for (size_t i = 0; i < json_array_size(curve); i++) {
        read_batch(json_array_get(batches, i % json_array_size(batches)), &b);
        double loss = step(t, &b, i);
        CHECK_NEAR(json_real_value(json_array_get(curve, i)), loss, CURVE_TOLERANCE);
        if (i == 0) check_parameters(t, json_object_get(frozen, "gradients"), true, GRADIENT_TOLERANCE);
        CHECK_OK(adamw_step(optimizer, json_real_value(json_object_get(frozen, "lr")), NULL, &err), &err);
    }
    adamw_settle(optimizer);
    check_parameters(t, json_object_get(frozen, "parameters"), false, PARAMETER_TOLERANCE);
    adamw_destroy(optimizer);
    trainable_close(t);
    json_decref(root);
}

/* In f32, and in what stands for it on CPUs with tiles. */
static void run_case(const char *name, const char *folder, trainable_head head)
{
    follow(name, folder, head, false);
    follow(name, folder, head, true);
}

TEST(bert_classifier_follows_pytorch)
{
    run_case("tiny-bert", FIXTURES "/models/tiny-bert", TRAINABLE_CLASSIFIER);
}
TEST(mpnet_classifier_follows_pytorch)
{
    run_case("tiny-mpnet", FIXTURES "/models/tiny-mpnet", TRAINABLE_CLASSIFIER);
}
TEST(bert_masked_lm_follows_pytorch)
{
    run_case("tiny-bert-mlm", FIXTURES "/training/tiny-bert-mlm", TRAINABLE_MASKED_LM);
}
TEST(mpnet_masked_lm_follows_pytorch)
{
    run_case("tiny-mpnet-mlm", FIXTURES "/training/tiny-mpnet-mlm", TRAINABLE_MASKED_LM);
}
