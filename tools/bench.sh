#!/bin/bash
# Runs the benches. Their numbers mean something on an idle machine only.
#   tools/bench.sh [large]     large: clusters of 500 to 5,000 nodes, and every sink
set -euo pipefail
. "$(dirname "$0")/env.sh"

announce_build "the program and its benches"
cargo build --release --workspace --bins

bench() { cargo bench --quiet --workspace --bench "$@"; }

case ${1-} in
    '')
        say "Rules: about 20 s"
        bench rules
        say "Stages: about a minute"
        bench stages
        say "Whole cycles at 100 nodes: about a minute and a half"
        bench cycles -- --nodes 100 --sink none,log,influxdb
        ;;
    large)
        say "Whole cycles at 500 to 5,000 nodes: about an hour and a half"
        bench cycles -- --nodes 500,1000,5000
        bench cycles -- --nodes 500,1000,5000 --https
        # influxd shares the machine: at a minute's resolution it keeps up.
        bench cycles -- --nodes 100,500 --resolution 60 --sink log,influxdb,influxdb-gzip,influxdb-fields,influxdb-fields-gzip
        ;;
    *) die "\`$1\` is not a set of benches; there is \`large\`, and the small one without a word" ;;
esac
