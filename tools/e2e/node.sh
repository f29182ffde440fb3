# Sourced by tools/e2e.sh. A node: containerd, a kubelet, and static pods of images built here. They run
# in namespaces of their own for mounts and processes, so that with the first of them everything else
# ends, and no mount is left.
# shellcheck shell=bash disable=SC2154,SC2034 # its variables are set there

# The kernel settings that a kubelet and the pods' network write.
kernel_settings='vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys kernel/keys/root_maxbytes net/ipv4/ip_forward'
kernel_settings_before=

cgroup_roots() { find /sys/fs/cgroup -mindepth 1 -maxdepth 2 -type d -name kubepods; }

# pod_image NAME PROGRAM ENTRYPOINT: an image of one static program, as an archive that `ctr` imports.
pod_image() {
    local name=$1 program=$2 dir=$work/image-$1 layer
    mkdir -p "$dir/root"
    cp "$program" "$dir/root/pod"
    tar -C "$dir/root" --owner=0 --group=0 -cf "$dir/layer.tar" pod
    layer=$(sha256sum "$dir/layer.tar" | cut -d' ' -f1)
    printf '{"architecture":"%s","os":"linux","config":{"Entrypoint":["/pod"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
        "$(dpkg --print-architecture)" "$layer" >"$dir/config.json"
    printf '[{"Config":"config.json","RepoTags":["e2e.local/%s:1"],"Layers":["layer.tar"]}]' "$name" >"$dir/manifest.json"
    tar -C "$dir" -cf "$node_dir/images/$name.tar" manifest.json config.json layer.tar
}

# Whether pods can have a network of their own, and so network statistics: a pair of devices for each.
pods_have_network() {
    [ -x "$e2e_bin/ptp" ] && unshare --net ip link add e2e0 type veth peer name e2e1 2>"$logs/veth.log"
}

# static_pod NAMESPACE NAME CONTAINER MEBIBYTES PERCENT [CONTAINER MEBIBYTES PERCENT]...
static_pod() {
    local namespace=$1 name=$2 file=$node_dir/pods/$2.yaml
    shift 2
    cat >"$file" <<YAML
apiVersion: v1
kind: Pod
metadata: {name: $name, namespace: $namespace, labels: {app: $name}}
spec:
  hostNetwork: $host_network
  terminationGracePeriodSeconds: 1
  containers:
YAML
    while [ $# -gt 0 ]; do
        cat >>"$file" <<YAML
    - name: $1
      image: e2e.local/pod:1
      imagePullPolicy: Never
      args: ["$2", "$3"]
      resources: {requests: {cpu: 10m, memory: ${2}Mi}}
YAML
        shift 3
    done
}

write_node_files() {
    mkdir -p "$node_dir"/{images,pods,cni,kubelet,kubelet-plugins}
    cc -static -O2 -o "$node_dir/pod" tools/e2e/pod.c
    pod_image pause "$node_dir/pod"
    pod_image pod "$node_dir/pod"
    host_network=true
    if pods_have_network; then host_network=false; else say "No network for pods here ($(head -n 1 "$logs/veth.log")): they use the machine's"; fi
    static_pod team-a web server 32 5 sidecar 8 1
    static_pod kube-system agent agent 16 2
    cat >"$node_dir/cni/10-e2e.conflist" <<JSON
{"cniVersion": "0.3.1", "name": "e2e", "plugins": [{"type": "ptp", "ipMasq": false,
  "ipam": {"type": "host-local", "dataDir": "$node_dir/addresses", "ranges": [[{"subnet": "10.244.0.0/24"}]]}}]}
JSON
    # restrict_oom_score_adj: some virtual machines lack the right to set it lower.
    cat >"$node_dir/containerd.toml" <<TOML
version = 2
root = "$node_dir/containerd"
state = "/run/containerd"
# In the node's own /run. The kubelet's cAdvisor looks for it there.
[grpc]
address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "e2e.local/pause:1"
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "native"
[plugins."io.containerd.grpc.v1.cri".cni]
conf_dir = "$node_dir/cni"
bin_dir = "$e2e_bin"
TOML
    cat >"$node_dir/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: 127.0.0.1
port: $kubelet_port
healthzPort: 0
staticPodPath: $node_dir/pods
volumePluginDir: $node_dir/kubelet-plugins
tlsCertFile: $pki/kubelet.crt
tlsPrivateKeyFile: $pki/kubelet.key
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: $pki/ca.crt}
authorization: {mode: Webhook}
cgroupDriver: cgroupfs
enforceNodeAllocatable: [pods]
failSwapOn: false
makeIPTablesUtilChains: false
registerNode: true
# However full this machine's disk is: the images can't be fetched again.
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 1Mi, nodefs.available: 0%, imagefs.available: 0%, nodefs.inodesFree: 0%}
YAML
}

# start_node: false, with the reason in $node_reason, where this machine can't run it.
start_node() {
    local tool
    node_dir=$work/node
    for tool in containerd containerd-shim-runc-v2 ctr runc kubelet; do
        [ -x "$e2e_bin/$tool" ] || { node_reason="there is no $tool"; return 1; }
    done
    unshare --mount --pid --fork --mount-proc true 2>"$logs/unshare.log" ||
        { node_reason="no namespaces for mounts and processes: $(<"$logs/unshare.log")"; return 1; }
    [ -n "$(find /sys/fs/cgroup -maxdepth 2 -name cgroup.procs -writable 2>/dev/null | head -n 1)" ] ||
        { node_reason="the control groups under /sys/fs/cgroup can't be written"; return 1; }
    if [ -n "$(cgroup_roots)" ]; then
        remove_cgroups
        [ -z "$(cgroup_roots)" ] || { node_reason="another kubelet's pods run on this machine (/sys/fs/cgroup/*/kubepods)"; return 1; }
    fi
    take_port kubelet_port
    write_node_files
    remember_kernel_settings
    say "Starting containerd and the kubelet of $node"
    start node unshare --mount --propagation private --pid --fork --mount-proc --kill-child \
        bash tools/e2e/node-inside.sh "$node_dir" "$logs" "$node" "$work/kubelet.conf"
    wait_for 60 "containerd and the images" test -e "$node_dir/images-ready" ||
        { why node; why containerd; node_reason="containerd does not run, see its last lines above"; return 1; }
    wait_for 90 "the kubelet" curl -fsS --cacert "$pki/ca.crt" --cert "$pki/admin.crt" --key "$pki/admin.key" \
        "https://127.0.0.1:$kubelet_port/healthz" ||
        { why node; why kubelet 6; node_reason="the kubelet does not run, see its last lines above"; return 1; }
    wait_for 90 "the node to be Ready" node_ready &&
        wait_for 120 "the pods to run" pods_running && return
    why kubelet 6
    admin get nodes,pods -A -o wide >&2 || true
    node_reason="its pods do not run, see the kubelet's last lines above"
    return 1
}

node_ready() {
    [ "$(admin get node "$node" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}')" = True ]
}

pods_running() {
    [ "$(admin get pods -A -o 'jsonpath={range .items[*].status.containerStatuses[*]}{.ready}{"\n"}{end}' | grep -c true)" = 3 ]
}

remember_kernel_settings() {
    local name
    for name in $kernel_settings; do
        [ ! -r "/proc/sys/$name" ] || kernel_settings_before+="$name $(<"/proc/sys/$name")"$'\n'
    done
}

remove_cgroups() {
    local root
    for root in $(cgroup_roots); do
        for _ in $(seq 20); do
            find "$root" -depth -type d -exec rmdir {} + 2>/dev/null && break
            sleep 0.1
        done
    done
}

# Ends the node, and takes back what a kubelet changes on its machine: kernel settings, control groups.
stop_node() {
    local name value
    [ -n "$kernel_settings_before" ] || return 0
    # The first process outside: the kernel ends those inside with it.
    [ -z "${pid_node:-}" ] || { kill -KILL "$pid_node" && wait "$pid_node"; } 2>/dev/null || true
    while read -r name value; do
        [ -z "$name" ] || [ "$(<"/proc/sys/$name")" = "$value" ] || printf '%s' "$value" >"/proc/sys/$name" || true
    done <<<"$kernel_settings_before"
    remove_cgroups
}
