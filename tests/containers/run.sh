#!/usr/bin/env bash
# Images and services for real (make test-containers): built, started, reached, limited, killed, taken down and up, reloaded. Works on a copy
# of the checkout, under a project name of its own. With Docker, or with Podman (also without systemd and a registry: base images that can
# not be pulled are made from the distribution, which is said). A step that this machine cannot run is said with its reason. No time is
# judged: what is waited for has a ceiling that a busy machine keeps, too, and what it took is said. What a second run needs again is kept:
# the engine's images, and build/containers (podman-compose, and the compiler's cache of the development images); all else is gone at the end.
#   tests/containers/run.sh [images|services|targets|monitoring|development|devtools]...     all where none is named
set -uo pipefail
export LC_ALL=C
source=$(cd "$(dirname "$0")/../.." && pwd)
here=$source/tests/containers
parts=" ${*:-images services targets monitoring development devtools} "
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tree=$work/tree
kept=$source/build/containers
started=
PATIENCE=1800 # seconds for what has to come, on the busiest machine
IMAGE_BYTES_MAX=250000000

. "$source/tests/steps.sh"
[ -z "${FINCH_BASE_TREE:-}" ] || FINCH_BASE_TREE=$(realpath "$FINCH_BASE_TREE")
cd "$work" # Podman's monitor leaves a file "oom" where it was started
part() { [[ $parts == *" $1 "* ]] && echo "-- $1 (at $((SECONDS / 60)) min $((SECONDS % 60)) s, load $(cut -d' ' -f1 /proc/loadavg))"; }
comes() { # command...: until it is true, PATIENCE seconds at most
    local begin=$SECONDS
    until "$@"; do
        [ $((SECONDS - begin)) -lt $PATIENCE ] || return 1
        sleep 0.5
    done
}

# ---- the engine ----

if ! engine=$("$source/deploy/compose.sh" --engine 2>"$work/log"); then
    skip "all of it" "$(head -n 1 "$work/log") (for Podman without systemd: apt-get install buildah podman runc netavark aardvark-dns debootstrap iptables uidmap)"
    finish
    exit
fi
echo "engine: $($engine --version)"
if [ "$engine" = podman ]; then
    [ "$(id -u)" -eq 0 ] && export BUILDAH_ISOLATION=chroot
    if ! command -v podman-compose >/dev/null; then
        venv=$kept/venv
        [ -x "$venv/bin/podman-compose" ] || { python3 -m venv "$venv" && "$venv/bin/pip" install --quiet -r "$here/requirements.txt"; } >"$work/log" 2>&1
        export PATH=$venv/bin:$PATH
    fi
    if ! command -v podman-compose >/dev/null; then
        skip "all of it" "podman-compose can not be installed: $(tail -n 1 "$work/log")"
        finish
        exit
    fi
fi

export COMPOSE_PROJECT_NAME=finch-test-$$ FINCH_TAG=test FINCH_WEB_PORT=${FINCH_WEB_PORT:-13000} FINCH_API_PORT=${FINCH_API_PORT:-18000} PROMETHEUS_PORT=${PROMETHEUS_PORT:-19090} JUPYTER_PORT=${JUPYTER_PORT:-18888} FINCH_ENGINE=$engine
# Compiled by one container, found by the next, of this run or of one after.
export FINCH_TEST_CCACHE=$kept/ccache
mkdir -p "$FINCH_TEST_CCACHE"
compose() { (cd "$tree" && deploy/compose.sh "$@"); }
dev() { compose -f compose.yaml -f compose.dev.yaml -f tests/containers/cache.yaml "$@"; }
devtools() { compose -f compose.yaml -f tests/containers/cache.yaml --profile devtools "$@"; }
clean_up() {
    if [ -n "$started" ]; then
        dev --profile postgres --profile monitoring --profile devtools --profile gpu down --volumes >/dev/null 2>&1
    fi
    # A build that was interrupted leaves its containers and their mounts.
    [ "$engine" != podman ] || working_containers | grep -vxFf "$work/working" | xargs -r podman rm -f >/dev/null 2>&1
    rm -rf "$work"
}
working_containers() { podman ps -a --external --format '{{.Names}}' | grep -- '-working-container'; }

copy_sources() {
    mkdir -p "$tree"
    (cd "$source" && tar -c --exclude-vcs --exclude './build*' --exclude ./.venv --exclude ./notebooks/.venv --exclude node_modules --exclude ./web/out --exclude ./web/.next \
        --exclude ./secrets --exclude './.env' .) | tar -x -C "$tree"
    canary=finch-canary-$(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n')
    (cd "$tree" && deploy/secrets.sh && echo "SECRET=$canary" >.env.local && echo "$canary" >secrets/canary && echo "$canary" >deploy/backend/private.key)
}

# ---- base images ----

preset() { sed -n "s/^ARG $1=//p" "$source/deploy/$2/Dockerfile"; }
image_there() { $engine image inspect "$1" >/dev/null 2>&1; }

debian_from_packages() { # image
    local root=${FINCH_BASE_TREE:-}
    if [ -z "$root" ]; then
        command -v debootstrap >/dev/null || { echo "debootstrap is missing"; return 1; }
        [ "$(id -u)" -eq 0 ] || { echo "debootstrap needs root"; return 1; }
        root=$work/debian
        debootstrap --variant=minbase bookworm "$root" "$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep -v security | sort -u | head -n 1)" >"$work/debootstrap.log" 2>&1 ||
            { echo "debootstrap: $(tail -n 1 "$work/debootstrap.log")"; return 1; }
        rm -rf "$root"/usr/share/{doc,man,locale,info}/* "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*
        printf 'path-exclude /usr/share/%s/*\n' doc man locale info >"$root/etc/dpkg/dpkg.cfg.d/docker"
        # Certificates that this machine has of its own (a company's proxy, say): for what is fetched while images are built.
        mkdir -p "$root/usr/local/share/ca-certificates"
        find /usr/local/share/ca-certificates -name '*.crt' -exec cp -L {} "$root/usr/local/share/ca-certificates/" \;
    fi
    tar -C "$root" -c . | $engine import - "$1" >/dev/null
}

node_from_here() { # image
    local folder=$work/node
    command -v node >/dev/null && [ "$(node -p 'process.versions.node.split(".")[0]')" -ge 20 ] || { echo "no Node 20 or newer here to stand in"; return 1; }
    mkdir -p "$folder/usr/bin" "$folder/usr/lib/node_modules" "$folder/root" "$folder/etc/ssl/certs"
    cp -L "$(command -v node)" "$folder/usr/bin/node"
    cp -a "$(dirname "$(dirname "$(readlink -f "$(command -v npm)")")")" "$folder/usr/lib/node_modules/"
    # This machine's way to the registry, for the stand-in alone.
    [ -f ~/.npmrc ] && cp ~/.npmrc "$folder/root/.npmrc"
    cp /etc/ssl/certs/ca-certificates.crt "$folder/etc/ssl/certs/"
    cat >"$folder/Dockerfile" <<DOCKER
FROM $(preset DEBIAN frontend)
RUN apt-get update -q && apt-get install -q -y --no-install-recommends libstdc++6 libatomic1
COPY usr /usr
COPY root /root
COPY etc/ssl /etc/ssl
ENV NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt
RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/bin/npm && ln -s ../lib/node_modules/npm/bin/npx-cli.js /usr/bin/npx && useradd --uid 1000 node
DOCKER
    $engine build -t "$1" "$folder" >"$work/node.log" 2>&1 || { echo "the stand-in does not build: $(tail -n 1 "$work/node.log")"; return 1; }
}

stand_in_image() { # image file
    $engine build --build-arg "DEBIAN=$(preset DEBIAN backend)" -t "$1" -f "$here/stand-in/$2" "$here" >"$work/stand-in.log" 2>&1 || { tail -n 1 "$work/stand-in.log"; return 1; }
}

base() { # image maker...: there, pulled, or made here
    local image=$1 reason
    shift
    image_there "$image" && return
    if timeout 90 $engine pull "$image" >/dev/null 2>&1; then return; fi
    echo "note: $image can not be pulled here; a stand-in is made" >&2
    reason=$("$@") || { echo "$reason"; return 1; }
}

$engine volume ls --format '{{.Name}}' >"$work/volumes"
ls -A "$source" >"$work/files"
[ "$engine" != podman ] || working_containers >"$work/working"
trap clean_up EXIT
copy_sources
if ! reason=$(base "$(preset DEBIAN backend)" debian_from_packages "$(preset DEBIAN backend)" && base "$(preset NODE frontend)" node_from_here "$(preset NODE frontend)"); then
    skip "all of it" "no base image: $reason"
    finish
    exit
fi

# As deploy/compose.sh says them of a tree without git: engines that take every argument for a part of every layer (Buildah 1.28) find
# for make up what was built before.
build_args=(--build-arg "VERSION=$(sed -n 's/^#define FINCH_VERSION "\(.*\)"$/\1/p' "$source/include/finch.h")" --build-arg REVISION=unknown --build-arg CREATED=1970-01-01T00:00:00Z)
build_stage() { # folder stage
    (cd "$tree" && $engine build "${build_args[@]}" -f "deploy/$1/Dockerfile" --target "$2" -t "finch-$1-$2:test" .)
}
build_devtools() { (cd "$tree" && $engine build "${build_args[@]}" -f deploy/devtools/Dockerfile -t finch-devtools:test .); }
# The names under which compose.yaml knows them.
name_run_images() { $engine tag finch-backend-run:test finch-backend:test && $engine tag finch-frontend-run:test finch-frontend:test; }
# Those of a run before are of other sources: each run builds them once, in its first part that needs them.
run_images=
build_run_images() {
    [ -n "$run_images" ] || { build_stage backend run && build_stage frontend run && name_run_images; } || return 1
    run_images=built
}

# ---- images ----

in_image() { $engine run --rm --read-only --cap-drop ALL --security-opt no-new-privileges --network none --entrypoint "" "$@"; }
inspect() { $engine image inspect --format "$1" "$2"; }
small_enough() {
    local size
    size=$(inspect '{{.Size}}' "$1")
    echo "size of $1: $((size / 1000000)) MB"
    [ "$size" -lt $IMAGE_BYTES_MAX ]
}
lacks_tools() { # image: no compiler, package manager of a language, or debugger
    in_image "$1" sh -c 'for tool in gcc cc clang make cmake ninja git python3 node npm gdb; do if command -v $tool; then exit 1; fi; done'
}
holds_no_secret() { # image: in no layer, no history, no inspect
    rm -rf "$work/layers" && mkdir "$work/layers"
    $engine save "$1" | tar -x -C "$work/layers" || return 1
    local layer
    for layer in $(find "$work/layers" -type f); do
        if tar -tf "$layer" >/dev/null 2>&1; then tar -xOf "$layer"; else cat "$layer"; fi
    done 2>/dev/null | grep -aq "$canary" && { echo "the canary is in a layer"; return 1; }
    ! { $engine history --no-trunc "$1"; $engine image inspect "$1"; } | grep -aqE "$canary|$(cat "$tree/secrets/postgres_password")"
}
refuses() { # setting
    local code=0
    $engine run --rm --network none -e "$1" finch-backend:test >"$work/refusal" 2>&1 || code=$?
    cat "$work/refusal"
    [ $code -eq 2 ] && grep -q 'refused in a production container' "$work/refusal"
}
says_of_the_gpu() { # image words: finch doctor's, in a container that is given none
    in_image "$1" finch doctor >"$work/doctor" 2>&1
    cat "$work/doctor"
    grep '^ok   GPU ' "$work/doctor" | grep -qF "$2"
}
has_bill() { # image part...
    in_image "$1" cat /usr/share/finch/sbom.cdx.json >"$work/sbom"
    python3 - "$work/sbom" "${@:2}" <<'PYTHON'
import json, sys
names = {part["name"] for part in json.load(open(sys.argv[1]))["components"]}
missing = [name for name in sys.argv[2:] if name not in names]
print(len(names), "parts; missing:", missing)
sys.exit(1 if missing or len(names) < 50 else 0)
PYTHON
}

if part images; then
    for stage in backend:deps backend:toolchain backend:build backend:dev backend:run frontend:deps frontend:dev frontend:build frontend:run; do
        check "the stage ${stage#*:} of ${stage%:*} builds" build_stage "${stage%:*}" "${stage#*:}"
    done
    check "images are named for compose" name_run_images
    run_images=built
    # NVIDIA's compiler is pinned for one architecture (tools/cuda.sh).
    gpu_image=
    if [ "$(uname -m)" = x86_64 ]; then
        gpu_image=finch-backend-gpu:test
        for stage in cuda build-gpu; do check "the stage $stage of backend builds" build_stage backend $stage; done
        check "the profile gpu builds its image" compose --profile gpu build backend-gpu
    else
        skip "the image with the GPU's module" "no CUDA compiler is pinned for $(uname -m)"
    fi
    for image in finch-backend:test $gpu_image finch-frontend:test; do
        check "$image is under 250 MB" small_enough $image
        sed 's/^/      /' "$work/log"
        check "$image has no compiler and no script language" lacks_tools $image
        check "$image is not root's" sh -c "[ \"\$($engine image inspect --format '{{.Config.User}}' $image | cut -d: -f1)\" -gt 10000 ]"
        check "$image says its title and licence" sh -c "$engine image inspect $image | grep -q '\"org.opencontainers.image.licenses\": \"Apache-2.0'"
        check "$image holds no secret in layers, history or inspect" holds_no_secret $image
    done
    # The search can find something: a canary that was copied in.
    printf 'FROM finch-frontend:test\nUSER 0\nCOPY secrets/canary /canary\n' >"$work/leaky"
    (cd "$tree" && $engine build --ignorefile /dev/null -t finch-leaky:test -f "$work/leaky" . >"$work/log" 2>&1)
    if holds_no_secret finch-leaky:test >/dev/null 2>&1; then fail "an image with a secret passes the search"; else pass "an image with a secret does not pass the search"; fi
    $engine rmi finch-leaky:test >/dev/null 2>&1
    check "the backend's SBOM names its libraries" has_bill finch-backend:test libc6 libdnnl2 duckdb
    check "the frontend's SBOM names nginx and the pages' packages" has_bill finch-frontend:test nginx-light react next chart.js
    check "finch doctor is content as the image's user, read-only, without network" in_image finch-backend:test finch doctor
    check "it has no module for GPUs, and says so" says_of_the_gpu finch-backend:test 'libfinch_cuda.so was not found'
    if [ -n "$gpu_image" ]; then
        check "the image with the module opens it, which finds no driver in a container without a GPU" says_of_the_gpu $gpu_image "NVIDIA's driver is not installed"
        check "its SBOM names CUDA's runtime, too" has_bill $gpu_image libc6 libdnnl2 duckdb nvidia-cuda-runtime
    fi
    echo '{"body":"$AAPL beats and raises"}' >"$work/tweet"
    check "a score in the image" sh -c "$engine run --rm -i --read-only --network none --entrypoint '' finch-backend:test finch score --input - --output - --quiet <'$work/tweet' | grep -q '\"label\":\"POSITIVE\"'"
    for setting in FINCH_SERVE_OPEN_TO_NETWORK=yes FINCH_SERVE_REQUIRE_KEYS=no 'FINCH_SERVE_CORS_ORIGIN=*'; do
        check "$setting is refused" refuses "$setting"
    done
    check "root is refused" sh -c "! $engine run --rm --network none --user 0 finch-backend:test"
fi

# ---- services ----

id_of() { $engine ps -a -q --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME" --filter "label=com.docker.compose.service=$1" | head -n 1; }
in_service() { local service=$1; shift; $engine exec "$(id_of "$service")" "$@"; }
# Docker runs the checks itself and ends one that takes longer than its time. Podman leaves the first to systemd, so each look is asked for,
# and of the second it knows nothing: a look at a server that hangs would last as long as the server does. The check's process is ended
# here, which counts as a look that failed, as it does with Docker.
end_check() { # container
    local words
    words=$($engine inspect --format '{{join .Config.Healthcheck.Test " "}}' "$1")
    $engine exec "$1" sh -c 'for p in /proc/[0-9]*; do if [ "$(tr "\0" " " <"$p/cmdline")" = "$1 " ]; then kill -KILL "${p#/proc/}"; fi; done' sh "${words#CMD }" 2>/dev/null
}
look_at() { # container
    local look ended
    $engine healthcheck run "$1" >/dev/null 2>&1 &
    look=$!
    ended=$((SECONDS + 10))
    while kill -0 $look 2>/dev/null; do
        if [ $SECONDS -ge $ended ]; then end_check "$1"; fi
        sleep 0.2
    done
    wait $look
}
health_of() {
    local id
    id=$(id_of "$1")
    if [ "$engine" = podman ]; then
        look_at "$id"
        $engine inspect --format '{{.State.Healthcheck.Status}}' "$id" 2>/dev/null || $engine inspect --format '{{.State.Health.Status}}' "$id"
    else
        $engine inspect --format '{{.State.Health.Status}}' "$id"
    fi
}
is_healthy() { [ "$(health_of "$1")" = healthy ]; }
is_unhealthy() { [ "$(health_of "$1")" = unhealthy ]; }
api() { curl -fsS --max-time 20 "$@"; }
status_of() { curl -s -o /dev/null -w '%{http_code}' --max-time 20 "$@"; }
answers() { [ "$(status_of "$2")" = "$1" ]; }
web=http://127.0.0.1:$FINCH_WEB_PORT backend=http://127.0.0.1:$FINCH_API_PORT
make_key() { # name scopes
    compose exec -T backend sh -c 'exec finch keys create --state "$(cat /run/secrets/finch_state)" "$@"' sh --name "$1" --scopes "$2" 2>/dev/null | grep -o 'finch_[A-Za-z0-9_-]*' | head -n 1
}
predicts() { # url key
    api -H "Authorization: Bearer $2" -H 'Content-Type: application/json' -d '{"text":"$AAPL beats and raises"}' "$1/api/v1/predict" | grep -q '"label":"POSITIVE"'
}
address_of() { $engine inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}' "$(id_of "$1")" | awk '{print $1}'; }
memory_limit() { in_service "$1" sh -c 'cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes'; }
cpu_limit() { in_service "$1" sh -c 'cut -d" " -f1 /sys/fs/cgroup/cpu.max 2>/dev/null || cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us'; }
signal_processes() { # signal comm: to all of that name but the container's first
    in_service backend sh -c 'for p in /proc/[0-9]*; do if [ "$p" != /proc/1 ] && [ "$(cat "$p/comm" 2>/dev/null)" = "$2" ]; then kill -"$1" "${p#/proc/}"; fi; done' sh "$@"
}
restarts_of() { $engine inspect --format '{{.RestartCount}}' "$(id_of "$1")"; }

services_up() {
    started=yes
    build_run_images || return 1
    # podman-compose does not wait for health: the order is kept here.
    if [ "$engine" = podman ]; then compose --profile postgres up -d --no-build postgres && comes is_healthy postgres || return 1; fi
    compose --profile postgres up -d --no-build
}

confined() { # service: no capability, no way to more, nothing to write but the mounts
    in_service "$1" sh -c 'grep -q "^CapEff:.0000000000000000$" /proc/1/status && grep -q "^NoNewPrivs:.1$" /proc/1/status && ! touch /etc/x 2>/dev/null && touch /tmp/x'
}

if part services; then
    postgres_image=$(sed -n 's/^POSTGRES_IMAGE=//p' "$source/.env.example")
    if reason=$(base "$postgres_image" stand_in_image "$postgres_image" postgres.Dockerfile); then
        export FINCH_STORE=postgres FINCH_WATCHDOG_SECONDS=10
        check "up, with the store in PostgreSQL" services_up
        for service in postgres backend frontend; do check "$service becomes healthy" comes is_healthy $service; done
        comes answers 200 "$web/ready"
        check "dashboard and API answer on their ports" sh -c "curl -fsS '$web/' | grep -qi '<html' && curl -fsS '$backend/ready'"

        check "without a key nothing is predicted" answers 401 "$web/api/v1/system"
        key=$(make_key test read,predict)
        # The server asks the store for new keys each second.
        check "with a key it is, at the backend" comes predicts "$backend" "$key"
        check "and through the frontend" comes predicts "$web" "$key"
        check "the frontend does not hand out /metrics" answers 404 "$web/metrics"
        page=$(curl -fsS -D "$work/head" "$web/")
        check "pages come with the policy, and are asked for again" sh -c "grep -qi \"^content-security-policy: default-src 'self'; script-src 'self'\" '$work/head' && grep -qi '^cache-control: no-cache' '$work/head'"
        etag=$(sed -n 's/^[Ee][Tt]ag: \(.*\)\r$/\1/p' "$work/head")
        check "the same page is 304" sh -c "[ \"\$(curl -s -o /dev/null -w '%{http_code}' -H 'If-None-Match: $etag' '$web/')\" = 304 ]"
        script=$(grep -o '/_next/static/[^"]*\.js' <<<"$page" | head -n 1)
        check "scripts are kept for good, gzipped" sh -c "curl -fsS -o /dev/null -D - -H 'Accept-Encoding: gzip' '$web$script' | tr -d '\r' >'$work/head' && grep -qix 'cache-control: public, max-age=31536000, immutable' '$work/head' && grep -qix 'content-encoding: gzip' '$work/head'"
        check "a page that is none is 404, with the policy" sh -c "curl -s -D - '$web/no/such' | grep -qi '^content-security-policy' && [ \"\$(curl -s -o /dev/null -w '%{http_code}' '$web/no/such')\" = 404 ]"

        store=$(address_of postgres)
        check "the backend reaches the store" in_service backend sh -c "curl -s --max-time 5 telnet://$store:5432 </dev/null; code=\$?; [ \$code -ne 6 ] && [ \$code -ne 7 ]"
        check "the frontend reaches the backend" in_service frontend curl -fsS --max-time 5 http://backend:8000/health
        check "the frontend does not know the store's name" in_service frontend sh -c 'curl -s --max-time 5 telnet://postgres:5432 </dev/null; [ $? -eq 6 ]'
        check "the frontend does not reach the store's address" in_service frontend sh -c "curl -s --connect-timeout 5 telnet://$store:5432 </dev/null; code=\$?; [ \$code -eq 7 ] || [ \$code -eq 28 ]"
        check "the store has no way out" in_service postgres sh -c '! timeout 5 bash -c "exec 3<>/dev/tcp/192.0.2.1/80" 2>/dev/null && [ -z "$(grep -E "^[^[:space:]]+[[:space:]]+00000000" /proc/net/route)" ]'

        for service in backend frontend; do check "$service is confined" confined $service; done
        check "memory is limited as written" sh -c "[ $(memory_limit backend) -eq $((1 << 30)) ] && [ $(memory_limit frontend) -eq $((128 << 20)) ] && [ $(memory_limit postgres) -eq $((512 << 20)) ]"
        check "CPUs are limited as written" sh -c "[ $(cpu_limit backend) -eq 200000 ] && [ $(cpu_limit frontend) -eq 50000 ]"
        $engine run --name "$COMPOSE_PROJECT_NAME-greedy" --memory "$(memory_limit frontend)" --memory-swap "$(memory_limit frontend)" --network none --entrypoint "" finch-frontend:test tail /dev/zero >"$work/log" 2>&1
        code=$?
        check "a container over the frontend's limit is stopped (137)" [ $code -eq 137 ]
        $engine rm -f "$COMPOSE_PROJECT_NAME-greedy" >/dev/null 2>&1
        check "the others live" sh -c "curl -fsS '$backend/ready' && curl -fsS '$web/healthz'"

        echo "      resources:"
        $engine stats --no-stream --format '{{.Name}} {{.MemUsage}} {{.CPUPerc}} {{.PIDs}}' $(for s in backend frontend postgres; do id_of $s; done) 2>/dev/null | sed 's/^/      /' || skip "resource use" "stats does not work here"

        check "secrets are not in inspect" sh -c "! $engine inspect $(id_of backend) $(id_of postgres) | grep -qF '$(cat "$tree/secrets/postgres_password")'"
        check "settings with the password are not shown" sh -c "! $engine exec $(id_of backend) finch serve --print-config | grep -qF '$(cat "$tree/secrets/postgres_password")'"

        check "down" compose --profile postgres down
        check "nothing runs any more" sh -c "[ -z \"\$($engine ps -q --filter label=com.docker.compose.project=$COMPOSE_PROJECT_NAME)\" ]"
        check "up again" services_up
        comes answers 200 "$web/ready"
        check "the key of before is known: the store survived" comes predicts "$web" "$key"

        before=$(restarts_of backend)
        # The watchdog sleeps until the health checks have said what they have to: which is first would depend on the machine.
        signal_processes STOP finch
        signal_processes STOP finch-entrypoin
        check "a backend that hangs becomes unhealthy" comes is_unhealthy backend
        signal_processes CONT finch-entrypoin
        check "and is started anew" comes sh -c "[ \"\$($engine inspect --format '{{.RestartCount}}' $(id_of backend))\" -gt $before ]"
        check "and answers again" comes answers 200 "$backend/ready"
        check "through the frontend too" comes predicts "$web" "$key"

        check "taking all down with its volumes" compose --profile postgres down --volumes
        check "leaves no volume" sh -c "[ -z \"\$($engine volume ls -q | grep '^${COMPOSE_PROJECT_NAME}_')\" ]"
        started=
        unset FINCH_STORE
    else
        skip "services" "no PostgreSQL image: $reason"
    fi
    skip "health checks by the engine's own timer, start order by health" "$([ "$engine" = podman ] && echo 'Podman runs them through systemd, and podman-compose does not wait: both are polled above' || echo 'checked by docker itself')"
fi

# ---- the make targets, as people type them ----

target() { (cd "$tree" && make --no-print-directory "$@"); }
has_state_volume() { $engine volume inspect "${COMPOSE_PROJECT_NAME}_finch-state" >/dev/null 2>&1; }
if part targets; then
    started=yes
    check "make up builds, starts, and ends when the services answer" target up
    check "they do" sh -c "curl -fsS '$backend/ready' && curl -fsS '$web/ready'"
    key=$(target key NAME=typed 2>/dev/null | grep -o 'finch_[A-Za-z0-9_-]*' | head -n 1)
    check "make key gives a key that predicts" comes predicts "$web" "$key"
    check "make ps names both services" sh -c "cd '$tree' && make ps >'$work/ps' && grep -q backend '$work/ps' && grep -q frontend '$work/ps'"
    (cd "$tree" && timeout 10 make logs) >"$work/logs" 2>&1
    check "make logs shows what the backend says" grep -q 'serves on' "$work/logs"
    check "make down ends them" target down
    check "and keeps the volume" has_state_volume
    check "so does make clean, which says what it removes" sh -c "cd '$tree' && mkdir -p build && make clean >'$work/clean' && grep -q '^removing build' '$work/clean' && ! [ -e build ]"
    check "the volume is there" has_state_volume
    check "make clean VOLUMES=1 takes it" target clean VOLUMES=1
    if has_state_volume; then fail "the volume is gone"; else pass "the volume is gone"; fi
    started=
fi

# ---- monitoring ----

target_is_up() { curl -fsS "http://127.0.0.1:$PROMETHEUS_PORT/api/v1/targets" | grep -q '"health":"up"'; }
if part monitoring; then
    prometheus_image=$(sed -n 's/^PROMETHEUS_IMAGE=//p' "$source/.env.example")
    if reason=$(base "$prometheus_image" stand_in_image "$prometheus_image" prometheus.Dockerfile); then
        started=yes
        build_run_images >"$work/log" 2>&1
        compose up -d --no-build backend >"$work/log" 2>&1
        check "backend is there" comes answers 200 "$backend/ready"
        key=$(make_key prometheus read)
        printf '%s\n' "$key" >"$tree/secrets/metrics_key"
        check "Prometheus starts with its rules" compose --profile monitoring up -d --no-build --no-deps prometheus
        check "and reads the backend's metrics with its key" comes target_is_up
        check "all alert rules are loaded" sh -c "[ \"\$(curl -fsS http://127.0.0.1:$PROMETHEUS_PORT/api/v1/rules | grep -o '\"name\":\"Finch[A-Za-z]*\"' | sort -u | wc -l)\" -eq $(grep -c 'alert: ' "$source/deploy/alerts.yml") ]"
        compose --profile monitoring down --volumes >/dev/null 2>&1
        started=
    else
        skip monitoring "no Prometheus image: $reason"
    fi
    grafana_image=$(sed -n 's/^GRAFANA_IMAGE=//p' "$source/.env.example")
    image_there "$grafana_image" || timeout 60 $engine pull "$grafana_image" >/dev/null 2>&1 || skip Grafana "its image can not be pulled here; its files are read by test_static.py"
fi

# ---- development ----

shows() { curl -s --max-time 20 "$1" | grep -q "$2"; }
change_c() { sed -i "s/\"status\", \"[A-Za-z0-9]*\", \"version\"/\"status\", \"$1\", \"version\"/" "$tree/src/serve/operations.c"; }
change_page() { sed -i -E "s/\"(There is no such page|SEEN[0-9])\"/\"$1\"/" "$tree/web/app/not-found.tsx"; }
# From the change to the answer that has it.
reloads() { # what change url
    local times= begin i
    for i in 1 2 3; do
        begin=$(date +%s%N)
        "$2" "SEEN$i"
        comes shows "$3" "SEEN$i" || { fail "$1: not seen in $PATIENCE s"; return; }
        times="$times $((($(date +%s%N) - begin) / 1000000))"
    done
    pass "$1:$times ms (load $(cut -d' ' -f1 /proc/loadavg) on $(nproc) processors)"
}
# What makes the time: one file is compiled, not two and not none. The first line is of the build of all.
compiles_one_file_each() {
    $engine logs "$(id_of backend)" 2>&1 | grep "built and restarted" >"$work/rebuilds"
    cat "$work/rebuilds"
    [ "$(wc -l <"$work/rebuilds")" -eq 4 ] && [ "$(grep -c 'C files compiled: 1$' "$work/rebuilds")" -eq 3 ]
}

if part development; then
    started=yes
    export FINCH_UID FINCH_GID
    FINCH_UID=$(stat -c %u "$tree") FINCH_GID=$(stat -c %g "$tree")
    build_stage backend dev >"$work/log" 2>&1 && build_stage frontend dev >>"$work/log" 2>&1 && $engine tag finch-backend-dev:test finch-backend-dev:test
    check "the development services start" dev up -d --no-build backend frontend
    check "the backend is built from the mounted source and answers" comes answers 200 "$backend/ready"
    check "no key is asked for there" sh -c "curl -fsS -H 'Content-Type: application/json' -d '{\"text\":\"up\"}' '$backend/api/v1/predict'"
    check "the pages' development server answers" comes answers 200 "$web/"
    reloads "a change of a C file is served" change_c "$backend/health"
    check "each change compiles one file" compiles_one_file_each
    sed 's/^/      /' "$work/rebuilds"
    curl -s -o /dev/null "$web/no-such-page"
    reloads "a change of a page is served" change_page "$web/no-such-page"
    dev down --volumes >/dev/null 2>&1
    started=
fi

lab=http://127.0.0.1:$JUPYTER_PORT
has_page() { # url text
    curl -fsS --max-time 20 "$1" | grep -q "$2"
}
starts_kernel() { # token: the server starts a Python for a notebook, and says so
    curl -fsS --max-time $PATIENCE -X POST -H "Authorization: token $1" -H 'Content-Type: application/json' -d '{"name":"python3"}' "$lab/api/kernels" | grep -q '"execution_state"'
}
if part devtools; then
    check "the dev tools image builds" build_devtools
    check "with compilers, debuggers and JupyterLab" $engine run --rm --network none finch-devtools:test sh -c 'gcc --version && clang --version && gdb --version && valgrind --version && cmake --version && jupyter lab --version'
    started=yes
    FINCH_UID=$(stat -c %u "$tree") FINCH_GID=$(stat -c %g "$tree")
    export FINCH_UID FINCH_GID
    check "the dev tools start" devtools up -d --no-build --no-deps devtools
    check "JupyterLab answers" comes answers 200 "$lab/api"
    token=$(cat "$tree/secrets/jupyter_token")
    check "it opens with the token" has_page "$lab/lab?token=$token" '<title>JupyterLab</title>'
    check "and not without it" sh -c "[ \$(curl -s -o /dev/null -w '%{http_code}' '$lab/api/kernels') = 403 ] && ! curl -sL '$lab/lab' | grep -q '<title>JupyterLab</title>'"
    check "it starts a kernel" starts_kernel "$token"
    check "the dev tools become healthy" comes is_healthy devtools
    check "finch is built there from the mounted checkout" comes in_service devtools sh -c '[ -x "$FINCH" ] && [ -f "$FINCH_LIBRARY" ] && finch-build | grep -q "no work to do"'
    check "notebooks run there from start to end" in_service devtools python notebooks/run.py 01_prepare.ipynb 07_index.ipynb
    sed 's/^/      /' "$work/log"
    devtools down --volumes >/dev/null 2>&1
    started=
fi

# What is new since the start and ours. Volumes without a name are of images that declare one.
left_behind() {
    $engine ps -a --format '{{.Names}}' | grep -F "$COMPOSE_PROJECT_NAME"
    $engine network ls --format '{{.Name}}' | grep -F "$COMPOSE_PROJECT_NAME"
    $engine volume ls --format '{{.Name}}' | grep -E "^${COMPOSE_PROJECT_NAME}_|^[0-9a-f]{64}$" | grep -vxFf "$work/volumes"
    [ "$engine" != podman ] || working_containers | grep -vxFf "$work/working"
    grep -F "$tree" /proc/mounts
    ls -A "$source" | grep -vxFf "$work/files"
}
check "nothing is left behind but images and build/containers" sh -c '[ -z "$1" ]' sh "$(left_behind | tee /dev/stderr)"

finish
