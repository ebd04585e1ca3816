#!/usr/bin/env bash
# llama.cpp as a peer of bench/gemma.py and bench/generate.py: build/llama-native with llama-cpp-python, compiled for this machine's own
# instructions, as its users build it (tests/llama/run.sh has a portable one). Some ten minutes on two cores.
set -euo pipefail
cd "$(dirname "$0")/../.."
venv=build/llama-native
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
# The intrinsic that configures tiles says that it reads eight bytes, so gcc 12 leaves the other stores out, and llama.cpp's AMX products end in an
# illegal instruction: its AVX-512 ones are compiled instead.
flags=""
[ "$(uname -m)" != x86_64 ] || flags="-DCMAKE_C_FLAGS=-mno-amx-int8 -DCMAKE_CXX_FLAGS=-mno-amx-int8"
CMAKE_BUILD_PARALLEL_LEVEL="$(nproc)" CMAKE_ARGS="-DGGML_NATIVE=ON -DLLAVA_BUILD=OFF $flags" "$venv/bin/python" -m pip install --quiet llama_cpp_python==0.3.36
"$venv/bin/python" -c "import llama_cpp; print(llama_cpp.llama_print_system_info().decode())"
