"""finch doctor says what is there and ends with 1 where something finch needs is not."""
import json
import os
import shutil
import subprocess
import tempfile
import unittest

from finch_cli import PROGRAM, SOURCE, finch

FLAGS = {"avx2": ("avx2", "fma", "f16c"), "avx512": ("avx512f", "avx512bw", "avx512dq", "avx512vl"), "avx512_vnni": ("avx512_vnni",),
         "avx512_bf16": ("avx512_bf16",)}
TILES = {"amx_int8": ("amx_tile", "amx_int8"), "amx_bf16": ("amx_tile", "amx_bf16")}


def report(*words, **more):
    done = finch("doctor", "--json", *words, **more)
    return done, json.loads(done.stdout)


def check(document, name):
    return next(entry for entry in document["checks"] if entry["name"] == name)


class Doctor(unittest.TestCase):
    def test_a_model_that_is_not_there_fails_with_a_remedy(self):
        with tempfile.TemporaryDirectory() as empty:
            done, document = report("--model", os.path.join(empty, "absent"))
        self.assertEqual(done.returncode, 1)
        self.assertFalse(document["ok"])
        self.assertIn("--model", check(document, "model")["remedy"])
        self.assertIn("FAIL model", done.stderr)
        self.assertIn("absent", check(document, "model")["found"])

    def test_a_broken_model_fails_and_says_why(self):
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, "config.json"), "w") as config:
                config.write("{")
            done, document = report("--model", folder)
        self.assertEqual(done.returncode, 1)
        self.assertIn("config.json", check(document, "model")["found"])

    def test_the_rest_works(self):
        _, document = report("--model", "absent")
        self.assertEqual([entry["name"] for entry in document["checks"] if not entry["ok"]], ["model"])
        self.assertTrue(all(entry["remedy"] is None for entry in document["checks"] if entry["ok"]))
        with open(os.path.join(SOURCE, "include", "finch.h")) as header:
            self.assertIn(f'"{document["version"]}"', header.read())

    def test_features_are_the_kernels(self):
        if not os.path.exists("/proc/cpuinfo") or os.environ.get("FINCH_ISA"):
            self.skipTest("no /proc/cpuinfo to compare with")
        with open("/proc/cpuinfo") as cpu:
            have = set(next((line for line in cpu if line.startswith("flags")), "").split())
        _, document = report("--model", "absent")
        named = set(check(document, "cpu")["found"].split("; has ")[1].split())
        for feature, flags in FLAGS.items():
            needed = flags + (FLAGS["avx2"] if feature != "avx2" else ()) + (FLAGS["avx512"] if feature.startswith("avx512_") else ())
            self.assertEqual(feature in named, set(needed) <= have, feature)
        for feature, flags in TILES.items():  # the system may keep from a process what the CPU has
            if feature in named:
                self.assertLessEqual(set(flags), have, feature)
                self.assertIn("avx512", named)

    def test_a_gpu_that_is_not_there_is_no_failure(self):
        found = check(report("--model", "absent")[1], "GPU")
        self.assertTrue(found["ok"])
        self.assertRegex(found["found"], r"^(not there, so finch runs on the CPU: \S|.+, sm_\d+, )")

    def test_a_gpu_module_is_looked_for_beside_the_program_and_checked(self):
        with tempfile.TemporaryDirectory() as folder:
            program = shutil.copy(PROGRAM, folder)
            found = self.gpu_of(program)
            self.assertIn("libfinch_cuda.so was not found", found)
            module = os.path.join(folder, "libfinch_cuda.so")
            with open(module, "wb") as file:
                file.write(b"no library")
            self.assertIn("libfinch_cuda.so: ", self.gpu_of(program))
            self.compile("int finch_cuda_table[2] = {0, 0};", module)
            self.assertIn("is of another version of finch; build both together", self.gpu_of(program))
            self.compile("int other;", module)
            self.assertIn("is of another version of finch", self.gpu_of(program))

    def compile(self, source, library):
        subprocess.run(["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", library], input=source.encode(), check=True)

    def gpu_of(self, program):
        done = subprocess.run([program, "doctor", "--json", "--model", "absent"], capture_output=True, timeout=60)
        found = check(json.loads(done.stdout), "GPU")
        self.assertTrue(found["ok"])
        return found["found"]

    def test_tiles_can_be_left_out(self):
        _, document = report("--model", "absent", env={"FINCH_ISA": "avx512"})
        self.assertNotIn("amx", check(document, "cpu")["found"] + check(document, "kernels")["found"])

    def test_a_lower_instruction_set_can_be_forced(self):
        _, document = report("--model", "absent", env={"FINCH_ISA": "scalar"})
        self.assertEqual(check(document, "cpu")["found"], "kernels for scalar; has scalar")
        self.assertNotIn("avx", check(document, "kernels")["found"])

    def test_a_misspelt_instruction_set_is_an_error(self):
        for command in (("doctor",), ("score", "--input", "x.csv", "--output", "y.csv"), ("bench", "gemm")):
            done = finch(*command, env={"FINCH_ISA": "avx51"})
            self.assertEqual((done.returncode, done.stdout), (2, ""), command)
            self.assertIn('FINCH_ISA is "avx51": write scalar, avx2, avx512 or amx', done.stderr)
        _, document = report("--model", "absent", env={"FINCH_ISA": ""})
        self.assertEqual([entry["name"] for entry in document["checks"] if not entry["ok"]], ["model"])

    def test_threads_are_what_was_asked_for(self):
        _, document = report("--model", "absent", "--threads", 3)
        self.assertEqual(document["threads"], 3)
        _, document = report("--model", "absent", env={"OMP_NUM_THREADS": "2"})
        self.assertEqual(document["threads"], 2)

    def test_quiet_says_only_the_error(self):
        done = finch("doctor", "--quiet", "--model", "absent")
        self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1))

    def test_the_model_that_ships_is_found_and_sane(self):
        folder = os.path.join(SOURCE, "models", "finch-mini-5")
        if not os.path.exists(os.path.join(folder, "config.json")):
            self.skipTest("models/finch-mini-5 is not in this checkout")
        done, document = report(env={"FINCH_MODELS": os.path.join(SOURCE, "models")})
        self.assertEqual((done.returncode, document["ok"]), (0, True), done.stderr)
        self.assertIn(folder, check(document, "model")["found"])
        self.assertRegex(check(document, "probe")["found"], r"a good tweet \+0\.\d+ .*, a bad one -0\.\d+")


if __name__ == "__main__":
    unittest.main()
