/* Accepts connections and hands them on, in a thread of its own.
 * libmicrohttpd's threads could accept by themselves, but to make them stop is a race in 0.9.75: MHD_quiesce_daemon and a thread
 * at its limit both take the socket out of the thread's epoll set, and the one that comes second ends the process. */
#ifndef FINCH_SERVE_ACCEPTOR_H
#define FINCH_SERVE_ACCEPTOR_H

#include "base/status.h"

#include <stdbool.h>
#include <sys/socket.h>

typedef struct acceptor acceptor;

/* Takes the descriptor over, whatever it answers; false: the connection is closed already. */
typedef bool (*acceptor_admit)(void *context, int descriptor, const struct sockaddr *from, socklen_t from_size);

/* Accepts nothing yet. While n_most connections are open, others wait in the system's queue. */
finch_status acceptor_create(size_t n_most, acceptor_admit admit, void *context, acceptor **out, finch_error *err);
/* listening does not block; it is the acceptor's from here on, where this succeeds. */
finch_status acceptor_start(acceptor *a, int listening, finch_error *err);
/* A connection that was admitted is closed. Any thread. */
void acceptor_closed(acceptor *a);
/* Ends the thread and closes the listening socket: who connects from now on is refused. Does nothing before the start and when
 * called again; not from two threads at once. */
void acceptor_stop(acceptor *a);
/* Connections may no longer close by now. NULL is legal. */
void acceptor_destroy(acceptor *a);

#endif
