#!/bin/bash
# Checks the dependencies of all workspaces with cargo-deny, as deny.toml says: bans, licences and
# sources always, advisories where the advisory database can be reached.
set -euo pipefail
. "$(dirname "$0")/env.sh"

database=https://github.com/rustsec/advisory-db

if ! command -v cargo-deny >/dev/null; then
    PATH=$cache/tools/bin:$PATH
fi
if ! command -v cargo-deny >/dev/null; then
    say "Installing cargo-deny into $cache/tools: about 4 minutes on 2 cores (once)"
    CARGO_TARGET_DIR=$cache/tools/build cargo install --locked --no-default-features --root "$cache/tools" cargo-deny
    rm -rf "$cache/tools/build"
fi

for manifest in Cargo.toml scripts/Cargo.toml tests/smith/Cargo.toml; do
    say "Checking the dependencies of $manifest"
    cargo deny --manifest-path "$manifest" --config deny.toml check bans licenses sources
done

if timeout 20 git ls-remote --quiet "$database" HEAD >/dev/null 2>&1; then
    for manifest in Cargo.toml scripts/Cargo.toml tests/smith/Cargo.toml; do
        cargo deny --manifest-path "$manifest" --config deny.toml check advisories
    done
else
    say "WARNING: SECURITY ADVISORIES WERE NOT CHECKED: $database can't be reached from here"
fi
