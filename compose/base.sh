#!/usr/bin/env bash
# Makes the image that local.yaml starts from, for machines that reach no registry: a shell, the few
# commands that the Dockerfile's build stage runs, and what that stage would have compiled, all from
# this machine.
set -euo pipefail
cd "$(dirname "$0")/.."
tnet=${CARGO_TARGET_DIR:-target}/release/tnet
image=${TNET_LOCAL_BASE:-tnet-local-base}
[ -x "$tnet" ] || { echo "$tnet is missing; cargo build --release makes it" >&2; exit 1; }

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir "$root"/{bin,built,tmp}
cp "$tnet" "$root/built/"
rustc --edition 2024 -O -o "$root/built/picture" compose/picture.rs
for tool in bash sh ldd mkdir cp grep xargs; do
    cp -L "$(command -v "$tool")" "$root/bin/"
done
# Of a script it lists nothing.
for program in "$root"/built/* "$root"/bin/*; do
    { ldd "$program" 2>/dev/null || true; } | { grep -o '/[^ ]*' || true; }
done | grep -v ':$' | sort -u | xargs -I '{}' cp --parents -L '{}' "$root/"
# Every image that is made from it has the label too.
tar -C "$root" -c . | docker import --change "LABEL tnet.base=$image" - "$image" >/dev/null
