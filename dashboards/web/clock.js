/** The collector's time, and the times on the page that say how long ago something was. */

import { h } from './dom.js';
import { instant, relative } from './format.js';

/** How far the collector's clock is ahead of the browser's: a laptop's clock may be minutes off. */
let skewMilliseconds = 0;

/**
 * Learns the skew from an answer's Date header, whose resolution is a second: less is not a skew.
 * @param {string | null} header
 */
export function learnTime(header) {
  const time = header === null ? NaN : Date.parse(header);
  if (Number.isNaN(time)) return;
  const skew = time - Date.now();
  skewMilliseconds = Math.abs(skew) < 2000 ? 0 : skew;
}

/** Now by the collector's clock, in milliseconds. */
export function now() {
  return Date.now() + skewMilliseconds;
}

/**
 * "3 min ago", kept true, with the exact time as its title.
 * @param {string} time RFC 3339
 */
export function ago(time) {
  return h('time', { datetime: time, title: instant(time, true), 'data-ago': true }, relative(time, now()));
}

/**
 * The exact time, with how long ago as its title.
 * @param {string} time RFC 3339
 * @param {boolean} [withSeconds]
 */
export function at(time, withSeconds = true) {
  return h('time', { datetime: time, title: relative(time, now()) }, instant(time, withSeconds));
}

setInterval(() => {
  if (document.hidden) return;
  for (const time of document.querySelectorAll('time[data-ago]')) {
    const text = relative(time.getAttribute('datetime') ?? '', now());
    // The text node itself is kept, or a selection that holds it would be lost.
    if (time.firstChild && time.firstChild.nodeValue !== text) time.firstChild.nodeValue = text;
  }
}, 1000);
