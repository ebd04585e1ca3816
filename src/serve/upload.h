/* A body on its way to the disk: the whole of it, or the part "file" of a multipart form. Written as it comes, never held in memory;
 * what is not kept is removed. */
#ifndef FINCH_SERVE_UPLOAD_H
#define FINCH_SERVE_UPLOAD_H

#include "serve/request.h"

enum { UPLOAD_FIELDS_MAX = 8, UPLOAD_FIELD_BYTES = 256 };

typedef struct upload_field {
    char name[32];
    char value[UPLOAD_FIELD_BYTES];
    size_t size;
} upload_field;

typedef struct upload upload;

/* The body's headers say what it is; folder is where it goes. False: an error is answered. */
bool upload_open(request *r, const char *folder, upload **out);
/* False: the body can not be taken any more; upload_finish says why. */
bool upload_write(upload *u, const char *at, size_t size);
/* The body is whole: flushed to the disk. Errors: FINCH_E_DATA (no file in the form, a form that is none), FINCH_E_IO. */
finch_status upload_finish(upload *u, finch_error *err);
void upload_close(upload *u); /* removes the file unless upload_keep was called; NULL is legal */
void upload_keep(upload *u);

const char *upload_path(const upload *u);
const char *upload_name(const upload *u); /* as the client called it, without folders; "" where it did not */
const char *upload_format(const upload *u); /* "csv", "jsonl", "parquet", ...: by name or type; "" unknown */
uint64_t upload_bytes(const upload *u);
/* A field of the form; NULL where there is none. */
const char *upload_get(const upload *u, const char *name);

#endif
