-- What was started, or is to be, because of an alert. A row is there before anybody is asked and before anything is started, so
-- that an episode has one of each reaction at the most.
CREATE TABLE reactions (
    -- The reaction's name, a dot, and the episode.
    id TEXT PRIMARY KEY,
    reaction TEXT NOT NULL,
    episode TEXT NOT NULL,
    model TEXT NOT NULL,
    -- asked, approved, starting, started, unknown (it may have been started), failed, declined or lapsed.
    state TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    -- Until when the question, or the yes, is good; null where nobody need be asked.
    good_until INTEGER,
    -- Where whoever has the link decides without a login; null where there is none.
    approval_url TEXT,
    -- Who decided; null as long as nobody did.
    decided_at INTEGER,
    decided_by TEXT,
    decided_note TEXT,
    -- The last attempt that started it, or may have; null when nothing was started for certain.
    started_at INTEGER,
    attempts INTEGER NOT NULL DEFAULT 0,
    next_attempt_at INTEGER,
    -- 1 from before an attempt until what was answered is stored.
    is_in_flight INTEGER NOT NULL DEFAULT 0,
    -- When it came to its last state, and why, where that needs to be said.
    settled_at INTEGER,
    why TEXT,
    -- What the scheduler calls the run.
    reference TEXT,
    -- What the job reported: running, succeeded or failed.
    result TEXT,
    result_note TEXT,
    result_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX reactions_by_episode ON reactions (episode);
CREATE INDEX reactions_by_model ON reactions (reaction, model, started_at);
CREATE INDEX reactions_by_state ON reactions (reaction, state);
CREATE INDEX reactions_by_created ON reactions (created_at);
