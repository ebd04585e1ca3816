/* The store on SQLite: opening, versions, transactions that run again, owners, packing. */
#include "harness.h"

#include "store/store.h"

#include "base/file.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static finch_error err;

static const char *place(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", harness_folder(), name);
    return path;
}

static finch_status take(void *context, const sql_row *row, finch_error *e)
{
    (void)e;
    *(int64_t *)context = sql_row_integer(row, 0);
    return FINCH_OK;
}

static void execute(const char *path, const char *sql)
{
    sqlite3 *db = NULL;
    CHECK_EQUAL(SQLITE_OK, sqlite3_open(path, &db));
    CHECK_EQUAL(SQLITE_OK, sqlite3_exec(db, sql, NULL, NULL, NULL));
    sqlite3_close(db);
}

TEST(a_new_store_is_its_owners_alone_and_opens_again)
{
    struct stat info;
    store *s;
    const char *path = place("deep/er/s.sqlite");
    CHECK_OK(store_open(path, &s, &err), &err);
    CHECK_TEXT(path, store_place(s));
    CHECK(!store_is_shared(s));
    store_close(s);
    CHECK_EQUAL(0, stat(path, &info));
    CHECK_EQUAL(0600, info.st_mode & 0777);
    CHECK_OK(store_open(path, &s, &err), &err);
    store_close(s);
}

TEST(what_is_no_store_is_refused)
{
    store *s;
    const char *path = place("text");
    CHECK_OK(file_write(path, "this is a long enough text that is no database at all, is it?", 61, &err), &err);
    CHECK_STATUS(FINCH_E_DATA, store_open(path, &s, &err), &err);
    CHECK(s == NULL);
    CHECK_STATUS(FINCH_E_IO, store_open(harness_folder(), &s, &err), &err);
}

TEST(a_newer_finchs_store_is_left_alone)
{
    store *s;
    const char *path = place("s.sqlite");
    CHECK_OK(store_open(path, &s, &err), &err);
    store_close(s);
    execute(path, "INSERT INTO finch_schema VALUES (999)");
    CHECK_STATUS(FINCH_E_UNSUPPORTED, store_open(path, &s, &err), &err);
}

TEST(commits_are_flushed_and_written_ahead)
{
    static const sql_statement journal = {"SELECT CASE (SELECT * FROM pragma_journal_mode) WHEN 'wal' THEN 1 END", NULL};
    static const sql_statement flush = {"SELECT * FROM pragma_synchronous", NULL};
    int64_t value = 0;
    store *s;
    CHECK_OK(store_open(place("s.sqlite"), &s, &err), &err);
    CHECK_OK(store_run(s, &journal, NULL, 0, take, &value, NULL, &err), &err);
    CHECK_EQUAL(1, value);
    CHECK_OK(store_run(s, &flush, NULL, 0, take, &value, NULL, &err), &err);
    CHECK_EQUAL(2, value); /* FULL */
    static const sql_statement cache = {"SELECT -cache_size FROM pragma_cache_size", NULL};
    int64_t usual = 0, bulk = 0, after = 0;
    CHECK_OK(store_run(s, &cache, NULL, 0, take, &usual, NULL, &err), &err);
    CHECK_OK(store_set_bulk(s, true, &err), &err);
    CHECK_OK(store_run(s, &flush, NULL, 0, take, &value, NULL, &err), &err);
    CHECK_OK(store_run(s, &cache, NULL, 0, take, &bulk, NULL, &err), &err);
    CHECK_EQUAL(1, value); /* NORMAL: not each commit, but those after it in their order */
    CHECK(bulk > usual);
    CHECK_OK(store_set_bulk(s, false, &err), &err);
    CHECK_OK(store_run(s, &flush, NULL, 0, take, &value, NULL, &err), &err);
    CHECK_OK(store_run(s, &cache, NULL, 0, take, &after, NULL, &err), &err);
    CHECK_EQUAL(2, value);
    CHECK_EQUAL(usual, after);
    store_close(s);
}

/* ---- transactions ---- */

static const sql_statement insert = {"INSERT INTO label_pace (key, next_us) VALUES ($1, 1)", NULL};
static const sql_statement count = {"SELECT count(*) FROM label_pace", NULL};

typedef struct script {
    int runs, busy; /* busy: the first so many runs find another in the way */
    finch_status end;
} script;

static finch_status work(store *s, void *context, finch_error *e)
{
    script *x = context;
    char key[16];
    x->runs++;
    snprintf(key, sizeof key, "k%d", x->runs);
    sql_value value = sql_text(key);
    FINCH_TRY(store_run(s, &insert, &value, 1, NULL, NULL, NULL, e));
    if (x->runs <= x->busy) return finch_fail(e, FINCH_E_BUSY, "another one");
    return x->end == FINCH_OK ? FINCH_OK : finch_fail(e, x->end, "the end");
}

TEST(a_transaction_runs_again_and_leaves_nothing_of_the_first_run)
{
    script x = {.busy = 2};
    int64_t n = 0;
    store *s;
    CHECK_OK(store_open(place("s.sqlite"), &s, &err), &err);
    CHECK_OK(store_transaction(s, work, &x, &err), &err);
    CHECK_EQUAL(3, x.runs);
    CHECK_EQUAL(2, store_retries(s));
    CHECK_OK(store_run(s, &count, NULL, 0, take, &n, NULL, &err), &err);
    CHECK_EQUAL(1, n);
    x = (script){.end = FINCH_E_DATA, .runs = 10};
    CHECK_STATUS(FINCH_E_DATA, store_transaction(s, work, &x, &err), &err);
    CHECK_OK(store_run(s, &count, NULL, 0, take, &n, NULL, &err), &err);
    CHECK_EQUAL(1, n);
    store_set_patience(s, 0.1);
    x = (script){.busy = 1000, .runs = 20};
    CHECK_STATUS(FINCH_E_BUSY, store_transaction(s, work, &x, &err), &err);
    store_close(s);
}

TEST(values_are_never_sql)
{
    static const sql_statement back = {"SELECT length(key), next_us FROM label_pace WHERE key = $1", NULL};
    const char *nasty = "'; DROP TABLE label_pace; -- \" \\ $1 %s";
    int64_t n = 0;
    store *s;
    CHECK_OK(store_open(place("s.sqlite"), &s, &err), &err);
    sql_value value = sql_text(nasty);
    CHECK_OK(store_run(s, &insert, &value, 1, NULL, NULL, NULL, &err), &err);
    CHECK_OK(store_run(s, &back, &value, 1, take, &n, NULL, &err), &err);
    CHECK_EQUAL(strlen(nasty), n);
    store_close(s);
}

/* ---- owners ---- */

TEST(an_owner_that_died_here_is_known_to_be_gone)
{
    char owner[600] = "";
    store *s;
    int ends[2], status;
    CHECK_OK(store_open(place("s.sqlite"), &s, &err), &err);
    CHECK(store_owner_lives(s, store_owner(s)));
    CHECK_EQUAL(0, pipe(ends));
    pid_t child = fork();
    if (child == 0) {
        store *own;
        if (store_open(place("child.sqlite"), &own, NULL) != FINCH_OK ||
            write(ends[1], store_owner(own), strlen(store_owner(own))) < 0)
            _exit(1);
        _exit(0);
    }
    close(ends[1]);
    CHECK(read(ends[0], owner, sizeof owner - 1) > 0);
    close(ends[0]);
    CHECK_EQUAL(child, waitpid(child, &status, 0));
    CHECK(strcmp(owner, store_owner(s)) != 0);
    CHECK(!store_owner_lives(s, owner));
    CHECK(store_owner_lives(s, "another-machine/12345678/1/1")); /* nothing is known of it */
    CHECK(store_owner_lives(s, "nonsense"));
    store_close(s);
}

TEST(the_url_shown_has_no_password)
{
    store *s;
    /* Nothing listens there: the error is what is looked at. */
    CHECK(store_open("postgres://me:geheim@127.0.0.1:1/db?sslmode=disable&password=geheim", &s, &err) != FINCH_OK);
    CHECK(strstr(err.message, "geheim") == NULL);
    CHECK(strstr(err.message, "PostgreSQL") != NULL);
}

/* ---- packing and names ---- */

TEST(what_is_packed_comes_back_and_limits_hold)
{
    char text[10000];
    str packed = {0}, back = {0};
    for (size_t i = 0; i < sizeof text; i++) text[i] = (char)("{\"labels\":[]}"[i % 13]);
    CHECK_OK(store_pack(text, sizeof text, &packed, &err), &err);
    CHECK(packed.size < sizeof text / 20);
    CHECK_OK(store_unpack(packed.at, packed.size, sizeof text, &back, &err), &err);
    CHECK_EQUAL(sizeof text, back.size);
    assert_memory_equal(text, back.at, sizeof text);
    CHECK_STATUS(FINCH_E_DATA, store_unpack(packed.at, packed.size, sizeof text - 1, &back, &err), &err);
    CHECK_STATUS(FINCH_E_DATA, store_unpack(packed.at, packed.size / 2, sizeof text, &back, &err), &err);
    CHECK_STATUS(FINCH_E_DATA, store_unpack("abc", 3, 100, &back, &err), &err);
    CHECK_OK(store_pack("", 0, &packed, &err), &err);
    CHECK_OK(store_unpack(packed.at, packed.size, 10, &back, &err), &err);
    CHECK_EQUAL(0, back.size);
    str_free(&packed);
    str_free(&back);
}

TEST(hashes_are_sha256s_and_names_differ)
{
    char hash[STORE_HASH_BYTES], other[STORE_HASH_BYTES];
    CHECK_OK(store_hash("abc", 3, hash, &err), &err);
    CHECK_TEXT("ba7816bf8f01cfea414140de5dae2223", hash); /* FIPS 180-2, appendix B.1 */
    CHECK_OK(store_random_name(hash, &err), &err);
    CHECK_OK(store_random_name(other, &err), &err);
    CHECK(strcmp(hash, other) != 0);
    CHECK_EQUAL(32, strlen(hash));
}
