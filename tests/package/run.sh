#!/usr/bin/env bash
# The packages for real (make test-package; about ten minutes on two cores, half an hour where others want them too):
#   1. finch is built twice, in folders of different names, one with blanks: program, library, dashboard and both packages must have the same bytes
#   2. they are installed in a clean Debian tree: finch doctor, a score, the server, pages, completion, C and C++ programs built with libfinch-dev
#      there; and removed again
# A step that this machine cannot run is said with its reason; the closing line counts.
#   FINCH_PACKAGES   a folder with packages that are there: they are only installed, nothing is built
#   FINCH_BASE_TREE  a clean Debian 12 tree (debootstrap --variant=minbase) in place of one made here
set -euo pipefail
export LC_ALL=C
source=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
tree=
clean_up() {
    [ -n "$tree" ] && mountpoint -q "$tree/proc" && umount "$tree/proc"
    rm -rf "$work"
}
trap clean_up EXIT

. "$source/tests/steps.sh"

# The sources as they lie here, without what was built.
copy_sources() {
    mkdir -p "$1/build"
    (cd "$source" && tar -c --exclude-vcs --exclude './build*' --exclude ./.venv --exclude ./notebooks/.venv --exclude node_modules --exclude ./web/out --exclude ./web/.next .) | tar -x -C "$1"
    cp -a "$source/build/deps" "$1/build/deps"
}

# The dashboard, where its packages are there; they are hard links, so that their path is of the copy.
dashboard_in() {
    [ -d "$source/web/node_modules" ] || return 0
    cp -al "$(readlink -f "$source/web/node_modules")" "$1/web/node_modules" 2>/dev/null || cp -a "$(readlink -f "$source/web/node_modules")" "$1/web/node_modules"
    (cd "$1/web" && npm run --silent build) >"$work/build.log" 2>&1 || { tail -n 30 "$work/build.log"; return 1; }
}

build_in() {
    copy_sources "$1"
    dashboard_in "$1" || return 1
    (cd "$1" && env -u CMAKE_C_COMPILER_LAUNCHER cmake --preset package && ninja -C build-package finch_program libfinch.so) >"$work/build.log" 2>&1 ||
        { tail -n 30 "$work/build.log"; return 1; }
    "$1/deploy/debian/package.sh" "$1/build-package" "$2" >"$work/build.log" 2>&1 || { tail -n 30 "$work/build.log"; return 1; }
}

export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$source" log -1 --format=%ct 2>/dev/null || echo 1700000000)}
compare_two_builds() {
    [ -d "$source/build/deps/duckdb" ] || "$source/tools/deps.sh"
    build_in "$work/one" "$work/packages-one"
    (umask 077 && build_in "$work/a second folder/of another length" "$work/packages two")
    second="$work/a second folder/of another length/build-package"
    check "the program has the same bytes in both builds" cmp "$work/one/build-package/finch" "$second/finch"
    check "the library has the same bytes in both builds" cmp "$work/one/build-package/libfinch.so" "$second/libfinch.so"
    if [ -d "$work/one/web/out" ]; then
        check "the dashboard has the same bytes in both builds" diff -r "$work/one/web/out" "${second%/build-package}/web/out"
    else
        skip "the dashboard in two builds" "web/node_modules is not there (make web)"
    fi
    for package in "$work"/packages-one/*.deb; do
        check "$(basename "$package") has the same bytes from both" cmp "$package" "$work/packages two/$(basename "$package")"
    done
    if grep -qF "$work" "$work/one/build-package/finch"; then fail "the program names the folder it was built in"; else pass "the program does not name its build folder"; fi
}

if [ -n "${FINCH_PACKAGES:-}" ]; then
    skip "two builds with the same bytes" "FINCH_PACKAGES names packages that are there"
    packages=$FINCH_PACKAGES
else
    compare_two_builds
    packages=$work/packages-one
fi

clean_tree() {
    if [ "$(id -u)" -ne 0 ]; then echo "needs root (chroot)"; return 1; fi
    if [ -n "${FINCH_BASE_TREE:-}" ]; then cp -a "$FINCH_BASE_TREE" "$tree"; return; fi
    if ! command -v debootstrap >/dev/null; then echo "debootstrap is missing (apt-get install debootstrap)"; return 1; fi
    local mirror
    mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep -v security | sort -u | head -n 1)
    debootstrap --variant=minbase bookworm "$tree" "$mirror" >"$work/debootstrap.log" 2>&1 || { echo "debootstrap failed: $(tail -n 1 "$work/debootstrap.log")"; return 1; }
}

tree=$work/tree
enter=(chroot "$tree" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive)
nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups)
inside() { "${enter[@]}" "$@"; }
as_nobody() { inside "${nobody[@]}" "$@"; }
offers() { # word completion offered for "finch WORD"
    inside bash -c '. /usr/share/bash-completion/completions/finch; COMP_WORDS=(finch "$1"); COMP_CWORD=1; _finch; printf "%s\n" "${COMPREPLY[@]}" | grep -qx "$2"' finch "$@"
}
# As the unit starts it, but on a port of its own: the tree has this machine's network.
serves() {
    "${enter[@]}" "${nobody[@]}" env FINCH_STATE=/tmp/finch.sqlite finch serve --config /etc/finch/serve.json --port 18457 >"$work/serve.log" 2>&1 &
    local server=$! code=1
    for ((i = 0; i < 240; i++)); do
        curl -fsS http://127.0.0.1:18457/ready && { code=0; break; }
        kill -0 $server 2>/dev/null || break
        sleep 0.5
    done
    [ ! -d "$tree/usr/share/finch/web" ] || curl -fsS http://127.0.0.1:18457/ | grep -q '/_next/static/' || code=1
    kill -TERM $server 2>/dev/null
    wait $server || code=1
    [ $code -eq 0 ] || cat "$work/serve.log"
    return $code
}

try_packages() {
    check "apt brings what finch needs, and installs it" inside sh -c 'apt-get install -q -y --no-install-recommends /tmp/finch_*.deb'
    check "finch --version is the package's" inside sh -c '[ "$(finch --version)" = "finch $(dpkg-query -W -f "\${Version}" finch)" ]'
    check "finch doctor finds nothing missing, as a user without rights" as_nobody finch doctor
    printf '{"body":"$AAPL beats and raises"}\n' >"$tree/tmp/tweet.jsonl"
    as_nobody sh -c 'finch score --input - --output - --quiet </tmp/tweet.jsonl' >"$work/there" || true
    check "a score there" grep -q '"label":"POSITIVE"' "$work/there"
    if [ -x "$source/build/finch" ]; then
        "$source/build/finch" score --input - --output - --quiet <"$tree/tmp/tweet.jsonl" >"$work/here"
        check "is that of the build here" cmp "$work/there" "$work/here"
    fi
    check "the server starts with the packaged settings, shows the dashboard where the package has it, and ends" serves
    check "unit and settings lie in their places" sh -c "[ -f '$tree/lib/systemd/system/finch.service' ] && grep -qx '{}' '$tree/etc/finch/serve.json'"
    check "man shows the pages" inside sh -c 'apt-get install -q -y --no-install-recommends man-db && man finch | grep -q "^NAME" && man finch-score | grep -q -- --input'
    check "bash completes commands" offers sco score
    check "libfinch-dev and a compiler go in" inside sh -c 'apt-get install -q -y --no-install-recommends /tmp/libfinch-dev_*.deb gcc g++ libc6-dev pkg-config'
    check "the C example builds and scores there" inside sh -c 'cc -std=c17 /tmp/score.c $(pkg-config --cflags --libs finch) -o /tmp/example && /tmp/example "$(pkg-config --variable=model finch)" "\$AAPL beats and raises" | grep -q ^POSITIVE'
    check "the C++ example, too" inside sh -c 'c++ -std=c++17 /tmp/score.cpp $(pkg-config --cflags --libs finch) -o /tmp/example && echo "\$AAPL beats and raises" | /tmp/example "$(pkg-config --variable=model finch)" | grep -q ^POSITIVE'
    check "removing leaves nothing but settings" inside sh -c 'apt-get remove -q -y finch && [ -z "$(ls -A /usr/lib/*/finch /usr/share/finch 2>/dev/null)" ] && ! command -v finch && [ -f /etc/finch/serve.json ]'
    check "purging takes those too" inside sh -c 'apt-get purge -q -y finch && ! [ -e /etc/finch/serve.json ] && ! dpkg-query -W finch 2>/dev/null'
}

if ! reason=$(clean_tree); then
    tree=
    skip "installing in a clean tree" "$reason"
else
    cp "$packages"/*.deb "$tree/tmp/"
    cp "$source/examples/c/score.c" "$source/examples/cpp/score.cpp" "$tree/tmp/"
    mount -t proc proc "$tree/proc"
    check "apt answers there" inside apt-get update -q
    try_packages
    umount "$tree/proc"
    if command -v lintian >/dev/null; then
        check "lintian finds no error" lintian --fail-on error --suppress-tags embedded-library,no-changelog,bogus-mail-host "$packages"/*.deb
    else
        skip lintian "it is not installed"
    fi
fi

finish
