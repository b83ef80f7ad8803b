/** A score in words: its figures with their units, its verdict, and the tooltip that holds them. */

import { h } from './dom.js';
import { VERDICTS, detector, noiseLevel } from './detectors.js';
import { count, counted, number, probability, share, span } from './format.js';
import { badge } from './icons.js';
import { figures } from './tooltip.js';

/** @typedef {import('./api.js').Score} Score */

/**
 * A figure on the scale of a score's limit.
 * @param {Score} score
 * @param {number} value
 */
export function onScale(score, value) {
  return detector(score.detector).isShare ? share(value) : number(value);
}

/**
 * A score in one sentence.
 * @param {Score} score
 */
export function sentence(score) {
  const { short } = detector(score.detector);
  return `${VERDICTS[score.verdict]}, ${short} ${onScale(score, score.effect)}, limit ${onScale(score, score.limit)}, ${counted(score.n_window, 'row')}`;
}

/** @param {import('./api.js').Verdict} verdict */
export function verdictBadge(verdict) {
  return badge(verdict === 'drift' ? 'drift' : verdict === 'ok' ? 'quiet' : 'waiting', VERDICTS[verdict]);
}

/**
 * How much of its limit the effect reaches: 45 %, 2.2 times.
 * @param {Score} score
 */
export function ofLimit(score) {
  if (score.limit <= 0) return 'no limit';
  const ratio = score.effect / score.limit;
  return ratio >= 1.995 ? `${number(ratio)} times` : share(Number(ratio.toPrecision(ratio < 1 ? 2 : 3)));
}

/**
 * @param {string} column
 * @param {import('./api.js').ScoredWindow} window
 * @param {Score | null} score
 */
export function scoreTip(column, window, score) {
  const heading = [h('strong', null, column), h('div', null, span(window.starts, window.ends))];
  const panes = h('p', { class: 'tooltip-note' }, `${window.filled} of ${window.panes} panes filled`);
  if (!score) return [h('div', { class: 'tooltip-heading' }, heading), h('p', { class: 'tooltip-note' }, 'This score was not taken.'), panes];
  return figures([heading, verdictBadge(score.verdict)], [
    [detector(score.detector).short, h('strong', null, onScale(score, score.effect))],
    ['Interval', `${onScale(score, score.interval_low)} to ${onScale(score, score.interval_high)}`],
    ['Limit', onScale(score, score.limit)],
    ['Of its limit', ofLimit(score)],
    ['Matters from', onScale(score, score.threshold)],
    ['Noise', onScale(score, noiseLevel(score))],
    ['p', probability(score.p_value)],
    ['Rows', `${count(score.n_window)}, reference ${count(score.n_reference)}`],
  ], panes, score.effect_unit && h('p', { class: 'tooltip-note' }, `In ${score.effect_unit}`));
}
