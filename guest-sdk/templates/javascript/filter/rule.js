// Drops every container that uses less CPU than a floor.
//
//   [settings]
//   min-millicores = 5
import { Level, Refusal, rule as made } from './millrace.js';

let minMillicores;

export const rule = made({
  schema: {
    type: 'object',
    required: ['min-millicores'],
    additionalProperties: false,
    properties: { 'min-millicores': { type: 'integer', minimum: 1 } },
  },

  configure(settings) {
    minMillicores = settings['min-millicores'];
    if (minMillicores < 1) {
      throw new Refusal('`min-millicores` is less than 1; nothing would ever be dropped');
    }
  },

  process(batch, edit) {
    for (const container of batch.entities(Level.CONTAINER)) {
      if (container.int('cpu/usage_rate') < minMillicores) edit.dropEntity(container);
    }
  },
});
