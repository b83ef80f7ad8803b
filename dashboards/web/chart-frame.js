/**
 * The frame of a chart: as wide as its container, with a summary for those who cannot see it, and a cursor that steps
 * from stop to stop by pointer or by arrow keys.
 */

import { element, h, patch } from './dom.js';
import { hideTip, showTip } from './tooltip.js';

/** @typedef {import('./dom.js').Child} Child */
/**
 * Where the cursor can stop: places along one axis, in pixels.
 * @typedef {object} Stops
 * @property {'x' | 'y'} along
 * @property {number[]} at
 * @property {[number, number]} across the cursor's extent on the other axis
 * @property {number} [thickness] of a cursor that is a band; without it a line
 * @property {(stop: number) => Child} tip
 * @property {(stop: number) => string} say
 * @property {(stop: number) => void} [choose]
 */
/** @typedef {{width: number, height: number, summary: string, marks: Child[], stops: Stops | null}} Drawing */

/** Less than this and labels collide; the container then scrolls. */
const LEAST_WIDTH = 220;

export class ChartFrame {
  /** @param {string} name what the chart is, in a few words */
  constructor(name) {
    this.name = name;
    this.said = element('div', { class: 'unseen', 'aria-live': 'polite' });
    this.plot = element('div', { class: 'chart-plot', tabindex: 0, role: 'application', 'aria-roledescription': 'chart' });
    this.host = element('div', { class: 'chart' }, this.plot, this.said);
    /** @type {((width: number) => Drawing) | null} */
    this.draw = null;
    /** @type {Drawing | null} */
    this.drawing = null;
    this.width = 0;
    this.stop = -1;
    new ResizeObserver(() => {
      const width = Math.round(this.host.clientWidth);
      if (width !== this.width) this.redraw();
    }).observe(this.host);
    this.plot.onpointermove = (event) => this.point(event);
    this.plot.onpointerleave = () => this.leave();
    this.plot.onblur = () => this.leave();
    this.plot.onclick = () => this.choose();
    this.plot.onkeydown = (event) => this.key(event);
  }

  /** @param {(width: number) => Drawing} draw */
  show(draw) {
    this.draw = draw;
    this.redraw();
  }

  redraw() {
    this.width = Math.round(this.host.clientWidth);
    // Not on the page yet: the observer calls when it is.
    if (!this.draw || this.width === 0) return;
    const drawing = this.draw(Math.max(LEAST_WIDTH, this.width));
    this.drawing = drawing;
    const { width, height, marks, summary } = drawing;
    this.plot.setAttribute('aria-label', `${this.name}. ${summary}`);
    patch(this.plot, h('svg', { width, height, viewBox: `0 0 ${width} ${height}`, 'aria-hidden': 'true' }, marks, h('g', { key: 'cursor' })));
    if (this.stop >= 0) this.move(Math.min(this.stop, (drawing.stops?.at.length ?? 0) - 1), false);
  }

  /** @param {PointerEvent} event */
  point(event) {
    const stops = this.drawing?.stops;
    if (!stops || stops.at.length === 0) return;
    const box = this.plot.getBoundingClientRect();
    const place = stops.along === 'x' ? event.clientX - box.left : event.clientY - box.top;
    let nearest = 0;
    stops.at.forEach((at, index) => {
      if (Math.abs(at - place) < Math.abs((stops.at[nearest] ?? 0) - place)) nearest = index;
    });
    this.move(nearest, false);
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const stops = this.drawing?.stops;
    if (!stops || stops.at.length === 0) return;
    const last = stops.at.length - 1;
    const now = this.stop < 0 ? last : this.stop;
    const next = { ArrowRight: now + 1, ArrowDown: now + 1, ArrowLeft: now - 1, ArrowUp: now - 1, Home: 0, End: last }[event.key];
    if (next !== undefined) {
      event.preventDefault();
      this.move(this.stop < 0 ? now : Math.max(0, Math.min(last, next)), true);
    } else if (event.key === 'Enter' || event.key === ' ') {
      event.preventDefault();
      this.choose();
    }
  }

  choose() {
    if (this.stop >= 0) this.drawing?.stops?.choose?.(this.stop);
  }

  leave() {
    this.stop = -1;
    this.cursor(null);
    hideTip();
  }

  /**
   * @param {number} stop
   * @param {boolean} isSaid
   */
  move(stop, isSaid) {
    const stops = this.drawing?.stops;
    const at = stops?.at[stop];
    if (!stops || at === undefined) return this.leave();
    this.stop = stop;
    const half = (stops.thickness ?? 0) / 2;
    const [low, high] = stops.across;
    const x = stops.along === 'x' ? { from: at - half, to: at + half } : { from: low, to: high };
    const y = stops.along === 'x' ? { from: low, to: high } : { from: at - half, to: at + half };
    this.cursor(half > 0
      ? h('rect', { class: 'cursor-band', x: x.from, y: y.from, width: x.to - x.from, height: y.to - y.from })
      : h('line', { class: 'cursor-line', x1: x.from, x2: x.to, y1: y.from, y2: y.to }));
    const box = this.plot.getBoundingClientRect();
    const middle = stops.along === 'x' ? { left: box.left + x.from, right: box.left + x.to, top: box.top + low, bottom: box.top + high }
      : { left: box.left + high, right: box.left + high, top: box.top + y.from, bottom: box.top + y.to };
    showTip(middle, stops.tip(stop));
    if (isSaid) patch(this.said, stops.say(stop));
  }

  /** @param {Child} mark */
  cursor(mark) {
    const group = this.plot.querySelector('svg > g:last-of-type');
    if (group) patch(group, mark);
  }
}
