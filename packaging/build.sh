#!/usr/bin/env bash
# Makes the Debian package of a release binary that is there: target/debian/tnet_VERSION_ARCHITECTURE.deb
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
tnet=$target/release/tnet
[ -x "$tnet" ] || { echo "$tnet is missing; cargo build --release makes it" >&2; exit 1; }
command -v cargo-deb >/dev/null || cargo install --locked --quiet cargo-deb

papers=target/papers
mkdir -p "$papers"
"$tnet" man "$papers/man" --quiet
"$tnet" completions bash >"$papers/tnet.bash"
"$tnet" completions zsh >"$papers/_tnet"
"$tnet" completions fish >"$papers/tnet.fish"
cargo deb --locked --quiet --no-build --no-strip -p tnet-cli "$@"
