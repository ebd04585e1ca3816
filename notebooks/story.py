"""What the notebooks share: where things lie, how finch is called, how many rows a step takes.

FINCH_NOTEBOOKS=full takes all rows instead of samples; FINCH_NOTEBOOKS_WORK names the folder of the results (notebooks/work);
FINCH names the program (build/finch).
"""
import json
import os
import pathlib
import subprocess

import pandas as pd

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORK = pathlib.Path(os.environ.get("FINCH_NOTEBOOKS_WORK", ROOT / "notebooks" / "work"))
FULL = os.environ.get("FINCH_NOTEBOOKS") == "full"
LABELS = ["STRONGLY_NEGATIVE", "NEGATIVE", "NEUTRAL", "POSITIVE", "STRONGLY_POSITIVE"]
COLOURS = ["#a50026", "#f46d43", "#bdbdbd", "#66bd63", "#006837"]

WORK.mkdir(parents=True, exist_ok=True)


def program():
    """The finch program of the checkout, or the one that FINCH names."""
    path = pathlib.Path(os.environ.get("FINCH", ROOT / "build" / "finch"))
    if not path.exists():
        raise FileNotFoundError(f"there is no {path}; run make build in the checkout, or name the program in FINCH")
    return path


def finch(*words, env=None):
    """Runs `finch ... --json`: its document. What it says of a failure is the error."""
    command = [str(program()), *map(str, words), "--json", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **(env or {})})
    if done.returncode != 0:
        raise RuntimeError(f"finch {' '.join(map(str, words))}\nended with {done.returncode}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def figures(document):
    """The plain numbers of one of finch's documents."""
    return pd.Series({name: value for name, value in document.items() if isinstance(value, (int, float))}, name="").round(3)


def rows(sample, full=None):
    """How many rows a step takes: few, so that the story is told in minutes, or with FINCH_NOTEBOOKS=full all (None)."""
    return full if FULL else sample


def made(name, notebook):
    """A result of an earlier notebook."""
    path = WORK / name
    if not path.exists():
        raise FileNotFoundError(f"{path} is made by {notebook}; run that one first")
    return path


def labelled(source, n, name, seed=1):
    """n labelled texts of a table of the checkout (all where n is None), drawn with a seed, as a CSV file in WORK."""
    table = pd.read_csv(ROOT / source).dropna(subset=["label"])
    table = table[table["label"].isin(LABELS)][["text", "label"]]
    if n is not None:
        table = table.sample(n, random_state=seed)
    table.to_csv(WORK / name, index=False)
    return WORK / name
