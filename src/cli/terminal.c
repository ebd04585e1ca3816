#include "cli/terminal.h"

#include "cli/cli.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <utf8proc.h>

/* The other screen and back, without a cursor; pasted text comes between marks. */
#define SCREEN_ENTER "\033[?1049h\033[?25l\033[?2004h"
#define SCREEN_LEAVE "\033[?2004l\033[?25h\033[?1049l"
#define PASTE_BEGINS "[200~"
#define PASTE_ENDS "\033[201~"

enum { ESCAPE = 27, ESCAPE_WAIT_MS = 30, PASTE_WAIT_MS = 1000, WRAP_COLUMNS_MOST = 1 << 20 };

static volatile sig_atomic_t resized;

static void on_resize(int number)
{
    (void)number;
    resized = 1;
}

static finch_status write_all(const char *at, size_t size, finch_error *err)
{
    while (size > 0) {
        ssize_t n = write(STDOUT_FILENO, at, size);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return finch_fail(err, FINCH_E_IO, "cannot write to the terminal: %s", strerror(errno));
        at += n;
        size -= (size_t)n;
    }
    return FINCH_OK;
}

finch_status terminal_open(terminal *t, finch_error *err)
{
    *t = (terminal){.pen = pen_open(STDOUT_FILENO)};
    if (isatty(STDIN_FILENO) != 1 || isatty(STDOUT_FILENO) != 1)
        return finch_fail(err, FINCH_E_USAGE, "this needs a terminal on stdin and stdout; with --json it needs none");
    if (tcgetattr(STDIN_FILENO, &t->before) != 0)
        return finch_fail(err, FINCH_E_IO, "cannot read the terminal's settings: %s", strerror(errno));
    struct termios raw = t->before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO | IEXTEN);
    raw.c_iflag &= ~(tcflag_t)(IXON | ICRNL);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    raw.c_cc[VSUSP] = _POSIX_VDISABLE; /* a stop would leave the shell with our settings */
    struct sigaction resize = {.sa_handler = on_resize};
    sigemptyset(&resize.sa_mask);
    sigaction(SIGWINCH, &resize, NULL);
    if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &raw) != 0)
        return finch_fail(err, FINCH_E_IO, "cannot set the terminal: %s", strerror(errno));
    t->open = true;
    return write_all(SCREEN_ENTER, sizeof SCREEN_ENTER - 1, err);
}

void terminal_close(terminal *t)
{
    if (t->open) {
        write_all(SCREEN_LEAVE, sizeof SCREEN_LEAVE - 1, NULL);
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &t->before);
        struct sigaction preset = {.sa_handler = SIG_DFL};
        sigemptyset(&preset.sa_mask);
        sigaction(SIGWINCH, &preset, NULL);
    }
    t->open = false;
    str_free(&t->pen.out);
}

void terminal_begin(terminal *t)
{
    struct winsize window = {0};
    ioctl(STDOUT_FILENO, TIOCGWINSZ, &window);
    t->rows = window.ws_row == 0 ? 24 : window.ws_row;
    t->columns = window.ws_col == 0 ? 80 : window.ws_col;
    if (t->rows < TERMINAL_ROWS_LEAST) t->rows = TERMINAL_ROWS_LEAST;
    if (t->columns < TERMINAL_COLUMNS_LEAST) t->columns = TERMINAL_COLUMNS_LEAST;
    str_clear(&t->pen.out);
}

finch_status terminal_line(terminal *t, finch_error *err) { return str_add_text(&t->pen.out, "\n", err); }

void terminal_keep(terminal *t, size_t n_lines)
{
    char *at = t->pen.out.at;
    for (; at != NULL && n_lines > 0; n_lines--) {
        at = strchr(at, '\n');
        if (at != NULL) at++;
    }
    if (at == NULL) return;
    t->pen.out.size = (size_t)(at - t->pen.out.at);
    *at = '\0';
}

/* The frame's lines at the top of the screen, each with its old rest wiped out, and nothing below them. */
static finch_status frame(const terminal *t, str *out, finch_error *err)
{
    size_t row = 1;
    const char *at = t->pen.out.at != NULL ? t->pen.out.at : "";
    FINCH_TRY(str_add_text(out, "\033[?2026h\033[H", err));
    while (*at != '\0' && row <= t->rows) {
        size_t size = strcspn(at, "\n");
        FINCH_TRY(str_add_format(out, err, "\033[%zu;1H\033[K", row++));
        FINCH_TRY(str_add(out, at, size, err));
        at += size + (at[size] == '\n');
    }
    return str_add_text(out, "\033[0m\033[J\033[?2026l", err);
}

finch_status terminal_show(terminal *t, bool fresh, finch_error *err)
{
    str out = {0};
    finch_status st = frame(t, &out, err);
    if (st == FINCH_OK && fresh) tcflush(STDIN_FILENO, TCIFLUSH);
    if (st == FINCH_OK) st = write_all(out.at, out.size, err);
    str_free(&out);
    return st;
}

/* One byte; 0 where none comes within wait_ms (-1: for ever), -1 at the end or an error with errno. */
static int read_byte(int wait_ms, unsigned char *out)
{
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    int ready = poll(&in, 1, wait_ms);
    if (ready <= 0) return ready;
    ssize_t n = read(STDIN_FILENO, out, 1);
    if (n == 0) errno = 0;
    return n == 1 ? 1 : -1;
}

/* Behind the mark that a paste begins: everything up to the mark that it ends. */
static void drop_paste(void)
{
    static const char ends[] = PASTE_ENDS;
    size_t matched = 0;
    unsigned char byte;
    while (matched < sizeof ends - 1 && read_byte(PASTE_WAIT_MS, &byte) == 1)
        matched = byte == (unsigned char)ends[matched] ? matched + 1 : byte == ESCAPE ? 1 : 0;
}

/* Behind an ESC: the rest of what an arrow or a function key sends. */
static void drop_sequence(void)
{
    char seen[16] = "";
    size_t n = 0;
    unsigned char byte;
    while (read_byte(ESCAPE_WAIT_MS, &byte) == 1) {
        if (n < sizeof seen - 1) seen[n++] = (char)byte;
        if (n > 1 && byte >= 0x40 && byte <= 0x7e) break; /* the last byte of a sequence */
    }
    if (strcmp(seen, PASTE_BEGINS) == 0) drop_paste();
}

finch_status terminal_read_key(terminal *t, int *key, finch_error *err)
{
    (void)t;
    unsigned char byte = 0;
    for (;;) {
        if (cli_cancelled()) return cli_cancelled_fail(err);
        if (resized) {
            resized = 0;
            *key = TERMINAL_KEY_RESIZED;
            return FINCH_OK;
        }
        int got = read_byte(250, &byte); /* a signal just before the wait is seen soon all the same */
        if (got == 1) break;
        if (got == 0 || errno == EINTR || errno == EAGAIN) continue;
        *key = TERMINAL_KEY_GONE; /* hung up */
        return FINCH_OK;
    }
    if (byte == ESCAPE) drop_sequence();
    *key = byte == ESCAPE || byte >= 0x80 ? TERMINAL_KEY_OTHER : byte;
    return FINCH_OK;
}

/* ---- texts ---- */

/* Bytes of harmless text that go on a line of so many columns; *next: where the line after it begins. */
static size_t line_size(const char *text, size_t columns, size_t *next)
{
    size_t size = strlen(text), at = 0, taken = 0, blank = 0;
    while (at < size) {
        utf8proc_int32_t c = 0;
        utf8proc_ssize_t step = utf8proc_iterate((const utf8proc_uint8_t *)text + at, (utf8proc_ssize_t)(size - at), &c);
        if (step <= 0) step = 1;
        if (c == ' ') blank = at;
        size_t width = (size_t)utf8proc_charwidth(c);
        if (taken + width > columns) {
            size_t end = c == ' ' ? at : blank > 0 ? blank : at > 0 ? at : (size_t)step; /* never nothing */
            *next = end + (text[end] == ' ');
            return end;
        }
        taken += width;
        at += (size_t)step;
    }
    *next = size;
    return size;
}

static finch_status add_lines(terminal *t, const char *text, const char *indent, size_t columns, size_t n_lines,
                              size_t *used, finch_error *err)
{
    while (*text != '\0' && *used < n_lines) {
        size_t next = 0, size = line_size(text, columns, &next);
        FINCH_TRY(str_add_text(&t->pen.out, indent, err));
        if (++*used == n_lines && text[next] != '\0') FINCH_TRY(pen_add_sane(&t->pen, text, columns, NULL, err));
        else FINCH_TRY(str_add(&t->pen.out, text, size, err));
        FINCH_TRY(terminal_line(t, err));
        text += next;
    }
    return FINCH_OK;
}

finch_status terminal_add_wrapped(terminal *t, const char *text, const char *indent, size_t columns, size_t n_lines,
                                  size_t *used, finch_error *err)
{
    pen sane = {.unicode = t->pen.unicode};
    *used = 0;
    finch_status st = pen_add_sane(&sane, text, WRAP_COLUMNS_MOST, NULL, err);
    if (st == FINCH_OK && sane.out.at != NULL) st = add_lines(t, sane.out.at, indent, columns, n_lines, used, err);
    str_free(&sane.out);
    return st;
}
