/* The Arrow C stream interface, as its specification gives it to be copied
 * (https://arrow.apache.org/docs/format/CStreamInterface.html); finch.h has the structs of its schemas and arrays. */
#ifndef FINCH_DATA_ARROW_H
#define FINCH_DATA_ARROW_H

#include "finch.h"

/* The callbacks give 0 or an errno. */
struct ArrowArrayStream {
    int (*get_schema)(struct ArrowArrayStream *, struct ArrowSchema *out);
    int (*get_next)(struct ArrowArrayStream *, struct ArrowArray *out);
    const char *(*get_last_error)(struct ArrowArrayStream *);
    void (*release)(struct ArrowArrayStream *);
    void *private_data;
};

#endif
