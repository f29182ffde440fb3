#!/bin/bash
# Millrace against a real API server: builds kube-apiserver and kubelet once, starts etcd, both of them
# and containerd, registers Millrace with the aggregator, and checks what `kubectl top` says.
# docs/E2E.md tells more. Options:
#   MILLRACE=PROGRAM  a built Millrace (else it is built)      JOBS=2  of the Go compiler
#   NODE=no           no containerd and no kubelet             KEEP=1  keep the work folder
# Exit code: 0 all is well, 1 something is wrong, 2 a part does not run on this machine.
set -euo pipefail
# shellcheck source=tools/env.sh
. "$(dirname "$0")/env.sh"
. tools/e2e/util.sh
. tools/manifests/tools.sh
. tools/e2e/components.sh
. tools/e2e/control-plane.sh
. tools/e2e/node.sh
. tools/e2e/millrace.sh
. tools/e2e/checks.sh

[ "$(id -u)" = 0 ] || die "a kubelet and its pods need root; run it as root, in a virtual machine that may be thrown away"
for tool in apt-get dpkg-deb openssl curl cc unshare; do
    command -v $tool >/dev/null || die "there is no $tool; apt-get install openssl curl gcc libc6-dev util-linux"
done
e2e_cache=$cache/e2e
e2e_bin=$e2e_cache/bin
node=e2e-node
other_kubectl=$(command -v kubectl || true)
PATH=$e2e_bin:$PATH

find_kustomize
[ -n "$kustomize" ] || die "deploy/ can't be rendered: put a kubectl of 1.21 or later on the PATH, or kustomize"
prepare_components
for tool in etcd kubectl kube-apiserver; do
    [ -x "$e2e_bin/$tool" ] || die "there is no $tool, and nothing can run without it"
done
millrace_program=${MILLRACE:-}
if [ -z "$millrace_program" ]; then
    announce_build "the program"
    cargo build --release --workspace --bins
    millrace_program=$CARGO_TARGET_DIR/release/millrace
fi

work=$(mktemp -d -t millrace-e2e.XXXXXX)
logs=$work/logs
rendered=$work/rendered
pki=$work/pki
mkdir "$logs" "$rendered"

# Also after a Ctrl-C and after a failure: the node, the other programs, the files.
finish() {
    local code=$?
    trap - EXIT
    trap '' INT TERM HUP
    say "Stopping everything"
    stop_node
    stop_all
    if [ "$code" = 0 ] && [ -z "${KEEP:-}" ]; then
        rm -rf "$work"
    else
        rm -rf "$work"/{node,etcd}
        say "Logs, certificates and configuration are kept in $work"
    fi
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

render_manifests
make_certificates
start_etcd
start_apiserver
make_accounts
check_manifests
check_beside_heapster
install_millrace
has_node=
if [ "${NODE:-yes}" = no ]; then
    say "Without a node, as NODE=no says"
elif start_node; then
    has_node=yes
else
    leave_out "the node" "$node_reason"
    stop_node
fi

start_millrace
if [ -n "$has_node" ]; then
    check_node
    check_kubelet
    check_model
fi
check_aggregator
check_doctor
if [ -n "$has_node" ]; then
    check_tables
    check_other_kubectls
fi
check_rights
check_secure_port
check_schemas
[ -z "$has_node" ] || check_changes
show_warnings

printf '\n'
if [ ${#failures[@]} -gt 0 ]; then
    printf '==> FAILED: %s\n' "${failures[@]}" >&2
    exit 1
fi
if [ ${#left_out[@]} -gt 0 ]; then
    printf '==> LEFT OUT on this machine: %s\n' "${left_out[@]}" >&2
    say "Everything else is as it should be ($SECONDS s)"
    exit 2
fi
say "Everything is as it should be ($SECONDS s)"
