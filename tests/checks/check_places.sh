#!/usr/bin/env bash
# No path of one machine, no host of one network.
exec python3 "$(dirname "$0")/style.py" places
