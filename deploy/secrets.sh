#!/usr/bin/env bash
# The secrets of compose.yaml as files in secrets/, which git and the build context leave out. What is there stays as it is; to change one,
# remove its file. The folder is its owner's alone; the files in it can be read by the containers' users, who see only those that are
# mounted for them.
set -euo pipefail
cd "$(dirname "$0")/.."
umask 077
mkdir -p secrets
chmod 700 secrets

random() { head -c 24 /dev/urandom | base64 | tr '+/' '-_'; }
keep_or_make() { # name text
    [ -e "secrets/$1" ] || printf '%s\n' "$2" >"secrets/$1"
    chmod 444 "secrets/$1"
}

keep_or_make postgres_password "$(random)"
keep_or_make finch_state_sqlite /var/lib/finch/finch.sqlite
keep_or_make finch_state_postgres "postgres://finch:$(cat secrets/postgres_password)@postgres:5432/finch"
keep_or_make grafana_password "$(random)"
keep_or_make jupyter_token "$(random)"
# Filled by `make up` once the backend can make a key (profile monitoring).
[ -e secrets/metrics_key ] || : >secrets/metrics_key
chmod 644 secrets/metrics_key
