"""Matrix products at the models' shapes against the CPU's own peak: `finch bench gemm`, which measures both in one run.

    python bench/gemm.py
"""
import sys

import benchlib
import drive


def main():
    options = benchlib.parser(__doc__)
    options.add_argument("--rounds", type=int, default=5)
    args = options.parse_args()
    runs = [drive.finch(args.threads, "bench", "gemm") for _ in range(args.rounds)]
    benchlib.emit({"what": "matrix products beside the CPU's peak", "environment": benchlib.environment(args.threads), "runs": runs}, args.save)


if __name__ == "__main__":
    sys.exit(drive.run_main(main))
