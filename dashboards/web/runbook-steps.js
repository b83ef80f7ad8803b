/** The steps of an alert's runbook as a list to tick off, so that everybody on the alert sees what was done. */

import { keepName, keptName } from './alert-words.js';
import { change, paths } from './api.js';
import { ago } from './clock.js';
import { element, h, patch } from './dom.js';
import { count } from './format.js';
import { retryNow } from './live.js';

/** @typedef {import('./api.js').Step} Step */

export class RunbookSteps {
  /** @param {string} episode */
  constructor(episode) {
    this.episode = episode;
    /** @type {Step[]} */
    this.steps = [];
    /** Steps that are on their way, and what they are to become. @type {Map<string, boolean>} */
    this.sent = new Map();
    this.problem = element('p', { class: 'form-problem', role: 'alert' });
    this.name = /** @type {HTMLInputElement} */ (element('input', { maxlength: 100, autocomplete: 'name', value: keptName() }));
    this.host = element('div', { class: 'panel steps' });
  }

  /** @param {Step[]} steps */
  show(steps) {
    this.steps = steps;
    this.draw();
  }

  draw() {
    const sections = [...new Set(this.steps.map(({ section }) => section))];
    patch(this.host,
      h('label', { class: 'steps-name' }, 'Your name', this.name), this.problem,
      sections.map((section) => {
        const own = this.steps.filter((step) => step.section === section);
        const done = own.filter((step) => this.isDone(step)).length;
        return h('fieldset', { key: section },
          h('legend', null, section, ' ', h('span', { class: 'count' }, `${count(done)} of ${count(own.length)}`)),
          h('ul', { class: 'plain' }, own.map((step) => this.row(step))));
      }));
  }

  /** @param {Step} step */
  isDone(step) {
    return this.sent.get(step.id) ?? step.done;
  }

  /** @param {Step} step */
  row(step) {
    const { tick } = step;
    return h('li', { key: step.id },
      h('label', { class: 'step' },
        h('input', { type: 'checkbox', checked: this.isDone(step), onchange: (/** @type {Event} */ event) => this.tick(step, /** @type {HTMLInputElement} */ (event.currentTarget).checked) }),
        h('span', null, step.text)),
      tick && h('span', { class: 'sub' }, tick.done ? '' : 'taken back, ', tick.by, ' ', ago(tick.at), tick.note !== '' && `: ${tick.note}`));
  }

  /**
   * @param {Step} step
   * @param {boolean} done
   */
  async tick(step, done) {
    const by = this.name.value.trim();
    this.sent.set(step.id, done);
    patch(this.problem);
    try {
      await change('POST', paths.step(this.episode, step.id), { done, by: by || null });
      if (by) keepName(by);
      step.done = done;
      retryNow();
    } catch (error) {
      patch(this.problem, error instanceof Error ? error.message : String(error));
      if (!by) this.name.focus();
    } finally {
      this.sent.delete(step.id);
      this.draw();
    }
  }
}
