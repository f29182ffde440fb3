"""Adds a metric of all pods up by some of their labels, and gives the sums once a cycle.

    [settings]
    metric = "memory/usage"
    by = ["namespace_name"]
"""

import millrace
from millrace import OTHER, POD, Refusal

# Whoever may name a pod chooses how many groups there are.
MOST_GROUPS = 10_000


class {{Type}}(millrace.Rule):
    schema = {
        "type": "object",
        "required": ["metric", "by"],
        "additionalProperties": False,
        "properties": {
            "metric": {"type": "string"},
            "by": {"type": "array", "items": {"type": "string"}, "minItems": 1},
        },
    }

    def configure(self, settings):
        self.metric, self.by = settings["metric"], settings["by"]
        # Kept from batch to batch until the cycle ends.
        self.sums = {}
        if not self.by:
            raise Refusal("`by` is empty; name at least one label")

    def process(self, batch, edit, cycle):
        for pod in batch.entities(POD):
            value = pod.value(self.metric)
            group = tuple(pod.label(name) or "" for name in self.by)
            if isinstance(value, int) and (group in self.sums or len(self.sums) < MOST_GROUPS):
                self.sums[group] = self.sums.get(group, 0) + value

    def finish(self, cycle, edit):
        total = edit.metric(self.metric)
        for group, value in self.sums.items():
            edit.add_entity(OTHER, dict(zip(self.by, group)), (total, value))
        self.sums.clear()


Rule = millrace.exported({{Type}})
