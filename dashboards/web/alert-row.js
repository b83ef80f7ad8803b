/** An alert as a line in a list: how grave, what, since when, and where to read on. */

import { ago } from './clock.js';
import { h } from './dom.js';
import { duration, instant } from './format.js';
import { badge } from './icons.js';
import { alertPath, modelPath, runbookPath } from './navigate.js';

/** @typedef {import('./api.js').Episode} Episode */

/** @type {Record<import('./api.js').Severity, string>} */
export const SEVERITY_WORDS = { page: 'Page', ticket: 'Ticket', info: 'Info' };

/** How an alert that is open stands. */
export const STANDING_WORDS = { firing: 'Firing', recovering: 'Recovering, fired', no_data: 'Firing without data' };

/**
 * How grave it is; a drill is not.
 * @param {Episode} episode
 */
export function severityBadge({ drill, severity }) {
  return drill ? badge('none', 'Drill') : badge(severity, SEVERITY_WORDS[severity]);
}

/**
 * @param {Episode[]} episodes
 * @param {{withModel: boolean}} options
 */
export function alertList(episodes, { withModel }) {
  return h('ul', { class: 'plain alerts' }, episodes.map((episode) => alertRow(episode, withModel)));
}

/**
 * @param {Episode} episode
 * @param {boolean} withModel
 */
function alertRow(episode, withModel) {
  const { model } = episode.labels;
  return h('li', { key: episode.id, class: `alert alert-${episode.state} alert-${episode.drill ? 'info' : episode.severity}` },
    h('div', { class: 'alert-severity' }, severityBadge(episode)),
    h('div', { class: 'alert-what' },
      h('a', { class: 'alert-summary', href: alertPath(episode.id) }, shortSummary(episode, withModel)),
      h('div', { class: 'sub' }, episode.rule, withModel && model && [', ', h('a', { href: modelPath(model) }, model)])),
    h('div', { class: 'alert-when' }, stateWords(episode)),
    h('a', { class: 'alert-runbook', href: runbookPath(episode.runbook_url) }, 'Runbook',
      h('span', { class: 'unseen' }, ` for ${episode.summary}`)));
}

/**
 * On a model's own page its name before each summary is noise.
 * @param {Episode} episode
 * @param {boolean} withModel
 */
function shortSummary({ summary, labels, rule }, withModel) {
  if (!summary) return rule;
  const prefix = `${Object.values(labels).join(', ')}: `;
  return !withModel && summary.startsWith(prefix) ? summary.slice(prefix.length) : summary;
}

/**
 * Firing since when, or resolved after how long.
 * @param {Episode} episode
 */
export function stateWords({ started_at: started, resolved_at: resolved, standing, flapping, muted_by: mutes, acknowledged }) {
  if (resolved === null) {
    return [h('strong', { class: 'firing' }, STANDING_WORDS[standing ?? 'firing']), ' since ', ago(started), flapping && h('span', { class: 'muted' }, ', flapping'),
      mutes.length > 0 && h('span', { class: 'muted' }, ', muted'), acknowledged && h('span', { class: 'muted' }, `, ${acknowledged.by} is on it`)];
  }
  const lasted = (Date.parse(resolved) - Date.parse(started)) / 1000;
  return ['Resolved ', ago(resolved), h('span', { class: 'muted', title: `${instant(started, true)} to ${instant(resolved, true)}` }, `, after ${duration(lasted)}`)];
}
