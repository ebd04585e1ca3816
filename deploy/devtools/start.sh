#!/bin/sh
# The dev tools container: JupyterLab over the mounted checkout, and finch built beside it, since the notebooks run it. JupyterLab answers at
# once; the first build takes minutes, and its words are in the container's log and in /home/dev/build.log.
# The token is JUPYTER_TOKEN_FILE's first line (JupyterLab itself would take the line's end for a part of it); the port is published on the
# loopback address only.
set -eu
{
    if finch-build >"$HOME/build.log" 2>&1; then
        echo "devtools: finch is built; after a change: finch-build" >&2
    else
        tail -n 40 "$HOME/build.log" >&2
        echo "devtools: finch does not build; the notebooks need it: mend it and run finch-build" >&2
    fi
} &
if [ -n "${JUPYTER_TOKEN_FILE:-}" ]; then
    read -r JUPYTER_TOKEN <"$JUPYTER_TOKEN_FILE" || true
    [ -n "$JUPYTER_TOKEN" ] || { echo "devtools: $JUPYTER_TOKEN_FILE is empty; it would be open to all" >&2; exit 1; }
    export JUPYTER_TOKEN
    unset JUPYTER_TOKEN_FILE
fi
root=
[ "$(id -u)" -ne 0 ] || root=--allow-root # the checkout is root's: JupyterLab refuses root unless it is told so
exec jupyter lab --ip=0.0.0.0 --port=8888 --no-browser --ServerApp.root_dir=/src $root
