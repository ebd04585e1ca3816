/* tokenizer.json of a BPE tokenizer, wherever its vocabulary came from: what Hugging Face tokenizers reads back to the
 * same ids. With it goes tokenizer_config.json, unless the tokenizer keeps the one it was opened with. */
#include "base/file.h"
#include "base/json.h"
#include "text/bpe.h"
#include "text/config.h"

#include <string.h>

enum { WRITE_BYTES = 1 << 20 };

/* A JSON file that is written as it grows. */
typedef struct json_out {
    str text;
    file_writer file;
} json_out;

static finch_status flush(json_out *out, size_t least, finch_error *err)
{
    if (out->text.size < least) return FINCH_OK;
    FINCH_TRY(file_writer_write(&out->file, out->text.at, out->text.size, err));
    str_clear(&out->text);
    return FINCH_OK;
}

static finch_status add_string(str *s, finch_text text, finch_error *err)
{
    FINCH_TRY(str_add(s, "\"", 1, err));
    for (size_t i = 0; i < text.size_bytes; i++) {
        unsigned char c = (unsigned char)text.at[i];
        if (c < 0x20) FINCH_TRY(str_add_format(s, err, "\\u%04x", c));
        else if (c == '"' || c == '\\') FINCH_TRY(str_add_format(s, err, "\\%c", c));
        else FINCH_TRY(str_add(s, text.at + i, 1, err));
    }
    return str_add(s, "\"", 1, err);
}

static const char *yes_no(bool flag) { return flag ? "true" : "false"; }

static finch_status add_added(const text_tokenizer *t, json_out *out, finch_error *err)
{
    FINCH_TRY(
        str_add_text(&out->text, "{\n\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\n\"added_tokens\":[", err));
    for (size_t i = 0; i < t->n_added; i++) {
        const text_added *token = &t->added[i];
        FINCH_TRY(str_add_format(&out->text, err, "%s\n{\"id\":%d,\"content\":", i > 0 ? "," : "", token->id));
        FINCH_TRY(add_string(&out->text, token->content, err));
        FINCH_TRY(str_add_format(&out->text, err,
                                 ",\"single_word\":%s,\"lstrip\":%s,\"rstrip\":%s,\"normalized\":%s,\"special\":%s}",
                                 yes_no(token->single_word), yes_no(token->strip_left), yes_no(token->strip_right),
                                 yes_no(token->normalized), yes_no(token->special)));
        FINCH_TRY(flush(out, WRITE_BYTES, err));
    }
    return str_add_text(&out->text, "],\n", err);
}

/* {"SpecialToken":...},{"Sequence":...} of one text. */
static finch_status add_sequence(const text_tokenizer *t, const char *which, int type, str *s, finch_error *err)
{
    FINCH_TRY(str_add_text(s, "{\"SpecialToken\":{\"id\":", err));
    FINCH_TRY(add_string(s, t->pieces[t->special.cls], err));
    FINCH_TRY(str_add_format(s, err, ",\"type_id\":%d}},{\"Sequence\":{\"id\":\"%s\",\"type_id\":%d}}", type, which, type));
    if (!t->adds_sep) return FINCH_OK;
    FINCH_TRY(str_add_text(s, ",{\"SpecialToken\":{\"id\":", err));
    FINCH_TRY(add_string(s, t->pieces[t->special.sep], err));
    return str_add_format(s, err, ",\"type_id\":%d}}", type);
}

static finch_status add_template_token(const text_tokenizer *t, int32_t id, str *s, finch_error *err)
{
    FINCH_TRY(add_string(s, t->pieces[id], err));
    FINCH_TRY(str_add_text(s, ":{\"id\":", err));
    FINCH_TRY(add_string(s, t->pieces[id], err));
    FINCH_TRY(str_add_format(s, err, ",\"ids\":[%d],\"tokens\":[", id));
    FINCH_TRY(add_string(s, t->pieces[id], err));
    return str_add_text(s, "]}", err);
}

static finch_status add_pipeline(const text_tokenizer *t, str *s, finch_error *err)
{
    static const char steps[] =
        "\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"\xE2\x96\x81\"},\n"
        "\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"String\":\" \"},\"behavior\":\"MergedWithPrevious\","
        "\"invert\":false},\n"
        "\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":\"\xE2\x96\x81\"},"
        "\"content\":\" \"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"}]},\n"
        "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[";
    FINCH_TRY(str_add_text(s, steps, err));
    FINCH_TRY(add_sequence(t, "A", 0, s, err));
    FINCH_TRY(str_add_text(s, "],\"pair\":[", err));
    FINCH_TRY(add_sequence(t, "A", 0, s, err));
    FINCH_TRY(str_add_text(s, ",", err));
    FINCH_TRY(add_sequence(t, "B", 1, s, err));
    FINCH_TRY(str_add_text(s, "],\"special_tokens\":{", err));
    FINCH_TRY(add_template_token(t, t->special.cls, s, err));
    if (t->adds_sep && t->special.sep != t->special.cls) {
        FINCH_TRY(str_add_text(s, ",", err));
        FINCH_TRY(add_template_token(t, t->special.sep, s, err));
    }
    return str_add_text(s, "}},\n", err);
}

static finch_status add_vocab(const text_tokenizer *t, json_out *out, finch_error *err)
{
    str *s = &out->text;
    FINCH_TRY(str_add_text(s, "\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":", err));
    FINCH_TRY(add_string(s, t->pieces[t->special.unk], err));
    FINCH_TRY(str_add_text(s,
                           ",\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,\"fuse_unk\":true,"
                           "\"byte_fallback\":true,\"ignore_merges\":false,\n\"vocab\":{",
                           err));
    for (size_t id = 0; id < t->n_pieces; id++) {
        FINCH_TRY(str_add_text(s, id > 0 ? ",\n" : "\n", err));
        FINCH_TRY(add_string(s, t->pieces[id], err));
        FINCH_TRY(str_add_format(s, err, ":%zu", id));
        FINCH_TRY(flush(out, WRITE_BYTES, err));
    }
    return str_add_text(s, "},\n\"merges\":[", err);
}

static finch_status add_merges(const text_tokenizer *t, json_out *out, finch_error *err)
{
    bpe_merge *merges = NULL;
    str *s = &out->text;
    finch_status st = mem_alloc(t->bpe->n_merges, sizeof *merges, (void **)&merges, err);
    if (st != FINCH_OK) return st;
    bpe_merges_by_rank(t->bpe, merges);
    for (size_t i = 0; i < t->bpe->n_merges; i++) {
        FINCH_GO(done, st, str_add_text(s, i > 0 ? ",\n[" : "\n[", err));
        FINCH_GO(done, st, add_string(s, t->pieces[merges[i].left], err));
        FINCH_GO(done, st, str_add_text(s, ",", err));
        FINCH_GO(done, st, add_string(s, t->pieces[merges[i].right], err));
        FINCH_GO(done, st, str_add_text(s, "]", err));
        FINCH_GO(done, st, flush(out, WRITE_BYTES, err));
    }
    st = str_add_text(s, "]}\n}\n", err);
done:
    mem_free(merges);
    return st;
}

static finch_status write_json(const text_tokenizer *t, const char *path, finch_error *err)
{
    json_out out = {0};
    finch_status st;
    FINCH_TRY(file_writer_open(path, &out.file, err));
    FINCH_GO(done, st, add_added(t, &out, err));
    FINCH_GO(done, st, add_pipeline(t, &out.text, err));
    FINCH_GO(done, st, add_vocab(t, &out, err));
    FINCH_GO(done, st, add_merges(t, &out, err));
    FINCH_GO(done, st, flush(&out, 0, err));
    st = file_writer_commit(&out.file, err);
done:
    if (st != FINCH_OK) file_writer_abort(&out.file);
    str_free(&out.text);
    return st;
}

/* ---- tokenizer_config.json ------------------------------------------------------------------------------------- */

static const char chat_template[] =
    "{{ bos_token }}{%- if messages[0]['role'] == 'system' -%}{%- set before = messages[0]['content'] + '\n\n' -%}"
    "{%- set turns = messages[1:] -%}{%- else -%}{%- set before = '' -%}{%- set turns = messages -%}{%- endif -%}"
    "{%- for turn in turns -%}{%- if (turn['role'] == 'user') != (loop.index0 % 2 == 0) -%}"
    "{{ raise_exception('user and assistant must take turns, the user first') }}{%- endif -%}"
    "{{ '<start_of_turn>' + ('model' if turn['role'] == 'assistant' else turn['role']) + '\n' + "
    "(before if loop.first else '') + (turn['content'] | trim) + '<end_of_turn>\n' }}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<start_of_turn>model\n' }}{%- endif -%}";

static finch_status write_config(const text_tokenizer *t, const char *path, finch_error *err)
{
    const text_special *special = &t->special;
    const struct {
        const char *key;
        int32_t id;
    } names[] = {
        {"bos_token", special->cls}, {"eos_token", special->sep}, {"unk_token", special->unk}, {"pad_token", special->pad}};
    json_t *config = json_pack("{s:s, s:b, s:b, s:b}", "tokenizer_class", "GemmaTokenizer", "add_bos_token", 1,
                               "add_eos_token", (int)t->adds_sep, "clean_up_tokenization_spaces", 0);
    int failed = config == NULL;
    for (size_t i = 0; !failed && i < sizeof names / sizeof names[0]; i++) {
        finch_text piece = t->pieces[names[i].id];
        failed = json_object_set_new(config, names[i].key, json_stringn(piece.at, piece.size_bytes));
    }
    if (!failed && special->turn_begin >= 0 && special->turn_end >= 0)
        failed = json_object_set_new(config, "chat_template", json_string(chat_template));
    finch_status st = failed ? finch_fail(err, FINCH_E_MEMORY, "%s: out of memory", path)
                             : json_write_file(path, config, err);
    json_decref(config);
    return st;
}

static bool keeps(const text_tokenizer *t, const char *name)
{
    for (size_t i = 0; i < t->n_files; i++)
        if (strcmp(t->files[i].name, name) == 0) return true;
    return false;
}

finch_status bpe_save(const text_tokenizer *t, const char *folder, finch_error *err)
{
    static const char config[] = "tokenizer_config.json";
    str path = {0};
    finch_status st;
    FINCH_GO(done, st, file_join(folder, "tokenizer.json", &path, err));
    FINCH_GO(done, st, write_json(t, path.at, err));
    if (keeps(t, config)) goto done;
    FINCH_GO(done, st, file_join(folder, config, &path, err));
    st = write_config(t, path.at, err);
done:
    str_free(&path);
    return st;
}
