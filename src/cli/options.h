/* The command line against a command's table of options. For main.c and for what is made from the tables. */
#ifndef FINCH_CLI_OPTIONS_H
#define FINCH_CLI_OPTIONS_H

#include "base/arena.h"
#include "cli/cli.h"

/* --json --threads --quiet --help, ended by {0}. */
extern const cli_option cli_common_options[];

/* words [n_words] are what follows the command's name, borrowed. *out lives in memory.
 * Where --help (or -h) is written nothing else is checked: cli_flag(*out, "help") is true.
 * Errors: FINCH_E_USAGE naming the word and, for an unknown option, the nearest known one. */
finch_status cli_parse(const cli_command *command, const char *const *words, size_t n_words, arena *memory, cli_args **out,
                       finch_error *err);
void cli_set_threads(cli_args *args, size_t n_threads);

/* Calls visit for each of the "a|b|c" words until it returns false. */
typedef bool (*cli_word_fn)(void *context, const char *word, size_t size);
void cli_each_word(const char *words, cli_word_fn visit, void *context);

/* The name of names that text was most likely meant to be; NULL where none is near. */
typedef const char *(*cli_name_fn)(const void *context, size_t index); /* NULL ends the names */
const char *cli_nearest(const char *text, cli_name_fn name, const void *context);

#endif
