#!/usr/bin/env bash
# Every header has its guard.
exec python3 "$(dirname "$0")/style.py" guards
