#include "cli/train_presets.h"

#include "cli/options.h"
#include "train/stopping.h"

#include <string.h>

typedef struct setting {
    const char *option, *value, *why; /* of a flag the value is "yes" */
} setting;

typedef struct known_preset {
    const char *name, *summary, *example;
    const setting *settings; /* ended by {0} */
} known_preset;

#define RULE_SEVERAL "macro_f1 or mcc or accuracy better, log_loss not 5% worse"

static const setting gemma_12b[] = {
    {"lora", "yes",
     "adapters and a classifier learn, the model stays as it is: 12 billion weights need no gradient and no optimiser"},
    {"base", "int8",
     "the frozen weights are int8, one scale an output: 12 GB instead of 24; a base in floats is quantised first, into "
     "OUTPUT.base"},
    {"lora-rank", "8", "width of the adapters: 8 numbers stand between a layer's input and what is added to its output"},
    {"lora-alpha", "16", "what adapters give is multiplied by alpha / rank, here by 2"},
    {"lora-dropout", "0.1", "a tenth of the adapters' inputs is left out in every step, against learning rows by heart"},
    {"lora-targets", "q_proj,v_proj", "queries and values get adapters: what is looked for, and what is handed on"},
    {"batch", "8", "texts of one forward and backward pass: what fits beside the weights"},
    {"learning-rate", "1e-5", "the rate after warm-up"},
    {"warmup", "0.1",
     "the rate rises in a line over the first tenth of the steps, so that a new classifier does not shake the adapters"},
    {"schedule", "linear", "and falls in a line to zero"},
    {"clip", "1", "gradients longer than this norm are shortened to it"},
    {"stop", RULE_SEVERAL,
     "an evaluation is progress where one of three metrics is better than ever and the loss has not run away"},
    {"patience", "3", "after three evaluations without progress training stops; the best weights are kept"},
    {0},
};

static const setting gamma_3[] = {
    {"lora", "yes", "adapters and a classifier learn, the model stays as it is"},
    {"base", "float",
     "the frozen weights are as they were published, not quantised: a small Gemma 3 (270M, 1B, 4B) has the room"},
    {"lora-rank", "16", "twice the width of the 12B recipe: a smaller model has more to learn"},
    {"lora-alpha", "32", "what adapters give is multiplied by alpha / rank, here by 2"},
    {"lora-dropout", "0.05", "a twentieth of the adapters' inputs is left out in every step"},
    {"lora-targets", "q_proj,k_proj,v_proj,o_proj", "all four layers of the attention"},
    {"batch", "8", "texts of one forward and backward pass"},
    {"learning-rate", "2e-4", "adapters of small models learn at higher rates than whole models"},
    {"warmup", "0.1", "share of the steps in which the rate rises"},
    {"schedule", "linear", "and falls in a line to zero"},
    {"clip", "1", "gradients longer than this norm are shortened to it"},
    {"stop", RULE_SEVERAL,
     "early stopping on several metrics: one of three is better than ever and the loss has not run away"},
    {"patience", "3", "evaluations without progress before it stops; the best weights are kept"},
    {0},
};

#define FINBERT_SETTINGS                                                                                                    \
    {"epochs", "6", "times over the training rows, at most: early stopping ends it before"},                                \
        {"batch", "32", "texts of one step, in the range of BERT's authors"},                                               \
        {"learning-rate", "2e-5", "the rate of BERT's and FinBERT's authors"},                                              \
        {"warmup", "0.2", "FinBERT's: the rate rises over a fifth of the steps"},                                           \
        {"schedule", "linear", "and falls in a line to zero"},                                                              \
        {"weight-decay", "0.01", "decoupled decay of weights, none on biases and norms"},                                   \
        {"clip", "1", "gradients longer than this norm are shortened to it"},                                               \
        {"class-weights", "sqrt", "rare classes count more, by the root of how rare they are: strong opinions are rare"},   \
        {"max-tokens", "128", "a tweet has 20 to 40; what is longer is cut"},                                               \
        {"stop", STOPPING_RULE_DEFAULT, "an evaluation is progress where F1 or MCC is better than ever and the loss held"}, \
    {                                                                                                                       \
        "patience", "3", "evaluations without progress before it stops; the best weights are kept"                          \
    }

static const setting finbert[] = {FINBERT_SETTINGS, {0}};

static const setting finbert_dapt[] = {
    {"adapt-domain", "yes",
     "first the masked words of domain texts are learnt (arXiv:2004.10964), then the labels: one command; the "
     "texts are --domain's, or the training tables' own"},
    {"domain-epochs", "2", "times over the domain texts"},
    {"domain-learning-rate", "5e-5", "the rate of that part after warm-up"},
    {"domain-mask", "0.15", "share of the tokens that are to be guessed"},
    FINBERT_SETTINGS,
    {0},
};

static const known_preset presets[] = {
    {"gemma-3-12b-lora-8bit", "8-bit LoRA: adapters beside a Gemma 3 12B in int8",
     "finch train --preset gemma-3-12b-lora-8bit --model "
     "gemma-3-12b --train train.csv --valid valid.csv --output my-adapters",
     gemma_12b},
    {"gamma-3-lora", "LoRA on an unquantised smaller Gemma 3, early stopping on several metrics",
     "finch train --preset gamma-3-lora "
     "--model gemma-3-270m --train train.csv --valid valid.csv --output my-adapters",
     gamma_3},
    {"finbert", "native fine-tuning of a FinBERT or another BERT or MPNet: all weights learn",
     "finch train --preset finbert --model finbert "
     "--train train.csv --valid valid.csv --output my-model",
     finbert},
    {"finbert-dapt", "domain pre-training, then fine-tuning, in one command",
     "finch train --preset finbert-dapt --model finbert --domain "
     "tweets.parquet --domain-column body --train train.csv --valid valid.csv --output my-model",
     finbert_dapt},
};

enum { N_PRESETS = sizeof presets / sizeof presets[0] };

/* ---- choosing ---- */

static const char *name_at(const void *context, size_t index)
{
    (void)context;
    return index < N_PRESETS ? presets[index].name : NULL;
}

static finch_status find(const char *name, const known_preset **out, finch_error *err)
{
    for (size_t i = 0; i < N_PRESETS; i++) {
        *out = &presets[i];
        if (strcmp(presets[i].name, name) == 0) return FINCH_OK;
    }
    const char *near = cli_nearest(name, name_at, NULL);
    return finch_fail(err, FINCH_E_USAGE, "there is no preset \"%.80s\"%s%s; see: finch train --list-presets", name,
                      near != NULL ? "; did you mean " : "", near != NULL ? near : "");
}

static json_t *value_of(const cli_args *args, const setting *s)
{
    const char *text = cli_text(args, s->option);
    return text != NULL ? json_string(text) : json_string(cli_flag(args, s->option) ? "yes" : "no");
}

finch_status train_preset_apply(const cli_args *args, json_t **out, finch_error *err)
{
    const char *name = cli_text(args, "preset");
    const known_preset *found;
    *out = NULL;
    if (name == NULL) return FINCH_OK;
    FINCH_TRY(find(name, &found, err));
    json_t *settings = json_object(), *overridden = json_array();
    finch_status st = FINCH_OK;
    int failed = 0;
    for (const setting *s = found->settings; st == FINCH_OK && s->option != NULL; s++) {
        if (cli_given(args, s->option)) failed |= json_array_append_new(overridden, json_string(s->option));
        else st = cli_preset(args, s->option, s->value, err);
        failed |= json_object_set_new(settings, s->option, value_of(args, s));
    }
    *out = json_pack("{s:s,s:o,s:o}", "name", found->name, "settings", settings, "overridden", overridden);
    if (st == FINCH_OK && (failed != 0 || *out == NULL))
        st = finch_fail(err, FINCH_E_MEMORY, "out of memory for the preset");
    if (st == FINCH_OK) return FINCH_OK;
    json_decref(*out);
    *out = NULL;
    return st;
}

static bool is_overridden(const json_t *preset, const char *option)
{
    size_t index;
    json_t *one;
    json_array_foreach(json_object_get(preset, "overridden"), index, one)
    {
        if (strcmp(json_string_value(one), option) == 0) return true;
    }
    return false;
}

void train_preset_say(const cli_args *args, const json_t *preset)
{
    const char *option;
    json_t *value;
    if (preset == NULL) return;
    cli_say(args, "preset %s:\n", json_string_value(json_object_get(preset, "name")));
    json_object_foreach(json_object_get((json_t *)(uintptr_t)preset, "settings"), option, value)
        cli_say(args, "  --%s %s%s\n", option, json_string_value(value), is_overridden(preset, option) ? "  (yours)" : "");
}

/* ---- listing ---- */

static finch_status add_text(const known_preset *p, str *out, finch_error *err)
{
    FINCH_TRY(str_add_format(out, err, "%s\n    %s\n", p->name, p->summary));
    for (const setting *s = p->settings; s->option != NULL; s++) {
        bool flag = strcmp(s->value, "yes") == 0;
        FINCH_TRY(str_add_format(out, err, "    --%s%s%s\n        %s\n", s->option, flag ? "" : " ", flag ? "" : s->value,
                                 s->why));
    }
    return str_add_format(out, err, "    Example: %s\n\n", p->example);
}

static finch_status print_text(finch_error *err)
{
    str out = {0};
    finch_status st = FINCH_OK;
    for (size_t i = 0; st == FINCH_OK && i < N_PRESETS; i++) st = add_text(&presets[i], &out, err);
    if (st == FINCH_OK) st = str_add_text(&out, "A written option overrides the preset's.\n", err);
    if (st == FINCH_OK) st = cli_print(out.at, out.size, err);
    str_free(&out);
    return st;
}

static json_t *preset_json(const known_preset *p)
{
    json_t *settings = json_array();
    int failed = 0;
    for (const setting *s = p->settings; s->option != NULL; s++)
        failed |= json_array_append_new(settings,
                                        json_pack("{s:s,s:s,s:s}", "option", s->option, "value", s->value, "why", s->why));
    json_t *out = json_pack("{s:s,s:s,s:s,s:o}", "name", p->name, "summary", p->summary, "example", p->example, "settings",
                            settings);
    if (failed == 0) return out;
    json_decref(out);
    return NULL;
}

finch_status train_presets_print(const cli_args *args, finch_error *err)
{
    if (!cli_wants_json(args)) return print_text(err);
    json_t *list = json_array();
    int failed = 0;
    for (size_t i = 0; i < N_PRESETS; i++) failed |= json_array_append_new(list, preset_json(&presets[i]));
    if (failed != 0) {
        json_decref(list);
        list = NULL;
    }
    return cli_print_json(list == NULL ? NULL : json_pack("{s:o}", "presets", list), err);
}
