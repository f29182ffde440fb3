#!/bin/bash
# Carries out plans of faults (docs/RELIABILITY.md).
#   SEEDS=100  how many      FIRST=1  from which seed on      JOBS=4  at a time      PLAN=1  only shows them
set -euo pipefail
. "$(dirname "$0")/env.sh"

announce_build "the program and the faults"
cargo build --release --workspace --bins
exec "$CARGO_TARGET_DIR/release/chaos" --seeds "${SEEDS:-100}" --first "${FIRST:-1}" --jobs "${JOBS:-4}" ${PLAN:+--plan}
