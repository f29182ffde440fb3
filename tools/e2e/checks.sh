# Sourced by tools/e2e.sh. What Millrace must do in front of a real API server, shown as one would type it.
# shellcheck shell=bash disable=SC2154 # its variables are set there

metrics=/apis/metrics.k8s.io/v1beta1

# Every overlay, and the chart where there is a helm. What the Prometheus operator defines is not known here.
check_manifests() {
    local file
    title "The manifests, validated by the API server"
    admin create namespace monitoring >/dev/null
    for file in "$rendered"/*.yaml; do
        awk 'BEGIN { RS = "(^|\n)---\n"; ORS = "\n---\n" } !/apiVersion: monitoring\.coreos\.com/' "$file" >"$work/known.yaml"
        mv "$work/known.yaml" "$file"
        expect 'deployment.apps/(other-)?millrace created \(server dry run\)' \
            kubectl --kubeconfig="$work/admin.conf" apply --dry-run=server -f "$file"
    done
    [ -z "$helm" ] || expect 'rollout status deployment/millrace' \
        "$helm" --kubeconfig="$work/admin.conf" --namespace=kube-system install --dry-run=server --hide-secret \
        --set apiService.create=true millrace deploy/helm/millrace
}

# Where Heapster's own stack is: nothing of it is touched, when Millrace comes nor when it goes.
check_beside_heapster() {
    local admin="--kubeconfig=$work/admin.conf" before
    title "Beside Heapster, its InfluxDB and its Grafana"
    admin apply -f tools/e2e/heapster.yaml >"$logs/heapster.log" 2>&1 ||
        { why heapster; die "Heapster's manifests could not be applied"; }
    before=$(heapsters_objects)
    expect 'deployment.apps/millrace-influxdb created \(server dry run\)' \
        kubectl "$admin" apply --dry-run=server -f "$rendered/influxdb-grafana-persistent.yaml"
    once kubectl "$admin" apply -f "$rendered/beside-heapster.yaml"
    unchanged "$before" "after kubectl apply"
    once kubectl "$admin" delete -f "$rendered/beside-heapster.yaml"
    unchanged "$before" "after kubectl delete"
    admin delete -f tools/e2e/heapster.yaml >>"$logs/heapster.log" 2>&1
}

# once COMMAND...: shows it; it must succeed, and can't be repeated.
once() {
    show "$@"
    [ "$status" = 0 ] || failures+=("$(printf '%s' "${*//$work\//}"): failed")
}

# What Heapster's manifests made, each with the version that any change would raise.
heapsters_objects() {
    admin get -f tools/e2e/heapster.yaml \
        -o jsonpath='{range .items[*]}{.kind} {.metadata.name} {.metadata.uid} {.metadata.resourceVersion}{"\n"}{end}'
}

# unchanged BEFORE WHEN
unchanged() {
    if [ "$(heapsters_objects)" = "$1" ]; then
        printf "Heapster's %s objects %s: as they were\n" "$(wc -l <<<"$1")" "$2"
    else
        failures+=("Heapster's objects $2 are not as they were")
        say "FAILED: ${failures[-1]}"
        diff <(printf '%s\n' "$1") <(heapsters_objects) || true
    fi
}

check_node() {
    title "A real node with real pods"
    expect "$node +Ready" kubectl --kubeconfig="$work/admin.conf" get nodes
    expect 'web-.* 2/2 +Running' kubectl --kubeconfig="$work/admin.conf" get pods -A
}

# The kubelet's own say about who may scrape it.
check_kubelet() {
    local url=https://127.0.0.1:$kubelet_port/stats/summary
    title "The kubelet's statistics: nobody gets them but who may"
    kubelet_answers 401 "$url"
    kubelet_answers 403 "$url" "$work/nobody.token"
    kubelet_answers 200 "$url" "$work/millrace.token"
    kubelet_answers 403 "https://127.0.0.1:$kubelet_port/pods" "$work/millrace.token"
}

kubelet_answers() { answers "$1" "GET ${2#https://127.0.0.1:*/} of the kubelet" "$2" "${3:-}"; }

# answers STATUS WHAT URL TOKEN-FILE|'' [CURL-ARGUMENTS...]
answers() {
    local wanted=$1 what=$2 url=$3 token=$4 who
    shift 4
    who=${token:+with ${token##*/}}
    who=${who:-without a token}
    # By a file, since arguments can be read by everyone on the machine.
    [ -z "$token" ] || printf 'Authorization: Bearer %s\n' "$(<"$token")" >"$work/authorization"
    status=$(curl -sS --max-time 10 --cacert "$pki/ca.crt" -o "$work/answer" -w '%{http_code}' \
        ${token:+-H "@$work/authorization"} "$@" "$url" 2>&1) || true
    printf '%s, %s: %s%s\n' "$what" "$who" "$status" \
        "$([ "$status" = 200 ] || printf ' %s' "$(head -c 200 "$work/answer" | tr '\n' ' ')")"
    [ "$status" = "$wanted" ] || {
        failures+=("$what, $who: expected $wanted, got $status")
        say "FAILED: ${failures[-1]}"
    }
}

check_model() {
    title "Heapster's API on the plain port, from the real kubelet"
    expect "\"$node\"" curl -fsS "http://127.0.0.1:$plain_port/api/v1/model/nodes"
    expect '"web-' curl -fsS "http://127.0.0.1:$plain_port/api/v1/model/namespaces/team-a/pods"
    [ "$host_network" = true ] ||
        expect '"value": *[1-9]' curl -fsS "http://127.0.0.1:$plain_port/api/v1/model/namespaces/team-a/pods/web-$node/metrics/network/tx"
    expect '"value": *[1-9]' curl -fsS "http://127.0.0.1:$plain_port/api/v1/model/nodes/$node/metrics/memory/working_set"
}

# With the certificate that Millrace makes itself, as the overlay metrics-api has it; then with one of the
# cluster's authority, which the API server verifies, and refuses anything else.
check_aggregator() {
    local admin="--kubeconfig=$work/admin.conf" list='"kind": ?"NodeMetricsList"'
    [ -z "$has_node" ] || list+=".*\"usage\""
    title "Registered with the aggregator, with a certificate of Millrace's own"
    lead_to_millrace
    expect 'kube-system/millrace +True' kubectl "$admin" get apiservice v1beta1.metrics.k8s.io
    expect "$list" kubectl "$admin" get --raw $metrics/nodes

    title "The same with a certificate that the API server verifies"
    change_api_service "{\"insecureSkipTLSVerify\": null, \"caBundle\": \"$(base64 -w0 "$pki/ca.crt")\"}"
    refused 'unable to handle' kubectl "$admin" get --raw $metrics/nodes
    answers 503 "GET .../nodes through the aggregator" "https://127.0.0.1:$api_port$metrics/nodes" "$work/reader.token"
    restart_millrace millrace
    expect 'kube-system/millrace +True' kubectl "$admin" get apiservice v1beta1.metrics.k8s.io
    expect '"kind": ?"APIResourceList"' kubectl "$admin" get --raw $metrics
    expect "$list" kubectl "$admin" get --raw $metrics/nodes
    refused 'NotFound' kubectl "$admin" get --raw $metrics/nodes/nowhere
}

# What doctor finds with Millrace's own rights, and with those of somebody who has hardly any.
check_doctor() {
    local stranger="$work/stranger.toml"
    title "millrace doctor"
    expect '0 failures' "$millrace_program" doctor --config "$work/millrace.toml"
    sed "s/millrace\.token/reader.token/" "$work/millrace.toml" >"$stranger"
    refused 'resources: \[(nodes/stats|nodes, pods)' "$millrace_program" doctor --config "$stranger" --timeout 2s
    expect '0 failures' "$millrace_program" doctor --config "$work/millrace.toml" \
        --kubeconfig "$work/admin.conf" --service-account kube-system/millrace
}

# What people look at, with the numbers of the real kubelet: the pod web holds 32 and 8 MiB.
check_tables() {
    local admin="--kubeconfig=$work/admin.conf"
    title "As administrator, through the aggregator"
    expect "$node +[0-9]+m +[0-9]+% +[0-9]+Mi +[0-9]+%" kubectl "$admin" top nodes
    expect 'team-a +web-[^ ]+ +[1-9][0-9]*m +4[0-9]Mi' kubectl "$admin" top pods -A
    expect 'web-[^ ]+ +server +[1-9][0-9]*m +3[2-9]Mi' kubectl "$admin" top pods -n team-a --containers
    expect "$node" kubectl "$admin" get nodes.metrics.k8s.io
    expect 'kind: PodMetrics$' kubectl "$admin" get pods.metrics.k8s.io -n team-a -l app=web -o yaml
}

# Every other kubectl of this machine: that on the PATH, and those of one vendor's package that lie
# beside it (`kubectl.1.30`). Some `kubectl` only chooses among those.
other_kubectls() {
    local beside
    [ -n "$other_kubectl" ] || return 0
    beside=$(compgen -G "$(dirname "$(readlink -f "$other_kubectl")")/kubectl.*" | sort -V) || true
    printf '%s\n' "${beside:-$other_kubectl}"
}

check_other_kubectls() {
    local kubectl
    title "Other versions of kubectl"
    for kubectl in $(other_kubectls); do
        expect "$node +[0-9]+m" "$kubectl" --kubeconfig="$work/admin.conf" top nodes
        expect 'team-a +web-' "$kubectl" --kubeconfig="$work/admin.conf" top pods -A
    done
}

check_rights() {
    local reader="--kubeconfig=$work/reader.conf" team="--kubeconfig=$work/team.conf" nobody="--kubeconfig=$work/nobody.conf"
    title "ServiceAccounts with real tokens: one may read all metrics, one those of its namespace, one none"
    if [ -n "$has_node" ]; then
        expect "$node +[0-9]+m" kubectl "$reader" top nodes
        expect 'team-a +web-' kubectl "$reader" top pods -A
        expect '^web-' kubectl "$team" top pods -n team-a
        refused 'orbidden' kubectl "$team" top pods -A
        refused 'orbidden' kubectl "$nobody" top nodes
    fi
    expect 'NodeMetricsList' kubectl "$reader" get --raw $metrics/nodes
    expect 'PodMetricsList' kubectl "$team" get --raw $metrics/namespaces/team-a/pods
    refused 'orbidden' kubectl "$team" get --raw $metrics/namespaces/kube-system/pods
    refused 'orbidden' kubectl "$nobody" get --raw $metrics/nodes
}

# The API server asks for the description of the API, too, and joins it with its own. It tries again up to
# a minute after a failure, such as the certificate above.
check_schemas() {
    title "Millrace's schemas among those of the API server"
    judge 0 120 'v1beta1\.PodMetricsList' bash -c \
        "kubectl --kubeconfig=$work/admin.conf get --raw /openapi/v2 | grep -o 'io.k8s.metrics[.a-zA-Z0-9]*' | sort -u"
}

# What has changed after a new start of the API server reaches Millrace too.
check_changes() {
    local admin="--kubeconfig=$work/admin.conf"
    title "The API server starts anew; then a pod comes and goes"
    restart_apiserver
    static_pod team-a late late 8 1
    expect 'team-a +late-[^ ]+ +[0-9]+m' kubectl "$admin" top pods -A
    rm "$node_dir/pods/late.yaml"
    refused 'NotFound|not found' kubectl "$admin" top pod -n team-a "late-$node"
    expect "$node +[0-9]+m" kubectl "$admin" top nodes
}

# What Millrace itself found worth a warning; the API server's absence is.
show_warnings() {
    title "Warnings in Millrace's log"
    grep -hE ' (WARN|ERROR) ' "$logs"/millrace*.log | sed 's/^[^ ]* *//; s/ wait=.*//' | cut -c 1-200 | sort | uniq -c || printf 'none\n'
}

# Past the aggregator, at Millrace's own port: it asks the API server who that is and what they may.
check_secure_port() {
    local url=https://localhost:$secure_port
    title "Millrace's secure port itself"
    answers 200 "GET /livez" "$url/livez" ''
    answers 401 "GET .../nodes" "$url$metrics/nodes" ''
    printf 'no token' >"$work/junk.token"
    answers 401 "GET .../nodes" "$url$metrics/nodes" "$work/junk.token"
    answers 403 "GET .../nodes" "$url$metrics/nodes" "$work/nobody.token"
    answers 200 "GET .../nodes" "$url$metrics/nodes" "$work/reader.token"
    answers 403 "GET .../pods" "$url$metrics/pods" "$work/team.token"
    answers 200 "GET .../namespaces/team-a/pods" "$url$metrics/namespaces/team-a/pods" "$work/team.token"
    answers 401 "GET .../nodes, X-Remote-User by anybody" "$url$metrics/nodes" '' \
        -H 'X-Remote-User: e2e-admin' -H 'X-Remote-Group: system:masters'
    answers 200 "GET .../nodes, X-Remote-User by the front proxy" "$url$metrics/nodes" '' \
        -H 'X-Remote-User: e2e-admin' -H 'X-Remote-Group: system:masters' \
        --cert "$pki/front-proxy-client.crt" --key "$pki/front-proxy-client.key"
    answers 200 "GET .../nodes, the administrator's certificate" "$url$metrics/nodes" '' \
        --cert "$pki/admin.crt" --key "$pki/admin.key"
}
