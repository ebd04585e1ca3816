#!/usr/bin/env bash
# The notebooks' environment, notebooks/.venv, from notebooks/uv.lock, and a command in it:
#   tools/notebooks.sh lab            JupyterLab on 127.0.0.1, port JUPYTER_PORT (8888), with a token
#   tools/notebooks.sh run [NAME...]  the notebooks from start to end (notebooks/run.py)
# uv is taken from the PATH, else put into build/uv.
set -euo pipefail
cd "$(dirname "$0")/.."
uv_wanted=$(sed -n 's/^uv==/uv /p' notebooks/requirements.txt)

find_uv() {
    if command -v uv >/dev/null; then
        command -v uv
        return
    fi
    if ! [ -x build/uv/bin/uv ] || ! build/uv/bin/uv --version | grep -qF "$uv_wanted"; then
        python3 -m venv build/uv >&2
        build/uv/bin/python -m pip install --quiet -r notebooks/requirements.txt >&2
    fi
    echo build/uv/bin/uv
}

case "${1:-}" in
lab | run) ;;
*) echo "usage: tools/notebooks.sh lab | run [NAME...]" >&2; exit 2 ;;
esac
uv=$(find_uv)
"$uv" sync --quiet --frozen --project notebooks
if [ "$1" = run ]; then
    shift
    exec notebooks/.venv/bin/python notebooks/run.py "$@"
fi
root=()
[ "$(id -u)" -eq 0 ] && root=(--allow-root) # JupyterLab refuses root unless it is told so
exec notebooks/.venv/bin/jupyter lab --ServerApp.ip=127.0.0.1 --ServerApp.port="${JUPYTER_PORT:-8888}" --ServerApp.port_retries=0 \
    --ServerApp.root_dir="$PWD/notebooks" "${root[@]}"
