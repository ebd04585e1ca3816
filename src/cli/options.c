#include "cli/options.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const cli_option cli_common_options[] = {
    {"json", NULL, CLI_FLAG, NULL, "print one JSON document on stdout and nothing else there", false, 0, 0},
    {"threads", "N", CLI_SIZE, NULL, "threads to use (default: as many as the process may run on)", false, 1, 1024},
    {"quiet", NULL, CLI_FLAG, NULL, "say nothing but errors", false, 0, 0},
    {"help", NULL, CLI_FLAG, NULL, "show this help", false, 0, 0},
    {0},
};

enum { NAME_MAX_BYTES = 64 };

typedef struct cli_value {
    const cli_option *option;
    bool given;
    bool flag;
    const char *text;
    size_t size;
    double real;
    const char **list;
    size_t n_list;
} cli_value;

struct cli_args {
    const cli_command *command;
    cli_value *values;
    size_t n_values;
    const char **operands;
    size_t n_operands;
    size_t n_threads;
};

/* ---- names and words ---- */

void cli_each_word(const char *words, cli_word_fn visit, void *context)
{
    for (const char *at = words; at != NULL && *at != '\0';) {
        size_t size = strcspn(at, "|");
        if (!visit(context, at, size)) return;
        at += size + (at[size] == '|' ? 1 : 0);
    }
}

typedef struct word_search {
    const char *text;
    size_t index;
    bool found;
} word_search;

static bool word_is(void *context, const char *word, size_t size)
{
    word_search *search = context;
    search->found = strlen(search->text) == size && memcmp(search->text, word, size) == 0;
    if (!search->found) search->index++;
    return !search->found;
}

static bool word_find(const char *words, const char *text, size_t *index)
{
    word_search search = {.text = text};
    cli_each_word(words, word_is, &search);
    *index = search.index;
    return search.found;
}

/* Letters to add, drop, change or swap with their neighbour (optimal string alignment). */
static size_t edit_distance(const char *a, const char *b)
{
    size_t n_a = strlen(a), n_b = strlen(b);
    size_t rows[3][NAME_MAX_BYTES + 1];
    size_t *before = rows[0], *above = rows[1], *row = rows[2];
    if (n_a > NAME_MAX_BYTES || n_b > NAME_MAX_BYTES) return SIZE_MAX;
    for (size_t j = 0; j <= n_b; j++) above[j] = j;
    for (size_t i = 1; i <= n_a; i++) {
        row[0] = i;
        for (size_t j = 1; j <= n_b; j++) {
            size_t best = above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
            if (above[j] + 1 < best) best = above[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped && before[j - 2] + 1 < best) best = before[j - 2] + 1;
            row[j] = best;
        }
        size_t *spare = before;
        before = above;
        above = row;
        row = spare;
    }
    return above[n_b];
}

const char *cli_nearest(const char *text, cli_name_fn name, const void *context)
{
    const char *best = NULL;
    size_t length = strlen(text);
    size_t best_distance = 2 + length / 4; /* one past what still counts as near */
    for (size_t i = 0;; i++) {
        const char *candidate = name(context, i);
        if (candidate == NULL) return best;
        size_t distance = edit_distance(text, candidate);
        bool begins = length >= 2 && strncmp(text, candidate, length) == 0;
        if (begins) distance = 1;
        if (distance < best_distance) {
            best_distance = distance;
            best = candidate;
        }
    }
}

/* ---- finding an option ---- */

static cli_value *value_find(const cli_args *args, const char *name, size_t size)
{
    for (size_t i = 0; i < args->n_values; i++) {
        const char *known = args->values[i].option->name;
        if (strlen(known) == size && memcmp(known, name, size) == 0) return &args->values[i];
    }
    return NULL;
}

static const char *option_name_at(const void *context, size_t index)
{
    const cli_args *args = context;
    return index < args->n_values ? args->values[index].option->name : NULL;
}

static finch_status fail_unknown(const cli_args *args, const char *word, size_t size, finch_error *err)
{
    char name[NAME_MAX_BYTES + 1];
    const char *near = NULL;
    if (size <= NAME_MAX_BYTES) {
        memcpy(name, word, size);
        name[size] = '\0';
        near = cli_nearest(name, option_name_at, args);
    }
    int shown = size > 200 ? 200 : (int)size;
    if (near != NULL)
        return finch_fail(err, FINCH_E_USAGE, "there is no option --%.*s; did you mean --%s?", shown, word, near);
    return finch_fail(err, FINCH_E_USAGE, "there is no option --%.*s; see: finch %s --help", shown, word,
                      args->command->name);
}

/* ---- values ---- */

static finch_status check_bounds(const cli_option *option, double number, const char *text, finch_error *err)
{
    if (option->minimum == 0 && option->maximum == 0) return FINCH_OK;
    if (number >= option->minimum && number <= option->maximum) return FINCH_OK;
    return finch_fail(err, FINCH_E_USAGE, "--%s takes a number from %g to %g, not \"%s\"", option->name, option->minimum,
                      option->maximum, text);
}

static finch_status parse_size(const cli_option *option, const char *text, size_t *out, finch_error *err)
{
    char *end = NULL;
    errno = 0;
    unsigned long long number = text[0] >= '0' && text[0] <= '9' ? strtoull(text, &end, 10) : 0;
    if (end == NULL || *end != '\0' || errno != 0 || number > SIZE_MAX)
        return finch_fail(err, FINCH_E_USAGE, "--%s takes a whole number, not \"%s\"", option->name, text);
    *out = (size_t)number;
    return check_bounds(option, (double)number, text, err);
}

static finch_status parse_real(const cli_option *option, const char *text, double *out, finch_error *err)
{
    char *end = NULL;
    double number = strtod(text, &end);
    bool begins = text[0] == '-' || text[0] == '+' || text[0] == '.' || (text[0] >= '0' && text[0] <= '9');
    if (!begins || end == text || *end != '\0' || !isfinite(number))
        return finch_fail(err, FINCH_E_USAGE, "--%s takes a number, not \"%s\"", option->name, text);
    *out = number;
    return check_bounds(option, number, text, err);
}

static finch_status value_set(cli_value *value, const char *text, finch_error *err)
{
    const cli_option *option = value->option;
    value->text = text;
    switch (option->kind) {
    case CLI_FLAG: value->flag = strcmp(text, "yes") == 0; return FINCH_OK;
    case CLI_SIZE: return parse_size(option, text, &value->size, err);
    case CLI_REAL: return parse_real(option, text, &value->real, err);
    case CLI_CHOICE:
        if (word_find(option->value, text, &value->size)) return FINCH_OK;
        return finch_fail(err, FINCH_E_USAGE, "--%s is one of %s, not \"%s\"", option->name, option->value, text);
    case CLI_LIST: value->list[value->n_list++] = text; return FINCH_OK;
    case CLI_TEXT: break;
    case CLI_PATH:
        if (text[0] == '\0') return finch_fail(err, FINCH_E_USAGE, "--%s takes a path, not an empty text", option->name);
        break;
    }
    return FINCH_OK;
}

/* ---- the words in their order ---- */

typedef struct word_reader {
    const char *const *words;
    size_t n_words;
    size_t next;
    bool ended; /* "--" was seen */
} word_reader;

static bool is_option(const char *word) { return word[0] == '-' && word[1] != '\0'; }

/* A negative number is a value, not an option. */
static bool is_number(const char *word) { return word[0] == '-' && ((word[1] >= '0' && word[1] <= '9') || word[1] == '.'); }

static bool next_is_value(const word_reader *r, const cli_option *option)
{
    if (r->next >= r->n_words) return false;
    const char *word = r->words[r->next];
    return !is_option(word) || (option->kind == CLI_REAL && is_number(word));
}

static finch_status read_value(word_reader *r, cli_value *value, const char *attached, finch_error *err)
{
    const cli_option *option = value->option;
    if (attached == NULL && !next_is_value(r, option))
        return finch_fail(err, FINCH_E_USAGE, "--%s needs a value: --%s %s", option->name, option->name, option->value);
    FINCH_TRY(value_set(value, attached != NULL ? attached : r->words[r->next++], err));
    if (option->kind != CLI_LIST || attached != NULL) return FINCH_OK;
    while (next_is_value(r, option)) FINCH_TRY(value_set(value, r->words[r->next++], err));
    return FINCH_OK;
}

static finch_status read_option(cli_args *args, word_reader *r, const char *word, finch_error *err)
{
    const char *name = strcmp(word, "-h") == 0 ? "help" : word + 2;
    if (word[1] != '-' && strcmp(word, "-h") != 0)
        return finch_fail(err, FINCH_E_USAGE,
                          "there is no option %.200s; options begin with two dashes, see: finch %s --help", word,
                          args->command->name);
    size_t size = strcspn(name, "=");
    const char *attached = name[size] == '=' ? name + size + 1 : NULL;
    cli_value *value = value_find(args, name, size);
    bool negated = false;
    if (value == NULL && strncmp(name, "no-", 3) == 0) {
        value = value_find(args, name + 3, size - 3);
        negated = value != NULL && value->option->kind == CLI_FLAG;
        if (!negated) value = NULL;
    }
    if (value == NULL) return fail_unknown(args, name, size, err);
    value->given = true;
    if (value->option->kind != CLI_FLAG) return read_value(r, value, attached, err);
    if (attached != NULL) return finch_fail(err, FINCH_E_USAGE, "--%.*s takes no value", (int)size, name);
    value->flag = !negated;
    return FINCH_OK;
}

static finch_status read_operand(cli_args *args, const char *word, finch_error *err)
{
    const cli_command *c = args->command;
    size_t index;
    if (args->n_operands >= c->operands_max)
        return finch_fail(err, FINCH_E_USAGE, "\"%.200s\" is one word too many; see: finch %s --help", word, c->name);
    if (c->operand_words != NULL && !word_find(c->operand_words, word, &index))
        return finch_fail(err, FINCH_E_USAGE, "%s is one of %s, not \"%.200s\"", c->operands, c->operand_words, word);
    args->operands[args->n_operands++] = word;
    return FINCH_OK;
}

static finch_status read_words(cli_args *args, word_reader *r, finch_error *err)
{
    while (r->next < r->n_words) {
        const char *word = r->words[r->next++];
        if (!r->ended && strcmp(word, "--") == 0) r->ended = true;
        else if (!r->ended && is_option(word)) FINCH_TRY(read_option(args, r, word, err));
        else FINCH_TRY(read_operand(args, word, err));
    }
    return FINCH_OK;
}

/* ---- the whole ---- */

static size_t count_options(const cli_option *options)
{
    size_t n = 0;
    while (options != NULL && options[n].name != NULL) n++;
    return n;
}

static finch_status args_create(const cli_command *command, size_t n_words, arena *memory, cli_args **out, finch_error *err)
{
    size_t n_own = count_options(command->options), n_common = count_options(cli_common_options);
    cli_args *args;
    FINCH_TRY(ARENA_NEW(memory, &args, 1, err));
    *args = (cli_args){.command = command, .n_values = n_own + n_common};
    FINCH_TRY(ARENA_NEW(memory, &args->values, args->n_values, err));
    FINCH_TRY(ARENA_NEW(memory, &args->operands, n_words + 1, err));
    for (size_t i = 0; i < args->n_values; i++) {
        cli_value *value = &args->values[i];
        *value = (cli_value){.option = i < n_own ? &command->options[i] : &cli_common_options[i - n_own]};
        if (value->option->kind == CLI_LIST) FINCH_TRY(ARENA_NEW(memory, &value->list, n_words + 1, err));
        if (value->option->kind != CLI_LIST && value->option->preset != NULL)
            FINCH_TRY(value_set(value, value->option->preset, err));
    }
    *out = args;
    return FINCH_OK;
}

static finch_status check_complete(cli_args *args, finch_error *err)
{
    const cli_command *c = args->command;
    bool all = c->alone == NULL || !value_find(args, c->alone, strlen(c->alone))->flag;
    for (size_t i = 0; i < args->n_values; i++) {
        cli_value *value = &args->values[i];
        const cli_option *option = value->option;
        if (all && option->required && !value->given)
            return finch_fail(err, FINCH_E_USAGE, "--%s %s is missing; see: finch %s --help", option->name, option->value,
                              c->name);
        if (option->kind == CLI_LIST && !value->given && option->preset != NULL)
            FINCH_TRY(value_set(value, option->preset, err));
    }
    if (args->n_operands < c->operands_min)
        return finch_fail(err, FINCH_E_USAGE, "%s is missing%s%s; see: finch %s --help", c->operands,
                          c->operand_words != NULL ? ": one of " : "", c->operand_words != NULL ? c->operand_words : "",
                          c->name);
    return FINCH_OK;
}

static bool asks_help(const char *const *words, size_t n_words)
{
    for (size_t i = 0; i < n_words && strcmp(words[i], "--") != 0; i++)
        if (strcmp(words[i], "--help") == 0 || strcmp(words[i], "-h") == 0) return true;
    return false;
}

finch_status cli_parse(const cli_command *command, const char *const *words, size_t n_words, arena *memory, cli_args **out,
                       finch_error *err)
{
    cli_args *args;
    word_reader reader = {.words = words, .n_words = n_words};
    *out = NULL;
    FINCH_TRY(args_create(command, n_words, memory, &args, err));
    if (asks_help(words, n_words)) {
        value_find(args, "help", strlen("help"))->flag = true;
    } else {
        FINCH_TRY(read_words(args, &reader, err));
        FINCH_TRY(check_complete(args, err));
    }
    *out = args;
    return FINCH_OK;
}

void cli_set_threads(cli_args *args, size_t n_threads) { args->n_threads = n_threads; }

/* ---- what commands ask ---- */

static const cli_value *value_of(const cli_args *args, const char *name)
{
    static const cli_value none = {0};
    const cli_value *value = value_find(args, name, strlen(name));
    assert(value != NULL && "the command asks for an option that its table lacks");
    return value != NULL ? value : &none;
}

bool cli_given(const cli_args *args, const char *name) { return value_of(args, name)->given; }
bool cli_flag(const cli_args *args, const char *name) { return value_of(args, name)->flag; }
const char *cli_text(const cli_args *args, const char *name) { return value_of(args, name)->text; }
size_t cli_size(const cli_args *args, const char *name) { return value_of(args, name)->size; }
double cli_real(const cli_args *args, const char *name) { return value_of(args, name)->real; }
size_t cli_choice(const cli_args *args, const char *name) { return value_of(args, name)->size; }

const char *const *cli_list(const cli_args *args, const char *name, size_t *n)
{
    const cli_value *value = value_of(args, name);
    *n = value->n_list;
    return value->n_list > 0 ? (const char *const *)value->list : NULL;
}

const char *const *cli_operands(const cli_args *args, size_t *n)
{
    *n = args->n_operands;
    return (const char *const *)args->operands;
}

finch_status cli_preset(const cli_args *args, const char *name, const char *text, finch_error *err)
{
    cli_value *value = value_find(args, name, strlen(name));
    assert(value != NULL && "a value is given to an option that the table lacks");
    return value == NULL || value->given ? FINCH_OK : value_set(value, text, err);
}

size_t cli_threads(const cli_args *args) { return args->n_threads; }
