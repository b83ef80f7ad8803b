"""Trains the demo's model and writes it as model.json, with a few predictions to hold the Rust evaluation to.

"Will this flight arrive more than fifteen minutes late?" Gradient-boosted trees, trained on the even days of January
2013: the odd days stay out of training and out of the reference, as the quiet stretch of the replay.

    pip install 'scikit-learn==1.9.1' pandas pyarrow
    python demo/model/train.py
"""

import json
import pathlib

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

HERE = pathlib.Path(__file__).parent
CATEGORICAL = ["carrier", "origin", "dest"]
NUMERIC = ["distance", "hour", "temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib"]

flights = pd.read_parquet(HERE.parent / "data" / "flights.parquet")
month, day = flights.date.str[5:7].astype(int), flights.date.str[8:10].astype(int)
training = flights[(month == 1) & (day % 2 == 0) & flights.late.notna()]

categories = {name: sorted(training[name].unique()) for name in CATEGORICAL}


def features(rows: pd.DataFrame) -> np.ndarray:
    columns = []
    for name in CATEGORICAL:
        codes = pd.Categorical(rows[name], categories=categories[name]).codes.astype(float)
        columns.append(np.where(codes < 0, np.nan, codes))  # a category that training did not see is missing
    columns += [rows[name].to_numpy(dtype=float) for name in NUMERIC]
    return np.column_stack(columns)


model = HistGradientBoostingClassifier(
    learning_rate=0.06,
    max_iter=80,
    max_leaf_nodes=12,
    min_samples_leaf=150,
    l2_regularization=10.0,
    categorical_features=[i < len(CATEGORICAL) for i in range(len(CATEGORICAL) + len(NUMERIC))],
    random_state=0,
)
model.fit(features(training), training.late.astype(bool))


def tree(predictor) -> list[dict]:
    nodes = []
    for node in predictor.nodes:
        if node["is_leaf"]:
            nodes.append({"value": float(node["value"])})
            continue
        split = {
            "feature": int(node["feature_idx"]),
            "missing_left": bool(node["missing_go_to_left"]),
            "left": int(node["left"]),
            "right": int(node["right"]),
        }
        if node["is_categorical"]:
            bits = predictor.raw_left_cat_bitsets[node["bitset_idx"]]
            split["categories_left"] = [c for c in range(256) if bits[c // 32] >> (c % 32) & 1]
        else:
            split["threshold"] = float(node["num_threshold"])
        nodes.append(split)
    return nodes


exported = {
    "name": "flight-delay",
    "version": "1",
    "features": [{"name": name, "categories": categories[name]} for name in CATEGORICAL]
    + [{"name": name} for name in NUMERIC],
    "baseline": float(model._baseline_prediction.ravel()[0]),
    "trees": [tree(predictors[0]) for predictors in model._predictors],
}
(HERE / "model.json").write_text(json.dumps(exported, separators=(",", ":")) + "\n")

# One row in a few hundred of every month, categories that training did not see and missing weather among them.
sample = flights.iloc[::547]
unseen = flights[~flights.dest.isin(categories["dest"])].iloc[::40]
no_weather = flights[flights.temp.isna()].iloc[::150]
sample = pd.concat([sample, unseen, no_weather])
probability = model.predict_proba(features(sample))[:, 1]
checks = {row_id: float(p) for row_id, p in zip(sample.flight_id, probability)}
(HERE / "predictions.json").write_text(json.dumps(checks, indent=0) + "\n")

print(f"{len(exported['trees'])} trees, {sum(map(len, exported['trees']))} nodes, {len(checks)} predictions to check")
for name, rows in {
    "January, even days (training)": (month == 1) & (day % 2 == 0),
    "January, odd days": (month == 1) & (day % 2 == 1),
    "July": month == 7,
    "December": month == 12,
}.items():
    part = flights[rows & flights.late.notna()]
    p = model.predict_proba(features(part))[:, 1]
    print(f"{name}: {len(part)} flights, AUC {roc_auc_score(part.late.astype(bool), p):.3f}, mean {p.mean():.3f}, late {part.late.mean():.3f}")
