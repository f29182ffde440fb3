// Holds the dashboards' JSON against Grafana's own schema, as types: writes each into a TypeScript file as a
// value of those types, in which nothing unknown is allowed, and lets the compiler judge.
//
//     node dashboards.mjs FOLDER-WITH-NODE_MODULES DASHBOARD.json...
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';

const [folder, ...files] = process.argv.slice(2);
const kinds = { bargauge: 'BarGauge', stat: 'Stat', table: 'Table', timeseries: 'TimeSeries' };
const withFields = ['table', 'timeseries'];

let source = `import type { Dashboard, Panel } from '@grafana/schema';
// JSON has the words of an enumeration, not its members.
type Plain<T> = T extends string ? \`\${T}\` : T extends number ? number : T extends (infer U)[] ? Plain<U>[]
  : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;
`;
for (const [kind, name] of Object.entries(kinds)) {
  source += `import type * as ${kind} from '@grafana/schema/dist/esm/raw/composable/${kind}/panelcfg/x/${name}PanelCfg_types.gen';\n`;
}
for (const file of files) {
  const dashboard = JSON.parse(readFileSync(file, 'utf8'));
  const name = basename(file, '.json').replace(/\W/g, '_');
  source += `// ${file}\nexport const ${name}: Plain<Dashboard> = ${JSON.stringify(dashboard, null, 1)};\n`;
  for (const panel of dashboard.panels.filter((panel) => panel.type !== 'row')) {
    if (!(panel.type in kinds)) throw new Error(`${file}: "${panel.title}" is of an unknown type, ${panel.type}`);
    const wanted = { options: [panel.options, `Plain<Partial<${panel.type}.Options>>`], whole: [panel, 'Plain<Panel>'] };
    const { custom } = panel.fieldConfig.defaults;
    if (custom && withFields.includes(panel.type)) wanted.custom = [custom, `Plain<Partial<${panel.type}.FieldConfig>>`];
    for (const [part, [value, type]] of Object.entries(wanted)) {
      source += `// ${panel.title}\nexport const ${name}_${panel.id}_${part}: ${type} = ${JSON.stringify(value, null, 1)};\n`;
    }
  }
}
const checked = join(folder, 'dashboards.ts');
writeFileSync(checked, source);
const compiler = join(folder, 'node_modules/typescript/bin/tsc');
const options = ['--noEmit', '--strict', '--skipLibCheck', '--module', 'nodenext', '--target', 'es2022'];
const { status } = spawnSync(process.execPath, [compiler, ...options, checked], { stdio: 'inherit' });
process.exit(status ?? 1);
