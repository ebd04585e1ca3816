"""The Python package's pipeline beside transformers' pipeline: the same call on the same weights and tweets.

    .venv/bin/python bench/python.py [--rows 4000] [--rounds 5] [--threads 2]

Both sides are Python processes that stay alive; a round is finch in f32, in bf16x3 (near to f32) and in int8 (the same weights through
`finch quantize`), then transformers in f32 at the batch size that was its fastest. Batches are chosen on fewer rows, because
transformers needs minutes for a choice on all. Labels of f32 and bf16x3 must be the same but for near ties, else there is nothing to compare.
The processor time of a pass is printed beside: on a machine that others use it is what still can be compared; and how much of it is the
package's own, outside the library.
"""
import contextlib
import os
import statistics
import sys

import benchlib
import drive
import make_models
from score import finch_int8

BATCHES = (1, 8, 32)
FLOATS = ("f32", "bf16x3")
GOAL = 3.0
LABELS_AGREE = 0.999


def environment():
    """The package of this checkout over the library of its build."""
    library = drive.finch_binary().parent / "libfinch.so"
    if not library.is_file():
        raise drive.Failed(f"no {library}; run: make build")
    return {"FINCH_LIBRARY": str(library), "PYTHONPATH": os.pathsep.join(filter(None, [str(benchlib.ROOT / "python"), os.environ.get("PYTHONPATH")])),
            "TOKENIZERS_PARALLELISM": "true"}


def side(args, name, model, compute="auto"):
    return drive.Peer("pipeline_peer.py", args.threads, "--side", name, "--model", model, "--compute", compute, "--texts", make_models.tweets(args.rows),
                      "--rows", args.rows, "--threads", args.threads, environment=environment())


def fastest_batch(peer, rows):
    peer.ask(do="pass", batch=BATCHES[0], rows=min(rows, 100))
    tried = {batch: peer.ask(do="pass", batch=batch, rows=rows)["texts_per_second"] for batch in BATCHES}
    return max(tried, key=tried.get), tried


def labels_agree(ours, theirs):
    wanted, found = theirs.ask(do="labels"), {}
    for name, each in ours.items():
        found[name] = sum(a == b for a, b in zip(wanted, each.ask(do="labels"), strict=True)) / len(wanted)
        if found[name] < LABELS_AGREE:
            raise drive.Failed(f"{name}: {100 * found[name]:.2f} % of labels are the same; less than {100 * LABELS_AGREE:g} % is not the same work")
    return found


def main():
    options = benchlib.parser(__doc__)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--rows", type=int, default=4000)
    options.add_argument("--batch-rows", type=int, default=500, help="rows on which the peer's batch size is chosen")
    args = options.parse_args()
    folder = make_models.reference_models().ensure("minilm", benchlib.MODELS)
    ours = {"f32": [], "bf16x3": [], "int8": []}
    theirs = []
    with contextlib.ExitStack() as stack:
        peer = stack.enter_context(side(args, "transformers", folder))
        sides = {name: stack.enter_context(side(args, "finch", folder, name)) for name in FLOATS}
        sides["int8"] = stack.enter_context(side(args, "finch", finch_int8(folder)))
        batch, tried = fastest_batch(peer, min(args.rows, args.batch_rows))
        agree = labels_agree({name: sides[name] for name in FLOATS}, peer)
        for turn in range(args.rounds):
            for name, each in sides.items():
                if turn == 0:
                    each.ask(do="pass", batch=batch, rows=100)
                ours[name].append(each.ask(do="pass", batch=batch))
            theirs.append(peer.ask(do="pass", batch=batch))
            benchlib.note(f"  round {turn + 1}: " + ", ".join(f"{name} {found[-1]['texts_per_second']:.0f}" for name, found in
                          (*((f"finch {name}", found) for name, found in ours.items()), ("transformers", theirs))) + " tweets/s")
    result = {"what": "Python pipelines", "environment": benchlib.environment(args.threads), "rows": args.rows, "labels_agree": agree,
              "peer_settings": {"transformers": {"batch": batch, "tried": tried}},
              "python_share": {name: statistics.median(each["python_seconds"] / each["cpu_seconds"] for each in found) for name, found in ours.items()}}
    result["transformers"] = {name: {"speed": drive.compare(args.rounds, found, theirs, "texts_per_second", GOAL),
                                     "cpu": drive.compare(args.rounds, found, theirs, "cpu_seconds", GOAL, higher_is_better=False)}
                              for name, found in ours.items()}
    benchlib.emit(result, args.save)


if __name__ == "__main__":
    sys.exit(drive.run_main(main))
