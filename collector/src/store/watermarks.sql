-- The newest time that each column of times has ever held, and when the row was received that brought it.
CREATE TABLE watermarks (
    model TEXT NOT NULL,
    column_name TEXT NOT NULL,
    newest INTEGER NOT NULL,
    moved_at INTEGER NOT NULL,
    PRIMARY KEY (model, column_name)
) STRICT, WITHOUT ROWID;

-- What each window was counted as, for each entry of `slis.slices`, and at which time: so that one that is made again takes its
-- own event's place.
CREATE TABLE counted_slices (
    model TEXT NOT NULL,
    version TEXT NOT NULL,
    ends INTEGER NOT NULL,
    slices TEXT NOT NULL,
    at INTEGER NOT NULL,
    good INTEGER NOT NULL,
    valid INTEGER NOT NULL,
    unknown INTEGER NOT NULL,
    PRIMARY KEY (model, version, ends, slices)
) STRICT, WITHOUT ROWID;
