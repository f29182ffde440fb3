#!/bin/bash
# Checks formatting, lints and the dependencies of all workspaces. A warning is an error.
set -euo pipefail
. "$(dirname "$0")/env.sh"

say "Checking the format"
cargo fmt --all --check
(cd scripts && cargo fmt --all --check)
(cd tests/smith && cargo fmt --all --check)

announce_build "for the lints"
cargo clippy --release --workspace --all-targets -- -D warnings
(cd scripts && CARGO_TARGET_DIR=$CARGO_TARGET_DIR/scripts-native cargo clippy --workspace --all-targets -- -D warnings)

tools/deny.sh
