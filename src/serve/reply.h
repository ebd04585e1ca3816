/* Answers in the contract's envelope: {"success","data","error":{"code","message","details"},"metadata":{"request_id",
 * "took_ms"}}. Routes that speak another program's format (text-embeddings-inference, OpenAI) get their errors in that one. */
#ifndef FINCH_SERVE_REPLY_H
#define FINCH_SERVE_REPLY_H

#include "serve/request.h"

/* All take over the reference of data or details, also NULL ones (jansson out of memory: an answer 503). */
void reply_data(request *r, unsigned status, json_t *data);
/* The same of data that is JSON text already. */
void reply_data_text(request *r, unsigned status, const str *data);
/* The document alone, for formats without the envelope. */
void reply_document(request *r, unsigned status, json_t *document);
void reply_text(request *r, unsigned status, const char *content_type, const char *text, size_t size);
/* Bytes that live as long as the program. */
void reply_static(request *r, unsigned status, const char *content_type, const void *at, size_t size);

/* code is static: "validation_failed". details may be NULL. */
void reply_error(request *r, unsigned status, const char *code, json_t *details, const char *format, ...) FINCH_PRINTF(5, 6);
/* A failure of the library, by the one list of statuses. */
void reply_failure(request *r, finch_status status, const finch_error *err);
/* A limit of serve.h that was met: 413, 429 or 503 with its name, value and flag in details. */
void reply_limit(request *r, unsigned status, const char *code, const char *name, size_t value, const char *flag,
                 const char *what);
void reply_retry_after(request *r, size_t seconds);

#endif
