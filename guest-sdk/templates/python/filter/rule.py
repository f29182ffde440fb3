"""Drops every container that uses less CPU than a floor.

    [settings]
    min-millicores = 5
"""

import millrace
from millrace import CONTAINER, Refusal


class {{Type}}(millrace.Rule):
    schema = {
        "type": "object",
        "required": ["min-millicores"],
        "additionalProperties": False,
        "properties": {"min-millicores": {"type": "integer", "minimum": 1}},
    }

    def configure(self, settings):
        self.min_millicores = settings["min-millicores"]
        if self.min_millicores < 1:
            raise Refusal("`min-millicores` is less than 1; nothing would ever be dropped")

    def process(self, batch, edit, cycle):
        for container in batch.entities(CONTAINER):
            used = container.value("cpu/usage_rate")
            if used is not None and used < self.min_millicores:
                edit.drop_entity(container)


Rule = millrace.exported({{Type}})
