"""Every check turns red: each is run on a small tree with one offence, and on the same tree without it."""
import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))

PLANTED = """import collections
Mutant = collections.namedtuple("Mutant", "file what old new tests")
MUTANTS = [Mutant("src/base/a.c", "another text", "static const", "const", ["t"])]
"""
CLEAN = {
    "src/base/a.h": "/* printf( in a comment */\n#ifndef FINCH_BASE_A_H\n#define FINCH_BASE_A_H\n#include \"finch.h\"\n#endif\n",
    "src/base/a.c": "#include \"base/a.h\"\nstatic const char *text = \"exit(1) abort() strcpy(\";\n",
    "src/cli/main.c": "#include \"base/a.h\"\nint main(void) { printf(\"%s\", \"x\"); return 0; }\n",
    "src/data/d.c": "#include \"model/m.h\"\n#include \"tensor/t.h\"\n",
    "include/finch.h": "#ifndef FINCH_H\n#define FINCH_H\n#endif\n",
    "tests/mutants/mutants.py": PLANTED,
    "docs/a.md": "See https://arxiv.org/abs/1810.04805 and src/base/a.c.\n",
}

# check, file, its content, what the check must say
OFFENCES = [
    ("includes", "src/text/x.c", '#include "tensor/t.h"\n', "src/text/x.c:1: src/text must not include"),
    ("includes", "src/base/x.c", '\n#include "text/t.h"\n', "src/base/x.c:2:"),
    ("includes", "src/data/x.c", '#include "train/t.h"\n', "src/data/x.c:1:"),
    ("includes", "src/base/x.c", '#include "a.h"\n', "named with its room"),
    ("includes", "src/model/x.c", '#include "cli/cli.h"\n', "src/model/x.c:1:"),
    ("includes", "src/extra/x.c", "int x;\n", "no room"),
    ("includes", "include/finch.h", '#include "base/a.h"\n', "stand alone"),
    ("calls", "src/base/x.c", "void f(void) { strcpy(a, b); }\n", "src/base/x.c:1: strcpy"),
    ("calls", "src/cli/x.c", "int f(void) { return atoi(a); }\n", "atoi"),
    ("calls", "src/text/x.c", '/* fine\n */ void f(void) { fprintf(stderr, "x"); }\n', "src/text/x.c:2: fprintf"),
    ("calls", "src/train/x.c", "void f(void) { abort (); }\n", "abort"),
    ("calls", "src/data/x.c", 'void f(void) { puts("x"); }\n', "puts"),
    ("calls", "src/model/x.c", "void *f(void) { return malloc(3); }\n", "base/mem.h"),
    ("notes", "src/base/x.c", "/* TO" "DO: later */\n", "src/base/x.c:1:"),
    ("notes", "tools/x.sh", "# FIX" "ME\n", "tools/x.sh:1:"),
    ("places", "docs/x.md", "see /wo" "rk/main/x\n", "docs/x.md:1:"),
    ("places", "tools/x.sh", "pip install -i https://py" "pi.example.org/simple x\n", "tools/x.sh:1:"),
    ("places", "tests/x.py", "URL = 'http://1" "0.1.2.3:80/'\n", "tests/x.py:1:"),
    ("length", "src/base/x.c", "int x;\n" * 801, "802 lines"),
    ("guards", "src/base/b.h", "#ifndef B_H\n#define B_H\n#endif\n", "FINCH_BASE_B_H"),
    ("mutants", "src/base/a.c", "static int x;\n", 'src/base/a.c:1: the text of the planted bug "another text" stands 0 times'),
    ("mutants", "src/base/a.c", "static const int x;\nstatic const int y;\n", "stands 2 times"),
    ("guards", "src/base/b.h", "#pragma once\n", "FINCH_BASE_B_H"),
    ("guards", "src/base/b.h", "#ifndef FINCH_BASE_B_H\n#define FINCH_BASE_B_H\n#endif\nint x;\n", "FINCH_BASE_B_H"),
]


def run_check(check, tree):
    with tempfile.TemporaryDirectory() as root:
        for path, content in tree.items():
            os.makedirs(os.path.join(root, os.path.dirname(path)), exist_ok=True)
            with open(os.path.join(root, path), "w") as file:
                file.write(content)
        done = subprocess.run(["bash", os.path.join(HERE, f"check_{check}.sh")], cwd=root, capture_output=True, text=True,
                              env={**os.environ, "FINCH_PYTHON": sys.executable, "FINCH_BUILD": os.path.join(root, "build")})
        return done.returncode, done.stdout + done.stderr


class Checks(unittest.TestCase):
    def test_a_clean_tree_passes(self):
        for check in ("includes", "calls", "notes", "places", "length", "guards", "mutants"):
            self.assertEqual(run_check(check, CLEAN), (0, ""), check)

    def test_each_offence_is_found_with_its_place(self):
        for check, path, content, says in OFFENCES:
            with self.subTest(check=check, content=content[:60]):
                code, said = run_check(check, {**CLEAN, path: content})
                self.assertEqual(code, 1, said)
                self.assertIn(says, said)

    def test_a_note_with_its_issue_passes(self):
        self.assertEqual(run_check("notes", {**CLEAN, "src/base/x.c": "/* TO" "DO(#12): later */\n"}), (0, ""))

    def test_format_is_held(self):
        formatter = os.path.join(os.path.dirname(sys.executable), "clang-format")
        if not os.path.exists(formatter):
            self.skipTest("clang-format is not installed")
        with open(os.path.join(HERE, "..", "..", ".clang-format")) as style:
            tree = {".clang-format": style.read(), "include/a.h": "", "tests/a.c": "", "bench/a.c": "",
                    "src/a.c": "int f(int a) { return a; }\n"}
        self.assertEqual(run_check("format", tree), (0, ""))
        code, said = run_check("format", {**tree, "src/a.c": "int f(int a) {\n  return a ;\n}\n"})
        self.assertEqual(code, 1)
        self.assertIn("src/a.c:1:", said)

    def symbols_of(self, source):
        with tempfile.TemporaryDirectory() as root:
            os.makedirs(os.path.join(root, "build"))
            path = os.path.join(root, "a.c")
            with open(path, "w") as file:
                file.write(source)
            subprocess.run(["cc", "-shared", "-fPIC", "-fno-builtin", "-o", os.path.join(root, "build", "libfinch.so"), path], check=True)
            done = subprocess.run(["bash", os.path.join(HERE, "check_symbols.sh")], cwd=root, capture_output=True, text=True,
                                  env={**os.environ, "FINCH_PYTHON": sys.executable, "FINCH_BUILD": os.path.join(root, "build")})
            return done.returncode, done.stdout

    def test_symbols_are_held(self):
        good = "int finch_version(void) { return 1; }\n"
        self.assertEqual(self.symbols_of(good), (0, ""))
        for more, says in (("int other(void) { return 2; }\n", "other"),
                           ("#include <stdlib.h>\nvoid finch_end(void) { exit(1); }\n", "exit"),
                           ("#include <stdio.h>\nvoid finch_say(void) { printf(\"%d\", 1); }\n", "printf"),
                           ("#include <stdlib.h>\nvoid finch_stop(void) { abort(); }\n", "abort")):
            code, said = self.symbols_of(more + good)
            self.assertEqual(code, 1, more)
            self.assertIn(says, said)
        self.assertEqual(self.symbols_of("int finch_other(void) { return 1; }\n")[0], 1)


if __name__ == "__main__":
    unittest.main()
