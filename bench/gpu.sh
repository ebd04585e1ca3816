#!/usr/bin/env bash
# The GPU's tests on a machine with a device and little else, in under ten minutes.
#
#   bench/gpu.sh pack [KIT]   where finch was built (make gpu): tests, modules and the libraries they need into a folder (build/gpu-kit)
#   bench/gpu.sh run [KIT]    anywhere: runs them, and compute-sanitizer's memcheck and racecheck where it is; prints one JSON document
#
# Without a device it runs the kernels as they are compiled for the CPU and says so: "device" is null. Ends with 1 where a test failed.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
kit=${2:-$here/build/gpu-kit}
tests=(gpu_test_module gpu_test_rows gpu_test_attention)

pack() {
    rm -rf "$kit"
    mkdir -p "$kit/lib"
    for test in "${tests[@]}"; do
        cp "$here/build/$test" "$kit/"
        # The C library and the loader are the other machine's.
        ldd "$here/build/$test" | awk '$3 ~ /^\// {print $3}' | grep -vE '/(libc|libm|libdl|libpthread|ld-linux[^/]*)\.so' |
            while read -r library; do cp -L "$library" "$kit/lib/"; done
    done
    cp "$here/build/libfinch_cuda_emulated.so" "$kit/"
    if [ -e "$here/build/libfinch_cuda.so" ]; then cp "$here/build/libfinch_cuda.so" "$kit/"; fi
    echo "gpu: $(du -sh "$kit" | cut -f1) in $kit" >&2
}

# One test's entry; its whole output goes to stderr. A check ran on the device where the test says so.
run_test() { # name wrapper...
    local name=$1 code=0 begin output
    shift
    begin=$(date +%s%N)
    output=$(LD_LIBRARY_PATH="$kit/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" FINCH_GPU_MODULES="$kit" timeout 120 "$@" "$kit/$name" 2>&1) || code=$?
    printf '%s\n' "$output" >&2
    printf '{"test":"%s","under":"%s","exit":%d,"passed":%d,"failed":%d,"ran_on_device":%d,"seconds":%s}' "$name" "${1:-}" "$code" \
        "$(grep -c '^\[       OK \]' <<<"$output" || true)" "$(grep -cE '^\[  FAILED  \] [a-z_0-9]+$' <<<"$output" || true)" \
        "$(grep -c '^ran on ' <<<"$output" || true)" "$(awk -v n="$(($(date +%s%N) - begin))" 'BEGIN {printf "%.2f", n / 1e9}')"
    [ "$code" -eq 0 ] || failed=1
}

run() {
    local device=null separator= tool
    failed=0
    [ -x "$kit/${tests[0]}" ] || { echo "gpu: $kit has no tests; run: make gpu && bench/gpu.sh pack" >&2; exit 2; }
    if device=$(nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null | head -n 1) && [ -n "$device" ]; then
        device="\"${device//\"/}\""
    else
        device=null
    fi
    printf '{"device":%s,"tests":[' "$device"
    for test in "${tests[@]}"; do
        printf '%s' "$separator"
        run_test "$test"
        separator=,
    done
    for tool in memcheck racecheck; do
        if [ "$device" = null ] || ! command -v compute-sanitizer >/dev/null; then continue; fi
        for test in "${tests[@]}"; do
            printf ','
            run_test "$test" compute-sanitizer --tool "$tool" --error-exitcode 1
        done
    done
    printf '],"benchmarks":"none yet: no model runs on the GPU","ok":%s}\n' "$([ "$failed" = 0 ] && echo true || echo false)"
    exit "$failed"
}

case "${1:-}" in
pack) pack ;;
run) run ;;
*) sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
