#!/usr/bin/env bash
# Compose with Docker or Podman, whichever is there:
#   deploy/compose.sh ARGS...     docker compose ARGS..., docker-compose, or podman-compose
#   deploy/compose.sh --engine    prints docker or podman
# FINCH_ENGINE=docker|podman chooses where both are there.
set -euo pipefail
cd "$(dirname "$0")/.."

docker_answers() { command -v docker >/dev/null && timeout 20 docker info >/dev/null 2>&1; }
podman_answers() { command -v podman >/dev/null && timeout 20 podman info >/dev/null 2>&1; }

find_engine() {
    local wanted=${FINCH_ENGINE:-}
    case "$wanted" in
    '') if docker_answers; then echo docker; elif podman_answers; then echo podman; fi ;;
    docker) if docker_answers; then echo docker; fi ;;
    podman) if podman_answers; then echo podman; fi ;;
    *) echo "compose: FINCH_ENGINE=$wanted; it may be docker or podman" >&2; exit 2 ;;
    esac
}

remedy() {
    if command -v docker >/dev/null; then
        echo "compose: docker is installed, but no daemon answers: start it (systemctl start docker), or add yourself to the group docker" >&2
    else
        echo "compose: neither Docker nor Podman is here. Install one: https://docs.docker.com/engine/install, or apt-get install podman" >&2
    fi
    echo "compose: finch itself needs neither: make run" >&2
    exit 1
}

engine=$(find_engine)
[ -n "$engine" ] || remedy
if [ "${1:-}" = --engine ]; then
    echo "$engine"
    exit 0
fi
# What the images' labels say, and who owns the checkout (development).
FINCH_VERSION=$(sed -n 's/^#define FINCH_VERSION "\(.*\)"$/\1/p' include/finch.h)
FINCH_REVISION=$(git rev-parse HEAD 2>/dev/null || echo unknown)
FINCH_CREATED=$(git log -1 --format=%cI 2>/dev/null || echo 1970-01-01T00:00:00Z)
FINCH_UID=${FINCH_UID:-$(id -u)} FINCH_GID=${FINCH_GID:-$(id -g)}
export FINCH_VERSION FINCH_REVISION FINCH_CREATED FINCH_UID FINCH_GID

if [ "$engine" = docker ]; then
    if docker compose version >/dev/null 2>&1; then exec docker compose "$@"; fi
    echo "compose: docker is here without its compose plugin: apt-get install docker-compose-plugin (Docker's own repository)" >&2
elif command -v podman-compose >/dev/null; then
    # One pod for all would share one network.
    exec podman-compose --in-pod false "$@"
else
    echo "compose: podman is here without podman-compose: pip install podman-compose (1.6 was tried), or apt-get install podman-compose" >&2
fi
exit 1
