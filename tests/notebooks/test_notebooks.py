"""The notebooks: kept without outputs, written against names that exist, and run from start to end on their samples."""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import tomllib
import unittest

SOURCE = pathlib.Path(os.environ.get("FINCH_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
PROGRAM = pathlib.Path(os.environ.get("FINCH", SOURCE / "build" / "finch"))
NOTEBOOKS = sorted((SOURCE / "notebooks").glob("[0-9]*.ipynb"))
# What each leaves for the next one or for the reader.
MADE = ("prepared.parquet", "labels.parquet", "bert/model.safetensors", "gemma-lora/adapter_model.safetensors", "report.html", "serve.log")


class Kept(unittest.TestCase):
    def test_without_outputs(self):
        self.assertEqual(len(NOTEBOOKS), 7)
        for path in NOTEBOOKS:
            notebook = json.loads(path.read_text(encoding="utf-8"))
            self.assertEqual(notebook["cells"][0]["cell_type"], "markdown", path.name)
            for cell in notebook["cells"]:
                if cell["cell_type"] == "code":
                    self.assertEqual((cell["outputs"], cell["execution_count"]), ([], None), f"{path.name}: clear the outputs before you keep it")

    def test_the_lock_has_what_the_notebooks_ask_for(self):
        wanted = tomllib.loads((SOURCE / "notebooks" / "pyproject.toml").read_text())["project"]["dependencies"]
        lock = tomllib.loads((SOURCE / "notebooks" / "uv.lock").read_text())
        locked = {package["name"]: package.get("version") for package in lock["package"]}
        for line in wanted:
            name, _, version = line.partition("==")
            self.assertIn(name, locked)
            self.assertTrue(not version or locked[name] == version, line)
        hosts = set(re.findall(r'https?://([^/"]+)', (SOURCE / "notebooks" / "uv.lock").read_text()))
        self.assertEqual(hosts, {"pypi.org", "files.pythonhosted.org"})


class Run(unittest.TestCase):
    def test_from_start_to_end(self):
        with tempfile.TemporaryDirectory(prefix="finch-notebooks-") as folder:
            environment = {name: value for name, value in os.environ.items() if name not in ("OPENROUTER_API_KEY", "FINCH_NOTEBOOKS")}
            environment |= {"FINCH": str(PROGRAM), "FINCH_NOTEBOOKS_WORK": folder, "FINCH_LIBRARY": str(PROGRAM.parent / "libfinch.so"),
                            "FINCH_MODELS": str(SOURCE / "models"), "PYTHONPATH": str(SOURCE / "python"), "MPLCONFIGDIR": folder, "IPYTHONDIR": folder}
            done = subprocess.run([sys.executable, str(SOURCE / "notebooks" / "run.py"), "--output", folder], env=environment, capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertEqual(re.findall(r"^(\S+\.ipynb): \d+ s$", done.stdout, re.M), [path.name for path in NOTEBOOKS])
            for name in MADE:
                self.assertGreater((pathlib.Path(folder) / name).stat().st_size, 0, name)
            for path in NOTEBOOKS:
                cells = [cell for cell in json.loads((pathlib.Path(folder) / path.name).read_text())["cells"] if cell["cell_type"] == "code"]
                self.assertTrue(all(cell["execution_count"] for cell in cells), path.name)
                self.assertTrue(any("image/png" in output.get("data", {}) for cell in cells for output in cell["outputs"]), f"{path.name} shows a plot")


if __name__ == "__main__":
    unittest.main()
