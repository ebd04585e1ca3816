"""Makes src/text/entity_table.h: the named character references of HTML, as Python's html.entities.html5 has them.

    python tools/make_entity_table.py >src/text/entity_table.h

Only Python's own library is used. A name is stored without its ';'; legacy marks those that HTML also takes without one.
"""
import html.entities


def literal(text):
    """A C string literal; octal escapes of three digits end by themselves."""
    return '"' + "".join(chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\{b:03o}" for b in text.encode()) + '"'


def main():
    table = html.entities.html5
    names = sorted(name[:-1] for name in table if name.endswith(";"))
    for name in names:
        assert name.isascii() and name.isalnum() and 2 <= len(name) < 32 and len(table[name + ";"].encode()) < 8
        assert name not in table or table[name] == table[name + ";"]
    assert all(name.endswith(";") or name + ";" in table for name in table)
    legacy = [name for name in names if name in table]
    print("/* Made by tools/make_entity_table.py; do not edit. In order of names (bytes). */")
    print("#ifndef FINCH_TEXT_ENTITY_TABLE_H\n#define FINCH_TEXT_ENTITY_TABLE_H\n")
    print(f"enum {{ ENTITY_COUNT = {len(names)}, ENTITY_LONGEST = {max(map(len, names))}, "
          f"ENTITY_LEGACY_LONGEST = {max(map(len, legacy))} }};\n")
    print("typedef struct entity_name {\n    char name[32];\n    char text[7];\n"
          "    char legacy; /* taken without the ';', too */\n} entity_name;\n")
    print("// clang-format off\nstatic const entity_name entity_names[ENTITY_COUNT] = {")
    line = ""
    for name in names:
        entry = f"{{{literal(name)}, {literal(table[name + ';'])}, {int(name in table)}}},"
        if len(line) + len(entry) > 124:
            print(line.rstrip())
            line = ""
        line += entry + " "
    print(line.rstrip())
    print("};\n// clang-format on\n\n#endif")


main()
