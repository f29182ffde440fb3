#!/bin/bash
# Builds the Wasm rules of `scripts/`: the bundled ones to `$CARGO_TARGET_DIR/rules/NN-NAME.wasm`, where
# the host looks for them, every other one to `$CARGO_TARGET_DIR/rules-examples/NAME.wasm`.
#
# A rule's package has no `[lib] name`: its file is found by the package's name.
set -euo pipefail
. "$(dirname "$0")/env.sh"

# The place of a bundled rule in the chain; nothing for an example.
place_of() { case $1 in heapster) echo 50 ;; esac; }

# Copies only what changed, whole or not at all: a running host may be watching the folder.
publish() {
    cmp -s "$1" "$2" && return
    cp "$1" "$2.new"
    mv "$2.new" "$2"
}

variables=$(tools/wasm-target.sh)
eval "$variables"

say "Building the rules for wasm32-unknown-unknown (the first time: about a minute)"
build=$CARGO_TARGET_DIR/scripts-wasm
# The same bytes, and so the same digest, wherever the checkout and cargo's folder lie.
remap=--remap-path-prefix
export CARGO_ENCODED_RUSTFLAGS="$remap=${CARGO_HOME:-$HOME/.cargo}=/cargo"$'\x1f'"$remap=$PWD=/millrace"
(cd scripts && CARGO_TARGET_DIR=$build cargo build --release --lib --workspace --target wasm32-unknown-unknown)

mkdir -p "$CARGO_TARGET_DIR/rules" "$CARGO_TARGET_DIR/rules-examples"
for manifest in scripts/*/Cargo.toml; do
    name=$(basename "$(dirname "$manifest")")
    package=$(sed -n 's/^name *= *"\(.*\)"/\1/p' "$manifest" | head -n 1)
    place=$(place_of "$name")
    to=$CARGO_TARGET_DIR/${place:+rules/$place-$name.wasm}
    [ -n "$place" ] || to=$CARGO_TARGET_DIR/rules-examples/$name.wasm
    publish "$build/wasm32-unknown-unknown/release/${package//-/_}.wasm" "$to"
    say "$to: $(wc -c <"$to") bytes"
done
