cd /tmp/wt; CARGO_TARGET_DIR=/tmp/wt-target cargo clippy -p tnet-peer -p tnet-swarm -p tnet-cli --all-targets -- -D warnings 2>&1 | grep -E "^(warning|error)|-->" | head -30
