#!/usr/bin/env bash
# finch beside the real llama.cpp with Gemma 3 270M: the next words after tweets, and finch label end to end. Not part of make test.
#   tests/llama/run.sh        makes build/llama-venv where it is missing (llama-cpp-python is built from source), then tests
set -euo pipefail
cd "$(dirname "$0")/../.."
venv=build/llama-venv
want=$(sha256sum tests/requirements-llama.txt | cut -d' ' -f1)
if [ "$(cat "$venv/.requirements" 2>/dev/null || true)" != "$want" ]; then
    echo "llama: building llama-cpp-python, this takes a while" >&2
    python3 -m venv "$venv"
    # Portable instructions: what the compiler finds on a virtual machine (AMX) may be forbidden there.
    CMAKE_BUILD_PARALLEL_LEVEL="$(nproc)" CMAKE_ARGS="-DGGML_NATIVE=OFF -DGGML_AVX512=OFF -DGGML_AMX_INT8=OFF -DLLAVA_BUILD=OFF" \
        "$venv/bin/python" -m pip install --quiet -r tests/requirements-llama.txt
    echo "$want" >"$venv/.requirements"
fi
for test in gemma_by_llama label_by_llama; do
    FINCH_LLAMA_PYTHON="$venv/bin/python" "${FINCH_PYTHON:-.venv/bin/python}" "tests/llama/$test.py"
done
