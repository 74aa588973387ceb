#!/usr/bin/env bash
# Makes the Debian package of a release binary that is there:
# target/debian/tnet_VERSION_ARCHITECTURE.deb
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
tnet=$target/release/tnet
[ -x "$tnet" ] || { echo "$tnet is missing; cargo build --release makes it" >&2; exit 1; }
command -v cargo-deb >/dev/null || cargo install --locked --quiet cargo-deb

generated=target/packaged
mkdir -p "$generated"
"$tnet" man "$generated/man" --quiet
"$tnet" completions bash >"$generated/tnet.bash"
"$tnet" completions zsh >"$generated/_tnet"
"$tnet" completions fish >"$generated/tnet.fish"
cargo deb --locked --quiet --no-build --no-strip -p tnet-cli "$@"
