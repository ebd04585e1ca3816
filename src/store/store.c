#include "store/store.h"

#include "base/clock.h"
#include "base/file.h"
#include "store/schema.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct store {
    sql_db db;
    str place;  /* for messages */
    str owner;
    str machine; /* the owner's beginning: what all processes of this machine's boot share */
    int64_t clock_ahead_ms; /* of the server's clock before ours */
    double patience_seconds;
    uint64_t n_retries;
    bool working; /* between BEGIN and COMMIT */
};

/* ---- who we are ---- */

/* The start of a process in the kernel's ticks, the 22nd field of its stat; 0 where there is no such process. */
static unsigned long long process_start(long process)
{
    char path[64], text[1024];
    unsigned long long start = 0;
    snprintf(path, sizeof path, "/proc/%ld/stat", process);
    FILE *file = fopen(path, "re");
    if (file == NULL) return 0;
    size_t size = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[size] = '\0';
    const char *at = strrchr(text, ')'); /* the name in parentheses may hold anything */
    for (int field = 2; at != NULL && field < 22; field++) {
        at = strchr(at + 1, ' ');
        if (at != NULL && field == 21) start = strtoull(at + 1, NULL, 10);
    }
    return start;
}

static void read_boot(char *out, size_t size)
{
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    out[0] = '\0';
    if (file == NULL) return;
    if (fgets(out, (int)size, file) == NULL) out[0] = '\0';
    fclose(file);
    out[strcspn(out, "\n")] = '\0';
}

static finch_status name_owner(store *s, finch_error *err)
{
    char host[256] = "", boot[48];
    if (gethostname(host, sizeof host - 1) != 0) host[0] = '\0';
    read_boot(boot, sizeof boot);
    FINCH_TRY(str_add_format(&s->machine, err, "%s/%.8s/", host[0] != '\0' ? host : "machine", boot));
    long process = (long)getpid();
    return str_add_format(&s->owner, err, "%s%ld/%llu", s->machine.at, process, process_start(process));
}

bool store_owner_lives(const store *s, const char *owner)
{
    if (strncmp(owner, s->machine.at, s->machine.size) != 0) return true;
    char *end = NULL;
    long process = strtol(owner + s->machine.size, &end, 10);
    if (*end != '/' || process <= 0) return true;
    unsigned long long start = strtoull(end + 1, NULL, 10);
    return process_start(process) == start && start != 0;
}

const char *store_owner(const store *s) { return s->owner.at; }

/* ---- opening ---- */

static bool is_postgres(const char *place)
{
    return strncmp(place, "postgres://", 11) == 0 || strncmp(place, "postgresql://", 13) == 0;
}

static finch_status default_place(str *out, finch_error *err)
{
    const char *state = getenv("FINCH_STATE"), *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    if (state != NULL && state[0] != '\0') return str_add_text(out, state, err);
    if (data != NULL && data[0] == '/') return str_add_format(out, err, "%s/finch/finch.sqlite", data);
    if (home != NULL && home[0] == '/') return str_add_format(out, err, "%s/.local/share/finch/finch.sqlite", home);
    return finch_fail(err, FINCH_E_USAGE, "there is no home folder to keep the store in; name a file with --state");
}

static const char *without_scheme(const char *place) { return strncmp(place, "sqlite:", 7) == 0 ? place + 7 : place; }

bool store_is_there(const char *place)
{
    str preset = {0};
    bool named = place != NULL || default_place(&preset, NULL) == FINCH_OK;
    if (place == NULL) place = preset.at;
    bool there = named && (is_postgres(place) || file_exists(without_scheme(place)));
    str_free(&preset);
    return there;
}

/* "postgres://host:port/name": what lies before @ and behind ? may hold a password. */
static finch_status show_place(const char *place, str *out, finch_error *err)
{
    if (!is_postgres(place)) return str_add_text(out, place, err);
    const char *rest = strstr(place, "://") + 3;
    for (const char *at = rest + strcspn(rest, "/?"); at > rest; at--)
        if (at[-1] == '@') {
            rest = at;
            break;
        }
    return str_add_format(out, err, "postgres://%.*s", (int)strcspn(rest, "?"), rest);
}

/* Taken anew where the connection was lost meanwhile: the time that took is not the clocks' difference. */
static finch_status compare_clocks(store *s, void *context, finch_error *err)
{
    static const sql_statement now = {"SELECT 0", "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)"};
    int64_t theirs = 0, before = clock_unix_ms();
    (void)context;
    FINCH_TRY(store_run(s, &now, NULL, 0, sql_take_integer, &theirs, NULL, err));
    s->clock_ahead_ms = theirs - before - (clock_unix_ms() - before) / 2;
    return FINCH_OK;
}

static finch_status bring_up(store *s, void *context, finch_error *err)
{
    (void)context;
    return schema_bring_up(&s->db, err);
}

static finch_status open_at(store *s, const char *place, finch_error *err)
{
    s->patience_seconds = STORE_PATIENCE_SECONDS;
    s->db.backend = is_postgres(place) ? &sql_backend_postgres : &sql_backend_sqlite;
    place = without_scheme(place);
    FINCH_TRY(show_place(place, &s->place, err));
    FINCH_TRY(name_owner(s, err));
    FINCH_TRY(s->db.backend->open(place, &s->db.connection, err));
    if (store_is_shared(s)) FINCH_TRY(store_transaction(s, compare_clocks, NULL, err));
    return store_transaction(s, bring_up, NULL, err);
}

finch_status store_open(const char *place, store **out, finch_error *err)
{
    store *s = NULL;
    str preset = {0};
    *out = NULL;
    finch_status st = MEM_NEW(&s, 1, err);
    if (st == FINCH_OK && place == NULL) st = default_place(&preset, err);
    if (st == FINCH_OK) st = open_at(s, place != NULL ? place : preset.at, err);
    str_free(&preset);
    if (st == FINCH_OK) *out = s;
    else store_close(s);
    return st;
}

void store_close(store *s)
{
    if (s == NULL) return;
    if (s->db.connection != NULL) s->db.backend->close(s->db.connection);
    str_free(&s->place);
    str_free(&s->owner);
    str_free(&s->machine);
    mem_free(s);
}

const char *store_place(const store *s) { return s->place.at; }

bool store_is_shared(const store *s) { return s->db.backend == &sql_backend_postgres; }

int64_t store_now_ms(const store *s) { return clock_unix_ms() + s->clock_ahead_ms; }

void store_set_patience(store *s, double seconds) { s->patience_seconds = seconds; }

finch_status store_set_bulk(store *s, bool bulk, finch_error *err)
{
    /* 16,384 pages of 4 KiB: the log is copied into the file less often. 16 MiB of cache: rows of many tickers go to as many places
     * of the tables, which would leave the usual cache before the next batch needs them. */
    static const sql_statement begin[] = {{"PRAGMA synchronous = NORMAL", "SET synchronous_commit = off"},
                                          {"PRAGMA wal_autocheckpoint = 16384", "SELECT 1"},
                                          {"PRAGMA cache_size = -16384", "SELECT 1"}};
    static const sql_statement end[] = {{"PRAGMA synchronous = FULL", "SET synchronous_commit = on"},
                                        {"PRAGMA wal_autocheckpoint = 1000", "SELECT 1"},
                                        {"PRAGMA cache_size = -2048", "SELECT 1"}};
    const sql_statement *all = bulk ? begin : end;
    for (size_t i = 0; i < sizeof begin / sizeof begin[0]; i++)
        FINCH_TRY(store_run(s, &all[i], NULL, 0, NULL, NULL, NULL, err));
    return FINCH_OK;
}

/* ---- notices ---- */

finch_status store_listen(store *s, finch_error *err)
{
    if (s->db.backend->listen == NULL)
        return finch_fail(err, FINCH_E_UNSUPPORTED, "only a store on PostgreSQL tells what moves");
    return s->db.backend->listen(s->db.connection, err);
}

/* The text is the name of the counter that moved. */
static void note_moved(void *context, const char *text)
{
    static const struct {
        const char *name;
        store_moved bit;
    } known[] = {{"event", STORE_EVENTS}, {"keys", STORE_KEYS}, {"registry", STORE_REGISTRY}};
    unsigned *moved = context;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(text, known[i].name) == 0) *moved |= known[i].bit;
}

finch_status store_wait(store *s, int timeout_ms, unsigned *moved, finch_error *err)
{
    *moved = 0;
    return s->db.backend->wait(s->db.connection, timeout_ms, note_moved, moved, err);
}

uint64_t store_retries(const store *s) { return s->n_retries; }

/* ---- statements ---- */

static finch_status run_plain(store *s, const sql_statement *statement, finch_error *err)
{
    return sql_run(&s->db, statement, NULL, 0, NULL, NULL, NULL, err);
}

static finch_status try_transaction(store *s, store_work_fn work, void *context, finch_error *err)
{
    static const sql_statement begin = {"BEGIN IMMEDIATE", "BEGIN"}, commit = {"COMMIT", NULL},
                               rollback = {"ROLLBACK", NULL};
    FINCH_TRY(run_plain(s, &begin, err));
    s->working = true;
    finch_status st = work(s, context, err);
    s->working = false;
    if (st == FINCH_OK) st = run_plain(s, &commit, err);
    if (st != FINCH_OK) run_plain(s, &rollback, NULL); /* a lost connection rolls back by itself */
    return st;
}

/* Until the connection is there again; the server may take a while to come back. */
static finch_status come_back(store *s, double begin, double *pause, finch_error *err)
{
    do {
        if (clock_seconds() - begin > s->patience_seconds)
            return finch_fail_prefix(err, "gave up after %.0f s", s->patience_seconds);
        clock_sleep(*pause);
        *pause = *pause < 1 ? *pause * 2 : *pause;
    } while (s->db.backend->reopen(s->db.connection, err) == FINCH_E_BUSY);
    s->n_retries++;
    return FINCH_OK;
}

finch_status store_transaction(store *s, store_work_fn work, void *context, finch_error *err)
{
    double begin = clock_seconds(), pause = 0.02;
    finch_status st;
    while ((st = try_transaction(s, work, context, err)) == FINCH_E_BUSY) FINCH_TRY(come_back(s, begin, &pause, err));
    return st;
}

finch_status store_within(store *s, store_work_fn work, void *context, finch_error *err)
{
    return s->working ? work(s, context, err) : store_transaction(s, work, context, err);
}

/* PostgreSQL gives the rows once all of them are there, so a statement that failed has given none and may be run again. */
finch_status store_run(store *s, const sql_statement *statement, const sql_value *values, size_t n_values, sql_row_fn each,
                       void *context, uint64_t *n_changed, finch_error *err)
{
    double begin = clock_seconds(), pause = 0.02;
    for (;;) {
        finch_status st = sql_run(&s->db, statement, values, n_values, each, context, n_changed, err);
        if (st != FINCH_E_BUSY || s->working || !store_is_shared(s)) return st;
        FINCH_TRY(come_back(s, begin, &pause, err));
    }
}

finch_status store_run_rows(store *s, const sql_statement *statement, const sql_value *values, size_t n_rows,
                            size_t n_columns, finch_error *err)
{
    assert(s->working);
    return sql_run_rows(&s->db, statement, values, n_rows, n_columns, err);
}
