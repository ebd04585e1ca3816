"""The planted bugs: each is one a person could make, and names the test that must see it."""
from typing import NamedTuple


class Mutant(NamedTuple):
    room: str
    file: str
    what: str  # the bug in words
    old: str   # exactly once in the file
    new: str
    test: str  # the name in ctest


BASE = [
    ("src/base/bytes.c", "a range that ends before it begins passes", "if (begin > end || end > whole.size)", "if (end > whole.size)",
     "base_test_bytes"),
    ("src/base/bytes.c", "numbers are read big-endian", "<< (8 * i)", "<< (8 * (taken.size - 1 - i))", "base_test_bytes"),
    ("src/base/mem.c", "products of sizes wrap", "if (__builtin_mul_overflow(a, b, &product)) return false;", "product = a * b;", "base_test_mem"),
    ("src/base/mem.c", "zeroed memory is not", "    memset(*out, 0, n * item_bytes);\n", "", "base_test_mem"),
    ("src/base/mem.c", "a block that is freed stays counted", "    atomic_fetch_sub_explicit(&n_live, 1, memory_order_relaxed);\n", "", "base_test_mem"),
    ("src/base/fault.c", "a fault strikes again and again", "== 1;", "<= 1;", "base_test_mem"),
    ("src/base/str.c", "added text forgets what was there", "s->size += size;", "s->size = size;", "base_test_str"),
    ("src/base/str.c", "clearing keeps the old text's end", "if (s->at != NULL) s->at[0] = '\\0';", "", "base_test_str"),
    ("src/base/rng.c", "a round of Philox too few", "PHILOX_ROUNDS = 10", "PHILOX_ROUNDS = 9", "base_test_rng"),
    ("src/base/rng.c", "bounded draws favour small numbers", "while (draw < reject);", "while (0);", "base_test_rng"),
    ("src/base/rng.c", "the shuffle draws from all places each time", "rng_below(r, left)", "rng_below(r, n)", "base_test_rng"),
    ("src/base/status.c", "messages are cut inside a character",
     "    while (end > 0 && ((unsigned char)message[end - 1] & 0xC0u) == 0x80u) end--;\n", "", "base_test_status"),
    ("src/base/status.c", "the row of an error is lost", "err->row = row;", "err->row = 0;", "base_test_status"),
    ("src/base/file.c", "a failed commit leaves its part file", "    if (st != FINCH_OK) unlink(writer->beside.at);\n", "", "base_test_file"),
    ("src/base/file.c", "what a crash left beside blocks the output", "    if (unlink(path) != 0 && errno != ENOENT) return -1;\n", "", "base_test_file"),
    ("src/base/file.c", "outputs replace devices", "if (S_ISREG(info.st_mode)) return FINCH_OK;", "return FINCH_OK;", "base_test_file"),
    ("src/base/file.c", "the limit of a read is one too high", "if (*size > limit_bytes)", "if (*size > limit_bytes + 1)", "base_test_file"),
    ("src/base/json.c", "a key may come twice", "JSON_REJECT_DUPLICATES | ", "", "base_test_json"),
    ("src/base/json.c", "texts are cut at a NUL", "strlen(json_string_value(field)) != json_string_length(field)", "0", "base_test_json"),
    ("src/base/json.c", "numbers below zero pass as sizes", " || json_integer_value(field) < 0", "", "base_test_json"),
    ("src/base/arena.c", "released memory stays counted", "a->used_bytes = place.used_bytes;", "", "base_test_arena"),
]

CLI = [
    ("src/cli/options.c", "a required option may be left out", "if (option->required && !value->given)", "if (0)", "cli_test_options"),
    ("src/cli/options.c", "numbers past the bound pass", "number <= option->maximum", "number <= option->maximum + 1", "cli_test_options"),
    ("src/cli/options.c", "-- does not end the options", "r->ended = true;", "r->ended = false;", "cli_test_options"),
    ("src/cli/output.c", "a full disk goes unseen", " && fflush(stdout) == 0", "", "cli_test_help"),
    ("src/cli/completion.c", "common options are not completed",
     "    for (const cli_option *o = cli_common_options; o->name != NULL; o++) FINCH_TRY(add(out, command, o, err));\n", "", "cli_test_completion"),
    ("src/cli/doctor.c", "a failed check ends with 0", "if (!ok) e->n_failed++;", "", "cli_test_doctor"),
    ("src/cli/jsonl_text.c", "pairs of surrogates give another character", "c = 0x10000 + ((c - 0xD800) << 10)", "c = ((c - 0xD800) << 10)",
     "cli_test_tokenize"),
    ("src/cli/jsonl_text.c", "of equal keys both count", "    out->size = out_size; /* of equal keys the last one counts */\n", "", "cli_test_tokenize"),
    ("src/cli/tokenize.c", "the last row of a thread's share is lost", "n_rows * (i + 1) / e->n_workers)", "n_rows * (i + 1) / e->n_workers - 1)",
     "cli_test_tokenize"),
    ("src/cli/text_source.c", "a line across two pieces loses its beginning",
     "FINCH_TRY(str_add(&s->line, (const char *)part.at, part.size, err));", "if (whole) FINCH_TRY(str_add(&s->line, (const char *)part.at, part.size, err));",
     "cli_test_tokenize"),
]

MUTANTS = [Mutant(room, *rest) for room, group in (("base", BASE), ("cli", CLI)) for rest in group]
