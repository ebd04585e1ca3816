#!/usr/bin/env bash
# The Python wheel for real (make test-package):
#   1. it is built twice, in folders of different names, and must have the same bytes
#   2. its name promises no more than its libraries keep: read with readelf, apart from auditwheel, which chose the name
#   3. it is installed into a new environment, away from the sources, and scores tweets as the program here does
# A step that this machine cannot run is said with its reason; the closing line counts.
#   FINCH_WHEEL   a wheel that is there: it is only looked at and installed, nothing is built
set -uo pipefail
export LC_ALL=C
source=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
. "$source/tests/steps.sh"

export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$source" log -1 --format=%ct 2>/dev/null || echo 1700000000)}
build_in() { # folder: a copy of the sources, and its wheel in FOLDER.wheel
    mkdir -p "$1"
    (cd "$source" && tar -c --exclude-vcs --exclude './build*' --exclude ./.venv --exclude ./notebooks/.venv --exclude node_modules --exclude ./web/out --exclude ./web/.next .) | tar -x -C "$1"
    env -u CMAKE_C_COMPILER_LAUNCHER "$1/deploy/wheel.sh" "$1.wheel" >"$work/build.log" 2>&1 || { tail -n 30 "$work/build.log"; return 1; }
}

if [ -n "${FINCH_WHEEL:-}" ]; then
    skip "two wheels with the same bytes" "FINCH_WHEEL names one that is there"
    wheel=$FINCH_WHEEL
else
    check "the wheel is built" build_in "$work/one"
    check "and again, in another folder" build_in "$work/a second folder of another length"
    wheel=$(echo "$work"/one.wheel/*.whl)
    check "both have the same bytes" cmp "$wheel" "$work/a second folder of another length.wheel/$(basename "$wheel")"
fi
[ -f "$wheel" ] || { fail "there is no wheel: $wheel"; finish; exit 1; }
echo "      $(basename "$wheel"): $(($(stat -c %s "$wheel") / 1000000)) MB"

mkdir "$work/inside" && python3 -m zipfile --extract "$wheel" "$work/inside"
libraries=$work/inside/finch/_lib
asked() { # prefix: the newest version of it that a library in the wheel asks for
    find "$libraries" -maxdepth 1 -name '*.so*' -exec readelf --version-info --wide {} + | grep -oE "\b$1_[0-9]+(\.[0-9]+)+" | sort -u -V | tail -n 1
}
is_named_honestly() {
    local promised glibc
    promised=$(basename "$wheel" | sed -nE 's/.*-py3-none-manylinux_2_([0-9]+)_'"$(uname -m)"'\.whl$/\1/p')
    glibc=$(asked GLIBC)
    echo "manylinux_2_${promised:-?}; asked for: $glibc, $(asked GLIBCXX), $(asked CXXABI), $(asked GCC)"
    [ -n "$promised" ] && [ "${glibc#GLIBC_2.}" -le "$promised" ]
}
needs_only_its_own() {
    local library needed
    for library in "$libraries"/*.so*; do
        for needed in $(readelf --dynamic "$library" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'); do
            case "$needed" in
            libc.so.6 | libm.so.6 | libdl.so.2 | libpthread.so.0 | libstdc++.so.6 | libgcc_s.so.1 | ld-linux-*.so.*) ;;
            *) [ -f "$libraries/$needed" ] || { echo "$(basename "$library") needs $needed, which is not in the wheel"; return 1; } ;;
            esac
        done
    done
}
check "its name promises no more than its libraries keep" is_named_honestly
sed 's/^/      /' "$work/log"
check "what it needs is in it, or on every Linux" needs_only_its_own
check "every library's licence is in it" sh -c "for library in '$libraries'/lib*.so*; do case \$library in */libfinch.so) ;; *) [ -s '$libraries/licenses/'\$(basename \$library).txt ] || exit 1 ;; esac; done"

# ---- installed ----

bare() { (cd / && env -i HOME="$work" PATH=/usr/bin:/bin PYTHONUTF8=1 "$@"); }
scores() { bare "$work/environment/bin/python" "$work/score.py" "$work/tweets.jsonl" >"$work/package.txt"; }
cat >"$work/score.py" <<'PYTHON'
import json, sys
import finch
texts = [json.loads(line)["body"] for line in open(sys.argv[1], encoding="utf-8")]
with finch.Model.open() as model:
    for text, score in zip(texts, model.sentiment(texts)):
        print(f"{score:+.4f} {text}")
labels = [found["label"] for found in finch.pipeline("text-classification")(texts)]
print(labels[:2])
assert labels[0].endswith("POSITIVE") and labels[1].endswith("NEGATIVE"), labels
theirs = {line.split()[-1] for line in open("/proc/self/maps") if "libfinch" in line or "libdnnl" in line or "libgomp" in line}
assert len(theirs) >= 3 and all(path.startswith(sys.prefix) for path in theirs), theirs
PYTHON
cat >"$work/tweets.jsonl" <<'TWEETS'
{"body":"$AAPL beats and raises, shares jump 6% after hours"}
{"body":"$TSLA crashes on weak deliveries"}
{"body":"Fed meets on Wednesday"}
{"body":"café 🚀 $GME"}
TWEETS
scores_like_the_program() {
    "$source/build/finch" score --input "$work/tweets.jsonl" --output "$work/program.jsonl" --quiet || return 1
    python3 - "$work/program.jsonl" >"$work/program.txt" <<'PYTHON'
import json, sys
for line in open(sys.argv[1], encoding="utf-8"):
    row = json.loads(line)
    print(f"{row['score']:+.4f} {row['body']}")
PYTHON
    head -n 4 "$work/package.txt" | diff "$work/program.txt" -
}
python3 -m venv "$work/environment"
if ! "$work/environment/bin/pip" install --quiet 'numpy>=1.26' >"$work/log" 2>&1; then
    skip "installing it" "numpy can not be fetched: $(tail -n 1 "$work/log")"
else
    check "pip installs it into a new environment" "$work/environment/bin/pip" install --quiet --no-index "$wheel"
    check "it scores tweets there, away from the sources, with its own libraries and model" scores
    sed 's/^/      /' "$work/package.txt"
    if [ -x "$source/build/finch" ]; then check "as the program here does" scores_like_the_program; else skip "the same scores as the program's" "build/finch is not there (make build)"; fi
fi
skip "another distribution with the glibc that the name promises" "none can be fetched here; the name is read from the libraries' symbol versions"
finish
