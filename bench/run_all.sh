#!/bin/sh
# Runs every speed bench, one after the other, and leaves their JSON in bench/results/; about 40 minutes on two cores.
#   bench/run_all.sh            with the program in build/finch (or $FINCH)
#   bench/run_all.sh --peers-only   the peers alone, into build/bench-peers/ (never over a result)
# The quality baseline (bench/baseline_trainer.py, about 40 minutes) and a Gemma's (bench/gemma_results.py, hours) are run by hand: they measure no
# speed of finch's. So is the 12B, which takes 13 GB of disk and most of 16 GiB: bench/gemma.py --case 12b --save bench/results/gemma-12b.json
set -eu
cd "$(dirname "$0")/.."
python="${FINCH_PYTHON:-.venv/bin/python}"
threads="${FINCH_BENCH_THREADS:-2}"
out=bench/results
if [ "${1:-}" = --peers-only ]; then
    out=build/bench-peers
elif [ $# -gt 0 ]; then
    echo "run_all.sh: unknown argument $1; known: --peers-only" >&2
    exit 2
fi
mkdir -p "$out"
"$python" bench/make_models.py >/dev/null
run() { # result script arguments...
    result=$1
    script=$2
    shift 2
    echo "== $result" >&2
    "$python" "bench/$script.py" --save "$out/$result.json" "$@" >/dev/null
}
[ $# -gt 0 ] || run gemm gemm --threads "$threads"
[ $# -gt 0 ] || run stream stream --threads "$threads"
[ $# -gt 0 ] || run fetch fetch --threads "$threads"
run wordpiece wordpiece "$@"
run spm spm "$@"
# Where it is permitted the machine's other work does not count as the time of those who wait for a provider.
realtime=$(chrt -r 1 true 2>/dev/null && echo --realtime || true)
[ $# -gt 0 ] || run label-speed label --cases speed $realtime
[ $# -gt 0 ] || run label-fleet label --cases fleet --rounds 3 $realtime
[ $# -gt 0 ] || run label-memory label --cases memory
[ $# -gt 0 ] || run clean clean
[ $# -gt 0 ] || run lora lora --threads "$threads"
if [ $# -eq 0 ]; then
    bench/peers/make_llama.sh
    for case in prompt-128 prompt-512 prefix; do run "gemma-$case" gemma --threads "$threads" --case "$case"; done
    run generate generate --threads "$threads"
fi
# A case a file, so that one can be measured again alone.
for case in minilm-int8 minilm-float bert-base-int8 one-tweet memory; do
    run "score-$case" score --threads "$threads" --cases "$case" "$@"
done
if [ $# -eq 0 ]; then
    for engine in polars duckdb duckdb-distinct; do run "prepare-$engine" prepare --threads "$threads" --engines "$engine"; done
    run near near --threads "$threads"
    run score-files score_files --threads "$threads" --rows 20000
    run serve-load serve --threads "$threads" --cases load
    run serve-one serve --threads "$threads" --cases one health
    run python python --threads "$threads"
    run history history --threads "$threads" --peers duckdb
    run simulate simulate
    if command -v mpirun >/dev/null; then run mpi mpi --threads "$threads"; fi
fi
run train train --threads "$threads" "$@"
if [ $# -eq 0 ]; then
    "$python" bench/table.py
    echo "results in $out, tables in bench/RESULTS.md" >&2
else
    echo "what the peers reach is in $out" >&2
fi
