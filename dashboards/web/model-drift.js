/** The section of a model's page that shows drift by column over time, and what can be chosen there. */

import { paths } from './api.js';
import { AGAINST, BESIDE_EARLIER, CHOICES, detector } from './detectors.js';
import { element, h, patch } from './dom.js';
import { counted } from './format.js';
import { Heatmap } from './heatmap.js';
import { heatmapLegend } from './heatmap-legend.js';
import { watch } from './live.js';
import { keepInAddress, query } from './navigate.js';

/** @typedef {import('./api.js').ModelDetail} ModelDetail */
/** @typedef {import('./api.js').ScoreMatrix} ScoreMatrix */
/** @typedef {import('./heatmap.js').HeatmapRow} HeatmapRow */

const WINDOW_CHOICES = [30, 60, 120, 200, 500];
const USUAL_WINDOWS = 60;
/** What has closed does not change; a new window is asked for when the model's summary names it. */
const MATRIX_SECONDS = 120;

export class ModelDrift {
  /**
   * @param {string} model
   * @param {import('./model-column.js').ModelColumn} column
   */
  constructor(model, column) {
    this.model = model;
    this.column = column;
    const address = query();
    this.detector = address.get('detector') ?? 'psi';
    /** Null for the reference. */
    this.against = address.get('against');
    this.limit = WINDOW_CHOICES.find((one) => String(one) === address.get('windows')) ?? USUAL_WINDOWS;
    this.version = address.get('version');
    /** @type {string | null} */
    this.chosenColumn = address.get('column');
    /** The window that was pinned by its end; null follows the newest. @type {string | null} */
    this.ends = address.get('ends');
    /** @type {string | null} */
    this.revealed = null;
    /** @type {ModelDetail | null} */
    this.detail = null;
    /** @type {ScoreMatrix | null} */
    this.matrix = null;
    /** @type {Map<string, string[]>} */
    this.order = new Map();
    this.asked = '';
    this.stopWatching = () => {};
    this.heatmap = new Heatmap((name, window) => this.select(name, window));
    this.controls = element('div', { class: 'toolbar' });
    this.note = element('div', { class: 'heatmap-note' });
    this.body = element('div', { class: 'panel' });
    this.host = element('section', { 'aria-labelledby': 'drift-title' });
    patch(this.host, h('div', { class: 'section-head' }, h('h2', { id: 'drift-title' }, 'Drift by column over time'), this.controls), this.body);
    patch(this.body, h('p', { class: 'empty-line' }, 'Asking the collector.'));
  }

  stop() {
    this.stopWatching();
  }

  /** @param {ModelDetail} detail */
  update(detail) {
    this.detail = detail;
    this.drawControls();
    if (!detail.reference || !detail.window) this.drawNothing(detail);
    this.load();
  }

  /** Asks for the matrix when what it depends on has changed. */
  load() {
    const { detail } = this;
    if (!detail?.window) return;
    const path = paths.scores(this.model, { detector: this.detector, against: this.against, version: this.version, limit: this.limit });
    const wanted = `${path} ${detail.window.version} ${detail.window.ends}`;
    if (wanted === this.asked) return;
    this.asked = wanted;
    this.stopWatching();
    this.stopWatching = watch(path, MATRIX_SECONDS, (/** @type {ScoreMatrix} */ matrix) => {
      this.matrix = matrix;
      this.draw();
    }, (problem) => patch(this.body, h('p', { class: 'empty-line' }, problem.message)));
  }

  /**
   * @param {string} column
   * @param {number | null} window index among those shown; null leaves it
   */
  select(column, window) {
    const windows = this.matrix?.windows ?? [];
    this.chosenColumn = column;
    // The newest is not pinned: whoever chooses it wants to go on seeing the newest.
    if (window !== null) this.ends = window === windows.length - 1 ? null : windows[window]?.ends ?? null;
    this.keep();
    this.drawSelection();
  }

  /** @param {string | null} ends */
  chooseWindow(ends) {
    this.ends = ends;
    this.keep();
    this.drawSelection();
  }

  /** @param {string} against */
  chooseAgainst(against) {
    this.against = against === 'reference' ? null : against;
    if (this.against && !BESIDE_EARLIER.some(({ name }) => name === this.detector)) this.detector = 'psi';
    this.drawControls();
  }

  keep() {
    keepInAddress({
      column: this.chosenColumn, ends: this.ends, version: this.version,
      detector: this.detector === 'psi' ? null : this.detector, against: this.against, windows: this.limit === USUAL_WINDOWS ? null : String(this.limit),
    });
  }

  drawControls() {
    const versions = this.detail?.versions ?? [];
    const earlier = this.detail?.compare_with ?? [];
    const onchange = (/** @type {(value: string) => void} */ take) => (/** @type {Event} */ event) => {
      take(/** @type {HTMLSelectElement} */ (event.currentTarget).value);
      this.keep();
      this.load();
    };
    patch(this.controls,
      h('label', { class: 'field' }, 'Score ', h('select', { value: this.detector, onchange: onchange((value) => { this.detector = value; }) },
        (this.against ? BESIDE_EARLIER : CHOICES).map(({ name, label }) => h('option', { value: name }, label)))),
      earlier.length > 0 && h('label', { class: 'field' }, 'Against ', h('select', {
        value: this.against ?? 'reference', onchange: onchange((value) => this.chooseAgainst(value)),
      }, ['reference', ...earlier].map((name) => h('option', { value: name, key: name }, AGAINST[name] ?? name)))),
      h('label', { class: 'field' }, 'Windows ', h('select', { value: String(this.limit), onchange: onchange((value) => { this.limit = Number(value); }) },
        WINDOW_CHOICES.map((limit) => h('option', { value: String(limit) }, `last ${limit}`)))),
      versions.length > 1 && h('label', { class: 'field' }, 'Version ', h('select', {
        value: this.version ?? '', onchange: onchange((value) => { this.version = value || null; this.ends = null; }),
      }, h('option', { value: '' }, 'last to close'), versions.map((version) => h('option', { value: version, key: version }, version)))));
  }

  /** @param {ModelDetail} detail */
  drawNothing(detail) {
    patch(this.body, h('p', { class: 'empty-line' }, !detail.reference
      ? 'There is no reference to compare with, so no column is scored.'
      : 'No window has closed yet. Scores appear when the first one does.'));
    this.column.show(null);
  }

  draw() {
    const { matrix, detail } = this;
    if (!matrix || !detail) return;
    if (matrix.columns.length === 0 || matrix.windows.length === 0) {
      patch(this.body, h('p', { class: 'empty-line' }, matrix.windows.length === 0
        ? 'No window of this version has closed yet.' : this.against ? 'There are too few earlier windows to compare with.'
          : `${detector(matrix.detector).label} is not taken of any of these columns.`));
      this.drawSelection();
      return;
    }
    patch(this.body, heatmapLegend(), this.heatmap.host, this.note);
    const { every_panes: every, pane_seconds: pane } = detail.windows;
    const groups = this.groups(matrix, detail);
    this.chosenColumn ??= groups.flatMap(({ rows }) => rows).reduce((/** @type {HeatmapRow | null} */ worst, row) =>
      (!worst || rank(row) > rank(worst) ? row : worst), null)?.column ?? null;
    this.heatmap.show({ groups, windows: matrix.windows, stepSeconds: every * pane, summary: summarize(matrix) });
    const scored = new Set(matrix.columns.map(({ column }) => column));
    const without = detail.columns.filter(({ name, scored_as: kind }) => kind !== null && !scored.has(name));
    const unknown = detail.columns.filter(({ scored_as: kind }) => kind === null);
    patch(this.note,
      h('p', null, h('strong', null, detector(matrix.detector).label), '. ', detector(matrix.detector).says),
      without.length > 0 && h('p', { class: 'muted' }, `Not taken of ${names(without)}: it is for columns of another kind.`),
      unknown.length > 0 && h('p', { class: 'muted' }, `Not in the reference: ${names(unknown)}.`));
    this.drawSelection();
  }

  drawSelection() {
    const { matrix, chosenColumn } = this;
    if (!matrix) return;
    const windows = matrix.windows;
    const index = this.ends === null ? windows.length - 1 : windows.findIndex(({ ends }) => ends === this.ends);
    // Only a window chosen anew is scrolled to: whoever has scrolled away wants to stay there.
    this.heatmap.select(chosenColumn, index, this.ends !== this.revealed);
    this.revealed = this.ends;
    const step = (this.detail?.windows.every_panes ?? 1) * (this.detail?.windows.pane_seconds ?? 1);
    this.column.show(chosenColumn === null || windows.length === 0 ? null : {
      column: chosenColumn, windows, stepSeconds: step, selected: index, ends: this.ends ?? windows.at(-1)?.ends ?? null, isPinned: this.ends !== null,
      cells: matrix.columns.find(({ column }) => column === chosenColumn)?.cells ?? null, detector: matrix.detector, against: matrix.against, version: matrix.version,
    });
  }

  /**
   * The rows: predictions, then features, what drifts on top. While the reader points into them they stay where they are.
   * @param {ScoreMatrix} matrix
   * @param {ModelDetail} detail
   * @returns {import('./heatmap.js').HeatmapGroup[]}
   */
  groups(matrix, detail) {
    const predictions = new Set(detail.columns.filter(({ role }) => role === 'prediction').map(({ name }) => name));
    const rows = matrix.columns.map(({ column, cells }) => ({ column, cells, driftsNow: cells.at(-1)?.verdict === 'drift' }));
    return ['Predictions', 'Features'].map((name) => {
      const own = rows.filter(({ column }) => predictions.has(column) === (name === 'Predictions'));
      const before = this.order.get(name);
      if (this.heatmap.isBusy && before) {
        const place = (/** @type {HeatmapRow} */ row) => (before.includes(row.column) ? before.indexOf(row.column) : before.length);
        own.sort((a, b) => place(a) - place(b));
      } else {
        own.sort((a, b) => rank(b) - rank(a) || a.column.localeCompare(b.column));
      }
      this.order.set(name, own.map(({ column }) => column));
      return { name, rows: own };
    }).filter((group) => group.rows.length > 0);
  }
}

/**
 * How far up a row belongs: drift now before drift lately before none; then by how much of the limit was reached.
 * @param {HeatmapRow} row
 */
function rank({ cells, driftsNow }) {
  const ratio = (/** @type {import('./api.js').Score | null} */ score) => (score && score.limit > 0 ? score.effect / score.limit : 0);
  const drifted = cells.filter((score) => score?.verdict === 'drift');
  const believed = drifted.length > 0 ? drifted : cells.filter((score) => score?.verdict === 'ok');
  const most = Math.max(0, ...believed.map(ratio));
  // Squeezed below 1, so that it only orders rows of the same standing.
  return (driftsNow ? 2 : 0) + (drifted.length > 0 ? 1 : 0) + most / (1 + most);
}

/** @param {{name: string}[]} columns */
function names(columns) {
  const shown = columns.slice(0, 6).map(({ name }) => name).join(', ');
  return columns.length > 6 ? `${shown} and ${counted(columns.length - 6, 'other')}` : shown;
}

/** @param {ScoreMatrix} matrix */
function summarize({ columns, windows }) {
  const now = columns.filter(({ cells }) => cells.at(-1)?.verdict === 'drift').map(({ column }) => column);
  const ever = columns.filter(({ cells }) => cells.some((score) => score?.verdict === 'drift')).map(({ column }) => column);
  return `${counted(columns.length, 'column')}, ${counted(windows.length, 'window')}. `
    + (now.length > 0 ? `Drift in the last window: ${now.slice(0, 8).join(', ')}. ` : 'No drift in the last window. ')
    + (ever.length > 0 ? `Drift in any of these windows: ${ever.slice(0, 8).join(', ')}.` : 'No drift in any of these windows.');
}
