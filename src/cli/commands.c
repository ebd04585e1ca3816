#include "cli/commands.h"

#include "cli/options.h"

#include <string.h>

/* In the order of the overview. A new command: its name here, `const cli_command cli_command_NAME` in src/cli/NAME.c. */
#define COMMAND_LIST(X) \
    X(score)            \
    X(prepare)          \
    X(fetch)            \
    X(label)            \
    X(split)            \
    X(train)            \
    X(pretrain)         \
    X(eval)             \
    X(review)           \
    X(serve)            \
    X(stream)           \
    X(generate)         \
    X(quantize)         \
    X(merge)            \
    X(convert)          \
    X(models)           \
    X(keys)             \
    X(alerts)           \
    X(history)          \
    X(data)             \
    X(sql)              \
    X(tokenize)         \
    X(bench)            \
    X(doctor)           \
    X(help)             \
    X(completion)       \
    X(man)

#define COMMAND_DECLARE(name) extern const cli_command cli_command_##name;
COMMAND_LIST(COMMAND_DECLARE)
#undef COMMAND_DECLARE

static const cli_command *const commands[] = {
#define COMMAND_ENTRY(name) &cli_command_##name,
    COMMAND_LIST(COMMAND_ENTRY)
#undef COMMAND_ENTRY
};

static const char *const group_titles[CLI_GROUP_COUNT] = {
    [CLI_GROUP_USE] = "Score tweets",
    [CLI_GROUP_MAKE] = "Make and judge models",
    [CLI_GROUP_LOOK] = "Look inside",
};

const cli_command *commands_at(size_t index)
{
    return index < sizeof commands / sizeof commands[0] ? commands[index] : NULL;
}

const cli_command *commands_find(const char *name)
{
    for (size_t i = 0; commands_at(i) != NULL; i++)
        if (strcmp(commands[i]->name, name) == 0) return commands[i];
    return NULL;
}

static const char *name_at(const void *context, size_t index)
{
    (void)context;
    return commands_at(index) != NULL ? commands[index]->name : NULL;
}

const char *commands_nearest(const char *name) { return cli_nearest(name, name_at, NULL); }

const char *commands_group_title(cli_group group) { return group_titles[group]; }
