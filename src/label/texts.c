#include "label/texts.h"

#include <string.h>

finch_status texts_prepare(finch_text in, str *scratch, finch_text *out, char hash[STORE_HASH_BYTES], text_kind *kind,
                           finch_error *err)
{
    bool blank = true;
    *out = in;
    hash[0] = '\0';
    for (size_t i = 0; blank && i < in.size_bytes; i++) blank = (unsigned char)in.at[i] <= ' ';
    *kind = blank ? TEXT_EMPTY : in.size_bytes > TEXTS_MAX_BYTES ? TEXT_TOO_LONG : TEXT_ASKED;
    if (*kind != TEXT_ASKED) return FINCH_OK;
    if (memchr(in.at, '\0', in.size_bytes) != NULL) {
        str_clear(scratch);
        FINCH_TRY(str_add(scratch, in.at, in.size_bytes, err));
        for (size_t i = 0; i < scratch->size; i++)
            if (scratch->at[i] == '\0') scratch->at[i] = ' ';
        out->at = scratch->at;
    }
    return store_hash(out->at, out->size_bytes, hash, err);
}

const char *texts_reason(text_kind kind)
{
    return kind == TEXT_EMPTY ? "there is no text" : kind == TEXT_TOO_LONG ? "the text is longer than 64 KiB" : "";
}
