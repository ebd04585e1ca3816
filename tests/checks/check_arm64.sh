#!/usr/bin/env bash
# The library compiles for arm64, where it has the plain kernels: its sources through the cross compiler's front end, without
# a warning. The headers of oneDNN, jansson and utf8proc are this machine's; they differ in nothing between the two.
set -euo pipefail
cd "$(dirname "$0")/../.."
compiler=aarch64-linux-gnu-gcc
[ "$(uname -m)" = aarch64 ] && exit 0 # this build is the proof
if ! command -v "$compiler" >/dev/null; then
    echo "$compiler is missing; run: tools/setup.sh test" >&2
    exit 1
fi
mapfile -t sources < <(ls src/{base,text,tensor,model,train}/*.c src/tensor/kernels/scalar/*.c)
[ "${#sources[@]}" -gt 50 ]
"$compiler" -fsyntax-only -std=c17 -O1 -fopenmp -Wall -Wextra -Wconversion -Wshadow -Wvla -Werror -D_XOPEN_SOURCE=700 \
    -D_DEFAULT_SOURCE -DUTF8PROC_EXPORTS -DFINCH_DATA='"data"' -Iinclude -Isrc -idirafter /usr/include -idirafter "/usr/include/$(uname -m)-linux-gnu" \
    -idirafter /usr/include/oneapi/dnnl "${sources[@]}"
