#!/usr/bin/env bash
# Includes go only in the rooms' direction.
exec python3 "$(dirname "$0")/style.py" includes
