/** Windows side by side in the order in which they end, with a break wherever event time makes a jump. */

import { h } from './dom.js';
import { day, hour } from './format.js';

/** @typedef {import('./api.js').ScoredWindow} ScoredWindow */
/** @typedef {{centers: number[], breaks: {x: number, after: number}[], pitch: number, width: number}} WindowPlaces */

const DAY_SECONDS = 86_400;

/** What a break takes. */
const BREAK_WIDTH = 14;
/** What a day with its year takes. */
const RARE_SPACING = 86;

/**
 * After which windows event time makes a jump.
 * @param {ScoredWindow[]} windows
 * @param {number} stepSeconds from the end of one window to that of the next
 * @returns {number[]}
 */
function jumps(windows, stepSeconds) {
  const ends = windows.map((window) => Date.parse(window.ends));
  return ends.flatMap((end, index) => (index > 0 && end - (ends[index - 1] ?? end) > stepSeconds * 1500 ? [index - 1] : []));
}

/**
 * Places each window in the room there is; needs more than that when a window would be narrower than `least`.
 * @param {ScoredWindow[]} windows
 * @param {number} stepSeconds
 * @param {number} room
 * @param {{least: number, most: number, isWhole: boolean}} pitches how wide a window may be, and whether in whole pixels
 * @returns {WindowPlaces}
 */
export function placeWindows(windows, stepSeconds, room, { least, most, isWhole }) {
  const after = jumps(windows, stepSeconds);
  const fair = (room - after.length * BREAK_WIDTH) / Math.max(1, windows.length);
  const pitch = Math.max(least, Math.min(most, isWhole ? Math.floor(fair) : fair));
  let passed = 0;
  /** @type {WindowPlaces['breaks']} */
  const breaks = [];
  const centers = windows.map((_, index) => {
    if (after.includes(index - 1)) {
      breaks.push({ x: index * pitch + passed + BREAK_WIDTH / 2, after: index - 1 });
      passed += BREAK_WIDTH;
    }
    return (index + 0.5) * pitch + passed;
  });
  return { centers, breaks, pitch, width: windows.length * pitch + passed };
}

/**
 * Labels of the windows' ends, at least `spacing` pixels apart; what changes rarely stands below.
 * @param {ScoredWindow[]} windows
 * @param {WindowPlaces} places
 * @param {number} stepSeconds
 * @param {number} spacing
 * @returns {import('./chart-scale.js').Tick[]} `at` is a window's index
 */
export function windowTicks(windows, places, stepSeconds, spacing) {
  const isDaily = stepSeconds >= DAY_SECONDS;
  const starts = new Set([0, ...places.breaks.map((one) => one.after + 1)]);
  const ticks = [];
  let lastPlace = -Infinity;
  let lastRare = -Infinity;
  let before = '';
  for (const [index, window] of windows.entries()) {
    const place = places.centers[index] ?? 0;
    // Just before a break there is no room: the label after it matters more.
    const nextStart = [...starts].find((start) => start > index);
    const isCrowded = nextStart !== undefined && (places.centers[nextStart] ?? 0) - place < spacing;
    if (place - lastPlace < spacing || (isCrowded && !starts.has(index))) continue;
    const date = new Date(window.ends);
    const rare = isDaily ? String(date.getUTCFullYear()) : `${day(date)} ${date.getUTCFullYear()}`;
    // Without room for it now, the next label says it.
    const isSaid = rare !== before && place - lastRare >= RARE_SPACING;
    ticks.push({ at: index, label: isDaily ? day(date) : hour(date), more: isSaid ? rare : undefined });
    lastPlace = place;
    if (isSaid) {
      before = rare;
      lastRare = place;
    }
  }
  return ticks;
}

/**
 * The breaks, drawn.
 * @param {WindowPlaces} places
 * @param {number} top
 * @param {number} bottom
 */
export function breakMarks(places, top, bottom) {
  return places.breaks.map(({ x }) => h('path', { class: 'break', d: zigzag(Math.round(x), top, bottom) }));
}

/**
 * @param {number} x
 * @param {number} top
 * @param {number} bottom
 */
function zigzag(x, top, bottom) {
  let path = `M${x} ${top}`;
  for (let y = top + 4, side = 1; y <= bottom; y += 4, side = -side) path += `L${x + 2 * side} ${y}`;
  return path;
}
