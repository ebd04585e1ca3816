"""The flags of the preset package compile the same bytes wherever the checkout lies. Here: the room base, in two folders whose names have
different lengths; program, library and packages are compared whole by tests/package/run.sh (make test-package)."""
import filecmp
import json
import os
import shutil
import subprocess
import tempfile
import unittest

SOURCE = os.environ.get("FINCH_SOURCE", os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))


def flags_of(preset, folder):
    with open(os.path.join(SOURCE, "CMakePresets.json"), encoding="utf-8") as file:
        presets = {p["name"]: p["cacheVariables"] for p in json.load(file)["configurePresets"] if "cacheVariables" in p}
    words = presets[preset].get("CMAKE_C_FLAGS", "") + " " + presets[preset]["CMAKE_C_FLAGS_RELWITHDEBINFO"]
    return [word.replace("${sourceDir}", folder) for word in words.split()]


class Reproducible(unittest.TestCase):
    def setUp(self):
        self.work = tempfile.mkdtemp(prefix="finch-same-")
        self.addCleanup(shutil.rmtree, self.work)

    def objects(self, name, preset):
        """Objects of base, from a copy of the sources in a folder of this name."""
        folder = os.path.join(self.work, name)
        os.makedirs(os.path.join(folder, "src"))
        shutil.copytree(os.path.join(SOURCE, "include"), os.path.join(folder, "include"))
        shutil.copytree(os.path.join(SOURCE, "src", "base"), os.path.join(folder, "src", "base"))
        sources = sorted(os.path.join(folder, "src", "base", file) for file in os.listdir(os.path.join(folder, "src", "base")) if file.endswith(".c"))
        self.assertGreater(len(sources), 5)
        out = os.path.join(folder, "build")
        os.makedirs(out)
        subprocess.run(["gcc", *flags_of(preset, folder), "-std=c17", "-fPIC", "-D_XOPEN_SOURCE=700", "-D_DEFAULT_SOURCE", f"-I{folder}/include",
                        f"-I{folder}/src", "-c", *sources], cwd=out, check=True, timeout=600)
        return {file: os.path.join(out, file) for file in os.listdir(out)}

    def different(self, preset):
        one, two = self.objects(f"one-{preset}", preset), self.objects(f"a-folder-of-another-length-{preset}", preset)
        self.assertEqual(set(one), set(two))
        return [name for name in sorted(one) if not filecmp.cmp(one[name], two[name], shallow=False)]

    def test_two_folders_give_the_same_objects(self):
        self.assertEqual(self.different("package"), [])
        # The comparison can tell: without the preset's map the folder is in the debug information.
        self.assertNotEqual(self.different("release"), [])


if __name__ == "__main__":
    unittest.main()
