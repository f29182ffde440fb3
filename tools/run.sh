#!/bin/bash
# Starts a simulated cluster and Millrace against it, and stops both together. Options:
#   NODES=20  RESOLUTION=10s  HTTP=127.0.0.1:8082  INFLUXDB=http://localhost:8086 (empty: none is looked for)
set -euo pipefail
. "$(dirname "$0")/env.sh"

nodes=${NODES:-20}
resolution=${RESOLUTION:-10s}
http=${HTTP:-127.0.0.1:8082}
influxdb=${INFLUXDB-http://localhost:8086}

announce_build "the program and the simulated cluster"
# The same selection as in the tests, so that nothing is built twice with other features.
cargo build --release --workspace --bins

bin=$CARGO_TARGET_DIR/release
work=$(mktemp -d)
kubesim=
millrace=

# Stops the router first, so that it drains its queues while the cluster still answers. A second Ctrl-C
# does not wait.
stop() {
    trap - EXIT
    trap 'kill -KILL $millrace $kubesim 2>/dev/null' INT TERM HUP
    for pid in $millrace $kubesim; do
        kill -TERM "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    rm -rf "$work"
}
trap stop EXIT
trap 'exit 0' INT
trap 'exit 143' TERM HUP

# Starts a program in a process group of its own: Ctrl-C reaches this script alone, which then stops
# the two in order.
start() {
    set -m
    "$@" &
    set +m
}

# Whether an InfluxDB answers there; by bash alone, since a bare system has no curl.
influxdb_answers() {
    [[ $1 =~ ^http://([^:/]+):([0-9]+)/?$ ]] || return 1
    local host=${BASH_REMATCH[1]} port=${BASH_REMATCH[2]}
    local answer
    answer=$(timeout 2 bash -c 'exec 3<>"/dev/tcp/$0/$1" && printf "GET /ping HTTP/1.0\r\nHost: $0\r\n\r\n" >&3 && cat <&3' \
        "$host" "$port" 2>/dev/null) || true
    grep -qi '^x-influxdb-version:' <<<"$answer"
}

start "$bin/kubesim" --nodes "$nodes" --churn 1 --restarts 0.5 --ready-file "$work/ready.json" >"$work/kubesim.log" 2>&1
kubesim=$!

for _ in $(seq 100); do
    [ -s "$work/ready.json" ] && break
    kill -0 "$kubesim" 2>/dev/null || { cat "$work/kubesim.log" >&2; die "the simulated cluster did not start"; }
    sleep 0.1
done
[ -s "$work/ready.json" ] || { cat "$work/kubesim.log" >&2; die "the simulated cluster was not ready after 10 s"; }

field() { sed -n "s/.*\"$1\" *: *\"\{0,1\}\([^\",}]*\).*/\1/p" "$work/ready.json" | head -n 1; }

cat >"$work/millrace.toml" <<TOML
resolution = "$resolution"
[source.kubernetes]
api-server = "$(field api_url)"
[source.kubernetes.kubelet]
https = false
[http]
listen = "$http"
TOML

if [ -n "$influxdb" ] && influxdb_answers "$influxdb"; then
    say "An InfluxDB answers at $influxdb: writing there too, to the database k8s"
    printf '[[sink]]\ntype = "influxdb"\nurl = "%s"\n' "$influxdb" >>"$work/millrace.toml"
fi

say "Starting Millrace against a simulated cluster of $nodes nodes; Ctrl-C stops both"
start "$bin/millrace" run --config "$work/millrace.toml" --live
millrace=$!
status=0
wait "$millrace" || status=$?
if [ "$status" != 0 ] && (exec 3<>"/dev/tcp/${http%:*}/${http##*:}") 2>/dev/null; then
    say "Something else listens on $http; HTTP=127.0.0.1:18082 make run   takes another address"
fi
exit "$status"
