/* A row's text as it is asked: the same for the way in and the way out, so that an answer finds its rows. */
#ifndef FINCH_LABEL_TEXTS_H
#define FINCH_LABEL_TEXTS_H

#include "base/str.h"
#include "store/store.h"

enum { TEXTS_MAX_BYTES = 64 << 10, TEXTS_CHUNK_ROWS = 2048 };

typedef enum text_kind { TEXT_ASKED, TEXT_EMPTY, TEXT_TOO_LONG } text_kind;

/* NUL bytes become blanks (neither JSON in PostgreSQL nor a model has a use for them), in scratch; every other text is left
 * as it is and borrowed. hash is set where TEXT_ASKED. */
finch_status texts_prepare(finch_text in, str *scratch, finch_text *out, char hash[STORE_HASH_BYTES], text_kind *kind,
                           finch_error *err);
/* Why a text of that kind is not asked, static; "" where it is. */
const char *texts_reason(text_kind kind);

#endif
