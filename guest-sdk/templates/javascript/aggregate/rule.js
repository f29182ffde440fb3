// Adds a metric of all pods up by some of their labels, and gives the sums once a cycle.
//
//   [settings]
//   metric = "memory/usage"
//   by = ["namespace_name"]
import { Level, Refusal, rule as made } from './millrace.js';

// Whoever may name a pod chooses how many groups there are.
const MOST_GROUPS = 10000;

let metric;
let by;
// Kept from batch to batch until the cycle ends: labels and sum of each group.
const sums = new Map();

export const rule = made({
  schema: {
    type: 'object',
    required: ['metric', 'by'],
    additionalProperties: false,
    properties: { metric: { type: 'string' }, by: { type: 'array', items: { type: 'string' }, minItems: 1 } },
  },

  configure(settings) {
    ({ metric, by } = settings);
    if (by.length === 0) throw new Refusal('`by` is empty; name at least one label');
  },

  process(batch) {
    for (const pod of batch.entities(Level.POD)) {
      const value = pod.exact(metric);
      const labels = by.map((name) => pod.label(name) ?? '');
      const key = JSON.stringify(labels);
      if (value === undefined || (sums.size >= MOST_GROUPS && !sums.has(key))) continue;
      sums.set(key, { labels, sum: (sums.get(key)?.sum ?? 0n) + value });
    }
  },

  finish(cycle, edit) {
    const total = edit.metric({ name: metric });
    for (const { labels, sum } of sums.values()) {
      edit.addEntity(Level.OTHER, Object.fromEntries(by.map((name, at) => [name, labels[at]])), [total, sum]);
    }
    sums.clear();
  },
});
