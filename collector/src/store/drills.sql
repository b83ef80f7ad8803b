-- Alerts that somebody made up, to see who would be told. Each is an episode like any other.
CREATE TABLE drills (
    episode TEXT PRIMARY KEY,
    rule TEXT NOT NULL,
    runbook TEXT NOT NULL,
    author TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    -- When its end is told.
    resolve_at INTEGER NOT NULL,
    -- When it was over, and how it went: passed or failed; null as long as it runs.
    finished_at INTEGER,
    outcome TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX drills_running ON drills (resolve_at) WHERE finished_at IS NULL;
CREATE INDEX drills_by_runbook ON drills (runbook, finished_at);
