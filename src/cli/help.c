#include "cli/help.h"

#include "cli/commands.h"
#include "cli/options.h"

#include <string.h>

enum { LINE_CELLS = 100, OPTION_CELLS = 30 };

/* Text broken at spaces into lines of LINE_CELLS with an indent; column is where the first word goes. */
static finch_status add_wrapped(str *out, const char *text, size_t indent, size_t column, finch_error *err)
{
    for (const char *at = text; *at != '\0';) {
        size_t size = strcspn(at, " ");
        if (column > indent && column + 1 + size > LINE_CELLS) {
            FINCH_TRY(str_add_format(out, err, "\n%*s", (int)indent, ""));
            column = indent;
        } else if (column > indent) {
            FINCH_TRY(str_add_text(out, " ", err));
            column++;
        }
        FINCH_TRY(str_add(out, at, size, err));
        column += size;
        at += size;
        while (*at == ' ') at++;
    }
    return str_add_text(out, "\n", err);
}

static finch_status add_paragraphs(str *out, const char *text, finch_error *err)
{
    str paragraph = {0};
    finch_status st = FINCH_OK;
    for (const char *at = text; st == FINCH_OK && at != NULL && *at != '\0';) {
        size_t size = strcspn(at, "\n");
        str_clear(&paragraph);
        st = str_add(&paragraph, at, size, err);
        if (st == FINCH_OK) st = add_wrapped(out, paragraph.at, 0, 0, err);
        at += size + (at[size] == '\n' ? 1 : 0);
    }
    str_free(&paragraph);
    return st;
}

static bool is_on(const cli_option *option)
{
    return option->kind == CLI_FLAG && option->preset != NULL && strcmp(option->preset, "yes") == 0;
}

finch_status help_option_text(const cli_option *option, str *out, finch_error *err)
{
    str_clear(out);
    FINCH_TRY(str_add_format(out, err, is_on(option) ? "--no-%s" : "--%s", option->name));
    return option->value == NULL ? FINCH_OK : str_add_format(out, err, " %s", option->value);
}

finch_status help_usage_text(const cli_command *command, str *out, finch_error *err)
{
    str_clear(out);
    FINCH_TRY(str_add_format(out, err, "finch %s", command->name));
    if (command->operands != NULL) FINCH_TRY(str_add_format(out, err, " %s", command->operands));
    for (const cli_option *o = command->options; o != NULL && o->name != NULL; o++)
        if (o->required) FINCH_TRY(str_add_format(out, err, " --%s %s", o->name, o->value));
    return str_add_text(out, " [OPTIONS]", err);
}

static finch_status add_option(str *out, const cli_option *option, str *scratch, finch_error *err)
{
    FINCH_TRY(help_option_text(option, scratch, err));
    FINCH_TRY(str_add_format(out, err, "  %-*s", OPTION_CELLS - 2, scratch->at));
    if (scratch->size + 3 > OPTION_CELLS) FINCH_TRY(str_add_format(out, err, "\n%*s", OPTION_CELLS, ""));
    str_clear(scratch);
    FINCH_TRY(str_add_text(scratch, option->help, err));
    if (option->required) FINCH_TRY(str_add_text(scratch, " (required)", err));
    if (option->preset != NULL && option->kind != CLI_FLAG)
        FINCH_TRY(str_add_format(scratch, err, " (default: %s)", option->preset));
    return add_wrapped(out, scratch->at, OPTION_CELLS, OPTION_CELLS, err);
}

static finch_status add_options(str *out, const char *title, const cli_option *options, finch_error *err)
{
    str scratch = {0};
    finch_status st = FINCH_OK;
    if (options == NULL || options->name == NULL) return FINCH_OK;
    st = str_add_format(out, err, "\n%s\n", title);
    for (const cli_option *o = options; st == FINCH_OK && o->name != NULL; o++) st = add_option(out, o, &scratch, err);
    str_free(&scratch);
    return st;
}

static finch_status add_example(str *out, const char *example, finch_error *err)
{
    FINCH_TRY(str_add_text(out, "\nExample\n", err));
    for (const char *at = example; *at != '\0';) {
        size_t size = strcspn(at, "\n");
        FINCH_TRY(str_add_format(out, err, "  %.*s\n", (int)size, at));
        at += size + (at[size] == '\n' ? 1 : 0);
    }
    return FINCH_OK;
}

finch_status help_command(const cli_command *command, str *out, finch_error *err)
{
    str usage = {0};
    finch_status st = help_usage_text(command, &usage, err);
    if (st == FINCH_OK)
        st = str_add_format(out, err, "finch %s: %s\n\nUsage: %s\n\n", command->name, command->summary, usage.at);
    str_free(&usage);
    FINCH_TRY(st);
    FINCH_TRY(add_paragraphs(out, command->about, err));
    FINCH_TRY(add_options(out, "Options", command->options, err));
    FINCH_TRY(add_options(out, "With every command", cli_common_options, err));
    return add_example(out, command->example, err);
}

finch_status help_overview(str *out, finch_error *err)
{
    FINCH_TRY(str_add_format(out, err,
                             "finch %s: what financial tweets say about the market\n\nUsage: finch COMMAND [OPTIONS]\n",
                             finch_version()));
    for (cli_group group = 0; group < CLI_GROUP_COUNT; group++) {
        bool titled = false;
        for (size_t i = 0; commands_at(i) != NULL; i++) {
            const cli_command *command = commands_at(i);
            if (command->group != group) continue;
            if (!titled) FINCH_TRY(str_add_format(out, err, "\n%s\n", commands_group_title(group)));
            titled = true;
            FINCH_TRY(str_add_format(out, err, "  %-12s %s\n", command->name, command->summary));
        }
    }
    return str_add_text(out, "\nfinch COMMAND --help tells more and shows an example; finch --version tells the version.\n",
                        err);
}

/* ---- the same for programs ---- */

static json_t *option_json(const cli_option *option)
{
    static const char *const kinds[] = {
        [CLI_FLAG] = "flag", [CLI_TEXT] = "text",     [CLI_PATH] = "path", [CLI_SIZE] = "size",
        [CLI_REAL] = "real", [CLI_CHOICE] = "choice", [CLI_LIST] = "list",
    };
    return json_pack("{s:s, s:s?, s:s, s:s?, s:b, s:s}", "name", option->name, "value", option->value, "kind",
                     kinds[option->kind], "default", option->preset, "required", (int)option->required, "help",
                     option->help);
}

static json_t *options_json(const cli_option *options)
{
    json_t *list = json_array();
    for (const cli_option *o = options; o != NULL && o->name != NULL; o++) {
        if (json_array_append_new(list, option_json(o)) == 0) continue;
        json_decref(list);
        return NULL;
    }
    return list;
}

static json_t *command_json(const cli_command *command)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:s?, s:s?, s:o}", "name", command->name, "summary", command->summary, "about",
                     command->about, "example", command->example, "operands", command->operands, "operand_words",
                     command->operand_words, "options", options_json(command->options));
}

static json_t *all_json(const cli_command *only)
{
    json_t *list = json_array();
    for (size_t i = 0; commands_at(i) != NULL; i++) {
        if (only != NULL && commands_at(i) != only) continue;
        if (json_array_append_new(list, command_json(commands_at(i))) == 0) continue;
        json_decref(list);
        return NULL;
    }
    return json_pack("{s:s, s:o, s:o}", "version", finch_version(), "common_options", options_json(cli_common_options),
                     "commands", list);
}

static finch_status run(const cli_args *args, finch_error *err)
{
    size_t n;
    const char *const *operands = cli_operands(args, &n);
    const cli_command *command = n > 0 ? commands_find(operands[0]) : NULL;
    str text = {0};
    if (n > 0 && command == NULL)
        return finch_fail(err, FINCH_E_USAGE, "there is no command \"%.200s\"; finch alone lists them", operands[0]);
    if (cli_wants_json(args)) return cli_print_json(all_json(command), err);
    finch_status st = command != NULL ? help_command(command, &text, err) : help_overview(&text, err);
    if (st == FINCH_OK) st = cli_print(text.at, text.size, err);
    str_free(&text);
    return st;
}

const cli_command cli_command_help = {
    .name = "help",
    .group = CLI_GROUP_LOOK,
    .summary = "what a command does and takes",
    .about =
        "The same text as finch COMMAND --help; with --json the tables that help, completion and man pages are made from.",
    .example = "finch help score\n"
               "finch help --json",
    .operands = "[COMMAND]",
    .operands_max = 1,
    .run = run,
};
