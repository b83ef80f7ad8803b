/** A model's key facts: its state, its indicators, its reference, and how its event time is cut into windows. */

import { ago, at } from './clock.js';
import { h } from './dom.js';
import { count, counted, latencies, milliseconds, share, stretch } from './format.js';
import { indicator, stateBadges } from './model-state.js';

/** @typedef {import('./api.js').ModelDetail} ModelDetail */
/** @typedef {import('./dom.js').Child} Child */

const MOST_VERSIONS_SHOWN = 4;

/**
 * @param {ModelDetail} model
 * @param {import('./api.js').Episode[]} firing
 */
export function modelHeader(model, firing) {
  return [
    h('div', { class: 'page-head' },
      h('h1', { class: 'breakable' }, model.name),
      h('div', { class: 'badges' }, stateBadges(model, firing)),
      h('p', { class: 'lead' }, versions(model.versions))),
    h('dl', { class: 'tiles panel' },
      tile('Requests, last hour', count(model.requests)),
      tile('Latency p50 / p99', model.latency.p50_ms === null ? none() : latencies(model.latency.p50_ms, model.latency.p99_ms), inTime(model)),
      model.first_message_objective_ms !== null
        && indicatorTile(model, `First message within ${milliseconds(model.first_message_objective_ms)}`, 'first_message', 'streams begun in time'),
      indicatorTile(model, 'Answered', 'availability', 'requests answered'),
      indicatorTile(model, 'Fresh', 'freshness', 'rows with fresh features'),
      indicatorTile(model, 'Captured', 'capture', 'exchanges kept'),
      tile('Rows counted', count(model.rows), model.late_rows > 0 ? `${count(model.late_rows)} came too late` : 'none came too late'),
      tile('Newest row', model.newest_event ? ago(model.newest_event) : none(), model.newest_event && at(model.newest_event, false)),
      tile('Outcomes known', count(model.outcomes), model.rows > 0 && `${share(Math.min(1, model.outcomes / model.rows))} of rows`)),
    h('p', { class: 'setting' }, h('strong', null, 'Reference'), ' ', reference(model)),
    model.objectives.map((objective) => h('p', { class: 'setting' }, h('strong', null, 'Objective'), ' ', objectiveWords(objective))),
    model.watermarks.map((watermark) => h('p', { class: 'setting' }, h('strong', null, 'Newest time'), ' ', watermarkWords(watermark))),
    model.feeds.map((feed) => h('p', { class: 'setting' }, h('strong', null, 'Feed'), ' ', feedWords(feed))),
    h('p', { class: 'setting' }, h('strong', null, 'Windows'), ' ', windows(model)),
  ];
}

/**
 * @param {string} name
 * @param {Child} value
 * @param {Child} [more]
 */
function tile(name, value, more) {
  return h('div', { class: 'tile' }, h('dt', null, name), h('dd', null, value), more && h('dd', { class: 'sub' }, more));
}

function none() {
  return h('span', { class: 'muted' }, 'none');
}

/** @param {ModelDetail} model */
function inTime(model) {
  const sli = indicator(model, 'latency');
  const objective = milliseconds(model.latency_objective_ms);
  return !sli || sli.share === null ? `objective ${objective}` : `${share(sli.share)} within ${objective}`;
}

/**
 * @param {ModelDetail} model
 * @param {string} label
 * @param {string} name
 * @param {string} words
 */
function indicatorTile(model, label, name, words) {
  const sli = indicator(model, name);
  if (!sli || sli.share === null) return tile(label, none(), 'in the last hour');
  return tile(label, h('span', { title: `${count(sli.good)} of ${count(sli.valid)} ${words} in the last hour` }, share(sli.share)),
    `${sli.valid === sli.good ? `all of ${count(sli.valid)}` : `${count(sli.valid - sli.good)} of ${count(sli.valid)} not`}${unknown(sli)}`);
}

/** @param {import('./api.js').Sli} sli */
function unknown(sli) {
  return sli.unknown > 0 ? `, ${count(sli.unknown)} unknown` : '';
}

/** @type {Record<string, string>} */
const OBJECTIVE_STATES = {
  ok: 'the budget lasts',
  burning: 'the budget is spent too fast',
  exhausted: 'the budget is spent',
  degraded_capture: 'too much was lost to say',
  no_traffic: 'nobody asked of late',
  no_data: 'nothing is heard',
};

/** @param {import('./api.js').Objective} objective */
function objectiveWords({ rule, sli, column, state, target, period, good, bad, unknown: lost, budget_left: left }) {
  return `${sli}${column === null ? '' : ` of ${column}`}, ${share(target)} over ${period} (${rule}): ${OBJECTIVE_STATES[state] ?? state}; `
    + `${count(good)} good, ${count(bad)} bad, ${count(lost)} unknown${left < 0 ? ', the objective is missed' : `, ${share(left)} of the budget left`}.`;
}

/** @param {import('./api.js').Watermark} watermark */
function watermarkWords({ column, state, max_age_seconds: most, newest, moved_at: moved }) {
  const allowed = most === null ? '' : `, may be ${stretch(most)} old${state === 'stale' ? ', and is older' : ''}`;
  return [
    'of ', h('span', { class: 'breakable' }, column), ': ',
    newest === null || moved === null ? 'none was ever seen' : [ago(newest), ', came ', ago(moved)],
    `${allowed}.`,
  ];
}

/** @param {import('./api.js').Feed} feed */
function feedWords({ name, state, max_age_seconds: most, columns, written_at: written, trouble }) {
  return [
    h('span', { class: 'breakable' }, name), ': ',
    written === null ? 'no file was seen' : ['its newest file was written ', ago(written)],
    `, may be ${stretch(most)} old${state === 'stale' ? ', and is older' : ''}; `,
    columns.length === 0 ? 'names no columns, so it explains anything' : ['brings ', h('span', { class: 'breakable' }, columns.join(', '))],
    trouble === null ? '.' : ['; cannot be listed: ', h('span', { class: 'breakable' }, trouble)],
  ];
}

/** @param {string[]} versions the newest first */
function versions(versions) {
  const shown = versions.slice(0, MOST_VERSIONS_SHOWN).join(', ');
  const rest = versions.length - MOST_VERSIONS_SHOWN;
  if (versions.length === 0) return 'No version was seen yet.';
  if (versions.length === 1) return `Version ${shown}`;
  return `Versions ${shown}${rest > 0 ? ` and ${counted(rest, 'other')}` : ''}, the one seen last first`;
}

/** @param {ModelDetail} model */
function reference({ reference: one }) {
  if (!one) return 'None, so drift cannot be told. Build one from training data or from a quiet period with driftline reference, and name it in the configuration.';
  const [source, ...others] = one.sources;
  return [
    `${counted(one.rows, 'row')} of ${counted(one.columns, 'column')}, built `, ago(one.built_at),
    source !== undefined && [' from ', h('span', { class: 'breakable', title: one.sources.join('\n') }, fileName(source)), others.length > 0 && ` and ${counted(others.length, 'other file')}`],
    '.',
  ];
}

/** @param {string} path */
function fileName(path) {
  return path.split('/').at(-1) || path;
}

/** @param {ModelDetail} model */
function windows({ windows: set, event_time: eventTime }) {
  const every = stretch(set.every_panes * set.pane_seconds);
  return [
    `${stretch(set.panes * set.pane_seconds)}, one closes ${every.startsWith('1\u202f') || every.startsWith('1 ') ? `each ${every.slice(2)}` : `every ${every}`}`,
    `; rows may come ${set.lateness_seconds === 0 ? 'no later than that' : `up to ${stretch(set.lateness_seconds)} late`}`,
    `; at least ${set.min_filled_panes} of ${counted(set.panes, 'pane')} must be filled. Event time is `,
    eventTime === 'request' ? 'the time of the request' : ['the column ', h('span', { class: 'breakable' }, eventTime)], '.',
  ];
}
