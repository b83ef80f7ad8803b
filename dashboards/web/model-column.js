/** The column and window that were chosen: its score over time, its distribution against the reference, all its scores. */

import { paths } from './api.js';
import { ChartFrame } from './chart-frame.js';
import { drawHistogram } from './chart-histogram.js';
import { drawScore, scoreLegend } from './chart-score.js';
import { AGAINST, detector, noiseLevel } from './detectors.js';
import { element, h, patch } from './dom.js';
import { count, counted, number, probability, share, span } from './format.js';
import { watch } from './live.js';
import { onScale, verdictBadge } from './score-words.js';

/** @typedef {import('./api.js').Score} Score */
/** @typedef {import('./api.js').ColumnDetail} ColumnDetail */
/**
 * What was chosen.
 * @typedef {object} Choice
 * @property {string} column
 * @property {import('./api.js').ScoredWindow[]} windows
 * @property {number} stepSeconds
 * @property {number} selected index of the window, -1 when it is older than those shown
 * @property {string | null} ends
 * @property {boolean} isPinned
 * @property {(Score | null)[] | null} cells null when the detector is not taken of the column
 * @property {string} detector
 * @property {string} against
 * @property {string | null} version
 */

/** A closed window does not change. */
const DETAIL_SECONDS = 3600;

export class ModelColumn {
  /** @param {string} model */
  constructor(model) {
    this.model = model;
    /** Called with the end of the window that was chosen, or null for the newest. @type {(ends: string | null) => void} */
    this.onWindow = () => {};
    /** @type {Choice | null} */
    this.choice = null;
    /** @type {ColumnDetail | null} */
    this.detail = null;
    /** @type {import('./api.js').Column[]} */
    this.columns = [];
    this.asked = '';
    this.stopWatching = () => {};
    this.scoreFrame = new ChartFrame('Score over the windows');
    this.barsFrame = new ChartFrame('Reference against the window');
    this.host = element('section', { 'aria-labelledby': 'column-title', hidden: true });
  }

  stop() {
    this.stopWatching();
  }

  /** @param {import('./api.js').ModelDetail} model */
  describe({ columns }) {
    this.columns = columns;
  }

  /** @param {Choice | null} choice */
  show(choice) {
    this.choice = choice;
    this.host.hidden = choice === null;
    if (!choice) return;
    const path = paths.column(this.model, choice.column, { version: choice.version, ends: choice.ends });
    if (path !== this.asked) {
      this.asked = path;
      this.stopWatching();
      this.stopWatching = watch(path, DETAIL_SECONDS, (/** @type {ColumnDetail} */ detail) => {
        this.detail = detail;
        this.draw();
      }, () => {
        this.detail = null;
        this.draw();
      });
    }
    this.draw();
  }

  draw() {
    const { choice } = this;
    if (!choice) return;
    const { column, windows, selected, cells } = choice;
    const window = windows[selected];
    // While the next answer is on its way the last one stays, but never another column's.
    const detail = this.detail?.column === column ? this.detail : null;
    const hasBars = detail !== null && detail.bars.length > 0;
    const described = this.columns.find(({ name }) => name === column);
    patch(this.host,
      h('div', { class: 'section-head' },
        h('h2', { id: 'column-title' }, h('span', { class: 'breakable' }, column), ' ',
          described && h('span', { class: 'count' }, [described.role, described.scored_as].filter(Boolean).join(', '))),
        this.windowControls(choice)),
      h('div', { class: 'columns columns-even' },
        h('div', { class: 'panel' },
          h('h3', null, `${detector(choice.detector).label} over the windows`, choice.against !== 'reference' && `, against ${AGAINST[choice.against] ?? choice.against}`),
          cells ? [scoreLegend(cells[selected] ?? null), this.scoreFrame.host]
            : h('p', { class: 'empty-line' }, 'This score is not taken of this column; all that are taken stand in the table.')),
        h('div', { class: 'panel' },
          h('h3', null, 'Reference against the window'),
          hasBars ? [histogramLegend(detail), this.barsFrame.host]
            : h('p', { class: 'empty-line' }, detail ? 'Pairs of columns and vectors are no picture of bars; their scores stand in the table.'
              : 'No distribution is kept of this column and window.'))),
      detail && detail.beside.length > 0 && besidePanel(detail),
      detail && detail.causes.length > 0 && causePanel(detail),
      detail && scoreTable(detail));
    if (cells) this.scoreFrame.show((width) => drawScore({ ...choice, cells, onSelect: (index) => this.choose(index) }, width));
    if (hasBars) this.barsFrame.show((width) => drawHistogram(detail.bars, width));
    this.barsFrame.plot.classList.toggle('is-waiting', detail !== null && window !== undefined && detail.window.ends !== window.ends);
  }

  /** @param {number} index */
  choose(index) {
    const windows = this.choice?.windows ?? [];
    this.onWindow(index >= windows.length - 1 ? null : windows[index]?.ends ?? null);
  }

  /** @param {Choice} choice */
  windowControls({ windows, selected, isPinned }) {
    const window = windows[selected];
    const step = (/** @type {string} */ sign, /** @type {string} */ name, /** @type {number} */ index) => h('button', {
      type: 'button', class: 'quiet-button', title: name, 'aria-label': name, disabled: windows[index] === undefined, onclick: () => this.choose(index),
    }, sign);
    return h('div', { class: 'toolbar window-choice' },
      step('‹', 'The window before', selected < 0 ? windows.length - 1 : selected - 1),
      h('span', { class: 'window-chosen' }, window ? [span(window.starts, window.ends),
        h('span', { class: 'muted' }, ` ${counted(window.rows, 'row')}, ${window.filled} of ${window.panes} panes`)] : 'A window before those shown'),
      step('›', 'The window after', selected < 0 ? -1 : selected + 1),
      isPinned ? h('button', { type: 'button', class: 'quiet-button', onclick: () => this.onWindow(null) }, 'Newest') : h('span', { class: 'muted' }, 'newest'));
  }
}

/** @param {ColumnDetail} detail */
function histogramLegend({ scores }) {
  const [first] = scores;
  return h('ul', { class: 'legend' },
    h('li', null, h('span', { class: 'key key-reference', 'aria-hidden': 'true' }), `Reference${first ? `, ${counted(first.n_reference, 'row')}` : ''}`),
    h('li', null, h('span', { class: 'key key-window', 'aria-hidden': 'true' }), `Window${first ? `, ${counted(first.n_window, 'row')}` : ''}`),
    h('li', { class: 'muted' }, 'Share of rows'));
}

/**
 * What earlier windows say of it: whether it is new, or the reference is what is old.
 * @param {ColumnDetail} detail
 */
function besidePanel({ beside, standing }) {
  const figures = (/** @type {Score[]} */ scores) => scores.map((score, index) => [index > 0 && ', ',
    `${detector(score.detector).short} ${onScale(score, score.effect)}`, h('span', { class: 'muted' }, ` of ${onScale(score, score.limit)} `),
    score.verdict !== 'ok' && verdictBadge(score.verdict)]);
  return h('div', { class: 'panel' },
    h('h3', null, 'Beside earlier windows'),
    h('dl', { class: 'facts' },
      standing && [h('dt', null, 'Is it new'), h('dd', null, standing.says)],
      beside.map(({ against, starts, ends, windows, needed, scores }) => [
        h('dt', null, `Against ${AGAINST[against] ?? against}`),
        h('dd', null, scores.length > 0 ? figures(scores) : `${counted(windows, 'window')} of at least ${needed} that it takes`,
          starts && ends && h('span', { class: 'muted' }, ` (${counted(windows, 'window')}, ${span(starts, ends)})`))])));
}

/**
 * What the drift looks like, and since when.
 * @param {ColumnDetail} detail
 */
function causePanel({ causes, since, window }) {
  const length = Date.parse(window.ends) - Date.parse(window.starts);
  const began = (/** @type {string} */ ends) => new Date(Date.parse(ends) - length).toISOString();
  return h('div', { class: 'panel' },
    h('h3', null, 'What the change looks like'),
    h('dl', { class: 'facts' },
      causes.map(({ says, share: part }, index) => [h('dt', null, index === 0 ? 'Looks like' : 'And'),
        h('dd', null, says, h('span', { class: 'muted' }, `, ${share(part)} of the change`))]),
      since && [h('dt', null, 'Since'), h('dd', null, span(began(since.first), since.first),
        h('span', { class: 'muted' }, since.earliest === since.latest ? ' (the first window)' : `, with a certainty of 95 % within ${span(began(since.earliest), since.latest)}`))]));
}

/** @param {ColumnDetail} detail */
function scoreTable({ scores, column, window }) {
  return h('div', { class: 'panel panel-flush' },
    h('div', { class: 'table-scroller', tabindex: 0, role: 'region', 'aria-label': `All scores of ${column}, ${span(window.starts, window.ends)}` },
      h('table', { class: 'figures scores' },
        h('thead', null, h('tr', null, h('th', { scope: 'col' }, 'Score'), h('th', { scope: 'col' }, 'Verdict'),
          ['Value', 'On the limit’s scale', 'Limit', 'Matters from', 'Noise', 'p', 'Rows'].map((name) => h('th', { scope: 'col', class: 'number' }, name)))),
        h('tbody', null, scores.map(scoreRow)))),
    h('div', { class: 'explanation' },
      h('p', null, h('strong', null, 'Limit'), ': above it the verdict is drift. It is the larger of two: the threshold from which a difference matters, as configured, and the noise, which is what the budget of false pages allows, or without one what chance or the reference’s own stretches of time reach.'),
      h('p', null, h('strong', null, 'Not enough data'), ': too few panes of the window hold rows, or the sample is so small that a difference that matters could hide in its noise.'),
      h('p', null, h('strong', null, 'p'), ': how probable as much is by chance if rows were independent. Rows that follow each other in time are not, so the verdict rests on the limit.')));
}

/** @param {Score} score */
function scoreRow(score) {
  const { label, says } = detector(score.detector);
  const isSame = score.value === score.effect;
  return h('tr', { key: score.detector, class: `score-${score.verdict}` },
    h('th', { scope: 'row', title: says }, label),
    h('td', null, verdictBadge(score.verdict)),
    h('td', { class: 'number' }, isSame ? onScale(score, score.value) : number(score.value), score.upper > score.value && [' to ', number(score.upper)]),
    h('td', { class: 'number', title: score.effect_unit ?? undefined }, isSame ? h('span', { class: 'muted' }, 'the same') : onScale(score, score.effect)),
    h('td', { class: 'number' }, onScale(score, score.limit)),
    h('td', { class: 'number' }, onScale(score, score.threshold)),
    h('td', { class: 'number' }, onScale(score, noiseLevel(score))),
    h('td', { class: 'number' }, probability(score.p_value)),
    h('td', { class: 'number' }, count(score.n_window)));
}
