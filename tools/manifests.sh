#!/bin/bash
# Checks deploy/ without a cluster: renders every overlay (kustomize) and the chart (helm), and holds what comes
# out against Kubernetes' schemas, Pod Security, the program's own options, and each other. Says loudly what
# it leaves out because a tool is missing. `make e2e` hands the same to a real API server.
#   MILLRACE=PROGRAM  a built Millrace (else it is built)      OUTPUT=FOLDER  keep what was rendered there
set -euo pipefail
# shellcheck source=tools/env.sh
. "$(dirname "$0")/env.sh"
. tools/manifests/tools.sh

millrace=${MILLRACE:-}
if [ -z "$millrace" ]; then
    announce_build "the program"
    cargo build --release --workspace --bins
    millrace=$CARGO_TARGET_DIR/release/millrace
fi
work=$(mktemp -d -t millrace-manifests.XXXXXX)
trap 'rm -rf "$work"' EXIT
out=${OUTPUT:-$work}
mkdir -p "$out"
version=$(sed -n 's/^version *= *"\(.*\)"/\1/p' Cargo.toml | head -n 1)
left_out=()
leave_out() {
    left_out+=("$1")
    printf 'skipped: %s\n' "$1" >&2
}

rendered=()
find_kustomize
if [ -n "$kustomize" ]; then
    say "Rendering the overlays"
    render_overlays "$out"
    for file in "$out"/*.yaml; do rendered+=("$(basename "$file" .yaml)=$file"); done
else
    leave_out "overlays: there is no kubectl >= 1.21, no kustomize, and no Go to build one"
fi

find_helm
if [ -n "$helm" ]; then
    say "Rendering the chart"
    "$helm" lint --strict --quiet deploy/helm/millrace
    [ "$(sed -n 's/^appVersion: "\(.*\)"/\1/p' deploy/helm/millrace/Chart.yaml)" = "$version" ] ||
        die "deploy/helm/millrace/Chart.yaml: appVersion is not $version"
    render_chart "$out"
    for file in "$out"/helm-*.yaml; do rendered+=("$(basename "$file" .yaml)=$file"); done
    say "What the chart must refuse"
    chart_refuses 'image.repositry=x' 'additional properties|not allowed' --set image.repositry=x
    chart_refuses 'replicas=two' 'replicas' --set replicas=two
else
    leave_out "the chart: there is no helm, and no Go to build it with"
fi

find_validator
if [ ${#rendered[@]} -eq 0 ]; then
    :
elif [ -n "$python" ]; then
    say "Checking what was rendered"
    "$python" tools/manifests/check.py --millrace "$millrace" --version "$version" "${rendered[@]}"
    if [ -n "$kustomize" ] && [ -n "$helm" ]; then
        say "Comparing the chart with the overlays"
        "$python" tools/manifests/compare.py "$out"/metrics-api.yaml "$out"/helm-metrics-api.yaml
    fi
    if [ -f "$out/prometheus.yaml" ]; then
        promtool=$(command -v promtool || printf %s "$cache/prometheus/usr/bin/promtool")
        if [ -x "$promtool" ]; then
            say "Checking the alerts"
            "$python" tools/manifests/alerts.py "$out/prometheus.yaml" >"$work/alerts"
            "$promtool" check rules "$work/alerts"
            cp tools/manifests/alerts-test.yaml "$work"
            "$promtool" test rules "$work/alerts-test.yaml"
        else
            leave_out "the alerts: there is no promtool; \`apt-get install prometheus\` has it"
        fi
    fi
else
    leave_out "schemas, references and options: there is no python3 with venv, or PyPI can't be reached"
fi

find_grafana_schema
if [ -n "$grafana_schema" ]; then
    say "Checking the dashboards"
    node tools/manifests/dashboards.mjs "$grafana_schema" deploy/grafana/dashboards/*.json deploy/grafana/millrace/*.json
else
    leave_out "the dashboards' form: there is no node with npm, or the registry can't be reached"
fi

say "Heapster's own arguments"
heapster_arguments "$millrace"

if [ ${#left_out[@]} -gt 0 ]; then
    say "All is well with what could be checked; left out:"
    printf '    %s\n' "${left_out[@]}" >&2
else
    say "All is well"
fi
