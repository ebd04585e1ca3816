"""The package's types: mypy --strict finds nothing in it, and knows what a caller gets."""
import os
import subprocess
import sys
import tempfile
import unittest

from finch_python import SOURCE

CALLER = '''
import finch
import pyarrow

model = finch.Model.open(compute="f32")
reveal_type(model.score(["a"]))
reveal_type(model.info.labels)
reveal_type(model.tokenize(["a"]).lists())
model.score(3)
model.score(["a"], output="labels")
finch.pipeline(model=model)
'''


def mypy(*words, cwd=SOURCE):
    return subprocess.run([sys.executable, "-m", "mypy", *map(str, words)], capture_output=True, text=True, cwd=cwd,
                          env={**os.environ, "MYPYPATH": str(SOURCE / "python")})


class Types(unittest.TestCase):
    cache = tempfile.TemporaryDirectory(prefix="finch-mypy-")  # numpy's types are read once

    def test_the_package_is_strict(self):
        done = mypy("--cache-dir", self.cache.name)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("no issues", done.stdout)

    def test_callers_are_told(self):
        with tempfile.TemporaryDirectory(prefix="finch-python-") as folder:
            path = os.path.join(folder, "caller.py")
            with open(path, "w", encoding="utf-8") as file:
                file.write(CALLER)
            done = mypy("--strict", "--ignore-missing-imports", "--cache-dir", self.cache.name, path, cwd=folder)
        self.assertEqual(done.returncode, 1, done.stderr)
        for line, said in ((6, "floating[numpy._typing._nbit_base._32Bit]"), (7, "tuple[str, ...]"), (8, "list[list[int]]"), (9, 'incompatible type "int"'), (10, "labels")):
            found = [row for row in done.stdout.splitlines() if f"caller.py:{line}:" in row]
            self.assertTrue(any(said in row for row in found), f"line {line}: {said}\n{done.stdout}")
        self.assertNotIn("caller.py:11:", done.stdout)


if __name__ == "__main__":
    unittest.main()
