#!/usr/bin/env bash
# Every C file is as clang-format writes it. The version is pinned: others break lines elsewhere.
set -euo pipefail
want=18.1.8
formatter="$(dirname "${FINCH_PYTHON:-.venv/bin/python}")/clang-format"
if ! [ -x "$formatter" ] || ! "$formatter" --version | grep -qF "$want"; then
    echo "skipped: $formatter is not clang-format $want; tools/setup.sh test installs it"
    exit 0
fi
mapfile -t sources < <(find src include tests bench \( -name '*.[ch]' -o -name '*.cu' -o -name '*.cpp' \) -not -path '*/corpus/*' | sort)
if ! "$formatter" --dry-run -Werror "${sources[@]}" 2>&1 | awk -F: '/error:/ {n[$1]++; if (n[$1] == 1) print $1 ":" $2 ": not as clang-format writes it"} END {exit length(n) > 0}'; then
    echo "run: $formatter -i FILE"
    exit 1
fi
