/** One column's score over the windows, with the limit in force, the threshold from which it matters, and what is noise. */

import { bottomAxis, valueAxis } from './chart-axes.js';
import { roundTicks, scale, tickLabel } from './chart-scale.js';
import { detector, noiseLevel } from './detectors.js';
import { h } from './dom.js';
import { number, share, span } from './format.js';
import { onScale, scoreTip, sentence } from './score-words.js';
import { breakMarks, placeWindows, windowTicks } from './window-axis.js';

/** @typedef {import('./api.js').Score} Score */
/** @typedef {{column: string, cells: (Score | null)[], windows: import('./api.js').ScoredWindow[], stepSeconds: number, selected: number, onSelect: (window: number) => void}} ScoreHistory */

const HEIGHT = 260;
const [TOP, BOTTOM, LEFT, RIGHT] = [14, 36, 46, 8];
const LABEL_SPACING = 62;
/** Closer than this and markers hide the line. */
const LEAST_MARKER_PITCH = 5;

/**
 * @param {ScoreHistory} history
 * @param {number} width
 * @returns {import('./chart-frame.js').Drawing}
 */
export function drawScore({ column, cells, windows, stepSeconds, selected, onSelect }, width) {
  const places = placeWindows(windows, stepSeconds, width - LEFT - RIGHT, { least: 0.5, most: 60, isWhole: false });
  const centers = places.centers.map((center) => center + LEFT);
  const stretches = unbroken(cells, places.breaks.map(({ after }) => after));
  const [floor, right] = [HEIGHT - BOTTOM, LEFT + places.width];
  // What has not enough data may be anything; it must not flatten the rest.
  const heights = cells.flatMap((score) => (score ? [score.limit, ...(score.verdict === 'not_enough_data' ? [] : [score.effect])] : []));
  const { ticks, to } = roundTicks(0, Math.max(...heights, Number.MIN_VALUE) * 1.05, 4);
  const y = scale([0, to], [floor, TOP]);
  const last = cells.at(-1) ?? cells.findLast((score) => score);
  const isShare = last ? detector(last.detector).isShare : false;
  const clamped = (/** @type {number} */ value) => y(Math.min(value, to));

  /** @param {(score: Score) => number} of */
  const steps = (of) => stretches.map((stretch) => stretch.map(({ score, index }, at) => {
    const [from, until] = [centers[index] ?? 0, places.pitch / 2];
    return `${at === 0 ? 'M' : 'L'}${from - until} ${clamped(of(score))}H${from + until}`;
  }).join('')).join('');
  const line = stretches.map((stretch) => stretch.map(({ score, index }, at) =>
    `${at === 0 ? 'M' : 'L'}${centers[index]} ${clamped(score.effect)}`).join('')).join('');
  const noise = stretches.map((stretch) => band(stretch, centers, places.pitch, (score) => clamped(noiseLevel(score)), floor)).join('');
  const center = centers[selected];

  return {
    width, height: HEIGHT,
    summary: summarize(cells, windows),
    marks: [
      h('path', { class: 'noise-band', d: noise }),
      valueAxis(ticks, y, { left: LEFT, right: width - RIGHT }, isShare ? share : tickLabel),
      h('g', { 'aria-hidden': 'true' }, breakMarks({ ...places, breaks: places.breaks.map(({ x, after }) => ({ x: x + LEFT, after })) }, TOP, floor)),
      center !== undefined && h('line', { class: 'window-line', x1: center, x2: center, y1: TOP - 6, y2: floor }),
      h('path', { class: 'threshold-line', d: steps((score) => score.threshold) }),
      h('path', { class: 'limit-line', d: steps((score) => score.limit) }),
      h('path', { class: 'score-line', d: line }),
      cells.map((score, index) => score && marker(score, centers[index] ?? 0, clamped(score.effect), score.effect > to, places.pitch, index === selected)),
      bottomAxis(windowTicks(windows, places, stepSeconds, LABEL_SPACING), (index) => centers[index] ?? 0, floor, { left: LEFT - 12, right: Math.max(right, width - RIGHT) }),
    ],
    stops: {
      along: 'x', at: centers, across: [TOP, floor],
      tip: (index) => (windows[index] ? scoreTip(column, windows[index], cells[index] ?? null) : null),
      say: (index) => {
        const [window, score] = [windows[index], cells[index]];
        return window ? `${span(window.starts, window.ends)}: ${score ? sentence(score) : 'not taken'}` : '';
      },
      choose: onSelect,
    },
  };
}

/**
 * The scores in stretches that no jump in event time and no missing score interrupts.
 * @param {(Score | null)[]} cells
 * @param {number[]} breaksAfter
 */
function unbroken(cells, breaksAfter) {
  /** @type {{score: Score, index: number}[][]} */
  const stretches = [[]];
  for (const [index, score] of cells.entries()) {
    if (score) stretches.at(-1)?.push({ score, index });
    if (!score || breaksAfter.includes(index)) stretches.push([]);
  }
  return stretches.filter((stretch) => stretch.length > 0);
}

/**
 * The area from 0 to a height in steps.
 * @param {{score: Score, index: number}[]} stretch
 * @param {number[]} centers
 * @param {number} pitch
 * @param {(score: Score) => number} y
 * @param {number} floor
 */
function band(stretch, centers, pitch, y, floor) {
  const [first, last] = [stretch[0], stretch.at(-1)];
  if (!first || !last) return '';
  const top = stretch.map(({ score, index }) => `V${y(score)}H${(centers[index] ?? 0) + pitch / 2}`).join('');
  return `M${(centers[first.index] ?? 0) - pitch / 2} ${floor}${top}V${floor}Z`;
}

/**
 * @param {Score} score
 * @param {number} x
 * @param {number} y
 * @param {boolean} isAbove the value lies above the chart
 * @param {number} pitch
 * @param {boolean} isSelected
 */
function marker(score, x, y, isAbove, pitch, isSelected) {
  if (pitch < LEAST_MARKER_PITCH && score.verdict !== 'drift' && !isSelected) return null;
  const half = isSelected ? 5 : pitch < LEAST_MARKER_PITCH ? 2.5 : 3.5;
  const name = `marker marker-${score.verdict}${isSelected ? ' marker-selected' : ''}`;
  if (isAbove) return h('path', { class: name, d: `M${x - 4} ${y + 3}l4 -6l4 6z` });
  if (score.verdict === 'drift') return h('path', { class: name, d: `M${x} ${y - half - 1}l${half + 1} ${half + 1}l${-half - 1} ${half + 1}l${-half - 1} ${-half - 1}z` });
  return h('circle', { class: name, cx: x, cy: y, r: half - 0.5 });
}

/**
 * @param {(Score | null)[]} cells
 * @param {import('./api.js').ScoredWindow[]} windows
 */
function summarize(cells, windows) {
  const drifting = cells.flatMap((score, index) => (score?.verdict === 'drift' ? [index] : []));
  const little = cells.filter((score) => score?.verdict === 'not_enough_data').length;
  const [last, first] = [cells.findLast((score) => score), windows[drifting[0] ?? -1]];
  return [
    `${windows.length} windows`,
    drifting.length > 0 && first ? `drift in ${drifting.length}, first in the window ${span(first.starts, first.ends)}` : 'no drift',
    little > 0 ? `not enough data in ${little}` : '',
    last ? `last ${onScale(last, last.effect)}, limit ${onScale(last, last.limit)}` : '',
  ].filter(Boolean).join('; ') + '.';
}

/**
 * What the lines are, with the selected window's figures.
 * @param {Score | null} score
 */
export function scoreLegend(score) {
  const figure = (/** @type {number} */ value) => (score ? ` ${onScale(score, value)}` : '');
  const key = (/** @type {string} */ name, /** @type {string} */ words, /** @type {string} */ title) =>
    h('li', { title }, h('span', { class: `key ${name}`, 'aria-hidden': 'true' }), words);
  return h('ul', { class: 'legend' },
    key('key-score', `${score ? detector(score.detector).short : 'Score'}${figure(score?.effect ?? NaN)}`, 'The effect in each window'),
    key('key-limit', `Limit in force${figure(score?.limit ?? NaN)}`, 'Above this the verdict is drift'),
    key('key-threshold', `It matters from${figure(score?.threshold ?? NaN)}`, 'The threshold that was set'),
    key('key-noise', `Noise up to${figure(score ? noiseLevel(score) : NaN)}`, 'What the budget of false pages allows; without one, what chance or the reference’s own stretches of time reach'),
    score && score.value !== score.effect && h('li', { class: 'muted' }, `Value ${number(score.value)}`));
}
