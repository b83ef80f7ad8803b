"""What SciPy, scikit-learn and NumPy say of two samples, under the names of scores and their fields: `ks.value`, `ks.p_value`, …

Goldens are made with it, and tests hold scores of packaged data sets against it. Where a library has the number, it is asked.
Where none has, as of a p-value that knows how few rows a cell holds, the formula in docs/scores.md is worked out here in the
plainest way, with SciPy's distributions.

Each function takes values without missing ones.
"""

import math

import numpy as np
import pandas as pd
from scipy import integrate, special, stats
from scipy.spatial.distance import jensenshannon
from scipy.stats import _hypotests, _morestats
from sklearn.metrics import roc_auc_score

#: Up to so many pairs of values the p-value of Kolmogorov and Smirnov is the exact one.
MOST_EXACT_PAIRS = 100_000
#: Rows that a sample needs on both sides of a quantile to have a score of it.
LEAST_BEYOND = 5


def numeric(reference: np.ndarray, window: np.ndarray) -> dict:
    """Of two samples of numbers: all scores of the usable values."""
    cells = deciles(reference, window)
    result = of_ranks(reference, window) | shares(cells, is_range=True) | p_values_of_cells(cells, is_range=True)
    if reference.min() < reference.max():
        result |= moments(reference, window) | quantiles(reference, window)
        # Of its eigenvalues' powers, so not of tens of thousands of values.
        result["energy.p_value"] = tail_of_energy(result["energy.value"] ** 2, reference, window)
    return result


def categorical(reference: pd.Series, window: pd.Series) -> dict:
    """Of two samples of names: all scores of the usable values."""
    names = sorted(set(reference) | set(window))
    counts = np.array([sample.value_counts().reindex(names, fill_value=0) for sample in (reference, window)])
    sizes = (len(reference), len(window))
    new = int(counts[1][counts[0] == 0].sum())
    seen_once = int((counts[0] == 1).sum())
    return shares(counts, is_range=False) | stuck(reference, window) | p_values_of_cells(counts, is_range=False) | {
        "new_category_share.value": new / sizes[1],
        "new_category_share.p_value": of_a_split((seen_once, new), sizes) if new else 1.0,
    }


# --- Ranks and areas -------------------------------------------------------------------------------------------------


def of_ranks(reference: np.ndarray, window: np.ndarray) -> dict:
    n, m = len(reference), len(window)
    exact = "exact" if n * m <= MOST_EXACT_PAIRS else "asymp"
    ks = stats.ks_2samp(reference, window, method=exact)
    mann_whitney = stats.mannwhitneyu(window, reference, method="asymptotic")
    area = roc_auc_score(np.repeat([0, 1], [n, m]), np.concatenate([reference, window]))
    assert abs(area - mann_whitney.statistic / (n * m)) < 1e-12, "scikit-learn and SciPy agree"
    outside = int(((window < reference.min()) | (window > reference.max())).sum())
    return cramer_von_mises(reference, window) | kuiper(reference, window) | stuck(reference, window) | {
        "ks.value": ks.statistic,
        "ks.p_value": ks.pvalue,
        "anderson_darling.value": anderson_darling(reference, window),
        "auc.value": area,
        "auc.p_value": mann_whitney.pvalue,
        "out_of_range_share.value": outside / m,
        # What SciPy's own tail takes from 1 leaves no small one its digits.
        "out_of_range_share.p_value": stats.betabinom.pmf(np.arange(outside, m + 1), m, 2, n - 1).sum() if outside else 1.0,
    }


def cramer_von_mises(reference: np.ndarray, window: np.ndarray) -> dict:
    """SciPy's statistic. With ties that grows, and its p-value falls, though nothing differs; so effect and p-value are of the
    squared gap between the distribution functions, over the pooled sample and the two sides of each of its values. Without ties
    it is SciPy's statistic times (n + m) / nm, and the p-value SciPy's."""
    n, m = len(reference), len(window)
    theirs = stats.cramervonmises_2samp(reference, window, method="asymptotic")
    pooled = np.sort(np.concatenate([reference, window]))
    share = lambda sample, side: np.searchsorted(np.sort(sample), pooled, side=side) / len(sample)
    gap = np.mean([(share(reference, side) - share(window, side)) ** 2 for side in ("left", "right")])
    mean = (1 + 1 / (n + m)) / 6
    variance = (n + m + 1) * (4 * n * m * (n + m) - 3 * (n**2 + m**2) - 2 * n * m) / (45 * (n + m) ** 2 * 4 * n * m)
    standardised = 1 / 6 + (gap * n * m / (n + m) - mean) / math.sqrt(45 * variance)
    p_value = tail_of_cramer_von_mises(standardised)
    # SciPy ends its series at terms of 1e-7, and for large statistics before it has begun.
    if 0.003 < standardised < 3:
        assert abs(p_value - (1 - _hypotests._cdf_cvm_inf(standardised))) < 1e-6, "SciPy's own agrees as far as it goes"
    if (np.diff(pooled) > 0).all():
        assert math.isclose(theirs.statistic, gap * n * m / (n + m), rel_tol=1e-9)
        assert standardised > 3 or abs(theirs.pvalue - p_value) < 1e-6
    return {
        "cramer_von_mises.value": theirs.statistic,
        "cramer_von_mises.effect": gap,
        "cramer_von_mises.p_value": p_value,
    }


def tail_of_cramer_von_mises(x: float) -> float:
    """`P(ω² ≥ x)` by Smirnov's (1936) integral, which keeps its digits however small it is:
    `2/π·Σ (−1)^(k+1) ∫ √(−u/sin u)·exp(−u²x/2) du/u` over u from (2k − 1)π to 2kπ."""
    if x < 0.003:
        return 1.0
    total, sign = 0.0, 1.0
    for k in range(1, 200):
        start = (2 * k - 1) * math.pi
        # u = start + π·(1 − cos t)/2 takes both ends' poles away.
        def term(t, start=start):
            beyond = math.pi * math.sin(t / 2) ** 2
            u = start + beyond
            # −sin u, from the nearer end.
            sine = math.sin(beyond) if t < math.pi / 2 else math.sin(math.pi * math.cos(t / 2) ** 2)
            return math.sqrt(u / sine) / u * math.exp(-x * (u * u - math.pi**2) / 2) * math.pi / 2 * math.sin(t)
        part = integrate.quad(term, 0, math.pi, epsabs=0, epsrel=1e-13, limit=400)[0]
        total += sign * part
        sign = -sign
        if part < 1e-15 * abs(total):
            break
    return min(1.0, 2 / math.pi * total * math.exp(-x * math.pi**2 / 2))


def kuiper(reference: np.ndarray, window: np.ndarray) -> dict:
    """The two one-sided statistics of SciPy, and Stephens' approximation with Kuiper's series."""
    sides = (stats.ks_2samp(reference, window, alternative=side, method="asymp") for side in ("less", "greater"))
    value = sum(side.statistic for side in sides)
    root = math.sqrt(len(reference) * len(window) / (len(reference) + len(window)))
    scaled = (root + 0.155 + 0.24 / root) * value
    squares = (np.arange(1, 101) * scaled) ** 2
    p_value = min(1.0, (2 * (4 * squares - 1) * np.exp(-2 * squares)).sum()) if scaled >= 0.4 else 1.0
    return {"kuiper.value": value, "kuiper.p_value": p_value}


def anderson_darling(reference: np.ndarray, window: np.ndarray) -> float:
    """Scholz and Stephens' statistic before SciPy subtracts its mean and divides by its deviation."""
    values, counts = np.unique(np.concatenate([reference, window]), return_counts=True)
    sizes = np.array([len(reference), len(window)])
    samples = [np.sort(reference), np.sort(window)]
    if len(values) == 1:
        return 0.0
    return _morestats._anderson_ksamp_midrank(samples, np.repeat(values, counts), values, 2, sizes, counts.sum())


# --- Moments and quantiles ---------------------------------------------------------------------------------------------


def moments(reference: np.ndarray, window: np.ndarray) -> dict:
    """Values of NumPy and SciPy. P-values: of the mean that of a Pearson type III variable with the first three cumulants of a
    random split of all values; of the spread that of an F variable with degrees of freedom by the values' kurtosis (Shoemaker
    2003); of Wasserstein's distance the bound of Borell and TIS."""
    n, m = len(reference), len(window)
    unit = reference.std()
    shift = window.mean() - reference.mean()
    both = np.concatenate([reference, window]) / unit
    variance = both.var() * (1 / n + 1 / m) * (n + m) / (n + m - 1)
    third = stats.moment(both, 3) * (1 / m**2 - 1 / n**2)
    skew, reached = third / variance**1.5, abs(shift) / unit / math.sqrt(variance)
    result = {
        "mean_shift.value": shift,
        "mean_shift.p_value": min(1.0, tail_with_skew(reached, skew) + tail_with_skew(reached, -skew)),
        "wasserstein.value": stats.wasserstein_distance(reference, window),
        "energy.value": stats.energy_distance(reference, window),
    }
    if window.std() > 0:
        ratio = window.std() / unit
        of_both = np.concatenate([reference - reference.mean(), window - window.mean()])
        kurtosis = (of_both**4).mean() / (of_both**2).mean() ** 2
        degrees = [2 * size / (kurtosis - (size - 3) / (size - 1)) for size in (m, n)]
        squared = ratio**2 * m / (m - 1) * (n - 1) / n
        tails = stats.f.sf(squared, *degrees), stats.f.sf(1 / squared, *degrees[::-1])
        result |= {"spread.value": ratio, "spread.p_value": min(1.0, 2 * min(tails))}
    values, counts = np.unique(reference, return_counts=True)
    below = counts.cumsum()[:-1] / n
    everything = np.union1d(reference, window)
    height = np.searchsorted(values, everything[:-1], side="right")
    of_reference = np.concatenate([[0], below, [1]])[height]
    bridge = (np.diff(everything) * np.sqrt(of_reference * (1 - of_reference))).sum()
    beyond = (result["wasserstein.value"] / math.sqrt(1 / n + 1 / m) - math.sqrt(2 / math.pi) * bridge) / unit
    result["wasserstein.p_value"] = math.exp(-(beyond**2) / 2) if beyond > 0 else 1.0
    return result


def tail_of_energy(squared: float, reference: np.ndarray, window: np.ndarray) -> float:
    """Of a sum of squared normals weighted by the eigenvalues of a Brownian bridge's covariance, along the distribution function of
    both samples together. Its first three cumulants are traces of that matrix and of its powers."""
    n, m = len(reference), len(window)
    values, counts = np.unique(np.concatenate([reference, window]), return_counts=True)
    below = counts.cumsum()[:-1] / (n + m)
    widths = np.sqrt(np.diff(values))
    covariance = np.minimum.outer(below, below) * (1 - np.maximum.outer(below, below)) * np.outer(widths, widths)
    twice = covariance @ covariance
    scale = 2 * (1 / n + 1 / m)
    mean, variance = scale * np.trace(covariance), 2 * scale**2 * np.trace(twice)
    third = 8 * scale**3 * (twice * covariance).sum()
    return tail_with_skew((squared - mean) / math.sqrt(variance), third / variance**1.5)


def tail_with_skew(x: float, skew: float) -> float:
    """Of a standardised variable; one that leans to the left, or hardly, counts as normal."""
    return stats.pearson3.sf(x, skew) if skew > 1e-3 else stats.norm.sf(x)


def quantiles(reference: np.ndarray, window: np.ndarray) -> dict:
    """NumPy's, and the p-value of two proportions: of the reference below the window's quantile, and of the window."""
    n, m = len(reference), len(window)
    result = {}
    for name, share in {"p05": 0.05, "p25": 0.25, "median": 0.5, "p75": 0.75, "p95": 0.95}.items():
        if min(share, 1 - share) * min(n, m) < LEAST_BEYOND:
            continue
        of_window = np.quantile(window, share)
        below, up_to = (reference < of_window).mean(), (reference <= of_window).mean()
        nearest = min(max(share, below), up_to)
        pooled = (n * nearest + m * share) / (n + m)
        z = abs(nearest - share) / math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
        result[f"{name}_shift.value"] = of_window - np.quantile(reference, share)
        result[f"{name}_shift.p_value"] = min(1.0, 2 * stats.norm.sf(z))
    return result


# --- Shares ----------------------------------------------------------------------------------------------------------


def deciles(reference: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Counts between the reference's deciles by the inverted CDF, each up to and with its edge, and outside its range."""
    edges = np.unique(np.quantile(reference, np.arange(1, 10) / 10, method="inverted_cdf"))
    edges = edges[edges < reference.max()]
    counts = []
    for sample in (reference, window):
        inside = sample[(sample >= reference.min()) & (sample <= reference.max())]
        cells = np.bincount(np.searchsorted(edges, inside, side="left"), minlength=len(edges) + 1)
        counts.append([*cells, len(sample) - len(inside)])
    return np.array(counts)


def shares(counts: np.ndarray, is_range: bool) -> dict:
    """Of the cells that at least one sample fills. One that the other leaves empty counts as half a row there in PSI and in
    Kullback and Leibler's divergence."""
    counts = counts[:, counts.sum(axis=0) > 0]
    n, m = counts.sum(axis=1)
    p, q = counts / counts.sum(axis=1, keepdims=True)
    at_least = lambda row: np.where(row == 0, 0.5, row)
    some_p, some_q = at_least(counts[0]) / n, at_least(counts[1]) / m
    few_cells = pooled(counts, is_range)
    result = {
        "psi.value": ((some_q - some_p) * np.log(some_q / some_p)).sum(),
        "kullback_leibler.value": special.kl_div(q, some_p).sum(),
        "jensen_shannon.value": jensenshannon(p, q, base=2),
        "hellinger.value": math.sqrt(((np.sqrt(p) - np.sqrt(q)) ** 2).sum() / 2),
        "total_variation.value": np.abs(p - q).sum() / 2,
        "l_infinity.value": np.abs(p - q).max(),
        "chi_square.value": stats.chi2_contingency(counts, correction=False).statistic,
        "chi_square.effect": math.sqrt(((p - q) ** 2 / (p + q)).sum() / 2),
        "chi_square.p_value": 1.0,
    }
    if few_cells.shape[1] > 1:
        g_test = stats.chi2_contingency(few_cells, lambda_="log-likelihood", correction=False)
        result |= {
            "chi_square.p_value": stats.chi2_contingency(few_cells, correction=False).pvalue,
            "g_test.value": g_test.statistic,
            "g_test.p_value": g_test.pvalue,
            "g_test.effect": jensenshannon(*few_cells / counts.sum(axis=1, keepdims=True), base=2),
        }
    return result


def pooled(counts: np.ndarray, is_range: bool) -> np.ndarray:
    """The smallest cells as one, until both samples expect five rows in it and in each of the others.

    What lies outside of a range, which the reference leaves empty, is pooled first, and never alone.
    """
    sizes = counts.sum(axis=1)
    enough = lambda rows: (rows * sizes / sizes.sum()).min() >= 5
    cells = sorted(counts.T.tolist(), key=lambda cell: (sum(cell), cell[0]))
    pool = [0, 0]
    if is_range:
        pool = [0, sum(cell[1] for cell in cells if cell[0] == 0)]
        cells = [cell for cell in cells if cell[0] > 0]
    is_done = lambda: sum(pool) == 0 or (enough(sum(pool)) and not (is_range and pool[0] == 0))
    while cells and not (is_done() and enough(sum(cells[0]))):
        smallest = cells.pop(0)
        pool = [pool[0] + smallest[0], pool[1] + smallest[1]]
    return np.array(([pool] if sum(pool) else []) + cells).T


def p_values_of_cells(counts: np.ndarray, is_range: bool) -> dict:
    """Of scores of shares under a random split of the rows (docs/scores.md).

    Sums over the cells have the first three cumulants of all that each cell's binomial may bring, term by term. Of total variation
    that is the sum of differences where the rows lie in many cells, and else that of their squares, which bound it (Cauchy and
    Schwarz). The largest difference is the bound of Bonferroni, of the hypergeometric tails of each cell; of two cells both are exact.

    Of a range, the cell that the reference leaves empty holds what lies outside: as many rows as lie beyond the extremes of n of
    N values in any order, whatever they are.
    """
    n, m = (int(size) for size in counts.sum(axis=1))
    outside = int(counts[1][counts[0] == 0].sum()) if is_range else 0
    inside = counts[:, counts[0] > 0] if is_range else counts[:, counts.sum(axis=0) > 0]
    rows, cells = np.unique(inside.sum(axis=0), return_counts=True)
    largest = np.abs(counts[0] / n - counts[1] / m).max()
    result = {"l_infinity.p_value": tail_of_largest_difference(largest, (n, m), rows, cells, is_range)}
    if inside.shape[1] < 2 and not is_range:
        return result
    chance = m / (n + m)
    some = lambda count: np.where(count == 0, 0.5, count)
    terms = {
        "psi": lambda r, w: (some(w) / m - some(r) / n) * np.log(some(w) / m / (some(r) / n)),
        "kullback_leibler": lambda r, w: special.kl_div(w / m, some(r) / n),
        "jensen_shannon": lambda r, w: (special.rel_entr(r / n, (r / n + w / m) / 2) + special.rel_entr(w / m, (r / n + w / m) / 2)) / 2,
        "hellinger": lambda r, w: (np.sqrt(r / n) - np.sqrt(w / m)) ** 2 / 2,
        "differences": lambda r, w: np.abs(r / n - w / m) / 2,
        "squares": lambda r, w: (r / n - w / m) ** 2 * (n + m) / np.maximum(r + w, 1),
    }
    splits = []
    for t in rows:
        w = np.arange(t + 1.0)
        splits.append((t - w, w, w - t * chance, stats.binom.pmf(w, t, chance)))
    if is_range:
        w = np.arange(m + 1.0)
        weights = stats.betabinom.pmf(w, m, 2, n - 1)
        splits.append((0 * w, w, w - (weights * w).sum(), weights))
        cells = np.append(cells, 1)
    expect = lambda values: sum(c * (weights * x).sum() for c, x, (*_, weights) in zip(cells, values, splits))
    variance = expect([d * d for _, _, d, _ in splits])
    tails = {}
    for name, term in terms.items():
        of = [np.where(r + w > 0, term(r, w), 0.0) for r, w, _, _ in splits]
        means = [(weights * x).sum() for x, (*_, weights) in zip(of, splits)]
        slope = expect([x * d for x, (_, _, d, _) in zip(of, splits)]) / variance
        free = [x - mean - slope * d for x, mean, (_, _, d, _) in zip(of, means, splits)]
        along = 0.5 * expect([x * d * d for x, (_, _, d, _) in zip(free, splits)]) / variance
        mean = (cells * means).sum() - along
        second = expect([x**2 for x in free]) - 2 * along**2
        third = expect([x**3 for x in free]) - 8 * along**3
        value = term(inside[0].astype(float), inside[1].astype(float)).sum() + (float(term(0.0, float(outside))) if outside else 0.0)
        if name == "squares":
            # What differences added up can be at the most, squared.
            value = (2 * total_variation) ** 2
        elif name == "differences":
            total_variation = value
        tails[name] = tail_with_skew((value - mean) / math.sqrt(second), third / second**1.5)
    differences, squares = tails.pop("differences"), tails.pop("squares")
    even = 1 / ((inside.sum(axis=0) ** 2).sum() + outside**2) * (n + m) ** 2
    tails["total_variation"] = differences if even >= 20 else squares
    if counts.shape[1] == 2 and not is_range:
        # Two cells differ alike.
        tails["total_variation"] = result["l_infinity.p_value"]
    return result | {f"{name}.p_value": tail for name, tail in tails.items()}


def tail_of_largest_difference(largest: float, sizes: tuple, rows: np.ndarray, cells: np.ndarray, is_range: bool) -> float:
    """Of each cell's rows so many fall to the window as of a draw without replacement, and all that differ by as much count."""
    n, m = sizes
    tail = 0.0
    for t, how_many in zip(rows, cells):
        w = np.arange(max(0, t - n), min(t, m) + 1)
        reaches = np.abs((t - w) / n - w / m) >= largest * (1 - 1e-9)
        tail += how_many * np.exp(stats.hypergeom.logpmf(w[reaches], n + m, t, m)).sum()
    if is_range:
        w = np.arange(m + 1)
        tail += stats.betabinom.pmf(w[w / m >= largest * (1 - 1e-9)], m, 2, n - 1).sum()
    # Two cells differ alike, so one says it all.
    return min(1.0, tail / 2 if cells.sum() == 2 and not is_range else tail)


# --- What is no value, or one too often --------------------------------------------------------------------------------


def stuck(reference, window) -> dict:
    """Of the most frequent value of each. There may be as many as frequent as the reference's as its share says (Bonferroni)."""
    most = lambda sample: int(np.unique(np.asarray(sample), return_counts=True)[1].max())
    (of_reference, of_window), (n, m) = (most(reference), most(window)), (len(reference), len(window))
    value = max(0.0, of_window / m - of_reference / n)
    p_value = min(1.0, n / of_reference * of_a_split((of_reference, of_window), (n, m))) if value else 1.0
    return {"stuck_share.value": value, "stuck_share.p_value": p_value}


def excess(name: str, of_a_kind: tuple, rows: tuple) -> dict:
    """By how much more rows of the window are of a kind than of the reference: both as (reference, window). The interval is
    Newcombe's, of Wilson's for each."""
    p, q = (seen / size for seen, size in zip(of_a_kind, rows))
    (p_low, p_high), (q_low, q_high) = (
        stats.binomtest(int(seen), int(size)).proportion_ci(method="wilson") for seen, size in zip(of_a_kind, rows)
    )
    value = max(0.0, q - p)
    return {
        f"{name}.value": value,
        f"{name}.p_value": of_a_split(of_a_kind, rows) if value else 1.0,
        f"{name}.interval_low": max(0.0, q - p - math.hypot(q - q_low, p_high - p)),
        f"{name}.interval_high": max(0.0, q - p + math.hypot(q_high - q, p - p_low)),
    }


def of_a_split(of_a_kind: tuple, rows: tuple) -> float:
    """Przyborowski and Wilenski's test, on the kind or on the rest of the rows, whichever are fewer."""
    chance = rows[1] / sum(rows)
    rest = [size - min(seen, size) for seen, size in zip(of_a_kind, rows)]
    if sum(of_a_kind) <= sum(rest):
        return stats.binom.sf(of_a_kind[1] - 1, sum(of_a_kind), chance)
    return stats.binom.cdf(rest[1], sum(rest), chance)
