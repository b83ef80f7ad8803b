/** What people say of alerts: that they are on one, that some are to be silent. Small forms that ask the API. */

import { change, paths } from './api.js';
import { element, h, patch } from './dom.js';
import { retryNow } from './live.js';

/** @typedef {import('./api.js').EpisodeDetail} EpisodeDetail */

const NAME_KEY = 'driftline.name';
/** For how long, in minutes. */
const STRETCHES = /** @type {const} */ ([[30, '30 minutes'], [60, '1 hour'], [120, '2 hours'], [480, '8 hours'], [1440, '1 day'], [4320, '3 days'], [10080, '7 days']]);

/** On which days, and how that is said. */
const DAYS = /** @type {const} */ ([
  ['', 'Every day'], ['monday,tuesday,wednesday,thursday,friday', 'Working days'], ['saturday,sunday', 'The weekend'], ['monday', 'Monday'], ['tuesday', 'Tuesday'],
  ['wednesday', 'Wednesday'], ['thursday', 'Thursday'], ['friday', 'Friday'], ['saturday', 'Saturday'], ['sunday', 'Sunday'],
]);

/** Who sits here, as they said last. */
export function keptName() {
  try {
    return localStorage.getItem(NAME_KEY) ?? '';
  } catch {
    // Storage may be forbidden; the name is then asked for each time.
    return '';
  }
}

/**
 * Remembers who sits here.
 * @param {string} name
 */
export function keepName(name) {
  try {
    localStorage.setItem(NAME_KEY, name);
  } catch {
    // As above.
  }
}

/**
 * A form that asks the API when it is sent, says what was wrong, and closes when nothing was.
 * @param {string} title of what opens it, and of its button
 * @param {import('./dom.js').Child[]} fields
 * @param {(said: (name: string) => string) => Promise<unknown>} send
 * @returns {HTMLElement}
 */
function form(title, fields, send) {
  const problem = element('p', { class: 'form-problem', role: 'alert' });
  const details = element('details', { class: 'words' });
  const button = /** @type {HTMLButtonElement} */ (element('button', { type: 'submit', class: 'button' }, title));
  /** @param {SubmitEvent} event */
  const onsubmit = async (event) => {
    event.preventDefault();
    const data = new FormData(/** @type {HTMLFormElement} */ (event.currentTarget));
    const said = (/** @type {string} */ name) => String(data.get(name) ?? '').trim();
    button.disabled = true;
    patch(problem);
    try {
      await send(said);
      keepName(said('name'));
      details.removeAttribute('open');
      retryNow();
    } catch (error) {
      patch(problem, error instanceof Error ? error.message : String(error));
    } finally {
      button.disabled = false;
    }
  };
  patch(details, h('summary', { class: 'button button-quiet' }, title), h('form', { class: 'words-form', onsubmit }, fields,
    h('label', null, 'Your name', h('input', { name: 'name', required: true, maxlength: 100, autocomplete: 'name', value: keptName() })), button, problem));
  return details;
}

/** @param {string} label @param {string} name @param {boolean} required */
function line(label, name, required) {
  return h('label', null, label, h('input', { name, required, maxlength: 1000, autocomplete: 'off' }));
}

/**
 * Says that somebody is on an alert.
 * @param {string} id
 */
export function acknowledgeForm(id) {
  return form('I am on it', [line('What others should know', 'note', false)],
    (said) => change('POST', paths.acknowledgement(id), { by: said('name'), note: said('note') }));
}

/**
 * Approves of a reaction, or declines it.
 * @param {string} id
 */
export function approvalForms(id) {
  const decide = (/** @type {string} */ title, /** @type {boolean} */ approve) => form(title, [line('What others should know', 'note', false)],
    (said) => change('POST', paths.approval(id), { approve, by: said('name'), note: said('note') }));
  return [decide('Approve', true), decide('Decline', false)];
}

/**
 * Makes a silence.
 * @param {string} title
 * @param {Record<string, string>} [matching] what it is of; asked for when it is not given
 */
export function silenceForm(title, matching) {
  const which = matching ? h('p', { class: 'words-what' }, 'Nobody is told of ', h('code', { class: 'breakable' }, matchingWords(matching)), ' but that it is over, for')
    : [line('Model, or the beginning of many and *', 'model', false), line('Rule, or * for every one', 'rule', true)];
  const stretch = h('label', null, 'For how long', h('select', { name: 'minutes' }, STRETCHES.map(([minutes, words]) => h('option', { value: String(minutes) }, words))));
  return form(title, [which, stretch, line('Why', 'comment', true)], (said) => {
    const until = new Date(Date.now() + Number(said('minutes')) * 60_000).toISOString();
    const asked = Object.fromEntries(['model', 'rule'].map((name) => [name, said(name)]).filter(([, value]) => value !== ''));
    return change('POST', paths.silences(), { matching: matching ?? asked, until, comment: said('comment'), author: said('name') });
  });
}

/**
 * Makes a maintenance window.
 * @param {string} title
 */
export function maintenanceForm(title) {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || 'UTC';
  const days = h('label', null, 'On which days', h('select', { name: 'days' }, DAYS.map(([named, words]) => h('option', { value: named }, words))));
  const time = (/** @type {string} */ label, /** @type {string} */ name) => h('label', null, label, h('input', { name, type: 'time', required: true }));
  const fields = [
    line('What it is called', 'window', true), line('Model, or the beginning of many and *', 'model', false), line('Rule, or * for every one', 'rule', true),
    days, time(`From (${zone})`, 'from'), time('Until', 'until'), line('Why', 'comment', true),
  ];
  return form(title, fields, (said) => {
    const matching = Object.fromEntries(['model', 'rule'].map((name) => [name, said(name)]).filter(([, value]) => value !== ''));
    const named = said('days').split(',').filter(Boolean);
    return change('POST', paths.maintenance(), {
      name: said('window'), matching, days: named.length > 0 ? named : null, from: said('from'), until: said('until'), time_zone: zone, comment: said('comment'), author: said('name'),
    });
  });
}

/** @param {Record<string, string>} matching */
export function matchingWords(matching) {
  return Object.entries(matching).map(([label, value]) => `${label}=${value}`).join(', ');
}

/**
 * What a silence of one alert is of: its rule, and what it is about.
 * @param {EpisodeDetail} alert
 */
export function matchingOf({ rule, labels }) {
  return { rule, ...labels };
}
