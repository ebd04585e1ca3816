"""pip makes a wheel of the sources; installed into an environment that has nothing but numpy, away from the sources, it scores.

The build folder is kept beside the other builds, so that only the first run compiles everything.
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import unittest
import zipfile

from finch_python import BUILD, SOURCE, TWEETS

PROGRAM = """
import json, sys
import finch
with finch.Model.open() as model:
    loaded = [line.split()[-1] for line in open("/proc/self/maps") if ".so" in line]
    print(json.dumps({"version": finch.__version__, "scores": model.score(json.loads(sys.argv[1])).tolist(), "path": model.info.path,
                      "file": finch.__file__, "loaded": sorted(set(loaded)), "label": finch.pipeline(model=model)("up")[0]["label"]}))
"""


def run(*words, **more):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, **more)
    if done.returncode != 0:
        raise AssertionError(f"{words[:5]} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


class Wheel(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="finch-wheel-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        run(sys.executable, "-m", "pip", "wheel", SOURCE, "--no-deps", "--no-build-isolation", "--no-index", "--quiet", "-w", cls.folder,
            "-C", f"build-dir={BUILD / 'python-wheel'}", cwd=cls.folder, env={**os.environ, "CMAKE_BUILD_PARALLEL_LEVEL": "2"})
        [cls.wheel] = cls.folder.glob("*.whl")
        cls.python = cls.environment()

    @classmethod
    def environment(cls):
        """A new environment with this numpy and the wheel, and nothing else."""
        place = cls.folder / "an environment"
        run(sys.executable, "-m", "venv", "--without-pip", place)
        python = place / "bin" / "python"
        run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", "--quiet", cls.wheel)
        packages = pathlib.Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
        for name in ("numpy", "numpy.libs"):
            ours = pathlib.Path(sysconfig.get_path("purelib")) / name
            if ours.exists():
                (packages / name).symlink_to(ours)
        return python

    def test_what_it_carries(self):
        with zipfile.ZipFile(self.wheel) as wheel:
            names = set(wheel.namelist())
            links = [info.filename for info in wheel.infolist() if info.external_attr >> 28 == 0xA]
        self.assertRegex(self.wheel.name, r"^finch-[0-9.]+-py3-none-linux_")
        for wanted in ("finch/_lib/libfinch.so", "finch/_lib/libdnnl.so.2", "finch/_lib/libjansson.so.4", "finch/_lib/libutf8proc.so.2", "finch/_lib/libgomp.so.1",
                       "finch/models/finch-mini-5/model.safetensors", "finch/models/finch-mini-5/finch.json", "finch/py.typed", "finch/__init__.py"):
            self.assertIn(wanted, names)
        self.assertEqual(links, [])
        libraries = {name.split("/")[-1] for name in names if name.startswith("finch/_lib/lib")} - {"libfinch.so"}
        if shutil.which("dpkg-query"):
            self.assertEqual({name.split("/")[-1] for name in names if "/licenses/" in name and "_lib" in name}, {f"{name}.txt" for name in libraries})
        self.assertFalse([name for name in names if "__pycache__" in name or "tests" in name])

    def test_it_scores_away_from_the_sources(self):
        bare = {name: value for name, value in os.environ.items() if not name.startswith(("FINCH", "PYTHON", "LD_"))}
        said = json.loads(run(self.python, "-c", PROGRAM, json.dumps(TWEETS), cwd="/", env=bare))
        inside = str(self.folder / "an environment")
        self.assertTrue(said["file"].startswith(inside), said["file"])
        self.assertTrue(said["path"].startswith(inside), said["path"])
        for library in ("libfinch", "libdnnl", "libjansson", "libutf8proc", "libgomp"):
            found = [path for path in said["loaded"] if pathlib.Path(path).name.startswith(library)]
            self.assertTrue(found and all("finch/_lib" in path for path in found), f"{library}: {found}")
        import finch
        self.assertEqual(said["version"], finch.__version__)
        self.assertEqual(said["scores"], finch.Model.open().score(TWEETS).tolist())


if __name__ == "__main__":
    unittest.main()
