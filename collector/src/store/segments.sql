-- What there is of segments, beside the panes and the windows of all rows. Segments times columns are many, so their scores
-- are kept for a model version's last windows only.

CREATE TABLE segment_panes (
    model TEXT NOT NULL,
    version TEXT NOT NULL,
    start INTEGER NOT NULL,
    -- As in `panes`.
    reference TEXT NOT NULL,
    -- Segments with rows: the name, how many, and the profiles of the columns, in the reference's order (postcard).
    segments BLOB NOT NULL,
    PRIMARY KEY (model, version, start)
) STRICT, WITHOUT ROWID;

CREATE TABLE segment_windows (
    model TEXT NOT NULL,
    version TEXT NOT NULL,
    ends INTEGER NOT NULL,
    segment TEXT NOT NULL,
    rows INTEGER NOT NULL,
    reference_rows INTEGER NOT NULL,
    PRIMARY KEY (model, version, ends, segment)
) STRICT, WITHOUT ROWID;

CREATE TABLE segment_scores (
    model TEXT NOT NULL,
    version TEXT NOT NULL,
    ends INTEGER NOT NULL,
    segment TEXT NOT NULL,
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
    PRIMARY KEY (model, version, ends, segment, column_name, detector)
) STRICT, WITHOUT ROWID;

-- What the drift of a segment's column looks like, as JSON; of those that drift only.
CREATE TABLE segment_causes (
    model TEXT NOT NULL,
    version TEXT NOT NULL,
    ends INTEGER NOT NULL,
    segment TEXT NOT NULL,
    column_name TEXT NOT NULL,
    causes TEXT NOT NULL,
    PRIMARY KEY (model, version, ends, segment, column_name)
) STRICT, WITHOUT ROWID;
