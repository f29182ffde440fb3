# Sourced by tools/e2e.sh. Millrace with the rights that deploy/ gives it, a ServiceAccount's
# token, and the APIService that puts it behind the API server.
# shellcheck shell=bash disable=SC2154 # its variables are set there

render_manifests() {
    render_overlays "$rendered"
    find_helm
    if [ -n "$helm" ]; then
        render_chart "$rendered"
    else
        leave_out "the chart" "there is no helm, and no Go to build it with"
    fi
}

# What the manifests hold is really created: the ServiceAccount and its rights are those of production.
# Nothing here starts the Deployment's pods.
install_millrace() {
    say "Applying the overlay metrics-api"
    admin apply -f "$rendered/metrics-api.yaml" >"$logs/apply.log" 2>&1 ||
        { why apply; die "deploy/overlays/metrics-api could not be applied"; }
    token kube-system millrace "$work/millrace.token"
    take_port plain_port
    take_port secure_port
}

# start_millrace [CERTIFICATE]: with a certificate and key of that name, or with one that it makes itself.
start_millrace() {
    # The node's address is that of the machine's network card, and this kubelet listens on 127.0.0.1.
    cat >"$work/millrace.toml" <<TOML
resolution = "10s"
[source.kubernetes]
api-server = "https://127.0.0.1:$api_port"
token-file = "$work/millrace.token"
certificate-authority = "$pki/ca.crt"
[source.kubernetes.kubelet]
port = "node-status"
certificate-authority = "$pki/ca.crt"
[source.kubernetes.kubelet.addresses]
$node = "127.0.0.1"
[http]
listen = "127.0.0.1:$plain_port"
[http.secure]
listen = "127.0.0.1:$secure_port"
TOML
    [ -z "${1:-}" ] || printf 'certificate = "%s"\nkey = "%s"\n' "$pki/$1.crt" "$pki/$1.key" >>"$work/millrace.toml"
    say "Starting Millrace with a ServiceAccount's token"
    start millrace "$millrace_program" run --config "$work/millrace.toml"
    # Ready: the first numbers are there. Without a node there will be none.
    local ready=livez
    [ -z "$has_node" ] || ready=readyz
    wait_for 60 "Millrace's first numbers" curl -fsS "http://127.0.0.1:$plain_port/$ready" && return
    why millrace 10
    die "Millrace does not get ready"
}

restart_millrace() {
    mv "$logs/millrace.log" "$logs/millrace-first.log"
    stop_pid "$pid_millrace"
    start_millrace "$@"
}

# There is no pod behind the Service: its name leads to this machine, and the APIService to our port.
lead_to_millrace() {
    admin delete service --namespace=kube-system millrace >/dev/null
    admin apply -f - <<YAML >/dev/null
apiVersion: v1
kind: Service
metadata: {name: millrace, namespace: kube-system}
spec: {type: ExternalName, externalName: localhost, ports: [{port: $secure_port}]}
YAML
    change_api_service "{\"service\": {\"port\": $secure_port}}"
}

change_api_service() {
    admin patch apiservice v1beta1.metrics.k8s.io --type=merge --patch "{\"spec\": $1}" >/dev/null
}
