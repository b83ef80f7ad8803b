/** Maintenance windows that come again: the configuration's to look at, and those made since with a button to end each. */

import { change, paths } from './api.js';
import { maintenanceForm, matchingWords } from './alert-words.js';
import { at } from './clock.js';
import { element, h, patch } from './dom.js';
import { count } from './format.js';
import { retryNow, watch } from './live.js';

/** @typedef {import('./api.js').MaintenanceWindow} MaintenanceWindow */

/** @param {HTMLElement} host */
export function maintenancePanel(host) {
  const add = maintenanceForm('Add a maintenance window');
  const problem = element('p', { class: 'form-problem', role: 'alert' });
  /** @type {MaintenanceWindow[]} */
  let windows = [];

  /** @param {string} id */
  const end = async (id) => {
    patch(problem);
    try {
      await change('DELETE', paths.maintenanceWindow(id));
      retryNow();
    } catch (error) {
      patch(problem, error instanceof Error ? error.message : String(error));
    }
  };
  const draw = () => patch(host, h('h2', null, 'Maintenance windows ', h('span', { class: 'count' }, count(windows.length))),
    h('div', { class: 'panel panel-flush' }, windows.length === 0 ? h('p', { class: 'empty-line' }, 'No hours are kept free.')
      : h('ul', { class: 'plain alerts silences' }, windows.map((window) => row(window, end)))), problem, add);
  draw();
  return watch(paths.maintenance(), 3, (/** @type {MaintenanceWindow[]} */ answer) => {
    windows = answer;
    draw();
  });
}

/**
 * @param {MaintenanceWindow} window
 * @param {(id: string) => void} end
 */
function row({ id, name, state, matching, days, from, until, time_zone: zone, ends_at: endsAt, comment, author }, end) {
  const whose = id === null ? 'by the configuration' : `${author}: ${comment}`;
  return h('li', { key: name, class: 'silence maintenance' },
    h('div', { class: 'alert-what' }, h('strong', null, name), ' ', h('code', { class: 'breakable' }, matchingWords(matching)), h('div', { class: 'sub' }, whose)),
    h('div', { class: 'alert-when' }, state === 'on' && h('strong', null, 'On now: '), days.length === 7 ? 'Every day' : days.map(dayWords).join(', '),
      ` ${from} to ${until} (${zone})`, endsAt !== null && [', the last time before ', at(endsAt)]),
    id !== null && h('button', { type: 'button', class: 'quiet-button', onclick: () => end(id) }, 'End', h('span', { class: 'unseen' }, ` the maintenance window ${name}`)));
}

/** @param {string} day */
function dayWords(day) {
  return day.charAt(0).toUpperCase() + day.slice(1, 3);
}
