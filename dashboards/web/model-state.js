/** How a model is, at a glance: what fires, what drifts, what is missing to tell. */

import { count, counted } from './format.js';
import { badge } from './icons.js';

/** @typedef {import('./api.js').ModelSummary} ModelSummary */
/** @typedef {import('./api.js').Episode} Episode */

const SEVERITIES = /** @type {const} */ (['page', 'ticket', 'info']);

/**
 * The states that hold, the gravest first.
 * @param {ModelSummary} model
 * @param {Episode[]} firing alerts that fire, of any model
 */
export function stateBadges(model, firing) {
  const own = firing.filter((episode) => episode.labels.model === model.name);
  const badges = [];
  for (const severity of SEVERITIES) {
    const those = own.filter((episode) => episode.severity === severity).length;
    if (those > 0) badges.push(badge(severity, alertWords(severity, those)));
  }
  // The two answers come apart: until the list of alerts is here, the summary's count speaks.
  if (badges.length === 0 && model.alerts_firing > 0) {
    badges.push(badge('ticket', `${counted(model.alerts_firing, 'alert')} firing`));
  }
  if (model.drifting.length > 0) {
    badges.push(badge('drift', model.drifting.length === 1 ? '1 column drifts' : `${count(model.drifting.length)} columns drift`));
  }
  if (!model.reference) badges.push(badge('none', 'No reference'));
  else if (!model.window) badges.push(badge('waiting', 'No window has closed'));
  if (model.requests === 0) badges.push(badge('waiting', 'No requests'));
  if (badges.length === 0) badges.push(badge('quiet', 'Quiet'));
  return badges;
}

/**
 * How grave the state is, to put what needs attention first: 0 is the gravest.
 * @param {ModelSummary} model
 * @param {Episode[]} firing
 */
export function urgency(model, firing) {
  const own = firing.filter((episode) => episode.labels.model === model.name);
  const worst = SEVERITIES.findIndex((severity) => own.some((episode) => episode.severity === severity));
  if (worst >= 0) return worst;
  if (model.alerts_firing > 0) return 1;
  if (model.drifting.length > 0) return 3;
  return 4;
}

/**
 * @param {import('./api.js').Severity} severity
 * @param {number} those
 */
function alertWords(severity, those) {
  if (severity === 'info') return `${count(those)} info firing`;
  return `${counted(those, severity)} firing`;
}

/**
 * An indicator of the summary by its name.
 * @param {ModelSummary} model
 * @param {string} name
 * @returns {import('./api.js').Sli | undefined}
 */
export function indicator(model, name) {
  return model.slis.find((sli) => sli.sli === name);
}
