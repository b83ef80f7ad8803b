/** What the shades and marks of the heatmap mean. */

import { h } from './dom.js';

const CELL = 16;

export function heatmapLegend() {
  return h('ul', { class: 'legend heatmap-legend' },
    h('li', null, 'Effect from 0 ', ramp(['q0', 'q1', 'q2', 'q3', 'q4']), ' to its limit'),
    h('li', null, ramp(['d0', 'd1', 'd2']), ' drift: above the limit, 1.5 times it, 3 times it'),
    h('li', null, h('svg', { width: CELL, height: CELL, viewBox: `0 0 ${CELL} ${CELL}`, 'aria-hidden': 'true' },
      h('defs', null, h('pattern', { id: 'legend-hatch', width: 5, height: 5, patternUnits: 'userSpaceOnUse', patternTransform: 'rotate(45)' },
        h('line', { class: 'hatch', x1: 0, x2: 0, y1: 0, y2: 5 }))),
      h('rect', { class: 'cell cell-little', x: 0.5, y: 0.5, width: CELL - 1, height: CELL - 1, fill: 'url(#legend-hatch)' })), ' not enough data'));
}

/** @param {string[]} shades */
function ramp(shades) {
  const middle = CELL / 2;
  return h('svg', { width: shades.length * (CELL + 1) - 1, height: CELL, viewBox: `0 0 ${shades.length * (CELL + 1) - 1} ${CELL}`, 'aria-hidden': 'true' },
    shades.map((shade, index) => {
      const left = index * (CELL + 1);
      return [
        h('rect', { class: `cell cell-${shade}`, x: left, y: 0, width: CELL, height: CELL }),
        shade.startsWith('d') && h('path', { class: 'cell-diamond', d: `M${left + middle} ${middle - 4}l4 4l-4 4l-4 -4z` }),
      ];
    }));
}
