"""A small kit for rules in Python: rows over a batch's columns, and edits.

The contract itself is wit/rule.wit. Strings are numbers in it, "symbols": looking one up once a batch and
comparing numbers is cheaper than comparing strings.
"""

import json
import math
import struct

from about import NAME, VERSION
from componentize_py_types import Err
from wit_world import exports
from wit_world.exports import rule as wit
from wit_world.imports import host

CLUSTER, NODE, NAMESPACE, POD, CONTAINER, SYSTEM_CONTAINER, OTHER = range(7)

_UNKNOWN_AT = -(2**31)
_REMOVED = 2**32 - 1
_KINDS = {"integer": int, "number": (int, float), "string": str, "boolean": bool, "array": list, "object": dict}


class Refusal(Exception):
    """In `configure`: the settings are wrong, and the rule is not loaded. In `process` and `finish`: this batch
    can't be processed. Any other exception ends the rule's instance, and its state with it."""


def log(severity, message):
    """A line in Millrace's log under the rule's name: "debug", "info", "warn" or "error"."""
    host.log(host.Severity[severity.upper()], message)


def count(counter, by):
    """Adds to a counter of the rule's own, shown in Millrace's metrics."""
    host.count(counter, by)


class Rule:
    """What a rule is made of. Each part may be left out."""

    # A JSON Schema of the settings; what is not in it is refused.
    schema = {"type": "object", "additionalProperties": False, "properties": {}}

    def configure(self, settings):
        """Takes the settings, a dict."""

    def process(self, batch, edit, cycle):
        """Answers the batch of one node, or the totals that an earlier rule made."""

    def finish(self, cycle, edit):
        """The end of a cycle: adds totals."""


def exported(made):
    """What rule.py must name `Rule`: a class that speaks the contract for a rule of the class `made`."""
    # The contract's own class is made anew for each call; the rule, and its state, are not.
    rule = made()

    class Exported(exports.Rule):
        def describe(self):
            return wit.Description(NAME, VERSION, "python/0.1.0", json.dumps(rule.schema))

        def configure(self, settings):
            with _Guard(wit.Error_Settings):
                rule.configure(_checked(json.loads(settings or "{}"), rule.schema))

        def process(self, cycle, batch):
            with _Guard(wit.Error_Batch):
                batch = Batch(batch)
                edit = Edit(batch)
                rule.process(batch, edit, cycle)
                return edit.columns()

        def finish(self, cycle):
            with _Guard(wit.Error_Batch):
                edit = Edit(None)
                rule.finish(cycle, edit)
                return edit.columns()

    return Exported


class _Guard:
    """Makes exceptions what the contract knows."""

    def __init__(self, refusal):
        self.refusal = refusal

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if isinstance(error, Refusal):
            raise Err(self.refusal(str(error))) from None
        if isinstance(error, Exception):
            raise Err(wit.Error_Fatal(_told(error, trace))) from None
        return False


def _told(error, trace):
    """An exception with the lines it went through. `traceback` would read the sources, and there are no files."""
    lines = [f"{type(error).__name__}: {error}"]
    while trace:
        code = trace.tb_frame.f_code
        lines.append(f"{code.co_filename}:{trace.tb_lineno} in {code.co_name}")
        trace = trace.tb_next
    return "\n".join(lines)


def _checked(settings, schema):
    known = schema.get("properties", {})
    for key in settings:
        if key not in known:
            expected = ", ".join(f"`{name}`" for name in known) or "none"
            raise Refusal(f"unknown field `{key}`, expected {expected}")
    for key in schema.get("required", []):
        if key not in settings:
            raise Refusal(f"missing field `{key}`")
    for key, value in settings.items():
        _check_kind(f"`{key}`", value, known[key])
    return settings


def _check_kind(place, value, about):
    kind = about.get("type")
    fits = kind is None or isinstance(value, _KINDS[kind]) and (kind == "boolean" or not isinstance(value, bool))
    if not fits:
        raise Refusal(f"{place} is {json.dumps(value)}; write a value of type {kind}")
    if kind == "array" and "items" in about:
        for at, one in enumerate(value):
            _check_kind(f"{place}, {at},", one, about["items"])
    if kind == "object" and isinstance(about.get("additionalProperties"), dict):
        for key, one in value.items():
            _check_kind(f"{place}, {key},", one, about["additionalProperties"])


class Batch:
    """One node's measurements of one cycle, or the totals that an earlier rule made."""

    def __init__(self, raw):
        self.raw = raw
        self._symbols = {}
        self._rows = {}

    @property
    def node(self):
        """The node's name; None if the batch is of totals."""
        origin = self.raw.origin
        return origin.value if isinstance(origin, wit.Origin_Node) else None

    def text(self, symbol):
        """The string of a symbol."""
        symbols = self.raw.symbols
        return symbols.text[symbols.ends[symbol - 1] if symbol else 0 : symbols.ends[symbol]].decode()

    def symbol(self, text):
        """The symbol of a string; None if nothing in the batch has it."""
        if text not in self._symbols:
            self._symbols[text] = self._find(text.encode())
        return self._symbols[text]

    def _find(self, wanted):
        start, all_text = 0, self.raw.symbols.text
        for symbol, end in enumerate(self.raw.symbols.ends):
            if end - start == len(wanted) and all_text[start:end] == wanted:
                return symbol
            start = end
        return None

    def metric(self, name):
        """The row of a metric; None if the batch does not have it."""
        if name not in self._rows:
            symbol, names = self.symbol(name), self.raw.metrics.name
            self._rows[name] = names.index(symbol) if symbol in names else None
        return self._rows[name]

    def all(self):
        """Every entity, the node first."""
        return (Entity(self, row) for row in range(len(self.raw.entities.level)))

    def entities(self, level):
        """Every entity of a level."""
        return (Entity(self, row) for row, other in enumerate(self.raw.entities.level) if other == level)


class Entity:
    """One monitored thing."""

    __slots__ = ("batch", "row")

    def __init__(self, batch, row):
        self.batch = batch
        self.row = row

    @property
    def level(self):
        return self.batch.raw.entities.level[self.row]

    def label(self, name):
        """A label's value; None if it does not have it."""
        value = self.label_symbol(self.batch.symbol(name))
        return None if value is None else self.batch.text(value)

    def label_symbol(self, name):
        """The same, symbol for symbol."""
        entities = self.batch.raw.entities
        for at in range(entities.label_ends[self.row - 1] if self.row else 0, entities.label_ends[self.row]):
            if entities.label_names[at] == name:
                return entities.label_values[at]
        return None

    def points(self):
        """The rows of its points."""
        ends = self.batch.raw.entities.point_ends
        return range(ends[self.row - 1] if self.row else 0, ends[self.row])

    def point(self, name):
        """The row of its point of a metric without labels of its own; None if it has none."""
        metric, columns = self.batch.metric(name), self.batch.raw.points
        if metric is None:
            return None
        return next((row for row in self.points() if columns.metric[row] == metric and columns.labels[row] == 0), None)

    def value(self, name):
        """Its value of a metric, an int or a float as the metric is; None if it has none."""
        point = self.point(name)
        if point is None:
            return None
        bits, raw = self.batch.raw.points.bits[point], self.batch.raw
        if raw.metrics.value[raw.points.metric[point]]:
            return struct.unpack("<d", struct.pack("<Q", bits))[0]
        return bits - 2**64 if bits >> 63 else bits


class _Points:
    def __init__(self):
        self.metric, self.bits = [], []

    def push(self, metric, value):
        row, is_float = metric
        if is_float:
            if not math.isfinite(value):
                raise ValueError(f"{value} is no value of a point")
            bits = struct.unpack("<Q", struct.pack("<d", value))[0]
        else:
            if not -(2**63) <= value < 2**63:
                raise ValueError(f"{value} does not fit into 64 bits")
            bits = int(value) & (2**64 - 1)
        self.metric.append(row)
        self.bits.append(bits)

    def columns(self):
        rows = len(self.metric)
        return wit.Points(self.metric, [0] * rows, [_UNKNOWN_AT] * rows, self.bits)


class Edit:
    """The answer to a batch. What is not mentioned stays as it was."""

    def __init__(self, batch):
        self._batch = batch
        self._keep_entities, self._keep_points = bytearray(), bytearray()
        self._relabelled = ([], [], [])
        self._symbols, self._text, self._ends = {}, bytearray(), []
        self._known, self._metrics = {}, ([], [], bytearray(), bytearray(), bytearray())
        self._entities = wit.Entities(bytearray(), [], [], [], [], [])
        self._new_points, self._added = _Points(), []

    def drop_entity(self, entity):
        """Drops an entity with all its points."""
        if not self._keep_entities:
            self._keep_entities = bytearray(b"\1") * len(self._batch.raw.entities.level)
        self._keep_entities[entity.row] = 0

    def drop_point(self, point):
        """Drops one point by its row."""
        if not self._keep_points:
            self._keep_points = bytearray(b"\1") * len(self._batch.raw.points.metric)
        self._keep_points[point] = 0

    def symbol(self, text):
        """The symbol of a string."""
        symbol = self._batch.symbol(text) if self._batch else None
        symbol = self._symbols.get(text) if symbol is None else symbol
        if symbol is None:
            self._text += text.encode()
            self._ends.append(len(self._text))
            before = len(self._batch.raw.symbols.ends) if self._batch else 0
            symbol = self._symbols[text] = before + len(self._ends) - 1
        return symbol

    def set_label(self, entity, name, value):
        """Sets a label of an entity; name and value are strings or symbols."""
        symbols = (it if isinstance(it, int) else self.symbol(it) for it in (name, value))
        for column, one in zip(self._relabelled, (entity.row, *symbols)):
            column.append(one)

    def remove_label(self, entity, name):
        """Removes a label of an entity, if it has it."""
        self.set_label(entity, name, _REMOVED)

    def metric(self, name, unit="", kind="gauge", value="int", merge="sum"):
        """A metric to add points of. kind: "gauge" or "cumulative"; value: "int" or "float"; merge, how two values
        of one series combine: "sum", "min" or "max"."""
        if name not in self._known:
            row = (
                self.symbol(name),
                self.symbol(unit),
                ("gauge", "cumulative").index(kind),
                ("int", "float").index(value),
                ("sum", "min", "max").index(merge),
            )
            for column, one in zip(self._metrics, row):
                column.append(one)
            before = len(self._batch.raw.metrics.name) if self._batch else 0
            self._known[name] = (before + len(self._known), value == "float")
        return self._known[name]

    def add(self, entity, metric, value):
        """Adds a point to an entity of the batch."""
        self._added.append((entity.row, metric, value))

    def add_entity(self, level, labels, *points):
        """Adds an entity with labels, a dict, and points: pairs of a metric and a value."""
        entities = self._entities
        entities.level.append(level)
        for name, value in labels.items():
            entities.label_names.append(self.symbol(name))
            entities.label_values.append(self.symbol(value))
        entities.label_ends.append(len(entities.label_names))
        entities.started_at.append(0)
        for metric, value in points:
            self._new_points.push(metric, value)
        entities.point_ends.append(len(self._new_points.metric))

    def columns(self):
        """What the contract wants. Used by the kit."""
        # The contract wants them by entity; the order of an entity's own points stays.
        self._added.sort(key=lambda one: one[0])
        added = _Points()
        for _, metric, value in self._added:
            added.push(metric, value)
        name, unit, *kinds = self._metrics
        self._entities.level = bytes(self._entities.level)
        return wit.Edit(
            bytes(self._keep_entities),
            bytes(self._keep_points),
            *self._relabelled,
            wit.Symbols(bytes(self._text), self._ends),
            wit.Metrics(name, unit, *map(bytes, kinds)),
            wit.LabelSets([], [], []),
            self._entities,
            self._new_points.columns(),
            [entity for entity, _, _ in self._added],
            added.columns(),
        )
