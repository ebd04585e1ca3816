#!/usr/bin/env bash
# clang-tidy (.clang-tidy) and cppcheck over all sources, from the compile commands of a build folder.
#   tools/lint.sh [BUILD] [FILE...]    BUILD is build unless given; FILE... limits it to those
# Prints what they find and ends with 1 where that is anything.
set -euo pipefail
cd "$(dirname "$0")/.."
build="${1:-build}"
[ $# -gt 0 ] && shift
if ! [ -f "$build/compile_commands.json" ]; then
    echo "lint: $build/compile_commands.json is missing; run make build first" >&2
    exit 1
fi
sources=("$@")
[ ${#sources[@]} -gt 0 ] || mapfile -t sources < <(find src -name '*.c' -not -path 'src/tensor/kernels/neon/*' | sort)

failed=0
# clang does not know gcc's OpenMP header folder, so the pragmas are passed over: they change no flow that is checked.
printf '%s\n' "${sources[@]}" |
    xargs -P "$(nproc)" -n 4 clang-tidy --quiet -p "$build" --extra-arg=-Wno-unknown-pragmas --extra-arg=-fno-openmp 2>/dev/null || failed=1

cppcheck --quiet --error-exitcode=1 --inline-suppr --enable=warning,performance,portability --std=c11 \
    --suppress=missingIncludeSystem --suppress=normalCheckLevelMaxBranches --suppress=unmatchedSuppression \
    -I include -I src -D__x86_64__ -DNDEBUG "${sources[@]}" || failed=1

[ $failed -eq 0 ] && echo "lint: nothing found in ${#sources[@]} files"
exit $failed
