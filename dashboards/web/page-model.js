/** One model: its key facts, drift by column over time, the column that was chosen, segments, traffic, and alerts. */

import { alertList } from './alert-row.js';
import { paths } from './api.js';
import { element, h, patch } from './dom.js';
import { watch } from './live.js';
import { ModelColumn } from './model-column.js';
import { ModelDrift } from './model-drift.js';
import { modelHeader } from './model-header.js';
import { ModelSegments } from './model-segments.js';
import { ModelTraffic } from './model-traffic.js';
import { setTitle } from './navigate.js';

/** @typedef {import('./api.js').ModelDetail} ModelDetail */
/** @typedef {import('./api.js').Episode} Episode */

const MOST_ALERTS = 50;

/** @type {import('./app.js').Page} */
export function modelPage(host, name) {
  setTitle(name);
  const head = element('div', { class: 'model-head' }, h('h1', { class: 'breakable' }, name), h('p', { class: 'lead' }, 'Asking the collector.'));
  const alerts = element('section', { 'aria-labelledby': 'alerts-title' });
  const column = new ModelColumn(name);
  const drift = new ModelDrift(name, column);
  column.onWindow = (ends) => drift.chooseWindow(ends);
  const segments = new ModelSegments(name);
  const traffic = new ModelTraffic(name);

  /** @type {ModelDetail | null} */
  let detail = null;
  /** @type {Episode[]} */
  let episodes = [];
  const drawHead = () => {
    if (detail) patch(head, modelHeader(detail, episodes.filter(({ state }) => state === 'firing')));
  };
  patch(host, head, drift.host, column.host, segments.host, traffic.host, alerts);
  const stops = [
    watch(paths.model(name), 3, (/** @type {ModelDetail} */ answer) => {
      detail = answer;
      drawHead();
      drift.update(answer);
      column.describe(answer);
      segments.update(answer);
    }, (problem) => patch(host, h('h1', null, 'There is no such model'), h('p', { class: 'lead' }, problem.message), h('p', null, h('a', { href: '/' }, 'All models')))),
    watch(paths.alerts({ model: name, limit: MOST_ALERTS }), 3, (/** @type {Episode[]} */ answer) => {
      // What fires stands first, however long ago it began.
      episodes = [...answer].sort((a, b) => Number(a.state !== 'firing') - Number(b.state !== 'firing'));
      drawHead();
      patch(alerts, h('h2', { id: 'alerts-title' }, 'Alerts'), h('div', { class: 'panel panel-flush' },
        episodes.length === 0 ? h('p', { class: 'empty-line' }, 'No alert has fired for this model.') : alertList(episodes, { withModel: false })));
    }, () => {}),
  ];
  return () => {
    for (const stop of stops) stop();
    drift.stop();
    column.stop();
    segments.stop();
    traffic.stop();
  };
}
