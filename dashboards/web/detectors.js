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
  { name: 'anderson_darling', label: 'Anderson-Darling', short: 'Anderson-Darling',
    says: 'The squared difference between the distribution functions, where the tails weigh as much as the middle.' },
  { name: 'kuiper', label: 'Kuiper', short: 'Kuiper',
    says: 'How far the distribution function strays upwards and downwards together, from 0 to 1. For hours and directions too.' },
  { name: 'energy', label: 'Energy distance', short: 'Energy',
    says: 'The squared area between the distribution functions. Judged by the reference’s standard deviation.' },
  { name: 'auc', label: 'AUC', short: 'AUC',
    says: 'How often a row of the window is larger than one of the reference. Judged by its difference from one half.' },
  { name: 'mean_shift', label: 'Shift of the mean', short: 'Mean shift',
    says: 'By how much the mean has moved. Judged in standard deviations of the reference.' },
  { name: 'median_shift', label: 'Shift of the median', short: 'Median shift',
    says: 'By how much the median has moved. Judged in standard deviations of the reference.' },
  { name: 'p05_shift', label: 'Shift of the 5th percentile', short: 'P05 shift',
    says: 'By how much the value that one in twenty lies below has moved. Judged in standard deviations of the reference.' },
  { name: 'p25_shift', label: 'Shift of the lower quartile', short: 'P25 shift',
    says: 'By how much the value that a quarter lies below has moved. Judged in standard deviations of the reference.' },
  { name: 'p75_shift', label: 'Shift of the upper quartile', short: 'P75 shift',
    says: 'By how much the value that a quarter lies above has moved. Judged in standard deviations of the reference.' },
  { name: 'p95_shift', label: 'Shift of the 95th percentile', short: 'P95 shift',
    says: 'By how much the value that one in twenty lies above has moved. Judged in standard deviations of the reference.' },
  { name: 'spread', label: 'Spread', short: 'Spread',
    says: 'How many times as wide the values are spread. Judged by the logarithm.' },
  { name: 'kullback_leibler', label: 'Kullback-Leibler divergence', short: 'Kullback-Leibler',
    says: 'What it costs to take the window for the reference, in nats.' },
  { name: 'g_test', label: 'G test', short: 'G test',
    says: 'The likelihood ratio on the counts, rare ones pooled. Judged as a Jensen-Shannon distance.' },
  { name: 'missing_share', label: 'Missing values', short: 'Missing values', isShare: true,
    says: 'By how much more rows lack a usable value than in the reference.' },
  { name: 'null_share', label: 'Nulls', short: 'Nulls', isShare: true,
    says: 'By how much more rows are absent or null than in the reference.' },
  { name: 'nan_share', label: 'NaN', short: 'NaN', isShare: true,
    says: 'By how much more rows are no number than in the reference.' },
  { name: 'infinite_share', label: 'Infinite values', short: 'Infinite', isShare: true,
    says: 'By how much more rows are infinite than in the reference.' },
  { name: 'wrong_type_share', label: 'Values of another type', short: 'Wrong type', isShare: true,
    says: 'By how much more rows hold something of another type than in the reference.' },
  { name: 'out_of_range_share', label: 'Out of range', short: 'Out of range', isShare: true,
    says: 'The share of values that are smaller or larger than any of the reference.' },
  { name: 'stuck_share', label: 'Stuck values', short: 'Stuck', isShare: true,
    says: 'By how much more rows hold one and the same value.' },
  { name: 'new_category_share', label: 'New categories', short: 'New categories', isShare: true,
    says: 'The share of rows whose category the reference never saw.' },
  { name: 'association', label: 'Association of columns', short: 'Association',
    says: 'How much the association of one pair of columns has changed at most: of numbers their correlation, judged as Fisher’s z, of names Cramér’s V.' },
  { name: 'mmd', label: 'Maximum mean discrepancy', short: 'MMD',
    says: 'How far apart the vectors of window and reference lie. Judged by its root.' },
];

/** Left out of the list of choices: many models have none of them, or they say what others do. */
const ON_DEMAND = ['hellinger', 'l_infinity', 'anderson_darling', 'kuiper', 'energy', 'auc', 'mean_shift', 'median_shift',
  'spread', 'kullback_leibler', 'g_test', 'association', 'mmd'];

/** Those that the matrix can be drawn for. */
export const CHOICES = DETECTORS.filter(({ name }) => !ON_DEMAND.includes(name));

/** Those that are taken beside earlier windows, too. */
export const BESIDE_EARLIER = CHOICES.filter(({ name }) => ['psi', 'ks', 'wasserstein', 'missing_share'].includes(name));

/** What windows are held against, by its name. @type {Record<string, string>} */
export const AGAINST = { reference: 'the reference', recent: 'the windows before', same_hour: 'the same hour of weeks before' };

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
