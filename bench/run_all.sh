#!/bin/sh
# Runs every speed bench, one after the other, and leaves their JSON in bench/results/; about 25 minutes on two cores.
#   bench/run_all.sh            with the program in build/finch (or $FINCH)
#   bench/run_all.sh --peers-only   the peers alone, into build/bench-peers/ (never over a result)
# The quality baseline (bench/baseline_trainer.py, about 40 minutes) is run by hand: it measures no speed of finch's.
set -eu
cd "$(dirname "$0")/.."
python="${FINCH_PYTHON:-.venv/bin/python}"
threads="${FINCH_BENCH_THREADS:-2}"
out=bench/results
works="gemm wordpiece score train"
if [ "${1:-}" = --peers-only ]; then
    out=build/bench-peers
    works="wordpiece score train"
elif [ $# -gt 0 ]; then
    echo "run_all.sh: unknown argument $1; known: --peers-only" >&2
    exit 2
fi
mkdir -p "$out"
"$python" bench/make_models.py >/dev/null
for work in $works; do
    echo "== $work" >&2
    count=$threads
    [ "$work" = wordpiece ] && count=1
    "$python" "bench/$work.py" --threads "$count" --save "$out/$work.json" ${1:+"$1"} >/dev/null
done
echo "results in $out" >&2
