/** Traffic by the wall clock: requests in each slice as bars, and latencies as lines with the objective. */

import { bottomAxis, crisp, valueAxis } from './chart-axes.js';
import { clockTicks, roundTicks, scale, tickLabel } from './chart-scale.js';
import { h } from './dom.js';
import { count, counted, instant, milliseconds, share, stretch } from './format.js';
import { figures } from './tooltip.js';

/** @typedef {import('./api.js').Traffic} Traffic */
/** @typedef {import('./api.js').TrafficPoint} TrafficPoint */
/** @typedef {{traffic: Traffic, from: number, to: number}} Stretch times in milliseconds */
/** @typedef {'p50_ms' | 'p90_ms' | 'p99_ms'} Quantile */

const [TOP, BOTTOM, LEFT, RIGHT] = [14, 36, 46, 8];
const REQUESTS_HEIGHT = 150;
const LATENCY_HEIGHT = 210;
const CLOCK_SPACING = 64;
/** An objective farther above the lines than this would press them flat; it is then named at the top instead. */
const FARTHEST_OBJECTIVE = 5;

/** @type {Quantile[]} */
const QUANTILES = ['p50_ms', 'p90_ms', 'p99_ms'];

/**
 * @param {Stretch} stretch
 * @param {number} width
 * @returns {import('./chart-frame.js').Drawing}
 */
export function drawRequests({ traffic, from, to }, width) {
  const { points, step_seconds: step } = traffic;
  const floor = REQUESTS_HEIGHT - BOTTOM;
  const plot = { left: LEFT, right: width - RIGHT };
  const x = scale([from, to], [plot.left, plot.right]);
  const { ticks, to: most } = roundTicks(0, Math.max(1, ...points.map((point) => point.requests)), 3);
  const y = scale([0, most], [floor, TOP]);
  const size = Math.max(1, ((plot.right - plot.left) * step * 1000) / (to - from) - 1);
  const total = points.reduce((sum, point) => sum + point.requests, 0);
  return {
    width, height: REQUESTS_HEIGHT,
    summary: points.length === 0 ? 'No requests.' : `${counted(total, 'request')}; at most ${count(Math.max(...points.map((point) => point.requests)))} in ${stretch(step)}.`,
    marks: [
      valueAxis(ticks.filter(Number.isInteger), y, plot),
      points.map((point) => {
        const left = Math.max(plot.left, x(Date.parse(point.at)));
        const height = Math.max(1, floor - y(point.requests));
        return h('rect', { class: 'bar-requests', x: left, y: floor - height, width: Math.max(1, Math.min(size, plot.right - left)), height });
      }),
      bottomAxis(clockTicks(from, to, plot.right - plot.left, CLOCK_SPACING), x, floor, plot),
    ],
    stops: stops(traffic, centersOf(traffic, x, plot), floor),
  };
}

/**
 * @param {Stretch} stretch
 * @param {number} width
 * @returns {import('./chart-frame.js').Drawing}
 */
export function drawLatency({ traffic, from, to }, width) {
  const { points, latency_objective_ms: objective } = traffic;
  const floor = LATENCY_HEIGHT - BOTTOM;
  const plot = { left: LEFT, right: width - RIGHT };
  const x = scale([from, to], [plot.left, plot.right]);
  const slowest = Math.max(0, ...points.map((point) => point.p99_ms ?? 0));
  const isNear = slowest === 0 || objective <= slowest * FARTHEST_OBJECTIVE;
  const { ticks, to: most } = roundTicks(0, Math.max(slowest, isNear ? objective : 0) * 1.08 || 1, 4);
  const y = scale([0, most], [floor, TOP]);
  const centers = centersOf(traffic, x, plot);
  const place = y(objective);
  return {
    width, height: LATENCY_HEIGHT,
    summary: latencySummary(points, objective),
    marks: [
      valueAxis(ticks, y, plot, tickLabel),
      isNear && h('line', { class: 'objective-line', x1: plot.left, x2: plot.right, y1: crisp(place), y2: crisp(place) }),
      !isNear && h('text', { class: 'objective-label', x: plot.right - 2, y: TOP - 3, 'text-anchor': 'end' }, 'The objective lies above this chart'),
      QUANTILES.map((quantile) => lineOf(traffic, quantile, centers, y)),
      bottomAxis(clockTicks(from, to, plot.right - plot.left, CLOCK_SPACING), x, floor, plot),
    ],
    stops: stops(traffic, centers, floor),
  };
}

/**
 * @param {Traffic} traffic
 * @param {(time: number) => number} x
 * @param {{left: number, right: number}} plot
 */
function centersOf({ points, step_seconds: step }, x, { left, right }) {
  return points.map((point) => Math.max(left, Math.min(right, x(Date.parse(point.at) + step * 500))));
}

/**
 * A quantile's line, interrupted where a slice had no traffic; a slice alone is a dot.
 * @param {Traffic} traffic
 * @param {Quantile} quantile
 * @param {number[]} centers
 * @param {(value: number) => number} y
 */
function lineOf({ points, step_seconds: step }, quantile, centers, y) {
  let path = '';
  let before = -Infinity;
  /** @type {{x: number, y: number}[]} */
  const lone = [];
  let length = 0;
  points.forEach((point, index) => {
    const value = point[quantile];
    if (value === null) return;
    const time = Date.parse(point.at);
    const isNext = time - before <= step * 1500;
    const here = { x: centers[index] ?? 0, y: y(value) };
    if (isNext && length === 1) lone.pop();
    length = isNext ? length + 1 : 1;
    if (length === 1) lone.push(here);
    path += `${isNext ? 'L' : 'M'}${here.x} ${here.y}`;
    before = time;
  });
  const name = `latency-${quantile.slice(0, 3)}`;
  return h('g', null, h('path', { class: `latency-line ${name}`, d: path }),
    lone.map((one) => h('circle', { class: `latency-dot ${name}`, cx: one.x, cy: one.y, r: 2.5 })));
}

/**
 * @param {Traffic} traffic
 * @param {number[]} at
 * @param {number} floor
 * @returns {import('./chart-frame.js').Stops}
 */
function stops({ points, step_seconds: step }, at, floor) {
  return {
    along: 'x', at, across: [TOP, floor],
    tip: (index) => {
      const point = points[index];
      return point && figures([h('strong', null, instant(point.at, step < 60)), h('div', null, `${stretch(step)} from then on`)], [
        ['Requests', count(point.requests)], ['p99', milliseconds(point.p99_ms)], ['p90', milliseconds(point.p90_ms)],
        ['p50', milliseconds(point.p50_ms)], ['Answered', share(point.availability)], ['In time', share(point.in_time)],
      ]);
    },
    say: (index) => {
      const point = points[index];
      return point ? `${instant(point.at, step < 60)}: ${counted(point.requests, 'request')}, median ${milliseconds(point.p50_ms)}, p99 ${milliseconds(point.p99_ms)}` : '';
    },
  };
}

/**
 * @param {TrafficPoint[]} points
 * @param {number} objective
 */
function latencySummary(points, objective) {
  const last = points.at(-1);
  if (!last) return `No requests. The objective is ${milliseconds(objective)}.`;
  const over = points.filter((point) => (point.p99_ms ?? 0) > objective).length;
  return `Last p50 ${milliseconds(last.p50_ms)}, p90 ${milliseconds(last.p90_ms)}, p99 ${milliseconds(last.p99_ms)}; objective ${milliseconds(objective)}, `
    + (over === 0 ? 'p99 below it throughout.' : `p99 above it in ${over} of ${points.length} slices.`);
}

/**
 * What the lines are.
 * @param {Traffic} traffic
 */
export function latencyLegend({ latency_objective_ms: objective }) {
  return h('ul', { class: 'legend' }, [['p99', 'p99'], ['p90', 'p90'], ['p50', 'p50'], ['limit', `Objective ${milliseconds(objective)}`]].map(([key, words]) =>
    h('li', null, h('span', { class: `key key-${key}`, 'aria-hidden': 'true' }), words)));
}
