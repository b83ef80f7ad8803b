/** A column's reference against one window: wide grey bars for the reference, narrow ones in front for the window. */

import { bottomAxis, crisp, valueAxis } from './chart-axes.js';
import { roundTicks, scale, tickLabel } from './chart-scale.js';
import { h } from './dom.js';
import { number, share } from './format.js';
import { figures } from './tooltip.js';

/** @typedef {import('./api.js').Bar} Bar */
/** @typedef {Bar & {from: number, to: number}} Range */

const HEIGHT = 260;
const [TOP, BOTTOM, LEFT, RIGHT] = [14, 36, 46, 8];
const CATEGORY_ROW = 26;

/** @param {Bar} bar @returns {bar is Range} */
const isRange = (bar) => bar.from !== null && bar.to !== null;

/**
 * @param {Bar[]} bars
 * @param {number} width
 * @returns {import('./chart-frame.js').Drawing}
 */
export function drawHistogram(bars, width) {
  return bars.length > 0 && bars.every(isRange) ? drawNumbers(bars, width) : drawCategories(bars, width);
}

/**
 * Ranges on a true scale; single values side by side, since they have no width of their own.
 * @param {Range[]} bars
 * @param {number} width
 * @returns {import('./chart-frame.js').Drawing}
 */
function drawNumbers(bars, width) {
  const [first, last] = [bars[0], bars.at(-1)];
  const floor = HEIGHT - BOTTOM;
  const plot = { left: LEFT, right: width - RIGHT };
  const { ticks, to } = roundTicks(0, highest(bars), 4);
  const y = scale([0, to], [floor, TOP]);
  const areValues = bars.some((bar) => bar.from === bar.to);
  const band = (plot.right - plot.left) / Math.max(1, bars.length);
  const x = scale([first?.from ?? 0, last?.to ?? 1], [plot.left, plot.right]);
  const edges = bars.map((bar, index) => (areValues ? [plot.left + index * band, plot.left + (index + 1) * band] : [x(bar.from), x(bar.to)]));
  const centers = edges.map(([from = 0, until = 0]) => (from + until) / 2);
  const bar = (/** @type {number} */ index, /** @type {number} */ part, /** @type {number} */ value, /** @type {string} */ name) => {
    const [from = 0, until = 0] = edges[index] ?? [];
    const size = Math.max(1, (until - from) * part - (part > 0.9 ? 1 : 0));
    // A share that is not 0 leaves a mark, however small.
    const height = value > 0 ? Math.max(1, floor - y(value)) : 0;
    return h('rect', { class: name, x: (from + until - size) / 2, y: floor - height, width: size, height });
  };
  const spacing = 44;
  const every = Math.max(1, Math.ceil(spacing / band));
  const labels = areValues
    ? bars.flatMap((one, index) => (index % every === 0 ? [{ at: centers[index] ?? 0, label: tickLabel(one.from) }] : []))
    : roundTicks(first?.from ?? 0, last?.to ?? 1, width / 80).ticks
      .filter((tick) => tick >= (first?.from ?? 0) && tick <= (last?.to ?? 1)).map((tick) => ({ at: x(tick), label: tickLabel(tick) }));
  return {
    width, height: HEIGHT, summary: summarize(bars),
    marks: [
      valueAxis(ticks, y, plot, share),
      h('g', null, bars.map((one, index) => bar(index, 1, one.reference, 'bar-reference'))),
      h('g', null, bars.map((one, index) => bar(index, 0.5, one.window, 'bar-window'))),
      h('line', { class: 'axis-base', x1: plot.left, x2: plot.right, y1: crisp(floor), y2: crisp(floor) }),
      bottomAxis(labels, (at) => at, floor, { left: LEFT - 20, right: width }),
    ],
    stops: { along: 'x', at: centers, across: [TOP, floor], thickness: areValues ? band : Math.max(3, band), ...words(bars) },
  };
}

/**
 * Categories one below the other, each with its name.
 * @param {Bar[]} bars
 * @param {number} width
 * @returns {import('./chart-frame.js').Drawing}
 */
function drawCategories(bars, width) {
  const longest = Math.max(0, ...bars.map(({ label }) => label.length));
  const left = Math.min(width * 0.4, Math.max(44, longest * 6.6 + 14));
  const room = Math.floor((left - 14) / 6.6);
  const plot = { left, right: width - 52 };
  const x = scale([0, highest(bars)], [plot.left, plot.right]);
  const centers = bars.map((_, index) => TOP + (index + 0.5) * CATEGORY_ROW);
  const height = TOP + bars.length * CATEGORY_ROW + 8;
  const length = (/** @type {number} */ value) => (value > 0 ? Math.max(1, x(value) - plot.left) : 0);
  return {
    width, height, summary: summarize(bars),
    marks: [
      bars.map((bar, index) => {
        const middle = centers[index] ?? 0;
        return h('g', { class: 'axis' },
          h('text', { x: left - 8, y: middle, 'text-anchor': 'end', 'dominant-baseline': 'central' }, shortened(bar.label, room)),
          h('rect', { class: 'bar-reference', x: left, y: middle - 9, width: length(bar.reference), height: 18 }),
          h('rect', { class: 'bar-window', x: left, y: middle - 4, width: length(bar.window), height: 8 }),
          h('text', { x: left + Math.max(length(bar.window), length(bar.reference)) + 6, y: middle, 'dominant-baseline': 'central' }, share(Number(bar.window.toPrecision(3)))));
      }),
      h('line', { class: 'axis-base', x1: crisp(left), x2: crisp(left), y1: TOP, y2: height - 8 }),
    ],
    stops: { along: 'y', at: centers, across: [0, width], thickness: CATEGORY_ROW, ...words(bars) },
  };
}

/** @param {Bar[]} bars */
function highest(bars) {
  return Math.max(0.001, ...bars.map((bar) => Math.max(bar.reference, bar.window)));
}

/**
 * @param {Bar[]} bars
 * @returns {Pick<import('./chart-frame.js').Stops, 'tip' | 'say'>}
 */
function words(bars) {
  return {
    tip: (index) => {
      const bar = bars[index];
      return bar && figures(h('strong', null, bar.label), [
        ['Window', share(bar.window)], ['Reference', share(bar.reference)], ['Change', points(bar.window - bar.reference)],
      ]);
    },
    say: (index) => {
      const bar = bars[index];
      return bar ? `${bar.label}: window ${share(bar.window)}, reference ${share(bar.reference)}` : '';
    },
  };
}

/** @param {number} change of a share */
function points(change) {
  return `${change > 0 ? '+' : ''}${number(change * 100)} points`;
}

/** @param {Bar[]} bars */
function summarize(bars) {
  const [up, down] = [1, -1].map((sign) => bars.reduce((/** @type {Bar | null} */ most, bar) =>
    sign * (bar.window - bar.reference) > Math.max(0, most ? sign * (most.window - most.reference) : 0) ? bar : most, null));
  const change = (/** @type {Bar | null | undefined} */ bar, /** @type {string} */ verb) =>
    (bar ? `${verb} most: ${bar.label}, from ${share(bar.reference)} of the reference to ${share(bar.window)} of the window` : '');
  return [`${bars.length} bars`, change(up, 'grew'), change(down, 'shrank')].filter(Boolean).join('; ') + '.';
}

/**
 * @param {string} text
 * @param {number} most
 */
function shortened(text, most) {
  return text.length <= most ? text : `${text.slice(0, Math.max(1, most - 1))}…`;
}
