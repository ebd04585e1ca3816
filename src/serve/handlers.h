/* The handlers the table of routes names, by the file they are in. */
#ifndef FINCH_SERVE_HANDLERS_H
#define FINCH_SERVE_HANDLERS_H

#include "serve/route.h"

/* operations.c */
handler_answer handle_health(request *r);
handler_answer handle_ready(request *r);
handler_answer handle_metrics(request *r);
handler_answer handle_openapi(request *r);
handler_answer handle_docs(request *r);
handler_answer handle_docs_script(request *r);
handler_answer handle_docs_style(request *r);
handler_answer handle_root(request *r);

/* predict.c */
handler_answer handle_predict(request *r);

/* tei.c */
handler_answer handle_tei_predict(request *r);
handler_answer handle_tei_info(request *r);

#endif
