/** What happened, line by line, the newest first; files that were archived together are one line. */

import { ago } from './clock.js';
import { element, h, patch } from './dom.js';
import { counted } from './format.js';
import { icon } from './icons.js';
import { alertPath, modelPath, runbookPath } from './navigate.js';

/** @typedef {import('./api.js').DriftlineEvent} DriftlineEvent */
/** @typedef {'all' | 'alerts' | 'windows'} Choice */

/** @type {{choice: Choice, words: string, kinds: string[] | null}[]} */
const CHOICES = [
  { choice: 'all', words: 'All', kinds: null },
  { choice: 'alerts', words: 'Alerts and drift', kinds: ['alert_fired', 'acknowledged', 'silence', 'maintenance', 'delivery', 'alert_resolved', 'drill', 'reaction', 'drift'] },
  { choice: 'windows', words: 'Windows', kinds: ['window'] },
];

/** @type {Record<string, {icon: import('./icons.js').IconName, words: string}>} */
const KINDS = {
  window: { icon: 'window', words: 'Window closed' },
  drift: { icon: 'drift', words: 'Drift' },
  alert_fired: { icon: 'ticket', words: 'Alert fired' },
  alert_resolved: { icon: 'quiet', words: 'Alert resolved' },
  acknowledged: { icon: 'info', words: 'Acknowledged' },
  silence: { icon: 'none', words: 'Silence' },
  maintenance: { icon: 'none', words: 'Maintenance' },
  delivery: { icon: 'none', words: 'Delivery' },
  drill: { icon: 'none', words: 'Drill' },
  reaction: { icon: 'waiting', words: 'Reaction' },
  type_change: { icon: 'info', words: 'Type changed' },
  archived: { icon: 'archived', words: 'Archived' },
};

export class EventsFeed {
  constructor() {
    this.host = element('div', { class: 'panel panel-flush feed' });
    /** @type {Choice} */
    this.choice = 'all';
    /** @type {DriftlineEvent[] | null} */
    this.events = null;
    this.draw();
  }

  /** @param {DriftlineEvent[]} events */
  show(events) {
    this.events = events;
    this.draw();
  }

  draw() {
    const kinds = CHOICES.find(({ choice }) => choice === this.choice)?.kinds;
    const events = this.events?.filter(({ kind }) => !kinds || kinds.includes(kind));
    patch(this.host,
      h('div', { class: 'feed-choice segmented', role: 'group', 'aria-label': 'Events shown' }, CHOICES.map(({ choice, words }) =>
        h('button', { type: 'button', 'aria-pressed': String(choice === this.choice), onclick: () => { this.choice = choice; this.draw(); } }, words))),
      !events ? h('p', { class: 'empty-line' }, 'Asking the collector.')
        : events.length === 0 ? h('p', { class: 'empty-line' }, 'Nothing has happened yet.')
          : h('ol', { class: 'plain events', tabindex: 0, 'aria-label': 'Events, the newest first' }, together(events).map(line)));
  }
}

/**
 * Archived files that follow one another for the same model.
 * @param {DriftlineEvent[]} events
 */
function together(events) {
  /** @type {DriftlineEvent[][]} */
  const groups = [];
  for (const event of events) {
    const last = groups.at(-1)?.[0];
    const belongs = last && event.kind === 'archived' && last.kind === 'archived' && last.model === event.model;
    if (belongs) groups.at(-1)?.push(event);
    else groups.push([event]);
  }
  return groups;
}

/** @param {DriftlineEvent[]} group */
function line(group) {
  const [event] = group;
  if (!event) return null;
  const kind = KINDS[event.kind] ?? { icon: 'info', words: event.kind };
  const { text, runbook } = parted(event.text);
  const alert = runbook && new URLSearchParams(runbook.split('?')[1]).get('alert');
  // "x is back within its limit" is about drift, and is not drift.
  const isOver = event.kind === 'drift' && text.includes('back within');
  // The oldest of a group has an id that does not change when others join it.
  return h('li', { key: group.at(-1)?.id, class: `event event-${event.kind}` },
    icon(isOver ? 'quiet' : kind.icon),
    h('div', { class: 'event-text' },
      h('span', { class: 'unseen' }, `${kind.words}: `),
      // What the collector says of itself is of no model.
      event.model && [h('a', { class: 'event-model', href: modelPath(event.model) }, event.model), ' '],
      group.length === 1 ? withoutModel(text, event.model) : h('details', null,
        h('summary', null, `${counted(group.length, 'file')} archived`),
        h('ul', { class: 'plain files' }, group.map((one) => h('li', null, one.text)))),
      alert && [' ', h('a', { class: 'event-link', href: alertPath(alert) }, 'Alert')],
      runbook && event.kind === 'alert_fired' && [' ', h('a', { class: 'event-link', href: runbook }, 'Runbook')]),
    ago(event.at));
}

/**
 * An alert's line ends with its runbook's address, which is better a link.
 * @param {string} text
 */
function parted(text) {
  const [, before, url] = /^(.*?) — runbook (\S+)$/.exec(text) ?? [];
  return before === undefined || url === undefined ? { text, runbook: null } : { text: before, runbook: runbookPath(url) };
}

/**
 * "MissingValues: flight-delay: pressure is missing" stands beside the model's name already.
 * @param {string} text
 * @param {string} model
 */
function withoutModel(text, model) {
  return text.replace(`: ${model}: `, ': ');
}
