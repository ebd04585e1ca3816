#!/bin/sh
# finch in a production container: refuses what is for development only, whoever asks for it (the development services of
# compose.dev.yaml do not run this), and ends a server that hangs, so that the restart policy starts it anew: engines act on a container
# that ends, not on one that is unhealthy.
#   FINCH_WATCHDOG_SECONDS  between looks at /health (30); four in a row without answer end the server. 0: none, where something
#                           else restarts it (Kubernetes' liveness probe), or /health is not plain HTTP on localhost
set -eu
refuse() {
    echo "finch: refused in a production container: $1" >&2
    exit 2
}

# What finch itself makes of command line, environment, files and presets: a setting is refused wherever it comes from.
check_settings() {
    settings=$(finch "$@" --print-config) || exit $?
    settings=$(printf %s "$settings" | tr -d ' \n')
    case "$settings" in *'"open-to-network":{"value":true'*) refuse "open-to-network; make an API key (make key) instead" ;; esac
    case "$settings" in *'"require-keys":{"value":true'*) ;; *) refuse "no require-keys; the API would be open until the first key is made" ;; esac
    origins=$(printf %s "$settings" | sed 's/.*"cors-origin":{"value":\[//; s/\],"source".*//')
    case "$origins" in *'"*"'* | *localhost* | *127.0.0.1* | *'[::1'*) refuse "cors-origin $origins; name the origins of your pages" ;; esac
}

# The child is killed, not asked: what hangs does not listen.
watch_health() { # pid seconds
    misses=0
    while sleep "$2" && kill -0 "$1" 2>/dev/null; do
        if curl -fsS --max-time 10 -o /dev/null "http://localhost:${FINCH_SERVE_PORT:-8000}/health" 2>/dev/null; then
            misses=0
        else
            misses=$((misses + 1))
        fi
        if [ "$misses" -ge 4 ]; then
            echo "finch: /health gave no answer $misses times in a row; the server is ended, to be started anew" >&2
            kill -KILL "$1"
            return
        fi
    done
}

[ "$(id -u)" -ne 0 ] || refuse "running as root (the image's user is 10001)"
[ "${1:-}" = serve ] || exec finch "$@"
check_settings "$@"
# Before the server is there, so that no signal comes between; one that does is handed on when it is.
server=
ending=
trap 'ending=1; [ -z "$server" ] || kill -TERM "$server" 2>/dev/null' TERM INT
finch "$@" &
server=$!
[ -z "$ending" ] || kill -TERM "$server" 2>/dev/null || :
every=${FINCH_WATCHDOG_SECONDS:-30}
watcher=
if [ "$every" != 0 ]; then
    watch_health "$server" "$every" &
    watcher=$!
fi
# A signal ends the waiting, not the server.
status=0
wait "$server" || status=$?
while kill -0 "$server" 2>/dev/null; do
    status=0
    wait "$server" || status=$?
done
# A server that can not start (the store is not there yet) is started anew at once by some engines, a thousand times a minute.
[ "$status" -ne 1 ] || sleep 2
[ -z "$watcher" ] || kill "$watcher" 2>/dev/null || true
exit "$status"
