#!/usr/bin/env bash
# llama.cpp as a peer of bench/gemma.py: build/llama-native with llama-cpp-python, compiled for this machine's own instructions, as its users
# build it (tests/llama/run.sh has a portable one). Some ten minutes on two cores.
set -euo pipefail
cd "$(dirname "$0")/../.."
venv=build/llama-native
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
CMAKE_BUILD_PARALLEL_LEVEL="$(nproc)" CMAKE_ARGS="-DGGML_NATIVE=ON -DLLAVA_BUILD=OFF" "$venv/bin/python" -m pip install --quiet llama_cpp_python==0.3.36
"$venv/bin/python" -c "import llama_cpp; print(llama_cpp.llama_print_system_info().decode())"
