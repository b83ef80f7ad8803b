/** The overview: every model at a glance, what happened lately, and how the collector itself is doing. */

import { paths } from './api.js';
import { collectorPanel } from './collector-panel.js';
import { element, h, patch } from './dom.js';
import { EventsFeed } from './events-feed.js';
import { counted } from './format.js';
import { watch } from './live.js';
import { modelTable } from './model-table.js';
import { setTitle } from './navigate.js';

/** @typedef {import('./api.js').ModelSummary} ModelSummary */
/** @typedef {import('./api.js').Episode} Episode */
/** @typedef {import('./api.js').Traffic} Traffic */

/** Sparklines are one question a model; past so many models the page does without them. */
const MOST_SPARKLINES = 24;

/** @type {import('./app.js').Page} */
export function overviewPage(host) {
  setTitle('Models');
  const lead = element('p', { class: 'lead' }, 'Asking the collector.');
  const models = element('div', { class: 'panel panel-flush' });
  const feed = new EventsFeed();
  const collector = element('div', { class: 'panel' });
  patch(host,
    h('div', { class: 'page-head' }, h('h1', null, 'Models'), lead),
    h('section', { 'aria-label': 'Models' }, models),
    h('div', { class: 'columns columns-feed' },
      h('section', { 'aria-labelledby': 'events-title' }, h('h2', { id: 'events-title' }, 'Events'), feed.host),
      h('section', { 'aria-labelledby': 'collector-title' }, h('h2', { id: 'collector-title' }, 'Collector'), collector)));

  /** @type {ModelSummary[] | null} */
  let summaries = null;
  /** @type {Episode[]} */
  let firing = [];
  /** @type {Map<string, {traffic: Traffic | null, stop: () => void}>} */
  const traffic = new Map();

  const draw = () => {
    if (!summaries) return;
    patch(lead, leadWords(summaries, firing));
    patch(models, summaries.length === 0 ? emptyState() : modelTable(summaries, firing, (name) => traffic.get(name)?.traffic ?? null));
  };
  const stops = [
    watch(paths.models(), 3, (/** @type {ModelSummary[]} */ answer) => {
      summaries = answer;
      for (const { name } of answer.slice(0, MOST_SPARKLINES)) {
        if (traffic.has(name)) continue;
        /** @type {{traffic: Traffic | null, stop: () => void}} */
        const kept = { traffic: null, stop: () => {} };
        traffic.set(name, kept);
        kept.stop = watch(paths.traffic(name, 60), 15, (/** @type {Traffic} */ points) => {
          kept.traffic = points;
          draw();
        });
      }
      draw();
    }),
    watch(paths.firing(), 5, (/** @type {Episode[]} */ answer) => {
      firing = answer;
      draw();
    }),
    watch(paths.events(200), 3, (/** @type {import('./api.js').DriftlineEvent[]} */ events) => feed.show(events)),
    watch(paths.status(), 5, (/** @type {import('./api.js').CollectorStatus} */ status) => patch(collector, collectorPanel(status))),
  ];
  return () => {
    for (const stop of stops) stop();
    for (const { stop } of traffic.values()) stop();
  };
}

/**
 * @param {ModelSummary[]} models
 * @param {Episode[]} firing
 */
function leadWords(models, firing) {
  if (models.length === 0) return 'None is watched yet.';
  const requests = models.reduce((sum, model) => sum + model.requests, 0);
  const drifting = models.filter((model) => model.drifting.length > 0).length;
  return [
    counted(models.length, 'model'), ', ',
    firing.length === 0 ? 'no alert firing' : h('a', { href: '/alerts' }, `${counted(firing.length, 'alert')} firing`), ', ',
    drifting === 0 ? 'no drift in the last windows' : `drift in ${counted(drifting, 'model')}`, ', ',
    `${counted(requests, 'request')} in the last hour.`,
  ];
}

function emptyState() {
  const command = `driftline-sidecar --listen 0.0.0.0:8081 --upstream 127.0.0.1:8080 --collector ${location.origin} --model my-model`;
  return h('div', { class: 'empty' },
    h('h2', null, 'No model yet'),
    h('p', null, 'Put the sidecar in front of a model’s server. It passes every byte on as it is, and sends a copy of each request and answer to this collector.'),
    h('pre', { class: 'command', tabindex: 0, 'aria-label': 'Command' }, h('code', null, command)),
    h('p', { class: 'muted' }, 'Then let the callers use port 8081 in place of 8080. The model appears here with its first request.'));
}
