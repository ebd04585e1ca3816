#include "text/ticker_table.h"

#include "text/embedded.h"

#include <pthread.h>
#include <string.h>

enum { SYMBOLS_MAX = 1 << 14, NAMES_MAX = 1 << 12, SYMBOL_SLOTS = 1 << 15, NAME_SLOTS = 1 << 13, COLUMNS = 3 };

/* Written once, under table_once; constant from then on. A slot holds an index and one. */
static text_symbol symbols[SYMBOLS_MAX];
static ticker_name names[NAMES_MAX];
static size_t n_symbols, n_names;
static size_t run_first; /* the first of the names that begin with the last one's first word: they lie together, */
static uint16_t name_runs[NAMES_MAX]; /* and so many they are, at the place of the first */
static uint16_t symbol_slots[SYMBOL_SLOTS], name_slots[NAME_SLOTS];
static ticker_marks marks; /* of the names' first words */
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

static uint32_t hash_of(const char *at, size_t size)
{
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < size; i++) hash = (hash ^ (unsigned char)at[i]) * 16777619u;
    return hash ^ hash >> 15;
}

/* The line at *at as its columns, each ended by a NUL in place; false at the end, or where a line is not of COLUMNS. */
static bool next_line(char **at, const char *end, char *column[COLUMNS])
{
    for (int i = 0; i < COLUMNS; i++) {
        size_t left = (size_t)(end - *at);
        char *stop = memchr(*at, i + 1 < COLUMNS ? '\t' : '\n', left);
        if (stop == NULL) return false;
        column[i] = *at;
        *stop = '\0';
        *at = stop + 1;
    }
    return true;
}

static size_t symbol_slot(const char symbol[TEXT_SYMBOL_BYTES])
{
    uint64_t begin;
    uint32_t end;
    memcpy(&begin, symbol, sizeof begin);
    memcpy(&end, symbol + sizeof begin, sizeof end);
    return (size_t)((begin ^ end) * 0x9E3779B97F4A7C15u >> 32) % SYMBOL_SLOTS; /* Fibonacci hashing */
}

static void add_symbol(char *const column[COLUMNS])
{
    size_t size = strlen(column[0]);
    if (n_symbols == SYMBOLS_MAX || size >= TEXT_SYMBOL_BYTES) return;
    text_symbol *s = &symbols[n_symbols++];
    memcpy(s->symbol, column[0], size + 1);
    s->name = column[1];
    s->exchange = column[2];
    size_t slot = symbol_slot(s->symbol);
    while (symbol_slots[slot] != 0) slot = (slot + 1) % SYMBOL_SLOTS;
    symbol_slots[slot] = (uint16_t)n_symbols;
}

/* Of one that is filled up with NUL bytes. */
static const text_symbol *find(const char symbol[TEXT_SYMBOL_BYTES])
{
    for (size_t slot = symbol_slot(symbol); symbol_slots[slot] != 0; slot = (slot + 1) % SYMBOL_SLOTS) {
        const text_symbol *s = &symbols[symbol_slots[slot] - 1];
        if (memcmp(s->symbol, symbol, TEXT_SYMBOL_BYTES) == 0) return s;
    }
    return NULL;
}

/* In any case, '-' for '.'. */
static const text_symbol *find_folded(const char *symbol, size_t size)
{
    char folded[TEXT_SYMBOL_BYTES] = {0};
    if (size >= sizeof folded) return NULL;
    for (size_t i = 0; i < size; i++) {
        char c = symbol[i];
        folded[i] = c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c == '-' ? '.' : c;
    }
    return find(folded);
}

static ticker_rule rule_of(const char *text)
{
    if (strcmp(text, "any") == 0) return TICKER_ANY;
    if (strcmp(text, "upper") == 0) return TICKER_UPPER;
    return strcmp(text, "capital") == 0 ? TICKER_CAPITAL : TICKER_CONTEXT;
}

bool ticker_word_is_filler(const char *word, size_t size)
{
    static const char *const fillers[] = {"s", "of", "and", "the"};
    for (size_t i = 0; i < sizeof fillers / sizeof *fillers; i++)
        if (strlen(fillers[i]) == size && memcmp(word, fillers[i], size) == 0) return true;
    return false;
}

static void add_mark(const ticker_name *name, size_t first_size)
{
    if (first_size == 0) return;
    size_t mark = ticker_mark(name->alias, first_size);
    marks.any[mark / 64] |= 1ull << mark % 64;
    if (name->rule == TICKER_ANY || ticker_word_is_filler(name->alias, first_size))
        marks.small[mark / 64] |= 1ull << mark % 64;
}

static void add_name(char *const column[COLUMNS])
{
    const text_symbol *listing = find_folded(column[1], strlen(column[1]));
    if (n_names == NAMES_MAX || listing == NULL) return;
    names[n_names++] = (ticker_name){column[0], listing, rule_of(column[2])};
    size_t size = strcspn(column[0], " ");
    add_mark(&names[n_names - 1], size);
    if (n_names > 1 && strncmp(names[n_names - 2].alias, column[0], size) == 0 &&
        strcspn(names[n_names - 2].alias, " ") == size) {
        name_runs[run_first]++;
        return;
    }
    run_first = n_names - 1;
    name_runs[run_first] = 1;
    size_t slot = hash_of(column[0], size) % NAME_SLOTS;
    while (name_slots[slot] != 0) slot = (slot + 1) % NAME_SLOTS;
    name_slots[slot] = (uint16_t)n_names;
}

static void fill(void)
{
    char *column[COLUMNS], *at = embedded_symbols;
    (void)next_line(&at, embedded_symbols_end, column); /* the names of the columns */
    while (next_line(&at, embedded_symbols_end, column)) add_symbol(column);
    at = embedded_names;
    (void)next_line(&at, embedded_names_end, column);
    while (next_line(&at, embedded_names_end, column)) add_name(column);
}

static void need_table(void)
{
    (void)pthread_once(&table_once, fill);
} /* fails for no once and no function: neither is so */

const ticker_marks *ticker_marks_all(void)
{
    need_table();
    return &marks;
}

const ticker_name *ticker_names_of(const char *word, size_t size, size_t *n)
{
    need_table();
    *n = 0;
    for (size_t slot = hash_of(word, size) % NAME_SLOTS; name_slots[slot] != 0; slot = (slot + 1) % NAME_SLOTS) {
        const ticker_name *first = &names[name_slots[slot] - 1];
        if (strncmp(first->alias, word, size) != 0 || (first->alias[size] != '\0' && first->alias[size] != ' ')) continue;
        *n = name_runs[first - names];
        return first;
    }
    return NULL;
}

size_t ticker_name_count(void)
{
    need_table();
    return n_names;
}

const ticker_name *ticker_name_at(size_t index)
{
    need_table();
    return index < n_names ? &names[index] : NULL;
}

size_t text_symbol_count(void)
{
    need_table();
    return n_symbols;
}

const text_symbol *text_symbol_at(size_t index)
{
    need_table();
    return index < n_symbols ? &symbols[index] : NULL;
}

const text_symbol *ticker_symbol_of(const char symbol[TEXT_SYMBOL_BYTES])
{
    need_table();
    return find(symbol);
}

const text_symbol *text_symbol_find(const char *symbol, size_t size)
{
    need_table();
    return find_folded(symbol, size);
}
