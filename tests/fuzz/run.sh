#!/usr/bin/env bash
# Runs one libFuzzer target for some seconds, from its kept corpus:
#   tests/fuzz/run.sh build-fuzz/fuzz_safetensors 60
# The corpus is tests/fuzz/corpus/TARGET (or TARGET without "fuzz_"); it is read, never written: what the run finds goes to
# a temporary folder. A dictionary beside the source (TARGET.dict) is used where there is one. Exit status: not 0 where the
# target crashed, leaked, hung or ran out of memory; the input that did it is then kept and named.
# The seed is 1, so that a run says the same tomorrow; FINCH_FUZZ_SEED=0 takes a new one each time, to search.
# To add to the corpus: TARGET -merge=1 tests/fuzz/corpus/TARGET FOLDER.
set -euo pipefail

if [ $# -ne 2 ] || ! [[ $2 =~ ^[1-9][0-9]*$ ]]; then
    echo "usage: $0 TARGET SECONDS" >&2
    exit 2
fi
binary=$1
seconds=$2
name=$(basename "$binary")
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

corpus=$here/corpus/$name
[ -d "$corpus" ] || corpus=$here/corpus/${name#fuzz_}
if [ -z "$(ls -A "$corpus" 2>/dev/null)" ]; then
    echo "$name has no corpus: put inputs into tests/fuzz/corpus/$name" >&2
    exit 1
fi

found=$(mktemp -d "${TMPDIR:-/tmp}/$name.XXXXXX")
mkdir "$found/corpus" "$found/crash"
options=(-seed="${FINCH_FUZZ_SEED:-1}" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -artifact_prefix="$found/crash/" -print_final_stats=1)
[ -f "$here/$name.dict" ] && options+=(-dict="$here/$name.dict")

status=0
"$binary" "${options[@]}" "$found/corpus" "$corpus" >"$found/log" 2>&1 || status=$?
if [ "$status" -ne 0 ] || [ -n "$(ls -A "$found/crash")" ]; then
    tail -n 60 "$found/log" >&2
    echo "$name failed; the input and the log are in $found" >&2
    exit 1
fi
grep -E '^stat::number_of_executed_units' "$found/log" || { tail -n 20 "$found/log" >&2; echo "$name ran nothing" >&2; exit 1; }
rm -rf "$found"
