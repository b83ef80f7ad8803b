/** How the collector itself is doing: whether it keeps up, and what its sidecars say of themselves. */

import { ago } from './clock.js';
import { h } from './dom.js';
import { count, counted, duration, share } from './format.js';
import { icon } from './icons.js';
import { deliveriesPath } from './navigate.js';

/** @typedef {import('./api.js').CollectorStatus} CollectorStatus */
/** @typedef {import('./api.js').Sidecar} Sidecar */

/** Archiving waits to fill files; later than this it does not keep up. */
const LATE_ARCHIVE_SECONDS = 3600;
/** Batches that wait to be counted when all is well. */
const FEW_BATCHES = 20;

/** Further ahead than this a clock makes rows look as if they came before they were made. */
const CLOCK_AHEAD_SECONDS = 5;
/** A batch that was made so long before it came has waited, or its sidecar's clock is behind. */
const CLOCK_BEHIND_SECONDS = 60;

/** @param {CollectorStatus} status */
export function collectorPanel(status) {
  const behind = status.journal_position - status.counted_position;
  const lag = status.archive_lag_seconds;
  return [
    h('ul', { class: 'plain checks' },
      check(behind <= FEW_BATCHES, behind === 0 ? 'All batches are counted' : `${counted(behind, 'batch', 'batches')} not counted yet`),
      check(lag === null || lag < LATE_ARCHIVE_SECONDS, lag === null ? 'All batches are archived' : `The oldest batch not yet archived is ${duration(lag)} old`),
      check(status.notifications_pending === 0, status.notifications_pending === 0 ? 'No notification waits'
        : [h('a', { href: deliveriesPath() }, counted(status.notifications_pending, 'notification')), ' not delivered yet'])),
    h('h3', null, 'Sidecars'),
    status.sidecars.length === 0 ? h('p', { class: 'muted' }, 'None was heard of yet.')
      : h('ul', { class: 'plain sidecars' }, [...status.sidecars].sort((a, b) => b.heard_at.localeCompare(a.heard_at)).slice(0, 12).map(sidecar)),
    status.sidecars.length > 12 && h('p', { class: 'muted' }, `and ${counted(status.sidecars.length - 12, 'other')}`),
    h('p', { class: 'sub collector-version' }, `Version ${status.version}, started `, ago(status.started_at)),
  ];
}

/**
 * @param {boolean} isGood
 * @param {import('./dom.js').Child} words
 */
function check(isGood, words) {
  return h('li', { class: isGood ? 'check-good' : 'check-late' }, icon(isGood ? 'quiet' : 'waiting'), words);
}

/** @param {Sidecar} one */
function sidecar({ boot, model, instance, seen, durable, dropped, missing, clock_offset_seconds: clockOffset, heard_at: heardAt }) {
  const lost = Object.entries(dropped).filter(([, lostCount]) => lostCount > 0);
  return h('li', { key: boot },
    h('div', null, h('strong', null, instance), ' ', h('span', { class: 'muted' }, `before ${model}`)),
    h('div', { class: 'sub' }, `${count(durable)} of ${counted(seen, 'exchange')} durable${seen > 0 ? ` (${share(durable / seen)})` : ''}, heard `, ago(heardAt)),
    (lost.length > 0 || missing > 0) && h('div', { class: 'sub sidecar-loss' },
      [...lost.map(([reason, lostCount]) => `${count(lostCount)} dropped: ${reason.replaceAll('_', ' ')}`), ...(missing > 0 ? [`${count(missing)} missing`] : [])].join('; ')),
    clock(clockOffset ?? 0));
}

/** @param {number} offset how long before it came the last batch was made, by two clocks, in seconds */
function clock(offset) {
  const words = offset < -CLOCK_AHEAD_SECONDS ? `Its clock is ${duration(-offset)} ahead of the collector's`
    : `Its last batch was made ${duration(offset)} before it came: its clock is behind, or the batch has waited`;
  return (offset < -CLOCK_AHEAD_SECONDS || offset > CLOCK_BEHIND_SECONDS) && h('div', { class: 'sub sidecar-loss' }, words);
}
