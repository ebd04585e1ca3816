"""Runs the notebooks from start to end, in order, each in a kernel of its own, and says how long each took.

    python notebooks/run.py [--output FOLDER] [NAME...]

A cell that fails ends the run with its traceback. Nothing is written into the notebooks themselves: with --output, copies with
all results go there.
"""
import argparse
import pathlib
import sys
import time

import nbclient
import nbformat

HERE = pathlib.Path(__file__).resolve().parent
CELL_SECONDS = 900
START_SECONDS = 180


def run(path, output):
    notebook = nbformat.read(path, as_version=4)
    began = time.monotonic()
    client = nbclient.NotebookClient(notebook, timeout=CELL_SECONDS, startup_timeout=START_SECONDS, kernel_name="python3", resources={"metadata": {"path": str(HERE)}})
    try:
        client.execute()
    finally:
        if output is not None:
            output.mkdir(parents=True, exist_ok=True)
            nbformat.write(notebook, output / path.name)
    return time.monotonic() - began


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("names", nargs="*", metavar="NAME", help="notebooks to run (default: all)")
    options.add_argument("--output", type=pathlib.Path, default=None, help="where copies with their results go")
    args = options.parse_args()
    found = [HERE / name for name in args.names] or sorted(HERE.glob("[0-9]*.ipynb"))
    for path in found:
        try:
            seconds = run(path, args.output)
        except nbclient.exceptions.CellExecutionError as why:
            print(f"{path.name} failed:\n{why}", file=sys.stderr)
            return 1
        print(f"{path.name}: {seconds:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
