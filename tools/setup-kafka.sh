#!/bin/bash
# Fetches a real Kafka broker (3.9.1, KRaft, 47 MB) into the tools cache, once, and tries it: starts it,
# makes a topic, writes and reads one message, stops it. Prints, on its standard output, the folder of
# its jars; what it does goes to standard error.
#
# A test starts it as `try_kafka` below does: format a folder, then `java … kafka.Kafka FILE`.
set -euo pipefail
# shellcheck source=tools/env.sh
. "$(dirname "$0")/env.sh"

version=$(sed -n 's:^  <version>\(.*\)</version>:\1:p' tools/kafka/pom.xml)
jars=$cache/tools/kafka-$version
# Serial collector and first compiler only: half the time to start.
java=(java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xmx512m "-Dlog4j.configuration=file:$PWD/tools/kafka/log4j.properties")

work=
broker=
finish() {
    trap - EXIT
    [ -z "$broker" ] || { kill -TERM "$broker" && wait "$broker"; } 2>/dev/null || true
    [ -z "$work" ] || rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# need COMMAND PACKAGE
need() {
    command -v "$1" >/dev/null && return
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        die "Kafka needs $1; \`apt-get install $2\` installs it"
    fi
    say "Installing $2 by apt"
    apt-cache show "$2" >/dev/null 2>&1 || apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-remove --no-install-recommends "$2" >&2 ||
        die "$2 could not be installed"
}

# The jars are moved into place whole, and only if they are those that were tried here.
fetch() {
    need mvn maven
    say "Fetching Kafka $version by Maven (60 MB, once)"
    work=$(mktemp -d "$jars.XXXXXX")
    mvn -B -q -f tools/kafka/pom.xml -Dmaven.repo.local="$work/repository" -DoutputDirectory="$work/jars" \
        -DincludeScope=runtime org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
        >"$work/maven.log" 2>&1 || { cat "$work/maven.log" >&2; die "Maven could not fetch Kafka $version"; }
    check_sums "$work/jars" || die "Maven's jars are not those of tools/kafka/SHA256SUMS"
    rm -rf "$jars"
    mv "$work/jars" "$jars"
}

# Exactly the listed jars, each with its checksum.
check_sums() {
    local sums=$PWD/tools/kafka/SHA256SUMS
    (cd "$1" && sha256sum --quiet -c "$sums" >&2) && [ "$(find "$1" -type f | wc -l)" = "$(wc -l <"$sums")" ]
}

kafka() { timeout 60 "${java[@]}" -cp "$jars/*" "$@" 2>>"$work/tools.log"; }

listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# take_port VARIABLE: sets it to a port that nothing listens on.
take_port() {
    local candidate=$((20000 + RANDOM % 12000))
    while listens $candidate; do candidate=$((20000 + RANDOM % 12000)); done
    printf -v "$1" %s "$candidate"
}

try_kafka() {
    local port controller_port answer begin=$SECONDS
    work=$(mktemp -d)
    take_port port
    take_port controller_port
    sed -e "s|@PORT@|$port|; s|@CONTROLLER_PORT@|$controller_port|; s|@DIR@|$work/data|" \
        tools/kafka/server.properties >"$work/server.properties"
    say "Starting Kafka"
    kafka kafka.tools.StorageTool format --config "$work/server.properties" \
        --cluster-id "$(kafka kafka.tools.StorageTool random-uuid)" >/dev/null || { cat "$work/tools.log" >&2; die "no folder for Kafka"; }
    "${java[@]}" -cp "$jars/*" kafka.Kafka "$work/server.properties" >"$work/broker.log" 2>&1 </dev/null &
    broker=$!
    until listens "$port"; do
        if ! kill -0 "$broker" 2>/dev/null || ((SECONDS > begin + 60)); then
            cat "$work/broker.log" >&2
            die "Kafka does not start"
        fi
        sleep 0.1
    done
    say "It listens after $((SECONDS - begin)) s; writing and reading a message"
    answer=$(
        kafka org.apache.kafka.tools.TopicCommand --bootstrap-server "127.0.0.1:$port" --create --topic tried --partitions 3 >&2
        echo "a message" | kafka kafka.tools.ConsoleProducer --bootstrap-server "127.0.0.1:$port" --topic tried >&2
        kafka org.apache.kafka.tools.consumer.ConsoleConsumer --bootstrap-server "127.0.0.1:$port" \
            --topic tried --from-beginning --max-messages 1 --timeout-ms 20000
    ) || true
    if [ "$answer" != "a message" ]; then
        cat "$work/tools.log" "$work/broker.log" >&2
        die "Kafka gave back \"$answer\""
    fi
    say "Kafka $version works ($((SECONDS - begin)) s)"
}

need java openjdk-17-jre-headless
mkdir -p "$cache/tools"
if [ ! -d "$jars" ]; then
    fetch
    rm -rf "$work"
    try_kafka
elif ! check_sums "$jars"; then
    die "$jars is not what was fetched; remove it, and run this again"
fi
printf '%s\n' "$jars"
