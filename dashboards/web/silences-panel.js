/** Silences that are on or to come, with a button to end each. */

import { change, paths } from './api.js';
import { matchingWords, silenceForm } from './alert-words.js';
import { at } from './clock.js';
import { element, h, patch } from './dom.js';
import { count } from './format.js';
import { retryNow, watch } from './live.js';

/** @typedef {import('./api.js').Silence} Silence */

/** @param {HTMLElement} host */
export function silencesPanel(host) {
  const add = silenceForm('Silence alerts');
  const problem = element('p', { class: 'form-problem', role: 'alert' });
  /** @type {Silence[]} */
  let silences = [];

  /** @param {string} id */
  const end = async (id) => {
    patch(problem);
    try {
      await change('DELETE', paths.silence(id));
      retryNow();
    } catch (error) {
      patch(problem, error instanceof Error ? error.message : String(error));
    }
  };
  const draw = () => patch(host, h('h2', null, 'Silences ', h('span', { class: 'count' }, count(silences.length))),
    h('div', { class: 'panel panel-flush' }, silences.length === 0 ? h('p', { class: 'empty-line' }, 'Nothing is silenced.')
      : h('ul', { class: 'plain alerts silences' }, silences.map((silence) => row(silence, end)))), problem, add);
  draw();
  return watch(paths.silences(), 3, (/** @type {Silence[]} */ answer) => {
    silences = answer;
    draw();
  });
}

/**
 * @param {Silence} silence
 * @param {(id: string) => void} end
 */
function row({ id, state, matching, from, until, comment, author }, end) {
  const when = state === 'pending' ? ['From ', at(from), ' to ', at(until)] : ['Until ', at(until)];
  return h('li', { key: id, class: 'silence' },
    h('div', { class: 'alert-what' }, h('code', { class: 'breakable' }, matchingWords(matching)), h('div', { class: 'sub' }, `${author}: ${comment}`)),
    h('div', { class: 'alert-when' }, when),
    h('button', { type: 'button', class: 'quiet-button', onclick: () => end(id) }, 'End', h('span', { class: 'unseen' }, ` the silence of ${matchingWords(matching)}`)));
}
