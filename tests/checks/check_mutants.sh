#!/usr/bin/env bash
# Each planted bug has its place in the sources.
exec python3 "$(dirname "$0")/style.py" mutants
