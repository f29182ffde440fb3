#!/bin/bash
# The first process of the node's namespaces: runs containerd, imports the images, and runs the kubelet.
# `node-inside.sh NODE-DIR LOG-DIR NODE-NAME KUBECONFIG`. When it ends, the kernel ends everything in here.
set -euo pipefail
node_dir=$1 logs=$2 node=$3 kubeconfig=$4

# The kubelet and runc write to some folders whatever one tells them: those are ours in here.
for folder in /var/log /var/lib /run; do
    mkdir -p "$node_dir/machine$folder"
    mount --bind "$node_dir/machine$folder" "$folder"
done

socket=/run/containerd/containerd.sock
containerd --config "$node_dir/containerd.toml" >"$logs/containerd.log" 2>&1 &
containerd=$!
for _ in $(seq 300); do
    ctr --address $socket version >/dev/null 2>&1 && break
    kill -0 "$containerd" || { echo "containerd ended"; exit 1; }
    sleep 0.1
done
for image in "$node_dir"/images/*.tar; do
    ctr --address $socket --namespace k8s.io images import "$image"
done
touch "$node_dir/images-ready"

kubelet --config="$node_dir/kubelet.yaml" --kubeconfig="$kubeconfig" --root-dir="$node_dir/kubelet" \
    --cert-dir="$node_dir/kubelet/pki" --container-runtime=remote \
    --container-runtime-endpoint="unix://$socket" --hostname-override="$node" >"$logs/kubelet.log" 2>&1 &
kubelet=$!
wait -n "$containerd" "$kubelet" || true
echo "containerd or the kubelet ended"
