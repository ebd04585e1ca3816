"""The style checks that need no compiler. Each prints `file:line: what is wrong` and ends with 1 where it found anything.

    python3 style.py includes|calls|notes|places|length|guards|mutants      in the root of the checkout
"""
import os
import re
import sys

# A room and those it may include (the table of the design); a room may also use what these may use.
ROOMS = {
    "base": [], "text": ["base"], "tensor": ["base"], "model": ["text", "tensor"], "train": ["model"],
    "data": ["base", "text", "model"], "store": ["base"], "label": ["data", "store"], "serve": ["model", "store"], "stream": ["data"],
    "cli": ["base", "text", "tensor", "model", "train", "data", "store", "label", "serve", "stream"],
}
SILENT_ROOMS = ["base", "text", "tensor", "model", "train", "data", "store", "label", "stream"]

UNSAFE = "strcpy strcat sprintf vsprintf stpcpy strtok atoi atol atoll atof gets rand srand random drand48 tmpnam mktemp alloca " \
         "system popen setjmp longjmp signal".split()
LOUD = "printf vprintf fprintf vfprintf puts fputs putchar fputc putc perror exit _exit _Exit quick_exit abort".split()
RAW_MEMORY = "malloc calloc realloc reallocarray aligned_alloc posix_memalign memalign strdup strndup".split()
LINES_MAX = 800

SKIPPED_FOLDERS = {".git", ".venv", "node_modules", "__pycache__", "data", "results", "corpus", "fixtures"}


def files(tops, endings):
    """Paths under tops in name order; generated and foreign folders are left out."""
    for top in tops:
        if os.path.isfile(top):
            yield top
        for folder, folders, names in os.walk(top):
            folders[:] = sorted(f for f in folders if f not in SKIPPED_FOLDERS and not f.startswith("build"))
            for name in sorted(names):
                if name.endswith(endings):
                    yield os.path.join(folder, name)
    # src/data is a room, not a folder of data.
    if "src" in tops and os.path.isdir("src/data"):
        for folder, _, names in os.walk("src/data"):
            for name in sorted(names):
                if name.endswith(endings):
                    yield os.path.join(folder, name)


def lines_of(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read().split("\n")


def without_comments(text, keep_strings=False):
    """C text with comments (and what is in quotes) blanked, each line in its place."""
    token = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)

    def blank(match):
        found = match.group(0)
        if keep_strings and found[0] in "\"'":
            return found
        return re.sub(r"[^\n]", " ", found)
    return token.sub(blank, text)


def code_lines(path, keep_strings=False):
    return enumerate(without_comments("\n".join(lines_of(path)), keep_strings).split("\n"), 1)


def room_of(path):
    parts = path.split("/")
    return parts[1] if len(parts) > 2 and parts[0] == "src" else None


def reachable(room):
    rooms, todo = set(), [room]
    while todo:
        here = todo.pop()
        if here not in rooms:
            rooms.add(here)
            todo += ROOMS[here]
    return rooms


def check_includes():
    for path in files(["src", "include"], (".c", ".h", ".cu", ".cpp")):
        room = room_of(path)
        if room is not None and room not in ROOMS:
            yield path, 1, f"src/{room} is no room of the design"
            continue
        for number, line in code_lines(path, keep_strings=True):
            found = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
            if not found:
                continue
            name = found.group(1)
            if room is None:
                yield path, number, f'the public header includes "{name}": it must stand alone'
            elif name != "finch.h" and "/" not in name:
                yield path, number, f'"{name}" must be named with its room ("{room}/{name}")'
            elif name != "finch.h" and name.split("/")[0] not in reachable(room):
                yield path, number, f'src/{room} must not include "{name}" (it may use: {", ".join(sorted(reachable(room)))})'


def check_calls():
    for path in files(["src"], (".c", ".h")):
        banned = {name: "use a bounded, checked form" for name in UNSAFE}
        if room_of(path) in SILENT_ROOMS:
            banned.update({name: "library code never prints, exits or aborts: return a status" for name in LOUD})
        if path != "src/base/mem.c":
            banned.update({name: "memory goes through base/mem.h" for name in RAW_MEMORY})
        call = re.compile(r"(?<![\w.>])(" + "|".join(map(re.escape, banned)) + r")\s*\(")
        for number, line in code_lines(path):
            for found in call.finditer(line):
                yield path, number, f"{found.group(1)}: {banned[found.group(1)]}"


def check_notes():
    note = re.compile(r"\b(" + "TO" + "DO|FIX" + "ME|XX" + "X|HA" + r"CK)\b(?!\(#\d+\))")
    for path in files(["src", "include", "tests", "tools", "bench", "docs", "cmake", "CMakeLists.txt", "Makefile", "README.md"],
                      (".c", ".h", ".cu", ".cpp", ".py", ".sh", ".md", ".cmake", ".txt")):
        for number, line in enumerate(lines_of(path), 1):
            if note.search(line):
                yield path, number, "a note without an issue: write NOTE(#number), or do it now"


def check_places():
    """What is true on one machine only: absolute paths of its folders, its registries, its addresses."""
    place = re.compile(r"(?<![\w.])/(?:work|farm|home/\w+|root|Users/\w+)/|/tmp/b/"
                       r"|https?://[^\s\"')]*(?:pypi|npmjs|artifact|nexus|proxy|mirror|registry)[^\s\"')]*"
                       r"|https?://(?:10|192\.168|172\.(?:1[6-9]|2\d|3[01]))\.[\d.]+")
    for path in files(["src", "include", "tests", "tools", "bench", "docs", "cmake", "models", "CMakeLists.txt", "CMakePresets.json",
                       "Makefile", "README.md", "NOTICE", "CHANGELOG.md"],
                      (".c", ".h", ".cu", ".cpp", ".py", ".sh", ".md", ".cmake", ".txt", ".json", ".csv")):
        if path == "tests/checks/style.py" or os.path.getsize(path) > 4 << 20:
            continue
        for number, line in enumerate(lines_of(path), 1):
            found = place.search(line)
            if found:
                yield path, number, f"{found.group(0)} is a place of one machine or network"


def check_length():
    for path in files(["src", "include", "tests", "tools", "bench"], (".c", ".h", ".cu", ".cpp", ".py", ".sh")):
        n = len(lines_of(path))
        if n > LINES_MAX:
            yield path, n, f"{n} lines are more than {LINES_MAX}: look for the second idea and split"


def check_guards():
    for path in files(["src", "include"], (".h",)):
        if path.endswith("_body.h"):
            continue  # the body of a kernel's variants: included once by each, told by its defines which one it is
        want = "FINCH_H" if path == "include/finch.h" else "FINCH_" + re.sub(r"[/.]", "_", path.split("/", 1)[1]).upper()
        code = [line for _, line in code_lines(path) if line.strip()]
        if code[:2] != [f"#ifndef {want}", f"#define {want}"] or code[-1] != "#endif":
            yield path, 1, f"the header needs the guard {want} around everything"


def check_mutants():
    """Each planted bug's text stands exactly once in its file: else `make mutants` could not plant it."""
    sys.path.insert(0, os.path.join("tests", "mutants"))
    from mutants import MUTANTS
    for bug in MUTANTS:
        n = "\n".join(lines_of(bug.file)).count(bug.old) if os.path.isfile(bug.file) else 0
        if n != 1:
            yield bug.file, 1, f"the text of the planted bug \"{bug.what}\" stands {n} times in it (tests/mutants/mutants.py)"


def main(name):
    check = globals().get("check_" + name)
    if check is None:
        print(__doc__, file=sys.stderr)
        return 2
    problems = sorted(set(check()))
    for path, number, text in problems:
        print(f"{path}:{number}: {text}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) == 2 else ""))
