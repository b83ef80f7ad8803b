/**
 * Drift by column over time: a row for each column, a cell for each window, shaded by how much of its limit the effect
 * reaches. What drifts also carries a diamond, and what has not enough data is hatched, so that nothing rests on colour.
 */

import { bottomAxis } from './chart-axes.js';
import { element, h, patch } from './dom.js';
import { VERDICTS } from './detectors.js';
import { span } from './format.js';
import { icon } from './icons.js';
import { scoreTip, sentence } from './score-words.js';
import { hideTip, showTip } from './tooltip.js';
import { breakMarks, placeWindows, windowTicks } from './window-axis.js';

/** @typedef {import('./api.js').Score} Score */
/** @typedef {import('./api.js').ScoredWindow} ScoredWindow */
/** @typedef {{column: string, cells: (Score | null)[], driftsNow: boolean}} HeatmapRow */
/** @typedef {{name: string, rows: HeatmapRow[]}} HeatmapGroup */
/** @typedef {{groups: HeatmapGroup[], windows: ScoredWindow[], stepSeconds: number, summary: string}} HeatmapData */
/** @typedef {{row: number, window: number}} Place */

const ROW = 24;
const GROUP = 26;
const FILL_STRIP = 22;
const AXIS = 40;
const GAP = 1;
const LABEL_SPACING = 62;
/** Below 9 pixels a cell's diamond can't be told; above 34 a few windows would look like a wall. */
const PITCHES = { least: 9, most: 34, isWhole: true };

/** Shares of the limit at which the shade changes. */
const SHADES = [0.2, 0.4, 0.6, 0.8];
/** Multiples of it at which drift looks graver. */
const GRAVER = [1.5, 3];

/**
 * The class of a cell: q0 to q4 within the limit, d0 to d2 beyond it.
 * @param {Score} score
 */
export function shade(score) {
  const ratio = score.limit > 0 ? score.effect / score.limit : 0;
  if (score.verdict === 'drift') return `d${GRAVER.filter((one) => ratio > one).length}`;
  return `q${SHADES.filter((one) => ratio > one).length}`;
}

export class Heatmap {
  /** @param {(column: string, window: number | null) => void} onSelect */
  constructor(onSelect) {
    this.onSelect = onSelect;
    this.names = element('div', { class: 'heatmap-names' });
    this.plot = element('div', { class: 'heatmap-plot' });
    this.scroller = element('div', { class: 'heatmap-scroller' }, this.names, this.plot);
    this.said = element('div', { class: 'unseen', 'aria-live': 'polite' });
    this.host = element('div', { class: 'heatmap' }, this.scroller, this.said);
    /** @type {HeatmapData | null} */
    this.data = null;
    /** @type {HeatmapRow[]} */
    this.rows = [];
    /** @type {number[]} */
    this.tops = [];
    /** @type {import('./window-axis.js').WindowPlaces} */
    this.places = { centers: [], breaks: [], pitch: 0, width: 0 };
    /** @type {Place | null} */
    this.active = null;
    /** @type {{column: string | null, window: number}} */
    this.selected = { column: null, window: -1 };
    this.isUsed = false;
    this.width = 0;
    new ResizeObserver(() => {
      if (this.scroller.clientWidth !== this.width && this.data) this.draw();
    }).observe(this.scroller);
    this.host.onpointerenter = () => { this.isUsed = true; };
    this.host.onpointerleave = () => { this.isUsed = false; };
  }

  /** Whether the reader points into it: rows should then stay where they are. */
  get isBusy() {
    return this.isUsed || this.host.contains(document.activeElement);
  }

  /** Where the cells' own coordinates begin on the screen: the plot has a padding. */
  get gridBox() {
    return (this.plot.querySelector('svg') ?? this.plot).getBoundingClientRect();
  }

  /** @param {HeatmapData} data */
  show(data) {
    const isFirst = !this.data;
    // Whoever looks at the newest windows goes on doing so when another closes.
    const atEnd = isFirst || this.scroller.scrollLeft + this.scroller.clientWidth >= this.scroller.scrollWidth - 4;
    this.data = data;
    this.rows = data.groups.flatMap((group) => group.rows);
    this.draw();
    if (atEnd) this.scroller.scrollLeft = this.scroller.scrollWidth;
  }

  /**
   * @param {string | null} column
   * @param {number} window index among those shown; -1 for none
   * @param {boolean} isRevealed whether to scroll to it
   */
  select(column, window, isRevealed) {
    this.selected = { column, window };
    this.drawNames();
    this.drawOverlay();
    if (isRevealed) this.scrollTo(window);
  }

  draw() {
    const { data } = this;
    if (!data) return;
    this.width = this.scroller.clientWidth;
    if (this.width === 0) return;
    this.drawNames();
    const room = this.width - this.names.offsetWidth - 10;
    this.places = placeWindows(data.windows, data.stepSeconds, room, PITCHES);
    this.tops = [];
    let top = 0;
    for (const group of data.groups) {
      top += GROUP;
      for (const _ of group.rows) {
        this.tops.push(top);
        top += ROW;
      }
    }
    const [strip, axis] = [top + 8, top + 8 + FILL_STRIP];
    const { places } = this;
    const width = Math.max(places.width, 120);
    patch(this.plot, h('svg', {
      class: 'heatmap-grid', role: 'grid', tabindex: 0, width, height: axis + AXIS, viewBox: `0 0 ${width} ${axis + AXIS}`,
      'aria-label': `Drift by column over time. ${data.summary} Arrow keys move from cell to cell, Enter selects.`,
      'aria-rowcount': this.rows.length, 'aria-colcount': data.windows.length,
      onpointermove: (/** @type {PointerEvent} */ event) => this.point(event), onpointerleave: () => this.leave(), onblur: () => this.leave(),
      onclick: (/** @type {PointerEvent} */ event) => { this.point(event); this.choose(); },
      onkeydown: (/** @type {KeyboardEvent} */ event) => this.key(event),
    },
    h('defs', null, h('pattern', { id: 'hatch', width: 5, height: 5, patternUnits: 'userSpaceOnUse', patternTransform: 'rotate(45)' },
      h('line', { class: 'hatch', x1: 0, x2: 0, y1: 0, y2: 5 }))),
    this.rows.map((row, index) => this.rowShape(row, index)),
    h('g', { 'aria-hidden': 'true' },
      breakMarks(places, GROUP, strip + FILL_STRIP - 4),
      data.windows.map((window, index) => this.fillShape(window, index, strip)),
      bottomAxis(windowTicks(data.windows, places, data.stepSeconds, LABEL_SPACING), (index) => places.centers[index] ?? 0, axis,
        { left: 0, right: width })),
    h('g', { class: 'heatmap-overlay', 'aria-hidden': 'true' })));
    this.drawOverlay();
  }

  drawNames() {
    const { data } = this;
    if (!data) return;
    patch(this.names, data.groups.map((group) => h('div', { class: 'heatmap-group', key: group.name },
      h('div', { class: 'heatmap-group-name' }, group.name),
      group.rows.map((row) => h('button', {
        type: 'button', class: 'heatmap-name', key: row.column, title: row.column,
        'aria-pressed': String(row.column === this.selected.column),
        onclick: () => this.onSelect(row.column, null),
      }, h('span', { class: 'heatmap-name-text' }, row.column),
      row.driftsNow && [icon('drift'), h('span', { class: 'unseen' }, ' drifts in the last window')])))),
    h('div', { class: 'heatmap-strip-name' }, 'Panes filled'),
    h('div', { class: 'heatmap-axis-name' }, 'Window ends, UTC'));
  }

  /**
   * @param {HeatmapRow} row
   * @param {number} index
   */
  rowShape(row, index) {
    const top = (this.tops[index] ?? 0) + GAP;
    const size = this.places.pitch - GAP;
    return h('g', { role: 'row', key: row.column, 'aria-label': row.column }, row.cells.map((score, at) => {
      const middle = this.places.centers[at] ?? 0;
      const box = { x: middle - size / 2, y: top, width: size, height: ROW - 2 * GAP };
      const cell = { role: 'gridcell', id: `cell-${index}-${at}`, 'aria-label': score ? VERDICTS[score.verdict] : 'not taken' };
      if (!score) return h('rect', { ...cell, ...box, class: 'cell cell-none' });
      if (score.verdict === 'not_enough_data') return h('rect', { ...cell, ...box, class: 'cell cell-little', fill: 'url(#hatch)' });
      if (score.verdict === 'ok') return h('rect', { ...cell, ...box, class: `cell cell-${shade(score)}` });
      const half = Math.min(4, size / 2 - 1.5);
      const center = top + ROW / 2 - GAP;
      return h('g', cell, h('rect', { ...box, class: `cell cell-${shade(score)}` }),
        h('path', { class: 'cell-diamond', d: `M${middle} ${center - half}l${half} ${half}l${-half} ${half}l${-half} ${-half}z` }));
    }));
  }

  /**
   * @param {ScoredWindow} window
   * @param {number} index
   * @param {number} top
   */
  fillShape(window, index, top) {
    const size = this.places.pitch - GAP;
    const height = Math.max(1, Math.round((FILL_STRIP - 6) * (window.filled / Math.max(1, window.panes))));
    return h('rect', { class: 'fill-bar', x: (this.places.centers[index] ?? 0) - size / 2, y: top + FILL_STRIP - 6 - height, width: size, height });
  }

  drawOverlay() {
    const group = this.plot.querySelector('.heatmap-overlay');
    const first = this.tops[0];
    if (!group || first === undefined) return;
    const { centers, pitch } = this.places;
    const row = this.rows.findIndex(({ column }) => column === this.selected.column);
    const center = centers[this.selected.window];
    const bottom = (this.tops.at(-1) ?? 0) + ROW;
    const cell = (/** @type {number} */ at, /** @type {number} */ x, /** @type {string} */ name) =>
      h('rect', { class: name, x: x - pitch / 2 - 0.5, y: (this.tops[at] ?? 0) - 0.5, width: pitch + 1, height: ROW + 1, rx: 2 });
    const active = this.active && centers[this.active.window];
    patch(group,
      row >= 0 && h('rect', { class: 'row-selected', x: 0, y: (this.tops[row] ?? 0), width: this.places.width, height: ROW }),
      center !== undefined && h('rect', { class: 'window-selected', x: center - pitch / 2 - 0.5, y: first - 2.5, width: pitch + 1, height: bottom - first + 5, rx: 2 }),
      center !== undefined && row >= 0 && cell(row, center, 'cell-selected'),
      this.active && typeof active === 'number' && cell(this.active.row, active, 'cell-active'));
  }

  /** @param {PointerEvent} event */
  point(event) {
    const box = this.gridBox;
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const row = this.tops.findIndex((top) => y >= top && y < top + ROW);
    const window = this.places.centers.findIndex((center) => Math.abs(center - x) <= this.places.pitch / 2);
    if (row < 0 || window < 0) this.leave();
    else this.move({ row, window });
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const { rows } = this;
    const [lastRow, lastWindow] = [rows.length - 1, (this.data?.windows.length ?? 0) - 1];
    if (lastRow < 0 || lastWindow < 0) return;
    const selectedRow = rows.findIndex(({ column }) => column === this.selected.column);
    const from = this.active ?? { row: Math.max(0, selectedRow), window: this.selected.window < 0 ? lastWindow : this.selected.window };
    /** @type {Record<string, Place>} */
    const moves = {
      ArrowRight: { row: from.row, window: from.window + 1 }, ArrowLeft: { row: from.row, window: from.window - 1 },
      ArrowDown: { row: from.row + 1, window: from.window }, ArrowUp: { row: from.row - 1, window: from.window },
      Home: { row: from.row, window: 0 }, End: { row: from.row, window: lastWindow },
      PageDown: { row: lastRow, window: from.window }, PageUp: { row: 0, window: from.window },
    };
    const next = moves[event.key];
    if (next) {
      event.preventDefault();
      const clamp = (/** @type {number} */ value, /** @type {number} */ most) => Math.max(0, Math.min(most, value));
      this.reveal(this.active ? { row: clamp(next.row, lastRow), window: clamp(next.window, lastWindow) } : from);
    } else if (event.key === 'Enter' || event.key === ' ') {
      event.preventDefault();
      this.active ??= from;
      this.choose();
    }
  }

  /**
   * Moves for the keyboard: scrolls to the cell, and says it.
   * @param {Place} place
   */
  reveal(place) {
    this.scrollTo(place.window);
    this.move(place);
    const row = this.rows[place.row];
    const window = this.data?.windows[place.window];
    const score = row?.cells[place.window];
    this.plot.querySelector('svg')?.setAttribute('aria-activedescendant', `cell-${place.row}-${place.window}`);
    if (row && window) patch(this.said, `${row.column}, ${span(window.starts, window.ends)}: ${score ? sentence(score) : 'not taken'}`);
  }

  /** @param {number} window */
  scrollTo(window) {
    const x = this.places.centers[window];
    if (x === undefined) return;
    const room = this.scroller.clientWidth - this.names.offsetWidth;
    if (x < this.scroller.scrollLeft + 20) this.scroller.scrollLeft = x - 60;
    else if (x > this.scroller.scrollLeft + room - 20) this.scroller.scrollLeft = x - room + 60;
  }

  /** @param {Place} place */
  move(place) {
    this.active = place;
    this.drawOverlay();
    const row = this.rows[place.row];
    const window = this.data?.windows[place.window];
    if (!row || !window) return;
    const box = this.gridBox;
    const [x, y] = [box.left + (this.places.centers[place.window] ?? 0), box.top + (this.tops[place.row] ?? 0)];
    const half = this.places.pitch / 2;
    showTip({ left: x - half, right: x + half, top: y, bottom: y + ROW }, scoreTip(row.column, window, row.cells[place.window] ?? null));
  }

  leave() {
    if (!this.active) return;
    this.active = null;
    this.plot.querySelector('svg')?.removeAttribute('aria-activedescendant');
    this.drawOverlay();
    hideTip();
  }

  choose() {
    const row = this.active && this.rows[this.active.row];
    if (this.active && row) this.onSelect(row.column, this.active.window);
  }
}
