/* What the server does through rooms it does not know: tables (data) and the review desk (label). */
#ifndef FINCH_CLI_SERVE_TASKS_H
#define FINCH_CLI_SERVE_TASKS_H

#include "serve/serve.h"

serve_work serve_tasks(void);

#endif
