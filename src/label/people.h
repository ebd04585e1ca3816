/* What people said of a text (finch review), and whether that is its label: a class that more than half of them gave. Where they
 * are divided the job's own label stands. */
#ifndef FINCH_LABEL_PEOPLE_H
#define FINCH_LABEL_PEOPLE_H

#include "base/str.h"

typedef struct people_say {
    size_t n, agreeing; /* people; those who gave the most frequent class */
    int label; /* 0..4; -1 where no class has more than half */
} people_say;

/* reviews is a JSON object {"anna":3,...} of classes' ids as the store gives it; empty for nobody. Errors: FINCH_E_DATA. */
finch_status people_read(finch_text reviews, people_say *out, finch_error *err);
/* The same with the classes' names, {"anna":"POSITIVE",...}, appended to out; nothing for nobody. */
finch_status people_write(finch_text reviews, str *out, finch_error *err);

#endif
