#!/usr/bin/env python3
"""Prints the rules of the PrometheusRule objects in a YAML file as a rule file, for promtool and Prometheus."""

import pathlib
import sys

import yaml

objects = yaml.safe_load_all(pathlib.Path(sys.argv[1]).read_text())
groups = [g for o in objects if o and o["kind"] == "PrometheusRule" for g in o["spec"]["groups"]]
yaml.safe_dump({"groups": groups}, sys.stdout, sort_keys=False, width=1000)
