#!/usr/bin/env python3
"""Checks rendered manifests (YAML files) without a cluster: against Kubernetes' own schemas, with nothing
unknown allowed; against the Pod Security Standard "restricted"; that what they name is there; and that the
real program takes the arguments and the configuration that they give it.

    check.py --millrace PROGRAM --version IMAGE-TAG NAME=FILE...

Prints what is wrong, a line each; exit code 1 then."""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import tomllib

import kubernetes_validate
import yaml

KUBERNETES = ["1.25", "1.31", "1.37"]
# What other projects define; their schemas are not in Kubernetes.
FOREIGN = {"monitoring.coreos.com/v1"}
POD_OWNERS = {"Deployment", "StatefulSet", "DaemonSet", "Job"}
# What is in every cluster, or made by hand.
ELSEWHERE = {("ClusterRole", "system:auth-delegator"), ("Role", "extension-apiserver-authentication-reader")}
# The Deployments and Services of Heapster's manifests.
HEAPSTERS = {"heapster", "monitoring-influxdb", "monitoring-grafana"}
PSS_VOLUMES = {"configMap", "downwardAPI", "emptyDir", "persistentVolumeClaim", "projected", "secret"}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--millrace", required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("files", nargs="+", metavar="NAME=FILE")
    options = parser.parse_args()
    wrong = 0
    for name, file in (pair.split("=", 1) for pair in options.files):
        objects = [o for o in yaml.safe_load_all(pathlib.Path(file).read_text()) if o]
        found = [*schemas(objects), *references(objects), *rights(objects), *heapsters(name, objects)]
        found += [line for o in objects if o["kind"] == "Deployment" for line in one_at_a_time(o)]
        for owner, template in pods(objects):
            found += pod_security(owner, template["spec"])
            found += probes_and_resources(owner, template["spec"])
            found += program(objects, owner, template["spec"], options)
        for line in found:
            print(f"{name}: {line}")
        wrong += len(found)
    sys.exit(1 if wrong else 0)


def title(o):
    return f"{o['kind']} {o['metadata']['name']}"


def pods(objects):
    return [(title(o), o["spec"]["template"]) for o in objects if o["kind"] in POD_OWNERS]


def schemas(objects):
    for o in objects:
        if o["apiVersion"] in FOREIGN:
            continue
        for version in KUBERNETES:
            try:
                kubernetes_validate.validate(o, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                where = ".".join(str(part) for part in error.path)
                yield f"{title(o)}: Kubernetes {version}: {where}: {error.message[:200]}"
            except kubernetes_validate.SchemaNotFoundError as error:
                yield f"{title(o)}: Kubernetes {version}: {error}"


def references(objects):
    """Everything that is named exists, and everything that selects finds something."""
    there = {(o["kind"], o["metadata"]["name"]) for o in objects}
    seen = [(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]) for o in objects]
    for twice in {s for s in seen if seen.count(s) > 1}:
        yield f"{twice}: stands twice"
    templates = [o["spec"]["template"] for o in objects if o["kind"] in POD_OWNERS]
    for o in objects:
        kind, spec = o["kind"], o.get("spec", {})
        if kind.endswith("Binding"):
            wanted = [(o["roleRef"]["kind"], o["roleRef"]["name"])]
            wanted += [(s["kind"], s["name"]) for s in o["subjects"]]
        elif kind == "APIService":
            wanted = [("Service", spec["service"]["name"])]
        elif kind in POD_OWNERS:
            if not selects(spec["selector"], spec["template"]):
                yield f"{title(o)}: selects other pods than its own"
            wanted = list(pod_needs(spec["template"]["spec"]))
        else:
            wanted = []
        for missing in set(wanted) - there - ELSEWHERE:
            yield f"{title(o)}: there is no {' '.join(missing)}"
        if kind == "Service":
            chosen = [t for t in templates if selects({"matchLabels": spec["selector"]}, t)]
            ports = {p["name"] for t in chosen for c in t["spec"]["containers"] for p in c.get("ports", [])}
            for port in spec["ports"]:
                if port["targetPort"] not in ports:
                    yield f"{title(o)}: no pod has the port {port['targetPort']}"
        if kind == "NetworkPolicy" and not any(selects(spec["podSelector"], t) for t in templates):
            yield f"{title(o)}: selects no pod"
        if kind == "ServiceMonitor":
            services = [s for s in objects if s["kind"] == "Service" and selects(spec["selector"], s)]
            ports = {p["name"] for s in services for p in s["spec"]["ports"]}
            for endpoint in spec["endpoints"]:
                if endpoint["port"] not in ports:
                    yield f"{title(o)}: no service has the port {endpoint['port']}"


def heapsters(name, objects):
    """Nothing has a name of Heapster's own objects, which may be there, but for the Service that Millrace answers
    as; nor do Heapster's Services select any of our pods."""
    allowed = {"beside-heapster": set(), "everything": HEAPSTERS}.get(name, {"heapster"})
    for o in objects:
        if o["metadata"]["name"] in HEAPSTERS and not (o["kind"] == "Service" and o["metadata"]["name"] in allowed):
            yield f"{title(o)}: Heapster's own has that name"
    for owner, template in pods(objects):
        if "k8s-app" in template["metadata"]["labels"]:
            yield f"{owner}: has the label by which Heapster's Services select"


def selects(selector, o):
    labels = o["metadata"].get("labels", {})
    if "matchExpressions" in selector:
        raise ValueError("expressions are not understood here")
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())


def pod_needs(spec):
    if "serviceAccountName" in spec:
        yield ("ServiceAccount", spec["serviceAccountName"])
    elif spec.get("automountServiceAccountToken", True):
        yield ("ServiceAccount", "(of its own, or automountServiceAccountToken: false)")
    volumes = {v["name"]: v for v in spec.get("volumes", [])}
    for volume in volumes.values():
        if "configMap" in volume and not volume["configMap"].get("optional"):
            yield ("ConfigMap", volume["configMap"]["name"])
        if "secret" in volume and not volume["secret"].get("optional"):
            yield ("Secret", volume["secret"]["secretName"])
        if "persistentVolumeClaim" in volume:
            yield ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"])
    for container in spec["containers"]:
        for mount in container.get("volumeMounts", []):
            if mount["name"] not in volumes:
                yield ("volume", mount["name"])


def rights(objects):
    for o in objects:
        if o["kind"] not in ("Role", "ClusterRole"):
            continue
        for rule in o.get("rules", []):
            words = {*rule.get("apiGroups", []), *rule.get("resources", []), *rule["verbs"]}
            for forbidden in words & {"*", "nodes/proxy", "secrets", "pods/exec"}:
                yield f"{title(o)}: grants {forbidden}"


def pod_security(owner, spec):
    """The profile "restricted" of the Pod Security Standards, and a root file system that stays as it is."""
    pod = spec.get("securityContext", {})
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(key):
            yield f"{owner}: {key}"
    for volume in spec.get("volumes", []):
        if not PSS_VOLUMES & set(volume):
            yield f"{owner}: the volume {volume['name']} is of a kind that is not allowed"
    for container in [*spec["containers"], *spec.get("initContainers", [])]:
        own = container.get("securityContext", {})
        both = {**pod, **own}
        checks = {
            "runAsNonRoot": both.get("runAsNonRoot") is True,
            "runAsUser": both.get("runAsUser", 0) > 0,
            "seccompProfile": both.get("seccompProfile", {}).get("type") == "RuntimeDefault",
            "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is False,
            "readOnlyRootFilesystem": own.get("readOnlyRootFilesystem") is True,
            "capabilities": own.get("capabilities") == {"drop": ["ALL"]},
            "privileged": not own.get("privileged"),
            "hostPort": not any("hostPort" in port for port in container.get("ports", [])),
        }
        for key, good in checks.items():
            if not good:
                yield f"{owner}: {container['name']}: {key} is not as \"restricted\" wants it"


def one_at_a_time(o):
    """A claim's volume may be on one node only, and neither a spool nor a database can be shared."""
    claims = [v for v in o["spec"]["template"]["spec"].get("volumes", []) if "persistentVolumeClaim" in v]
    if claims and o["spec"].get("strategy", {}).get("type") != "Recreate":
        yield f"{title(o)}: has a claim, and two pods at a time"


def probes_and_resources(owner, spec):
    for container in spec["containers"]:
        name = container["name"]
        if "requests" not in container.get("resources", {}):
            yield f"{owner}: {name}: no requests"
        if not container.get("ports"):
            continue
        ports = {port["name"] for port in container["ports"]}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            if container.get(probe, {}).get("httpGet", {}).get("port") not in ports:
                yield f"{owner}: {name}: no {probe} on one of its ports"


def program(objects, owner, spec, options):
    """What the container is started with is taken by the program; `check` reads everything that `run` does."""
    for container in (c for c in spec["containers"] if c["name"] == "millrace"):
        repository, _, tag = container["image"].rpartition(":")
        if not repository.endswith("millrace") or tag != options.version:
            yield f"{owner}: the image is {container['image']}, and this is {options.version}"
        arguments = list(container.get("args", []))
        if arguments[:1] != ["run"]:
            yield f"{owner}: the first argument is not run"
        mounted = {m["mountPath"]: m for m in container.get("volumeMounts", [])}
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            given = ["check"]
            for argument in arguments[1:]:
                option, _, path = argument.partition("=")
                if option == "--config":
                    mount = mounted.get(path)
                    if mount is None:
                        yield f"{owner}: nothing is mounted at {path}"
                        return
                    text = config_map(objects, spec, mount["name"]).get(mount["subPath"], "")
                    for rules in directories(text):
                        if rules not in mounted:
                            yield f"{owner}: nothing is mounted at {rules}"
                        text = text.replace(json.dumps(rules), json.dumps(str(folder)))
                    (folder / ".millrace.toml").write_text(text)
                    argument = f"{option}={folder / '.millrace.toml'}"
                given.append(argument)
            result = subprocess.run([options.millrace, *given], capture_output=True, text=True)
            if result.returncode != 0:
                yield f"{owner}: millrace {' '.join(given)}: {result.stderr.strip() or result.returncode}"
            for line in result.stderr.splitlines() if result.returncode == 0 else []:
                # The one is as it is meant, the other is about databases that Heapster wrote.
                if "there is no sink" not in line and "takes effect" not in line:
                    yield f"{owner}: millrace says: {line}"
            listening = {port["containerPort"] for port in container["ports"]}
            for line in result.stdout.splitlines():
                key, _, value = line.partition(" ")
                if key in ("http", "secure"):
                    port = int(value.strip().partition(",")[0].rpartition(":")[2])
                    if port not in listening:
                        yield f"{owner}: port {port} is not among those of the container"


def config_map(objects, spec, volume):
    names = [v["configMap"]["name"] for v in spec["volumes"] if v["name"] == volume]
    return next((o["data"] for o in objects if o["kind"] == "ConfigMap" and o["metadata"]["name"] in names), {})


def directories(text):
    found = tomllib.loads(text).get("rules", {}).get("dir", [])
    return [found] if isinstance(found, str) else found


if __name__ == "__main__":
    main()
