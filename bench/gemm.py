"""Matrix products at the models' shapes against the CPU's own peak: `finch bench gemm`, which measures both in one run.

    python bench/gemm.py

On a CPU with AMX in turns with and without it: each is held against the peak of the units it runs on.
"""
import sys

import benchlib
import drive


def main():
    options = benchlib.parser(__doc__)
    options.add_argument("--rounds", type=int, default=5)
    args = options.parse_args()
    first = drive.finch(args.threads, "bench", "gemm")  # also wakes the machine up; not counted
    units = {isa: [] for isa in dict.fromkeys((first["isa"], "avx512" if first["isa"] == "amx" else first["isa"]))}
    for _ in range(args.rounds):
        for isa, runs in units.items():
            runs.append(drive.finch(args.threads, "bench", "gemm", environment={"FINCH_ISA": isa}))
    benchlib.emit({"what": "matrix products beside the CPU's peak", "environment": benchlib.environment(args.threads), "units": units}, args.save)


if __name__ == "__main__":
    sys.exit(drive.run_main(main))
