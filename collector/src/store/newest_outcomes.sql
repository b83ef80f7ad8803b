-- When the newest outcome of each model became known: as it was said, or when it came.
CREATE TABLE newest_outcomes (
    model TEXT PRIMARY KEY,
    known_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO newest_outcomes (model, known_at)
    SELECT model, max(min(coalesce(observed_at, received_at), received_at)) FROM outcomes GROUP BY model;
