#!/usr/bin/env bash
# The whole demonstration, without a registry: up, a transfer, the bytes compared, a peer killed,
# the coordinator's table looked at, more peers, down. Takes a release binary of `tnet` from this
# machine, and leaves nothing behind.
set -euo pipefail
# Bounded by three minutes, in case something hangs.
[ -n "${TNET_CHECK_BOUNDED-}" ] || TNET_CHECK_BOUNDED=1 exec timeout 180 "$0" "$@"
cd "$(dirname "$0")/.."
tnet=${CARGO_TARGET_DIR:-target}/release/tnet

skip() { echo "SKIPPED: $*"; exit 0; }
fail() { echo "compose/check.sh: $*" >&2; exit 1; }

[ -n "$(command -v docker)" ] && docker info >/dev/null 2>&1 || skip "no docker daemon answers"
if docker compose version >/dev/null 2>&1; then
    compose=(docker compose)
elif command -v docker-compose >/dev/null; then
    compose=(docker-compose)
else
    skip "there is no docker compose"
fi
[ -x "$tnet" ] || fail "$tnet is missing; cargo build --release makes it"

export TNET_TAG=check-$$ TNET_LOCAL_BASE=tnet-local-base:check-$$
compose+=(-p "tnet-check-$$" -f compose/compose.yaml -f compose/local.yaml)
work=$(mktemp -d)

clean_up() {
    local status=$?
    [ "$status" = 0 ] || "${compose[@]}" logs --no-color --tail 40 || true
    "${compose[@]}" down --volumes --timeout 5 >/dev/null 2>&1 || true
    # Whatever was made from our base has its label; images that have no name any more, after those
    # that had one.
    docker image rm "tnet:$TNET_TAG" "tnet-seed:$TNET_TAG" "$TNET_LOCAL_BASE" >/dev/null 2>&1 || true
    docker image ls -q --filter dangling=true --filter "label=tnet.base=$TNET_LOCAL_BASE" | xargs -r docker image rm >/dev/null || true
    rm -rf "$work"
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# Until a command succeeds, for so many seconds.
within() {
    local seconds=$1 end=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$end" ] || fail "not within $seconds s: $*"
        sleep 1
    done
}

containers() { "${compose[@]}" ps -a -q "$1"; }

# The number of full holders in the coordinator's table.
holders() {
    "${compose[@]}" exec -T coordinator /bin/tnet who "$hash" --json 2>/dev/null | sed -n 's/.*"full":\([0-9]*\).*/\1/p'
}
has_holders() { [ "$(holders)" = "$1" ]; }

ended_well() {
    local container state
    for container in $(containers "$1"); do
        state=$(docker inspect -f '{{.State.Status}} {{.State.ExitCode}}' "$container")
        case $state in
            "exited 0") ;;
            exited*) fail "a container of $1 ended badly: $state" ;;
            *) return 1 ;;
        esac
    done
}

same_file() {
    docker cp "$1:/data/mandelbrot.png" "$work/copy.png" >/dev/null
    [ "$(sha256sum <"$work/copy.png")" = "$(sha256sum <"$work/picture.png")" ] || fail "another picture arrived in $1"
    rm -f "$work/copy.png"
}

echo "-- a base from this machine: what the build stage runs, and what it would have compiled"
compose/base.sh
rustc --edition 2024 -O -o "$work/picture" compose/picture.rs
"$work/picture" >"$work/picture.png"
hash=$("$tnet" create "$work/picture.png" | sed -n 's/^hash *//p')

echo "-- up"
timeout 100 "${compose[@]}" up -d --build >"$work/up.log" 2>&1 || { cat "$work/up.log" >&2; fail "cannot bring it up"; }
[ "$(docker inspect -f '{{.Config.User}}' "tnet:$TNET_TAG")" = 65532:65532 ] || fail "the image runs as root"

echo "-- the fourth peer gets the picture from the other three, and exits"
within 60 ended_well downloader
same_file "$(containers downloader)"
"${compose[@]}" logs --no-color downloader >"$work/downloader.log" 2>&1
grep -F 'MiB in' "$work/downloader.log"
sources=$(sed -n 's/.*chunk is here.* from=\([0-9.]*\):.*/\1/p' "$work/downloader.log" | sort -u | wc -l)
[ "$sources" = 3 ] || fail "it came from $sources peers"
has_holders 3 || fail "the coordinator knows $(holders) holders, not the three that are left"

echo "-- a peer is killed, and the coordinator drops it when its lease ends"
docker kill "$(containers seed | head -n 1)" >/dev/null
killed=$SECONDS
within 60 has_holders 2
echo "gone from the table after $((SECONDS - killed)) s"

echo "-- more peers: a fourth that shares, and two more that want it"
timeout 60 "${compose[@]}" up -d --scale seed=4 --scale downloader=3 >"$work/up.log" 2>&1 || { cat "$work/up.log" >&2; fail "cannot scale"; }
within 60 ended_well downloader
[ "$(containers downloader | wc -l)" = 3 ] || fail "there are not three downloaders"
for container in $(containers downloader); do
    same_file "$container"
done
within 30 has_holders 4
docker image ls --format '{{.Repository}} is {{.Size}}' "tnet:$TNET_TAG"
echo "-- down"
