#!/bin/bash
# Runs the benches. Their numbers mean something on an idle machine only.
set -euo pipefail
. "$(dirname "$0")/env.sh"

announce_build "the program and its benches"
cargo build --release --workspace --bins
cargo bench --package millrace-tests --bench '*'
