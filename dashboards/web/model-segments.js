/** The section of a model's page that shows its segments in the last window: the worst first, and the smallest marked. */

import { paths } from './api.js';
import { detector } from './detectors.js';
import { element, h, patch } from './dom.js';
import { count, counted, number, share, span } from './format.js';
import { watch } from './live.js';
import { onScale, verdictBadge } from './score-words.js';

/** @typedef {import('./api.js').ModelDetail} ModelDetail */
/** @typedef {import('./api.js').SegmentList} SegmentList */
/** @typedef {import('./api.js').Segment} Segment */

/** Segments that are shown before somebody asks for all; those that drift are shown in any case. */
const SHOWN = 8;
/** How many of the smallest are marked, where there are at least twice as many. */
const SMALLEST = 3;
/** A closed window does not change; a new one is asked for when the model's summary names it. */
const SEGMENT_SECONDS = 120;

export class ModelSegments {
  /** @param {string} model */
  constructor(model) {
    this.model = model;
    /** @type {SegmentList | null} */
    this.list = null;
    this.isWhole = false;
    this.asked = '';
    this.stopWatching = () => {};
    this.host = element('section', { 'aria-labelledby': 'segments-title', hidden: true });
  }

  stop() {
    this.stopWatching();
  }

  /** @param {ModelDetail} detail */
  update({ window }) {
    if (!window) return;
    const path = paths.segments(this.model, { version: window.version, ends: window.ends });
    if (path === this.asked) return;
    this.asked = path;
    this.stopWatching();
    this.stopWatching = watch(path, SEGMENT_SECONDS, (/** @type {SegmentList} */ list) => {
      this.list = list;
      this.draw();
    }, () => {});
  }

  draw() {
    const { list } = this;
    // Most models have no segments, and need no words about it.
    this.host.hidden = !list?.window || list.segments.length === 0;
    if (!list?.window || this.host.hidden) return;
    const { window, segments } = list;
    const small = smallest(segments);
    const shown = this.isWhole ? segments : segments.filter((segment, index) => index < SHOWN || segment.verdict === 'drift' || small.has(segment.segment));
    const left = segments.length - shown.length;
    const drifting = segments.filter(({ verdict }) => verdict === 'drift').length;
    patch(this.host,
      h('div', { class: 'section-head' },
        h('h2', { id: 'segments-title' }, 'Segments ', h('span', { class: 'count' }, drifting > 0 ? `${drifting} of ${segments.length} drift` : counted(segments.length, 'segment'))),
        h('div', { class: 'toolbar' }, h('span', { class: 'muted' }, `${span(window.starts, window.ends)}, ${counted(window.rows, 'row')}`))),
      h('div', { class: 'panel panel-flush' },
        h('div', { class: 'table-scroller', tabindex: 0, role: 'region', 'aria-label': `Segments, ${span(window.starts, window.ends)}` },
          h('table', { class: 'figures segments' },
            h('thead', null, h('tr', null, h('th', { scope: 'col' }, 'Segment'), h('th', { scope: 'col' }, 'Verdict'),
              ['Rows', 'Share', 'In the reference'].map((name) => h('th', { scope: 'col', class: 'number' }, name)),
              h('th', { scope: 'col' }, 'Worst column'), h('th', { scope: 'col', class: 'number' }, 'Of its limit'), h('th', { scope: 'col' }, 'Looks like'))),
            h('tbody', null, shown.map((segment) => segmentRow(segment, small.has(segment.segment)))))),
        h('div', { class: 'explanation' },
          (left > 0 || this.isWhole) && h('p', null, h('button', { type: 'button', class: 'quiet-button', onclick: () => { this.isWhole = !this.isWhole; this.draw(); } },
            this.isWhole ? 'Only the worst and the smallest' : `All ${segments.length} segments`)),
          h('p', null, 'Each segment is compared with itself in the reference: by PSI, by KS, and by how much more is missing. The worst score is the one that is furthest beyond its limit, or nearest to it.'))));
  }
}

/**
 * The names of those with the fewest rows.
 * @param {Segment[]} segments
 */
function smallest(segments) {
  if (segments.length < 2 * SMALLEST) return new Set();
  return new Set([...segments].sort((a, b) => a.rows - b.rows).slice(0, SMALLEST).map(({ segment }) => segment));
}

/**
 * @param {Segment} segment
 * @param {boolean} isSmall
 */
function segmentRow({ segment, verdict, rows, share: part, reference_rows: before, is_scored: isScored, drifting, worst }, isSmall) {
  const [cause] = worst?.causes ?? [];
  return h('tr', { key: segment, class: `score-${verdict}` },
    h('th', { scope: 'row', class: 'breakable' }, segment, isSmall && h('span', { class: 'muted' }, ' one of the smallest')),
    h('td', null, verdictBadge(verdict)),
    h('td', { class: 'number' }, count(rows)),
    h('td', { class: 'number' }, share(part)),
    h('td', { class: 'number' }, isScored ? count(before) : [count(before), h('span', { class: 'muted' }, ' too few')]),
    h('td', null, worst ? [h('span', { class: 'breakable' }, worst.column),
      h('span', { class: 'muted' }, ` ${detector(worst.score.detector).short} ${onScale(worst.score, worst.score.effect)}, limit ${onScale(worst.score, worst.score.limit)}`),
      drifting > 1 && h('span', { class: 'muted' }, ` and ${counted(drifting - 1, 'other')}`)]
      : h('span', { class: 'muted' }, isScored ? 'nothing can be said' : 'not compared')),
    h('td', { class: 'number' }, worst ? `${number(worst.limits)} ×` : ''),
    h('td', { class: 'in-words' }, cause && [cause.says, h('span', { class: 'muted' }, ` (${share(cause.share)})`)]));
}
