#!/usr/bin/env bash
# The Debian packages, from a build of the preset "package":
#   deploy/debian/package.sh BUILD_FOLDER OUT_FOLDER
# finch has the program, DuckDB's library, libfinch.so.0, the model, man pages, the systemd unit, and the dashboard where it was built;
# libfinch-dev has the header, pkg-config and CMake files. Same sources, same bytes: times are SOURCE_DATE_EPOCH (by default the
# last commit's), owners root, modes fixed, one compressing thread.
set -euo pipefail
export LC_ALL=C
umask 022
source=$(cd "$(dirname "$0")/../.." && pwd)
[ $# -eq 2 ] || { echo "usage: deploy/debian/package.sh BUILD_FOLDER OUT_FOLDER" >&2; exit 2; }
build=$(cd "$1" && pwd)
mkdir -p "$2"
out=$(cd "$2" && pwd)
for tool in dpkg-deb dpkg-shlibdeps cmake; do
    command -v "$tool" >/dev/null || { echo "package: $tool is missing (apt-get install dpkg-dev cmake)" >&2; exit 1; }
done
if [ -z "${SOURCE_DATE_EPOCH:-}" ]; then
    SOURCE_DATE_EPOCH=$(git -C "$source" log -1 --format=%ct 2>/dev/null) ||
        { echo "package: this is no git checkout; set SOURCE_DATE_EPOCH to the time of the release" >&2; exit 1; }
fi
export SOURCE_DATE_EPOCH

version=$(sed -n 's/^#define FINCH_VERSION "\(.*\)"$/\1/p' "$source/include/finch.h")
architecture=$(dpkg-architecture -qDEB_HOST_ARCH)
maintainer="the finch authors <finch@localhost>"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# What dpkg has to bring for the programs and libraries of a tree, DuckDB's library excepted: it is in the tree. The module over MPI is
# opened by those only who start finch with mpirun: openmpi-bin is a suggestion.
shared_libraries() { # tree
    mkdir -p "$work/shlibs/debian"
    printf 'Source: finch\n\nPackage: finch\nArchitecture: any\n' >"$work/shlibs/debian/control"
    local private
    private=$(find "$1" -name libduckdb.so -printf '%h\n')
    local files
    mapfile -t files < <(find "$1" -type f \( -path '*/bin/finch' -o -name 'lib*.so*' \) ! -name libfinch_mpi.so | sort)
    (cd "$work/shlibs" && dpkg-shlibdeps -O --ignore-missing-info -l"$private" "${files[@]}" 2>"$work/shlibs/log") |
        sed -n 's/^shlibs:Depends=//p' || { cat "$work/shlibs/log" >&2; return 1; }
}

fields() { # package section depends description, the long one on standard input
    printf 'Package: %s\nVersion: %s\nArchitecture: %s\nMaintainer: %s\nInstalled-Size: %s\nDepends: %s\nSection: %s\nPriority: optional\n' \
        "$1" "$version" "$architecture" "$maintainer" "$(find "$work/$1" -type f -printf '%s\n' | awk '{s += int(($1 + 1023) / 1024)} END {print s + 0}')" "$3" "$2"
    printf 'Description: %s\n' "$4"
    sed 's/^/ /'
}

pack() { # package
    local tree=$work/$1
    (cd "$tree" && find . -path ./DEBIAN -prune -o -type f -printf '%P\n' | sort | xargs -d '\n' md5sum >DEBIAN/md5sums)
    find "$tree" -type d -exec chmod 755 {} +
    find "$tree" -type f -exec chmod 644 {} +
    find "$tree" -type f -path '*/bin/*' -exec chmod 755 {} +
    find "$tree" -exec touch --no-dereference --date "@$SOURCE_DATE_EPOCH" {} +
    dpkg-deb --root-owner-group -Zxz --threads-max=1 --build "$tree" "$out/$1_${version}_${architecture}.deb" >&2
}

DESTDIR=$work/finch cmake --install "$build" --component runtime --strip >"$work/log" || { cat "$work/log" >&2; exit 1; }
grep 'not installed' "$work/log" >&2 || true
DESTDIR=$work/libfinch-dev cmake --install "$build" --component development >"$work/log" || { cat "$work/log" >&2; exit 1; }
if ! [ -d "$work/finch/usr/bin" ]; then
    echo "package: $build does not install into /usr; configure it with cmake --preset package" >&2
    exit 1
fi

strip --strip-unneeded "$(find "$work/finch" -name libduckdb.so)"
gzip -9n "$work"/finch/usr/share/man/man1/*.1
gzip -9n "$work/finch/usr/share/doc/finch/CHANGELOG.md"
for package in finch libfinch-dev; do
    mkdir -p "$work/$package/DEBIAN" "$work/$package/usr/share/doc/$package"
    cp "$source/deploy/debian/copyright" "$work/$package/usr/share/doc/$package/copyright"
done
rm "$work/finch/usr/share/doc/finch/LICENSE"
mkdir -p "$work/finch/etc/finch" "$work/finch/lib/systemd/system"
cp "$source/deploy/finch.service" "$work/finch/lib/systemd/system/finch.service"
printf '{}\n' >"$work/finch/etc/finch/serve.json"
printf '/etc/finch/serve.json\n' >"$work/finch/DEBIAN/conffiles"
printf 'activate-noawait ldconfig\n' >"$work/finch/DEBIAN/triggers"

depends=$(shared_libraries "$work/finch")
[ -n "$depends" ] || { echo "package: dpkg-shlibdeps names no library" >&2; exit 1; }
fields finch science "$depends" "market sentiment of financial tweets" >"$work/finch/DEBIAN/control" <<TEXT
One program for the whole way from financial tweets to market sentiment:
fetching, preparing, labelling, training, evaluating, scoring, and an HTTP
API. With the model finch-mini-5 and the library libfinch.so.0.
TEXT
if [ -n "$(find "$work/finch" -name libfinch_mpi.so)" ]; then
    sed -i '/^Depends: /a Suggests: openmpi-bin' "$work/finch/DEBIAN/control"
fi
pack finch
fields libfinch-dev libdevel "finch (= $version)" "market sentiment of financial tweets (C API)" >"$work/libfinch-dev/DEBIAN/control" <<TEXT
The header finch.h, for C and C++, with pkg-config and CMake files.
TEXT
pack libfinch-dev
printf '%s\n' "$out/finch_${version}_${architecture}.deb" "$out/libfinch-dev_${version}_${architecture}.deb"
