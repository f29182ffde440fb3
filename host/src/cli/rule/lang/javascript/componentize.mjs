// Makes a component of rule.js. All of WASI is left out: the engine then has no clock, no files, no
// network and no randomness of its own, and the component imports what the contract says only.
import { componentize } from '@bytecodealliance/componentize-js';
import oxc from 'oxc-parser';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

const [sourcePath, witPath, out] = process.argv.slice(2);
try {
  await checkSyntax(dirname(sourcePath));
  const { component } = await componentize({
    sourcePath,
    witPath,
    worldName: 'millrace-rule',
    disableFeatures: ['random', 'stdio', 'clocks', 'http', 'fetch-event'],
  });
  await writeFile(out, component);
} catch (error) {
  console.error(String(error.message ?? error));
  process.exitCode = 1;
}

// componentize-js says only how many errors there are.
async function checkSyntax(folder) {
  for (const name of await readdir(folder, { recursive: true })) {
    if (!/\.m?js$/.test(name)) continue;
    const source = await readFile(join(folder, name), 'utf8');
    const { errors } = oxc.parseSync(name, source, { sourceType: 'module' });
    const told = errors.map(({ message, codeframe }) => `${name}: ${codeframe ?? message}`);
    if (told.length > 0) throw new Error(told.join('\n'));
  }
}
