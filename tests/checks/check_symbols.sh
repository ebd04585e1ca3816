#!/usr/bin/env bash
# The library exports finch_* and nothing else, and neither prints, exits nor aborts.
set -euo pipefail
build="${FINCH_BUILD:-build}"
library="$build/libfinch.so"
if ! [ -e "$library" ]; then
    echo "$library is missing: build the target finch first"
    exit 1
fi
failed=0
# The lock of a named OpenMP critical section is global by definition, and no C name.
if nm -D --defined-only "$library" | awk '{print $3}' | sed 's/@.*//' | grep -v -e '^finch_' -e '^\.gomp_critical_user_' | grep .; then
    echo "$library: exports the names above, which do not begin with finch_"
    failed=1
fi
if ! nm -D --defined-only "$library" | grep -q ' finch_version'; then
    echo "$library: finch_version is not exported"
    failed=1
fi
# __*_chk are what the hardened headers make of the plain names.
loud='exit|_exit|_Exit|quick_exit|abort|__assert_fail|printf|vprintf|fprintf|vfprintf|puts|fputs|putchar|fputc|perror|__f?printf_chk|__vf?printf_chk|stdout|stderr'
if nm -D --undefined-only "$library" | awk '{print $2}' | sed 's/@.*//' | grep -xE "$loud"; then
    echo "$library: calls the names above; library code returns a status instead"
    failed=1
fi
exit $failed
