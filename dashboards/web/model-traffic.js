/** The section of a model's page that shows its requests and latencies by the wall clock. */

import { paths } from './api.js';
import { ChartFrame } from './chart-frame.js';
import { drawLatency, drawRequests, latencyLegend } from './chart-traffic.js';
import { now } from './clock.js';
import { element, h, patch } from './dom.js';
import { stretch } from './format.js';
import { watch } from './live.js';

/** @typedef {import('./api.js').Traffic} Traffic */

/** @type {[number, string][]} */
const SPANS = [[15, '15 minutes'], [60, '1 hour'], [360, '6 hours'], [1440, '24 hours']];
const [SHORTEST, USUAL] = [15, 60];
const TRAFFIC_SECONDS = 5;
/** Time passes on the charts when nothing comes, too. */
const REDRAW_MILLISECONDS = 15_000;

export class ModelTraffic {
  /** @param {string} model */
  constructor(model) {
    this.model = model;
    this.minutes = USUAL;
    /** Until the reader or the first answer has chosen. */
    this.isOpen = true;
    /** @type {Traffic | null} */
    this.traffic = null;
    this.stopWatching = () => {};
    this.requests = new ChartFrame('Requests');
    this.latency = new ChartFrame('Latency');
    this.choices = element('div', { class: 'segmented', role: 'group', 'aria-label': 'Stretch of time' });
    this.body = element('div', { class: 'panel' });
    this.host = element('section', { 'aria-labelledby': 'traffic-title' });
    patch(this.host, h('div', { class: 'section-head' }, h('h2', { id: 'traffic-title' }, 'Traffic'), this.choices), this.body);
    this.timer = setInterval(() => this.draw(), REDRAW_MILLISECONDS);
    this.choose(USUAL);
  }

  stop() {
    clearInterval(this.timer);
    this.stopWatching();
  }

  /** @param {number} minutes */
  choose(minutes) {
    this.minutes = minutes;
    patch(this.choices, SPANS.map(([span, words]) =>
      h('button', { type: 'button', 'aria-pressed': String(span === minutes), onclick: () => { this.isOpen = false; this.choose(span); } }, words)));
    this.stopWatching();
    this.stopWatching = watch(paths.traffic(this.model, minutes), TRAFFIC_SECONDS, (/** @type {Traffic} */ traffic) => {
      const [first] = traffic.points;
      // What has only just begun would be a few lines at the edge of an hour.
      const isYoung = first !== undefined && Date.parse(first.at) > now() - SHORTEST * 60_000;
      if (this.isOpen && isYoung) {
        this.isOpen = false;
        this.choose(SHORTEST);
        return;
      }
      this.isOpen = false;
      this.traffic = traffic;
      this.shownMinutes = minutes;
      this.draw();
    }, () => {});
  }

  draw() {
    const { traffic } = this;
    if (!traffic) return;
    const to = now();
    const span = { traffic, from: to - (this.shownMinutes ?? USUAL) * 60_000, to };
    if (traffic.points.length === 0) {
      patch(this.body, h('p', { class: 'empty-line' }, `No request in the last ${SPANS.find(([minutes]) => minutes === this.shownMinutes)?.[1] ?? ''}.`));
      return;
    }
    patch(this.body,
      h('h3', null, 'Requests', h('span', { class: 'count' }, ` in each ${stretch(traffic.step_seconds).replace(/^1 /, '')}, UTC`)), this.requests.host,
      h('div', { class: 'chart-head' }, h('h3', null, 'Latency', h('span', { class: 'count' }, ' in milliseconds')), latencyLegend(traffic)), this.latency.host);
    this.requests.show((width) => drawRequests(span, width));
    this.latency.show((width) => drawLatency(span, width));
  }
}
