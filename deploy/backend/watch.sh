#!/bin/bash
# The development backend: builds finch from the mounted source, serves it, and does both again when a source file changes. A build
# that fails leaves the server in place. Build folder and object cache lie in the volume /work.
set -uo pipefail
build=/work/build
export LD_LIBRARY_PATH=/deps/duckdb/lib FINCH_MODELS=/src/models
server=

restart() {
    if [ -n "$server" ]; then
        kill -TERM "$server" 2>/dev/null
        wait "$server" 2>/dev/null
    fi
    # From a copy: the linker could not write over a program that runs.
    cp "$build/finch" /work/finch-serving.new && mv -f /work/finch-serving.new /work/finch-serving
    /work/finch-serving serve --drain-seconds 1 &
    server=$!
}

stop() {
    if [ -n "$server" ]; then kill -TERM "$server" 2>/dev/null && wait "$server"; fi
    exit 0
}

# -O2, no debug information of macros, and gold, which links four times as fast as ld: one file and the link take seconds.
configure() {
    [ -f "$build/build.ninja" ] ||
        cmake -G Ninja -S /src -B "$build" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_C_FLAGS_RELWITHDEBINFO="-O2 -g1" \
            -DCMAKE_EXE_LINKER_FLAGS="$(command -v ld.gold >/dev/null && echo -fuse-ld=gold)" -DCMAKE_C_COMPILER_LAUNCHER=ccache -DDUCKDB_ROOT=/deps/duckdb -DFINCH_WERROR=OFF
}

rebuild() {
    local begin=${EPOCHREALTIME/./}
    if configure >"$HOME/build.log" 2>&1 && ninja -C "$build" finch_program >>"$HOME/build.log" 2>&1; then
        restart
        echo "dev: built and restarted in $(((${EPOCHREALTIME/./} - begin) / 1000)) ms; C files compiled: $(grep -c 'Building C object' "$HOME/build.log")" >&2
    else
        tail -n 40 "$HOME/build.log" >&2
        echo "dev: the build failed; the server goes on as it was" >&2
    fi
}

trap stop TERM INT
mkdir -p /work/build
# Watching begins before the first build, so that no change is missed; what changes while a build runs waits in the pipe.
exec 3< <(exec inotifywait -q -m -r -e close_write,moved_to,delete --format '%w%f' --include '\.(c|h|json|html|css|js|md|txt|cmake|tsv)$' \
    /src/src /src/include /src/prompts /src/cmake)
rebuild
while read -r changed <&3; do
    while read -r -t 0.1 _ <&3; do :; done
    echo "dev: ${changed#/src/} changed" >&2
    rebuild
done
