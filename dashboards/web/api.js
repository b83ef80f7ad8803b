/** The collector's JSON API: its answers' types, their paths, and the asking. */

import { learnTime } from './clock.js';

/** @typedef {{sli: string, good: number, valid: number, unknown: number, share: number | null}} Sli */
/** @typedef {{rows: number, columns: number, built_at: string, sources: string[]}} Reference */
/** @typedef {{starts: string, ends: string, rows: number, filled: number, panes: number}} ScoredWindow */
/** @typedef {ScoredWindow & {version: string}} LastWindow */
/** @typedef {{column: string, score: string, effect: number, limit: number}} DriftingColumn */
/** @typedef {{p50_ms: number | null, p90_ms: number | null, p99_ms: number | null}} Latency */
/**
 * @typedef {object} ModelSummary
 * @property {string} name
 * @property {string[]} versions
 * @property {number} rows
 * @property {number} late_rows
 * @property {string | null} newest_event
 * @property {number} requests
 * @property {Latency} latency
 * @property {Sli[]} slis
 * @property {Reference | null} reference
 * @property {LastWindow | null} window
 * @property {DriftingColumn[]} drifting
 * @property {number} alerts_firing
 * @property {number} outcomes
 */
/** @typedef {{pane_seconds: number, panes: number, every_panes: number, lateness_seconds: number, min_filled_panes: number}} WindowSettings */
/** @typedef {{name: string, role: string, type: string | null, scored_as: string | null}} Column */
/**
 * @typedef {object} Objective
 * @property {string} rule
 * @property {string} sli
 * @property {string | null} column
 * @property {string} state
 * @property {number} target
 * @property {string} period
 * @property {number} good
 * @property {number} bad
 * @property {number} unknown
 * @property {number} budget_left
 * @property {number | null} burn_rate
 * @property {[number, number] | null} burn_rate_between
 */
/** @typedef {{column: string, state: string | null, max_age_seconds: number | null, newest: string | null, moved_at: string | null, age_seconds: number | null}} Watermark */
/** @typedef {{name: string, place: string, state: string, max_age_seconds: number, columns: string[], newest: string | null, written_at: string | null, listed_at: string | null, trouble: string | null}} Feed */
/** @typedef {ModelSummary & {objectives: Objective[], event_time: string, windows: WindowSettings, compare_with: string[], latency_objective_ms: number, first_message_objective_ms: number | null, watermarks: Watermark[], feeds: Feed[], columns: Column[]}} ModelDetail */
/** @typedef {'ok' | 'drift' | 'not_enough_data'} Verdict */
/**
 * @typedef {object} Score
 * @property {string} detector
 * @property {number} value
 * @property {number} upper
 * @property {number} effect
 * @property {string | null} effect_unit
 * @property {number} limit
 * @property {number} threshold
 * @property {number} interval_low
 * @property {number} interval_high
 * @property {number} null_mean
 * @property {number} noise_independent
 * @property {number | null} noise_blocks
 * @property {number | null} noise_budget
 * @property {number} p_value
 * @property {number} n_reference
 * @property {number} n_window
 * @property {Verdict} verdict
 */
/** @typedef {{column: string, cells: (Score | null)[]}} ColumnScores */
/** @typedef {{detector: string, against: string, effect_unit: string | null, version: string | null, windows: ScoredWindow[], columns: ColumnScores[]}} ScoreMatrix */
/** @typedef {{label: string, from: number | null, to: number | null, reference: number, window: number}} Bar */
/** @typedef {{column: string, version: string, window: ScoredWindow, scores: Score[], causes: Cause[], since: Since | null, bars: Bar[], beside: Beside[], standing: Standing | null}} ColumnDetail */
/** Earlier windows; without scores while there are too few. @typedef {{against: string, starts: string | null, ends: string | null, windows: number, needed: number, is_accepted: boolean, scores: Score[]}} Beside */
/** @typedef {{kind: string, says: string}} Standing */
/** @typedef {{says: string, share: number}} Cause */
/** @typedef {{column: string, score: Score, limits: number, causes: Cause[]}} WorstScore */
/** @typedef {{segment: string, rows: number, share: number, reference_rows: number, is_scored: boolean, verdict: Verdict, drifting: number, worst: WorstScore | null}} Segment */
/** @typedef {{version: string | null, window: ScoredWindow | null, segments: Segment[]}} SegmentList */
/** Ends of windows. @typedef {{detector: string, first: string, earliest: string, latest: string}} Since */
/**
 * @typedef {object} TrafficPoint
 * @property {string} at
 * @property {number} requests
 * @property {number | null} p50_ms
 * @property {number | null} p90_ms
 * @property {number | null} p99_ms
 * @property {number | null} availability
 * @property {number | null} in_time
 */
/** @typedef {{step_seconds: number, latency_objective_ms: number, points: TrafficPoint[]}} Traffic */
/** @typedef {'page' | 'ticket' | 'info'} Severity */
/**
 * @typedef {object} Episode
 * @property {string} id
 * @property {string} rule
 * @property {Severity} severity
 * @property {'firing' | 'resolved'} state
 * @property {string} summary
 * @property {Record<string, string>} labels
 * @property {string} started_at
 * @property {string | null} resolved_at
 * @property {string} runbook
 * @property {string} runbook_url
 * @property {string | null} dashboard_url
 * @property {'firing' | 'recovering' | 'no_data' | null} standing
 * @property {boolean} flapping
 * @property {Mute[]} muted_by
 * @property {Acknowledgement | null} acknowledged
 * @property {boolean} drill
 */
/** @typedef {{by: 'silence' | 'maintenance' | 'alert' | 'schedule', id: string}} Mute */
/** @typedef {{by: string, note: string, at: string}} Acknowledgement */
/** @typedef {{id: string, state: 'on' | 'pending' | 'ended', matching: Record<string, string>, from: string, until: string, comment: string, author: string, created_at: string}} Silence */
/** @typedef {{id: string | null, name: string, state: 'on' | 'off' | 'ended', matching: Record<string, string>, days: string[], from: string, until: string, time_zone: string, ends_at: string | null, comment: string, author: string, created_at: string | null}} MaintenanceWindow */
/** @typedef {{what: string, value: string, limit: string, n: string, sparkline: string}} Member */
/** @typedef {{id: number, episode: string, target: string, action: 'trigger' | 'remind' | 'acknowledge' | 'resolve' | 'change', state: string, attempts: number, created_at: string, settled_at: string | null, next_attempt_at: string | null, last_error: string | null, summary: string}} Delivery */
/** @typedef {{step: string, text: string, done: boolean, by: string, note: string, at: string}} Tick */
/** @typedef {{target: string, schedule: string, at: string | null}} Waiting */
/** @typedef {{id: string, section: string, text: string, done: boolean, tick: Tick | null}} Step */
/** @typedef {{png_base64: string, caption: string}} Picture */
/**
 * @typedef {object} Reaction
 * @property {string} id
 * @property {string} reaction
 * @property {string} state
 * @property {string | null} why
 * @property {string | null} created_at
 * @property {string | null} good_until
 * @property {Acknowledgement | null} decided
 * @property {string | null} started_at
 * @property {number} attempts
 * @property {string | null} reference
 * @property {{state: string, note: string, at: string} | null} result
 */
/** @typedef {Episode & {condition: string, facts: {name: string, value: string}[], members: Member[], more_members: number, picture: Picture | null, explains: Episode[], steps: Step[], ticks: Tick[], no_verdict: NoVerdict | null, waiting: Waiting[], deliveries: Delivery[], reactions: Reaction[]}} EpisodeDetail */
/** @typedef {{since: string, windows: number, ends_after_seconds: number | null}} NoVerdict */
/** @typedef {{path: string, model: string, version: string, rows: number, bytes: number, first_event: string, last_event: string, made_at: string}} ArchivedFile */
/** @typedef {{place: string, files: number, rows: number, bytes: number, newest: ArchivedFile[]}} Archive */
/** @typedef {{id: number, at: string, kind: string, model: string, text: string}} DriftlineEvent */
/** @typedef {{boot: string, model: string, instance: string, seen: number, durable: number, dropped: Record<string, number>, missing: number, duplicates: number, clock_offset_seconds: number | null, heard_at: string}} Sidecar */
/** @typedef {{version: string, started_at: string, journal_position: number, counted_position: number, archived_position: number, archive_lag_seconds: number | null, notifications_pending: number, sidecars: Sidecar[]}} CollectorStatus */

/** An answer should take milliseconds; a collector that takes so long is as good as away. */
const TIMEOUT_MILLISECONDS = 10_000;

/** An answer that is not the one asked for. `status` is 0 when there was none at all. */
export class ApiProblem extends Error {
  /**
   * @param {number} status
   * @param {string} message
   */
  constructor(status, message) {
    super(message);
    this.status = status;
  }

  /** Whether asking again later may help, as against a question that is wrong. */
  get mayPass() {
    return this.status === 0 || this.status >= 500;
  }
}

/**
 * Asks, and gives the answer's text, since text is quickly compared with the last one.
 * @param {string} path
 * @param {AbortSignal} [signal]
 * @returns {Promise<string>}
 */
export function ask(path, signal) {
  return call(path, {}, signal);
}

/**
 * Changes something.
 * @param {'POST' | 'DELETE'} method
 * @param {string} path
 * @param {object} [body]
 */
export async function change(method, path, body) {
  await call(path, { method, ...(body && { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }) });
}

/**
 * @param {string} path
 * @param {RequestInit} how
 * @param {AbortSignal} [signal]
 * @returns {Promise<string>}
 */
async function call(path, how, signal) {
  const limit = AbortSignal.timeout(TIMEOUT_MILLISECONDS);
  let answer;
  let text;
  try {
    answer = await fetch(path, { ...how, cache: 'no-store', signal: signal ? AbortSignal.any([signal, limit]) : limit });
    text = await answer.text();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiProblem(0, limit.aborted ? 'It did not answer within 10 seconds.' : 'There was no answer.');
  }
  learnTime(answer.headers.get('date'));
  if (answer.ok) return text;
  throw new ApiProblem(answer.status, reason(text) ?? `It answered with status ${answer.status}.`);
}

/** @param {string} text */
function reason(text) {
  try {
    const { error } = JSON.parse(text);
    return typeof error === 'string' ? error : null;
  } catch {
    return null;
  }
}

/**
 * @param {string} path
 * @param {Record<string, string | number | null | undefined>} [query]
 */
function withQuery(path, query = {}) {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== '') params.set(name, String(value));
  }
  const text = params.toString();
  return `/api/v1${path}${text ? `?${text}` : ''}`;
}

/** Where each answer is. */
export const paths = {
  models: () => withQuery('/models'),
  /** @param {string} model */
  model: (model) => withQuery(`/models/${encodeURIComponent(model)}`),
  /** @param {string} model @param {{detector?: string, against?: string | null, version?: string | null, limit?: number}} query */
  scores: (model, query) => withQuery(`/models/${encodeURIComponent(model)}/scores`, query),
  /** @param {string} model @param {string} column @param {{version?: string | null, ends?: string | null}} query */
  column: (model, column, query) =>
    withQuery(`/models/${encodeURIComponent(model)}/columns/${encodeURIComponent(column)}`, query),
  /** @param {string} model @param {{version?: string | null, ends?: string | null}} query */
  segments: (model, query) => withQuery(`/models/${encodeURIComponent(model)}/segments`, query),
  /** @param {string} model @param {number} minutes */
  traffic: (model, minutes) => withQuery(`/models/${encodeURIComponent(model)}/traffic`, { minutes }),
  /** @param {{state?: string, model?: string, limit?: number, drills?: 'true'}} [query] */
  alerts: (query) => withQuery('/alerts', query),
  /** All that fire: every page shows how many, so all share this one question. */
  firing: () => withQuery('/alerts', { state: 'firing', limit: 1000 }),
  /** @param {string} id */
  alert: (id) => withQuery(`/alerts/${encodeURIComponent(id)}`),
  /** @param {string} id */
  acknowledgement: (id) => withQuery(`/alerts/${encodeURIComponent(id)}/acknowledgement`),
  /** @param {string} id @param {string} step */
  step: (id, step) => withQuery(`/alerts/${encodeURIComponent(id)}/steps/${encodeURIComponent(step)}`),
  /** @param {string} id */
  approval: (id) => withQuery(`/reactions/${encodeURIComponent(id)}/approval`),
  /** @param {{state?: string, target?: string, limit?: number}} query */
  deliveries: (query) => withQuery('/deliveries', query),
  /** @param {number} id */
  delivery: (id) => withQuery(`/deliveries/${id}`),
  /** @param {number} id */
  resend: (id) => withQuery(`/deliveries/${id}/resend`),
  silences: () => withQuery('/silences'),
  /** @param {string} id */
  silence: (id) => withQuery(`/silences/${encodeURIComponent(id)}`),
  maintenance: () => withQuery('/maintenance'),
  /** @param {string} id */
  maintenanceWindow: (id) => withQuery(`/maintenance/${encodeURIComponent(id)}`),
  /** @param {{model?: string, limit?: number}} [query] */
  archive: (query) => withQuery('/archive', query),
  /** @param {number} limit */
  events: (limit) => withQuery('/events', { limit }),
  status: () => withQuery('/status'),
};
