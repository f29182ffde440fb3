# Sourced by tools/e2e.sh. Millrace with the rights that deploy/millrace.yaml gives it, a ServiceAccount's
# token, and the APIService that puts it behind the API server.
# shellcheck shell=bash disable=SC2154 # its variables are set there

# What the manifest holds is really created: the ServiceAccount and its rights are those of production.
# Nothing here starts the Deployment's pods.
install_millrace() {
    say "Applying deploy/millrace.yaml"
    admin apply -f deploy/millrace.yaml >"$logs/apply.log" 2>&1 ||
        { why apply; die "deploy/millrace.yaml could not be applied"; }
    token kube-system millrace "$work/millrace.token"
}

start_millrace() {
    take_port plain_port
    take_port secure_port
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
TOML
    [ -n "${PLAIN:-}" ] || cat >>"$work/millrace.toml" <<TOML
[http.secure]
listen = "127.0.0.1:$secure_port"
certificate = "$pki/millrace.crt"
key = "$pki/millrace.key"
TOML
    say "Starting Millrace with a ServiceAccount's token"
    start millrace "$millrace_program" run --config "$work/millrace.toml"
    # Ready: the first numbers are there. Without a node there will be none.
    local ready=livez
    [ -z "$has_node" ] || ready=readyz
    wait_for 60 "Millrace's first numbers" curl -fsS "http://127.0.0.1:$plain_port/$ready" && return
    why millrace 10
    die "Millrace does not get ready"
}

# The name that stands for Millrace in the cluster leads to this machine's port.
register_millrace() {
    say "Registering Millrace as v1beta1.metrics.k8s.io"
    admin delete service --namespace=kube-system millrace --ignore-not-found >/dev/null
    admin delete apiservice v1beta1.metrics.k8s.io --ignore-not-found >/dev/null
    admin apply -f - <<YAML >/dev/null
apiVersion: v1
kind: Service
metadata: {name: millrace, namespace: kube-system}
spec:
  type: ExternalName
  externalName: localhost
  ports: [{port: $secure_port}]
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1beta1.metrics.k8s.io}
spec:
  group: metrics.k8s.io
  version: v1beta1
  groupPriorityMinimum: 100
  versionPriority: 100
  service: {name: millrace, namespace: kube-system, port: $secure_port}
  caBundle: $(base64 -w0 "$pki/ca.crt")
YAML
    wait_for 60 "the API server to find it available" available && return
    admin get apiservice v1beta1.metrics.k8s.io -o 'jsonpath={.status.conditions}' >&2 || true
    failures+=("the APIService v1beta1.metrics.k8s.io is not available")
}

available() {
    [ "$(admin get apiservice v1beta1.metrics.k8s.io -o 'jsonpath={.status.conditions[?(@.type=="Available")].status}')" = True ]
}
