/** Scales of charts: round ticks for numbers and for times, and the mapping onto pixels. */

import { day, hour } from './format.js';

/** @typedef {{at: number, label: string, more?: string}} Tick a place in data, its label, and a second line */

/**
 * Maps a range of data onto pixels.
 * @param {[number, number]} domain
 * @param {[number, number]} range
 */
export function scale([from, to], [start, end]) {
  const width = to - from || 1;
  return (/** @type {number} */ value) => start + ((value - from) / width) * (end - start);
}

/**
 * Round ticks from 0 or below up to at least `most`: steps of 1, 2, 2.5 or 5 times a power of ten.
 * @param {number} least
 * @param {number} most
 * @param {number} wanted about how many
 * @returns {{ticks: number[], from: number, to: number}}
 */
export function roundTicks(least, most, wanted) {
  const range = most - least || 1;
  const rough = range / Math.max(1, wanted);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 2.5, 5, 10].find((one) => one * power >= rough * 0.999) ?? 10) * power;
  const [first, last] = [Math.floor(least / step + 1e-9), Math.ceil(most / step - 1e-9)];
  // From whole steps, not by adding: sums of 0.1 are not round.
  const ticks = Array.from({ length: last - first + 1 }, (_, index) => rounded((first + index) * step));
  return { ticks, from: rounded(first * step), to: rounded(last * step) };
}

/** @param {number} value */
function rounded(value) {
  return Number(value.toPrecision(12));
}

/**
 * A tick's label, with as many digits as tell neighbours apart.
 * @param {number} value
 */
export function tickLabel(value) {
  const size = Math.abs(value);
  if (size >= 1e6) return `${Number((value / 1e6).toPrecision(3))}\u202fM`;
  if (size >= 10_000) return `${Number((value / 1e3).toPrecision(3))}\u202fk`;
  return String(Number(value.toPrecision(4))).replace('-', '\u2212');
}

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 10_080].map((minutes) => minutes * MINUTE);

/**
 * Ticks of the clock, at least `spacing` pixels apart; the day stands below the first and wherever it changes.
 * @param {number} from milliseconds
 * @param {number} to milliseconds
 * @param {number} pixels
 * @param {number} spacing
 * @returns {Tick[]}
 */
export function clockTicks(from, to, pixels, spacing) {
  const least = ((to - from) * spacing) / pixels;
  const step = STEPS.find((one) => one >= least) ?? Math.ceil(least / DAY) * DAY;
  const ticks = [];
  let before = '';
  for (let at = Math.ceil(from / step) * step; at <= to; at += step) {
    const date = new Date(at);
    const today = day(date);
    ticks.push({ at, label: step >= DAY ? today : hour(date), more: step >= DAY || today === before ? undefined : today });
    before = today;
  }
  return ticks;
}
