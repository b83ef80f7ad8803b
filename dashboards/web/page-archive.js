/** The archive: how much lies where, how to query it, and its newest files. */

import { paths } from './api.js';
import { ago } from './clock.js';
import { element, h, patch } from './dom.js';
import { bytes, count, instant, span } from './format.js';
import { watch } from './live.js';
import { modelPath, setTitle } from './navigate.js';

/** @typedef {import('./api.js').Archive} Archive */

const NEWEST = 100;

/** @type {import('./app.js').Page} */
export function archivePage(host) {
  setTitle('Archive');
  const content = element('div', { class: 'stack' });
  patch(host, h('div', { class: 'page-head' }, h('h1', null, 'Archive'),
    h('p', { class: 'lead' }, 'Every row that was captured, as Parquet: readable as it lies by DuckDB, Spark, Polars and pandas.')), content);
  /** What was copied last, so that its button can say so. @type {string | null} */
  let copied = null;
  /** @type {Archive | null} */
  let archive = null;
  const draw = () => {
    if (archive) patch(content, totals(archive), queries(archive, copied, (name) => {
      copied = name;
      draw();
    }), files(archive));
  };
  return watch(paths.archive({ limit: NEWEST }), 5, (/** @type {Archive} */ answer) => {
    archive = answer;
    draw();
  });
}

/** @param {Archive} archive */
function totals({ place, files: fileCount, rows, bytes: size }) {
  const tile = (/** @type {string} */ name, /** @type {import('./dom.js').Child} */ value) =>
    h('div', { class: 'tile' }, h('dt', null, name), h('dd', null, value));
  return h('dl', { class: 'tiles panel' }, tile('Rows', count(rows)), tile('Files', count(fileCount)), tile('Size', bytes(size)),
    tile('Place', h('code', { class: 'breakable' }, place)));
}

/**
 * @param {Archive} archive
 * @param {string | null} copied
 * @param {(name: string | null) => void} onCopy
 */
function queries({ place }, copied, onCopy) {
  // Quotes in a path are doubled, as SQL wants them. Models differ in their columns, and a model's may change.
  const source = `read_parquet('${place.replace(/\/$/, '').replaceAll("'", "''")}/**/*.parquet', hive_partitioning = true, union_by_name = true)`;
  const lines = [
    { name: 'The newest rows', sql: `SELECT * FROM ${source} ORDER BY event_time DESC LIMIT 100;` },
    { name: 'Rows by day', sql: `SELECT model, version, date, count(*) AS rows FROM ${source} GROUP BY ALL ORDER BY ALL;` },
  ];
  return h('section', { 'aria-labelledby': 'query-title' }, h('h2', { id: 'query-title' }, 'Query it with DuckDB'),
    h('div', { class: 'panel queries' }, lines.map(({ name, sql }) => h('div', { class: 'query' },
      h('div', { class: 'query-head' }, h('h3', null, name),
        h('button', { type: 'button', class: 'quiet-button', onclick: () => copy(sql).then((isCopied) => {
          onCopy(isCopied ? name : null);
          setTimeout(onCopy, 2000, null);
        }) }, copied === name ? 'Copied' : 'Copy', h('span', { class: 'unseen' }, `: ${name}`))),
      h('pre', { class: 'command', tabindex: 0, 'aria-label': name }, h('code', null, sql)))),
    place.startsWith('s3://') && h('p', { class: 'muted' }, 'DuckDB finds the credentials of S3 after: ',
      h('code', null, 'CREATE SECRET (TYPE s3, PROVIDER credential_chain);'))));
}

/**
 * The clipboard's own interface exists on secure origins alone; a collector inside a cluster is often plain HTTP.
 * @param {string} text
 * @returns {Promise<boolean>}
 */
async function copy(text) {
  if (navigator.clipboard) {
    return navigator.clipboard.writeText(text).then(() => true, () => false);
  }
  const area = /** @type {HTMLTextAreaElement} */ (element('textarea', { class: 'unseen', value: text, readonly: true }));
  document.body.append(area);
  area.select();
  const isCopied = document.execCommand('copy');
  area.remove();
  return isCopied;
}

/** @param {Archive} archive */
function files({ newest, files: fileCount }) {
  return h('section', { 'aria-labelledby': 'files-title' },
    h('h2', { id: 'files-title' }, 'Newest files', ' ', newest.length < fileCount && h('span', { class: 'count' }, `${count(newest.length)} of ${count(fileCount)}`)),
    newest.length === 0 ? h('div', { class: 'panel panel-flush' }, h('p', { class: 'empty-line' }, 'Nothing is archived yet. The first file is written once enough rows have come, or after a while.'))
      : h('div', { class: 'panel panel-flush table-scroller', tabindex: 0, role: 'region', 'aria-labelledby': 'files-title' }, h('table', { class: 'figures files-table' },
        h('thead', null, h('tr', null, h('th', { scope: 'col' }, 'Model'), h('th', { scope: 'col' }, 'Version'), h('th', { scope: 'col' }, 'Event time'),
          h('th', { scope: 'col', class: 'number' }, 'Rows'), h('th', { scope: 'col', class: 'number' }, 'Size'), h('th', { scope: 'col' }, 'Made'), h('th', { scope: 'col' }, 'File'))),
        h('tbody', null, newest.map((file) => h('tr', { key: file.path },
          h('td', { class: 'nowrap' }, h('a', { href: modelPath(file.model) }, file.model)), h('td', null, file.version),
          h('td', { class: 'nowrap' }, file.first_event === file.last_event ? instant(file.first_event) : span(file.first_event, file.last_event)),
          h('td', { class: 'number' }, count(file.rows)), h('td', { class: 'number' }, bytes(file.bytes)),
          h('td', { class: 'nowrap' }, ago(file.made_at)), h('td', null, h('code', { class: 'file-path' }, file.path))))))));
}
