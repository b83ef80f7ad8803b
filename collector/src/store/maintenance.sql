-- Maintenance windows that were made while the collector runs: they come again by the clocks of a place until they end.
CREATE TABLE maintenance (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    -- Labels and the patterns that their values must match (JSON).
    matching TEXT NOT NULL,
    -- Names of the days on which it begins (JSON).
    days TEXT NOT NULL,
    -- Times of the day, as in 22:00.
    starts_daily TEXT NOT NULL,
    ends_daily TEXT NOT NULL,
    time_zone TEXT NOT NULL,
    -- When it comes no more.
    ends_at INTEGER NOT NULL,
    comment TEXT NOT NULL,
    author TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX maintenance_by_end ON maintenance (ends_at);
