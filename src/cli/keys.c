/* finch keys: API keys for finch serve. */
#include "cli/cli.h"
#include "cli/pen.h"

#include "base/clock.h"
#include "store/keys.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const cli_option options[] = {
    {"name", "TEXT", CLI_TEXT, NULL, "create: whom the key is for, as lists and logs show it", false, 0, 0},
    {"scopes", "LIST", CLI_TEXT, "read,predict", "create: of read, predict, admin, with commas; admin may do everything",
     false, 0, 0},
    {"expires", "WHEN", CLI_TEXT, NULL,
     "create: after so many days (90d) or hours (12h), or at a date (2027-01-31); never where "
     "not given",
     false, 0, 0},
    {"requests-a-minute", "N", CLI_SIZE, "0", "create: the key's own rate limit; 0: the server's preset", false, 0,
     10000000},
    {"store-predictions", NULL, CLI_FLAG, NULL, "create: what is predicted with this key is kept in the history", false, 0,
     0},
    CLI_OPTION_STATE,
    {0},
};

/* ---- create ---- */

#define DAY_MS (24 * 3600 * INT64_C(1000))

/* "90d", "12h" from now, or a date. */
static finch_status read_expiry(const store *s, const char *text, int64_t *out, finch_error *err)
{
    char *end = NULL;
    *out = 0;
    if (text == NULL || clock_parse_utc(text, strlen(text), out)) return FINCH_OK;
    long long n = strtoll(text, &end, 10);
    int64_t unit = strcmp(end, "d") == 0 ? DAY_MS : strcmp(end, "h") == 0 ? DAY_MS / 24 : 0;
    if (unit == 0 || end == text || n <= 0 || n > 100000)
        return finch_fail(err, FINCH_E_USAGE,
                          "--expires takes days (90d), hours (12h) or a date (2027-01-31, 2027-01-31T12:00Z), not \"%.40s\"",
                          text);
    *out = store_now_ms(s) + n * unit;
    return FINCH_OK;
}

/* As keys list shows it, and the key. */
static finch_status created_json(store *s, const char *text, json_t **out, finch_error *err)
{
    json_t *keys, *key;
    size_t at;
    *out = NULL;
    FINCH_TRY(keys_list(s, &keys, err));
    json_array_foreach(keys, at, key)
    {
        const char *id = json_string_value(json_object_get(key, "id"));
        if (strncmp(id, strchr(text, '_') + 1, KEYS_ID_BYTES - 1) == 0) *out = json_incref(key);
    }
    json_decref(keys);
    if (json_object_set_new(*out, "key", json_string(text)) == 0) return FINCH_OK;
    json_decref(*out);
    return finch_fail(err, FINCH_E_FAILED, "the new key %.18s was taken away at once", text);
}

/* The key alone goes to stdout, so that it can go into a file or a secret store without being seen. */
static finch_status show_created(const cli_args *args, store *s, const keys_new *spec, const char *text, finch_error *err)
{
    json_t *document;
    if (cli_wants_json(args)) {
        FINCH_TRY(created_json(s, text, &document, err));
        return cli_print_json(document, err);
    }
    cli_say(args, "The key of \"%s\", shown this once; the store keeps only its hash:\n", spec->name);
    FINCH_TRY(cli_print(text, KEYS_TEXT_BYTES - 1, err));
    return cli_print("\n", 1, err);
}

static finch_status create(const cli_args *args, store *s, finch_error *err)
{
    char text[KEYS_TEXT_BYTES];
    keys_new spec = {.name = cli_text(args, "name"),
                     .requests_a_minute = (int64_t)cli_size(args, "requests-a-minute"),
                     .store_predictions = cli_flag(args, "store-predictions")};
    if (spec.name == NULL) return finch_fail(err, FINCH_E_USAGE, "finch keys create needs --name: whom the key is for");
    FINCH_TRY(keys_scopes_parse(cli_text(args, "scopes"), &spec.scopes, err));
    FINCH_TRY(read_expiry(s, cli_text(args, "expires"), &spec.expires_ms, err));
    FINCH_TRY(keys_create(s, &spec, text, err));
    finch_status st = show_created(args, s, &spec, text, err);
    OPENSSL_cleanse(text, sizeof text);
    return st;
}

/* ---- list and revoke ---- */

/* A day is enough where people look; --json has the milliseconds. */
static finch_status add_day(pen *p, const json_t *key, const char *what, finch_error *err)
{
    const char *time = json_string_value(json_object_get(key, what));
    return str_add_format(&p->out, err, "  %-10.10s", time != NULL ? time : "-");
}

static finch_status add_scopes(pen *p, const json_t *key, finch_error *err)
{
    const json_t *scopes = json_object_get(key, "scopes");
    unsigned bits = 0;
    char text[KEYS_SCOPES_BYTES];
    for (size_t i = 0; i < json_array_size(scopes); i++) {
        unsigned bit;
        FINCH_TRY(keys_scopes_parse(json_string_value(json_array_get(scopes, i)), &bit, err));
        bits |= bit;
    }
    return str_add_format(&p->out, err, "  %-18s", keys_scopes_text(bits, text));
}

static finch_status add_key(pen *p, const json_t *key, finch_error *err)
{
    FINCH_TRY(str_add_format(&p->out, err, "  %s  %-7s", json_string_value(json_object_get(key, "id")),
                             json_string_value(json_object_get(key, "state"))));
    FINCH_TRY(add_scopes(p, key, err));
    FINCH_TRY(add_day(p, key, "created", err));
    FINCH_TRY(add_day(p, key, "expires", err));
    FINCH_TRY(add_day(p, key, "last_used", err));
    FINCH_TRY(str_add_text(&p->out, "  ", err));
    FINCH_TRY(pen_add_sane(p, json_string_value(json_object_get(key, "name")), 40, NULL, err));
    return str_add_text(&p->out, "\n", err);
}

static finch_status list(const cli_args *args, store *s, finch_error *err)
{
    json_t *keys;
    pen p = pen_open(STDOUT_FILENO);
    FINCH_TRY(keys_list(s, &keys, err));
    if (cli_wants_json(args)) return cli_print_json(json_pack("{s:o}", "keys", keys), err);
    finch_status st = str_add_format(&p.out, err, "  %-12s  %-7s  %-18s  %-10s  %-10s  %-10s  name\n", "id", "state",
                                     "scopes", "created", "expires", "last used");
    if (json_array_size(keys) == 0) str_clear(&p.out);
    for (size_t i = 0; st == FINCH_OK && i < json_array_size(keys); i++) st = add_key(&p, json_array_get(keys, i), err);
    if (json_array_size(keys) == 0) cli_say(args, "there is no key in %s; finch keys create makes one\n", store_place(s));
    json_decref(keys);
    return pen_print(&p, st, err);
}

static finch_status revoke_all(const cli_args *args, store *s, finch_error *err)
{
    size_t n;
    const char *const *words = cli_operands(args, &n);
    if (n < 2) return finch_fail(err, FINCH_E_USAGE, "finch keys revoke needs the key's id, as finch keys list shows it");
    for (size_t i = 1; i < n; i++) {
        FINCH_TRY(keys_revoke(s, words[i], err));
        cli_say(args, "revoked; servers on this store refuse it within a second or two\n");
    }
    return cli_wants_json(args) ? cli_print_json(json_pack("{s:I}", "revoked", (json_int_t)(n - 1)), err) : FINCH_OK;
}

/* ---- the command ---- */

typedef finch_status (*action_fn)(const cli_args *args, store *s, finch_error *err);

static const struct {
    const char *word;
    action_fn run;
} actions[] = {{"create", create}, {"list", list}, {"revoke", revoke_all}};

static finch_status run(const cli_args *args, finch_error *err)
{
    size_t n;
    const char *const *words = cli_operands(args, &n);
    action_fn action = NULL;
    store *s;
    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++)
        if (strcmp(actions[i].word, words[0]) == 0) action = actions[i].run;
    if (action == NULL)
        return finch_fail(err, FINCH_E_USAGE, "finch keys does create, list and revoke, not \"%.100s\"", words[0]);
    if (action != revoke_all && n > 1)
        return finch_fail(err, FINCH_E_USAGE, "finch keys %s takes no \"%.100s\"", words[0], words[1]);
    FINCH_TRY(store_open(cli_text(args, "state"), &s, err));
    finch_status st = action(args, s, err);
    store_close(s);
    return st;
}

const cli_command cli_command_keys = {
    .name = "keys",
    .group = CLI_GROUP_USE,
    .summary = "API keys for finch serve: create, list, revoke",
    .about = "A key is 256 random bits, shown once when it is made; the store keeps its hash. Lists and logs name it by its "
             "id. Who "
             "reads needs the scope read, who scores texts predict, who changes keys and models admin.\n"
             "Nothing that is predicted with a key is kept unless it was made with --store-predictions.",
    .example = "finch keys create --name dashboard --scopes read,predict --expires 90d > key.txt\n"
               "finch keys list --json\n"
               "finch keys revoke 0123456789ab",
    .operands = "create|list|revoke [ID...]",
    .operands_min = 1,
    .operands_max = 1000,
    .options = options,
    .run = run,
};
