#!/usr/bin/env bash
# No file past 800 lines.
exec python3 "$(dirname "$0")/style.py" length
