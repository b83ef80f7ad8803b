/** Small pictures whose shapes differ, so that a state can be told without its colour. */

import { h } from './dom.js';

/** @typedef {'page' | 'ticket' | 'info' | 'drift' | 'quiet' | 'waiting' | 'none' | 'window' | 'archived'} IconName */

/** Paths on a grid of 16: filled shapes, then lines on top of them. @type {Record<IconName, {fill?: string, cut?: string, line?: string}>} */
const DRAWINGS = {
  page: { fill: 'M5.2 1h5.6L15 5.2v5.6L10.8 15H5.2L1 10.8V5.2z', cut: 'M8 4.3v4.4M8 11.2v.6' },
  ticket: { fill: 'M8 1.6 15.4 14.4H.6z', cut: 'M8 6.2v3.6M8 11.9v.4' },
  info: { fill: 'M8 1a7 7 0 1 1 0 14A7 7 0 0 1 8 1z', cut: 'M8 7.4v4M8 4.5v.5' },
  drift: { fill: 'M8 .8 15.2 8 8 15.2.8 8z' },
  quiet: { line: 'M3 8.6 6.4 12 13 4.8' },
  waiting: { line: 'M8 1.8a6.2 6.2 0 1 1 0 12.4A6.2 6.2 0 0 1 8 1.8zM8 4.6V8l2.4 1.6' },
  none: { line: 'M8 1.8a6.2 6.2 0 1 1 0 12.4A6.2 6.2 0 0 1 8 1.8zM3.7 12.3l8.6-8.6' },
  window: { line: 'M2.5 13.5V8M6.2 13.5V4.5M9.8 13.5V6.5M13.5 13.5V2.5' },
  archived: { line: 'M2 3h12v3H2zM3 6v7.5h10V6M6.5 9h3' },
};

/**
 * A picture beside words that say the same.
 * @param {IconName} name
 */
export function icon(name) {
  const { fill, cut, line } = DRAWINGS[name];
  return h('svg', { class: `icon icon-${name}`, viewBox: '0 0 16 16', width: 16, height: 16, 'aria-hidden': 'true' },
    fill && h('path', { class: 'icon-fill', d: fill }),
    cut && h('path', { class: 'icon-cut', d: cut }),
    line && h('path', { class: 'icon-line', d: line }));
}

/**
 * A state in a word or two, with its picture.
 * @param {IconName} name
 * @param {...import('./dom.js').Child} words
 */
export function badge(name, ...words) {
  return h('span', { class: `badge badge-${name}` }, icon(name), h('span', null, ...words));
}
