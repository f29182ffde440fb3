// Copies labels that Kubernetes knows of a pod into labels of its series.
//
//   [settings.copy]
//   app = "app.kubernetes.io/name"     # series label = pod label
import { Refusal, rule as made } from './millrace.js';

let copy;

export const rule = made({
  schema: {
    type: 'object',
    required: ['copy'],
    additionalProperties: false,
    properties: { copy: { type: 'object', additionalProperties: { type: 'string' } } },
  },

  configure(settings) {
    // What the host knows of a pod's labels stands in labels for rules only.
    copy = Object.entries(settings.copy).map(([to, from]) => [to, `__label_${from}`]);
    if (copy.length === 0) throw new Refusal('`copy` is empty; name at least one label');
  },

  process(batch, edit) {
    for (const [to, from] of copy) {
      // Looked up once: comparing symbols is comparing strings.
      const name = batch.symbol(from);
      if (name === undefined) continue;
      for (const entity of batch.all()) {
        const value = entity.labelSymbol(name);
        if (value !== undefined) edit.setLabel(entity, to, value);
      }
    }
  },
});
