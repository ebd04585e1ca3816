#!/bin/sh
# The software bill of materials (CycloneDX 1.5) of the image this runs in: its Debian packages, finch, and what else is named:
#   sbom.sh NAME VERSION ["TYPE/NAME VERSION"...]      TYPE as in a package URL: generic, npm, pypi
#   sbom.sh NAME VERSION -  <lines of the same
set -eu
name=$1 version=$2
shift 2
{
    dpkg-query -W -f '${db:Status-Abbrev}|deb/debian/${Package}|${Version}|?arch=${Architecture}\n' | sed -n 's/^ii *|//p'
    if [ "${1:-}" = - ]; then cat; else for other; do echo "$other"; done; fi | sed 's/ /|/'
} | awk -F '|' -v name="$name" -v version="$version" '
    function escaped(text) { gsub(/%/, "%25", text); gsub(/:/, "%3A", text); gsub(/\+/, "%2B", text); gsub(/@/, "%40", text); return text }
    BEGIN {
        printf "{\"bomFormat\":\"CycloneDX\",\"specVersion\":\"1.5\",\"version\":1,\"metadata\":{\"component\":{\"type\":\"application\",\"name\":\"%s\",\"version\":\"%s\"}},\"components\":[", name, version
    }
    {
        kind = $1; sub(/\/.*/, "", kind)
        path = substr($1, length(kind) + 2)
        short = path; if (kind == "deb") sub(/^debian\//, "", short)
        printf "%s\n{\"type\":\"library\",\"name\":\"%s\",\"version\":\"%s\",\"purl\":\"pkg:%s/%s@%s%s\"}", (NR > 1) ? "," : "", short, $2, kind, escaped(path), escaped($2), $3
    }
    END { print "\n]}" }'
