#!/bin/bash
# Runs every test: the host's, the SDK's and the end-to-end ones, what deploy/ holds, then the rules' own, natively.
# Needs what `make setup` installs and `make rules` builds.
set -euo pipefail
. "$(dirname "$0")/env.sh"

announce_build "the program and its tests"
cargo build --release --workspace --bins
cargo test --release --workspace

MILLRACE=$CARGO_TARGET_DIR/release/millrace tools/manifests.sh

say "Testing the rules natively"
(cd scripts && CARGO_TARGET_DIR=$CARGO_TARGET_DIR/scripts-native cargo test --workspace)
