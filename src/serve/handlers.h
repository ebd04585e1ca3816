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

/* chat_request.c */
handler_answer handle_chat(request *r);
handler_answer handle_chat_models(request *r);

/* sentiment.c */
handler_answer handle_sentiment(request *r);
handler_answer handle_leaders(request *r);
handler_answer handle_tickers(request *r);
handler_answer handle_predictions(request *r);

/* stream.c */
handler_answer handle_stream(request *r);

/* batch_requests.c */
handler_answer handle_batch_create(request *r);
handler_answer handle_batches(request *r);
handler_answer handle_batch(request *r);
handler_answer handle_batch_cancel(request *r);
handler_answer handle_batch_result(request *r);

/* system.c */
handler_answer handle_system(request *r);
handler_answer handle_log(request *r);
handler_answer handle_keys(request *r);
handler_answer handle_key_create(request *r);
handler_answer handle_key_revoke(request *r);
handler_answer handle_session_open(request *r);
handler_answer handle_session_close(request *r);

/* registry_requests.c */
handler_answer handle_models(request *r);
handler_answer handle_models_record(request *r);
handler_answer handle_models_compare(request *r);
handler_answer handle_model(request *r);
handler_answer handle_model_metrics(request *r);
handler_answer handle_model_confusion(request *r);
handler_answer handle_model_samples(request *r);
handler_answer handle_model_promote(request *r);
handler_answer handle_model_rollback(request *r);
/* The models that are served, as /models and /system list them. */
json_t *served_models_json(serve *s);

/* reviews.c */
handler_answer handle_reviews(request *r);
handler_answer handle_review(request *r);
handler_answer handle_label_jobs(request *r);

#endif
