/* The stack machine. Each opcode is a function; the table at the end names them all, known or refused. */
#include "tensor/pickle.h"

#include <string.h>

typedef struct machine {
    const char *file;
    arena *memory;
    bytes all;
    bytes rest;
    size_t base_bytes; /* of the stream in the file */
    size_t op_at;      /* the opcode being run, in the file, for messages */
    pickle_value *stack;
    size_t n_stack, stack_capacity;
    pickle_value *memo;
    size_t memo_capacity;
    size_t n_memo; /* places set: the index MEMOIZE takes next */
    size_t n_nodes;
    pickle_items storages;
    bool stopped;
} machine;

static finch_status malformed(const machine *m, const char *what, finch_error *err)
{
    return finch_fail(err, FINCH_E_DATA, "%s, byte %zu: %s; the checkpoint is damaged", m->file, m->op_at, what);
}

static finch_status cut(const machine *m, finch_error *err) { return malformed(m, "the pickle ends inside an opcode", err); }

static pickle_place here(const machine *m) { return (pickle_place){m->file, m->op_at}; }

const char *pickle_kind_text(pickle_kind kind)
{
    static const char *const texts[] = {
        [PICKLE_UNSET] = "nothing",      [PICKLE_MARK] = "a mark",     [PICKLE_NONE] = "None",
        [PICKLE_BOOL] = "a truth value", [PICKLE_INT] = "a number",    [PICKLE_FLOAT] = "a number",
        [PICKLE_TEXT] = "a text",        [PICKLE_TUPLE] = "a tuple",   [PICKLE_LIST] = "a list",
        [PICKLE_DICT] = "a dict",        [PICKLE_GLOBAL] = "a global", [PICKLE_STORAGE] = "a storage",
        [PICKLE_TENSOR] = "a tensor"};
    return texts[kind];
}

/* ---- stack, memo, containers ------------------------------------------------------------------------------------ */

static finch_status push(machine *m, pickle_value value, finch_error *err)
{
    if (m->n_stack == m->stack_capacity) {
        size_t wanted = m->stack_capacity == 0 ? 256 : 2 * m->stack_capacity;
        FINCH_TRY(mem_grow((void **)&m->stack, m->n_stack * sizeof *m->stack, wanted, sizeof *m->stack, err));
        m->stack_capacity = wanted;
    }
    m->stack[m->n_stack++] = value;
    return FINCH_OK;
}

/* The top value, which is above the innermost mark; NULL where there is none. */
static pickle_value *top(machine *m)
{
    if (m->n_stack == 0 || m->stack[m->n_stack - 1].kind == PICKLE_MARK) return NULL;
    return &m->stack[m->n_stack - 1];
}

static finch_status too_few(const machine *m, finch_error *err)
{
    return malformed(m, "an opcode finds too few values", err);
}

static finch_status pop(machine *m, pickle_value *out, finch_error *err)
{
    const pickle_value *at = top(m);
    *out = (pickle_value){.kind = PICKLE_UNSET};
    if (at == NULL) return too_few(m, err);
    *out = *at;
    m->n_stack--;
    return FINCH_OK;
}

/* Takes the innermost mark and all above it off the stack; the values stay readable at *at until the next push. */
static finch_status pop_to_mark(machine *m, const pickle_value **at, size_t *n, finch_error *err)
{
    *at = NULL;
    *n = 0;
    size_t i = m->n_stack;
    while (i > 0 && m->stack[i - 1].kind != PICKLE_MARK) i--;
    if (i == 0) return malformed(m, "an opcode finds no mark", err);
    *at = m->stack + i;
    *n = m->n_stack - i;
    m->n_stack = i - 1;
    return FINCH_OK;
}

static finch_status items_add(machine *m, pickle_items *items, const pickle_value *at, size_t n, finch_error *err)
{
    if (n > items->capacity - items->n) {
        size_t wanted = items->n + n > 2 * items->capacity ? items->n + n : 2 * items->capacity;
        pickle_value *grown = NULL;
        FINCH_TRY(ARENA_NEW(m->memory, &grown, wanted, err));
        if (items->n > 0) memcpy(grown, items->at, items->n * sizeof *grown);
        items->at = grown;
        items->capacity = wanted;
    }
    if (n > 0) memcpy(items->at + items->n, at, n * sizeof *at);
    items->n += n;
    return FINCH_OK;
}

static finch_status make_container(machine *m, pickle_kind kind, const pickle_value *at, size_t n, pickle_value *out,
                                   finch_error *err)
{
    pickle_items *items;
    if (m->n_nodes++ == PICKLE_NODES_MAX) return malformed(m, "more containers than any checkpoint holds", err);
    FINCH_TRY(ARENA_NEW(m->memory, &items, 1, err));
    *items = (pickle_items){0};
    FINCH_TRY(items_add(m, items, at, n, err));
    *out = (pickle_value){.kind = kind, .as.items = items};
    return FINCH_OK;
}

static finch_status push_container(machine *m, pickle_kind kind, const pickle_value *at, size_t n, finch_error *err)
{
    pickle_value made;
    FINCH_TRY(make_container(m, kind, at, n, &made, err));
    return push(m, made, err);
}

static finch_status memo_set(machine *m, size_t index, finch_error *err)
{
    const pickle_value *value = top(m);
    if (value == NULL) return too_few(m, err);
    if (index >= PICKLE_MEMO_MAX) return malformed(m, "a memo index beyond any checkpoint's", err);
    if (index >= m->memo_capacity) {
        size_t wanted = m->memo_capacity == 0 ? 1024 : m->memo_capacity;
        while (wanted <= index) wanted *= 2;
        FINCH_TRY(mem_grow((void **)&m->memo, m->memo_capacity * sizeof *m->memo, wanted, sizeof *m->memo, err));
        memset(m->memo + m->memo_capacity, 0, (wanted - m->memo_capacity) * sizeof *m->memo); /* PICKLE_UNSET */
        m->memo_capacity = wanted;
    }
    if (m->memo[index].kind == PICKLE_UNSET) m->n_memo++;
    m->memo[index] = *value;
    return FINCH_OK;
}

static finch_status memo_get(machine *m, size_t index, finch_error *err)
{
    if (index >= m->memo_capacity || m->memo[index].kind == PICKLE_UNSET)
        return malformed(m, "a memo index that was never set", err);
    return push(m, m->memo[index], err);
}

/* ---- opcodes: simple values ------------------------------------------------------------------------------------- */

static finch_status op_proto(machine *m, finch_error *err)
{
    uint8_t version;
    if (!bytes_take_u8(&m->rest, &version)) return cut(m, err);
    if (version <= 5) return FINCH_OK;
    return finch_fail(err, FINCH_E_UNSUPPORTED, "%s, byte %zu: pickle protocol %u; finch reads up to 5", m->file, m->op_at,
                      version);
}

/* A frame only says how much to read ahead. */
static finch_status op_frame(machine *m, finch_error *err)
{
    uint64_t size;
    if (!bytes_take_u64(&m->rest, &size) || size > m->rest.size) return cut(m, err);
    return FINCH_OK;
}

static finch_status op_stop(machine *m, finch_error *err)
{
    (void)err;
    m->stopped = true;
    return FINCH_OK;
}

static finch_status op_none(machine *m, finch_error *err) { return push(m, (pickle_value){.kind = PICKLE_NONE}, err); }

static finch_status op_true(machine *m, finch_error *err)
{
    return push(m, (pickle_value){.kind = PICKLE_BOOL, .as.truth = true}, err);
}

static finch_status op_false(machine *m, finch_error *err)
{
    return push(m, (pickle_value){.kind = PICKLE_BOOL, .as.truth = false}, err);
}

static finch_status push_int(machine *m, int64_t whole, finch_error *err)
{
    return push(m, (pickle_value){.kind = PICKLE_INT, .as.whole = whole}, err);
}

static finch_status op_int1(machine *m, finch_error *err)
{
    uint8_t whole;
    return bytes_take_u8(&m->rest, &whole) ? push_int(m, whole, err) : cut(m, err);
}

static finch_status op_int2(machine *m, finch_error *err)
{
    uint16_t whole;
    return bytes_take_u16(&m->rest, &whole) ? push_int(m, whole, err) : cut(m, err);
}

static finch_status op_int4(machine *m, finch_error *err)
{
    uint32_t whole;
    return bytes_take_u32(&m->rest, &whole) ? push_int(m, (int32_t)whole, err) : cut(m, err);
}

/* A two's complement number of at most 8 bytes, little-endian. */
static finch_status op_long1(machine *m, finch_error *err)
{
    uint8_t size;
    bytes digits;
    if (!bytes_take_u8(&m->rest, &size) || !bytes_take(&m->rest, size, &digits)) return cut(m, err);
    if (size > 8) return malformed(m, "a number of more than 64 bits", err);
    uint64_t whole = size > 0 && digits.at[size - 1] >= 0x80 ? UINT64_MAX : 0;
    for (size_t i = size; i-- > 0;) whole = whole << 8 | digits.at[i];
    return push_int(m, (int64_t)whole, err);
}

static finch_status op_float(machine *m, finch_error *err)
{
    bytes digits;
    if (!bytes_take(&m->rest, 8, &digits)) return cut(m, err);
    uint64_t bits = 0; /* big-endian, alone in this format */
    for (size_t i = 0; i < 8; i++) bits = bits << 8 | digits.at[i];
    pickle_value value = {.kind = PICKLE_FLOAT};
    memcpy(&value.as.real, &bits, sizeof bits);
    return push(m, value, err);
}

static finch_status push_text(machine *m, uint64_t size, finch_error *err)
{
    pickle_value value = {.kind = PICKLE_TEXT};
    if (!bytes_take(&m->rest, size, &value.as.text)) return cut(m, err);
    return push(m, value, err);
}

static finch_status op_text1(machine *m, finch_error *err)
{
    uint8_t size;
    return bytes_take_u8(&m->rest, &size) ? push_text(m, size, err) : cut(m, err);
}

static finch_status op_text4(machine *m, finch_error *err)
{
    uint32_t size;
    return bytes_take_u32(&m->rest, &size) ? push_text(m, size, err) : cut(m, err);
}

static finch_status op_text8(machine *m, finch_error *err)
{
    uint64_t size;
    return bytes_take_u64(&m->rest, &size) ? push_text(m, size, err) : cut(m, err);
}

/* ---- opcodes: containers ---------------------------------------------------------------------------------------- */

static finch_status op_mark(machine *m, finch_error *err) { return push(m, (pickle_value){.kind = PICKLE_MARK}, err); }

static finch_status op_empty_dict(machine *m, finch_error *err) { return push_container(m, PICKLE_DICT, NULL, 0, err); }

static finch_status op_empty_list(machine *m, finch_error *err) { return push_container(m, PICKLE_LIST, NULL, 0, err); }

static finch_status op_empty_tuple(machine *m, finch_error *err) { return push_container(m, PICKLE_TUPLE, NULL, 0, err); }

static finch_status op_tuple(machine *m, finch_error *err)
{
    const pickle_value *at;
    size_t n;
    FINCH_TRY(pop_to_mark(m, &at, &n, err));
    return push_container(m, PICKLE_TUPLE, at, n, err);
}

static finch_status tuple_of(machine *m, size_t n, finch_error *err)
{
    pickle_value parts[3];
    for (size_t i = n; i-- > 0;) FINCH_TRY(pop(m, &parts[i], err));
    return push_container(m, PICKLE_TUPLE, parts, n, err);
}

static finch_status op_tuple1(machine *m, finch_error *err) { return tuple_of(m, 1, err); }

static finch_status op_tuple2(machine *m, finch_error *err) { return tuple_of(m, 2, err); }

static finch_status op_tuple3(machine *m, finch_error *err) { return tuple_of(m, 3, err); }

/* Adds values to the container on top of the stack. */
static finch_status add_to_top(machine *m, pickle_kind kind, const pickle_value *at, size_t n, finch_error *err)
{
    const pickle_value *container = top(m);
    if (container == NULL) return too_few(m, err);
    if (container->kind != kind || (kind == PICKLE_DICT && n % 2 != 0))
        return malformed(m, "values for no dict or list", err);
    return items_add(m, container->as.items, at, n, err);
}

static finch_status op_setitem(machine *m, finch_error *err)
{
    pickle_value pair[2];
    FINCH_TRY(pop(m, &pair[1], err));
    FINCH_TRY(pop(m, &pair[0], err));
    return add_to_top(m, PICKLE_DICT, pair, 2, err);
}

static finch_status op_setitems(machine *m, finch_error *err)
{
    const pickle_value *at;
    size_t n;
    FINCH_TRY(pop_to_mark(m, &at, &n, err));
    return add_to_top(m, PICKLE_DICT, at, n, err);
}

static finch_status op_append(machine *m, finch_error *err)
{
    pickle_value item;
    FINCH_TRY(pop(m, &item, err));
    return add_to_top(m, PICKLE_LIST, &item, 1, err);
}

static finch_status op_appends(machine *m, finch_error *err)
{
    const pickle_value *at;
    size_t n;
    FINCH_TRY(pop_to_mark(m, &at, &n, err));
    return add_to_top(m, PICKLE_LIST, at, n, err);
}

/* ---- opcodes: memo ---------------------------------------------------------------------------------------------- */

static finch_status op_put1(machine *m, finch_error *err)
{
    uint8_t index;
    return bytes_take_u8(&m->rest, &index) ? memo_set(m, index, err) : cut(m, err);
}

static finch_status op_put4(machine *m, finch_error *err)
{
    uint32_t index;
    return bytes_take_u32(&m->rest, &index) ? memo_set(m, index, err) : cut(m, err);
}

static finch_status op_memoize(machine *m, finch_error *err) { return memo_set(m, m->n_memo, err); }

static finch_status op_get1(machine *m, finch_error *err)
{
    uint8_t index;
    return bytes_take_u8(&m->rest, &index) ? memo_get(m, index, err) : cut(m, err);
}

static finch_status op_get4(machine *m, finch_error *err)
{
    uint32_t index;
    return bytes_take_u32(&m->rest, &index) ? memo_get(m, index, err) : cut(m, err);
}

/* ---- opcodes: globals and what is made with them ------------------------------------------------------------------ */

static finch_status push_global(machine *m, bytes module, bytes name, finch_error *err)
{
    const pickle_global *found = pickle_global_find(module, name);
    if (found != NULL) return push(m, (pickle_value){.kind = PICKLE_GLOBAL, .as.global = found}, err);
    enum { SHOWN = 200 };
    return finch_fail(err, FINCH_E_UNSUPPORTED,
                      "%s, byte %zu: the pickle asks for %.*s.%.*s; finch runs no code from checkpoints and refuses it "
                      "(save the state dict alone, or as safetensors)",
                      m->file, m->op_at, (int)(module.size < SHOWN ? module.size : SHOWN), (const char *)module.at,
                      (int)(name.size < SHOWN ? name.size : SHOWN), (const char *)name.at);
}

static bool take_line(bytes *rest, bytes *out)
{
    const unsigned char *end = rest->size == 0 ? NULL : memchr(rest->at, '\n', rest->size);
    if (end == NULL) return false;
    *out = (bytes){rest->at, (size_t)(end - rest->at)};
    *rest = (bytes){end + 1, rest->size - out->size - 1};
    return true;
}

static finch_status op_global(machine *m, finch_error *err)
{
    bytes module, name;
    if (!take_line(&m->rest, &module) || !take_line(&m->rest, &name)) return cut(m, err);
    return push_global(m, module, name, err);
}

static finch_status op_stack_global(machine *m, finch_error *err)
{
    pickle_value name, module;
    FINCH_TRY(pop(m, &name, err));
    FINCH_TRY(pop(m, &module, err));
    if (name.kind != PICKLE_TEXT || module.kind != PICKLE_TEXT) return malformed(m, "a global whose name is no text", err);
    return push_global(m, module.as.text, name.as.text, err);
}

static finch_status op_reduce(machine *m, finch_error *err)
{
    pickle_value args, callee, made;
    FINCH_TRY(pop(m, &args, err));
    FINCH_TRY(pop(m, &callee, err));
    if (callee.kind != PICKLE_GLOBAL || args.kind != PICKLE_TUPLE)
        return malformed(m, "a call of something that is no known global", err);
    if (callee.as.global->role == PICKLE_ROLE_ORDERED_DICT) {
        if (args.as.items->n != 0) return malformed(m, "an OrderedDict made from arguments", err);
        return push_container(m, PICKLE_DICT, NULL, 0, err);
    }
    FINCH_TRY(pickle_torch_call(callee.as.global, args.as.items, here(m), m->memory, &made, err));
    return push(m, made, err);
}

static finch_status op_persistent_id(machine *m, finch_error *err)
{
    pickle_value id, storage;
    FINCH_TRY(pop(m, &id, err));
    FINCH_TRY(pickle_torch_storage(&id, here(m), m->memory, &storage, err));
    FINCH_TRY(items_add(m, &m->storages, &storage, 1, err));
    return push(m, storage, err);
}

/* A state dict carries its modules' versions as an attribute ("_metadata"); they change no weight. */
static finch_status op_build(machine *m, finch_error *err)
{
    pickle_value state;
    FINCH_TRY(pop(m, &state, err));
    const pickle_value *target = top(m);
    if (target == NULL) return too_few(m, err);
    if (target->kind != PICKLE_DICT || state.kind != PICKLE_DICT)
        return malformed(m, "a state for something that is no dict", err);
    return FINCH_OK;
}

/* ---- the table -------------------------------------------------------------------------------------------------- */

typedef struct opcode {
    const char *name;
    finch_status (*run)(machine *m, finch_error *err); /* NULL: known to Python, of no use to a state dict */
} opcode;

static const opcode opcodes[256] = {
    [0x80] = {"PROTO", op_proto},
    [0x95] = {"FRAME", op_frame},
    ['.'] = {"STOP", op_stop},
    ['N'] = {"NONE", op_none},
    [0x88] = {"NEWTRUE", op_true},
    [0x89] = {"NEWFALSE", op_false},
    ['K'] = {"BININT1", op_int1},
    ['M'] = {"BININT2", op_int2},
    ['J'] = {"BININT", op_int4},
    [0x8a] = {"LONG1", op_long1},
    ['G'] = {"BINFLOAT", op_float},
    [0x8c] = {"SHORT_BINUNICODE", op_text1},
    ['X'] = {"BINUNICODE", op_text4},
    [0x8d] = {"BINUNICODE8", op_text8},
    ['U'] = {"SHORT_BINSTRING", op_text1},
    ['('] = {"MARK", op_mark},
    ['}'] = {"EMPTY_DICT", op_empty_dict},
    [']'] = {"EMPTY_LIST", op_empty_list},
    [')'] = {"EMPTY_TUPLE", op_empty_tuple},
    ['t'] = {"TUPLE", op_tuple},
    [0x85] = {"TUPLE1", op_tuple1},
    [0x86] = {"TUPLE2", op_tuple2},
    [0x87] = {"TUPLE3", op_tuple3},
    ['s'] = {"SETITEM", op_setitem},
    ['u'] = {"SETITEMS", op_setitems},
    ['a'] = {"APPEND", op_append},
    ['e'] = {"APPENDS", op_appends},
    ['q'] = {"BINPUT", op_put1},
    ['r'] = {"LONG_BINPUT", op_put4},
    [0x94] = {"MEMOIZE", op_memoize},
    ['h'] = {"BINGET", op_get1},
    ['j'] = {"LONG_BINGET", op_get4},
    ['c'] = {"GLOBAL", op_global},
    [0x93] = {"STACK_GLOBAL", op_stack_global},
    ['R'] = {"REDUCE", op_reduce},
    ['Q'] = {"BINPERSID", op_persistent_id},
    ['b'] = {"BUILD", op_build},
    /* Refused by name. */
    ['0'] = {"POP", NULL},
    ['1'] = {"POP_MARK", NULL},
    ['2'] = {"DUP", NULL},
    ['F'] = {"FLOAT", NULL},
    ['I'] = {"INT", NULL},
    ['L'] = {"LONG", NULL},
    ['P'] = {"PERSID", NULL},
    ['S'] = {"STRING", NULL},
    ['T'] = {"BINSTRING", NULL},
    ['V'] = {"UNICODE", NULL},
    ['d'] = {"DICT", NULL},
    ['g'] = {"GET", NULL},
    ['i'] = {"INST", NULL},
    ['l'] = {"LIST", NULL},
    ['o'] = {"OBJ", NULL},
    ['p'] = {"PUT", NULL},
    ['B'] = {"BINBYTES", NULL},
    ['C'] = {"SHORT_BINBYTES", NULL},
    [0x81] = {"NEWOBJ", NULL},
    [0x82] = {"EXT1", NULL},
    [0x83] = {"EXT2", NULL},
    [0x84] = {"EXT4", NULL},
    [0x8b] = {"LONG4", NULL},
    [0x8e] = {"BINBYTES8", NULL},
    [0x8f] = {"EMPTY_SET", NULL},
    [0x90] = {"ADDITEMS", NULL},
    [0x91] = {"FROZENSET", NULL},
    [0x92] = {"NEWOBJ_EX", NULL},
    [0x96] = {"BYTEARRAY8", NULL},
    [0x97] = {"NEXT_BUFFER", NULL},
    [0x98] = {"READONLY_BUFFER", NULL},
};

static finch_status step(machine *m, finch_error *err)
{
    uint8_t code;
    m->op_at = m->base_bytes + (m->all.size - m->rest.size);
    if (!bytes_take_u8(&m->rest, &code)) return malformed(m, "the pickle ends without STOP", err);
    if (opcodes[code].run != NULL) return opcodes[code].run(m, err);
    if (opcodes[code].name == NULL) return malformed(m, "a byte that is no pickle opcode", err);
    return finch_fail(err, FINCH_E_UNSUPPORTED,
                      "%s, byte %zu: the pickle opcode %s is foreign to state dicts and is refused (save the state dict "
                      "alone, or as safetensors)",
                      m->file, m->op_at, opcodes[code].name);
}

finch_status pickle_load(bytes stream, const char *file, size_t base_bytes, arena *memory, pickle_result *out,
                         finch_error *err)
{
    *out = (pickle_result){0};
    /* What lies behind the limit is never looked at: a pickle that long fails as one that ends without STOP. */
    if (stream.size > PICKLE_BYTES_MAX) stream.size = PICKLE_BYTES_MAX;
    machine m = {.file = file, .base_bytes = base_bytes, .memory = memory, .all = stream, .rest = stream};
    finch_status st = FINCH_OK;
    while (st == FINCH_OK && !m.stopped) st = step(&m, err);
    if (st == FINCH_OK) st = pop(&m, &out->root, err);
    out->storages = m.storages;
    out->used_bytes = stream.size - m.rest.size;
    mem_free(m.stack);
    mem_free(m.memo);
    return st;
}
