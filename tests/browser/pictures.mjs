/**
 * Makes the pictures of docs/scores.md: what `driftline compare` says of rows that were changed in some way, as a browser shows it.
 * `tests/run pictures` calls it; pictures.py made the rows.
 */

import { spawnSync } from 'node:child_process';
import { readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

import { launch } from './browser.mjs';

const [folder, output] = process.argv.slice(2);
const driftline = path.join(process.env.DRIFTLINE_BINARIES ?? '', 'driftline');
const names = readdirSync(folder).map((file) => path.parse(file)).filter(({ ext, name }) => ext === '.parquet' && name !== 'normal');

const browser = await launch();
try {
  const page = await browser.newPage({ viewport: { width: 760, height: 600 }, colorScheme: 'light' });
  for (const { name } of names) {
    const report = path.join(folder, `${name}.html`);
    const files = [path.join(folder, 'normal.parquet'), path.join(folder, `${name}.parquet`)];
    const column = name === 'renamed' ? 'carrier' : 'temp';
    const ran = spawnSync(driftline, ['compare', ...files, '--column', column, '--score', 'psi,ks', '--format', 'html', '--output', report]);
    if (ran.status === null || ran.status > 2) throw new Error(`${name}: ${ran.stderr}`);
    await page.goto(pathToFileURL(report).href);
    writeFileSync(path.join(output, `${name}.png`), await page.locator('article.panel').screenshot());
  }
} finally {
  await browser.close();
}
