#!/bin/sh
# nginx over the dashboard. The backend's name is looked up again as it ages (a container that comes back has another address), so nginx
# is told of the name server that this container has.
set -eu
server=$(awk '$1 == "nameserver" {print $2; exit}' /etc/resolv.conf)
case "$server" in
'') echo "finch-web: /etc/resolv.conf names no server; the container needs a network" >&2; exit 1 ;;
*:*) server="[$server]" ;;
esac
case "$FINCH_BACKEND" in
*[!A-Za-z0-9.:_-]* | '') echo "finch-web: FINCH_BACKEND=$FINCH_BACKEND is no HOST:PORT" >&2; exit 2 ;;
esac
sed -e "s/@RESOLVER@/$server/" -e "s/@BACKEND@/$FINCH_BACKEND/" /etc/finch/nginx.conf >/tmp/nginx.conf
exec nginx -e stderr -c /tmp/nginx.conf -g 'daemon off;'
