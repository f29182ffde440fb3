#!/usr/bin/env python3
"""Says where the chart and the overlays, which hold the same things twice, have drifted apart.

    compare.py OVERLAY.yaml CHART.yaml"""

import pathlib
import sys

import yaml

# What each adds on its own: names and labels by which it knows its objects, and hashes of the configuration.
OWN = {"labels", "matchLabels", "selector", "annotations", "podSelector"}


def main():
    overlay, chart = (objects(file) for file in sys.argv[1:3])
    wrong = [f"only in the overlay: {' '.join(key)}" for key in overlay.keys() - chart.keys()]
    wrong += [f"only in the chart: {' '.join(key)}" for key in chart.keys() - overlay.keys()]
    for key in overlay.keys() & chart.keys():
        differences(" ".join(key), overlay[key], chart[key], wrong)
    for line in wrong:
        print(line)
    sys.exit(1 if wrong else 0)


def objects(file):
    loaded = [o for o in yaml.safe_load_all(pathlib.Path(file).read_text()) if o]
    # kustomize ends a ConfigMap's name with a hash of its content.
    hashed = {o["metadata"]["name"]: "millrace" for o in loaded if o["kind"] == "ConfigMap"}
    return {(o["kind"], hashed.get(o["metadata"]["name"], o["metadata"]["name"])): plain(o, hashed) for o in loaded}


def plain(value, hashed):
    if isinstance(value, dict):
        return {key: plain(v, hashed) for key, v in value.items() if key not in OWN}
    if isinstance(value, list):
        return [plain(v, hashed) for v in value]
    return hashed.get(value, value) if isinstance(value, str) else value


def differences(path, overlay, chart, wrong):
    if isinstance(overlay, dict) and isinstance(chart, dict):
        for key in sorted(overlay.keys() | chart.keys()):
            differences(f"{path}.{key}", overlay.get(key), chart.get(key), wrong)
    elif isinstance(overlay, list) and isinstance(chart, list) and len(overlay) == len(chart):
        for index, (one, other) in enumerate(zip(overlay, chart)):
            differences(f"{path}[{index}]", one, other, wrong)
    # ClusterIP is what the API server makes of a Service without a type.
    elif overlay != chart and not (path.endswith(".type") and {overlay, chart} == {None, "ClusterIP"}):
        wrong.append(f"{path}: {overlay!r} in the overlay, {chart!r} in the chart")


if __name__ == "__main__":
    main()
