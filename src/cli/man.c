/* Man pages, and the same as Markdown, written from the tables of options. */
#include "cli/commands.h"
#include "cli/help.h"
#include "cli/options.h"

#include <string.h>

/* ---- roff: man(7) ---- */

/* A line of text: no character of it is taken as a request, hyphens stay hyphens when copied. */
static finch_status roff_text(str *out, const char *text, size_t size, finch_error *err)
{
    if (size > 0 && (text[0] == '.' || text[0] == '\'')) FINCH_TRY(str_add_text(out, "\\&", err));
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '\\') FINCH_TRY(str_add_text(out, "\\e", err));
        else if (text[i] == '-') FINCH_TRY(str_add_text(out, "\\-", err));
        else FINCH_TRY(str_add(out, text + i, 1, err));
    }
    return FINCH_OK;
}

static finch_status roff_line(str *out, const char *text, finch_error *err)
{
    FINCH_TRY(roff_text(out, text, strlen(text), err));
    return str_add_text(out, "\n", err);
}

/* Each line of text, with before in front of it. */
static finch_status roff_lines(str *out, const char *before, const char *text, finch_error *err)
{
    for (const char *at = text; *at != '\0';) {
        size_t size = strcspn(at, "\n");
        FINCH_TRY(str_add_text(out, before, err));
        FINCH_TRY(roff_text(out, at, size, err));
        FINCH_TRY(str_add_text(out, "\n", err));
        at += size + (at[size] == '\n' ? 1 : 0);
    }
    return FINCH_OK;
}

static finch_status roff_option(str *out, const cli_option *option, finch_error *err)
{
    str text = {0};
    finch_status st = str_add_text(out, ".TP\n.B ", err);
    if (st == FINCH_OK) st = help_option_text(option, &text, err);
    if (st == FINCH_OK) st = roff_line(out, text.at, err);
    if (st == FINCH_OK) st = roff_text(out, option->help, strlen(option->help), err);
    if (st == FINCH_OK && option->required) st = str_add_text(out, " (required)", err);
    if (st == FINCH_OK && option->preset != NULL && option->kind != CLI_FLAG) {
        str_clear(&text);
        st = str_add_format(&text, err, " (default: %s)", option->preset);
        if (st == FINCH_OK) st = roff_text(out, text.at, text.size, err);
    }
    str_free(&text);
    return st == FINCH_OK ? str_add_text(out, ".\n", err) : st;
}

static finch_status roff_header(str *out, const char *command, const char *summary, finch_error *err)
{
    const char *dash = command[0] == '\0' ? "" : "-";
    FINCH_TRY(str_add_format(out, err, ".TH \"FINCH%s%s\" 1 \"\" \"finch %s\" \"finch\"\n.SH NAME\n", dash, command,
                             finch_version()));
    FINCH_TRY(str_add_format(out, err, "finch%s%s \\- ", command[0] == '\0' ? "" : "\\-", command));
    return roff_line(out, summary, err);
}

static finch_status roff_command(str *out, const cli_command *command, finch_error *err)
{
    str usage = {0};
    FINCH_TRY(roff_header(out, command->name, command->summary, err));
    finch_status st = help_usage_text(command, &usage, err);
    if (st == FINCH_OK) st = str_add_text(out, ".SH SYNOPSIS\n", err);
    if (st == FINCH_OK) st = roff_line(out, usage.at, err);
    str_free(&usage);
    FINCH_TRY(st);
    FINCH_TRY(str_add_text(out, ".SH DESCRIPTION\n", err));
    FINCH_TRY(roff_lines(out, ".PP\n", command->about, err));
    FINCH_TRY(str_add_text(out, ".SH OPTIONS\n", err));
    for (const cli_option *o = command->options; o != NULL && o->name != NULL; o++) FINCH_TRY(roff_option(out, o, err));
    for (const cli_option *o = cli_common_options; o->name != NULL; o++) FINCH_TRY(roff_option(out, o, err));
    FINCH_TRY(str_add_text(out, ".SH EXAMPLES\n.nf\n", err));
    FINCH_TRY(roff_lines(out, "", command->example, err));
    return str_add_text(out, ".fi\n.SH SEE ALSO\n.BR finch (1)\n", err);
}

typedef struct exit_code {
    int code;
    const char *meaning;
} exit_code;

static const exit_code exit_codes[] = {
    {0, "done"},
    {1, "failure: what failed is said on stderr"},
    {2, "wrong usage: an unknown command or option, a value that is none"},
    {3, "bad input data: the message names the file and the place"},
    {4, "a remote service failed"},
    {130, "interrupted; no output is left half written"},
};

typedef struct variable {
    const char *name;
    const char *meaning;
} variable;

static const variable variables[] = {
    {"FINCH_MODELS", "folders with models, separated by colons, searched first"},
    {"FINCH_ISA", "forces a kernel family (scalar, avx2, avx512, amx); for comparisons"},
    {"OMP_NUM_THREADS", "threads where --threads is not given"},
};

static finch_status roff_program(str *out, finch_error *err)
{
    FINCH_TRY(roff_header(out, "", "what financial tweets say about the market", err));
    FINCH_TRY(str_add_text(out, ".SH SYNOPSIS\nfinch COMMAND [OPTIONS]\n.SH COMMANDS\n", err));
    for (size_t i = 0; commands_at(i) != NULL; i++) {
        FINCH_TRY(str_add_format(out, err, ".TP\n.BR finch\\-%s (1)\n", commands_at(i)->name));
        FINCH_TRY(roff_line(out, commands_at(i)->summary, err));
    }
    FINCH_TRY(str_add_text(out, ".SH EXIT STATUS\n", err));
    for (size_t i = 0; i < sizeof exit_codes / sizeof exit_codes[0]; i++)
        FINCH_TRY(str_add_format(out, err, ".TP\n%d\n%s\n", exit_codes[i].code, exit_codes[i].meaning));
    FINCH_TRY(str_add_text(out, ".SH ENVIRONMENT\n", err));
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++) {
        FINCH_TRY(str_add_format(out, err, ".TP\n.B %s\n", variables[i].name));
        FINCH_TRY(roff_line(out, variables[i].meaning, err));
    }
    return FINCH_OK;
}

/* ---- Markdown ---- */

static finch_status markdown_option(str *out, const cli_option *option, finch_error *err)
{
    str text = {0};
    finch_status st = help_option_text(option, &text, err);
    if (st == FINCH_OK) st = str_add_format(out, err, "- `%s`: %s", text.at, option->help);
    str_free(&text);
    FINCH_TRY(st);
    if (option->required) FINCH_TRY(str_add_text(out, " (required)", err));
    if (option->preset != NULL && option->kind != CLI_FLAG)
        FINCH_TRY(str_add_format(out, err, " (default: `%s`)", option->preset));
    return str_add_text(out, "\n", err);
}

static finch_status markdown_command(str *out, const cli_command *command, finch_error *err)
{
    str usage = {0};
    finch_status st = help_usage_text(command, &usage, err);
    if (st == FINCH_OK)
        st = str_add_format(out, err, "\n## finch %s\n\n%s: `%s`\n\n%s\n", command->name, command->summary, usage.at,
                            command->about);
    str_free(&usage);
    FINCH_TRY(st);
    if (command->options != NULL) FINCH_TRY(str_add_text(out, "\n", err));
    for (const cli_option *o = command->options; o != NULL && o->name != NULL; o++) FINCH_TRY(markdown_option(out, o, err));
    return str_add_format(out, err, "\n```sh\n%s\n```\n", command->example);
}

static finch_status markdown_program(str *out, finch_error *err)
{
    FINCH_TRY(str_add_text(
        out, "# Commands and options\n\nMade by `finch man --markdown`; do not edit.\n\nWith every command:\n\n", err));
    for (const cli_option *o = cli_common_options; o->name != NULL; o++) FINCH_TRY(markdown_option(out, o, err));
    FINCH_TRY(str_add_text(out, "\nExit codes:", err));
    for (size_t i = 0; i < sizeof exit_codes / sizeof exit_codes[0]; i++)
        FINCH_TRY(str_add_format(out, err, "%s %d %s", i > 0 ? ";" : "", exit_codes[i].code, exit_codes[i].meaning));
    FINCH_TRY(str_add_text(out, ".\n", err));
    for (size_t i = 0; commands_at(i) != NULL; i++) FINCH_TRY(markdown_command(out, commands_at(i), err));
    return FINCH_OK;
}

/* ---- the command ---- */

static finch_status write_page(const cli_command *command, bool markdown, str *out, finch_error *err)
{
    if (markdown) return command != NULL ? markdown_command(out, command, err) : markdown_program(out, err);
    return command != NULL ? roff_command(out, command, err) : roff_program(out, err);
}

static finch_status run(const cli_args *args, finch_error *err)
{
    size_t n;
    const char *const *operands = cli_operands(args, &n);
    const cli_command *command = n > 0 ? commands_find(operands[0]) : NULL;
    if (n > 0 && command == NULL)
        return finch_fail(err, FINCH_E_USAGE, "there is no command \"%.200s\"; finch alone lists them", operands[0]);
    str text = {0};
    finch_status st = write_page(command, cli_flag(args, "markdown"), &text, err);
    if (st == FINCH_OK && cli_wants_json(args)) st = cli_print_json(json_pack("{s:s}", "page", text.at), err);
    else if (st == FINCH_OK) st = cli_print(text.at, text.size, err);
    str_free(&text);
    return st;
}

static const cli_option options[] = {
    {"markdown", NULL, CLI_FLAG, NULL, "write Markdown instead of a man page", false, 0, 0},
    {0},
};

const cli_command cli_command_man = {
    .name = "man",
    .group = CLI_GROUP_LOOK,
    .summary = "man pages of finch and its commands",
    .about = "Prints the man page of a command, or of finch itself. Nothing needs to be installed to read it.",
    .example = "finch man score | man -l -\n"
               "finch man >finch.1",
    .operands = "[COMMAND]",
    .operands_max = 1,
    .options = options,
    .run = run,
};
