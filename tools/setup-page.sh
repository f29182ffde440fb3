#!/bin/bash
# Installs what the tests of the page need: a Chromium by apt, where there is none, and what drives it (16 MB from
# npm, pinned with checksums in tools/page/package-lock.json) into the tools cache. Prints the folder of the latter.
set -euo pipefail
# shellcheck source=tools/env.sh
. "$(dirname "$0")/env.sh"

node_is_old() { ! node -e 'process.exit(parseInt(process.versions.node) >= 20 ? 0 : 1)' >/dev/null 2>&1; }
if node_is_old || ! command -v npm >/dev/null; then
    die "the tests of the page are driven by node 20 or newer with npm, and there is none"
fi
if [ -z "${MILLRACE_CHROMIUM:-}" ] && ! command -v chromium >/dev/null; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        die "there is no \`chromium\`; install it, or set MILLRACE_CHROMIUM to its path"
    fi
    say "Installing chromium by apt (330 MB on disk); the tests of the page run in it"
    apt-cache show chromium >/dev/null 2>&1 || apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-remove --no-install-recommends chromium >/dev/null ||
        die "chromium could not be installed"
fi
folder=$cache/page
if ! cmp -s tools/page/package-lock.json "$folder/package-lock.json" || [ ! -d "$folder/node_modules/axe-core" ]; then
    say "Fetching playwright-core and axe-core by npm into $folder"
    rm -rf "$folder.new" && mkdir -p "$folder.new"
    cp tools/page/package.json tools/page/package-lock.json "$folder.new"
    npm ci --prefix "$folder.new" --ignore-scripts --no-audit --no-fund --loglevel=error >&2
    rm -rf "$folder" && mv "$folder.new" "$folder"
fi
printf '%s\n' "$folder"
