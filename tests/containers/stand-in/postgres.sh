#!/bin/sh
# What of the official image's entry point compose.yaml relies on.
set -eu
if ! [ -s "$PGDATA/PG_VERSION" ]; then
    initdb --username="$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" --auth-local=trust $POSTGRES_INITDB_ARGS
    echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
    pg_ctl --wait -o "-c listen_addresses=''" start
    psql --username="$POSTGRES_USER" --dbname=postgres -c "CREATE DATABASE \"$POSTGRES_DB\""
    pg_ctl --wait stop
fi
exec postgres -c "listen_addresses=*"
