// A small kit for rules in JavaScript: rows over a batch's columns, and edits. The contract itself is
// wit/rule.wit. Strings are numbers in it, "symbols": looking one up once a batch and comparing numbers
// is much cheaper than comparing strings.
import * as host from 'millrace:rule/host@0.1.0';
import { name, version } from './about.js';

export const Level = Object.freeze({
  CLUSTER: 0, NODE: 1, NAMESPACE: 2, POD: 3, CONTAINER: 4, SYSTEM_CONTAINER: 5, OTHER: 6,
});

// Throw it in `configure`: the settings are wrong, and the rule is not loaded. In `process` and `finish`:
// this batch can't be processed. What else is thrown ends the rule's instance, and its state with it.
export class Refusal extends Error {}

// A line in Millrace's log under the rule's name: 'debug', 'info', 'warn' or 'error'.
export function log(severity, message) {
  host.log(severity, message);
}

// Adds to a counter of the rule's own, shown in Millrace's metrics.
export function count(counter, by) {
  host.count(counter, BigInt(by));
}

// Makes a rule of its parts: { schema, configure(settings), process(batch, edit, cycle), finish(cycle, edit) }.
// `schema` is a JSON Schema of the settings, and what is not in it is refused.
export function rule({ schema, configure, process, finish }) {
  const guarded = (kind, work) => {
    try {
      return work();
    } catch (error) {
      if (error instanceof Refusal) throw { tag: kind, val: error.message };
      throw { tag: 'fatal', val: `${error}\n${error?.stack ?? ''}` };
    }
  };
  return {
    describe: () => ({ name, version, sdk: 'javascript/0.1.0', settingsSchema: JSON.stringify(schema) }),
    configure: (text) => guarded('settings', () => configure?.(checked(JSON.parse(text || '{}'), schema))),
    process: (cycle, raw) => guarded('batch', () => {
      const batch = new Batch(raw);
      const edit = new Edit(batch);
      process?.(batch, edit, cycle);
      return edit.columns();
    }),
    finish: (cycle) => guarded('batch', () => {
      const edit = new Edit(null);
      finish?.(cycle, edit);
      return edit.columns();
    }),
  };
}

const kinds = {
  integer: Number.isInteger,
  number: Number.isFinite,
  string: (value) => typeof value === 'string',
  boolean: (value) => typeof value === 'boolean',
  array: Array.isArray,
  object: (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
};

function checked(settings, schema) {
  const known = Object.keys(schema.properties ?? {});
  for (const key of Object.keys(settings)) {
    if (!known.includes(key)) {
      throw new Refusal(`unknown field \`${key}\`, expected ${known.map((it) => `\`${it}\``).join(', ') || 'none'}`);
    }
  }
  for (const key of schema.required ?? []) {
    if (!(key in settings)) throw new Refusal(`missing field \`${key}\``);
  }
  for (const [key, value] of Object.entries(settings)) checkKind(`\`${key}\``, value, schema.properties[key]);
  return settings;
}

function checkKind(place, value, about) {
  if (about.type && !kinds[about.type](value)) {
    throw new Refusal(`${place} is ${JSON.stringify(value)}; write a value of type ${about.type}`);
  }
  const inner = Array.isArray(value) ? about.items : about.additionalProperties;
  if (typeof inner === 'object' && typeof value === 'object') {
    for (const [key, one] of Object.entries(value)) checkKind(`${place}, ${key},`, one, inner);
  }
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const UNKNOWN_AT = -0x80000000;
const REMOVED = 0xffffffff;

// One node's measurements of one cycle, or the totals that an earlier rule made.
export class Batch {
  constructor(raw) {
    this.raw = raw;
    const { buffer, byteOffset, length } = raw.points.bits;
    this.ints = new BigInt64Array(buffer, byteOffset, length);
    this.floats = new Float64Array(buffer, byteOffset, length);
    this.halves = new Int32Array(buffer, byteOffset, 2 * length);
    this.symbols = new Map();
    this.rows = new Map();
  }

  // The node's name; undefined if the batch is of totals.
  get node() {
    return this.raw.origin.tag === 'node' ? this.raw.origin.val : undefined;
  }

  // The string of a symbol.
  text(symbol) {
    const { text, ends } = this.raw.symbols;
    return decoder.decode(text.subarray(symbol ? ends[symbol - 1] : 0, ends[symbol]));
  }

  // The symbol of a string; undefined if nothing in the batch has it.
  symbol(text) {
    if (!this.symbols.has(text)) this.symbols.set(text, this.#find(text));
    return this.symbols.get(text);
  }

  #find(text) {
    const wanted = encoder.encode(text);
    const { text: all, ends } = this.raw.symbols;
    for (let symbol = 0, start = 0; symbol < ends.length; start = ends[symbol], symbol++) {
      if (ends[symbol] - start !== wanted.length) continue;
      let at = 0;
      while (at < wanted.length && all[start + at] === wanted[at]) at++;
      if (at === wanted.length) return symbol;
    }
    return undefined;
  }

  // The row of a metric; undefined if the batch does not have it.
  metric(name) {
    if (!this.rows.has(name)) {
      const symbol = this.symbol(name);
      const row = symbol === undefined ? -1 : this.raw.metrics.name.indexOf(symbol);
      this.rows.set(name, row < 0 ? undefined : row);
    }
    return this.rows.get(name);
  }

  // Every entity, the node first.
  *all() {
    for (let row = 0; row < this.raw.entities.level.length; row++) yield new Entity(this, row);
  }

  // Every entity of a level.
  *entities(level) {
    const levels = this.raw.entities.level;
    for (let row = levels.indexOf(level); row >= 0; row = levels.indexOf(level, row + 1)) yield new Entity(this, row);
  }
}

// One monitored thing.
export class Entity {
  constructor(batch, row) {
    this.batch = batch;
    this.row = row;
  }

  get level() {
    return this.batch.raw.entities.level[this.row];
  }

  // A label's value; undefined if it does not have it.
  label(name) {
    const value = this.labelSymbol(this.batch.symbol(name));
    return value === undefined ? undefined : this.batch.text(value);
  }

  // The same, symbol for symbol.
  labelSymbol(name) {
    const { labelEnds, labelNames, labelValues } = this.batch.raw.entities;
    for (let at = this.row ? labelEnds[this.row - 1] : 0; at < labelEnds[this.row]; at++) {
      if (labelNames[at] === name) return labelValues[at];
    }
    return undefined;
  }

  // The rows of its points: [first, end).
  get points() {
    const ends = this.batch.raw.entities.pointEnds;
    return [this.row ? ends[this.row - 1] : 0, ends[this.row]];
  }

  // The row of its point of a metric without labels of its own; undefined if it has none.
  point(name) {
    const metric = this.batch.metric(name);
    if (metric === undefined) return undefined;
    const { metric: metrics, labels } = this.batch.raw.points;
    const [first, end] = this.points;
    for (let point = first; point < end; point++) {
      if (metrics[point] === metric && labels[point] === 0) return point;
    }
    return undefined;
  }

  // Its value of a metric of whole numbers; what is past 2^53 is rounded (`exact` is not).
  int(name) {
    const point = this.point(name);
    if (point === undefined || this.#isFloat(point)) return undefined;
    return this.batch.halves[2 * point + 1] * 0x100000000 + (this.batch.halves[2 * point] >>> 0);
  }

  // The same as a BigInt.
  exact(name) {
    const point = this.point(name);
    return point === undefined || this.#isFloat(point) ? undefined : this.batch.ints[point];
  }

  // Its value of a metric of floating point numbers.
  float(name) {
    const point = this.point(name);
    return point !== undefined && this.#isFloat(point) ? this.batch.floats[point] : undefined;
  }

  #isFloat(point) {
    const { metrics, points } = this.batch.raw;
    return metrics.value[points.metric[point]] === 1;
  }
}

class Points {
  metric = [];
  at = [];
  bits = [];

  push(metric, type, value) {
    this.metric.push(metric);
    this.at.push(UNKNOWN_AT);
    this.bits.push(bits(type, value));
  }

  columns() {
    const { metric, at, bits } = this;
    return {
      metric: Uint32Array.from(metric), labels: new Uint32Array(metric.length),
      at: Int32Array.from(at), bits: BigUint64Array.from(bits),
    };
  }
}

const float = new Float64Array(1);
const bitsOf = new BigUint64Array(float.buffer);

function bits(type, value) {
  if (type === 0) {
    const whole = typeof value === 'bigint' ? value : BigInt(Math.round(value));
    if (BigInt.asIntN(64, whole) !== whole) throw new RangeError(`${whole} does not fit into 64 bits`);
    return BigInt.asUintN(64, whole);
  }
  float[0] = Number(value);
  if (!Number.isFinite(float[0])) throw new RangeError(`${value} is no value of a point`);
  return bitsOf[0];
}

// The answer to a batch. What is not mentioned stays as it was.
export class Edit {
  #batch;
  #keepEntities;
  #keepPoints;
  #relabelled = { entity: [], name: [], value: [] };
  #symbols = new Map();
  #text = [];
  #ends = [];
  #metrics = { name: [], unit: [], kind: [], value: [], merge: [] };
  #known = new Map();
  #entities = { level: [], labelEnds: [], labelNames: [], labelValues: [], pointEnds: [] };
  #newPoints = new Points();
  #added = [];

  constructor(batch) {
    this.#batch = batch;
  }

  // Drops an entity with all its points.
  dropEntity(entity) {
    this.#keepEntities ??= new Uint8Array(this.#batch.raw.entities.level.length).fill(1);
    this.#keepEntities[entity.row] = 0;
  }

  // Drops one point by its row.
  dropPoint(point) {
    this.#keepPoints ??= new Uint8Array(this.#batch.raw.points.metric.length).fill(1);
    this.#keepPoints[point] = 0;
  }

  // The symbol of a string.
  symbol(text) {
    let symbol = this.#batch?.symbol(text) ?? this.#symbols.get(text);
    if (symbol === undefined) {
      for (const byte of encoder.encode(text)) this.#text.push(byte);
      symbol = (this.#batch?.raw.symbols.ends.length ?? 0) + this.#ends.push(this.#text.length) - 1;
      this.#symbols.set(text, symbol);
    }
    return symbol;
  }

  // Sets a label of an entity; name and value are strings or symbols.
  setLabel(entity, name, value) {
    const symbol = (it) => (typeof it === 'number' ? it : this.symbol(it));
    this.#relabelled.entity.push(entity.row);
    this.#relabelled.name.push(symbol(name));
    this.#relabelled.value.push(symbol(value));
  }

  // Removes a label of an entity, if it has it.
  removeLabel(entity, name) {
    this.setLabel(entity, name, REMOVED);
  }

  // A metric to add points of. kind: 'gauge' or 'cumulative'; value: 'int' or 'float'; merge, how two
  // values of one series combine: 'sum', 'min' or 'max'.
  metric({ name, unit = '', kind = 'gauge', value = 'int', merge = 'sum' }) {
    if (!this.#known.has(name)) {
      const type = value === 'float' ? 1 : 0;
      this.#metrics.unit.push(this.symbol(unit));
      this.#metrics.kind.push(kind === 'cumulative' ? 1 : 0);
      this.#metrics.value.push(type);
      this.#metrics.merge.push(['sum', 'min', 'max'].indexOf(merge));
      const row = (this.#batch?.raw.metrics.name.length ?? 0) + this.#metrics.name.push(this.symbol(name)) - 1;
      this.#known.set(name, { row, type });
    }
    return this.#known.get(name);
  }

  // Adds a point to an entity of the batch.
  add(entity, metric, value) {
    this.#added.push({ entity: entity.row, metric, value });
  }

  // Adds an entity with labels, an object, and points: pairs of a metric and a value.
  addEntity(level, labels, ...points) {
    const entities = this.#entities;
    entities.level.push(level);
    for (const [name, value] of Object.entries(labels)) {
      entities.labelNames.push(this.symbol(name));
      entities.labelValues.push(this.symbol(value));
    }
    entities.labelEnds.push(entities.labelNames.length);
    for (const [metric, value] of points) this.#newPoints.push(metric.row, metric.type, value);
    entities.pointEnds.push(this.#newPoints.metric.length);
  }

  // What the contract wants. Used by the kit.
  columns() {
    const u8 = (list) => Uint8Array.from(list);
    const u32 = (list) => Uint32Array.from(list);
    const { name, unit, kind, value, merge } = this.#metrics;
    const { level, labelEnds, labelNames, labelValues, pointEnds } = this.#entities;
    // The contract wants them by entity; the order of an entity's own points stays.
    this.#added.sort((a, b) => a.entity - b.entity);
    const added = new Points();
    for (const { metric, value } of this.#added) added.push(metric.row, metric.type, value);
    return {
      keepEntities: this.#keepEntities ?? u8([]),
      keepPoints: this.#keepPoints ?? u8([]),
      relabelEntity: u32(this.#relabelled.entity),
      relabelName: u32(this.#relabelled.name),
      relabelValue: u32(this.#relabelled.value),
      newSymbols: { text: u8(this.#text), ends: u32(this.#ends) },
      newMetrics: { name: u32(name), unit: u32(unit), kind: u8(kind), value: u8(value), merge: u8(merge) },
      newLabelSets: { ends: u32([]), names: u32([]), values: u32([]) },
      newEntities: {
        level: u8(level), labelEnds: u32(labelEnds), labelNames: u32(labelNames), labelValues: u32(labelValues),
        startedAt: new BigInt64Array(level.length), pointEnds: u32(pointEnds),
      },
      newPoints: this.#newPoints.columns(),
      addedEntity: u32(this.#added.map(({ entity }) => entity)),
      added: added.columns(),
    };
  }
}
