/** Small charts without axes: requests of the last hour, and a member's last windows. */

import { now } from './clock.js';
import { h } from './dom.js';
import { count } from './format.js';

const HEIGHT = 22;

/**
 * Requests of the last hour as bars.
 * @param {import('./api.js').Traffic} traffic
 */
export function requestsSparkline({ points }) {
  const slices = 40;
  const width = slices * 3;
  const from = now() - 3_600_000;
  const sums = Array.from({ length: slices }, () => 0);
  for (const point of points) {
    const slice = Math.floor(((Date.parse(point.at) - from) / 3_600_000) * slices);
    const at = Math.max(0, Math.min(slices - 1, slice));
    sums[at] = (sums[at] ?? 0) + point.requests;
  }
  const most = Math.max(1, ...sums);
  return h('svg', { class: 'sparkline-requests', width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, role: 'img',
    'aria-label': `Requests in the last hour, at most ${count(Math.max(...sums))} in a minute and a half` },
  h('line', { class: 'axis-base', x1: 0, x2: width, y1: HEIGHT - 0.5, y2: HEIGHT - 0.5 }),
  sums.map((sum, index) => {
    const height = sum > 0 ? Math.max(1.5, (sum / most) * (HEIGHT - 2)) : 0;
    return h('rect', { class: 'bar-requests', x: index * 3, y: HEIGHT - 1 - height, width: 2, height });
  }));
}

const BLOCKS = '▁▂▃▄▅▆▇█';

/**
 * The collector writes the last windows as block characters, for mail and pagers; few fonts draw these evenly.
 * @param {string} text
 */
export function blockSparkline(text) {
  const levels = [...text].map((block) => BLOCKS.indexOf(block) + 1);
  const width = levels.length * 6;
  return h('svg', { class: 'sparkline-blocks', width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, role: 'img',
    'aria-label': `The last ${levels.length} windows in eighths of the highest: ${levels.join(' ')}` },
  levels.map((level, index) => {
    const height = (level / BLOCKS.length) * HEIGHT;
    return h('rect', { class: 'bar-blocks', x: index * 6, y: HEIGHT - height, width: 5, height });
  }));
}
