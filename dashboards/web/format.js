/** Numbers, shares, durations and times in words: three significant digits, thin spaces, UTC. */

/** A narrow no-break space: between thousands, and between a number and its unit. */
const THIN = '\u202f';
const MINUS = '\u2212';

/** @param {string} digits */
function grouped(digits) {
  return digits.replace(/\B(?=(\d{3})+$)/g, THIN);
}

/**
 * A count in full: 51 314.
 * @param {number} value
 */
export function count(value) {
  return (value < 0 ? MINUS : '') + grouped(String(Math.abs(Math.round(value))));
}

/**
 * A count with its noun: 1 row, 2 rows.
 * @param {number} value
 * @param {string} one
 * @param {string} [many]
 */
export function counted(value, one, many = `${one}s`) {
  return `${count(value)} ${value === 1 ? one : many}`;
}

/**
 * Three significant digits: 17.1, 0.00593, 9 332, 3.4×10⁻⁹.
 * @param {number | null | undefined} value
 */
export function number(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return 'not known';
  if (!Number.isFinite(value)) return value > 0 ? 'infinite' : `${MINUS}infinite`;
  const size = Math.abs(value);
  const sign = value < 0 ? MINUS : '';
  if (size === 0) return '0';
  if (size >= 1e9 || size < 1e-4) return sign + scientific(size);
  if (size >= 999.5) return sign + grouped(String(Math.round(size)));
  return sign + String(Number(size.toPrecision(3)));
}

/** @param {number} size */
function scientific(size) {
  const [digits = '', exponent = ''] = size.toExponential(1).split('e');
  const raised = [...String(Number(exponent))].map((c) => (c === '-' ? '⁻' : '⁰¹²³⁴⁵⁶⁷⁸⁹'[Number(c)])).join('');
  return `${digits.replace(/\.0$/, '')}×10${raised}`;
}

/**
 * The probability of as much by chance. Doubles end near 10⁻³⁰⁸, so a 0 is only known to be less.
 * @param {number} p
 */
export function probability(p) {
  return p < 1e-300 ? '< 10⁻³⁰⁰' : number(p);
}

/**
 * A share as a percentage. What falls short of all never reads as 100 %.
 * @param {number | null | undefined} value
 */
export function share(value) {
  if (value === null || value === undefined) return 'none';
  const percent = value * 100;
  let digits = 3;
  while (percent < 100 && digits < 9 && Number(percent.toPrecision(digits)) >= 100) digits += 1;
  const rounded = Number(percent.toPrecision(digits));
  return `${rounded !== 0 && rounded < 1e-4 ? number(rounded) : rounded}${THIN}%`;
}

/** @param {number | null | undefined} ms */
export function milliseconds(ms) {
  if (ms === null || ms === undefined) return 'none';
  return ms >= 1000 ? `${number(ms / 1000)}${THIN}s` : `${number(ms)}${THIN}ms`;
}

/**
 * Two latencies beside each other, with their unit said once when it is the same: 5.63 / 14.3 ms.
 * @param {number | null} low
 * @param {number | null} high
 */
export function latencies(low, high) {
  const [first, second] = [milliseconds(low), milliseconds(high)];
  const [figure, unit] = first.split(THIN);
  return `${unit === second.split(THIN).at(-1) ? figure : first} / ${second}`;
}

/** @param {number} value */
export function bytes(value) {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
  let at = 0;
  while (value >= 999.5 && at < units.length - 1) {
    value /= 1000;
    at += 1;
  }
  return `${number(value)}${THIN}${units[at]}`;
}

const UNITS = /** @type {const} */ ([[86_400, 'day'], [3600, 'hour'], [60, 'minute'], [1, 'second']]);

/**
 * A configured stretch of time in words: 10 days, 6 hours, 90 seconds.
 * @param {number} seconds
 */
export function stretch(seconds) {
  for (const [size, unit] of UNITS) {
    if (seconds >= size && seconds % size === 0) return counted(seconds / size, unit);
  }
  return counted(seconds, 'second');
}

/**
 * How long something took or lasts, roughly: 240 ms, 17 s, 3 min, 5 h, 12 days.
 * @param {number} seconds
 */
export function duration(seconds) {
  if (seconds < 1) return `${Math.max(0, Math.round(seconds * 1000))}${THIN}ms`;
  if (seconds < 90) return `${Math.round(seconds)}${THIN}s`;
  if (seconds < 90 * 60) return `${Math.round(seconds / 60)}${THIN}min`;
  if (seconds < 36 * 3600) return `${Math.round(seconds / 3600)}${THIN}h`;
  return counted(Math.round(seconds / 86_400), 'day');
}

/**
 * @param {string} then RFC 3339
 * @param {number} now milliseconds
 */
export function relative(then, now) {
  const seconds = (now - Date.parse(then)) / 1000;
  if (Math.abs(seconds) < 5) return 'just now';
  return seconds > 0 ? `${duration(seconds)} ago` : `in ${duration(-seconds)}`;
}

/**
 * 2013-07-11 05:00 UTC; with seconds when asked for.
 * @param {string | number} time RFC 3339 or milliseconds
 * @param {boolean} [withSeconds]
 */
export function instant(time, withSeconds = false) {
  const text = new Date(time).toISOString();
  return `${text.slice(0, 10)} ${text.slice(11, withSeconds ? 19 : 16)} UTC`;
}

/**
 * A stretch of event time: 2013-07-01 to 2013-07-11, 05:00 UTC.
 * @param {string} starts
 * @param {string} ends
 */
export function span(starts, ends) {
  const [from, to] = [new Date(starts).toISOString(), new Date(ends).toISOString()];
  const [fromDay, toDay] = [from.slice(0, 10), to.slice(0, 10)];
  const [fromHour, toHour] = [from.slice(11, 16), to.slice(11, 16)];
  if (fromDay === toDay) return `${fromDay} ${fromHour} to ${toHour} UTC`;
  if (fromHour !== toHour) return `${fromDay} ${fromHour} to ${toDay} ${toHour} UTC`;
  return fromHour === '00:00' ? `${fromDay} to ${toDay} UTC` : `${fromDay} to ${toDay}, ${fromHour} UTC`;
}

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/**
 * A day on an axis: 11 Jul.
 * @param {Date} date
 */
export function day(date) {
  return `${date.getUTCDate()} ${MONTHS[date.getUTCMonth()]}`;
}

/**
 * An hour on an axis: 05:00.
 * @param {Date} date
 */
export function hour(date) {
  return date.toISOString().slice(11, 16);
}
