/* Chat completions of the Gemmas that are served: POST /v1/chat/completions. One thread reads prompts, decodes and hands out texts; what
 * is under way on one model is decoded together, a token a step, and a request that comes joins at the next step (model/generate.h).
 *
 *   handle_chat -> chat_submit -> WAITING --(a place is free)--> RUNNING --(the answer ends)--> answered
 *                                    |  deadline, the client left      |  the client left
 *                                    +------------> answered <---------+
 *
 * Threads: a work that waits or runs is the chat thread's. Of a streamed answer the HTTP thread takes the bytes from `stream`, which its
 * lock guards; the request itself is no longer touched once its answer began. A work is freed by the last of the two. */
#ifndef FINCH_SERVE_CHAT_H
#define FINCH_SERVE_CHAT_H

#include "model/generate.h"
#include "serve/models.h"
#include "serve/request.h"
#include "serve/route.h"

enum { CHAT_ID_BYTES = REQUEST_ID_BYTES + 16, CHAT_MODELS_MAX = 4 };

typedef struct chat chat;

/* What is sent of a streamed answer, and what is still to be sent. */
typedef struct chat_stream {
    pthread_mutex_t lock;
    struct MHD_Connection *connection;
    str pending;
    size_t sent;
    bool suspended; /* the connection sleeps until there is more */
    bool ended; /* nothing more comes */
    bool left; /* nobody reads any more */
} chat_stream;

typedef struct chat_work {
    struct chat_work *next; /* in the queue */
    atomic_int n_references;
    request *r; /* until its answer begins, then NULL */
    model_slot *slot;
    double deadline;
    char id[CHAT_ID_BYTES];
    int64_t created;
    generate_request ask; /* all but the prompt */
    finch_text stops[GENERATE_STOPS_MAX];
    json_form *form;
    bool wants_stream, wants_usage;
    generation *g; /* NULL while it waits */
    size_t n_sent_tokens; /* of a stream's log-probabilities */
    bool failed; /* a chunk could not be made */
    chat_stream stream;
} chat_work;

finch_status chat_create(serve *s, chat **out, finch_error *err);
/* Answers what waits or runs with 503, ends streams, and takes no more. NULL is legal. */
void chat_stop(chat *c);
void chat_destroy(chat *c);

/* Takes over the work, whose request is suspended then. FINCH_E_BUSY, and nothing is taken, where the queue is full. */
finch_status chat_submit(chat *c, chat_work *w, finch_error *err);
/* NULL is legal. */
void chat_work_release(chat_work *w);

/* ---- chat_request.c: a request as a work ---- */

/* The conversation's ids, at most n_most of them. Errors: those of text_encode_chat. */
finch_status chat_encode(const chat_work *w, text_scratch *scratch, size_t n_most, int32_t *ids, size_t *n,
                         finch_error *err);

/* ---- chat_answer.c: what goes back ---- */

/* The whole answer of a request that does not stream. */
void chat_answer_whole(chat_work *w);
/* Makes the request's answer an event stream and resumes it; w->r is NULL then. False: an error is answered. */
bool chat_stream_begin(chat_work *w);
/* generate_text_fn of a streamed answer; context is the work. */
bool chat_stream_text(void *context, const char *text, size_t size);
/* The last chunks. why NULL: all went well. */
void chat_stream_end(chat_work *w, const char *why);
bool chat_stream_left(chat_work *w);

#endif
