"""finch train and finch pretrain, killed with SIGKILL at random moments and resumed, end in the same bits as an
uninterrupted run: weights, card (but for its times), and events.

    FINCH=build/finch python tests/kill/test_train_resume.py [SEED]

Moments are drawn from SEED (printed); each run is killed several times, so also while a checkpoint, kept weights or the
output folder are being written. Then Ctrl-C: exit code 130 and a checkpoint. Then a resume that does not fit is refused.
"""
import csv
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

SOURCE = pathlib.Path(os.environ.get("FINCH_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
FINCH = os.environ.get("FINCH", str(SOURCE / "build/finch"))
MODEL = SOURCE / "tests/fixtures/models/tiny-bert"
KILLS = 4
TIMES = {"created", "seconds", "evaluation_seconds", "examples_per_second"}


def take_rows(path, n, to):
    with open(path, encoding="utf-8", newline="") as lines:
        rows = list(csv.reader(lines))
    with open(to, "w", encoding="utf-8", newline="") as out:
        csv.writer(out).writerows(rows[:n + 1])


def run(command, kill_after=None, sent=signal.SIGKILL):
    """Returns exit code, stderr, and the seconds it ran."""
    began = time.monotonic()
    # On a busy machine two spinning threads of so small a model would wait for each other.
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_WAIT_POLICY": "passive"})
    try:
        out, err = process.communicate(timeout=kill_after)
    except subprocess.TimeoutExpired:
        process.send_signal(sent)
        out, err = process.communicate()
    return process.returncode, err, time.monotonic() - began


def without_times(value):
    if isinstance(value, dict):
        return {key: without_times(item) for key, item in value.items() if key not in TIMES}
    return [without_times(item) for item in value] if isinstance(value, list) else value


def contents(folder):
    """What must be equal: files as bytes, JSON without its times."""
    found = {}
    for path in sorted(folder.iterdir()):
        if path.name == "finch.json":
            found[path.name] = without_times(json.loads(path.read_text(encoding="utf-8")))
        elif path.name == "metrics.jsonl":
            found[path.name] = [without_times(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
        else:
            found[path.name] = path.read_bytes()
    return found


def compare(wanted, got, what):
    assert wanted.keys() == got.keys(), f"{what}: files {sorted(wanted)} became {sorted(got)}"
    for name in wanted:
        assert wanted[name] == got[name], f"{what}: {name} differs from the uninterrupted run's"


def check_no_leftovers(folder):
    rest = [path.name for path in folder.parent.iterdir() if path.name.startswith(folder.name + ".")]
    assert rest == [], f"{folder.name}: left behind: {rest}"


def check_kills(name, command, folder, draw):
    whole, cut = folder / f"{name}-whole", folder / f"{name}-cut"
    code, err, seconds = run(command + ["--output", str(whole)])
    assert code == 0, f"{name}: exit {code}: {err}"
    wanted = contents(whole)
    killed = 0
    for _ in range(200):
        moment = draw.uniform(0.02, seconds) if killed < KILLS else None
        code, err, _ = run(command + ["--output", str(cut), "--resume"], moment)
        assert code in (0, -signal.SIGKILL), f"{name}: exit {code}: {err}"
        if code == 0 and killed >= KILLS:
            break
        if code == 0:  # done before its moment came: what it wrote is held against the whole, and it starts over
            compare(wanted, contents(cut), f"{name}, killed {killed} times")
            shutil.rmtree(cut)
            continue
        killed += 1
        if cut.exists():  # killed between the rename and the end: then it must be whole already
            compare(wanted, contents(cut), f"{name}, killed at the very end")
    assert killed >= KILLS, f"{name}: {killed} kills struck in 200 runs of {seconds:.2f} s"
    compare(wanted, contents(cut), f"{name}, killed {killed} times")
    check_no_leftovers(cut)
    print(f"{name}: {seconds:.2f} s uninterrupted, killed {killed} times, the same bits")
    return seconds


def check_interrupt(command, folder, seconds):
    """Ctrl-C leaves a checkpoint, says how to go on, and exits 130."""
    output = folder / "interrupted"
    for share in (0.5, 0.35, 0.65, 0.2, 0.45, 0.4, 0.3, 0.25):
        code, err, _ = run(command + ["--output", str(output), "--restart"], seconds * share, signal.SIGINT)
        if code != 0:
            break
        shutil.rmtree(output)
    assert code == 130, f"exit {code} after SIGINT: {err}"
    assert "--resume" in err, err
    work = pathlib.Path(f"{output}.training")
    assert (work / "checkpoint.finch").exists() and not output.exists()
    code, err, _ = run(command + ["--output", str(output)])
    assert code == 2 and "--resume" in err and "--restart" in err, f"exit {code}: {err}"
    code, err, _ = run(command + ["--output", str(output), "--resume", "--learning-rate", "0.004"])
    assert code == 2 and "learning_rate" in err, f"a run with another learning rate was resumed: exit {code}: {err}"
    code, err, _ = run(command + ["--output", str(output), "--resume"])
    assert code == 0, f"exit {code}: {err}"
    compare(contents(folder / "train-whole"), contents(output), "interrupted by SIGINT")
    code, err, _ = run(command + ["--output", str(output)])
    assert code == 2 and "already" in err, f"an existing model was overwritten: exit {code}: {err}"
    print("SIGINT: a checkpoint, exit 130, the same bits after --resume")


def main():
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else random.SystemRandom().randrange(1 << 30)
    print(f"seed {seed}")
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="finch-kill-") as name:
        folder = pathlib.Path(name)
        take_rows(SOURCE / "data/fintweets5/train.csv", 240, folder / "train.csv")
        take_rows(SOURCE / "data/fintweets5/valid.csv", 60, folder / "valid.csv")
        take_rows(SOURCE / "data/tfns/train.csv", 120, folder / "coarse.csv")
        train = [FINCH, "train", "--model", str(MODEL), "--train", str(folder / "train.csv"), "--coarse-train", str(folder / "coarse.csv"),
                 "--valid", str(folder / "valid.csv"), "--threads", "2", "--epochs", "3", "--patience", "0", "--learning-rate", "0.003",
                 "--class-weights", "sqrt", "--accumulate", "2", "--batch", "8", "--average", "2", "--ema", "0.9", "--checkpoint-every", "3",
                 "--log-every", "2", "--eval-every", "7"]
        seconds = check_kills("train", train, folder, draw)
        check_interrupt(train, folder, seconds)
        pretrain = [FINCH, "pretrain", "--model", str(MODEL), "--input", str(folder / "train.csv"), "--exclude", str(folder / "valid.csv"),
                    "--threads", "2", "--epochs", "2", "--learning-rate", "0.001", "--hold-out", "0.2", "--checkpoint-every", "4", "--log-every", "3"]
        check_kills("pretrain", pretrain, folder, draw)


if __name__ == "__main__":
    main()
