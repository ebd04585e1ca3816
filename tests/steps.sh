# Sourced by the scripts that try things for real and say each step: $work is a folder of theirs for the last step's words.
passed=0 failed=0 skipped=0
pass() { passed=$((passed + 1)); echo "ok    $*"; }
fail() { failed=$((failed + 1)); echo "FAIL  $*"; }
skip() { skipped=$((skipped + 1)); echo "skip  $1: $2"; }
check() { # what command...
    local what=$1
    shift
    if "$@" >"$work/log" 2>&1; then pass "$what"; else fail "$what"; tail -n 30 "$work/log" | sed 's/^/      /'; fi
}
finish() {
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" -eq 0 ]
}
