# Sourced by the scripts that try things for real and say each step: $work is a folder of theirs for the last step's words.
passed=0 failed=0 skipped=0
pass() { passed=$((passed + 1)); echo "ok    $*"; }
fail() { failed=$((failed + 1)); echo "FAIL  $*"; }
skip() { skipped=$((skipped + 1)); echo "skip  $1: $2"; }
check() { # what command...
    local what=$1 begin=$SECONDS took=
    shift
    if "$@" >"$work/log" 2>&1; then
        if [ $((SECONDS - begin)) -ge 10 ]; then took=" ($((SECONDS - begin)) s)"; fi
        pass "$what$took"
    else
        fail "$what ($((SECONDS - begin)) s)"
        tail -n 30 "$work/log" | sed 's/^/      /'
    fi
}
finish() {
    echo "$passed passed, $failed failed, $skipped skipped in $((SECONDS / 60)) min $((SECONDS % 60)) s"
    [ "$failed" -eq 0 ]
}
