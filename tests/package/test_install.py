"""cmake --install: a tree that can be moved, from which C and C++ programs are built in both ways and score as finch does.

FINCH names the program in its build folder, FINCH_SOURCE the checkout (ctest sets both).
"""
import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest

SOURCE = os.environ.get("FINCH_SOURCE", os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
PROGRAM = os.environ.get("FINCH", os.path.join(SOURCE, "build", "finch"))
BUILD = os.path.dirname(PROGRAM)
EXAMPLES = os.path.join(SOURCE, "examples")
TEXTS = ["$AAPL beats and raises, shares jump 6% after hours", "$TSLA crashes on weak deliveries", "Fed meets on Wednesday",
         "caf\u00e9 \U0001f680 $GME"]
STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"]


def run(*words, **more):
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=300, **more)


class Install(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="finch-install-")
        first, cls.tree = os.path.join(cls.folder, "first"), os.path.join(cls.folder, "a longer name moved")
        cls.installed = run("cmake", "--install", BUILD, "--prefix", first)
        assert cls.installed.returncode == 0, cls.installed.stdout + cls.installed.stderr
        os.rename(first, cls.tree)
        with open(os.path.join(SOURCE, "include", "finch.h"), encoding="utf-8") as file:
            cls.version = re.search(r'#define FINCH_VERSION "([^"]+)"', file.read()).group(1)
        cls.model = os.path.join(cls.tree, "share", "finch", "models", "finch-mini-5")
        libraries = [folder for folder, _, names in os.walk(cls.tree) if "libfinch.so" in names]
        assert len(libraries) == 1, libraries
        cls.libraries = libraries[0]
        cls.expected = cls.scores(PROGRAM)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    @classmethod
    def scores(cls, program):
        """What finch score says of TEXTS, as the examples print it."""
        lines = "".join(json.dumps({"body": text}) + "\n" for text in TEXTS)
        done = run(program, "score", "--input", "-", "--output", "-", "--quiet", input=lines, env=cls.environment())
        assert done.returncode == 0, done.stderr
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        return "".join(f"{row['label']}\t{row['score']:+.4f}\t{row['body']}\n" for row in rows)

    @classmethod
    def environment(cls, **more):
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("FINCH", "LD_"))}
        return {**kept, "HOME": cls.folder, **more}

    def ok(self, done):
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    # ---- the program ----

    def test_the_moved_program_scores_with_its_own_model_and_libraries(self):
        moved = os.path.join(self.tree, "bin", "finch")
        self.assertEqual(self.scores(moved), self.expected)
        checks = {check["name"]: check for check in json.loads(self.ok(run(moved, "doctor", "--json", env=self.environment())))["checks"]}
        self.assertTrue(all(check["ok"] for check in checks.values()), checks)
        self.assertIn(os.path.realpath(self.tree), os.path.realpath(checks["model"]["found"].split(": ")[0]))
        loaded = self.ok(run("ldd", moved, env=self.environment()))
        duckdb = os.path.realpath(re.search(r"libduckdb\.so => (.*) \(", loaded).group(1))
        self.assertTrue(duckdb.startswith(os.path.realpath(self.tree)), loaded)

    def run_path(self, program):
        return re.search(r"\(RUNPATH\).*\[(.*)\]", self.ok(run("readelf", "--dynamic", program))).group(1).split(":")

    def test_no_program_takes_libraries_from_the_working_folder(self):
        built, installed = self.run_path(PROGRAM), self.run_path(os.path.join(self.tree, "bin", "finch"))
        self.assertTrue(all(part.startswith(("/", "$ORIGIN/")) for part in built + installed), (built, installed))
        self.assertTrue(all(part.startswith("$ORIGIN/") for part in installed), installed)

    def test_each_command_has_its_page(self):
        pages = set(os.listdir(os.path.join(self.tree, "share", "man", "man1")))
        commands = json.loads(self.ok(run(PROGRAM, "help", "--json")))["commands"]
        self.assertGreater(len(commands), 10)
        self.assertEqual(pages, {"finch.1"} | {f"finch-{command['name']}.1" for command in commands})

    def test_the_dashboard_is_there_or_missed_aloud(self):
        built = os.path.exists(os.path.join(SOURCE, "web", "out", "index.html"))
        self.assertEqual(os.path.exists(os.path.join(self.tree, "share", "finch", "web", "index.html")), built)
        self.assertEqual("dashboard is not installed" in self.installed.stdout + self.installed.stderr, not built)

    # ---- the library ----

    def pkg_config(self, *words):
        environment = self.environment(PKG_CONFIG_PATH=os.path.join(self.libraries, "pkgconfig"))
        return self.ok(run("pkg-config", *words, "finch", env=environment)).strip()

    def test_one_header_that_every_compiler_takes(self):
        self.assertEqual(os.listdir(os.path.join(self.tree, "include")), ["finch.h"])
        header = os.path.join(self.tree, "include", "finch.h")
        compilers = [("gcc", "c", ["c11", "c17"]), ("g++", "c++", ["c++11", "c++20"])]
        if shutil.which("clang"):
            compilers += [("clang", "c", ["c11", "c17"]), ("clang++", "c++", ["c++11", "c++20"])]
        for compiler, language, standards in compilers:
            for standard in standards:
                self.ok(run(compiler, f"-std={standard}", *STRICT, "-fsyntax-only", "-x", language, "-include", header,
                            os.devnull))

    def check_example(self, program, takes_lines):
        environment = self.environment(LD_LIBRARY_PATH=self.libraries)
        words, lines = (TEXTS, None) if not takes_lines else ([], "".join(text + "\n" for text in TEXTS))
        self.assertEqual(self.ok(run(program, self.model, *words, input=lines, env=environment)), self.expected)
        done = run(program, self.model + "-away", *words, input=lines, env=environment)
        self.assertEqual(done.returncode, 1)
        self.assertIn("no such file, model or entry", done.stderr)

    def test_the_examples_by_pkg_config(self):
        # pkg-config quotes its blanks for a shell.
        for name, compiler, standard in (("c/score.c", "cc", "c17"), ("cpp/score.cpp", "c++", "c++17")):
            program = os.path.join(self.folder, "by-pkg-config-" + standard.replace("+", "p"))
            source = os.path.join(EXAMPLES, name)
            command = f"{compiler} -std={standard} {' '.join(STRICT)} '{source}' {self.pkg_config('--cflags', '--libs')} -o '{program}'"
            self.ok(run("sh", "-c", command))
            self.check_example(program, name.startswith("cpp"))
        self.assertEqual(os.path.realpath(self.pkg_config("--variable=model").replace("\\ ", " ")), os.path.realpath(self.model))

    def test_the_examples_by_cmake(self):
        for name in ("c", "cpp"):
            out = os.path.join(self.folder, "by-cmake-" + name)
            self.ok(run("cmake", "-S", os.path.join(EXAMPLES, name), "-B", out, f"-DCMAKE_PREFIX_PATH={self.tree}"))
            self.ok(run("cmake", "--build", out))
            self.check_example(os.path.join(out, "score"), name == "cpp")

    # ---- the version ----

    def test_the_version_has_one_place(self):
        major, minor = self.version.split(".")[:2]
        self.assertIn(self.version, self.ok(run(PROGRAM, "--version")))
        self.assertEqual(self.pkg_config("--modversion"), self.version)
        self.assertTrue(os.path.exists(os.path.join(self.libraries, f"libfinch.so.{self.version}")))
        self.assertIn(f"soname: [libfinch.so.{major}]", self.ok(run("readelf", "-d", os.path.join(self.libraries, "libfinch.so"))))
        with open(os.path.join(SOURCE, "web", "package.json"), encoding="utf-8") as file:
            self.assertEqual(json.load(file)["version"], self.version)
        with open(os.path.join(SOURCE, "CHANGELOG.md"), encoding="utf-8") as file:
            self.assertIn(self.version, file.read())
        for asked, found in ((f"{major}.{minor}", True), (f"{major}.{int(minor) + 1}", False), ("99", False)):
            project = os.path.join(self.folder, f"wants-{asked}")
            os.makedirs(project)
            with open(os.path.join(project, "CMakeLists.txt"), "w", encoding="utf-8") as file:
                file.write(f"cmake_minimum_required(VERSION 3.16)\nproject(wants LANGUAGES NONE)\nfind_package(finch {asked} REQUIRED)\n")
            done = run("cmake", "-S", project, "-B", os.path.join(project, "out"), f"-DCMAKE_PREFIX_PATH={self.tree}")
            self.assertEqual(done.returncode == 0, found, done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
