#!/usr/bin/env bash
# CUDA's compiler for the GPU's module (src/tensor/cuda) where the machine has none: NVIDIA's own wheels of CUDA 13.0, pinned by checksum, unpacked
# into build/deps/cuda (101 MB to fetch). Runs only once. Where it can not, finch is built without the module and this says so.
set -euo pipefail
cd "$(dirname "$0")/.."

out=build/deps/cuda
command -v nvcc >/dev/null || [ -x "${CUDA_PATH:-/usr/local/cuda}/bin/nvcc" ] || [ -x "$out/bin/nvcc" ] && exit 0
without() {
    echo "cuda: $1; finch is built without its GPU module" >&2
    exit 0
}
[ "$(uname -m)" = x86_64 ] || without "no compiler is pinned for $(uname -m)"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/wheels.txt" <<'END'
nvidia-cuda-nvcc==13.0.88 --hash=sha256:56fe502eb77625a12f25172caa3cdddb4e4c8ba2c8c17dba44b164761b380f03
nvidia-cuda-crt==13.0.88 --hash=sha256:2c8043c7c9e02492716426e9919fc78d2c5b3b2a7a768a88e952676b08aa55a4
nvidia-nvvm==13.0.88 --hash=sha256:c5f41ffeb6466944a026dfa5317d7d85355c119bbec279205d22f1869d1054e0
nvidia-cuda-runtime==13.0.96 --hash=sha256:7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548
END
echo "cuda: fetching CUDA's compiler 13.0" >&2
"${FINCH_PYTHON:-.venv/bin/python}" -m pip install --quiet --no-deps --require-hashes --only-binary :all: --target "$work/new" -r "$work/wheels.txt" ||
    without "the wheels could not be fetched"
mkdir -p build/deps
ln -s lib "$work/new/nvidia/cu13/lib64" # where nvcc looks for its runtime
rm -rf "$out"
mv "$work/new/nvidia/cu13" "$out"
