// Makes a component of rule.js. All of WASI is left out: the engine then has no clock, no files, no
// network and no randomness of its own, and the component imports what the contract says only.
import { componentize } from '@bytecodealliance/componentize-js';
import { writeFile } from 'node:fs/promises';

const [sourcePath, witPath, out] = process.argv.slice(2);
try {
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
