/* /api/v1/reviews and /api/v1/labels: the labelling review desk and the jobs, whose work is handed in by the program (serve_options.work). */
#include "serve/desk.h"
#include "serve/handlers.h"
#include "serve/reply.h"

#include <stdlib.h>
#include <string.h>

static const char *reviewer_of(const request *r, const char *given)
{
    if (given != NULL && given[0] != '\0') return given;
    return r->caller[0] != '\0' ? r->caller : "api";
}

static finch_status list(request *r, store *s, finch_error *err)
{
    const serve_work *work = &r->server->options.work;
    const char *order = uri_get(&r->target, "order"), *limit = uri_get(&r->target, "limit");
    json_t *found = NULL;
    FINCH_TRY(work->reviews(work->context, s, uri_get(&r->target, "job"), reviewer_of(r, uri_get(&r->target, "reviewer")),
                            order != NULL ? order : "doubt", limit != NULL ? (size_t)strtoul(limit, NULL, 10) : 50, &found,
                            err));
    reply_data(r, 200, found);
    return FINCH_OK;
}

handler_answer handle_reviews(request *r) { return desk_run(r, list); }

static finch_status mark(request *r, store *s, finch_error *err)
{
    const serve_work *work = &r->server->options.work;
    json_t *done = NULL;
    const char *hash = json_string_value(json_object_get(r->json, "hash"));
    FINCH_TRY(work->review(work->context, s, json_string_value(json_object_get(r->json, "job")),
                           reviewer_of(r, json_string_value(json_object_get(r->json, "reviewer"))), hash,
                           json_string_value(json_object_get(r->json, "label")), &done, err));
    reply_data(r, 200, done);
    return FINCH_OK;
}

handler_answer handle_review(request *r) { return desk_run(r, mark); }

static finch_status list_jobs(request *r, store *s, finch_error *err)
{
    const serve_work *work = &r->server->options.work;
    json_t *jobs = NULL;
    FINCH_TRY(work->label_jobs(work->context, s, &jobs, err));
    reply_data(r, 200, json_pack("{s:o}", "jobs", jobs));
    return FINCH_OK;
}

handler_answer handle_label_jobs(request *r) { return desk_run(r, list_jobs); }
