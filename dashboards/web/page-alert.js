/** One alert, for whoever is on call: whether it is real, who is hurt, what to do first; then its evidence. */

import { reactionsSection } from './alert-reactions.js';
import { SEVERITY_WORDS, STANDING_WORDS, alertList, severityBadge } from './alert-row.js';
import { deliveryTimeline } from './alert-timeline.js';
import { acknowledgeForm, matchingOf, silenceForm } from './alert-words.js';
import { paths } from './api.js';
import { at, ago } from './clock.js';
import { CHOICES } from './detectors.js';
import { h, patch } from './dom.js';
import { count, counted, duration, milliseconds, share, span } from './format.js';
import { badge } from './icons.js';
import { watch } from './live.js';
import { indicator } from './model-state.js';
import { alertPath, modelPath, postmortemPath, runbookPath, setTitle } from './navigate.js';
import { readAnswers } from './runbook-answers.js';
import { RunbookSteps } from './runbook-steps.js';
import { onScale, verdictBadge } from './score-words.js';
import { blockSparkline } from './sparkline.js';

/** @typedef {import('./api.js').EpisodeDetail} EpisodeDetail */
/** @typedef {import('./api.js').Member} Member */
/** @typedef {import('./api.js').ModelDetail} ModelDetail */
/** @typedef {import('./api.js').ColumnDetail} ColumnDetail */
/** @typedef {import('./dom.js').Child} Child */
/** @typedef {import('./runbook-answers.js').Answers} Answers */

/** Facts that stand in the answer: they say whether it is real. What they rest on is evidence. */
const ANSWERING = new Set(['Details', 'Affected', 'Since', 'Confidence', 'Changed before', 'Is it new', 'Looks like', 'Budget']);

/** @type {import('./app.js').Page} */
export function alertPage(host, id) {
  setTitle('Alert');
  /** @type {EpisodeDetail | null} */
  let alert = null;
  /** @type {ModelDetail | null} */
  let model = null;
  /** @type {Answers | null} */
  let said = null;
  /** The worst column in the window that closed last: whether it is still so. @type {ColumnDetail | null} */
  let lately = null;
  /** Kept: what somebody is typing outlives the next answer. @type {HTMLElement[] | null} */
  let words = null;
  const steps = new RunbookSteps(id);
  /** @type {Map<string, HTMLElement[]>} */
  const approvals = new Map();
  let isLeft = false;
  let stopModel = () => {};
  let stopColumn = () => {};
  patch(host, h('h1', null, 'Alert'), h('p', { class: 'lead' }, 'Asking the collector.'));

  const draw = () => {
    if (!alert) return;
    words ??= [acknowledgeForm(alert.id), silenceForm('Silence it', matchingOf(alert))];
    patch(host, head(alert, words), answers(alert, model, said, lately), evidence(alert), explained(alert), stepsSection(alert, steps), reactionsSection(alert, approvals),
      h('div', { class: 'columns columns-even' },
        h('section', { 'aria-labelledby': 'told-title' }, h('h2', { id: 'told-title' }, 'Who was told'), h('div', { class: 'panel' }, deliveryTimeline(alert))),
        h('section', { 'aria-labelledby': 'rule-title' }, h('h2', { id: 'rule-title' }, 'Rule'), h('div', { class: 'panel' }, ruleFacts(alert)))));
  };
  const stop = watch(paths.alert(id), 3, (/** @type {EpisodeDetail} */ answer) => {
    const isFirst = !alert;
    alert = answer;
    setTitle(answer.summary || answer.rule);
    const name = answer.labels.model;
    if (isFirst) {
      readAnswers(runbookPath(answer.runbook_url)).then((answers) => {
        said = answers;
        if (!isLeft) draw();
      });
    }
    if (isFirst && name !== undefined) {
      stopModel = watch(paths.model(name), 5, (/** @type {ModelDetail} */ detail) => {
        model = detail;
        draw();
      }, () => {});
      const column = worstColumn(answer);
      if (column !== null && conditionScore(answer) !== null) {
        stopColumn = watch(paths.column(name, column, {}), 10, (/** @type {ColumnDetail} */ detail) => {
          lately = detail;
          draw();
        }, () => {});
      }
    }
    steps.show(alert.steps);
    draw();
  }, (problem) => {
    patch(host, h('h1', null, 'There is no such alert'), h('p', { class: 'lead' }, problem.message), h('p', null, h('a', { href: '/alerts' }, 'All alerts')));
  });
  return () => {
    isLeft = true;
    stop();
    stopModel();
    stopColumn();
  };
}

/**
 * @param {EpisodeDetail} alert
 * @param {HTMLElement[]} words what can be said of it
 */
function head(alert, [acknowledge, silence]) {
  const { model } = alert.labels;
  const isFiring = alert.resolved_at === null;
  const lasted = alert.resolved_at === null ? 0 : (Date.parse(alert.resolved_at) - Date.parse(alert.started_at)) / 1000;
  return h('div', { class: `alert-head alert-head-${isFiring && !alert.drill ? alert.severity : 'resolved'}`, key: 'head' },
    h('p', { class: 'alert-head-state' }, severityBadge(alert),
      isFiring ? h('span', null, h('strong', { class: 'firing' }, STANDING_WORDS[alert.standing ?? 'firing']), ' since ', at(alert.started_at), ' (', ago(alert.started_at), ')')
        : h('span', null, h('strong', null, 'Resolved'), ' ', ago(alert.resolved_at ?? ''), `, after ${duration(lasted)}. Fired `, at(alert.started_at), '.')),
    h('h1', null, alert.summary || alert.rule),
    standing(alert),
    h('div', { class: 'alert-actions' },
      h('a', { class: 'button', href: runbookPath(alert.runbook_url) }, 'Open the runbook'),
      model !== undefined && h('a', { class: 'button button-quiet', href: modelLink(alert) }, `Look at ${model}`),
      alert.dashboard_url !== null && h('a', { class: 'button button-quiet', href: alert.dashboard_url, rel: 'noreferrer' }, 'Dashboard'),
      isFiring && !alert.acknowledged && acknowledge, isFiring && !alert.drill && silence));
}

/**
 * Who is on it, and why nobody is told of it.
 * @param {EpisodeDetail} alert
 */
function standing({ drill, acknowledged, muted_by: mutes, flapping, no_verdict: noVerdict, resolved_at: resolved }) {
  const isMuted = resolved === null && mutes.length > 0;
  return [
    drill && h('p', { class: 'alert-standing' }, h('strong', null, 'A drill'), ': nothing is wrong. Somebody sees whether this reaches whom it should.'),
    noVerdict && h('p', { class: 'alert-standing' }, h('strong', null, 'No verdict'), ' since ', at(noVerdict.since), `: what was over its limit says nothing any more. ${endWithoutVerdict(noVerdict)}`),
    resolved === null && flapping && h('p', { class: 'alert-standing' }, h('strong', null, 'Flapping'), ': it began so often lately that it is resolved only after a longer quiet.'),
    acknowledged && h('p', { class: 'alert-standing' }, h('strong', null, acknowledged.by), ' is on it since ', at(acknowledged.at), acknowledged.note !== '' && `: ${acknowledged.note}`),
    isMuted && h('p', { class: 'alert-standing' }, h('strong', null, 'Muted'), ': nobody is told of it but that it is over, because of ', mutes.map((mute, place) => [place > 0 && ', ', muteWords(mute)])),
  ];
}

/** @param {import('./api.js').NoVerdict} noVerdict */
function endWithoutVerdict({ windows, ends_after_seconds: after }) {
  if (after === null) return 'That does not end the alert.';
  return `The alert ends without one after ${duration(after)} of windows like the last ${count(windows)}.`;
}

/** @param {import('./api.js').Mute} mute */
function muteWords({ by, id }) {
  switch (by) {
    case 'alert': return h('a', { href: alertPath(id) }, 'an alert that explains it');
    case 'schedule': return ['the schedule ', h('code', null, id), ', which whoever is to hear of it waits for'];
    case 'maintenance': return ['the maintenance window ', h('code', null, id)];
    default: return h('a', { href: '/alerts' }, 'a silence');
  }
}

/**
 * Alerts that nobody is told of, because this one explains them.
 * @param {EpisodeDetail} alert
 */
function explained({ explains }) {
  return explains.length > 0 && h('section', { 'aria-labelledby': 'explains-title', key: 'explains' },
    h('h2', { id: 'explains-title' }, `${counted(explains.length, 'more alert')} ${explains.length === 1 ? 'is' : 'are'} explained by this one`),
    h('div', { class: 'panel panel-flush' }, alertList(explains, { withModel: true })));
}

/**
 * What the runbook asks for, to be ticked off.
 * @param {EpisodeDetail} alert
 * @param {RunbookSteps} list
 */
function stepsSection({ steps }, list) {
  return steps.length > 0 && h('section', { 'aria-labelledby': 'steps-title', key: 'steps' },
    h('h2', { id: 'steps-title' }, 'Steps of the runbook'), list.host);
}

/**
 * The model's page, at the column that is worst.
 * @param {EpisodeDetail} alert
 */
function modelLink(alert) {
  const path = modelPath(alert.labels.model ?? '');
  const [column, score] = [worstColumn(alert), conditionScore(alert)];
  return column === null || score === null ? path : `${path}?${new URLSearchParams({ column, ...(score === 'psi' ? {} : { detector: score }) })}`;
}

/**
 * The column of the first member; it is named with its version.
 * @param {EpisodeDetail} alert
 */
function worstColumn({ members }) {
  return members[0]?.what.split(' (version ')[0] ?? null;
}

/**
 * The score that the condition begins with; null when it is about an indicator.
 * @param {EpisodeDetail} alert
 */
function conditionScore({ condition }) {
  const name = condition.split(' ')[0] ?? '';
  return CHOICES.some((one) => one.name === name) ? name : null;
}

/**
 * The three questions, answered by the alert's figures and by the first lines of its runbook.
 * @param {EpisodeDetail} alert
 * @param {ModelDetail | null} model
 * @param {Answers | null} said
 * @param {ColumnDetail | null} lately
 */
function answers(alert, model, said, lately) {
  const [worst] = alert.members;
  const more = alert.members.length - 1 + alert.more_members;
  const isResolved = alert.resolved_at !== null;
  return h('div', { class: 'answers', key: 'answers' },
    answer('Is it real?',
      worst && h('p', { class: 'answer-figure' }, h('strong', null, worst.value), worst.limit !== '' && h('span', { class: 'muted' }, ` against a limit of ${worst.limit}`)),
      worst && h('p', null, h('strong', null, worst.what), worst.n !== '' && `, measured on ${worst.n} ${conditionScore(alert) === null ? 'events' : 'rows'}`,
        more > 0 && `; ${counted(more, 'other')} also beyond the limit`),
      quoted(said?.real),
      h('dl', { class: 'facts' }, factRows(alert.facts.filter(({ name }) => ANSWERING.has(name))), stillSo(alert, lately))),
    answer('Who is hurt?', quoted(said?.hurt), ...hurt(alert, model)),
    answer('What to do first',
      isResolved && h('p', null, 'The condition no longer holds: nothing needs to be done at once. If it comes back:'),
      quoted(said?.first) || h('p', null, 'The runbook begins with what to check in 30 seconds.'),
      h('p', null, h('a', { class: 'button button-quiet', href: runbookPath(alert.runbook_url) }, `Runbook ${alert.runbook}`)),
      !isResolved && h('p', { class: 'muted' }, 'The alert resolves by itself when the condition no longer holds, and whoever was told of it hears of that too.')));
}

/** @param {EpisodeDetail['facts']} facts */
function factRows(facts) {
  return facts.map(({ name, value }) => [h('dt', null, name), h('dd', null, value)]);
}

/**
 * The worst column's score in the window that closed last.
 * @param {EpisodeDetail} alert
 * @param {ColumnDetail | null} lately
 */
function stillSo(alert, lately) {
  const score = lately?.scores.find(({ detector }) => detector === conditionScore(alert));
  return lately && score && [h('dt', null, 'Lately'), h('dd', null, verdictBadge(score.verdict), ' ',
    `${onScale(score, score.effect)} against ${onScale(score, score.limit)} for ${lately.column}, ${span(lately.window.starts, lately.window.ends)}`)];
}

/** @param {Child[] | undefined} words of the runbook */
function quoted(words) {
  return words && words.length > 0 && h('p', { class: 'quoted' }, words);
}

/**
 * @param {string} title
 * @param {...Child} content
 */
function answer(title, ...content) {
  return h('section', { class: 'panel answer', 'aria-label': title }, h('h2', null, title), ...content);
}

/**
 * The callers of the model, as they fare now.
 * @param {EpisodeDetail} alert
 * @param {ModelDetail | null} model
 * @returns {Child[]}
 */
function hurt({ labels }, model) {
  if (labels.model === undefined) return [h('p', null, Object.entries(labels).map(([name, value]) => `${name} ${value}`).join(', ') || 'The alert names no model.')];
  if (!model) return [h('p', null, `The callers of ${labels.model}.`)];
  const [answered, inTime] = [indicator(model, 'availability'), indicator(model, 'latency')];
  const predictions = model.columns.filter(({ role }) => role === 'prediction').map(({ name }) => name);
  const moved = model.drifting.filter(({ column }) => predictions.includes(column)).map(({ column }) => column);
  return [
    h('p', null, 'The callers of ', h('a', { href: modelPath(model.name) }, model.name), ', as they fare now:'),
    h('dl', { class: 'facts' },
      h('dt', null, 'Requests'), h('dd', null, `${count(model.requests)} in the last hour`),
      h('dt', null, 'Answered'), h('dd', null, answered?.share === null || !answered ? 'no requests' : share(answered.share)),
      h('dt', null, 'In time'), h('dd', null, inTime?.share === null || !inTime ? 'no requests'
        : `${share(inTime.share)} within ${milliseconds(model.latency_objective_ms)}; p99 ${milliseconds(model.latency.p99_ms)}`),
      h('dt', null, 'Predictions'), h('dd', null, predictions.length === 0 || !model.window ? 'not compared'
        : moved.length > 0 ? badge('drift', `${moved.join(', ')} ${moved.length === 1 ? 'drifts' : 'drift'}: answers have changed`)
          : `no drift of ${predictions.join(', ')} in the last window`)),
  ];
}

/** @param {EpisodeDetail} alert */
function evidence(alert) {
  const { members, more_members: more, picture } = alert;
  const facts = alert.facts.filter(({ name }) => !ANSWERING.has(name));
  if (members.length === 0 && facts.length === 0 && !picture) return null;
  // An expression has neither a limit nor a size, and an indicator no windows.
  const figures = [
    { name: 'Value', of: (/** @type {Member} */ { value }) => value },
    { name: 'Limit', of: (/** @type {Member} */ { limit }) => limit },
    { name: conditionScore(alert) === null ? 'Events' : 'Rows', of: (/** @type {Member} */ { n }) => n },
  ].filter(({ of }) => members.some((member) => of(member) !== ''));
  const hasLines = members.some(({ sparkline }) => sparkline !== '');
  return h('section', { 'aria-labelledby': 'evidence-title', key: 'evidence' }, h('h2', { id: 'evidence-title' }, 'Evidence when it began'),
    h('div', { class: `panel evidence${picture ? ' evidence-pictured' : ''}` },
      members.length > 0 && h('div', { class: 'table-scroller', tabindex: 0, role: 'region', 'aria-label': 'Beyond the limit' }, h('table', { class: 'figures' },
        h('thead', null, h('tr', null, h('th', { scope: 'col' }, 'Beyond the limit'),
          figures.map(({ name }) => h('th', { scope: 'col', class: 'number' }, name)), hasLines && h('th', { scope: 'col' }, 'Last windows'))),
        h('tbody', null, members.map((member) => h('tr', null,
          h('th', { scope: 'row' }, member.what),
          figures.map(({ of }) => h('td', { class: 'number' }, of(member))),
          hasLines && h('td', null, blockSparkline(member.sparkline))))),
        more > 0 && h('tfoot', null, h('tr', null, h('td', { colspan: 5, class: 'muted' }, `and ${counted(more, 'other')}`))))),
      picture && h('figure', { class: 'picture' },
        h('img', { src: `data:image/png;base64,${picture.png_base64}`, alt: picture.caption, width: 560, height: 160 }),
        h('figcaption', null, picture.caption)),
      facts.length > 0 && h('dl', { class: 'facts' }, factRows(facts))));
}

/** @param {EpisodeDetail} alert */
function ruleFacts({ rule, condition, severity, labels, id, runbook, runbook_url: url }) {
  const fact = (/** @type {string} */ name, /** @type {Child} */ value) => [h('dt', null, name), h('dd', null, value)];
  return h('dl', { class: 'facts' },
    fact('Rule', rule),
    condition !== '' && fact('Condition', condition),
    fact('Severity', SEVERITY_WORDS[severity]),
    Object.entries(labels).map(([name, value]) => fact(`Label ${name}`, value)),
    fact('Runbook', h('a', { href: runbookPath(url) }, runbook)),
    fact('Postmortem', h('a', { href: postmortemPath(id) }, 'a draft')),
    fact('Episode', h('code', { class: 'breakable' }, id)));
}
