-- Steps of its runbook that somebody has done for an episode, or took back: the last word on each holds.
CREATE TABLE ticks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    episode TEXT NOT NULL,
    step TEXT NOT NULL,
    -- What the step was about then.
    text TEXT NOT NULL,
    is_done INTEGER NOT NULL,
    author TEXT NOT NULL,
    note TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;
CREATE INDEX ticks_by_episode ON ticks (episode);
CREATE INDEX ticks_by_time ON ticks (at);
