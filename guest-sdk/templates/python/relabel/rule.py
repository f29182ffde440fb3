"""Copies labels that Kubernetes knows of a pod into labels of its series.

    [settings.copy]
    app = "app.kubernetes.io/name"     # series label = pod label
"""

import millrace
from millrace import Refusal


class {{Type}}(millrace.Rule):
    schema = {
        "type": "object",
        "required": ["copy"],
        "additionalProperties": False,
        "properties": {"copy": {"type": "object", "additionalProperties": {"type": "string"}}},
    }

    def configure(self, settings):
        # What the host knows of a pod's labels stands in labels for rules only.
        self.copy = [(to, f"__label_{source}") for to, source in settings["copy"].items()]
        if not self.copy:
            raise Refusal("`copy` is empty; name at least one label")

    def process(self, batch, edit, cycle):
        for to, source in self.copy:
            # Looked up once: comparing symbols is comparing strings.
            name = batch.symbol(source)
            if name is None:
                continue
            for entity in batch.all():
                value = entity.label_symbol(name)
                if value is not None:
                    edit.set_label(entity, to, value)


Rule = millrace.exported({{Type}})
