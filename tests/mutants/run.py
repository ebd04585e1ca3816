"""Do the tests see a bug? Each planted one (mutants.py) must turn a named test red.

    python tests/mutants/run.py [--room ROOM]... [--work FOLDER] [--list]

The sources are copied first and only the copy is changed; the rest of the tree is linked to. The named tests must pass
before anything is planted. A bug that no test sees, a test that was red before, and a bug whose text is no longer in the
source are failures, and so is a room without any.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import time

from mutants import MUTANTS

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
COPIED = ("src", "include", "cmake", "deploy", "python", "compose.yaml")
ROOMS = ("base", "text", "tensor", "model", "train", "data", "store", "label", "serve", "cli", "stream", "deploy", "python")
TEST_SECONDS = 300
# Bugs in files that only some CPUs run: a flag of /proc/cpuinfo by folder or file.
NEEDS = {"src/tensor/kernels/amx/": "amx_int8", "src/tensor/kernels/avx512/": "avx512f", "src/tensor/kernels/v16.h": "avx512f"}


def say(text):
    print(text, flush=True)


def copy_tree(tree):
    """The checkout with its sources copied, so that they can be changed, and everything else linked."""
    os.makedirs(tree, exist_ok=True)
    for name in sorted(os.listdir(ROOT)):
        source, target = os.path.join(ROOT, name), os.path.join(tree, name)
        if name == ".git" or name.startswith("build-"):
            continue
        if name in COPIED:
            # Copied in place with their times: what did not change since the last run is not built again.
            subprocess.run(["rm", "-rf", target], check=True)
            if os.path.isdir(source):
                shutil.copytree(source, target)
            else:
                shutil.copy2(source, target)
        elif not os.path.lexists(target):
            os.symlink(source, target)


class Build:
    def __init__(self, tree, folder, jobs):
        self.tree, self.folder, self.jobs = tree, folder, jobs
        python = os.environ.get("FINCH_PYTHON", os.path.join(ROOT, ".venv", "bin", "python"))
        # Warnings are let through: a bug may leave a variable without use. -O2 builds quickly enough and runs the kernels so.
        done = subprocess.run(["cmake", "-G", "Ninja", "-S", tree, "-B", folder, "-DCMAKE_BUILD_TYPE=RelWithDebInfo", "-DFINCH_WERROR=OFF",
                               "-DCMAKE_C_FLAGS_RELWITHDEBINFO=-O2 -DNDEBUG", f"-DFINCH_PYTHON={python}",
                               f"-DDUCKDB_ROOT={os.environ.get('DUCKDB_ROOT', os.path.join(ROOT, 'build', 'deps', 'duckdb'))}"],
                              capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"mutants: configuring failed\n{done.stdout}{done.stderr}")
        listed = subprocess.run(["ctest", "-N"], cwd=folder, capture_output=True, text=True, check=True).stdout
        self.tests = set(re.findall(r"(?m)^ *Test +#\d+: (\S+)$", listed))
        targets = subprocess.run(["ninja", "-t", "targets", "all"], cwd=folder, capture_output=True, text=True, check=True).stdout
        self.targets = {line.split(":")[0] for line in targets.splitlines()}

    def make(self, tests):
        """C tests are targets of their own name; what runs the program needs that, what stands beside a reference the programs
        of its folder, and what installs it or is Python the library too."""
        wanted = {test if test in self.targets else "finch_program" for test in tests}
        if any(test.startswith("parity_") for test in tests):
            wanted.update(target for target in self.targets if target.startswith("parity_") and "/" not in target and "." not in target)
        if any(test.startswith(("package_", "python_")) for test in tests):
            wanted.add("libfinch.so")
        return subprocess.run(["ninja", "-j", str(self.jobs), *sorted(wanted)], cwd=self.folder, capture_output=True, text=True)

    def red(self, test):
        """Whether the test fails; one that hangs does."""
        done = subprocess.run(["ctest", "-R", f"^{test}$", "--no-tests=error", "--timeout", str(TEST_SECONDS)], cwd=self.folder,
                              capture_output=True, text=True)
        return done.returncode != 0


def plant(path, mutant):
    """The text before; None where the bug's place is not there exactly once."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    if text.count(mutant.old) != 1:
        return None
    with open(path, "w", encoding="utf-8") as file:
        file.write(text.replace(mutant.old, mutant.new))
    return text


def try_mutant(build, mutant):
    """What is wrong with the tests, or None where they saw the bug."""
    path = os.path.join(build.tree, mutant.file)
    before = plant(path, mutant) if os.path.exists(path) else None
    if before is None:
        return "its text is not (once) in the source any more: plant it anew"
    try:
        made = build.make([mutant.test])
        if made.returncode != 0:
            return "it does not compile:\n" + made.stdout[-2000:]
        return None if build.red(mutant.test) else f"{mutant.test} stays green"
    finally:
        with open(path, "w", encoding="utf-8") as file:
            file.write(before)


def runs_here(mutant, flags):
    missing = [flag for folder, flag in NEEDS.items() if mutant.file.startswith(folder) and flag not in flags]
    if missing:
        say(f"left out {mutant.file}: {mutant.what}: this CPU has no {missing[0]}")
    return not missing


def select(rooms):
    with open("/proc/cpuinfo", encoding="utf-8") as cpu:
        flags = set(next((line for line in cpu if line.startswith("flags")), "").split())
    chosen = [mutant for mutant in MUTANTS if (not rooms or mutant.room in rooms) and runs_here(mutant, flags)]
    missing = [room for room in (rooms or ROOMS) if room not in {mutant.room for mutant in chosen}]
    if missing:
        sys.exit(f"mutants: no bug is planted in {', '.join(missing)}")
    return chosen


def check_green(build, chosen):
    tests = sorted({mutant.test for mutant in chosen})
    unknown = [test for test in tests if test not in build.tests]
    if unknown:
        sys.exit(f"mutants: ctest has no {', '.join(unknown)}")
    made = build.make(tests)
    if made.returncode != 0:
        sys.exit("mutants: the tree does not build\n" + made.stdout[-4000:])
    red = [test for test in tests if build.red(test)]
    if red:
        sys.exit(f"mutants: red before any bug was planted: {', '.join(red)}")


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--room", action="append", choices=ROOMS)
    options.add_argument("--work", default=os.path.join(ROOT, "build", "mutants"), help="where the copy and its build go")
    options.add_argument("--jobs", type=int, default=os.cpu_count())
    options.add_argument("--list", action="store_true", help="show the planted bugs and end")
    args = options.parse_args()
    chosen = select(args.room)
    if args.list:
        for mutant in chosen:
            say(f"{mutant.room:7} {mutant.file}: {mutant.what} -> {mutant.test}")
        return 0
    begin = time.monotonic()
    tree = os.path.join(args.work, "tree")
    copy_tree(tree)
    build = Build(tree, os.path.join(args.work, "out"), args.jobs)
    check_green(build, chosen)
    survivors = 0
    for mutant in chosen:
        problem = try_mutant(build, mutant)
        say(f"{'seen  ' if problem is None else 'MISSED'} {mutant.room:7} {mutant.file}: {mutant.what}" + (f": {problem}" if problem else ""))
        survivors += problem is not None
    say(f"mutants: {len(chosen) - survivors} of {len(chosen)} planted bugs were seen, in {time.monotonic() - begin:.0f} s")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
