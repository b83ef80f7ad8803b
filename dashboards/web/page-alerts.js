/** All alerts: those that fire first, then those that are resolved. */

import { paths } from './api.js';
import { alertList } from './alert-row.js';
import { element, h, patch } from './dom.js';
import { count } from './format.js';
import { watch } from './live.js';
import { maintenancePanel } from './maintenance-panel.js';
import { deliveriesPath, keepInAddress, query, setTitle } from './navigate.js';
import { silencesPanel } from './silences-panel.js';

/** @typedef {import('./api.js').Episode} Episode */

const STATES = /** @type {const} */ ([['all', 'All'], ['firing', 'Firing'], ['resolved', 'Resolved']]);
const SEVERITIES = /** @type {const} */ ([['', 'Any severity'], ['page', 'Page'], ['ticket', 'Ticket'], ['info', 'Info']]);
const MOST = 500;

/** @type {import('./app.js').Page} */
export function alertsPage(host) {
  setTitle('Alerts');
  const filters = element('div', { class: 'toolbar' });
  const lists = element('div', { class: 'stack' });
  const silences = element('section', { 'aria-label': 'Silences' });
  const maintenance = element('section', { 'aria-label': 'Maintenance windows' });
  patch(host, h('div', { class: 'page-head' }, h('h1', null, 'Alerts'), h('a', { href: deliveriesPath() }, 'Deliveries')), filters, lists);

  const address = query();
  const chosen = { state: address.get('state') ?? 'all', severity: address.get('severity') ?? '', model: address.get('model') ?? '' };
  /** Asked for apart: what has fired for long must not fall behind the newest of the resolved. @type {Episode[] | null} */
  let firing = null;
  /** @type {Episode[] | null} */
  let resolved = null;

  /** @param {Partial<typeof chosen>} change */
  const choose = (change) => {
    Object.assign(chosen, change);
    keepInAddress({ state: chosen.state === 'all' ? null : chosen.state, severity: chosen.severity || null, model: chosen.model || null });
    draw();
  };

  const draw = () => {
    const models = [...new Set([...(firing ?? []), ...(resolved ?? [])].map(({ labels }) => labels.model ?? '').concat(chosen.model))].filter(Boolean).sort();
    patch(filters,
      h('div', { class: 'segmented', role: 'group', 'aria-label': 'State' }, STATES.map(([state, words]) =>
        h('button', { type: 'button', 'aria-pressed': String(chosen.state === state), onclick: () => choose({ state }) }, words))),
      h('label', { class: 'field' }, h('span', { class: 'unseen' }, 'Severity'),
        h('select', { value: chosen.severity, onchange: (/** @type {Event} */ event) => choose({ severity: valueOf(event) }) },
          SEVERITIES.map(([severity, words]) => h('option', { value: severity }, words)))),
      h('label', { class: 'field' }, h('span', { class: 'unseen' }, 'Model'),
        h('select', { value: chosen.model, onchange: (/** @type {Event} */ event) => choose({ model: valueOf(event) }) },
          h('option', { value: '' }, 'Any model'), models.map((model) => h('option', { value: model, key: model }, model)))));
    const isWanted = (/** @type {Episode} */ { severity, labels }) =>
      (!chosen.severity || severity === chosen.severity) && (!chosen.model || labels.model === chosen.model);
    patch(lists,
      chosen.state !== 'resolved' && section('Firing', firing?.filter(isWanted), 'No alert fires.'),
      silences,
      maintenance,
      chosen.state !== 'firing' && section('Resolved', resolved?.filter(isWanted), 'No alert was resolved yet.'),
      (resolved?.length ?? 0) >= MOST && h('p', { class: 'muted' }, `The newest ${count(MOST)} of those resolved are shown.`));
  };

  draw();
  const stops = [
    silencesPanel(silences),
    maintenancePanel(maintenance),
    watch(paths.alerts({ state: 'firing', limit: 1000, drills: 'true' }), 3, (/** @type {Episode[]} */ answer) => {
      firing = answer;
      draw();
    }),
    watch(paths.alerts({ state: 'resolved', limit: MOST, drills: 'true' }), 3, (/** @type {Episode[]} */ answer) => {
      resolved = answer;
      draw();
    }),
  ];
  return () => {
    for (const stop of stops) stop();
  };
}

/** @param {Event} event */
function valueOf(event) {
  return /** @type {HTMLSelectElement} */ (event.currentTarget).value;
}

/**
 * @param {string} name
 * @param {Episode[] | undefined} episodes undefined until they are known
 * @param {string} none
 */
function section(name, episodes, none) {
  const rank = (/** @type {Episode} */ { drill, severity }) => (drill ? 3 : { page: 0, ticket: 1, info: 2 }[severity]);
  if (!episodes) return h('p', { class: 'empty-line', key: name }, 'Asking the collector.');
  const sorted = name === 'Firing' ? [...episodes].sort((a, b) => rank(a) - rank(b)) : episodes;
  return h('section', { key: name, 'aria-label': `${name} alerts` },
    h('h2', null, name, ' ', h('span', { class: 'count' }, count(episodes.length))),
    h('div', { class: 'panel panel-flush' }, episodes.length === 0 ? h('p', { class: 'empty-line' }, none) : alertList(sorted, { withModel: true })));
}
