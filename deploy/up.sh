#!/usr/bin/env bash
# make up: secrets where there are none, the services built and started, and a word once they answer.
set -euo pipefail
cd "$(dirname "$0")/.."
compose=deploy/compose.sh
"$compose" --engine >/dev/null
deploy/secrets.sh
if [ -f .env ]; then
    set -a
    # shellcheck disable=SC1091
    . ./.env
    set +a
fi
profiles=${COMPOSE_PROFILES:-}
if [ "${FINCH_STORE:-sqlite}" = postgres ] && [[ ",$profiles," != *,postgres,* ]]; then
    echo "up: FINCH_STORE=postgres needs COMPOSE_PROFILES=postgres (in .env)" >&2
    exit 2
fi

"$compose" up -d --build
api=http://127.0.0.1:${FINCH_API_PORT:-8000} web=http://127.0.0.1:${FINCH_WEB_PORT:-3000}
for ((i = 0; ; i++)); do
    if curl -fs -o /dev/null "$api/ready" && curl -fs -o /dev/null "$web/healthz"; then break; fi
    if [ "$i" -eq 120 ]; then
        echo "up: no answer after two minutes from $api/ready or $web/healthz; make logs says why" >&2
        exit 1
    fi
    sleep 1
done

# Prometheus reads with a key of its own; it takes the file up at its next look.
if [[ ",$profiles," == *,monitoring,* && ! -s secrets/metrics_key ]]; then
    make --no-print-directory key NAME=prometheus SCOPES=read | grep -o 'finch_[A-Za-z0-9_-]*' | head -n 1 >secrets/metrics_key
    [ -s secrets/metrics_key ] || { echo "up: no key could be made for Prometheus" >&2; exit 1; }
fi
echo "The dashboard: $web/   the API: $api/docs   a key for both: make key"
