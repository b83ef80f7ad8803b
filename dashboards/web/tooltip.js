/** The one tooltip of the page: figures beside the pointer or the cell that has the focus. */

import { element, h, patch } from './dom.js';

const MARGIN = 8;
const DISTANCE = 14;
/** A chart that scrolls a cell into view for the keyboard shows its tip at once; that scroll is not the reader's. */
const OWN_SCROLL_MILLISECONDS = 250;

/** Hidden from readers of the page's structure: charts say the same through their live region. */
const tip = element('div', { class: 'tooltip', 'aria-hidden': 'true' });

let shownAt = 0;

/**
 * Shows it beside a rectangle of the viewport.
 * @param {{left: number, right: number, top: number, bottom: number}} anchor
 * @param {import('./dom.js').Child} content
 */
export function showTip(anchor, content) {
  if (!tip.isConnected) document.body.append(tip);
  shownAt = performance.now();
  patch(tip, content);
  tip.classList.add('shown');
  const { width, height } = tip.getBoundingClientRect();
  const room = document.documentElement.clientWidth;
  let left = anchor.right + DISTANCE;
  if (left + width > room - MARGIN) left = anchor.left - DISTANCE - width;
  let top = (anchor.top + anchor.bottom) / 2 - height / 2;
  if (left < MARGIN) {
    // No room on either side, as on a telephone: above it, or below.
    left = Math.max(MARGIN, Math.min((anchor.left + anchor.right - width) / 2, room - width - MARGIN));
    top = anchor.top - DISTANCE - height;
    if (top < MARGIN) top = anchor.bottom + DISTANCE;
  }
  top = Math.max(MARGIN, Math.min(top, innerHeight - height - MARGIN));
  tip.style.transform = `translate(${Math.round(left)}px, ${Math.round(top)}px)`;
}

export function hideTip() {
  tip.classList.remove('shown');
}

/**
 * A tooltip's usual content: a heading and named figures.
 * @param {import('./dom.js').Child} heading
 * @param {[string, import('./dom.js').Child][]} figures
 * @param {...import('./dom.js').Child} more
 */
export function figures(heading, figures, ...more) {
  return [
    h('div', { class: 'tooltip-heading' }, heading),
    h('dl', { class: 'tooltip-figures' }, figures.map(([name, value]) => [h('dt', null, name), h('dd', null, value)])),
    ...more,
  ];
}

addEventListener('keydown', (event) => {
  if (event.key === 'Escape') hideTip();
});
addEventListener('scroll', () => {
  if (performance.now() - shownAt > OWN_SCROLL_MILLISECONDS) hideTip();
}, { capture: true, passive: true });
