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
        say "Whole cycles at 500 to 5,000 nodes: about ten minutes"
        bench cycles -- --nodes 500,1000,5000
        bench cycles -- --nodes 500,1000,5000 --https
        bench cycles -- --nodes 1000 --sink log
        bench cycles -- --nodes 1000 --rules 1,4,16
        bench cycles -- --nodes 1000 --store --cycles 20
        bench reload
        bench asks
        # influxd shares the machine: so it keeps up.
        say "With every form of the InfluxDB sink: about fifteen minutes"
        bench cycles -- --nodes 100 --resolution 10 --sink influxdb,influxdb-gzip,influxdb-fields,influxdb-fields-gzip
        bench cycles -- --nodes 500 --resolution 30 --sink influxdb,influxdb-fields
        say "Delivery to real servers: about two minutes"
        bench delivery
        say "24 cycles with pods that come and go: about three minutes"
        bench cycles -- --nodes 1000 --cycles 24 --churn 50 --each
        say "The plot of growth: about ten minutes"
        bench cycles -- --plot "${CARGO_TARGET_DIR:-target}/growth.svg"
        ;;
    *) die "\`$1\` is not a set of benches; there is \`large\`, and the small one without a word" ;;
esac
