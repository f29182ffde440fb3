#!/bin/bash
# Installs what building and testing need and what is missing, and says what: the wasm target, and for
# the tests a real influxd, VictoriaMetrics, Prometheus, Kafka and Chromium. `setup.sh build` leaves the tests' needs out.
set -euo pipefail
. "$(dirname "$0")/env.sh"

missing_influxd() {
    die "the tests need a real InfluxDB 1.x server, and there is no \`influxd\`. $1
  As root on Debian or Ubuntu:  apt-get install influxdb
  Elsewhere: unpack an InfluxDB 1.x release and set MILLRACE_INFLUXD to the path of its influxd"
}

# Debian's package starts a service when it is installed. The tests start their own server on a free
# port, so a policy file forbids that for as long as the installation takes.
install_influxd() {
    local policy=/usr/sbin/policy-rc.d
    say "Installing influxdb by apt (60 MB on disk); the tests start it on free ports of their own, its service stays off"
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod +x $policy
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    fi
    apt-cache show influxdb >/dev/null 2>&1 || apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-remove --no-install-recommends influxdb ||
        missing_influxd "The installation failed."
    # Nor shall it start with the machine.
    [ ! -d /run/systemd/system ] || systemctl disable --quiet influxdb || true
}

# What librdkafka and its OpenSSL are built with: compilers, make, and a whole perl (Debian's perl-base
# lacks modules that OpenSSL's configuration wants).
build_tools_missing() {
    ! { command -v cc && command -v c++ && command -v make && perl -MFindBin -MIPC::Cmd -MFile::Compare -e 1; } >/dev/null 2>&1
}
if build_tools_missing; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "Installing g++, make and perl by apt (250 MB on disk); the client of Kafka is built with them"
        apt-cache show g++ >/dev/null 2>&1 || apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-remove --no-install-recommends \
            gcc g++ libc6-dev make perl >/dev/null || true
    fi
    ! build_tools_missing || die "a C and a C++ compiler, make and perl are needed, and one is missing.
  As root on Debian or Ubuntu:  apt-get install gcc g++ libc6-dev make perl
  Elsewhere: install a C++ compiler, GNU make, and perl with its core modules"
fi
tools/wasm-target.sh >/dev/null

if [ "${1:-all}" = all ] && [ -z "${MILLRACE_INFLUXD:-}" ] && ! command -v influxd >/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        install_influxd
    else
        missing_influxd "This user can't install it."
    fi
fi
if [ "${1:-all}" = all ] && ! command -v valgrind >/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "Installing valgrind by apt (80 MB on disk); \`make guard\` counts instructions with it"
        apt-cache show valgrind >/dev/null 2>&1 || apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-remove --no-install-recommends valgrind >/dev/null ||
            say "WARNING: valgrind could not be installed; \`make guard\` will fail"
    else
        say "WARNING: there is no valgrind, and this user can't install it; \`make guard\` will fail"
    fi
fi
if [ "${1:-all}" = all ] && ! { command -v clang && command -v wasm-ld; } >/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "Installing clang and lld by apt (220 MB on disk); the tests build a rule in C with them"
        apt-cache show clang >/dev/null 2>&1 || apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-remove --no-install-recommends clang lld >/dev/null ||
            say "WARNING: clang and lld could not be installed; the tests of rules in C will be skipped"
    else
        say "WARNING: there is no clang with wasm-ld, and this user can't install it; the tests of rules in C will be skipped"
    fi
fi
# unpack FOLDER PACKAGE BINARY SIZE: Debian's package, unpacked into a folder of the cache. It conflicts with no other
# package there, starts no service, and apt needs no root for that.
unpack() {
    local folder=$cache/$1 package=$2
    [ ! -e "$folder/$3" ] || return 0
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || return 1
    say "Fetching $package by apt into $folder ($4 on disk)"
    apt-cache show "$package" >/dev/null 2>&1 || [ "$(id -u)" != 0 ] || apt-get update -qq
    rm -rf "$folder.new" && mkdir -p "$folder.new"
    if (cd "$folder.new" && apt-get download -qq "$package" 2>/dev/null && dpkg-deb -x "$package"_*.deb .); then
        rm -rf "$folder.new"/*.deb "$folder"
        mv "$folder.new" "$folder"
    else
        rm -rf "$folder.new"
        return 1
    fi
}

if [ "${1:-all}" = all ]; then
    unpack kubectl kubernetes-client usr/bin/kubectl "37 MB" ||
        say "WARNING: kubernetes-client could not be fetched; the tests with kubectl run those on the PATH, or are skipped"
    unpack victoria-metrics victoria-metrics usr/bin/victoria-metrics "85 MB" || command -v victoria-metrics >/dev/null ||
        die "the tests need VictoriaMetrics and can't fetch it; set MILLRACE_VICTORIA_METRICS to the path of its binary"
    unpack prometheus prometheus usr/bin/promtool "95 MB" || { command -v prometheus && command -v promtool; } >/dev/null ||
        die "the tests need Prometheus and can't fetch it; put \`prometheus\` and \`promtool\` on the PATH"
    unpack libfaketime libfaketime "usr/share/doc/libfaketime/copyright" "1 MB" || compgen -G "/usr/lib/*/faketime/libfaketimeMT.so.1" >/dev/null ||
        say "WARNING: libfaketime could not be fetched; the tests of jumping clocks will be skipped"
fi
# A real Kafka. It checks what it has fetched and says itself what it does.
if [ "${1:-all}" = all ] && ! tools/setup-kafka.sh >/dev/null; then
    [ -z "${CI:-}" ] || die "no real Kafka for the tests"
    say "WARNING: THERE IS NO REAL KAFKA: ITS TESTS WILL BE SKIPPED"
fi
# A real browser for the page, and what drives it.
if [ "${1:-all}" = all ] && ! tools/setup-page.sh >/dev/null; then
    [ -z "${CI:-}" ] || die "no real browser for the tests"
    say "WARNING: THERE IS NO CHROMIUM, OR NOTHING TO DRIVE IT: THE TESTS OF THE PAGE WILL BE SKIPPED"
fi
say "Everything that is needed is installed"
