/** An alert's story: when it fired, who was told what and when, what went wrong on the way, when it was resolved. */

import { at } from './clock.js';
import { TOLD } from './delivery-words.js';
import { h } from './dom.js';
import { counted, duration } from './format.js';
import { icon } from './icons.js';
import { deliveriesPath } from './navigate.js';

/** @typedef {import('./api.js').EpisodeDetail} EpisodeDetail */
/** @typedef {import('./api.js').Delivery} Delivery */

/** @param {EpisodeDetail} alert */
export function deliveryTimeline(alert) {
  /** @type {{time: string, rank: number, shape: import('./dom.js').Shape}[]} */
  const moments = [{ time: alert.started_at, rank: 0, shape: moment('fired', 'The alert fired', at(alert.started_at)) }];
  for (const delivery of alert.deliveries) {
    moments.push({ time: delivery.created_at, rank: 1, shape: deliveryMoment(delivery) });
  }
  if (alert.acknowledged) {
    const { by, note, at: time } = alert.acknowledged;
    moments.push({ time, rank: 0, shape: moment('acknowledged', [h('strong', null, by), ' is on it', note !== '' && `: ${note}`], at(time)) });
  }
  for (const { text, done, by, note, at: time } of alert.ticks) {
    moments.push({ time, rank: 2, shape: moment(done ? 'ticked' : 'cancelled', [h('strong', null, by), done ? ' has done: ' : ' has not done after all: ', text, note !== '' && ` (${note})`], at(time)) });
  }
  for (const { target, schedule, at: begins } of alert.waiting) {
    moments.push({ time: begins ?? alert.started_at, rank: 3, shape: moment('pending', [h('strong', null, target), ' is to be told in its hours'],
      'When ', h('code', null, schedule), ' begins', begins !== null && [', ', at(begins)]) });
  }
  if (alert.resolved_at !== null) {
    moments.push({ time: alert.resolved_at, rank: 0, shape: moment('resolved', 'The alert was resolved', at(alert.resolved_at)) });
  }
  moments.sort((a, b) => Date.parse(a.time) - Date.parse(b.time) || a.rank - b.rank);
  return [
    h('ol', { class: 'plain timeline' }, moments.map(({ shape }) => shape)),
    alert.deliveries.length === 0 && h('p', { class: 'muted' }, alert.muted_by.length > 0 ? 'Nobody was told: it was muted.' : 'Nobody was told: no route leads from this rule to a target.'),
  ];
}

/**
 * @param {'fired' | 'acknowledged' | 'resolved' | 'delivered' | 'pending' | 'given_up' | 'cancelled' | 'ticked'} kind
 * @param {...import('./dom.js').Child} content
 */
function moment(kind, ...content) {
  const [what, ...details] = content;
  const picture = /** @type {const} */ ({ fired: 'ticket', acknowledged: 'info', resolved: 'quiet', delivered: 'quiet', pending: 'waiting', given_up: 'page', cancelled: 'none', ticked: 'quiet' })[kind];
  return h('li', { class: `moment moment-${kind}` }, icon(picture), h('div', null, h('div', { class: 'moment-what' }, what), h('div', { class: 'sub' }, details)));
}

/** @param {Delivery} delivery */
function deliveryMoment({ target, action, state, attempts, created_at: created, settled_at: settled, last_error: error }) {
  const name = h('strong', null, target);
  const tries = attempts > 1 ? `, ${counted(attempts, 'attempt')}` : '';
  const why = error !== null && h('div', { class: 'moment-error' }, error);
  const about = TOLD[action] ?? action;
  switch (state) {
    case 'delivered': {
      const took = settled === null ? '' : `, ${duration((Date.parse(settled) - Date.parse(created)) / 1000)} after it was due`;
      return moment('delivered', [name, ` was told ${about}`], at(settled ?? created), took + tries, why);
    }
    case 'given_up': return moment('given_up', [name, ` could not be told ${about}`], 'Given up ', at(settled ?? created), tries, '. ', h('a', { href: deliveriesPath(target) }, 'Send it again'), why);
    case 'cancelled': return moment('cancelled', [name, ` was not told ${about}: no longer needed`], at(settled ?? created), tries, why);
    default: return moment('pending', [name, ` is to be told ${about}`], 'Due since ', at(created), tries, why);
  }
}
