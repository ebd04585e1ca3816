#define _GNU_SOURCE /* accept4 */
#include "serve/acceptor.h"

#include "base/mem.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct acceptor {
    int listening; /* -1: not started, or stopped */
    int wake;      /* an eventfd that is written once, to stop */
    size_t n_most;
    atomic_size_t n_open;
    acceptor_admit admit;
    void *context;
    pthread_t thread;
};

/* How long to look away where nothing can be taken: no room, or no descriptor or memory for one more. */
enum { ACCEPTOR_PAUSE_MS = 20 };

typedef enum accepted { ACCEPTED, ACCEPTED_ALL, ACCEPTED_NONE } accepted;

static accepted accept_one(acceptor *a)
{
    struct sockaddr_storage from;
    socklen_t size = sizeof from;
    int descriptor = accept4(a->listening, (struct sockaddr *)&from, &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (descriptor >= 0) {
        atomic_fetch_add_explicit(&a->n_open, 1, memory_order_relaxed);
        if (!a->admit(a->context, descriptor, (struct sockaddr *)&from, size)) acceptor_closed(a);
        return ACCEPTED;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK) return ACCEPTED_ALL;
    return errno == EINTR || errno == ECONNABORTED ? ACCEPTED : ACCEPTED_NONE;
}

/* False: it is time to end. */
static bool wait_for_connection(acceptor *a, bool pause)
{
    struct pollfd on[2] = {{.fd = a->wake, .events = POLLIN}, {.fd = a->listening, .events = POLLIN}};
    int n = pause ? poll(on, 1, ACCEPTOR_PAUSE_MS) : poll(on, 2, -1);
    return n < 0 || on[0].revents == 0;
}

static void *acceptor_run(void *argument)
{
    acceptor *a = argument;
    bool pause = false;
    while (wait_for_connection(a, pause)) {
        accepted last = ACCEPTED;
        bool room = true;
        while (last == ACCEPTED && (room = atomic_load_explicit(&a->n_open, memory_order_relaxed) < a->n_most))
            last = accept_one(a);
        pause = !room || last == ACCEPTED_NONE;
    }
    return NULL;
}

finch_status acceptor_create(size_t n_most, acceptor_admit admit, void *context, acceptor **out, finch_error *err)
{
    acceptor *a;
    *out = NULL;
    FINCH_TRY(MEM_NEW(&a, 1, err));
    a->listening = -1;
    a->n_most = n_most;
    a->admit = admit;
    a->context = context;
    a->wake = eventfd(0, EFD_CLOEXEC);
    if (a->wake >= 0) {
        *out = a;
        return FINCH_OK;
    }
    mem_free(a);
    return finch_fail(err, FINCH_E_BUSY, "no descriptor is left to wake the thread that accepts connections");
}

finch_status acceptor_start(acceptor *a, int listening, finch_error *err)
{
    a->listening = listening;
    if (pthread_create(&a->thread, NULL, acceptor_run, a) == 0) return FINCH_OK;
    a->listening = -1;
    return finch_fail(err, FINCH_E_BUSY, "no thread that accepts connections could be started");
}

void acceptor_closed(acceptor *a) { atomic_fetch_sub_explicit(&a->n_open, 1, memory_order_relaxed); }

void acceptor_stop(acceptor *a)
{
    if (a->listening < 0) return;
    eventfd_write(a->wake, 1);
    pthread_join(a->thread, NULL);
    close(a->listening);
    a->listening = -1;
}

void acceptor_destroy(acceptor *a)
{
    if (a == NULL) return;
    acceptor_stop(a);
    close(a->wake);
    mem_free(a);
}
