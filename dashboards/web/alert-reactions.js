/** What is started because of an alert: what it waits for, who approved, and what became of it. */

import { approvalForms } from './alert-words.js';
import { at } from './clock.js';
import { h } from './dom.js';
import { counted } from './format.js';
import { icon } from './icons.js';

/** @typedef {import('./api.js').EpisodeDetail} EpisodeDetail */
/** @typedef {import('./api.js').Reaction} Reaction */

/** @type {Record<string, {icon: import('./icons.js').IconName, words: string}>} */
const STATES = {
  waiting: { icon: 'waiting', words: 'waits' },
  asked: { icon: 'ticket', words: 'waits for approval' },
  approved: { icon: 'waiting', words: 'is approved, and waits' },
  starting: { icon: 'waiting', words: 'is being started' },
  started: { icon: 'quiet', words: 'is started' },
  unknown: { icon: 'page', words: 'may have been started' },
  failed: { icon: 'page', words: 'could not be started' },
  declined: { icon: 'none', words: 'was declined' },
  lapsed: { icon: 'none', words: 'lapsed' },
};

/**
 * @param {EpisodeDetail} alert
 * @param {Map<string, HTMLElement[]>} forms those that are shown already: what somebody is typing outlives the next answer
 */
export function reactionsSection({ reactions }, forms) {
  return reactions.length > 0 && h('section', { 'aria-labelledby': 'reactions-title', key: 'reactions' },
    h('h2', { id: 'reactions-title' }, 'Reactions'),
    h('div', { class: 'panel' }, h('ol', { class: 'plain timeline' }, reactions.map((reaction) => line(reaction, forms)))));
}

/** @param {Reaction} reaction @param {Map<string, HTMLElement[]>} forms */
function line(reaction, forms) {
  const { id, state, why, decided, reference, result, attempts, good_until: until, created_at: created, started_at: started } = reaction;
  const shown = STATES[state] ?? { icon: 'info', words: state };
  if (state === 'asked' && !forms.has(id)) forms.set(id, approvalForms(id));
  const isWrong = state === 'failed' || state === 'unknown';
  return h('li', { key: id, class: 'moment' }, icon(shown.icon), h('div', null,
    h('div', { class: 'moment-what' }, h('strong', null, reaction.reaction), ` ${shown.words}`, reference !== null && ['; it is run ', h('code', { class: 'breakable' }, reference)]),
    h('div', { class: 'sub' },
      state === 'asked' && until !== null && ['Asked ', at(created ?? until), ', until ', at(until)],
      started !== null && ['At ', at(started), attempts > 1 && `, ${counted(attempts, 'attempt')}`]),
    why !== null && state !== 'asked' && h('div', { class: isWrong ? 'moment-error' : 'sub' }, why),
    decided && h('div', { class: 'sub' }, h('strong', null, decided.by), state === 'declined' ? ' declined ' : ' approved ', at(decided.at), decided.note !== '' && `: ${decided.note}`),
    result && h('div', { class: 'sub' }, 'The job reports: ', h('strong', null, result.state), ' ', at(result.at), result.note !== '' && `: ${result.note}`),
    state === 'asked' && h('div', { class: 'alert-actions' }, forms.get(id) ?? [])));
}
