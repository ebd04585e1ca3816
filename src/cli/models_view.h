/* What finch models shows to people. */
#ifndef FINCH_CLI_MODELS_VIEW_H
#define FINCH_CLI_MODELS_VIEW_H

#include "cli/pen.h"

#include "base/json.h"

/* The document of list: {"models":[..],"built_in":{..}}. */
finch_status models_add_list(pen *p, const json_t *document, finch_error *err);
/* The document of show: a version with "metrics", "confusion", "curve", "record". */
finch_status models_add_version(pen *p, const json_t *document, finch_error *err);

#endif
