# Sourced by tools/manifests.sh and tools/e2e.sh: finds or makes kustomize, helm and a schema checker, in the
# cache, and renders deploy/ with them. What can't be had is left empty.
# shellcheck shell=bash disable=SC2154,SC2034 # $cache is set by tools/env.sh, and others use what is found

kustomize_version=v5.8.3
helm_version=v3.22.0
validator_version=1.37.0
grafana_schema_version=12.4.11
typescript_version=5.9.3
go_bin=$cache/go/bin

# from_go NAME PACKAGE VERSION: the program, built from source once. It is not built without a Go compiler
# that is new enough, nor where no proxy is reached.
from_go() {
    local program=$go_bin/$1-$3
    if [ ! -x "$program" ]; then
        command -v go >/dev/null || return 1
        say "Building $1 $3 with Go (once: a minute or two)"
        mkdir -p "$go_bin"
        GOBIN=$go_bin GOFLAGS=-trimpath go install "$2@$3" >"$go_bin/$1.log" 2>&1 || {
            tail -n 3 "$go_bin/$1.log" >&2
            return 1
        }
        mv "$go_bin/$1" "$program"
    fi
    printf %s "$program"
}

# Sets $kustomize to a command: that of kubectl has known components since 1.21.
find_kustomize() {
    kustomize=
    local kubectl minor
    for kubectl in ${other_kubectl:-} "$(command -v kubectl || true)"; do
        [ -n "$kubectl" ] || continue
        minor=$("$kubectl" version --client --output=json 2>/dev/null | sed -n 's/.*"minor": *"\([0-9]*\).*/\1/p' | head -n 1)
        if [ "${minor:-0}" -ge 21 ]; then
            kustomize="$kubectl kustomize"
            return
        fi
    done
    kubectl=$(command -v kustomize || from_go kustomize sigs.k8s.io/kustomize/kustomize/v5 $kustomize_version) || return 0
    kustomize="$kubectl build"
}

find_helm() { helm=$(from_go helm helm.sh/helm/v3/cmd/helm $helm_version) || helm=$(command -v helm) || helm=; }

# Sets $python to one that has kubernetes-validate, with the schemas of all versions in it (140 MB).
find_validator() {
    local venv=$cache/tools/kubernetes-validate-$validator_version
    python=$venv/bin/python
    [ ! -e "$venv/complete" ] || return 0
    python=
    command -v python3 >/dev/null || return 0
    say "Installing kubernetes-validate $validator_version into the cache (140 MB)"
    rm -rf "$venv"
    mkdir -p "$cache/tools"
    if python3 -m venv "$venv" >/dev/null 2>&1 &&
        "$venv/bin/pip" install --quiet --disable-pip-version-check "kubernetes-validate==$validator_version" >&2; then
        touch "$venv/complete"
        python=$venv/bin/python
    else
        rm -rf "$venv"
    fi
}

# Sets $grafana_schema to a folder with Grafana's schema as types, and the compiler that reads them (26 MB).
find_grafana_schema() {
    grafana_schema=$cache/tools/grafana-schema-$grafana_schema_version
    [ ! -e "$grafana_schema/complete" ] || return 0
    if command -v node >/dev/null && command -v npm >/dev/null; then
        say "Installing @grafana/schema $grafana_schema_version into the cache (26 MB)"
        rm -rf "$grafana_schema"
        mkdir -p "$grafana_schema"
        if npm install --prefix "$grafana_schema" --no-audit --no-fund --ignore-scripts --loglevel=error \
            "@grafana/schema@$grafana_schema_version" "typescript@$typescript_version" >"$grafana_schema/npm.log" 2>&1; then
            touch "$grafana_schema/complete"
            return 0
        fi
        rm -rf "$grafana_schema"
    fi
    grafana_schema=
}

# render_overlays FOLDER: NAME.yaml for each, and for all of the parts together.
render_overlays() {
    local overlay
    $kustomize deploy/base >"$1/base.yaml"
    for overlay in deploy/overlays/*/; do
        $kustomize "$overlay" >"$1/$(basename "$overlay").yaml"
    done
    # As a kustomization of one's own would have it: all parts, rules, another image. It lies in the checkout,
    # as kustomize looks at no folders above that of a kustomization's own repository.
    local own
    own=$(mktemp -d deploy/overlays/.own.XXXXXX)
    printf 'a rule' >"$own/20-mine.wasm"
    sed 's/^resolution.*/resolution = "30s"/' deploy/base/millrace.toml >"$own/millrace.toml"
    cat >"$own/kustomization.yaml" <<YAML
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [../../base]
components:
$(for part in deploy/components/*/; do [[ $part == */beside-heapster/ ]] || printf '  - ../../components/%s\n' "$(basename "$part")"; done)
configMapGenerator:
  - name: millrace
    namespace: kube-system
    behavior: merge
    files: [millrace.toml]
  - name: millrace-rules
    namespace: kube-system
    files: [20-mine.wasm]
    options: {disableNameSuffixHash: true}
images:
  - name: millrace
    newName: registry.example/team/millrace
YAML
    $kustomize "$own" >"$1/everything.yaml" || { rm -rf "$own"; return 1; }
    # As long as Heapster runs.
    cat >"$own/kustomization.yaml" <<YAML
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [../../base]
components: [../../components/influxdb-grafana, ../../components/beside-heapster]
YAML
    $kustomize "$own" >"$1/beside-heapster.yaml" || { rm -rf "$own"; return 1; }
    rm -rf "$own"
}

# render_chart FOLDER: with the values as they are, and with every switch on.
render_chart() {
    local chart=deploy/helm/millrace
    "$helm" template millrace $chart --namespace=kube-system >"$1/helm-defaults.yaml"
    "$helm" template millrace $chart --namespace=kube-system --set apiService.create=true >"$1/helm-metrics-api.yaml"
    "$helm" template other $chart --namespace=monitoring --values=$chart/ci/everything.yaml \
        --api-versions=monitoring.coreos.com/v1 >"$1/helm-everything.yaml"
}

# chart_refuses WHAT PATTERN VALUES...
chart_refuses() {
    local what=$1 pattern=$2 output
    shift 2
    if output=$("$helm" template millrace deploy/helm/millrace "$@" 2>&1); then die "the chart takes $what"; fi
    grep -Eq "$pattern" <<<"$output" || die "the chart refuses $what, but says: $output"
}

# heapster_arguments PROGRAM: those of Heapster's manifest for InfluxDB, as they stand there.
heapster_arguments() {
    "$1" check --source=kubernetes:https://kubernetes.default \
        --sink=influxdb:http://monitoring-influxdb.kube-system.svc:8086
}
