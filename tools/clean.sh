#!/bin/bash
# Removes the build output of both workspaces. Compilers and tools in the cache folder stay.
set -euo pipefail
. "$(dirname "$0")/env.sh"

say "Removing $CARGO_TARGET_DIR"
cargo clean
