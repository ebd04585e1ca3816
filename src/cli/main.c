/* The program: finds the command, reads its options, runs it, and turns its status into an exit code. */
#include "cli/commands.h"
#include "cli/help.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/signals.h"
#include "cli/threads.h"
#include "data/text_column.h"
#include "tensor/cpu.h"

#include <stdio.h>
#include <string.h>

static finch_status print_overview(finch_error *err)
{
    str text = {0};
    finch_status st = help_overview(&text, err);
    if (st == FINCH_OK) st = cli_print(text.at, text.size, err);
    str_free(&text);
    return st;
}

static finch_status print_help(const cli_command *command, finch_error *err)
{
    str text = {0};
    finch_status st = help_command(command, &text, err);
    if (st == FINCH_OK) st = cli_print(text.at, text.size, err);
    str_free(&text);
    return st;
}

static finch_status print_version(finch_error *err)
{
    static const char text[] = "finch " FINCH_VERSION "\n";
    return cli_print(text, sizeof text - 1, err);
}

static finch_status fail_unknown(const char *name, finch_error *err)
{
    const char *near = commands_nearest(name);
    if (near != NULL)
        return finch_fail(err, FINCH_E_USAGE, "there is no command \"%.200s\"; did you mean finch %s?", name, near);
    return finch_fail(err, FINCH_E_USAGE, "there is no command \"%.200s\"; finch alone lists them", name);
}

static finch_status find_text_column(const cli_command *command, const cli_args *args, finch_error *err)
{
    size_t n;
    if (command->texts_of == NULL || cli_given(args, "text-column")) return FINCH_OK;
    const char *const *inputs = cli_list(args, command->texts_of, &n);
    const char *found = data_text_column(inputs, n, cli_text(args, "text-column"));
    return cli_preset(args, "text-column", found, err);
}

static finch_status run_command(const cli_command *command, const char *const *words, size_t n_words, finch_error *err)
{
    arena memory;
    cli_args *args;
    arena_init(&memory);
    finch_status st = cli_parse(command, words, n_words, &memory, &args, err);
    if (st == FINCH_OK && cli_flag(args, "help")) {
        st = print_help(command, err);
    } else if (st == FINCH_OK) {
        size_t n_threads = cli_given(args, "threads") ? cli_size(args, "threads") : threads_default();
        cli_set_threads(args, n_threads);
        threads_use(n_threads);
        st = cpu_check(err);
        if (st == FINCH_OK) st = find_text_column(command, args, err);
        if (st == FINCH_OK) st = command->run(args, err);
    }
    arena_free(&memory);
    return st;
}

static finch_status run_words(char **argv, const char *const *words, size_t n_words, finch_error *err)
{
    if (n_words == 0 || strcmp(words[0], "--help") == 0 || strcmp(words[0], "-h") == 0) return print_overview(err);
    if (strcmp(words[0], "--version") == 0 || strcmp(words[0], "-V") == 0) return print_version(err);
    const cli_command *command = commands_find(words[0]);
    if (command == NULL) return fail_unknown(words[0], err);
    if (command->many_barriers) threads_yield(argv);
    output_begin(command->name);
    return run_command(command, words + 1, n_words - 1, err);
}

int main(int argc, char **argv)
{
    finch_error err = {0};
    size_t n_words = argc > 1 ? (size_t)argc - 1 : 0;
    signals_install();
    finch_status st = run_words(argv, (const char *const *)argv + 1, n_words, &err);
    if (st != FINCH_OK) output_error(err.message[0] != '\0' ? err.message : finch_status_text(st));
    return finch_status_exit_code(st);
}
