/** The table of models: a row for each on wide screens, a card on narrow ones. */

import { ago } from './clock.js';
import { detector } from './detectors.js';
import { h } from './dom.js';
import { count, counted, latencies, milliseconds, number, share, span } from './format.js';
import { indicator, stateBadges, urgency } from './model-state.js';
import { modelPath } from './navigate.js';
import { requestsSparkline } from './sparkline.js';

/** @typedef {import('./api.js').ModelSummary} ModelSummary */
/** @typedef {import('./api.js').Episode} Episode */
/** @typedef {import('./dom.js').Child} Child */

const MOST_DRIFTING_SHOWN = 3;

/**
 * @param {ModelSummary[]} models
 * @param {Episode[]} firing
 * @param {(name: string) => import('./api.js').Traffic | null} trafficOf
 */
export function modelTable(models, firing, trafficOf) {
  // Same urgency: by name, as they came, so that rows keep their places.
  const sorted = [...models].sort((a, b) => urgency(a, firing) - urgency(b, firing));
  const head = ['Model', 'State', 'Requests, last hour', 'Latency p50 / p99', 'Answered', 'Fresh', 'Captured', 'Last window', 'Worst columns'];
  return h('table', { class: 'models' },
    h('thead', null, h('tr', null, head.map((name) => h('th', { scope: 'col' }, name)))),
    h('tbody', null, sorted.map((model) => modelRow(model, firing, trafficOf(model.name)))));
}

/**
 * @param {ModelSummary} model
 * @param {Episode[]} firing
 * @param {import('./api.js').Traffic | null} traffic
 */
function modelRow(model, firing, traffic) {
  const objective = traffic?.latency_objective_ms;
  const inTime = indicator(model, 'latency');
  return h('tr', { key: model.name },
    h('th', { scope: 'row', class: 'model-cell' },
      h('a', { class: 'model-name', href: modelPath(model.name) }, model.name),
      h('div', { class: 'sub' }, versionWords(model.versions))),
    cell('State', h('div', { class: 'badges' }, stateBadges(model, firing))),
    cell('Requests, last hour', h('span', { class: 'figure' }, count(model.requests)), traffic && requestsSparkline(traffic)),
    cell('Latency p50 / p99',
      model.latency.p50_ms === null ? h('span', { class: 'muted' }, 'none')
        : h('span', { class: 'figure' }, latencies(model.latency.p50_ms, model.latency.p99_ms)),
      objective !== undefined && h('div', { class: 'sub' }, inTime?.share === null || !inTime ? `objective ${milliseconds(objective)}`
        : `${share(inTime.share)} within ${milliseconds(objective)}`)),
    indicatorCell(model, 'Answered', 'availability', 'answered'),
    indicatorCell(model, 'Fresh', 'freshness', 'with fresh features'),
    indicatorCell(model, 'Captured', 'capture', 'kept'),
    cell('Last window', ...windowWords(model)),
    cell('Worst columns', ...driftingWords(model)));
}

/**
 * @param {string} name
 * @param {...Child} content
 */
function cell(name, ...content) {
  return h('td', null, h('div', { class: 'cell-name', 'aria-hidden': 'true' }, name), h('div', { class: 'cell-content' }, ...content));
}

/** @param {string[]} versions */
function versionWords(versions) {
  const [newest, ...others] = versions;
  if (newest === undefined) return 'no version seen';
  return others.length === 0 ? `version ${newest}` : `version ${newest} and ${counted(others.length, 'other')}`;
}

/**
 * @param {ModelSummary} model
 * @param {string} label
 * @param {string} name
 * @param {string} words
 */
function indicatorCell(model, label, name, words) {
  const sli = indicator(model, name);
  if (!sli || sli.share === null) return cell(label, h('span', { class: 'muted' }, 'none'));
  const bad = sli.valid - sli.good;
  return cell(label, h('span', { class: 'figure', title: `${count(sli.good)} of ${count(sli.valid)} ${words}` }, share(sli.share)),
    bad > 0 && h('div', { class: 'sub' }, `${count(bad)} not`),
    sli.unknown > 0 && h('div', { class: 'sub' }, `${count(sli.unknown)} unknown`));
}

/**
 * @param {ModelSummary} model
 * @returns {Child[]}
 */
function windowWords({ window, newest_event: newest }) {
  if (!window) return [h('span', { class: 'muted' }, 'none has closed'), newest && h('div', { class: 'sub' }, 'newest row ', ago(newest))];
  return [
    span(window.starts, window.ends),
    h('div', { class: 'sub' }, `${counted(window.rows, 'row')}, ${window.filled} of ${window.panes} panes filled`),
  ];
}

/**
 * @param {ModelSummary} model
 * @returns {Child[]}
 */
function driftingWords({ drifting, window, reference }) {
  if (!reference) return [h('span', { class: 'muted' }, 'nothing to compare with')];
  if (!window) return [h('span', { class: 'muted' }, 'not known yet')];
  if (drifting.length === 0) return [h('span', { class: 'muted' }, 'no drift')];
  const rest = drifting.length - MOST_DRIFTING_SHOWN;
  return [
    h('ul', { class: 'plain worst' }, drifting.slice(0, MOST_DRIFTING_SHOWN).map(({ column, score, effect, limit }) =>
      h('li', { title: `${detector(score).short} ${number(effect)}, limit ${number(limit)}` },
        h('span', { class: 'worst-name' }, column), ' ', h('span', { class: 'worst-figure' }, `${number(effect)}`),
        h('span', { class: 'muted' }, ` of ${number(limit)}`)))),
    rest > 0 && h('div', { class: 'sub' }, `and ${counted(rest, 'other')}`),
  ];
}
