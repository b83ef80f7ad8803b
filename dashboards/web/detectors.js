/** The detectors by name: what each is called, what it measures, and on which scale it is judged. */

/** @typedef {{name: string, label: string, short: string, says: string, isShare?: boolean}} Detector */

/** In the order in which the collector lists them. @type {Detector[]} */
const DETECTORS = [
  { name: 'psi', label: 'Population stability index', short: 'PSI',
    says: 'How far the shares of ten ranges, or of the categories, have moved. A column is first judged by it.' },
  { name: 'ks', label: 'Kolmogorov-Smirnov', short: 'KS',
    says: 'The largest difference between the two distribution functions, from 0 to 1.' },
  { name: 'jensen_shannon', label: 'Jensen-Shannon distance', short: 'Jensen-Shannon',
    says: 'How well a single row tells the two apart: 0 not at all, 1 always.' },
  { name: 'wasserstein', label: 'Wasserstein distance', short: 'Wasserstein',
    says: 'How far values would have to be moved on average. Judged in standard deviations of the reference.' },
  { name: 'cramer_von_mises', label: 'Cramér-von Mises', short: 'Cramér-von Mises',
    says: 'The squared difference between the distribution functions, over all values. Judged without its growth with the rows.' },
  { name: 'chi_square', label: 'Chi-square', short: 'Chi-square',
    says: 'Pearson’s test on the categories’ counts. Judged as Cramér’s V, which does not grow with the rows.' },
  { name: 'total_variation', label: 'Total variation', short: 'Total variation',
    says: 'The share of rows that would have to change category.' },
  { name: 'hellinger', label: 'Hellinger distance', short: 'Hellinger',
    says: 'A distance between the categories’ shares, from 0 to 1, that gives weight to rare ones.' },
  { name: 'l_infinity', label: 'Largest change of a category', short: 'Largest change',
    says: 'By how much the share of one category has changed at most.' },
  { name: 'missing_share', label: 'Missing values', short: 'Missing values', isShare: true,
    says: 'By how much more rows lack a usable value than in the reference.' },
  { name: 'new_category_share', label: 'New categories', short: 'New categories', isShare: true,
    says: 'The share of rows whose category the reference never saw.' },
];

/** Those that the matrix can be drawn for. */
export const CHOICES = DETECTORS.filter(({ name }) => name !== 'hellinger' && name !== 'l_infinity');

/**
 * One by its name; one that is newer than this page goes by its name alone.
 * @param {string} name
 * @returns {Detector}
 */
export function detector(name) {
  return DETECTORS.find((one) => one.name === name) ?? { name, label: name, short: name, says: '' };
}

/** A verdict in the project's words. @type {Record<import('./api.js').Verdict, string>} */
export const VERDICTS = { ok: 'ok', drift: 'drift', not_enough_data: 'not enough data' };

/**
 * What the budget of false pages allows; without one, what chance or the reference's own stretches of time reach.
 * @param {import('./api.js').Score} score
 */
export function noiseLevel(score) {
  return score.noise_budget ?? Math.max(score.noise_independent, score.noise_blocks ?? 0);
}
