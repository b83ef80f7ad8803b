/** The axes of charts: light lines across the plot with their values, and labels below it. */

import { h } from './dom.js';
import { tickLabel } from './chart-scale.js';

/** @typedef {import('./dom.js').Child} Child */

/** Height of a line of labels below the plot. */
const LABEL_LINE = 14;

/**
 * Lines across the plot at round values, each with its label to the left.
 * @param {number[]} ticks
 * @param {(value: number) => number} y
 * @param {{left: number, right: number}} plot
 * @param {(value: number) => string} [label]
 * @returns {Child}
 */
export function valueAxis(ticks, y, { left, right }, label = tickLabel) {
  return h('g', { class: 'axis' }, ticks.map((value) => [
    h('line', { class: value === 0 ? 'axis-base' : 'axis-line', x1: left, x2: right, y1: crisp(y(value)), y2: crisp(y(value)) }),
    h('text', { x: left - 6, y: y(value), 'text-anchor': 'end', 'dominant-baseline': 'central' }, label(value)),
  ]));
}

/**
 * Labels below the plot, with their small marks.
 * @param {import('./chart-scale.js').Tick[]} ticks
 * @param {(at: number) => number} x
 * @param {number} top
 * @param {{left: number, right: number}} plot labels stay inside of it
 * @returns {Child}
 */
export function bottomAxis(ticks, x, top, { left, right }) {
  return h('g', { class: 'axis' }, ticks.map(({ at, label, more }) => {
    const place = x(at);
    // Up to 8 pixels a character, as fonts go: a label at the edge is pushed inwards, not cut off.
    const half = Math.max(label.length, more?.length ?? 0) * 3.9;
    const middle = Math.max(left + half, Math.min(right - half, place));
    return [
      h('line', { class: 'axis-mark', x1: crisp(place), x2: crisp(place), y1: top, y2: top + 4 }),
      h('text', { x: middle, y: top + 4 + LABEL_LINE, 'text-anchor': 'middle', dy: -3 }, label),
      more && h('text', { class: 'axis-more', x: middle, y: top + 4 + 2 * LABEL_LINE, 'text-anchor': 'middle', dy: -3 }, more),
    ];
  }));
}

/**
 * A place where a line of one pixel covers one row of pixels.
 * @param {number} place
 */
export function crisp(place) {
  return Math.round(place - 0.5) + 0.5;
}
