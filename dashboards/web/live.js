/**
 * Answers of the API, kept fresh: whoever watches a path hears of its answer whenever that changes. Nothing is asked while
 * the tab is hidden. What cannot be asked is kept as an outage with its beginning, for the page to show.
 */

import { ApiProblem, ask } from './api.js';
import { now } from './clock.js';

/**
 * @template T
 * @typedef {object} Watcher
 * @property {(answer: T) => void} onAnswer
 * @property {(problem: ApiProblem) => void} [onProblem] a question that is wrong, such as one for an unknown model
 */
/** @typedef {{path: string, seconds: number, watchers: Set<Watcher<any>>, text: string | null, timer: number, asking: AbortController | null}} Source */
/** @typedef {{since: number, isSilent: boolean, reason: string}} Outage */

/** After a failure, however seldom a path is asked otherwise. */
const RETRY_SECONDS = 5;

/** @type {Map<string, Source>} */
const sources = new Map();
/** The paths that cannot be asked now. @type {Map<string, Outage>} */
const failing = new Map();
/** @type {Set<() => void>} */
const listeners = new Set();
let lastAnswerAt = 0;

/**
 * Watches a path until the returned function is called. Several who watch the same path share its answers.
 * @template T
 * @param {string} path
 * @param {number} seconds between two questions
 * @param {(answer: T) => void} onAnswer
 * @param {(problem: ApiProblem) => void} [onProblem]
 * @returns {() => void}
 */
export function watch(path, seconds, onAnswer, onProblem) {
  /** @type {Watcher<T>} */
  const watcher = { onAnswer, onProblem };
  let source = sources.get(path);
  if (!source) {
    source = { path, seconds, watchers: new Set(), text: null, timer: 0, asking: null };
    sources.set(path, source);
  }
  const { watchers } = source;
  watchers.add(watcher);
  source.seconds = Math.min(source.seconds, seconds);
  if (source.text !== null) onAnswer(JSON.parse(source.text));
  if (!document.hidden && !source.asking) refresh(source);
  return () => {
    watchers.delete(watcher);
    if (watchers.size > 0 || sources.get(path)?.watchers !== watchers) return;
    const left = sources.get(path);
    clearTimeout(left?.timer);
    left?.asking?.abort();
    sources.delete(path);
    if (failing.delete(path)) tell();
  };
}

/**
 * Calls back whenever the connection's state may have changed.
 * @param {() => void} listener
 */
export function onConnection(listener) {
  listeners.add(listener);
}

/** The longest outage, or null; and when the last answer came. @returns {{outage: Outage | null, lastAnswerAt: number}} */
export function connection() {
  let outage = null;
  for (const one of failing.values()) if (!outage || one.since < outage.since) outage = one;
  return { outage, lastAnswerAt };
}

/** Asks everything again at once. */
export function retryNow() {
  for (const source of sources.values()) if (!source.asking) refresh(source);
}

/** @param {Source} source */
async function refresh(source) {
  clearTimeout(source.timer);
  const asking = new AbortController();
  source.asking = asking;
  try {
    const text = await ask(source.path, asking.signal);
    lastAnswerAt = now();
    failing.delete(source.path);
    if (text !== source.text) {
      source.text = text;
      for (const { onAnswer } of [...source.watchers]) onAnswer(JSON.parse(text));
    }
  } catch (error) {
    if (asking.signal.aborted) return;
    if (!(error instanceof ApiProblem)) throw error;
    if (error.mayPass) {
      const since = failing.get(source.path)?.since ?? now();
      failing.set(source.path, { since, isSilent: error.status === 0, reason: error.message });
    } else {
      failing.delete(source.path);
      for (const { onProblem } of [...source.watchers]) onProblem?.(error);
    }
  } finally {
    source.asking = null;
    if (sources.get(source.path) === source) {
      tell();
      const seconds = failing.has(source.path) ? Math.min(source.seconds, RETRY_SECONDS) : source.seconds;
      if (!document.hidden) source.timer = setTimeout(refresh, seconds * 1000, source);
    }
  }
}

function tell() {
  for (const listener of listeners) listener();
}

document.addEventListener('visibilitychange', () => {
  if (document.hidden) for (const source of sources.values()) clearTimeout(source.timer);
  else retryNow();
});
