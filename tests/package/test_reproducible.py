"""The preset package compiles the same bytes wherever the checkout lies, in a folder with blanks too. Here: the room base, in two folders
whose names have different lengths; program, library and packages are compared whole by tests/package/run.sh (make test-package)."""
import filecmp
import os
import re
import shutil
import subprocess
import tempfile
import unittest

SOURCE = os.environ.get("FINCH_SOURCE", os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
# What CMake reads; the tests are only listed.
BUILT_FROM = ("CMakeLists.txt", "CMakePresets.json", "cmake", "include", "prompts", "src")


class Reproducible(unittest.TestCase):
    # The program's has one part, which is relative to the program: not the folder that it is built in, nor DuckDB's.
    RUN_PATH = r'-Wl,-rpath,"?\\?\$ORIGIN/[^:" ]*"? '

    def setUp(self):
        self.work = tempfile.mkdtemp(prefix="finch-same-")
        self.addCleanup(shutil.rmtree, self.work)

    def objects(self, name, preset):
        """Objects of base, built by the preset from a copy of the sources in a folder of this name."""
        folder = os.path.join(self.work, name)
        os.makedirs(folder)
        for each in BUILT_FROM:
            place = os.path.join(SOURCE, each)
            if os.path.isdir(place):
                shutil.copytree(place, os.path.join(folder, each))
            else:
                shutil.copy(place, folder)
        os.symlink(os.path.join(SOURCE, "tests"), os.path.join(folder, "tests"))
        duckdb = os.path.join(SOURCE, "build", "deps", "duckdb")
        environment = {name: value for name, value in os.environ.items() if name != "CMAKE_C_COMPILER_LAUNCHER"}
        self.done(["cmake", "--preset", preset, f"-DDUCKDB_ROOT={duckdb}"], folder, environment)
        out = os.path.join(folder, "build" if preset == "release" else f"build-{preset}")
        base = os.path.join("CMakeFiles", "finch_core.dir", "src", "base")
        self.link = self.done(["ninja", "-t", "commands", "finch"], out, environment).splitlines()[-1]
        names = sorted(file + ".o" for file in os.listdir(os.path.join(folder, "src", "base")) if file.endswith(".c"))
        self.assertGreater(len(names), 5)
        self.done(["ninja", *(os.path.join(base, name) for name in names)], out, environment)
        return {name: os.path.join(out, base, name) for name in names}

    def done(self, command, folder, environment):
        ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False)
        self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)
        return ran.stdout

    def different(self, preset):
        one, two = self.objects(f"one-{preset}", preset), self.objects(f"a folder with blanks, of another length, {preset}", preset)
        self.assertEqual(set(one), set(two))
        return [name for name in sorted(one) if not filecmp.cmp(one[name], two[name], shallow=False)]

    def test_two_folders_give_the_same_objects(self):
        self.assertEqual(self.different("package"), [])
        self.assertRegex(self.link, self.RUN_PATH)
        # The comparison can tell: without the preset's map the folder is in the debug information, and DuckDB's is in the run path.
        self.assertNotEqual(self.different("release"), [])
        self.assertNotRegex(self.link, self.RUN_PATH)


if __name__ == "__main__":
    unittest.main()
