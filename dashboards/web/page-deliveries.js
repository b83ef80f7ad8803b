/** What could not be delivered, with buttons to send it again or dismiss it; and what still waits. */

import { change, paths } from './api.js';
import { ago, at } from './clock.js';
import { TOLD } from './delivery-words.js';
import { element, h, patch } from './dom.js';
import { count, counted } from './format.js';
import { retryNow, watch } from './live.js';
import { alertPath, keepInAddress, query, setTitle } from './navigate.js';

/** @typedef {import('./api.js').Delivery} Delivery */

/** Nobody reads more; a target that is away for long has many. */
const MOST = 500;

/** @type {import('./app.js').Page} */
export function deliveriesPage(host) {
  setTitle('Deliveries');
  const filters = element('div', { class: 'toolbar' });
  const lists = element('div', { class: 'stack' });
  const problem = element('p', { class: 'form-problem', role: 'alert' });
  patch(host, h('div', { class: 'page-head' }, h('h1', null, 'Deliveries'),
    h('p', { class: 'lead' }, 'Who has not been told yet, and who will not be unless somebody sees to it.')), filters, problem, lists);

  let target = query().get('target') ?? '';
  /** @type {Delivery[] | null} */
  let dead = null;
  /** @type {Delivery[] | null} */
  let waiting = null;
  /** Those that are being decided on: a second press decides nothing more. @type {Set<number>} */
  const busy = new Set();

  /**
   * One after another, and to the end: one that cannot be does not keep the others back.
   * @param {'POST' | 'DELETE'} method
   * @param {Delivery[]} chosen
   */
  const decide = async (method, chosen) => {
    patch(problem);
    for (const { id } of chosen) busy.add(id);
    draw();
    /** @type {string[]} */
    const problems = [];
    for (const delivery of chosen) {
      try {
        await change(method, method === 'POST' ? paths.resend(delivery.id) : paths.delivery(delivery.id));
      } catch (error) {
        problems.push(`${delivery.target}: ${error instanceof Error ? error.message : String(error)}`);
      }
      busy.delete(delivery.id);
    }
    patch(problem, [...new Set(problems)].join(' '));
    retryNow();
    draw();
  };

  const draw = () => {
    const targets = [...new Set([...(dead ?? []), ...(waiting ?? [])].map((one) => one.target).concat(target))].filter(Boolean).sort();
    patch(filters, h('label', { class: 'field' }, h('span', { class: 'unseen' }, 'Target'),
      h('select', { value: target, onchange: (/** @type {Event} */ event) => {
        target = /** @type {HTMLSelectElement} */ (event.currentTarget).value;
        keepInAddress({ target: target || null });
        draw();
      } }, h('option', { value: '' }, 'Any target'), targets.map((name) => h('option', { value: name, key: name }, name)))));
    const isWanted = (/** @type {Delivery} */ one) => target === '' || one.target === target;
    const ofDead = dead?.filter(isWanted);
    patch(lists,
      section('Given up', ofDead, 'Nothing was given up.', (one) => row(one, busy.has(one.id), decide),
        ofDead && ofDead.length > 1 && h('button', { type: 'button', class: 'quiet-button', disabled: busy.size > 0, onclick: () => decide('POST', ofDead) },
          `Send all ${count(ofDead.length)} again`)),
      section('Waiting', waiting?.filter(isWanted), 'Nothing waits.', (one) => row(one, false, null), null),
      Math.max(dead?.length ?? 0, waiting?.length ?? 0) >= MOST && h('p', { class: 'muted' }, `The newest ${count(MOST)} of each are shown.`));
  };

  draw();
  const stops = [
    watch(paths.deliveries({ state: 'given_up', limit: MOST }), 3, (/** @type {Delivery[]} */ answer) => {
      dead = answer;
      draw();
    }),
    watch(paths.deliveries({ state: 'pending', limit: MOST }), 3, (/** @type {Delivery[]} */ answer) => {
      waiting = answer;
      draw();
    }),
  ];
  return () => {
    for (const stop of stops) stop();
  };
}

/**
 * @param {string} name
 * @param {Delivery[] | undefined} deliveries undefined until they are known
 * @param {string} none
 * @param {(one: Delivery) => import('./dom.js').Child} line
 * @param {import('./dom.js').Child} tool
 */
function section(name, deliveries, none, line, tool) {
  if (!deliveries) return h('p', { class: 'empty-line', key: name }, 'Asking the collector.');
  return h('section', { key: name, 'aria-label': name },
    h('div', { class: 'page-head' }, h('h2', null, name, ' ', h('span', { class: 'count' }, count(deliveries.length))), tool),
    h('div', { class: 'panel panel-flush' }, deliveries.length === 0 ? h('p', { class: 'empty-line' }, none)
      : h('ul', { class: 'plain alerts deliveries' }, deliveries.map(line))));
}

/**
 * @param {Delivery} delivery
 * @param {boolean} isBusy
 * @param {((method: 'POST' | 'DELETE', chosen: Delivery[]) => void) | null} decide null where there is nothing to decide
 */
function row(delivery, isBusy, decide) {
  const { id, episode, target, action, attempts, summary, created_at: created, settled_at: settled, next_attempt_at: next, last_error: error } = delivery;
  const what = summary || episode;
  const button = (/** @type {string} */ words, /** @type {'POST' | 'DELETE'} */ method) =>
    h('button', { type: 'button', class: 'quiet-button', disabled: isBusy, onclick: () => decide?.(method, [delivery]) },
      words, h('span', { class: 'unseen' }, `: ${target}, ${TOLD[action] ?? action}, ${what}`));
  const tries = counted(attempts, 'attempt');
  return h('li', { key: id, class: 'delivery' },
    h('div', { class: 'alert-what' },
      h('div', null, h('strong', null, target), decide ? ` could not be told ${TOLD[action] ?? action}` : ` is to be told ${TOLD[action] ?? action}`),
      episode === '' ? h('div', { class: 'breakable' }, what) : h('a', { class: 'alert-summary', href: alertPath(episode) }, what),
      error !== null && h('div', { class: 'moment-error' }, error)),
    h('div', { class: 'alert-when' }, decide ? ['Given up ', ago(settled ?? created), `, after ${tries}`]
      : ['Due since ', at(created), attempts > 0 && [`, ${tries}, again `, ago(next ?? created)]]),
    decide && h('div', { class: 'delivery-tools' }, button('Send again', 'POST'), button('Dismiss', 'DELETE')));
}
