#!/usr/bin/env bash
# The wheel of the Python package, for other machines:
#   deploy/wheel.sh OUT_FOLDER        prints its path
# pip builds it (pyproject.toml): libfinch, the libraries that it needs and a bare Linux has not, their licences, the model. auditwheel then reads
# which versions of glibc and libstdc++ these ask for, refuses a library that is neither in the wheel nor on every Linux, and names
# the wheel by what it found. Same sources, same bytes: times are SOURCE_DATE_EPOCH (by default the last commit's).
set -euo pipefail
export LC_ALL=C
umask 022
source=$(cd "$(dirname "$0")/.." && pwd)
[ $# -eq 1 ] || { echo "usage: deploy/wheel.sh OUT_FOLDER" >&2; exit 2; }
mkdir -p "$1"
out=$(cd "$1" && pwd)
work=$source/build/wheel
if [ -z "${SOURCE_DATE_EPOCH:-}" ]; then
    SOURCE_DATE_EPOCH=$(git -C "$source" log -1 --format=%ct 2>/dev/null) ||
        { echo "wheel: this is no git checkout; set SOURCE_DATE_EPOCH to the time of the release" >&2; exit 1; }
fi
export SOURCE_DATE_EPOCH

mkdir -p "$work"
wanted=$(sha256sum <"$source/deploy/wheel.txt")
if [ "$(cat "$work/venv/.requirements" 2>/dev/null)" != "$wanted" ]; then
    rm -rf "$work/venv"
    python3 -m venv "$work/venv"
    "$work/venv/bin/pip" install --quiet -r "$source/deploy/wheel.txt" >&2
    echo "$wanted" >"$work/venv/.requirements"
fi
export PATH=$work/venv/bin:$PATH

rm -rf "$work/plain" "$work/named"
pip wheel "$source" --no-deps --no-build-isolation --quiet --wheel-dir "$work/plain" --config-settings "build-dir=$work/build" >&2
# The libraries that are carried find each other by libfinch's run path, of which auditwheel knows nothing: it is told that they are there.
there=()
while read -r name; do there+=(--exclude "$name"); done < <(python3 -m zipfile --list "$work"/plain/*.whl | grep -oE '^finch/_lib/lib[^ /]+' | sed 's|.*/||')
auditwheel repair --plat auto --only-plat "${there[@]}" --wheel-dir "$work/named" "$work"/plain/*.whl >"$work/auditwheel.log" 2>&1 || { cat "$work/auditwheel.log" >&2; exit 1; }
wheel=$(basename "$work"/named/*.whl)
case "$wheel" in
*-manylinux_*) ;;
*) echo "wheel: $wheel names no manylinux: it asks for more than Linux distributions share; auditwheel show build/wheel/plain/*.whl tells what" >&2; exit 1 ;;
esac
# auditwheel would put what is missing beside the package, under names of its own: what is carried is cmake/wheel.cmake's to say.
grafted=$(python3 -m zipfile --list "$work/named/$wheel" | grep '^finch\.libs/' || true)
if [ -n "$grafted" ]; then
    printf 'wheel: a library is needed that cmake/wheel.cmake does not carry:\n%s\n' "$grafted" >&2
    exit 1
fi
# Files have the modes that the checkout gave them, which follow whoever made it: one mode for all.
python3 - "$work/named/$wheel" "$out/$wheel" <<'PYTHON'
import sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as given, zipfile.ZipFile(sys.argv[2], "w") as wheel:
    for entry in given.infolist():
        entry.external_attr = (0o40755 << 16 | 0x10) if entry.is_dir() else 0o100644 << 16
        wheel.writestr(entry, given.read(entry))
PYTHON
echo "$out/$wheel"
