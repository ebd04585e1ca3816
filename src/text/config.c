#include "text/config.h"

#include "base/json.h"

#include <string.h>

void text_plan_free(text_plan *plan)
{
    mem_free(plan->pieces);
    mem_free(plan->added);
    plan->pieces = NULL;
    plan->added = NULL;
}

static finch_text json_text(const json_t *value)
{
    return (finch_text){json_string_value(value), json_string_length(value)};
}

/* ---- added tokens ---------------------------------------------------------------------------------------------- */

static finch_status place_piece(text_plan *plan, text_added *token, finch_error *err)
{
    size_t id = (size_t)token->id;
    if (id < plan->n_pieces && plan->pieces[id].at != NULL) return FINCH_OK; /* text_tokenizer_build compares them */
    if (id >= plan->n_pieces) {
        void *block = plan->pieces;
        FINCH_TRY(mem_grow(&block, plan->n_pieces * sizeof *plan->pieces, id + 1, sizeof *plan->pieces, err));
        plan->pieces = block;
        memset(plan->pieces + plan->n_pieces, 0, (id + 1 - plan->n_pieces) * sizeof *plan->pieces);
        plan->n_pieces = id + 1;
    }
    plan->pieces[id] = token->content;
    token->outside = true;
    return FINCH_OK;
}

finch_status text_plan_add(text_plan *plan, text_added token, finch_error *err)
{
    void *block = plan->added;
    if (plan->n_added == TEXT_ADDED_MAX)
        return finch_fail(err, FINCH_E_DATA, "%s: there may be at most %d added tokens", plan->name, TEXT_ADDED_MAX);
    if (token.id < 0 || token.id >= TEXT_VOCAB_MAX)
        return finch_fail(err, FINCH_E_DATA, "%s: the added token \"%.40s\" has the id %d; ids are from 0 to %d", plan->name,
                          token.content.at, token.id, TEXT_VOCAB_MAX - 1);
    FINCH_TRY(place_piece(plan, &token, err));
    if ((plan->n_added & (plan->n_added - 1)) == 0) { /* full at each power of two */
        size_t capacity = plan->n_added == 0 ? 1 : plan->n_added * 2;
        FINCH_TRY(mem_grow(&block, plan->n_added * sizeof token, capacity, sizeof token, err));
        plan->added = block;
    }
    plan->added[plan->n_added++] = token;
    return FINCH_OK;
}

/* A flag that may be missing, and is false then. */
static finch_status read_flag(const json_t *object, const char *name, const char *key, bool *out, finch_error *err)
{
    *out = false;
    if (!json_has(object, key)) return FINCH_OK;
    return json_get_bool(object, name, key, out, err);
}

finch_status text_added_read(const json_t *object, const char *name, int32_t id, text_added *out, finch_error *err)
{
    const json_t *content = json_object_get(object, "content");
    *out = (text_added){.id = id};
    if (!json_is_string(content) || json_string_length(content) == 0)
        return finch_fail(err, FINCH_E_DATA, "%s: the added token with the id %d needs a \"content\" that is a text", name,
                          id);
    out->content = json_text(content);
    FINCH_TRY(read_flag(object, name, "single_word", &out->single_word, err));
    FINCH_TRY(read_flag(object, name, "lstrip", &out->strip_left, err));
    FINCH_TRY(read_flag(object, name, "rstrip", &out->strip_right, err));
    FINCH_TRY(read_flag(object, name, "special", &out->special, err));
    return read_flag(object, name, "normalized", &out->normalized, err);
}

/* {"103": {"content": "[MASK]", ...}, ...} */
static finch_status read_decoder(text_plan *plan, const json_t *decoder, const char *name, finch_error *err)
{
    for (void *at = json_object_iter((json_t *)(uintptr_t)decoder); at != NULL;
         at = json_object_iter_next((json_t *)(uintptr_t)decoder, at)) {
        const char *key = json_object_iter_key(at);
        text_added token;
        int64_t id = 0;
        for (const char *digit = key; *digit != '\0'; digit++) {
            if (*digit < '0' || *digit > '9' || id >= TEXT_VOCAB_MAX)
                return finch_fail(err, FINCH_E_DATA, "%s: the key \"%.40s\" in \"added_tokens_decoder\" is no token id",
                                  name, key);
            id = id * 10 + (*digit - '0');
        }
        FINCH_TRY(text_added_read(json_object_iter_value(at), name, (int32_t)id, &token, err));
        FINCH_TRY(text_plan_add(plan, token, err));
    }
    return FINCH_OK;
}

/* ---- tokenizer_config.json ------------------------------------------------------------------------------------- */

/* "[CLS]" or {"content": "[CLS]", ...}; usual where the key is missing. */
static finch_status read_special(const json_t *config, const char *name, const char *key, const char *usual, finch_text *out,
                                 finch_error *err)
{
    const json_t *value = json_object_get(config, key);
    if (json_is_object(value)) value = json_object_get(value, "content");
    *out = (finch_text){usual, strlen(usual)};
    if (value == NULL || json_is_null(value)) return FINCH_OK;
    if (!json_is_string(value) || json_string_length(value) == 0)
        return finch_fail(err, FINCH_E_DATA, "%s: \"%s\" must be a text, the token's name", name, key);
    *out = json_text(value);
    return FINCH_OK;
}

static finch_status read_specials(text_plan *plan, const json_t *config, const char *name, finch_error *err)
{
    bool mpnet = plan->style == TEXT_MPNET;
    FINCH_TRY(read_special(config, name, "unk_token", "[UNK]", &plan->unk, err));
    FINCH_TRY(read_special(config, name, "cls_token", mpnet ? "<s>" : "[CLS]", &plan->cls, err));
    FINCH_TRY(read_special(config, name, "sep_token", mpnet ? "</s>" : "[SEP]", &plan->sep, err));
    FINCH_TRY(read_special(config, name, "pad_token", mpnet ? "<pad>" : "[PAD]", &plan->pad, err));
    return read_special(config, name, "mask_token", mpnet ? "<mask>" : "[MASK]", &plan->mask, err);
}

/* The class' name decides where it is one of ours; another kind of tokenizer is refused. */
static finch_status read_class(text_plan *plan, const json_t *config, const char *name, finch_error *err)
{
    const char *class;
    if (!json_has(config, "tokenizer_class")) return FINCH_OK;
    FINCH_TRY(json_get_text(config, name, "tokenizer_class", &class, err));
    if (strcmp(class, "MPNetTokenizer") == 0 || strcmp(class, "MPNetTokenizerFast") == 0) plan->style = TEXT_MPNET;
    else if (strcmp(class, "BertTokenizer") == 0 || strcmp(class, "BertTokenizerFast") == 0) plan->style = TEXT_BERT;
    else if (strcmp(class, "PreTrainedTokenizerFast") != 0 && strcmp(class, "TokenizersBackend") != 0)
        return finch_fail(err, FINCH_E_UNSUPPORTED,
                          "%s: the tokenizer is a %.60s; finch reads BertTokenizer and MPNetTokenizer", name, class);
    return FINCH_OK;
}

static finch_status read_rules(text_rules *rules, const json_t *config, const char *name, finch_error *err)
{
    if (json_has(config, "do_lower_case")) FINCH_TRY(json_get_bool(config, name, "do_lower_case", &rules->lower_case, err));
    if (json_has(config, "tokenize_chinese_chars"))
        FINCH_TRY(json_get_bool(config, name, "tokenize_chinese_chars", &rules->chinese_chars, err));
    rules->strip_accents = rules->lower_case;
    if (json_has(config, "strip_accents")) return json_get_bool(config, name, "strip_accents", &rules->strip_accents, err);
    return FINCH_OK;
}

finch_status text_plan_read_config(text_plan *plan, const json_t *config, const char *name, finch_error *err)
{
    if (config != NULL && !json_is_object(config)) return finch_fail(err, FINCH_E_DATA, "%s must hold a JSON object", name);
    if (config != NULL) {
        FINCH_TRY(read_class(plan, config, name, err));
        FINCH_TRY(read_rules(&plan->rules, config, name, err));
    }
    FINCH_TRY(read_specials(plan, config, name, err));
    const json_t *decoder = json_object_get(config, "added_tokens_decoder");
    if (decoder == NULL) return FINCH_OK;
    if (!json_is_object(decoder))
        return finch_fail(err, FINCH_E_DATA, "%s: \"added_tokens_decoder\" must be an object", name);
    return read_decoder(plan, decoder, name, err);
}
