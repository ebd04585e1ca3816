/* Completion scripts for the shells, written from the tables of options. */
#include "cli/commands.h"
#include "cli/options.h"

#include <string.h>

typedef struct script {
    str *out;
    const char *separator; /* between words */
    finch_status st;
    finch_error *err;
} script;

static bool add_word(void *context, const char *word, size_t size)
{
    script *s = context;
    s->st = str_add_format(s->out, s->err, "%s%.*s", s->separator, (int)size, word);
    return s->st == FINCH_OK;
}

/* " int8 f32" from "int8|f32". */
static finch_status add_words(str *out, const char *words, finch_error *err)
{
    script s = {.out = out, .separator = " ", .err = err};
    cli_each_word(words, add_word, &s);
    return s.st;
}

static bool takes_files(const cli_option *option) { return option->kind == CLI_PATH || option->kind == CLI_LIST; }

/* A flag that is on is completed as the --no- that turns it off. */
static const char *no_prefix(const cli_option *option)
{
    return option->kind == CLI_FLAG && option->preset != NULL && strcmp(option->preset, "yes") == 0 ? "no-" : "";
}

static bool names_commands(const cli_command *command)
{
    return command->operands != NULL && strstr(command->operands, "COMMAND") != NULL;
}

static finch_status add_command_names(str *out, finch_error *err)
{
    for (size_t i = 0; commands_at(i) != NULL; i++) FINCH_TRY(str_add_format(out, err, " %s", commands_at(i)->name));
    return FINCH_OK;
}

static finch_status add_operand_words(str *out, const cli_command *command, finch_error *err)
{
    if (names_commands(command)) return add_command_names(out, err);
    return add_words(out, command->operand_words, err);
}

/* Calls add for the command's own options, then for the common ones. */
typedef finch_status (*option_fn)(str *out, const cli_command *command, const cli_option *option, finch_error *err);

static finch_status each_option(str *out, const cli_command *command, option_fn add, finch_error *err)
{
    for (const cli_option *o = command->options; o != NULL && o->name != NULL; o++) FINCH_TRY(add(out, command, o, err));
    for (const cli_option *o = cli_common_options; o->name != NULL; o++) FINCH_TRY(add(out, command, o, err));
    return FINCH_OK;
}

/* Text for the inside of '...' in a shell, with a backslash before each of the characters in special. */
static finch_status add_quoted(str *out, const char *text, const char *special, finch_error *err)
{
    for (; *text != '\0'; text++) {
        if (*text == '\'') FINCH_TRY(str_add_text(out, "'\\''", err));
        else FINCH_TRY(str_add_format(out, err, "%s%c", strchr(special, *text) != NULL ? "\\" : "", *text));
    }
    return FINCH_OK;
}

/* ---- bash ---- */

static finch_status bash_value(str *out, const cli_command *command, const cli_option *option, finch_error *err)
{
    if (option->kind == CLI_FLAG || takes_files(option)) return FINCH_OK; /* files are what bash offers by itself */
    FINCH_TRY(str_add_format(out, err, "    '%s --%s') COMPREPLY=($(compgen -W '", command->name, option->name));
    if (option->kind == CLI_CHOICE) FINCH_TRY(add_words(out, option->value, err));
    return str_add_text(out, "' -- \"$current\")); return ;;\n", err);
}

static finch_status bash_option(str *out, const cli_command *command, const cli_option *option, finch_error *err)
{
    (void)command;
    return str_add_format(out, err, " --%s%s", no_prefix(option), option->name);
}

static finch_status write_bash(str *out, finch_error *err)
{
    FINCH_TRY(str_add_text(out,
                           "# bash completion of finch; load it with: source <(finch completion bash)\n"
                           "_finch() {\n"
                           "    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} options= words=\n"
                           "    # --name=value is three words to bash.\n"
                           "    if [ \"$current\" = = ]; then current=\n"
                           "    elif [ \"$before\" = = ]; then before=${COMP_WORDS[COMP_CWORD-2]}; fi\n"
                           "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
                           "        COMPREPLY=($(compgen -W '--help --version",
                           err));
    FINCH_TRY(add_command_names(out, err));
    FINCH_TRY(
        str_add_text(out, "' -- \"$current\"))\n        return\n    fi\n    case \"${COMP_WORDS[1]} $before\" in\n", err));
    for (size_t i = 0; commands_at(i) != NULL; i++) FINCH_TRY(each_option(out, commands_at(i), bash_value, err));
    FINCH_TRY(str_add_text(out, "    esac\n    case \"${COMP_WORDS[1]}\" in\n", err));
    for (size_t i = 0; commands_at(i) != NULL; i++) {
        FINCH_TRY(str_add_format(out, err, "    %s) options='", commands_at(i)->name));
        FINCH_TRY(each_option(out, commands_at(i), bash_option, err));
        FINCH_TRY(str_add_text(out, "' words='", err));
        FINCH_TRY(add_operand_words(out, commands_at(i), err));
        FINCH_TRY(str_add_text(out, "' ;;\n", err));
    }
    return str_add_text(out,
                        "    esac\n"
                        "    case \"$current\" in\n"
                        "    -*) COMPREPLY=($(compgen -W \"$options\" -- \"$current\")) ;;\n"
                        "    *) COMPREPLY=($(compgen -W \"$words\" -- \"$current\")) ;;\n"
                        "    esac\n"
                        "}\n"
                        "complete -o default -F _finch finch\n",
                        err);
}

/* ---- zsh ---- */

static finch_status zsh_option(str *out, const cli_command *command, const cli_option *option, finch_error *err)
{
    (void)command;
    FINCH_TRY(str_add_format(out, err, " \\\n            '%s--%s%s[", option->kind == CLI_LIST ? "*" : "", no_prefix(option),
                             option->name));
    FINCH_TRY(add_quoted(out, option->help, "[]:\\", err));
    FINCH_TRY(str_add_text(out, "]", err));
    if (option->value != NULL)
        FINCH_TRY(str_add_format(out, err, ":%s:", option->kind == CLI_CHOICE ? option->name : option->value));
    if (option->kind == CLI_CHOICE) {
        FINCH_TRY(str_add_text(out, "(", err));
        FINCH_TRY(add_words(out, option->value, err));
        FINCH_TRY(str_add_text(out, ")", err));
    }
    if (takes_files(option)) FINCH_TRY(str_add_text(out, "_files", err));
    return str_add_text(out, "'", err);
}

static finch_status write_zsh(str *out, finch_error *err)
{
    FINCH_TRY(str_add_text(out,
                           "#compdef finch\n# zsh completion of finch; write it to a file _finch in a folder of $fpath\n"
                           "_finch() {\n    local -a commands\n    commands=(\n",
                           err));
    for (size_t i = 0; commands_at(i) != NULL; i++) {
        FINCH_TRY(str_add_format(out, err, "        '%s:", commands_at(i)->name));
        FINCH_TRY(add_quoted(out, commands_at(i)->summary, ":\\", err));
        FINCH_TRY(str_add_text(out, "'\n", err));
    }
    FINCH_TRY(
        str_add_text(out,
                     "    )\n    if (( CURRENT == 2 )); then\n        _describe command commands\n        return\n    fi\n"
                     "    local command=$words[2]\n    shift words\n    (( CURRENT-- ))\n    case $command in\n",
                     err));
    for (size_t i = 0; commands_at(i) != NULL; i++) {
        FINCH_TRY(str_add_format(out, err, "    %s)\n        _arguments", commands_at(i)->name));
        FINCH_TRY(each_option(out, commands_at(i), zsh_option, err));
        if (commands_at(i)->operands != NULL) {
            FINCH_TRY(str_add_text(out, " \\\n            '*:word:(", err));
            FINCH_TRY(add_operand_words(out, commands_at(i), err));
            FINCH_TRY(str_add_text(out, ")'", err));
        }
        FINCH_TRY(str_add_text(out, " ;;\n", err));
    }
    return str_add_text(out, "    esac\n}\nif [ \"$funcstack[1]\" = _finch ]; then _finch; else compdef _finch finch; fi\n",
                        err);
}

/* ---- fish ---- */

static finch_status fish_option(str *out, const cli_command *command, const cli_option *option, finch_error *err)
{
    FINCH_TRY(str_add_format(out, err, "complete -c finch -n '__fish_seen_subcommand_from %s' -l %s%s -d '", command->name,
                             no_prefix(option), option->name));
    FINCH_TRY(add_quoted(out, option->help, "\\", err));
    FINCH_TRY(str_add_text(out, "'", err));
    if (takes_files(option)) FINCH_TRY(str_add_text(out, " -r -F", err));
    else if (option->value != NULL) FINCH_TRY(str_add_text(out, " -x", err));
    if (option->kind == CLI_CHOICE) {
        FINCH_TRY(str_add_text(out, " -a '", err));
        FINCH_TRY(add_words(out, option->value, err));
        FINCH_TRY(str_add_text(out, "'", err));
    }
    return str_add_text(out, "\n", err);
}

static finch_status write_fish(str *out, finch_error *err)
{
    FINCH_TRY(str_add_text(
        out, "# fish completion of finch; load it with: finch completion fish | source\ncomplete -c finch -f\n", err));
    for (size_t i = 0; commands_at(i) != NULL; i++) {
        const cli_command *command = commands_at(i);
        FINCH_TRY(str_add_format(out, err, "complete -c finch -n __fish_use_subcommand -a %s -d '", command->name));
        FINCH_TRY(add_quoted(out, command->summary, "\\", err));
        FINCH_TRY(str_add_text(out, "'\n", err));
        if (command->operands != NULL) {
            FINCH_TRY(str_add_format(out, err, "complete -c finch -n '__fish_seen_subcommand_from %s' -a '", command->name));
            FINCH_TRY(add_operand_words(out, command, err));
            FINCH_TRY(str_add_text(out, "'\n", err));
        }
        FINCH_TRY(each_option(out, command, fish_option, err));
    }
    return FINCH_OK;
}

/* ---- the command ---- */

static finch_status write_script(const char *shell, str *out, finch_error *err)
{
    if (strcmp(shell, "bash") == 0) return write_bash(out, err);
    if (strcmp(shell, "zsh") == 0) return write_zsh(out, err);
    return write_fish(out, err);
}

static finch_status run(const cli_args *args, finch_error *err)
{
    size_t n;
    const char *shell = cli_operands(args, &n)[0];
    str text = {0};
    finch_status st = write_script(shell, &text, err);
    if (st == FINCH_OK && cli_wants_json(args))
        st = cli_print_json(json_pack("{s:s, s:s}", "shell", shell, "script", text.at), err);
    else if (st == FINCH_OK) st = cli_print(text.at, text.size, err);
    str_free(&text);
    return st;
}

const cli_command cli_command_completion = {
    .name = "completion",
    .group = CLI_GROUP_LOOK,
    .summary = "a script that completes finch's words in your shell",
    .about = "Prints the script of a shell. It completes commands, options, the words an option may have, and file names.",
    .example = "source <(finch completion bash)\n"
               "finch completion zsh >~/.zfunc/_finch\n"
               "finch completion fish >~/.config/fish/completions/finch.fish",
    .operands = "SHELL",
    .operands_min = 1,
    .operands_max = 1,
    .operand_words = "bash|zsh|fish",
    .run = run,
};
