#include "cli/signals.h"

#include "cli/cli.h"

#include <signal.h>
#include <unistd.h>

enum { EXIT_INTERRUPTED = 130 };

static volatile sig_atomic_t caught;

static void on_signal(int number)
{
    (void)number;
    if (caught) _exit(EXIT_INTERRUPTED);
    caught = 1;
}

void signals_install(void)
{
    /* No SA_RESTART: a read that waits on a pipe must end. */
    struct sigaction stop = {.sa_handler = on_signal};
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigemptyset(&stop.sa_mask);
    sigemptyset(&ignore.sa_mask);
    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGTERM, &stop, NULL);
    sigaction(SIGPIPE, &ignore, NULL);
}

bool cli_cancelled(void) { return caught != 0; }

finch_status cli_cancelled_fail(finch_error *err)
{
    return finch_fail(err, FINCH_E_CANCELLED, "interrupted; no output was left half written");
}
