#!/usr/bin/env bash
# No note left without the issue that will do it.
exec python3 "$(dirname "$0")/style.py" notes
