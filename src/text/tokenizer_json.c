/* tokenizer.json of Hugging Face tokenizers, as far as BERT and MPNet use it (Gemma's: bpe_json.c). Every part that would
 * change ids and is not understood is refused by name; truncation, padding and decoder change no ids here and are not read. */
#include "base/json.h"
#include "text/config.h"

#include <string.h>

static const char kinds_read[] =
    "finch reads BertNormalizer, BertPreTokenizer and WordPiece (BERT, FinBERT, MiniLM, MPNet), "
    "and Gemma's BPE";

static finch_text text_of(const json_t *value) { return (finch_text){json_string_value(value), json_string_length(value)}; }

/* The object at key and its "type". */
static finch_status read_part(const json_t *root, const char *name, const char *key, const json_t **part, const char **type,
                              finch_error *err)
{
    *part = json_object_get(root, key);
    if (*part == NULL || json_is_null(*part))
        return finch_fail(err, FINCH_E_UNSUPPORTED, "%s: there is no %s; %s", name, key, kinds_read);
    if (!json_is_object(*part)) return finch_fail(err, FINCH_E_DATA, "%s: \"%s\" must be an object", name, key);
    return json_get_text(*part, name, "type", type, err);
}

static finch_status refuse(const char *name, const char *key, const char *type, finch_error *err)
{
    return finch_fail(err, FINCH_E_UNSUPPORTED, "%s: the %s is of the type %.60s; %s", name, key, type, kinds_read);
}

static finch_status read_normalizer(text_plan *plan, const json_t *root, finch_error *err)
{
    const json_t *part;
    const char *type;
    text_rules *rules = &plan->rules;
    FINCH_TRY(read_part(root, plan->name, "normalizer", &part, &type, err));
    if (strcmp(type, "BertNormalizer") != 0) return refuse(plan->name, "normalizer", type, err);
    FINCH_TRY(json_get_bool(part, plan->name, "clean_text", &rules->clean_text, err));
    FINCH_TRY(json_get_bool(part, plan->name, "handle_chinese_chars", &rules->chinese_chars, err));
    FINCH_TRY(json_get_bool(part, plan->name, "lowercase", &rules->lower_case, err));
    rules->strip_accents = rules->lower_case;
    if (!json_has(part, "strip_accents")) return FINCH_OK;
    return json_get_bool(part, plan->name, "strip_accents", &rules->strip_accents, err);
}

static finch_status read_pre_tokenizer(const text_plan *plan, const json_t *root, finch_error *err)
{
    const json_t *part;
    const char *type;
    FINCH_TRY(read_part(root, plan->name, "pre_tokenizer", &part, &type, err));
    return strcmp(type, "BertPreTokenizer") == 0 ? FINCH_OK : refuse(plan->name, "pre_tokenizer", type, err);
}

/* ---- what surrounds a text ------------------------------------------------------------------------------------- */

finch_status text_plan_read_json_pair(const text_plan *plan, const json_t *piece, const json_t *id, const char *what,
                                      finch_text *out, finch_error *err)
{
    if (!json_is_string(piece) || !json_is_integer(id))
        return finch_fail(err, FINCH_E_DATA, "%s: the post_processor's %s must be a token's name and id", plan->name, what);
    *out = text_of(piece);
    json_int_t number = json_integer_value(id);
    if (number < 0 || (uint64_t)number >= plan->n_pieces || !text_equal(plan->pieces[number], *out))
        return finch_fail(
            err, FINCH_E_DATA,
            "%s: the post_processor's %s is \"%.40s\" with the id %lld, but the vocabulary has another piece there",
            plan->name, what, out->at, (long long)number);
    return FINCH_OK;
}

static finch_status read_fixed(text_plan *plan, const json_t *part, finch_error *err)
{
    const json_t *cls = json_object_get(part, "cls"), *sep = json_object_get(part, "sep");
    FINCH_TRY(text_plan_read_json_pair(plan, json_array_get(cls, 0), json_array_get(cls, 1), "cls", &plan->cls, err));
    return text_plan_read_json_pair(plan, json_array_get(sep, 0), json_array_get(sep, 1), "sep", &plan->sep, err);
}

static finch_status read_template_token(const text_plan *plan, const json_t *part, size_t place, const char *what,
                                        finch_text *out, finch_error *err)
{
    const json_t *item = json_array_get(json_object_get(part, "single"), place);
    const json_t *piece = json_object_get(json_object_get(item, "SpecialToken"), "id");
    const json_t *ids = NULL;
    if (json_is_string(piece))
        ids = json_object_get(json_object_get(json_object_get(part, "special_tokens"), json_string_value(piece)), "ids");
    if (json_array_size(ids) != 1)
        return finch_fail(
            err, FINCH_E_UNSUPPORTED,
            "%s: the post_processor's template for one text must be a special token, the text, a special token", plan->name);
    return text_plan_read_json_pair(plan, piece, json_array_get(ids, 0), what, out, err);
}

static finch_status read_template(text_plan *plan, const json_t *part, finch_error *err)
{
    const json_t *single = json_object_get(part, "single");
    const json_t *sequence = json_object_get(json_array_get(single, 1), "Sequence");
    const char *id = json_string_value(json_object_get(sequence, "id"));
    if (json_array_size(single) != 3 || id == NULL || strcmp(id, "A") != 0)
        return finch_fail(
            err, FINCH_E_UNSUPPORTED,
            "%s: the post_processor's template for one text must be a special token, the text, a special token", plan->name);
    FINCH_TRY(read_template_token(plan, part, 0, "first token", &plan->cls, err));
    return read_template_token(plan, part, 2, "last token", &plan->sep, err);
}

static finch_status read_post_processor(text_plan *plan, const json_t *root, finch_error *err)
{
    const json_t *part;
    const char *type;
    FINCH_TRY(read_part(root, plan->name, "post_processor", &part, &type, err));
    if (strcmp(type, "BertProcessing") == 0) {
        FINCH_TRY(read_fixed(plan, part, err));
    } else if (strcmp(type, "RobertaProcessing") == 0) {
        FINCH_TRY(read_fixed(plan, part, err));
        FINCH_TRY(json_get_bool(part, plan->name, "trim_offsets", &plan->trim_spans, err));
    } else if (strcmp(type, "TemplateProcessing") == 0) {
        FINCH_TRY(read_template(plan, part, err));
    } else {
        return refuse(plan->name, "post_processor", type, err);
    }
    plan->style = text_equal(plan->cls, (finch_text){"<s>", 3}) ? TEXT_MPNET : TEXT_BERT;
    bool mpnet = plan->style == TEXT_MPNET;
    plan->pad = mpnet ? (finch_text){"<pad>", 5} : (finch_text){"[PAD]", 5};
    plan->mask = mpnet ? (finch_text){"<mask>", 6} : (finch_text){"[MASK]", 6};
    return FINCH_OK;
}

/* ---- model and vocabulary -------------------------------------------------------------------------------------- */

static finch_status read_id(const text_plan *plan, const char *piece, const json_t *value, size_t *id, finch_error *err)
{
    json_int_t number = json_is_integer(value) ? json_integer_value(value) : -1;
    if (number < 0 || number >= TEXT_VOCAB_MAX)
        return finch_fail(err, FINCH_E_DATA, "%s: the piece \"%.40s\" needs an id from 0 to %d", plan->name, piece,
                          TEXT_VOCAB_MAX - 1);
    *id = (size_t)number;
    return FINCH_OK;
}

finch_status text_plan_read_json_vocab(text_plan *plan, json_t *vocab, finch_error *err)
{
    size_t last = 0, id = 0;
    if (!json_is_object(vocab) || json_object_size(vocab) == 0 || json_object_size(vocab) > TEXT_VOCAB_MAX)
        return finch_fail(err, FINCH_E_DATA, "%s: \"model.vocab\" must be an object of 1 to %d pieces", plan->name,
                          TEXT_VOCAB_MAX);
    for (void *at = json_object_iter(vocab); at != NULL; at = json_object_iter_next(vocab, at)) {
        FINCH_TRY(read_id(plan, json_object_iter_key(at), json_object_iter_value(at), &id, err));
        if (id > last) last = id;
    }
    FINCH_TRY(MEM_NEW(&plan->pieces, last + 1, err));
    plan->n_pieces = last + 1;
    for (void *at = json_object_iter(vocab); at != NULL; at = json_object_iter_next(vocab, at)) {
        const char *piece = json_object_iter_key(at);
        FINCH_TRY(read_id(plan, piece, json_object_iter_value(at), &id, err));
        if (plan->pieces[id].at != NULL)
            return finch_fail(err, FINCH_E_DATA,
                              "%s: the pieces \"%.40s\" and \"%.40s\" both have the id %zu; one of them was edited",
                              plan->name, plan->pieces[id].at, piece, id);
        plan->pieces[id] = (finch_text){piece, strlen(piece)}; /* JSON_ALLOW_NUL does not hold for keys */
    }
    return FINCH_OK;
}

static finch_status read_model(text_plan *plan, const json_t *root, finch_error *err)
{
    const json_t *part;
    const char *type;
    FINCH_TRY(read_part(root, plan->name, "model", &part, &type, err));
    if (strcmp(type, "WordPiece") != 0) return refuse(plan->name, "model", type, err);
    const json_t *unk = json_object_get(part, "unk_token"), *prefix = json_object_get(part, "continuing_subword_prefix");
    if (!json_is_string(unk) || !json_is_string(prefix))
        return finch_fail(err, FINCH_E_DATA, "%s: the model needs the texts \"unk_token\" and \"continuing_subword_prefix\"",
                          plan->name);
    plan->unk = text_of(unk);
    plan->prefix = text_of(prefix);
    FINCH_TRY(json_get_size(part, plan->name, "max_input_chars_per_word", &plan->word_chars_max, err));
    if (plan->word_chars_max == 0 || plan->word_chars_max > TEXT_WORD_CHARS_MAX)
        return finch_fail(err, FINCH_E_DATA, "%s: \"max_input_chars_per_word\" must be from 1 to %d", plan->name,
                          TEXT_WORD_CHARS_MAX);
    return text_plan_read_json_vocab(plan, json_object_get(part, "vocab"), err);
}

finch_status text_plan_read_json_added(text_plan *plan, const json_t *root, finch_error *err)
{
    const json_t *list = json_object_get(root, "added_tokens");
    if (list == NULL || json_is_null(list)) return FINCH_OK;
    if (!json_is_array(list)) return finch_fail(err, FINCH_E_DATA, "%s: \"added_tokens\" must be an array", plan->name);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        text_added token;
        size_t id = 0;
        FINCH_TRY(read_id(plan, "(added)", json_object_get(item, "id"), &id, err));
        FINCH_TRY(text_added_read(item, plan->name, (int32_t)id, &token, err));
        FINCH_TRY(text_plan_add(plan, token, err));
    }
    return FINCH_OK;
}

static finch_status wordpiece_from_json(const json_t *root, const char *name, text_tokenizer **out, finch_error *err)
{
    text_plan plan = {.name = name};
    finch_status st;
    FINCH_GO(done, st, read_normalizer(&plan, root, err));
    FINCH_GO(done, st, read_pre_tokenizer(&plan, root, err));
    FINCH_GO(done, st, read_model(&plan, root, err));
    FINCH_GO(done, st, text_plan_read_json_added(&plan, root, err));
    FINCH_GO(done, st, read_post_processor(&plan, root, err));
    st = text_tokenizer_build(&plan, out, err);
done:
    text_plan_free(&plan);
    return st;
}

finch_status text_tokenizer_from_json(const char *json, size_t size, const char *name, text_tokenizer **out,
                                      finch_error *err)
{
    json_t *root = NULL;
    *out = NULL;
    FINCH_TRY(json_parse(json, size, name, &root, err));
    const char *type = json_string_value(json_object_get(json_object_get(root, "model"), "type"));
    bool is_bpe = type != NULL && strcmp(type, "BPE") == 0;
    finch_status st = is_bpe ? bpe_from_json(root, name, out, err) : wordpiece_from_json(root, name, out, err);
    json_decref(root);
    if (st == FINCH_OK && !is_bpe) st = text_tokenizer_keep_file(*out, "tokenizer.json", json, size, err);
    if (st != FINCH_OK) {
        text_tokenizer_close(*out);
        *out = NULL;
    }
    return st;
}
