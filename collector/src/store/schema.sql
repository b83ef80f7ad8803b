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
    heard_at INTEGER NOT NULL
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
    n_reference INTEGER NOT NULL,
    n_window INTEGER NOT NULL,
    p_value REAL NOT NULL,
    noise_independent REAL NOT NULL,
    noise_blocks REAL,
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

-- Good and valid events of a slice of ten seconds. `label` tells several indicators of one name apart (a column).
CREATE TABLE sli_counts (
    model TEXT NOT NULL,
    sli TEXT NOT NULL,
    label TEXT NOT NULL,
    slice INTEGER NOT NULL,
    good INTEGER NOT NULL,
    valid INTEGER NOT NULL,
    PRIMARY KEY (model, sli, label, slice)
) STRICT, WITHOUT ROWID;
CREATE INDEX sli_counts_by_slice ON sli_counts (slice);

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
    notification TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX episodes_by_start ON episodes (started_at);
CREATE INDEX episodes_by_end ON episodes (resolved_at);
CREATE INDEX episodes_open ON episodes (fingerprint) WHERE resolved_at IS NULL;

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
    last_error TEXT
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

CREATE TABLE archive_files (
    path TEXT PRIMARY KEY,
    cut INTEGER NOT NULL,
    model TEXT NOT NULL,
    version TEXT NOT NULL,
    rows INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    first_event INTEGER NOT NULL,
    last_event INTEGER NOT NULL,
    made_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX archive_files_by_made ON archive_files (made_at);

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
