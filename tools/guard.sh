#!/bin/bash
# Counts the instructions of one node's way through decode, the heapster rule and line encoding, and
# fails when they are 5 % more than tests/benches/guard.baseline. Counts, not seconds: they are the same
# on a busy machine. `tools/guard.sh bless` writes the baseline anew; say in the commit why.
set -euo pipefail
. "$(dirname "$0")/env.sh"

baseline_file=tests/benches/guard.baseline
if [ "$(uname -m)" != x86_64 ]; then
    say "skipped: THE INSTRUCTION COUNT HAS A BASELINE FOR x86_64 ONLY, this is $(uname -m)"
    exit 0
fi
command -v valgrind >/dev/null || die "the count needs valgrind; \`make setup\` or \`apt-get install valgrind\` installs it"

announce_build "what is counted"
executable=$(cargo bench --workspace --bench guard --no-run --message-format json 2>/dev/null |
    sed -n 's/.*"name":"guard".*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)
[ -x "$executable" ] || die "the bench \`guard\` was not built; \`cargo bench --workspace --bench guard --no-run\` says why"

say "Counting under callgrind: about 20 s"
printed=$(valgrind --tool=callgrind --callgrind-out-file=/dev/null --toggle-collect='guard::guarded*' "$executable" 2>&1) ||
    die "valgrind failed: $printed"
counted=$(sed -n 's/.*Collected : \([0-9]*\).*/\1/p' <<<"$printed")
[ "${counted:-0}" -gt 0 ] || die "nothing was counted: $printed"

if [ "${1-}" = bless ]; then
    echo "$counted" >"$baseline_file"
    say "Baseline: $counted instructions"
    exit 0
fi
baseline=$(cat "$baseline_file")
share=$((counted * 1000 / baseline))
say "$counted instructions, $((share / 10)).$((share % 10)) % of the baseline of $baseline"
if [ "$share" -gt 1050 ]; then
    die "more than 5 % over the baseline. Find out why, or, if it is worth it: tools/guard.sh bless"
fi
if [ "$share" -lt 950 ]; then
    say "That is 5 % less: tools/guard.sh bless keeps it"
fi
