/* tokenizer.model: SentencePiece's ModelProto, as far as Gemma needs it. A reader of protobuf's wire format of its own,
 * which takes no byte that is not there and allocates once, for the pieces it has counted.
 *
 * ModelProto: 1 pieces {1 piece, 2 score, 3 type}, 2 trainer_spec, 3 normalizer_spec.
 * trainer_spec: 3 model_type, 40 unk_id, 41 bos_id, 42 eos_id, 43 pad_id.
 * normalizer_spec: 2 precompiled_charsmap, 3 add_dummy_prefix, 4 remove_extra_whitespaces, 5 escape_whitespaces.
 * Source: sentencepiece_model.proto (google/sentencepiece), protobuf's encoding page. Fields that are not named here are
 * skipped; groups (wire types 3 and 4) are refused. Scores are not used: see text_tokenizer_from_pieces. */
#include "base/bytes.h"
#include "base/mem.h"
#include "text/text.h"

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5, VARINT_BYTES = 10, MODEL_BPE = 2 };

/* One field of a message. */
typedef struct field {
    uint64_t number;
    unsigned wire;
    uint64_t value; /* of a varint */
    bytes content;  /* of a text, a message or a fixed number */
} field;

static bool take_varint(bytes *rest, uint64_t *out)
{
    uint64_t value = 0;
    uint8_t byte;
    for (unsigned i = 0; i < VARINT_BYTES; i++) {
        if (!bytes_take_u8(rest, &byte)) return false;
        value |= (uint64_t)(byte & 0x7F) << (7 * i);
        if (byte < 0x80) {
            *out = value;
            return true;
        }
    }
    return false;
}

/* The next field; false where the rest is none. */
static bool take_field(bytes *rest, field *out)
{
    uint64_t key, size;
    *out = (field){0};
    if (!take_varint(rest, &key)) return false;
    out->number = key >> 3;
    out->wire = (unsigned)(key & 7);
    switch (out->wire) {
    case WIRE_VARINT: return take_varint(rest, &out->value);
    case WIRE_FIXED64: return bytes_take(rest, 8, &out->content);
    case WIRE_BYTES: return take_varint(rest, &size) && bytes_take(rest, size, &out->content);
    case WIRE_FIXED32: return bytes_take(rest, 4, &out->content);
    default: return false;
    }
}

typedef struct model {
    const char *name;
    bytes file;
    finch_text *pieces;
    uint8_t *kinds;
    size_t n;
    uint64_t kind; /* of the model; 1 is a unigram model, the format's preset */
    text_spm spm;
    bool dummy_prefix, extra_blanks, escapes;
    bool has_charsmap;
} model;

static finch_status fail_at(const model *m, const bytes *rest, const char *what, finch_error *err)
{
    return finch_fail(err, FINCH_E_DATA, "%s: %s, before byte %zu; the file is cut or damaged, or no SentencePiece model",
                      m->name, what, (size_t)(rest->at - m->file.at));
}

static finch_status read_piece(model *m, bytes content, finch_error *err)
{
    finch_text piece = {NULL, 0};
    uint64_t kind = TEXT_PIECE_NORMAL;
    for (field f; content.size > 0;) {
        if (!take_field(&content, &f)) return fail_at(m, &content, "a piece is malformed", err);
        if (f.number == 1 && f.wire == WIRE_BYTES) piece = (finch_text){(const char *)f.content.at, f.content.size};
        if (f.number == 3 && f.wire == WIRE_VARINT) kind = f.value;
    }
    if (kind < TEXT_PIECE_NORMAL || kind > TEXT_PIECE_BYTE)
        return finch_fail(err, FINCH_E_UNSUPPORTED, "%s: piece %zu has the type %llu, which SentencePiece does not name",
                          m->name, m->n, (unsigned long long)kind);
    m->pieces[m->n] = piece;
    m->kinds[m->n++] = (uint8_t)kind;
    return FINCH_OK;
}

/* An int32 of the wire: a negative one has ten bytes. Absurd ones are past any vocabulary, and refused as such. */
static int32_t id_of(uint64_t value)
{
    int64_t number = (int64_t)value;
    if (number < 0) return -1;
    return number > INT32_MAX ? INT32_MAX : (int32_t)number;
}

static finch_status read_trainer(model *m, bytes content, finch_error *err)
{
    for (field f; content.size > 0;) {
        if (!take_field(&content, &f)) return fail_at(m, &content, "the trainer_spec is malformed", err);
        if (f.wire != WIRE_VARINT) continue;
        if (f.number == 3) m->kind = f.value;
        if (f.number == 40) m->spm.unk = id_of(f.value);
        if (f.number == 41) m->spm.bos = id_of(f.value);
        if (f.number == 42) m->spm.eos = id_of(f.value);
        if (f.number == 43) m->spm.pad = id_of(f.value);
    }
    return FINCH_OK;
}

static finch_status read_normalizer(model *m, bytes content, finch_error *err)
{
    for (field f; content.size > 0;) {
        if (!take_field(&content, &f)) return fail_at(m, &content, "the normalizer_spec is malformed", err);
        if (f.number == 2 && f.wire == WIRE_BYTES) m->has_charsmap = f.content.size > 0;
        if (f.wire != WIRE_VARINT) continue;
        if (f.number == 3) m->dummy_prefix = f.value != 0;
        if (f.number == 4) m->extra_blanks = f.value != 0;
        if (f.number == 5) m->escapes = f.value != 0;
    }
    return FINCH_OK;
}

/* Walks the file's fields; pieces are counted where m->pieces is NULL, else read. */
static finch_status walk(model *m, size_t *n, finch_error *err)
{
    bytes rest = m->file;
    *n = 0;
    for (field f; rest.size > 0;) {
        if (!take_field(&rest, &f)) return fail_at(m, &rest, "a field is malformed", err);
        if (f.wire != WIRE_BYTES) continue;
        if (f.number == 1) ++*n;
        if (f.number == 1 && m->pieces != NULL) FINCH_TRY(read_piece(m, f.content, err));
        if (f.number == 2) FINCH_TRY(read_trainer(m, f.content, err));
        if (f.number == 3) FINCH_TRY(read_normalizer(m, f.content, err));
    }
    return FINCH_OK;
}

static finch_status check(const model *m, finch_error *err)
{
    const char *what = NULL;
    if (m->kind != MODEL_BPE) what = "is no BPE model";
    else if (m->has_charsmap) what = "changes characters before spelling (precompiled_charsmap)";
    else if (m->dummy_prefix) what = "puts a blank before each text (add_dummy_prefix)";
    else if (m->extra_blanks) what = "removes blanks (remove_extra_whitespaces)";
    else if (!m->escapes) what = "leaves blanks as they are (escape_whitespaces is off)";
    if (what == NULL) return FINCH_OK;
    return finch_fail(err, FINCH_E_UNSUPPORTED,
                      "%s: the SentencePiece model %s; finch reads BPE models that leave a text as it is, as Gemma's do",
                      m->name, what);
}

static finch_status read_model(model *m, finch_error *err)
{
    size_t n;
    FINCH_TRY(walk(m, &n, err));
    if (n == 0 || n > TEXT_VOCAB_MAX)
        return finch_fail(err, FINCH_E_DATA, "%s: a SentencePiece model has 1 to %d pieces, this file %zu", m->name,
                          TEXT_VOCAB_MAX, n);
    FINCH_TRY(check(m, err));
    FINCH_TRY(MEM_NEW(&m->pieces, n, err));
    FINCH_TRY(MEM_NEW(&m->kinds, n, err));
    return walk(m, &n, err);
}

finch_status text_tokenizer_from_spm(const void *content, size_t size, const char *name, text_tokenizer **out,
                                     finch_error *err)
{
    /* What the format presets where a field is missing. */
    model m = {
        .name = name, .file = {content, size}, .kind = 1, .dummy_prefix = true, .extra_blanks = true, .escapes = true};
    m.spm = (text_spm){.name = name, .unk = 0, .bos = 1, .eos = 2, .pad = -1};
    *out = NULL;
    finch_status st = read_model(&m, err);
    if (st == FINCH_OK) {
        m.spm.pieces = m.pieces;
        m.spm.kinds = m.kinds;
        m.spm.n = m.n;
        st = text_tokenizer_from_pieces(&m.spm, out, err);
    }
    mem_free(m.pieces);
    mem_free(m.kinds);
    return st;
}
