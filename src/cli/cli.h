/* What a subcommand needs: its table of options, typed values of what was written, and ways to say something.
 *
 * A subcommand is one file that exports one `const cli_command cli_command_<name>`; commands.c lists it. The table of
 * options makes the parsing, --help, shell completion, man pages and docs/options: nothing is said twice.
 *
 * Writing: `--name value`, `--name=value`; a list (`--input A B C`) takes the words up to the next option and may be
 * repeated; a flag is `--x` or `--no-x`; `--` ends the options. A value given twice: the last one counts.
 * Threads: one; all calls come from the thread that runs the command. */
#ifndef FINCH_CLI_CLI_H
#define FINCH_CLI_CLI_H

#include "base/json.h"
#include "base/progress.h"
#include "base/str.h"

typedef enum cli_kind {
    CLI_FLAG,   /* value is NULL; a preset of "yes" makes the flag one that --no-NAME turns off */
    CLI_TEXT,   /* any text */
    CLI_PATH,   /* a text that names a file or folder: completed as such */
    CLI_SIZE,   /* a whole number from 0 */
    CLI_REAL,   /* a finite number */
    CLI_CHOICE, /* one of the words of value, which is written "int8|bf16|f32" */
    CLI_LIST,   /* one or more texts or paths */
} cli_kind;

typedef struct cli_option {
    const char *name;   /* without the dashes */
    const char *value;  /* what --help calls the value ("N", "FOLDER", "F...", "int8|f32"); NULL for flags */
    cli_kind kind;
    const char *preset; /* the value where none is written, as text; NULL: none, the getters then give NULL, 0 or false */
    const char *help;   /* one sentence, no full stop; the preset is added by --help */
    bool required;
    double minimum;     /* of a number; both 0: no bounds but the kind's */
    double maximum;
} cli_option;

/* The help of --text-column in commands with texts_of. */
#define CLI_TEXT_COLUMN "the column of the texts; where it is not written and not there, body or text"

typedef enum cli_group { CLI_GROUP_USE, CLI_GROUP_MAKE, CLI_GROUP_LOOK, CLI_GROUP_COUNT } cli_group;

typedef struct cli_args cli_args;

typedef struct cli_command {
    const char *name;
    cli_group group;
    const char *summary;       /* one line, lower case, no full stop: the overview */
    const char *about;         /* paragraphs between '\n'; wrapped by --help */
    const char *example;       /* one or more command lines between '\n' */
    const char *operands;      /* "WHAT" or "[COMMAND]"; NULL where the command takes none */
    size_t operands_min;
    size_t operands_max;
    const char *operand_words; /* "bash|zsh|fish" for completion and checking; NULL: any */
    const char *alone;         /* a flag with which nothing else is required ("list-presets"); NULL: none */
    const char *texts_of;      /* option with tables, the first of which says what --text-column is; or NULL */
    bool many_barriers;        /* its OpenMP teams meet thousands of times a second (threads.h: threads_yield) */
    const cli_option *options; /* ended by {0}; --json --threads --quiet --help come with every command */
    finch_status (*run)(const cli_args *args, finch_error *err);
} cli_command;

/* ---- what was written. An option that is not in the command's table is a bug in the command (assert). ---- */

/* Whether the option was written, as opposed to preset. */
bool cli_given(const cli_args *args, const char *name);
bool cli_flag(const cli_args *args, const char *name);
/* CLI_TEXT, CLI_PATH, CLI_CHOICE. NULL: not given and no preset. Borrowed from the command line. */
const char *cli_text(const cli_args *args, const char *name);
size_t cli_size(const cli_args *args, const char *name);
double cli_real(const cli_args *args, const char *name);
/* The n items of a list; NULL and 0 where not given (a list's preset counts as one item). */
const char *const *cli_list(const cli_args *args, const char *name, size_t *n);
const char *const *cli_operands(const cli_args *args, size_t *n);
/* Gives an option of the table a value where none was written; text must live as long as args ("yes" turns a flag on).
 * Errors: as for a written one. */
finch_status cli_preset(const cli_args *args, const char *name, const char *text, finch_error *err);
/* The text of a required choice as its index in the words of the table ("int8|bf16|f32": int8 is 0). */
size_t cli_choice(const cli_args *args, const char *name);

/* The threads that will run (--threads, or as many as the process may use); already set for OpenMP. */
size_t cli_threads(const cli_args *args);

/* ---- saying something ---- */

/* For people, on stderr; nothing under --quiet. The newline is the caller's. */
void cli_say(const cli_args *args, const char *format, ...) FINCH_PRINTF(2, 3);
/* "finch score: warning: ..." with a newline, on stderr; nothing under --quiet. */
void cli_warn(const cli_args *args, const char *format, ...) FINCH_PRINTF(2, 3);
/* --json was written. */
bool cli_wants_json(const cli_args *args);
/* The one JSON document on stdout. Takes over the reference of value, also on failure; a NULL value (jansson out of
 * memory) is FINCH_E_MEMORY. Errors: FINCH_E_IO where stdout can not be written, FINCH_E_MEMORY. */
finch_status cli_print_json(json_t *value, finch_error *err);
/* Bytes on stdout, for commands whose product goes there. Errors: FINCH_E_IO. */
finch_status cli_print(const char *text, size_t size, finch_error *err);

/* Where broken rows are listed: --rejects, else rejects.csv in the folder of the output. out is appended to; output may be
 * NULL or "-" (the working folder). */
finch_status cli_rejects_path(const cli_args *args, const char *output, str *out, finch_error *err);
/* FINCH_E_USAGE where the output (NULL: none) is - and --json would write its document between the rows. */
finch_status cli_check_stdout(const cli_args *args, const char *output, finch_error *err);

/* ---- long calls ---- */

/* A bar on a terminal, a plain line every few seconds otherwise, nothing under --quiet; shows the rate and the time left.
 * Begin it, hand cli_bar_progress to the long call, end it (also after a failure). SIGINT and SIGTERM make the callback
 * ask the call to stop, so the call ends with FINCH_E_CANCELLED. */
typedef struct cli_bar {
    const char *label; /* "scoring" */
    const char *unit;  /* "tweets", of done and total */
    bool quiet;
    bool terminal;
    bool shown;          /* something was drawn */
    bool two_rows;       /* the note has a row of its own */
    bool whole;          /* and it said that all is done */
    bool started;        /* the first report came: */
    uint64_t first_done;
    double first_seconds;
    double last;         /* when it was drawn */
} cli_bar;

void cli_bar_begin(cli_bar *bar, const cli_args *args, const char *label, const char *unit);
progress cli_bar_progress(cli_bar *bar);
void cli_bar_end(cli_bar *bar);

/* Whether SIGINT or SIGTERM came. Loops of a command's own ask it and return cli_cancelled_fail. */
bool cli_cancelled(void);
finch_status cli_cancelled_fail(finch_error *err);

/* ---- models (model_path.c) ---- */

/* The option every command with a model has; given NULL or absent, the model that ships is meant. */
#define CLI_OPTION_MODEL                                                                                                  \
    {"model",                                                                                                             \
     "MODEL",                                                                                                             \
     CLI_PATH,                                                                                                            \
     NULL,                                                                                                                \
     "model folder, a registered NAME[@VERSION], the model that ships (default: finch-mini-5), or OWNER/NAME that finch " \
     "fetch brought",                                                                                                     \
     false,                                                                                                               \
     0,                                                                                                                   \
     0}

/* Of commands that work on the store. */
#define CLI_OPTION_STATE                                                        \
    {"state",                                                                   \
     "PLACE",                                                                   \
     CLI_TEXT,                                                                  \
     NULL,                                                                      \
     "the store: a file, or postgres://HOST/NAME (default: $FINCH_STATE, else " \
     "~/.local/share/finch/finch.sqlite)",                                      \
     false,                                                                     \
     0,                                                                         \
     0}

/* Of commands that write a model's folder. */
#define CLI_OPTION_SHARD_BYTES                                                                                        \
    {"shard-bytes", "N", CLI_SIZE, "5000000000", "weights of more bytes go into several files, each of at most this", \
     false,         1,   1e15}

/* The folder of a model: given is a path, or a name looked for in the registry (NAME or NAME@VERSION, its files verified), in
 * FINCH_MODELS and beside the program (../models,
 * ../../models, ../share/finch/models), or OWNER/NAME[@REVISION] in the Hub's cache (no network); a folder of that name goes
 * first. NULL means finch-mini-5. Errors: FINCH_E_NOT_FOUND saying where it looked and what would fetch it. */
finch_status cli_model_folder(const char *given, str *out, finch_error *err);

/* The most memory the process has used so far. */
uint64_t cli_peak_rss_bytes(void);

#endif
