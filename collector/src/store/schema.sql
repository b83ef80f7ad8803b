-- The collector's journal and state: one database, so that everything a batch or a checkpoint changes, changes in one
-- transaction. Times are microseconds since the Unix epoch.

CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Batches in the order in which they became durable. `skip_through`: exchanges up to this sequence number were stored
-- before, by an earlier batch of the same boot.
CREATE TABLE journal (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    received_at INTEGER NOT NULL,
    skip_through INTEGER NOT NULL,
    frame BLOB NOT NULL
) STRICT;

-- One row for each boot of a sidecar.
CREATE TABLE senders (
    boot BLOB PRIMARY KEY,
    model TEXT NOT NULL,
    instance TEXT NOT NULL,
    durable_through INTEGER NOT NULL,
    missing INTEGER NOT NULL,
    duplicates INTEGER NOT NULL,
    seen INTEGER NOT NULL,
    delivered INTEGER NOT NULL,
    dropped TEXT NOT NULL,
    -- By how much its clock, when it made its last batch, was behind ours when that came; below zero, it was ahead.
    clock_offset INTEGER,
    heard_at INTEGER NOT NULL,
    -- The version that it said of itself; empty from one that says none.
    version TEXT NOT NULL DEFAULT '',
    -- When it was heard first; 0 of one that was known before this was kept.
    first_heard_at INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX senders_by_heard ON senders (heard_at);

-- Models that were ever named by a batch or an outcome.
CREATE TABLE models (
    name TEXT PRIMARY KEY,
    first_seen INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- How far the journal was counted.
CREATE TABLE progress (
    consumer TEXT PRIMARY KEY,
    position INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The type that a column has been given, for good.
CREATE TABLE columns (
    model TEXT NOT NULL,
    name TEXT NOT NULL,
    type TEXT NOT NULL,
    role TEXT NOT NULL,
    PRIMARY KEY (model, name)
) STRICT, WITHOUT ROWID;

-- Versions of models that were told apart, each from one journal position to another (none yet: it still is). Which name
-- an exchange is archived under follows from this and its position, so that a cut can be made again.
CREATE TABLE versions (
    model TEXT NOT NULL,
    version TEXT NOT NULL,
    first_position INTEGER NOT NULL,
    until_position INTEGER,
    -- When its last exchange was received, to the hour.
    heard_at INTEGER NOT NULL,
    PRIMARY KEY (model, version, first_position)
) STRICT, WITHOUT ROWID;

CREATE TABLE panes (
    model TEXT NOT NULL,
    version TEXT NOT NULL,
    start INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    -- Identity of the reference whose cells the profiles count on; empty without one.
    reference TEXT NOT NULL,
    -- The profiles of all columns, in the reference's order (postcard).
    profiles BLOB NOT NULL,
    PRIMARY KEY (model, version, start)
) STRICT, WITHOUT ROWID;

-- Where a model's windows stand.
CREATE TABLE window_progress (
    model TEXT NOT NULL,
    version TEXT NOT NULL,
    newest_event INTEGER NOT NULL,
    closed_through INTEGER,
    rows INTEGER NOT NULL,
    late_rows INTEGER NOT NULL,
    PRIMARY KEY (model, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE windows (
    model TEXT NOT NULL,
    version TEXT NOT NULL,
    ends INTEGER NOT NULL,
    starts INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    filled INTEGER NOT NULL,
    panes INTEGER NOT NULL,
    reference TEXT NOT NULL,
    closed_at INTEGER NOT NULL,
    PRIMARY KEY (model, version, ends)
) STRICT, WITHOUT ROWID;
CREATE INDEX windows_by_closed ON windows (closed_at);

CREATE TABLE scores (
    model TEXT NOT NULL,
    version TEXT NOT NULL,
    ends INTEGER NOT NULL,
    column_name TEXT NOT NULL,
    detector TEXT NOT NULL,
    value REAL NOT NULL,
    upper REAL NOT NULL,
    effect REAL NOT NULL,
    interval_low REAL NOT NULL,
    interval_high REAL NOT NULL,
    null_mean REAL NOT NULL,
    n_reference INTEGER NOT NULL,
    n_window INTEGER NOT NULL,
    p_value REAL NOT NULL,
    noise_independent REAL NOT NULL,
    noise_blocks REAL,
    noise_budget REAL,
    threshold REAL NOT NULL,
    verdict TEXT NOT NULL,
    PRIMARY KEY (model, version, ends, column_name, detector)
) STRICT, WITHOUT ROWID;

-- Reference and window in a few bars, as JSON.
CREATE TABLE histograms (
    model TEXT NOT NULL,
    version TEXT NOT NULL,
    ends INTEGER NOT NULL,
    column_name TEXT NOT NULL,
    bars TEXT NOT NULL,
    PRIMARY KEY (model, version, ends, column_name)
) STRICT, WITHOUT ROWID;

-- What a column's drift looks like, as JSON; of those that drift only.
CREATE TABLE causes (
    model TEXT NOT NULL,
    version TEXT NOT NULL,
    ends INTEGER NOT NULL,
    column_name TEXT NOT NULL,
    causes TEXT NOT NULL,
    PRIMARY KEY (model, version, ends, column_name)
) STRICT, WITHOUT ROWID;

-- Good and valid events of a slice of ten seconds, and those that could not be judged. `label` tells several indicators of one name apart (a column).
CREATE TABLE sli_counts (
    model TEXT NOT NULL,
    sli TEXT NOT NULL,
    label TEXT NOT NULL,
    slice INTEGER NOT NULL,
    good INTEGER NOT NULL,
    valid INTEGER NOT NULL,
    unknown INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (model, sli, label, slice)
) STRICT, WITHOUT ROWID;
CREATE INDEX sli_counts_by_slice ON sli_counts (slice);

-- The same by the hour, for as long as an objective's period may be.
CREATE TABLE sli_hours (
    model TEXT NOT NULL,
    sli TEXT NOT NULL,
    label TEXT NOT NULL,
    hour INTEGER NOT NULL,
    good INTEGER NOT NULL,
    valid INTEGER NOT NULL,
    unknown INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (model, sli, label, hour)
) STRICT, WITHOUT ROWID;
CREATE INDEX sli_hours_by_hour ON sli_hours (hour);

-- Latencies of a slice of ten seconds, as counts in fixed buckets (postcard).
CREATE TABLE latencies (
    model TEXT NOT NULL,
    slice INTEGER NOT NULL,
    counts BLOB NOT NULL,
    PRIMARY KEY (model, slice)
) STRICT, WITHOUT ROWID;
CREATE INDEX latencies_by_slice ON latencies (slice);

CREATE TABLE alerts (
    fingerprint TEXT PRIMARY KEY,
    rule TEXT NOT NULL,
    state TEXT NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE episodes (
    id TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    rule TEXT NOT NULL,
    severity TEXT NOT NULL,
    runbook TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    resolved_at INTEGER,
    -- The notification of its trigger: what was known when it began.
    notification TEXT NOT NULL,
    -- By what it is muted, or was when it ended (JSON); null when it is not.
    muted_by TEXT,
    -- Who is on it; null as long as nobody said so.
    acknowledged_at INTEGER,
    acknowledged_by TEXT,
    acknowledged_note TEXT,
    -- How it stands while it is open: firing, recovering or no_data.
    standing TEXT NOT NULL DEFAULT 'firing',
    is_flapping INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX episodes_by_start ON episodes (started_at);
CREATE INDEX episodes_by_end ON episodes (resolved_at);
CREATE INDEX episodes_open ON episodes (fingerprint) WHERE resolved_at IS NULL;

-- While a silence is on, nothing is said of the alerts that it is of but their end.
CREATE TABLE silences (
    id TEXT PRIMARY KEY,
    -- Labels and the patterns that their values must match (JSON).
    matching TEXT NOT NULL,
    starts_at INTEGER NOT NULL,
    ends_at INTEGER NOT NULL,
    comment TEXT NOT NULL,
    author TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX silences_by_end ON silences (ends_at);

-- Notifications to deliver. They are written with the state that caused them, and delivered at least once.
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    episode TEXT NOT NULL,
    target TEXT NOT NULL,
    action TEXT NOT NULL,
    notification TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    next_attempt_at INTEGER NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending',
    settled_at INTEGER,
    last_error TEXT,
    -- What the target calls the message, so that it can be told which has ended; or who of those behind it has it.
    receipt TEXT,
    -- Whether it was sent, and nobody knows whether it arrived.
    in_doubt INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX outbox_pending ON outbox (state, next_attempt_at);
CREATE INDEX outbox_by_episode ON outbox (episode, target);
CREATE INDEX outbox_by_settled ON outbox (settled_at);

-- What happened, one line each, for people who follow along.
CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    model TEXT NOT NULL,
    text TEXT NOT NULL
) STRICT;

-- A cut is recorded before its files are made: after a crash the same journal positions give the same files, whatever the
-- configuration says then.
CREATE TABLE cuts (
    last INTEGER PRIMARY KEY,
    first INTEGER NOT NULL,
    -- How its files are laid in folders: hour or day.
    partition TEXT NOT NULL,
    -- Where they go (JSON).
    place TEXT NOT NULL,
    made_at INTEGER NOT NULL,
    done_at INTEGER
) STRICT;
CREATE INDEX cuts_by_done ON cuts (done_at);

-- The files of all attempts at a cut that is not done. They are recorded before the first of them is put, so that those of
-- an attempt that was cut off are found and taken away.
CREATE TABLE cut_files (
    cut INTEGER NOT NULL,
    path TEXT NOT NULL,
    rows INTEGER NOT NULL,
    PRIMARY KEY (cut, path)
) STRICT, WITHOUT ROWID;

-- Where archived files lie (JSON); the archive may have moved.
CREATE TABLE archive_places (
    id INTEGER PRIMARY KEY,
    address TEXT NOT NULL UNIQUE
) STRICT;

-- The columns of archived files, as a schema of Delta Lake (JSON), by its fingerprint.
CREATE TABLE archive_schemas (
    fingerprint TEXT PRIMARY KEY,
    columns TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The files that are in the archive, for as long as they are.
CREATE TABLE archive_files (
    path TEXT PRIMARY KEY,
    place INTEGER NOT NULL,
    -- Its cut's positions, and the run that put it, as in its footer.
    first INTEGER NOT NULL,
    cut INTEGER NOT NULL,
    run TEXT NOT NULL,
    model TEXT NOT NULL,
    version TEXT NOT NULL,
    -- When its date begins.
    day INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    first_event INTEGER NOT NULL,
    last_event INTEGER NOT NULL,
    schema TEXT NOT NULL,
    made_at INTEGER NOT NULL,
    -- From when its age counts: when it was made or when its partition ended, whichever is later.
    ages_from INTEGER NOT NULL,
    -- 1 when it is too old, and told of nowhere any more once what tells of it has been written again.
    is_expired INTEGER NOT NULL DEFAULT 0,
    -- The commit of its Delta table that added it; null when none did.
    added_by INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX archive_files_by_made ON archive_files (made_at);
CREATE INDEX archive_files_by_day ON archive_files (place, model, day);
CREATE INDEX archive_files_by_age ON archive_files (place, ages_from) WHERE is_expired = 0;
CREATE INDEX archive_files_expired ON archive_files (place, model, version) WHERE is_expired = 1;
CREATE INDEX archive_files_to_add ON archive_files (place, model, version) WHERE added_by IS NULL AND is_expired = 0;
CREATE INDEX archive_files_added ON archive_files (place, model, version) WHERE added_by IS NOT NULL;

-- What the manifest of a model's day says, once it is written; and whether it is to be written again.
CREATE TABLE archive_days (
    place INTEGER NOT NULL,
    model TEXT NOT NULL,
    day INTEGER NOT NULL,
    files INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    is_due INTEGER NOT NULL,
    PRIMARY KEY (place, model, day)
) STRICT, WITHOUT ROWID;
CREATE INDEX archive_days_due ON archive_days (place, model, day) WHERE is_due = 1;

-- A Delta table for each version of a model.
CREATE TABLE delta_tables (
    place INTEGER NOT NULL,
    model TEXT NOT NULL,
    version TEXT NOT NULL,
    id TEXT NOT NULL,
    made_at INTEGER NOT NULL,
    -- The last position of the newest cut in it.
    cut INTEGER NOT NULL,
    -- The number of its next commit.
    next_commit INTEGER NOT NULL,
    -- The columns of all its files, as its last metaData action says.
    columns TEXT NOT NULL,
    -- The commit that its last checkpoint is of; -1 before the first.
    checkpoint INTEGER NOT NULL DEFAULT -1,
    -- 1 when somebody else has written to its log: it is left alone from then on.
    is_left INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (place, model, version)
) STRICT, WITHOUT ROWID;

-- Commits in the order in which they are put. What one says is decided once, before it is put; it is forgotten after.
CREATE TABLE delta_commits (
    place INTEGER NOT NULL,
    model TEXT NOT NULL,
    version TEXT NOT NULL,
    number INTEGER NOT NULL,
    made_at INTEGER NOT NULL,
    -- Null once it is there.
    actions TEXT,
    PRIMARY KEY (place, model, version, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX delta_commits_to_put ON delta_commits (place, model, version, number) WHERE actions IS NOT NULL;

CREATE TABLE outcomes (
    model TEXT NOT NULL,
    row_id TEXT NOT NULL,
    outcome TEXT NOT NULL,
    observed_at INTEGER,
    received_at INTEGER NOT NULL,
    PRIMARY KEY (model, row_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX outcomes_by_received ON outcomes (received_at);

-- Requests and responses of others' loggers that wait for each other. Once they have met, or a request was given up on, its
-- exchange is in the journal, and the row only recognises what comes again.
CREATE TABLE event_halves (
    number INTEGER PRIMARY KEY,
    model TEXT NOT NULL,
    -- What a request and its response have in common.
    joined_by TEXT NOT NULL,
    -- What came: request, response, or both; or alone: a request that was given up on.
    state TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    -- Where it comes from.
    source TEXT NOT NULL,
    -- The half of an exchange (protobuf); empty once it is in the journal.
    exchange BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX event_halves_by_join ON event_halves (model, joined_by);
CREATE INDEX event_halves_by_received ON event_halves (received_at);

-- Requests that brought rows under a key of their own, so that one that comes again counts once.
CREATE TABLE rows_received (
    -- SHA-256 of the sender's name and its key.
    key BLOB PRIMARY KEY,
    -- SHA-256 of what was asked for: a key is not good for two different requests.
    content BLOB NOT NULL,
    rows INTEGER NOT NULL,
    received_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX rows_received_by_received ON rows_received (received_at);
