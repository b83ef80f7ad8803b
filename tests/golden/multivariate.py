"""Makes multivariate.json: what NannyML, scikit-learn, pandas, SciPy and NumPy say of several columns of flights together.

The test `multivariate` compares with it what a reference says of the same rows.

    pip install 'nannyml==0.13.1' 'scikit-learn==1.9.1' 'pandas==2.3.3' 'scipy==1.17.1' pyarrow
    python tests/golden/multivariate.py
"""

import json
import os
import pathlib
import warnings

os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"  # it reports each call to its makers otherwise

import nannyml
import numpy as np
import pandas as pd
import scipy
import sklearn
from scipy.stats.contingency import association
from sklearn.decomposition import PCA
from sklearn.kernel_approximation import RBFSampler
from sklearn.preprocessing import StandardScaler

HERE = pathlib.Path(__file__).parent
COLUMNS = ["distance", "temp", "humid", "wind_speed", "visib", "dep_delay", "hour"]
MONTHS = [2, 7, 12]
# The vectors: standardised by January, and rounded to 1/256, so that 32 bits hold them exactly.
EMBEDDED = ["distance", "temp", "humid", "wind_speed", "visib", "hour"]
FREQUENCIES = 64
# Columns of names: a code for each of the common ones in January, the most frequent first, and 0 for all others.
NAMED = ["carrier", "origin", "dest"]
CODES = 16

warnings.filterwarnings("ignore")
flights = pd.read_parquet(HERE.parent.parent / "demo" / "data" / "flights.parquet")
of_month = flights.date.str[5:7].astype(int)


def rows(number: int) -> pd.DataFrame:
    return flights[of_month == number][COLUMNS].astype(float).reset_index(drop=True)


def mixed(numbers: np.ndarray) -> np.ndarray:
    """SplitMix64."""
    bits = numbers.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def normals(count: int) -> np.ndarray:
    """Driftline's sequence of normal numbers."""
    uniform = ((mixed(np.arange(2 * count, dtype=np.uint64)) >> np.uint64(11)).astype(float) + 0.5) / 2**53
    return np.sqrt(-2 * np.log(uniform[::2])) * np.cos(2 * np.pi * uniform[1::2])


def sampler(dimensions: int, bandwidth: float) -> RBFSampler:
    """scikit-learn's random features with these frequencies: the cosine of each, and the sine as that of a shifted phase."""
    features = RBFSampler(gamma=1 / (2 * bandwidth**2), n_components=2 * FREQUENCIES)
    features.fit(np.zeros((1, dimensions)))
    frequencies = normals(FREQUENCIES * dimensions).reshape(FREQUENCIES, dimensions) / bandwidth
    features.random_weights_ = np.hstack([frequencies.T, frequencies.T])
    features.random_offset_ = np.repeat([0, -np.pi / 2], FREQUENCIES)
    return features


def mmd(features: RBFSampler, reference: np.ndarray, window: np.ndarray) -> float:
    """Gretton's unbiased estimate, from sums of the products of all pairs."""
    p, q = features.transform(reference), features.transform(window)
    n, m = len(p), len(q)
    # RBFSampler scales by √(2/components): the product of a row with itself is 1.
    of_pairs = lambda one: (np.square(one.sum(axis=0)).sum() - np.square(one).sum()) / (len(one) * (len(one) - 1))
    return of_pairs(p) + of_pairs(q) - 2 * (p.sum(axis=0) @ q.sum(axis=0)) / (n * m)


january = rows(1)
calculator = nannyml.DataReconstructionDriftCalculator(column_names=COLUMNS, chunk_number=1).fit(january)
imputed = january.fillna(january.mean())
scaler = StandardScaler().fit(imputed)
components = PCA(n_components=0.65).fit(scaler.transform(imputed))


def reconstruction_error(window: pd.DataFrame) -> np.ndarray:
    scaled = scaler.transform(window.fillna(january.mean()))
    return np.linalg.norm(scaled - components.inverse_transform(components.transform(scaled)), axis=1)


def nannyml_error(window: pd.DataFrame) -> float:
    results = calculator.calculate(window).filter(period="analysis").to_df()
    return results["reconstruction_error"]["value"].iloc[0]


def embedded(window: pd.DataFrame) -> np.ndarray:
    present = window[EMBEDDED].dropna()
    scaled = (present - january[EMBEDDED].mean()) / january[EMBEDDED].std()
    return (scaled * 256).round().to_numpy() / 256


def embeddings(vectors: np.ndarray, window: np.ndarray) -> dict:
    bandwidth = 3.0
    return {"bandwidth": bandwidth, "mmd": mmd(sampler(len(EMBEDDED), bandwidth), vectors, window)}


def correlations(window: pd.DataFrame) -> list[float]:
    """Of the pairs in the order of a reference file; of the rows that have both."""
    matrix = window.corr(method="pearson").to_numpy()
    return [matrix[i, j] for i in range(len(COLUMNS)) for j in range(i + 1, len(COLUMNS))]


def common_names() -> dict[str, list[str]]:
    shares = {name: flights[of_month == 1][name].value_counts(normalize=True) for name in NAMED}
    common = {name: share[share >= 0.01] for name, share in shares.items()}
    return {name: sorted(share.index, key=lambda known: (-share[known], known))[: CODES - 1] for name, share in common.items()}


def cramers_v(number: int) -> list[float]:
    """Of the pairs of columns of names, in the order of a reference file."""
    window = flights[of_month == number]
    codes = [window[name].map(lambda known, names=names: names.index(known) + 1 if known in names else 0) for name, names in common_names().items()]
    pairs = [(i, j) for i in range(len(NAMED)) for j in range(i + 1, len(NAMED))]
    return [association(pd.crosstab(codes[i], codes[j]).to_numpy(), method="cramer") for i, j in pairs]


def month(number: int) -> dict:
    window = rows(number)
    errors = reconstruction_error(window)
    return {
        "rows": len(window),
        "nannyml_reconstruction_error": nannyml_error(window),
        "pca_error_mean": errors.mean(),
        "pca_error_first": errors[:20].tolist(),
        "correlations": correlations(window),
        "cramers_v": cramers_v(number),
        **embeddings(embedded(january), embedded(window)),
    }


golden = {
    "nannyml": nannyml.__version__,
    "sklearn": sklearn.__version__,
    "scipy": scipy.__version__,
    "columns": COLUMNS,
    "embedded": EMBEDDED,
    "named": NAMED,
    "means": january[EMBEDDED].mean().tolist(),
    "deviations": january[EMBEDDED].std().tolist(),
    "january": {"pca_error_mean": reconstruction_error(january).mean(), "correlations": correlations(january)},
    "months": {str(number): month(number) for number in MONTHS},
}
(HERE / "multivariate.json").write_text(json.dumps(golden, indent=1) + "\n")
