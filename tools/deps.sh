#!/usr/bin/env bash
# DuckDB's library and header from its npm packages into build/deps/duckdb, pinned by checksum. Runs in seconds and only
# once; DUCKDB_ROOT (a folder with include/ and lib/) takes its place where set.
set -euo pipefail
cd "$(dirname "$0")/.."

version=1.4.4
case "$(uname -m)" in
x86_64) package="@duckdb/node-bindings-linux-x64@${version}-r.4" sum=732fac4dc6b8f198870b9c4bb6ddf13544466daca00ad28ba2f1d80de5d7aa4b ;;
aarch64) package="@duckdb/node-bindings-linux-arm64@${version}-r.3" sum=7a3b62c524849af848b2d4e278bad56324e20f5e8b1d3fe3acd324ead28e1e0c ;; # there is no r.4 of it
*) echo "deps: no DuckDB package is pinned for $(uname -m); set DUCKDB_ROOT to a folder with include/duckdb.h and lib/libduckdb.so" >&2; exit 1 ;;
esac
header_package="duckdb@${version}" header_sum=5bb967dcbcd517670ba5f169f238fb9d6787e53752c60ebe24386169d76941ed

out=build/deps/duckdb
if [ -n "${DUCKDB_ROOT:-}" ]; then
    mkdir -p build/deps && ln -sfn "$DUCKDB_ROOT" "$out"
    exit 0
fi
[ -f "$out/.version" ] && [ "$(cat "$out/.version")" = "$version" ] && exit 0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fetch() { # package checksum: prints the archive's path
    local file
    file=$(cd "$work" && npm pack --silent "$1" | tail -n 1)
    if ! echo "$2  $work/$file" | sha256sum --check --status; then
        echo "deps: $1 does not have the pinned checksum; it was refused" >&2
        exit 1
    fi
    echo "$work/$file"
}

echo "deps: fetching DuckDB ${version}" >&2
library=$(fetch "$package" "$sum")
header=$(fetch "$header_package" "$header_sum")
mkdir -p "$work/new/lib" "$work/new/include"
tar -xzf "$library" -C "$work/new/lib" --strip-components=1 package/libduckdb.so
tar -xzf "$header" -C "$work" package/src/duckdb/src/include/duckdb.h
cp "$work/package/src/duckdb/src/include/duckdb.h" "$work/new/include/"
echo "$version" >"$work/new/.version"
mkdir -p build/deps
rm -rf "$out"
mv "$work/new" "$out"
